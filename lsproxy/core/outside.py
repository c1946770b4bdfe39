"""
Does a license file of another make bind to this backend, judged by what can be seen of it from outside?

A file names hosts, each by one or more hostids. Of the backend are known: what
its configuration says, the names and addresses that DNS gives it, and the
network card that answers at its address, where that is on the same segment.

    one hostid is the backend's            Bound
    every hostid is certainly another's    Unbound
    else                                   Unknown

What is configured counts as true: a declared hostid, the host of the address,
the pool's `server_name`. Hostids declared of one kind are all of that kind.

The host name of a SERVER or HOST line may be edited by everybody, and is often
that of the proxy: it binds nothing.
"""

import ipaddress
from collections.abc import Collection, Iterator, Sequence
from typing import Final

import msgspec

from lsproxy.core.binding import Binding, Bound, Unbound, Unknown
from lsproxy.license.hostid import Hostid, matches
from lsproxy.license.thirdparty import OPAQUE_KIND, ThirdPartyLicense

WHOEVER: Final = frozenset({"this_host", "any", "localhost"})
"""Host names of a SERVER or HOST line that mean the host it stands on, in lower case."""

_DECLARE: Final = "if it is this host's nevertheless, declare it in the backend's hostids"


class Seen(msgspec.Struct, frozen=True):
    """
    What can be seen of the host behind an address; None where it could not be looked at.

    `addresses`: as numbers. `names`: by DNS, forward and back, and of this machine its own; as they are spelt.
    `cards`: 12 lower-case hex digits each. `certificate_names`: what its TLS certificate proves.
    """

    addresses: frozenset[str] | None = None
    names: frozenset[str] | None = None
    cards: frozenset[str] | None = None
    certificate_names: frozenset[str] | None = None


class Subject(msgspec.Struct, frozen=True):
    """One backend as it is judged: `called` are the names that the configuration has for it, as they are spelt."""

    seen: Seen
    declared: tuple[Hostid, ...] = ()
    called: tuple[str, ...] = ()
    is_case_kept: bool = False


class _Match(msgspec.Struct, frozen=True):
    why: str


class _Mismatch(msgspec.Struct, frozen=True):
    why: str


class _Unsure(msgspec.Struct, frozen=True):
    why: str


_Verdict = _Match | _Mismatch | _Unsure


def bind(
    license_file: ThirdPartyLicense,
    seen: Seen,
    declared: Sequence[Hostid] = (),
    called: Sequence[str] = (),
    *,
    is_case_kept: bool = False,
) -> Binding:
    """
    Whether the backend that looks like `seen` may serve `license_file`.

    `declared` are its hostids in the configuration, `called` the host of its address and the `server_name` of its
    pool; addresses among them are passed over. With `is_case_kept` names are compared with case, as Citrix does.
    """
    names = tuple(name for name in called if name and not is_address(name))
    subject = Subject(seen, tuple(declared), names, is_case_kept)
    verdicts = [(host, _judge(hostid, subject)) for host in license_file.hosts for hostid in host.hostids]
    if not verdicts:
        return _nobody_named(license_file)
    for host, verdict in verdicts:
        if isinstance(verdict, _Match):
            return Bound(f"{host.keyword} line {host.line} of {license_file.file}: {verdict.why}")
    told = "; ".join(dict.fromkeys(f"line {host.line}: {verdict.why}" for host, verdict in verdicts))
    if license_file.problems:
        return Unknown(f"{license_file.problems[0]}; {told}")
    if all(isinstance(verdict, _Mismatch) for _, verdict in verdicts):
        return Unbound(f"{license_file.file} is bound to another host: {told}")
    unsure = (f"line {host.line}: {verdict.why}" for host, verdict in verdicts if isinstance(verdict, _Unsure))
    return Unknown(f"{license_file.file}: {'; '.join(dict.fromkeys(unsure))}")


def is_same_name(one: str, other: str) -> bool:
    """Whether two host names are one, without case: alike, or alike up to the first dot where one has no more."""
    return _is_alike(one.lower(), other.lower())


def is_address(host: str) -> bool:
    """Whether `host` is an address in numbers rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _nobody_named(license_file: ThirdPartyLicense) -> Unknown:
    if license_file.problems:
        return Unknown(str(license_file.problems[0]))
    return Unknown(f"{license_file.file} names no host, so nothing of it can be compared")


def _judge(hostid: Hostid, subject: Subject) -> _Verdict:
    match hostid.kind:
        case "any":
            return _Match("ANY binds every host")
        case "hostname" | "fqdn":
            return _judge_name(hostid.value, hostid.describe(), subject)
        case "internet":
            return _judge_address(hostid, subject)
        case "ether":
            return _judge_card(hostid, subject)
    return _judge_declared(hostid, subject) or _Unsure(
        f"{_shown(hostid)} cannot be seen from outside; a backend that has it may declare it in its hostids"
    )


def _judge_name(wanted: str, spelt: str, subject: Subject) -> _Verdict:
    declared = _judge_declared(Hostid("hostname", wanted), subject)
    if isinstance(declared, _Match):
        return declared
    proven = sorted({*(subject.seen.names or ()), *(subject.seen.certificate_names or ())})
    if any(_is_name(wanted, name, subject) for name in subject.called):
        return _Match(f"{spelt} is what the configuration calls it")
    if any(_proves(wanted, name, subject) for name in proven):
        return _Match(f"{spelt} is its name")
    if wrong := _differs_in_case(wanted, subject.called):
        return _Mismatch(
            f"it wants {spelt}, the configuration says {wrong}, and here upper and lower case count: "
            "spell it as the license does"
        )
    if wrong := _differs_in_case(wanted, proven):
        return _Unsure(f"it wants {spelt}, DNS says {wrong}, and here upper and lower case count")
    if declared is not None:
        return declared
    if not subject.seen.names or any("*" in name for name in proven):
        return _Unsure(f"it wants {spelt}, and the names of this address are not known")
    return _Mismatch(f"it wants {spelt}, this address has {_listed('the name', proven)}; {_DECLARE}")


def _judge_address(wanted: Hostid, subject: Subject) -> _Verdict:
    declared = _judge_declared(wanted, subject)
    if isinstance(declared, _Match):
        return declared
    spelt, seen = _shown(wanted), subject.seen.addresses
    if matches(wanted, [Hostid("internet", address) for address in seen or ()]):
        return _Match(f"{spelt} is its address")
    if declared is not None:
        return declared
    if not seen:
        return _Unsure(f"it wants {spelt}, and the address of the backend is not known")
    return _Mismatch(f"it wants {spelt}, the backend has {_listed('the address', seen)}; {_DECLARE}")


def _judge_card(wanted: Hostid, subject: Subject) -> _Verdict:
    declared = _judge_declared(wanted, subject)
    if isinstance(declared, _Match):
        return declared
    cards = subject.seen.cards
    if wanted.value in (cards or ()):
        return _Match(f"{wanted.value} is its network card")
    if declared is not None:
        return declared
    if not cards:
        return _Unsure(f"the network card {wanted.value} cannot be seen from here: it is not on this segment")
    return _Mismatch(f"it wants the network card {wanted.value}, at this address is {_listed('', cards)}; {_DECLARE}")


def _judge_declared(wanted: Hostid, subject: Subject) -> _Match | _Mismatch | None:
    """What the declared hostids say of `wanted`; None where none of its kind is declared."""
    alike = [own for own in subject.declared if _is_of_one_kind(wanted, own)]
    lower = [Hostid(own.kind, own.value.lower()) for own in alike]
    if any(_is_declared_name(wanted, own) for own in alike) or matches(_in_lower_case(wanted), lower):
        return _Match(f"{_shown(wanted)} is declared in its hostids")
    if not alike:
        return None
    return _Mismatch(f"it wants {_shown(wanted)}, its hostids declare {_listed('', map(_shown, alike))}")


def _is_declared_name(wanted: Hostid, own: Hostid) -> bool:
    return wanted.kind == "hostname" and is_same_name(wanted.value, own.value)


def _is_of_one_kind(wanted: Hostid, own: Hostid) -> bool:
    if wanted.kind == "hostname":
        return own.kind in {"hostname", "fqdn"}
    if wanted.kind == OPAQUE_KIND == own.kind:
        return _make_of(wanted.value) == _make_of(own.value)
    return wanted.kind == own.kind


def _make_of(opaque: str) -> str:
    """`vm_uuid` of `VM_UUID=564d…`; empty for a value that stands alone."""
    make, equals, _ = opaque.partition("=")
    return make.lower() if equals else ""


def _in_lower_case(hostid: Hostid) -> Hostid:
    return Hostid(hostid.kind, hostid.value.lower())


def _is_name(one: str, other: str, subject: Subject) -> bool:
    return _is_alike(one, other) if subject.is_case_kept else is_same_name(one, other)


def _is_alike(one: str, other: str) -> bool:
    one, other = one.rstrip("."), other.rstrip(".")
    if one == other:
        return True
    if "." in one and "." in other:
        return False
    return one.partition(".")[0] == other.partition(".")[0]


def _proves(wanted: str, name: str, subject: Subject) -> bool:
    """Whether a host called `name` is `wanted`; the `*` of a certificate stands for one label (RFC 6125, 6.4.3)."""
    if name.startswith("*."):
        return bool(wanted.partition(".")[2]) and wanted.partition(".")[2].lower() == name[2:].lower()
    return _is_name(wanted, name, subject)


def _differs_in_case(wanted: str, names: Collection[str]) -> str:
    return next((name for name in names if is_same_name(wanted, name)), "")


def _shown(hostid: Hostid) -> str:
    return hostid.value if hostid.kind == OPAQUE_KIND else hostid.describe()


def _listed(what: str, found: Collection[str] | Iterator[str]) -> str:
    texts = " and ".join(sorted(set(found)))
    return f"{what} {texts}" if what else texts

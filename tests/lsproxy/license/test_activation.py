"""Which keys extend which takeover, and what is said of all others."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsproxy.license.activation import (
    MOST_HOURS,
    Activation,
    KeyRefused,
    Request,
    check_activation_key,
    issue,
    make_request,
    read_activation_key,
    read_request_key,
    request_key,
    signed_text,
    sole_signer,
)
from lsproxy.license.crockford import spell, unspell
from lsproxy.license.grammar import parse
from lsproxy.license.hostid import parse_hostid
from lsproxy.license.signature import verify
from tests.lsproxy.license.texts import KEY, OTHER_KEY, SERVERS, VENDOR_KEYS, verified
from tests.lsproxy.license.texts import signed as signed_license

PUBLIC = KEY.public_key()
DIGEST = f"sha256:{'ab' * 32}"
HOSTIDS = [parse_hostid("HOSTNAME=lic-b"), parse_hostid("02a1b2c3d4e5")]


def asked(name="lic-b", hostids=HOSTIDS, digest=DIGEST, takeover=2, extension=3, nonce=b"8 random"):
    return make_request(name, hostids, digest, takeover, extension, nonce)


requests = st.builds(
    Request,
    name=st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
    hostids=st.binary(min_size=16, max_size=16),
    license=st.binary(min_size=16, max_size=16),
    takeover=st.integers(0, 2**32 - 1),
    extension=st.integers(0, 2**16 - 1),
    nonce=st.binary(min_size=8, max_size=8),
)


def reason_of(outcome):
    assert isinstance(outcome, KeyRefused)
    return outcome.reason


@given(requests, st.integers(1, MOST_HOURS))
def test_round_trip(request, hours):
    """A vendor reads what was asked, and the server its answer."""
    assert read_request_key(request_key(request)) == request
    granted = check_activation_key(issue(request, hours, KEY), request, PUBLIC)
    assert isinstance(granted, Activation)
    assert (granted.request, granted.hours) == (request, hours)


def test_as_a_person_types_it():
    """Lower case, O for 0, l for 1, blanks for hyphens: all the same key."""
    key = issue(asked(), 72, KEY)
    typed = key.lower().replace("0", "O").replace("1", "l").replace("-", " ")
    assert check_activation_key(typed, asked(), PUBLIC) == read_activation_key(key)
    assert read_request_key(request_key(asked()).lower().replace("0", "o").replace("-", "")) == asked()


def test_a_slip_of_the_finger():
    """One wrong character is a slip, not a forgery, and is said to be one."""
    key = issue(asked(), 72, KEY)
    wrong = key[:30] + ("7" if key[30] != "7" else "8") + key[31:]
    assert "one is mistyped" in reason_of(check_activation_key(wrong, asked(), PUBLIC))


def test_hostids_are_a_set():
    """The order of hostids and their repetition say nothing; one that is added or missing makes another host."""
    assert asked(hostids=[*reversed(HOSTIDS), *HOSTIDS]) == asked()
    assert asked(hostids=HOSTIDS[:1]).hostids != asked().hostids


@pytest.mark.parametrize(
    ("made_for", "reason"),
    [
        (asked(name="lic-c"), "is for the server 'lic-c', and this one is lic-b"),
        (asked(hostids=HOSTIDS[:1]), "for another host called lic-b"),
        (asked(digest=f"sha256:{'cd' * 32}"), "for another license than the one in force"),
        (asked(takeover=1), "is for takeover 1, and this is takeover 2"),
        (asked(takeover=1, extension=1), "is for takeover 1, and this is takeover 2"),
        (asked(extension=2), "for extension 2 of takeover 2, was counted already; the next one is for extension 3"),
        (asked(extension=4), "answers a request that this server did not make in takeover 2"),
        (asked(nonce=b"8 others"), "answers a request that this server did not make in takeover 2"),
    ],
)
def test_made_for_another(made_for, reason):
    """A well signed key for another server, host, license, takeover or extension is refused with that reason."""
    assert reason in reason_of(check_activation_key(issue(made_for, 72, KEY), asked(), PUBLIC))


def test_another_signer():
    """A key that somebody else signed is refused, also where its holder signs licenses of another vendor."""
    reason = reason_of(check_activation_key(issue(asked(), 72, OTHER_KEY), asked(), PUBLIC))
    assert reason == (
        "this activation key is not signed by the vendor's license key: it was altered, or another key signed it"
    )


@given(st.data())
def test_altered(data):
    """No other bytes, however well their check symbol fits, are the vendor's key."""
    content = unspell(issue(asked(), 72, KEY))
    place = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[place]))
    forged = content[:place] + bytes([byte]) + content[place + 1 :]
    assert isinstance(check_activation_key(spell(forged), asked(), PUBLIC), KeyRefused)


@pytest.mark.parametrize("change", [{"hours": 8760}, {"request": asked(extension=4)}])
def test_what_is_signed(change):
    """The signature of one request and its hours is none of another, made up as the program would."""
    activation = read_activation_key(issue(asked(), 72, KEY))
    forged = msgspec.structs.replace(activation, **change)
    content = b"\xa1" + forged.hours.to_bytes(2) + unspell(request_key(forged.request)) + forged.signature
    assert "is not signed by the vendor's license key" in reason_of(
        check_activation_key(spell(content), forged.request, PUBLIC)
    )


def test_no_license_line():
    """What is signed for a key begins as no license line's text does, so neither signature is ever the other's."""
    assert signed_text(asked(), 72).startswith("lsproxy-activation 1\nrequest ")
    assert signed_text(asked(), 72).endswith("\nhours 72\n")


CONTENT = unspell(request_key(asked()))
GRANTED = unspell(issue(asked(), 72, KEY))


@pytest.mark.parametrize(
    ("read", "typed", "reason"),
    [
        (read_request_key, "", "a request key is groups of five letters and digits, and this is empty"),
        (read_request_key, "U-U", "a request key is made of digits and letters but U"),
        (read_request_key, issue(asked(), 72, KEY), "this is an activation key, and a request key belongs here"),
        (read_activation_key, request_key(asked()), "this is a request key, and an activation key belongs here"),
        (read_activation_key, spell(b"\x7fabc"), "this is something else, and an activation key belongs here"),
        (
            read_request_key,
            spell(b"\x12" + CONTENT[1:]),
            "a request key of version 2, and this release reads version 1",
        ),
        (read_request_key, spell(CONTENT[:-1]), "begins like a request key, but is none"),
        (read_request_key, spell(CONTENT + b"\x00"), "begins like a request key, but is none"),
        (read_request_key, spell(CONTENT[:1]), "begins like a request key, but is none"),
        (read_request_key, spell(CONTENT[:1] + b"\x00" + CONTENT[2:]), "begins like a request key, but is none"),
        (read_request_key, spell(CONTENT[:1] + b"\x41" + b"n" * 65 + CONTENT[7:]), "but is none"),
        (read_request_key, spell(CONTENT[:2] + b"li\nc-" + CONTENT[7:]), "but is none"),
        (read_request_key, spell(CONTENT[:2] + b"lic\xff-" + CONTENT[7:]), "but is none"),
        (read_activation_key, spell(GRANTED[:1]), "begins like an activation key, but is none"),
        (read_activation_key, spell(GRANTED[:66]), "begins like an activation key, but is none"),
        (read_activation_key, spell(GRANTED[:-1]), "begins like an activation key, but is none"),
        (read_activation_key, spell(GRANTED[:1] + b"\x00\x00" + GRANTED[3:]), "begins like an activation key"),
        (read_activation_key, spell(GRANTED[:1] + b"\xff\xff" + GRANTED[3:]), "begins like an activation key"),
    ],
)
def test_no_key(read, typed, reason):
    """What is no key is said not to be one, and why."""
    assert reason in reason_of(read(typed))


@given(st.binary(min_size=1, max_size=200), st.sampled_from([b"", b"\x11", b"\x11\x05", b"\xa1"]))
def test_any_bytes(content, beginning):
    """Whatever is spelt is a key or has a reason, and a key has one spelling."""
    request = read_request_key(spell(beginning + content))
    if isinstance(request, Request):
        assert request_key(request) == spell(beginning + content)
    assert isinstance(read_activation_key(spell(beginning + content)), KeyRefused | Activation)


def test_signer():
    """The key that signed the license signs its activations; with a second vendor's line, or none, nobody's does."""
    cad = "INCREMENT cad acme 2027.0 permanent 25\n"
    assert sole_signer(verified(signed_license(cad)), VENDOR_KEYS).public_bytes_raw() == PUBLIC.public_bytes_raw()
    own = signed_license("INCREMENT mine me 1.0 permanent 1\n").removeprefix(SERVERS)
    keys = {**VENDOR_KEYS, "me": PUBLIC}
    both = verify(parse(signed_license(cad) + own, "acme.lic"), keys)
    assert reason_of(sole_signer(both, keys)).startswith("acme.lic: it has lines of acme, me,")
    assert "it has no signed line" in reason_of(sole_signer(verified(SERVERS + cad), VENDOR_KEYS))

"""
How a blocked redundant server asks its vendor for more hours, and how it knows the answer for the vendor's.

A *request key* names the server, its host, its license, the takeover and which
extension of it is asked for. An *activation key* repeats that request with the
hours granted and the signature of the vendor's license-signing key over both. So
an activation key is good for one extension of one takeover of one server, and it
can say itself what it is good for. Both are spelt as `crockford` says.

Normative, with a test vector: docs/license-file.md.
"""

import hashlib
import struct
from collections.abc import Collection, Mapping
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lsproxy.license.crockford import Mistyped, spell, unspell
from lsproxy.license.hostid import Hostid
from lsproxy.license.shown import shown
from lsproxy.license.signature import VerifiedLicense

NONCE_BYTES: Final = 8
MOST_HOURS: Final = 8760

_DIGEST_PREFIX: Final = "sha256:"
_DIGEST_BYTES: Final = 16
_SIGNATURE_BYTES: Final = 64
_LONGEST_NAME: Final = 64
_REQUEST: Final = 0x11
_ACTIVATION: Final = 0xA1
_NUMBERS: Final = struct.Struct(f">{_DIGEST_BYTES}s{_DIGEST_BYTES}sIH{NONCE_BYTES}s")
_HOURS: Final = struct.Struct(">H")
_KINDS: Final = {0x1: "a request key", 0xA: "an activation key"}


class Request(msgspec.Struct, frozen=True):
    """
    What a request key says: the `name` of the redundant server, the digests (16 bytes each) of its `hostids` and of
    its `license`, the number of the `takeover`, that of the `extension` asked for (from 1), and 64 random bits.
    """

    name: str
    hostids: bytes
    license: bytes
    takeover: int
    extension: int
    nonce: bytes


class Activation(msgspec.Struct, frozen=True):
    """What an activation key says: `hours` more for `request`, signed."""

    request: Request
    hours: int
    signature: bytes


class KeyRefused(msgspec.Struct, frozen=True):
    """A key that does not count; `reason` is a sentence."""

    reason: str


def make_request(
    name: str, hostids: Collection[Hostid], license_digest: str, takeover: int, extension: int, nonce: bytes
) -> Request:
    """
    The request of the server `name` whose host is known by `hostids`: for a license ("sha256:" and 64 hex digits), for
    the `extension` (from 1) of the `takeover` (from 1), with NONCE_BYTES random bytes.
    """
    rows = sorted({f"{hostid}\n" for hostid in hostids})
    return Request(
        name=name,
        hostids=hashlib.sha256("".join(rows).encode()).digest()[:_DIGEST_BYTES],
        license=bytes.fromhex(license_digest.removeprefix(_DIGEST_PREFIX))[:_DIGEST_BYTES],
        takeover=takeover,
        extension=extension,
        nonce=nonce,
    )


def request_key(request: Request) -> str:
    """The request as it is sent to the vendor."""
    return spell(_pack(request))


def read_request_key(typed: str) -> Request | KeyRefused:
    """The request that a request key stands for, however it is typed."""
    content = _unspell(typed, _REQUEST)
    if isinstance(content, KeyRefused):
        return content
    request, rest = _unpack(content)
    if request is None or rest:
        return _torn(_REQUEST)
    return request


def issue(request: Request, hours: int, key: Ed25519PrivateKey) -> str:
    """The activation key by which the vendor, whose private key is `key`, grants 1 to MOST_HOURS `hours` more."""
    signature = key.sign(signed_text(request, hours).encode())
    return spell(bytes([_ACTIVATION]) + _HOURS.pack(hours) + _pack(request) + signature)


def signed_text(request: Request, hours: int) -> str:
    """What the vendor signs, in UTF-8: rows, each ended by a newline. No license line has such a text."""
    return f"lsproxy-activation 1\nrequest {request_key(request)}\nhours {hours}\n"


def read_activation_key(typed: str) -> Activation | KeyRefused:
    """What an activation key says, however it is typed. Whether the vendor said it is not looked at."""
    content = _unspell(typed, _ACTIVATION)
    if isinstance(content, KeyRefused):
        return content
    granted, signature = content[1:-_SIGNATURE_BYTES], content[-_SIGNATURE_BYTES:]
    if len(granted) <= _HOURS.size:
        return _torn(_ACTIVATION)
    (hours,) = _HOURS.unpack_from(granted)
    request, rest = _unpack(granted[_HOURS.size :])
    if request is None or rest or not 1 <= hours <= MOST_HOURS:
        return _torn(_ACTIVATION)
    return Activation(request, hours, signature)


def check_activation_key(typed: str, asked: Request, vendor_key: Ed25519PublicKey) -> Activation | KeyRefused:
    """The activation that a key is for the server that now asks with `asked`, or why it is none."""
    activation = read_activation_key(typed)
    if isinstance(activation, KeyRefused):
        return activation
    try:
        vendor_key.verify(activation.signature, signed_text(activation.request, activation.hours).encode())
    except InvalidSignature:
        return KeyRefused(
            "this activation key is not signed by the vendor's license key: it was altered, or another key signed it"
        )
    reason = _why_not(activation.request, asked)
    return KeyRefused(reason) if reason else activation


def sole_signer(
    verified: VerifiedLicense, vendor_keys: Mapping[str, Ed25519PublicKey]
) -> Ed25519PublicKey | KeyRefused:
    """
    The key that signed a license and signs its activation keys; `vendor_keys` are those it was verified with.

    Lines of a second vendor could be a customer's own, and so could a key signed by it: then nobody's counts.
    """
    vendors = sorted({line.vendor for line in verified.signed})
    if len(vendors) == 1:
        return vendor_keys[vendors[0]]
    whose = f"lines of {', '.join(vendors)}" if vendors else "no signed line"
    return KeyRefused(f"{verified.license.file}: it has {whose}, and the license of a pair is of one vendor")


def _why_not(made_for: Request, asked: Request) -> str:
    """Why a key made for one request is none for another; "" if it is."""
    theirs, ours = made_for.takeover, asked.takeover
    if made_for.name != asked.name:
        return f"this activation key is for the server {shown(made_for.name)}, and this one is {asked.name}"
    if made_for.hostids != asked.hostids:
        return f"this activation key is for another host called {asked.name}: the hostids are not those of this one"
    if made_for.license != asked.license:
        return "this activation key is for another license than the one in force; ask with a new request key"
    if theirs != ours:
        return f"this activation key is for takeover {theirs}, and this is takeover {ours}; ask with a new request key"
    if made_for.extension < asked.extension:
        return (
            f"this activation key, for extension {made_for.extension} of takeover {ours}, was counted already; "
            f"the next one is for extension {asked.extension}"
        )
    if made_for != asked:
        return f"this activation key answers a request that this server did not make in takeover {ours}; ask anew"
    return ""


def _pack(request: Request) -> bytes:
    name = request.name.encode()
    numbers = _NUMBERS.pack(request.hostids, request.license, request.takeover, request.extension, request.nonce)
    return bytes([_REQUEST, len(name)]) + name + numbers


def _unpack(content: bytes) -> tuple[Request | None, bytes]:
    """The request at the beginning of `content`, which is not empty, and what follows it; None where there is none."""
    length = content[1] if len(content) > 1 else 0
    name, rest = content[2 : 2 + length], content[2 + length :]
    is_name = 0 < length <= _LONGEST_NAME and name.isascii() and name.decode().isprintable()
    if content[0] != _REQUEST or not is_name or len(rest) < _NUMBERS.size:
        return None, b""
    return Request(name.decode(), *_NUMBERS.unpack_from(rest)), rest[_NUMBERS.size :]


def _unspell(typed: str, form: int) -> bytes | KeyRefused:
    """The bytes of a key whose first one is `form`: which key in its high four bits, which version in its low four."""
    wanted = _KINDS[form >> 4]
    content = unspell(typed)
    if isinstance(content, Mistyped):
        return KeyRefused(f"{wanted} {content.reason}")
    kind, version = content[0] >> 4, content[0] & 0xF
    if kind != form >> 4:
        found = _KINDS.get(kind, "something else")
        return KeyRefused(f"this is {found}, and {wanted} belongs here")
    if version != form & 0xF:
        return KeyRefused(f"this is {wanted} of version {version}, and this release reads version {form & 0xF}")
    return content


def _torn(form: int) -> KeyRefused:
    return KeyRefused(f"this begins like {_KINDS[form >> 4]}, but is none: a part of it is missing, doubled or altered")

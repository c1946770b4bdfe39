"""License texts and keys the tests of this folder share."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lsproxy.license.grammar import parse
from lsproxy.license.signature import VerifiedLicense, sign, verify

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
VENDOR_KEYS = {"acme": KEY.public_key()}
SERVERS = "SERVER lic-a HOSTNAME=lic-a 27101\nVENDOR acme\n"


def signed(lines: str, servers: str = SERVERS) -> str:
    return sign(servers + lines, "acme.lic", KEY)


def verified(text: str) -> VerifiedLicense:
    return verify(parse(text, "acme.lic"), VENDOR_KEYS)


def sentences(text: str) -> list[str]:
    return [str(problem) for problem in verified(text).problems]

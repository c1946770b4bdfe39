"""
Who signed a license line, and that nobody changed it since.

The vendor signs the canonical text of each line (Ed25519). It holds the line and
the hostids of all SERVER lines, so a line can neither be changed nor moved to
another host; host names, ports, VENDOR paths and comments are the customer's.
Normative, with a test vector: docs/license-file.md.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lsproxy.license.grammar import CANONICAL_HEADER, parse
from lsproxy.license.keys import load_private_key, load_public_key
from lsproxy.license.model import FeatureLine, LicenseError, LicenseFile, Problem
from lsproxy.license.terms import why_not_served

__all__ = ["VerifiedLicense", "canonical_text", "load_private_key", "load_public_key", "sign", "verify"]

PREFIX: Final = "ed25519:"

_SIGNATURE_BYTES: Final = 64
_CONTINUED: Final = "    "


class VerifiedLicense(msgspec.Struct, frozen=True):
    """
    A license file after its signatures were checked.

    `signed` are the validly signed lines and `digest`, "sha256:" and 64 hex digits, is over them; `good` are those of
    them that this release serves. `problems` are the file's own and one for every line that is not in `good`.
    """

    license: LicenseFile
    signed: tuple[FeatureLine, ...]
    good: tuple[FeatureLine, ...]
    problems: tuple[Problem, ...]
    digest: str

    @property
    def broken(self) -> tuple[Problem, ...]:
        """The problems but those of validly signed lines that only this release does not serve."""
        unserved = {line.line for line in self.signed} - {line.line for line in self.good}
        return tuple(problem for problem in self.problems if problem.line not in unserved)


def canonical_text(license_file: LicenseFile, feature: FeatureLine) -> str:
    """What the vendor signs, in UTF-8, for `feature`, a line of `license_file`: rows, each ended by a newline."""
    servers = [f"server {' '.join(map(str, server.hostids))}" for server in license_file.servers]
    attributes = sorted((key, value) for key, value in feature.attributes if key != "SIGN")
    rows = [
        CANONICAL_HEADER,
        f"vendor {feature.vendor}",
        *servers,
        f"{feature.keyword} {feature.feature} {feature.vendor} {feature.version} {feature.expiry} {feature.count}",
        *(key if value is None else f"{key}={value}" for key, value in attributes),
    ]
    return "".join(f"{row}\n" for row in rows)


def sign(text: str, file: str, key: Ed25519PrivateKey) -> str:
    """
    `text` with the SIGN of every FEATURE and INCREMENT line set anew by `key`, all else as it was.

    Raises LicenseError, every reason on a line, where `text` has a problem, nothing to sign or lines of two vendors.
    """
    unsigned = parse(text, file)
    _refuse_to_sign(unsigned)
    line_end = "\r\n" if "\r\n" in text else "\n"
    pieces: list[str] = []
    done = 0
    for feature in unsigned.features:
        signature = base64.b64encode(key.sign(canonical_text(unsigned, feature).encode())).decode()
        start, end = feature.sign_span
        gap = f" \\{line_end}{_CONTINUED}" if start == end else ""
        pieces += [text[done:start], f'{gap}SIGN="{PREFIX}{signature}"']
        done = end
    signed = "".join([*pieces, text[done:]])
    _refuse_to_sign(parse(signed, file))
    return signed


def verify(license_file: LicenseFile, vendor_keys: Mapping[str, Ed25519PublicKey]) -> VerifiedLicense:
    """Which lines of `license_file` are signed by their vendor, whose key `vendor_keys` holds under its name."""
    signed: list[FeatureLine] = []
    good: list[FeatureLine] = []
    problems = list(license_file.problems)
    for feature in license_file.features:
        reason = _why_not_signed(license_file, feature, vendor_keys)
        if not reason:
            signed.append(feature)
            reason = why_not_served(feature)
        if reason:
            problems.append(Problem(license_file.file, feature.line, f"{feature.feature} is not served: {reason}"))
        else:
            good.append(feature)
    digest = _digest(license_file, signed)
    return VerifiedLicense(license_file, tuple(signed), tuple(good), tuple(sorted(problems)), digest)


def _refuse_to_sign(license_file: LicenseFile) -> None:
    problems = [*license_file.problems]
    vendors = sorted({feature.vendor for feature in license_file.features})
    if not vendors and not problems:
        problems.append(Problem(license_file.file, 1, "there is no FEATURE or INCREMENT line to sign"))
    if len(vendors) > 1:
        names = ", ".join(vendors)
        problems.append(
            Problem(license_file.file, 1, f"its lines are of {names}; a key signs a file of one vendor only")
        )
    if problems:
        raise LicenseError("\n".join(map(str, problems)))


def _why_not_signed(
    license_file: LicenseFile,
    feature: FeatureLine,
    vendor_keys: Mapping[str, Ed25519PublicKey],
) -> str:
    key = vendor_keys.get(feature.vendor)
    if key is None:
        return f"no public key of vendor {feature.vendor} is configured"
    for server in license_file.servers:
        if not server.hostids:
            return f"the hostid of the SERVER line {server.line} is not understood"
    sign_value = feature.get("SIGN")
    if sign_value is None:
        return "it has no SIGN"
    signature = _decode(sign_value)
    if signature is None:
        return f"its SIGN is not {PREFIX} and the {_SIGNATURE_BYTES} bytes of a signature in base64"
    try:
        key.verify(signature, canonical_text(license_file, feature).encode())
    except InvalidSignature:
        return (
            f"its signature is not that of vendor {feature.vendor}'s key over this line and the SERVER lines' hostids; "
            "one of them was changed or another key signed it"
        )
    return ""


def _decode(sign_value: str) -> bytes | None:
    """A long SIGN may have been wrapped, so blanks within it do not count."""
    encoded = "".join(sign_value.split())
    if not encoded.startswith(PREFIX) or not encoded.isascii():
        return None
    try:
        signature = base64.b64decode(encoded.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        return None
    return signature if len(signature) == _SIGNATURE_BYTES else None


def _digest(license_file: LicenseFile, signed: list[FeatureLine]) -> str:
    texts = sorted({canonical_text(license_file, feature) for feature in signed})
    return f"sha256:{hashlib.sha256(''.join(texts).encode()).hexdigest()}"

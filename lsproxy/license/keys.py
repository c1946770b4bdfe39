"""Where a vendor's Ed25519 keys are read from: PEM files, the private one for its owner's eyes only."""

import os
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from lsproxy.license.model import LicenseError

_MOST_BYTES: Final = 65536
_PRIVATE_MARK: Final = b"PRIVATE KEY"


def load_public_key(path: Path | str) -> Ed25519PublicKey:
    """The vendor's public key in the PEM file `path`. Raises LicenseError."""
    pem, _ = _read(Path(path))
    if _PRIVATE_MARK in pem:
        raise LicenseError(f"{path}: this is a private key; the vendor's public key (.pub) belongs here")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as problem:
        raise LicenseError(f"{path}: this is no public key in PEM; `licserver keygen` makes one") from problem
    if not isinstance(key, Ed25519PublicKey):
        raise LicenseError(f"{path}: this is a public key of another kind; licenses are signed with Ed25519")
    return key


def load_private_key(path: Path | str) -> Ed25519PrivateKey:
    """The vendor's private key in the PEM file `path`, which only its owner may read. Raises LicenseError."""
    pem, mode = _read(Path(path))
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise LicenseError(f"{path}: a private key that others may read (mode {mode:04o}); `chmod 600 {path}` first")
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError as problem:
        raise LicenseError(f"{path}: the private key is encrypted; decrypt it first") from problem
    except (ValueError, UnsupportedAlgorithm) as problem:
        raise LicenseError(f"{path}: this is no private key in PEM; `licserver keygen` makes one") from problem
    if not isinstance(key, Ed25519PrivateKey):
        raise LicenseError(f"{path}: this is a private key of another kind; licenses are signed with Ed25519")
    return key


def _read(path: Path) -> tuple[bytes, int]:
    """The file's beginning and its permission bits, of one and the same file."""
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES), stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except OSError as problem:
        raise LicenseError(f"{path}: the key cannot be read: {problem.strerror}") from problem

"""How a license file comes off the disk: its bytes as text, its grammar read."""

from pathlib import Path

from lsproxy.license.grammar import MOST_BYTES, parse
from lsproxy.license.model import LicenseError, LicenseFile


def read_license(path: Path | str) -> LicenseFile:
    """
    The license file at `path`, parsed.

    Bytes that are not UTF-8 become U+FFFD: harmless in a comment, a problem of the line elsewhere.
    Raises LicenseError where there is nothing to read.
    """
    return parse(_read(Path(path)).decode(errors="replace"), str(path))


def read_license_text(path: Path | str) -> str:
    """The text of the license file at `path`, byte for byte. Raises LicenseError, also where it is not UTF-8."""
    content = _read(Path(path))
    if len(content) > MOST_BYTES:
        raise LicenseError(f"{path}: a license file has at most 1 MiB, this one has more")
    try:
        return content.decode()
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        raise LicenseError(f"{path}:{line}: this line is not UTF-8; save the file as UTF-8") from problem


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as problem:
        raise LicenseError(f"{path}: the license file cannot be read: {problem.strerror}") from problem

"""How license files come off the disk."""

import pytest

from lsproxy.license.file import read_license, read_license_text
from lsproxy.license.model import LicenseError


def test_text_is_kept(tmp_path):
    """The text is the file's, byte for byte, with its line ends and its byte order mark."""
    path = tmp_path / "acme.lic"
    path.write_bytes("\ufeffSERVER é ANY\r\n".encode())
    assert read_license_text(path).encode() == path.read_bytes()
    assert read_license(path).text == read_license_text(path)
    assert read_license(path).file == str(path)


def test_latin_1(tmp_path):
    """Bytes that are not UTF-8 do no harm in a comment and are a problem of their line elsewhere."""
    path = tmp_path / "acme.lic"
    path.write_bytes(b"# caf\xe9\nSERVER a ANY\nFEATURE f v 1.0 permanent 5 NOTICE=caf\xe9\n")
    parsed = read_license(path)
    assert [problem.line for problem in parsed.problems] == [3]
    assert "not UTF-8" in parsed.problems[0].sentence
    assert len(parsed.servers) == 1
    with pytest.raises(LicenseError, match=r"acme\.lic:1: this line is not UTF-8"):
        read_license_text(path)


def test_utf_16(tmp_path):
    """A file in UTF-16 is one clear problem."""
    path = tmp_path / "acme.lic"
    path.write_bytes("SERVER a ANY\n".encode("utf-16"))
    (problem,) = read_license(path).problems
    assert "no text file in UTF-8" in problem.sentence


def test_endless(tmp_path):
    """A file without end is read to its bound only."""
    path = tmp_path / "acme.lic"
    with path.open("wb") as file:
        file.truncate(1 << 32)
    (problem,) = read_license(path).problems
    assert "at most 1 MiB" in problem.sentence
    with pytest.raises(LicenseError, match="at most 1 MiB"):
        read_license_text(path)


def test_missing(tmp_path):
    """A missing file is refused with its name."""
    with pytest.raises(LicenseError, match=r"none\.lic: the license file cannot be read: No such file"):
        read_license(tmp_path / "none.lic")

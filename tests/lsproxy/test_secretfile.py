"""A secret is read only from a file that is closed to others, and written so."""

import os
import stat
from pathlib import Path

import pytest

from lsproxy.secretfile import SecretFileError, SecretMissingError, read_secret, write_secret


def secret(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(SecretFileError) as caught:
        read_secret(path)
    return str(caught.value).replace(str(path.parent), "DIR")


def test_a_secret_is_read_without_the_white_space_around_it(tmp_path: Path):
    """Editors end a file with a newline."""
    assert read_secret(secret(tmp_path, b"\n  s3cret word \r\n")) == "s3cret word"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o777])
def test_a_secret_open_to_group_or_others_is_refused(tmp_path: Path, mode: int):
    """Whichever bit it is; the sentence says how to close it and not what stands in it."""
    told = f"DIR/secret is open to others (mode {mode:04o}), close it with: chmod 600 DIR/secret"
    assert refusal(secret(tmp_path, b"s3cret", mode)) == told


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_secret_of_its_owner_alone_is_taken(tmp_path: Path, mode: int):
    """Read-only is fine."""
    assert read_secret(secret(tmp_path, b"s3cret", mode)) == "s3cret"


def test_what_is_no_secret_is_told(tmp_path: Path):
    """Empty, not text, too large: one sentence each, naming the file."""
    assert refusal(secret(tmp_path, b" \n")) == "DIR/secret is empty, a secret must stand in it"
    assert refusal(secret(tmp_path, b"s3cret \xff")) == "DIR/secret is not text, a secret must be"
    assert refusal(secret(tmp_path, b"x" * 70_000)) == "DIR/secret is larger than 65536 bytes, that is no secret"


def test_a_folder_a_pipe_and_a_missing_file_are_told(tmp_path: Path):
    """A pipe nobody writes to does not hang the daemon."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert refusal(tmp_path / "pipe") == "DIR/pipe is not a file, a secret must stand in one"
    (tmp_path / "folder").mkdir()
    assert refusal(tmp_path / "folder") == "DIR/folder is not a file, a secret must stand in one"
    with pytest.raises(SecretMissingError, match=r"none does not exist, put the secret there, mode 0600$"):
        read_secret(tmp_path / "none")
    assert refusal(tmp_path / "pipe" / "x") == "DIR/x cannot be read: Not a directory"


def test_a_written_secret_is_closed_whatever_was_there(tmp_path: Path):
    """It takes the place of an open file as a closed one, under any umask."""
    path = secret(tmp_path, b"old", 0o644)
    before = os.umask(0)
    try:
        write_secret(path, "new")
    finally:
        os.umask(before)
    assert read_secret(path) == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == b"new\n"
    assert [one.name for one in tmp_path.iterdir()] == ["secret"]


def test_a_secret_that_cannot_be_written_leaves_the_old_one(tmp_path: Path):
    """A folder that is missing, or a folder in the file's place: a sentence, nothing left behind."""
    with pytest.raises(SecretFileError, match=r"cannot be written: the folder .*/none does not exist, make it first$"):
        write_secret(tmp_path / "none" / "secret", "x")
    (tmp_path / "taken").mkdir()
    with pytest.raises(SecretFileError, match=r"taken cannot be written: Is a directory$"):
        write_secret(tmp_path / "taken", "x")
    assert [one.name for one in tmp_path.iterdir()] == ["taken"]

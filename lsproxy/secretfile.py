"""
May what stands in this file be taken for a secret, and how is a secret written?

A secret others can read is refused, so that nobody runs for years on a token
that is none. What is read never appears in an error.
"""

import contextlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from lsproxy.accesslist import is_private_by_list
from lsproxy.errors import LsproxyError

MOST_BYTES: Final = 64 * 1024
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class SecretFileError(LsproxyError):
    """A file that cannot serve as a secret; `str()` names the file, what is wrong and what would be right."""


class SecretMissingError(SecretFileError):
    """There is no such file."""


def read_secret(path: Path) -> str:
    """
    The text of the file, without the white space around it. Raises
    `SecretMissingError` where there is none, `SecretFileError` where it is no file, empty, not text, or open to
    its group or to others.
    """
    try:
        # O_NONBLOCK: opening a pipe nobody writes to must not hang
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _refuse_unless_private(descriptor, path)
            content = os.read(descriptor, MOST_BYTES + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise SecretMissingError(f"{path} does not exist, put the secret there, mode 0600") from None
    except OSError as error:
        raise SecretFileError(f"{path} cannot be read: {error.strerror}") from None
    return _secret(content, path)


def write_secret(path: Path, text: str) -> None:
    """
    Puts `text` and a newline in place of the file, mode 0600, whole or not at
    all, kept on disk when this returns. Raises `SecretFileError` where the
    folder takes no file.
    """
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text.rstrip("\n") + "\n")
                file.flush()
                os.fsync(descriptor)
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()
            raise
        _sync_folder(path.parent)
    except FileNotFoundError:
        raise SecretFileError(
            f"{path} cannot be written: the folder {path.parent} does not exist, make it first"
        ) from None
    except OSError as error:
        raise SecretFileError(f"{path} cannot be written: {error.strerror}") from None


def _refuse_unless_private(descriptor: int, path: Path) -> None:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise SecretFileError(f"{path} is not a file, a secret must stand in one")
    if status.st_mode & _OTHERS and not is_private_by_list(descriptor, os.geteuid()):
        mode = stat.S_IMODE(status.st_mode)
        raise SecretFileError(f"{path} is open to others (mode {mode:04o}), close it with: chmod 600 {path}")


def _secret(content: bytes, path: Path) -> str:
    if len(content) > MOST_BYTES:
        raise SecretFileError(f"{path} is larger than {MOST_BYTES} bytes, that is no secret")
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        raise SecretFileError(f"{path} is not text, a secret must be") from None
    if not text:
        raise SecretFileError(f"{path} is empty, a secret must stand in it")
    return text


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

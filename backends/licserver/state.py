"""
Which journal has this server seen, and how far had it come?

A journal that was restored from a backup, or a copy of it, has forgotten
seats; served again it would grant them twice. Every server remembers the id of
its journal, the highest epoch and every few seconds the newest slot it has seen,
in a file of its own, and goes on only from that journal, no older than that.

[Identity] The file has a random identity as well. The primary of a pair keeps in the journal
under which one it saw its redundant server, so that neither a new state file beside an old
copy of the journal nor a journal begun anew makes the takeover limit whole.
"""

import os
import secrets
from pathlib import Path
from typing import Final, Self

import msgspec

from licserver.errors import LicserverError

SLOT_SECONDS: Final = 10.0
"""How often a newer slot of the same epoch is kept."""


class _Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    server_name: str
    journal: str
    epoch: int
    identity: str = ""
    slot: int = 0


_file: Final = msgspec.json.Decoder(_Seen)


class SeenState:
    """
    What the server of `server_name` with the state file at `path` has seen.

    `identity` is the file's, see [Identity]. Raises LicserverError if the file cannot be read, is damaged or another
    name's. A missing one has seen nothing.
    """

    def __init__(self, path: Path, server_name: str) -> None:
        self._path = path
        self._server_name = server_name
        self._seen = _load(path, server_name)
        self.identity = (self._seen and self._seen.identity) or secrets.token_hex(16)

    def check(self, journal_id: str, epoch: int, slot: int) -> str | None:
        """Why this server may not go on from that journal at that epoch and newest slot; None if it may."""
        seen = self._seen
        if seen is None:
            return None
        accept = "`licserver journal accept -c FILE` goes on from it knowingly"
        if journal_id != seen.journal:
            return (
                f"the journal {journal_id} of {self._server_name} is not the one this server has seen "
                f"({seen.journal}, epoch {seen.epoch}): a new one, or another server's; {accept}"
            )
        if epoch < seen.epoch:
            return (
                f"the journal {journal_id} of {self._server_name} is older than what this server has seen "
                f"(epoch {epoch} < {seen.epoch}): a copy or an old backup; {accept}"
            )
        if epoch == seen.epoch and slot < seen.slot:
            return (
                f"the journal {journal_id} of {self._server_name} is older than what this server has seen "
                f"(slot {slot} < {seen.slot} of epoch {epoch}): a copy or an old backup; {accept}"
            )
        return None

    def epoch_of(self, journal_id: str) -> int:
        """The highest epoch seen of that journal, 0 for one that was not seen."""
        return self._seen.epoch if self._seen is not None and self._seen.journal == journal_id else 0

    def remember(self, journal_id: str, epoch: int, slot: int) -> None:
        """
        Keep what was seen, on disk if it is more than before. Only after `check` has passed.

        Raises LicserverError if it cannot be written; then nothing is remembered.
        """
        seen = self._seen
        if seen is None or (epoch, slot) > (seen.epoch, seen.slot):
            risen = _Seen(self._server_name, journal_id, epoch, self.identity, slot)
            _keep(self._path, risen)
            self._seen = risen

    @classmethod
    def accept(cls, path: Path, server_name: str, journal_id: str, epoch: int) -> Self:
        """
        Go on from that journal whatever was seen before, under a new identity.

        Raises LicserverError if it cannot be written.
        """
        _keep(path, _Seen(server_name, journal_id, epoch, secrets.token_hex(16)))
        return cls(path, server_name)


def _load(path: Path, server_name: str) -> _Seen | None:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LicserverError(f"the state file {path} cannot be read: {error.strerror}") from error
    try:
        seen = _file.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LicserverError(
            f"the state file {path} is damaged; `licserver journal accept -c FILE` writes a new one knowingly"
        ) from error
    if seen.server_name != server_name:
        raise LicserverError(
            f"the state file {path} belongs to {seen.server_name}, not to {server_name}; every server has its own"
        )
    return seen


def _keep(path: Path, seen: _Seen) -> None:
    draft = path.with_name(f".{path.name}.new")
    try:
        draft.unlink(missing_ok=True)
        draft.touch(0o600, exist_ok=False)
        with draft.open("wb") as file:
            file.write(msgspec.json.encode(seen) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise LicserverError(f"the state file {path} cannot be written: {error.strerror}") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""
What are the journal's writes and reads as SQL?

Every fenced write is one statement that compares the epoch and writes, so
between the comparison and the writing there is nothing. A statement that
matched no row wrote nothing; only then is it looked up why.
"""

import sqlite3
from typing import Any

import msgspec

from licserver.journal.interface import (
    Claim,
    ClaimMoved,
    Compacted,
    Entry,
    JournalUnusable,
    Member,
    SlotRefused,
    Snapshot,
    StaleEpoch,
)

_CLAIM = """
SELECT n.epoch, n.holder, n.heir, n.confirmations + e.slot, max(n.active_seconds, e.active_seconds), e.slot, n.hold_down
  FROM active_name n JOIN entries e ON e.slot = (SELECT max(slot) FROM entries)
"""
_ACTIVATE = """
UPDATE active_name SET epoch = epoch + 1, holder = :holder, instance = :instance, heir = NULL, hold_down = :hold_down
 WHERE epoch = :epoch AND instance IS :judged
"""
_APPEND = """
INSERT INTO entries (slot, lineage, epoch, active_seconds, batch)
SELECT :slot, newest.lineage, :epoch, max(:active_seconds, newest.active_seconds), :batch
  FROM entries newest
 WHERE newest.slot = (SELECT max(slot) FROM entries) AND newest.slot = :slot - 1
   AND EXISTS (SELECT 1 FROM active_name WHERE epoch = :epoch AND holder IS NOT NULL)
"""
_CONFIRM = """
UPDATE active_name SET confirmations = confirmations + 1, active_seconds = max(active_seconds, :active_seconds)
 WHERE epoch = :epoch AND holder IS NOT NULL
"""
_RELEASE = """
UPDATE active_name
   SET holder = NULL, instance = NULL, heir = :heir, active_seconds = max(active_seconds, :active_seconds)
 WHERE epoch = :epoch AND (holder IS NOT NULL OR heir IS :heir)
"""
_WRITE_PART = """
INSERT INTO parts (slot, number, epoch, part)
SELECT :slot, :number, :epoch, :part FROM active_name
 WHERE epoch = :epoch AND holder IS NOT NULL
   AND :slot > snapshot_slot AND :slot <= (SELECT max(slot) FROM entries)
    ON CONFLICT (slot, number) DO UPDATE SET epoch = excluded.epoch, part = excluded.part
"""
_PUBLISH = """
UPDATE active_name SET snapshot_slot = :slot, snapshot_parts = :parts
 WHERE epoch = :epoch AND holder IS NOT NULL
   AND :slot BETWEEN 0 AND (SELECT max(slot) FROM entries)
   AND (snapshot_slot = :slot AND snapshot_parts = :parts
        OR snapshot_slot < :slot AND :parts =
           (SELECT count(*) FROM parts WHERE slot = :slot AND number < :parts AND epoch = :epoch))
"""
_DELETE_ENTRIES = """
DELETE FROM entries
 WHERE slot <= min(:slot, (SELECT max(slot) FROM entries) - 1, (SELECT min(slot) FROM entries) + :bite - 1)
   AND EXISTS (SELECT 1 FROM active_name WHERE epoch = :epoch AND holder IS NOT NULL)
"""
_DELETE_PARTS = """
DELETE FROM parts
 WHERE rowid IN (SELECT rowid FROM parts WHERE slot < :slot OR slot = :slot AND number >= :parts LIMIT :bite)
   AND EXISTS (SELECT 1 FROM active_name WHERE epoch = :epoch AND holder IS NOT NULL)
"""
_WHY = """
SELECT n.epoch, n.holder, (SELECT server_name FROM journal), (SELECT max(slot) FROM entries), n.snapshot_slot,
       (SELECT epoch = :epoch AND batch = :batch FROM entries WHERE slot = :slot)
  FROM active_name n
"""
_SNAPSHOT = """
SELECT snapshot_slot, part
  FROM active_name LEFT JOIN parts ON slot = snapshot_slot AND number < snapshot_parts
 WHERE row = 1
 ORDER BY number
"""

_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(Member)

ClaimRow = tuple[int, str | None, str | None, int, float, int, float]


def claim_row(cursor: sqlite3.Cursor) -> ClaimRow:
    """The claim as the file has it, quick to compare."""
    row: ClaimRow = cursor.execute(_CLAIM).fetchone()
    return row


def claim_of(row: ClaimRow) -> Claim:
    """The claim that a row says."""
    epoch, holder, heir, confirmations, active_seconds, newest_slot, hold_down = row
    member = None if holder is None else _member(holder)
    return Claim(epoch, member, heir, confirmations, active_seconds, newest_slot, hold_down)


def activate(cursor: sqlite3.Cursor, judged: Claim, member: Member, hold_down: float) -> Claim:
    """See `interface.Journal.activate`. Leaves no transaction open."""
    cursor.execute("BEGIN IMMEDIATE")
    cursor.execute(
        _ACTIVATE,
        {
            "holder": _encode(member).decode(),
            "instance": member.instance,
            "hold_down": hold_down,
            "epoch": judged.epoch,
            "judged": None if judged.holder is None else judged.holder.instance,
        },
    )
    is_moved = cursor.rowcount == 0
    claim = claim_of(claim_row(cursor))
    cursor.execute("COMMIT")
    if is_moved and (claim.epoch != judged.epoch + 1 or claim.holder != member):
        holder = "nobody" if claim.holder is None else claim.holder.name
        raise ClaimMoved(f"the name is held by {holder} under epoch {claim.epoch}; the claim judged had {judged.epoch}")
    return claim


def append(cursor: sqlite3.Cursor, epoch: int, slot: int, batch: bytes, active_seconds: float) -> None:
    """See `interface.Journal.append`."""
    cursor.execute(_APPEND, {"epoch": epoch, "slot": slot, "batch": batch, "active_seconds": active_seconds})
    if cursor.rowcount == 1:
        return
    newest, _, is_same = _why(cursor, epoch, slot, batch)
    if not is_same:
        raise SlotRefused(f"slot {slot} cannot be filled under epoch {epoch}: the newest filled slot is {newest}")
    confirm(cursor, epoch, active_seconds)


def confirm(cursor: sqlite3.Cursor, epoch: int, active_seconds: float) -> None:
    """See `interface.Journal.confirm`."""
    cursor.execute(_CONFIRM, {"epoch": epoch, "active_seconds": active_seconds})
    _insist(cursor, epoch)


def release(cursor: sqlite3.Cursor, epoch: int, heir: str | None, active_seconds: float) -> None:
    """See `interface.Journal.release`."""
    cursor.execute(_RELEASE, {"epoch": epoch, "heir": heir, "active_seconds": active_seconds})
    _insist(cursor, epoch)


def write_part(cursor: sqlite3.Cursor, epoch: int, slot: int, number: int, part: bytes) -> None:
    """See `interface.Journal.write_part`."""
    cursor.execute(_WRITE_PART, {"epoch": epoch, "slot": slot, "number": number, "part": part})
    if cursor.rowcount == 1:
        return
    newest, published, _ = _why(cursor, epoch)
    present = cursor.execute("SELECT epoch, part FROM parts WHERE slot = ? AND number = ?", (slot, number)).fetchone()
    if present != (epoch, part):
        raise SlotRefused(
            f"no snapshot of slot {slot} can be written: the newest filled slot is {newest}, published is {published}"
        )


def publish(cursor: sqlite3.Cursor, epoch: int, slot: int, parts: int) -> None:
    """Let the snapshot of `slot` be the one that counts; deletes nothing yet."""
    cursor.execute(_PUBLISH, {"epoch": epoch, "slot": slot, "parts": parts})
    if cursor.rowcount == 0:
        newest, published, _ = _why(cursor, epoch)
        raise SlotRefused(
            f"the snapshot of slot {slot} cannot be published: some of its {parts} parts are not there, "
            f"or it is not between the published one ({published}) and the newest slot ({newest})"
        )


def delete_needless(cursor: sqlite3.Cursor, epoch: int, slot: int, parts: int, bite: int) -> bool:
    """Delete some of what the snapshot of `slot` made needless, up to `bite` entries; False if there was nothing."""
    known = {"epoch": epoch, "slot": slot, "parts": parts}
    for statement, most in ((_DELETE_ENTRIES, bite), (_DELETE_PARTS, _PARTS_BITE)):
        cursor.execute(statement, {**known, "bite": most})
        if cursor.rowcount:
            return True
    _why(cursor, epoch)
    return False


def read(cursor: sqlite3.Cursor, after: int, limit: int) -> list[Entry]:
    """See `interface.Journal.read`."""
    rows = cursor.execute(
        "SELECT slot, epoch, batch FROM entries WHERE slot > ? ORDER BY slot LIMIT ?", (after, limit)
    ).fetchall()
    if rows and rows[0][0] != after + 1:
        raise Compacted(f"slot {after + 1} was deleted, the oldest is {rows[0][0]}; begin with the snapshot")
    return [Entry(*row) for row in rows]


def snapshot(cursor: sqlite3.Cursor) -> Snapshot | None:
    """See `interface.Journal.snapshot`."""
    rows = cursor.execute(_SNAPSHOT).fetchall()
    slot = rows[0][0]
    return None if slot == _NEVER else Snapshot(slot, [part for _, part in rows if part is not None])


def join(cursor: sqlite3.Cursor, member: Member) -> None:
    """See `interface.Journal.join`."""
    cursor.execute("INSERT OR REPLACE INTO members VALUES (?, ?)", (member.name, _encode(member).decode()))


def leave(cursor: sqlite3.Cursor, member: Member) -> None:
    """See `interface.Journal.leave`."""
    cursor.execute(
        "DELETE FROM members WHERE name = ? AND json_extract(member, '$.instance') = ?", (member.name, member.instance)
    )


def members(cursor: sqlite3.Cursor) -> list[Member]:
    """All that joined and did not leave, by name."""
    return [_member(row[0]) for row in cursor.execute("SELECT member FROM members ORDER BY name").fetchall()]


def data_version(cursor: sqlite3.Cursor) -> int:
    """A number that changes when another connection has written something."""
    return int(cursor.execute("PRAGMA data_version").fetchone()[0])


_PARTS_BITE = 4
_NEVER = -1  # what `snapshot_slot` says before the first one


def _member(text: str) -> Member:
    try:
        return _members.decode(text)
    except msgspec.DecodeError as error:
        raise JournalUnusable(f"the journal names a member that this release cannot read: {error}") from error


def _insist(cursor: sqlite3.Cursor, epoch: int) -> None:
    """A statement that matched no row was refused because of its epoch."""
    if cursor.rowcount == 0:
        _why(cursor, epoch)
        raise StaleEpoch(f"epoch {epoch} is over")


def _why(cursor: sqlite3.Cursor, epoch: int, slot: int = -1, batch: bytes = b"") -> tuple[int, int, bool]:
    """
    Newest slot, published slot, and whether `slot` holds `batch` of this epoch.

    Raises StaleEpoch if the reason is that `epoch` does not hold the name.
    """
    row: tuple[Any, ...] = cursor.execute(_WHY, {"epoch": epoch, "slot": slot, "batch": batch}).fetchone()
    now, holder, server_name, newest, published, is_same = row
    if now != epoch:
        raise StaleEpoch(f"epoch {epoch} is over: {server_name} is at epoch {now}")
    if holder is None:
        raise StaleEpoch(f"epoch {epoch} is over: the name {server_name} was given up")
    return newest, published, bool(is_same)

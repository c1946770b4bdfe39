"""
A ledger's image as parts of bounded size, and back.

Part 0 is the head; then come sessions and entries, `PART_LENGTH` to a part.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from licserver.core import events as ev
from licserver.core import takeover
from licserver.core.ledger import Entry, Image, Session

PART_LENGTH: Final = 2000
FORMAT: Final = 1


class _Head(msgspec.Struct, array_like=True, tag="head"):
    format: int
    epoch: int
    next_session: int
    next_seat: int
    license_text: str
    license_file: str
    takeovers: dict[bytes, takeover.State]
    registered: ev.RedundantRegistered | None
    seen_of_pair: dict[bytes, dict[str, str]]


class _Sessions(msgspec.Struct, array_like=True, tag="sessions"):
    sessions: list[Session]


class _Entries(msgspec.Struct, array_like=True, tag="entries"):
    entries: list[Entry]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Head | _Sessions | _Entries)


def to_parts(image: Image) -> Iterator[bytes]:
    """The parts one by one; making each takes a few milliseconds at most."""
    head = _Head(
        format=FORMAT,
        epoch=image.epoch,
        next_session=image.next_session,
        next_seat=image.next_seat,
        license_text=image.license_text,
        license_file=image.license_file,
        takeovers=image.takeovers,
        registered=image.registered,
        seen_of_pair=image.seen_of_pair,
    )
    yield _encoder.encode(head)
    for start in range(0, len(image.sessions), PART_LENGTH):
        yield _encoder.encode(_Sessions(image.sessions[start : start + PART_LENGTH]))
    for start in range(0, len(image.entries), PART_LENGTH):
        yield _encoder.encode(_Entries(image.entries[start : start + PART_LENGTH]))


def from_parts(parts: Sequence[bytes]) -> Image:
    """The image again. Raises msgspec.DecodeError for what `to_parts` did not make."""
    head, *rest = [_decoder.decode(part) for part in parts] or [None]
    if not isinstance(head, _Head):
        raise msgspec.DecodeError("the snapshot does not begin with its head")
    if head.format != FORMAT:
        raise msgspec.DecodeError(f"snapshot format {head.format}, this release reads {FORMAT}")
    image = Image(
        epoch=head.epoch,
        next_session=head.next_session,
        next_seat=head.next_seat,
        license_text=head.license_text,
        license_file=head.license_file,
        sessions=[],
        entries=[],
        takeovers=head.takeovers,
        registered=head.registered,
        seen_of_pair=head.seen_of_pair,
    )
    for part in rest:
        match part:
            case _Sessions(sessions):
                image.sessions += sessions
            case _Entries(entries):
                image.entries += entries
            case _:
                raise msgspec.DecodeError("the snapshot has two heads")
    return image

"""
A journal on a disk that fills up, as a program to be run where FOLDER is a small file system of its own.

Says a line of JSON: the errors met, and whether everything was in order again once there was room.
"""

import json
import sys
from pathlib import Path

from lsproxy.net import reactor as reactors

reactor = reactors.install()

from twisted.internet.defer import Deferred  # noqa: E402 - as above
from twisted.internet.task import react  # noqa: E402 - as above

from licserver.journal.interface import JournalError, Member  # noqa: E402 - the reactor comes first
from licserver.journal.process import this_process  # noqa: E402 - as above
from licserver.journal.sqlite import create, open_journal  # noqa: E402 - as above

BATCH = b"x" * 4000


def fill_disk(folder: str) -> None:
    Path(folder, "ballast").write_bytes(bytes(100_000))


def make_room(folder: str) -> None:
    Path(folder, "ballast").unlink()


def left_of(folder: str, name: str) -> list[str]:
    return [entry.name for entry in Path(folder).iterdir() if name in entry.name]


async def main(_reactor: object, folder: str) -> None:
    path = Path(folder, "acme.db")
    create(path, "acme")
    journal = await open_journal(reactor, path, "acme")
    fill_disk(folder)
    claim = await journal.activate(await journal.claim(), Member("lic-a", "aa" * 16, "h:1", this_process()), 5.0)
    slot, errors = 0, []
    while not errors:
        try:
            await journal.append(claim.epoch, slot + 1, BATCH, 0.0)
            slot += 1
        except JournalError as error:
            errors.append([type(error).__name__, str(error)])
    while_full = len(await journal.read(0, 10_000))
    for _ in range(3):
        try:
            await journal.append(claim.epoch, slot + 1, BATCH, 0.0)
        except JournalError as error:
            errors.append([type(error).__name__, str(error)])
    try:
        create(Path(folder, "second.db"), "acme")
    except JournalError as error:
        errors.append([type(error).__name__, str(error)])
    leftovers = left_of(folder, "second")
    make_room(folder)
    await journal.append(claim.epoch, slot + 1, BATCH, 0.0)
    await journal.append(claim.epoch, slot + 2, BATCH, 0.0)
    slots = [entry.slot for entry in await journal.read(0, 10_000)]
    await journal.close()
    sys.stdout.write(
        json.dumps(
            {
                "errors": errors,
                "kept": slot,
                "while_full": while_full,
                "leftovers": leftovers,
                "afterwards_whole": slots == list(range(1, slot + 3)),
            }
        )
    )


react(lambda *given: Deferred.fromCoroutine(main(*given)), sys.argv[1:], _reactor=reactor)

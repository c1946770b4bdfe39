"""
Which journal does a configuration name, and how is it made, opened, examined and accepted?

`sqlite:` serves license servers on one host, `etcd:` those on several.
"""

from collections.abc import Callable
from pathlib import Path

from licserver.config import Etcd, LicserverConfig
from licserver.journal import etcd_check, etcd_opening, sqlite
from licserver.journal.etcd_place import Access, EtcdPlace
from licserver.journal.interface import Journal
from licserver.journal.sqlite_place import raise_epoch as raise_sqlite_epoch
from lsproxy.net.reactor import BoottimeReactor
from lsproxy.secretfile import read_secret


async def create_journal(config: LicserverConfig, reactor: BoottimeReactor) -> str:
    """Make the journal, where there is none; its id. Raises JournalError."""
    place: Path | EtcdPlace = config.journal
    if isinstance(place, EtcdPlace):
        return await etcd_opening.create(reactor, place, access(config.etcd), config.server_name)
    return sqlite.create(place, config.server_name)


async def open_journal(config: LicserverConfig, reactor: BoottimeReactor) -> Journal:
    """One more handle on the journal. Raises JournalUnusable."""
    place: Path | EtcdPlace = config.journal
    if isinstance(place, EtcdPlace):
        return await etcd_opening.open_journal(reactor, place, access(config.etcd), config.server_name)
    return await sqlite.open_journal(reactor, place, config.server_name)


async def accept_copy(config: LicserverConfig, reactor: BoottimeReactor) -> None:
    """Go on from the journal although it is a copy. Raises JournalError while anybody uses it."""
    place: Path | EtcdPlace = config.journal
    if isinstance(place, EtcdPlace):
        await etcd_opening.accept_copy(reactor, place, access(config.etcd))
    else:
        sqlite.accept_copy(place)


async def raise_epoch(config: LicserverConfig, reactor: BoottimeReactor, epoch: int) -> None:
    """Let the epochs of a journal that was restored go on above `epoch`. Raises JournalError while anybody uses it."""
    place: Path | EtcdPlace = config.journal
    if isinstance(place, EtcdPlace):
        await etcd_opening.raise_epoch(reactor, place, access(config.etcd), epoch)
    else:
        raise_sqlite_epoch(place, epoch)


async def store_problems(config: LicserverConfig, reactor: BoottimeReactor, wall: Callable[[], float]) -> list[str]:
    """What is wrong with the store under the journal, a sentence each; of a file, `open_journal` says it all."""
    place: Path | EtcdPlace = config.journal
    if isinstance(place, EtcdPlace):
        return await etcd_check.problems(reactor, place, access(config.etcd), wall)
    return []


def access(etcd: Etcd) -> Access:
    """What the configuration gives to be let into etcd, the password read. Raises SecretFileError."""
    password = None if etcd.password_file is None else read_secret(etcd.password_file)
    return Access(etcd.ca, etcd.certificate, etcd.key, etcd.user, password)

"""What is wrong with the files, the license and the journal that a configuration names, before a start finds out?"""

import time
from collections.abc import Iterator

from licserver.config import LicserverConfig
from licserver.core.scheme import Redundant
from licserver.errors import LicserverError
from licserver.journals import open_journal, store_problems
from licserver.licenses import LicenseRefused
from licserver.ownlicenses import load_licenses
from licserver.state import SeenState
from lsproxy.errors import LsproxyError
from lsproxy.net import tls
from lsproxy.net.reactor import BoottimeReactor


def check_files(config: LicserverConfig) -> list[str]:
    """What is wrong with all files but those two, a sentence each; nothing is made or written."""
    return [*_certificate(config), *_debug_log(config)]


def check_license(config: LicserverConfig) -> list[str]:
    """What is wrong with the own license file, a sentence each; empty if this server may serve all of it."""
    licenses = load_licenses(config)
    try:
        text = licenses.read()
    except LicenseRefused as refused:
        return [str(refused)]
    problems = [str(problem) for problem in licenses.verify(text, str(config.license_file)).problems]
    reason = licenses.why_not(text, str(config.license_file))
    return [*problems, reason] if reason else problems


def why_not_create(config: LicserverConfig) -> str:
    """Why the journal is not to be created by this server, which may serve its license file; "" if it may be."""
    licenses = load_licenses(config)
    if isinstance(licenses.role(licenses.read(), str(config.license_file)), Redundant):
        return (
            f"{config.name} is the redundant server, and a journal is created by the primary: its takeover limit "
            "stands in there; run `licserver init` on the primary's host"
        )
    return ""


async def check_journal(config: LicserverConfig, reactor: BoottimeReactor) -> list[str]:
    """What is wrong with the journal and the store it is in, a sentence each."""
    problems: list[str] = []
    try:
        problems += await store_problems(config, reactor, time.time)
        journal = await open_journal(config, reactor)
        claim = await journal.claim()
        seen = SeenState(config.state, config.server_name)
        reason = seen.check(journal.journal_id, claim.epoch, claim.newest_slot)
        await journal.close()
        problems += [reason] if reason else []
    except (LicserverError, LsproxyError) as problem:
        problems.append(str(problem))
    return problems


def _certificate(config: LicserverConfig) -> Iterator[str]:
    own = config.listen.tls
    if own is None:
        return
    try:
        tls.server_tls(own.certificate, own.key, own.client_ca)
        tls.client_context(own.trusted, own.certificate, own.key)
    except LsproxyError as problem:
        yield f"listen.tls: {problem}"


def _debug_log(config: LicserverConfig) -> Iterator[str]:
    path = config.debug_log
    if path is None:
        return
    if path.is_dir():
        yield f"debug_log: {path} is a folder, name a file"
    elif not path.parent.is_dir():
        yield f"debug_log: the folder {path.parent} does not exist, make it or name another file"

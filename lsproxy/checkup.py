"""What would go wrong if lsproxy were started with this configuration, and what should be looked at beforehand?"""

import os
import pwd
import random
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec

from lsproxy.config import model
from lsproxy.config.check import load_config
from lsproxy.config.document import Document, read_document
from lsproxy.config.tokens import load_tokens
from lsproxy.core.binding import Unbound
from lsproxy.core.expiry import due, sentence
from lsproxy.core.outside import bind
from lsproxy.errors import LsproxyError
from lsproxy.expiries import terms_of
from lsproxy.license.thirdparty import ThirdPartyLicense
from lsproxy.net.reactor import BoottimeReactor, install
from lsproxy.net.tls import server_tls
from lsproxy.proxy.build import plan_pool, shared_name
from lsproxy.proxy.kinds import kind, read_licenses
from lsproxy.proxy.kinds.advice import findings
from lsproxy.proxy.licenses import Licenses
from lsproxy.proxy.relay.seen import look_at_once
from lsproxy.proxy.seatpool import SeatPlan


class Checkup(msgspec.Struct, frozen=True):
    """A sentence each: `problems` are refused by `serve` or leave something unserved, `warnings` are not."""

    problems: list[str]
    warnings: list[str]


def check(path: Path) -> Checkup:
    """
    What `serve` would refuse or complain of, without starting anything.

    Raises ConfigError for what is wrong in the file itself.
    """
    config = load_config(path)
    reactor = install()
    problems = [*_tokens(config), *_folders(config)]
    for name, pool in config.pools.items():
        problems += _pool(reactor, name, pool)
    problems += _certificates(config)
    idle = _without_effect(read_document(path), config)
    today = datetime.now(UTC).date()
    ending = _ending(config, today)
    warnings = [*advice(config, today), *ending, *_bindings(config), *_programs(config), *idle]
    if os.geteuid() == 0:
        warnings += roots_alone(config)
    return Checkup(problems, warnings)


def advice(config: model.LsproxyConfig, today: date | None = None) -> Iterator[str]:
    """
    What does not fit between third-party pools, their listeners and license files, as far as these are read, and what
    of the files ends soon after `today`, where that is given.
    """
    for name, pool in config.pools.items():
        if isinstance(pool, model.RelayPool):
            try:
                found = findings(name, pool, config.listen, third_party_licenses(pool), today)
            except LsproxyError:
                continue  # said as a problem
            yield from (f"{name}: {finding}" for finding in found)


def third_party_licenses(pool: model.Pool) -> dict[str, ThirdPartyLicense]:
    """The license files of a third-party pool by backend. Raises LicenseError for one that cannot be read."""
    return read_licenses(pool) if isinstance(pool, model.RelayPool) else {}


def _tokens(config: model.LsproxyConfig) -> Iterator[str]:
    try:
        load_tokens(config.admin.tokens_file)
    except LsproxyError as problem:
        yield str(problem)


def _folders(config: model.LsproxyConfig) -> Iterator[str]:
    files = {"state": config.state, "admin.socket": config.admin.socket, "access_log": config.access_log}
    for key, file in files.items():
        if file is not None and not os.access(file.parent, os.W_OK | os.X_OK):
            yield f"{key}: the folder {file.parent} does not exist or is not writable: make it, or name another file"
        elif file is not None and file.is_dir():
            yield f"{key}: {file} is a folder, name a file"


def _pool(reactor: BoottimeReactor, name: str, pool: model.Pool) -> Iterator[str]:
    try:
        plan = plan_pool(reactor, name, pool, random.random)
    except LsproxyError as problem:
        yield f"pools.{name}: {problem}"
        return
    if isinstance(plan, SeatPlan):
        files = {verified.license.file: verified for verified in map(plan.licenses.of, plan.places)}
        yield from (str(problem) for verified in files.values() for problem in verified.problems)
        yield from (f"{file} has no line to serve" for file, verified in files.items() if not verified.good)


def _bindings(config: model.LsproxyConfig) -> Iterator[str]:
    for name, pool in config.pools.items():
        if not isinstance(pool, model.RelayPool) or pool.binding == "off":
            continue
        try:
            licenses = third_party_licenses(pool)
        except LsproxyError:
            continue  # said as a problem
        for backend, license_file in licenses.items():
            settings = pool.backends[backend]
            host = next(iter(settings.doors.values())).host
            called = [host, *([] if pool.server_name is None else [pool.server_name])]
            is_case_kept = kind(pool.kind).is_case_kept
            binding = bind(license_file, look_at_once(host), settings.hostids, called, is_case_kept=is_case_kept)
            if isinstance(binding, Unbound):
                yield f"{name}: {backend} is not bound: {binding.reason}"


def _without_effect(document: Document, config: model.LsproxyConfig) -> Iterator[str]:
    for name, pool in config.pools.items():
        if not isinstance(pool, model.RelayPool) or not document.has("pools", name, "conflict"):
            continue
        try:
            licenses = third_party_licenses(pool)
        except LsproxyError:
            continue  # said as a problem
        if shared_name(pool, licenses.values()) is None:
            why = "nothing says that its backends share a name"
            yield f"pools.{name}.conflict: has no effect, for {why}: add server_name, or remove conflict"


def _ending(config: model.LsproxyConfig, today: date) -> Iterator[str]:
    for name, pool in config.pools.items():
        if isinstance(pool, model.SeatPool):
            try:
                licenses = Licenses(pool)
            except LsproxyError:
                continue  # said as a problem
            terms = terms_of(licenses.of(backend) for backend in pool.backends)
            yield from (f"{name}: {sentence(one, today)}" for one in due(terms, today))


def _certificates(config: model.LsproxyConfig) -> Iterator[str]:
    for key, tls in [*((f"listen.{n}", one.tls) for n, one in config.listen.items()), ("admin", config.admin.tls)]:
        try:
            if tls is not None:
                server_tls(tls.certificate, tls.key, tls.client_ca)
        except LsproxyError as problem:
            yield f"{key}.tls: {problem}"


def roots_alone(config: model.LsproxyConfig) -> Iterator[str]:
    """
    Of secrets that whoever checks may read, as root may all: those that the owner of the folder of `state` may not, as
    whom lsproxy runs.
    """
    try:
        service = pwd.getpwuid(config.state.parent.stat().st_uid)
    except (OSError, KeyError):
        return
    files: dict[str, Path | None] = {"admin.tokens_file": config.admin.tokens_file}
    files |= {f"pools.{name}.token_file": getattr(pool, "token_file", None) for name, pool in config.pools.items()}
    tls = {"admin": config.admin.tls, **{f"listen.{name}": one.tls for name, one in config.listen.items()}}
    files |= {f"{key}.tls.key": one.key for key, one in tls.items() if one is not None}
    for key, file in files.items():
        status = None if file is None or not file.is_file() else file.stat()
        if status is None or status.st_mode & 0o077 or status.st_uid == service.pw_uid:
            continue  # what is open to more than its owner has its own rules
        name = service.pw_name
        yield f"{key}: {name}, whose the folder of state is, may not read {file}: chown {name} {file}"


def _programs(config: model.LsproxyConfig) -> Iterator[str]:
    keys = {"notify": config.notify}
    for name, pool in config.pools.items():
        if isinstance(pool, model.RelayPool):
            keys[f"pools.{name}.on_activate"] = pool.on_activate
            keys[f"pools.{name}.on_deactivate"] = pool.on_deactivate
            keys[f"pools.{name}.probe.command"] = (pool.probe.command,) if pool.probe.command else ()
    for key, commands in keys.items():
        for program in dict.fromkeys(command[0] for command in commands):
            if shutil.which(program) is None:
                yield f"{key}: there is no program {program} that this user may run"

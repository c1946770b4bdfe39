"""
Does lsproxy.yaml make sense as a whole? Names refer to something, addresses do not collide, tokens stay private.

Shapes, single values and files are checked while they are read (see `load`);
here stand the rules between values. `heartbeat` + `hold` < `trust` is not among
them: the servers' own figures are known only once they answer.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from lsproxy.config.load import Finding, ask, load
from lsproxy.config.model import Admin, Backend, Listener, LsproxyConfig, Pool
from lsproxy.config.problems import KeyPath, spell
from lsproxy.config.relations import do_collide, is_loopback

Listening = tuple[KeyPath, Listener | Admin]
NamedBackend = tuple[KeyPath, Backend]


def load_config(path: Path) -> LsproxyConfig:
    """lsproxy.yaml at `path`, checked. Raises `ConfigError` with every problem of it."""
    return load(path, LsproxyConfig, check)


def check(config: LsproxyConfig) -> Iterator[Finding]:
    """What does not hold in `config`, parts of which may be `UNREAD`."""
    yield from ask(_listeners_name_pools, config)
    yield from ask(_listeners_do_not_collide, config)
    yield from ask(_admin_tokens_stay_private, config.admin)
    yield from ask(_pools_make_sense, config)


def _listeners_name_pools(config: LsproxyConfig) -> Iterator[Finding]:
    for name, listener in config.listen.items():
        yield from ask(_listener_names_pool, name, listener, config)


def _listener_names_pool(name: str, listener: Listener, config: LsproxyConfig) -> Iterator[Finding]:
    if listener.pool not in config.pools:
        there = ", ".join(config.pools)
        yield Finding(("listen", name, "pool"), f"there is no pool {listener.pool}, it must be one of: {there}")


def _listeners_do_not_collide(config: LsproxyConfig) -> Iterator[Finding]:
    listening: list[Listening] = [(("listen", name), listener) for name, listener in config.listen.items()]
    listening.append((("admin",), config.admin))
    yield from _first_of_each(_do_not_collide, listening)


def _first_of_each(rule: Callable[[Any, Any], Iterator[Finding]], places: Sequence[Any]) -> Iterator[Finding]:
    """For each place the first finding that `rule` makes of it and an earlier one: the others say the same again."""
    for number, later in enumerate(places):
        findings = (finding for earlier in places[:number] for finding in ask(rule, earlier, later))
        yield from islice(findings, 1)


def _do_not_collide(one: Listening, other: Listening) -> Iterator[Finding]:
    (earlier, first), (later, second) = one, other
    if do_collide(first.address, second.address):
        taken = f"{second.address} is taken by {spell(earlier)} ({first.address}), give each its own address"
        yield Finding((*later, "address"), taken)


def _admin_tokens_stay_private(admin: Admin) -> Iterator[Finding]:
    if admin.tls is None and not is_loopback(admin.address):
        beyond = f"{admin.address} can be reached from other hosts, where a token needs TLS"
        yield Finding(("admin", "address"), f"{beyond}: add admin.tls or listen on 127.0.0.1")


def _pools_make_sense(config: LsproxyConfig) -> Iterator[Finding]:
    for name, pool in config.pools.items():
        yield from ask(_backends_make_sense, name, pool)


def _backends_make_sense(pool_name: str, pool: Pool) -> Iterator[Finding]:
    backends: list[NamedBackend] = [
        (("pools", pool_name, "backends", name), backend) for name, backend in pool.backends.items()
    ]
    for backend in backends:
        yield from ask(_token_stays_private, backend)
    yield from _first_of_each(_backends_differ, backends)


def _token_stays_private(named: NamedBackend) -> Iterator[Finding]:
    path, backend = named
    if backend.tls is None and not is_loopback(backend.address):
        beyond = f"the operator token goes to {backend.address} on another host, where it needs TLS"
        yield Finding((*path, "address"), f"{beyond}: add tls: {{ca: FILE}}")


def _backends_differ(one: NamedBackend, other: NamedBackend) -> Iterator[Finding]:
    (earlier, first), (later, second) = one, other
    if str(first.address).lower() == str(second.address).lower():
        same = f"{second.address} is the address of {spell(earlier)} too"
        yield Finding((*later, "address"), f"{same}, two backends must be two servers")

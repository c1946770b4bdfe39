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

from lsproxy.commands import placeholders
from lsproxy.config.load import Finding, ask, load
from lsproxy.config.model import (
    HOOK_PLACES,
    NOTIFY_PLACES,
    PROBE_PLACES,
    Admin,
    Listener,
    LsproxyConfig,
    Pool,
    RelayBackend,
    RelayPool,
    SeatBackend,
    SeatPool,
)
from lsproxy.config.problems import KeyPath, spell
from lsproxy.config.relations import do_collide, is_loopback
from lsproxy.net.address import Address

Listening = tuple[KeyPath, Listener | Admin]
Door = tuple[KeyPath, Address]


def load_config(path: Path) -> LsproxyConfig:
    """lsproxy.yaml at `path`, checked. Raises `ConfigError` with every problem of it."""
    return load(path, LsproxyConfig, check)


def check(config: LsproxyConfig) -> Iterator[Finding]:
    """What does not hold in `config`, parts of which may be `UNREAD`."""
    yield from ask(_listeners_name_pools, config)
    yield from ask(_listeners_do_not_collide, config)
    yield from ask(_admin_tokens_stay_private, config.admin)
    yield from ask(_pools_make_sense, config)
    yield from ask(_nobody_is_sent_in_a_circle, config)
    yield from ask(_commands_make_sense, ("notify",), config.notify, NOTIFY_PLACES)


def _listeners_name_pools(config: LsproxyConfig) -> Iterator[Finding]:
    for name, listener in config.listen.items():
        yield from ask(_listener_names_pool, name, listener, config)


def _listener_names_pool(name: str, listener: Listener, config: LsproxyConfig) -> Iterator[Finding]:
    if listener.pool not in config.pools:
        there = ", ".join(config.pools)
        yield Finding(("listen", name, "pool"), f"there is no pool {listener.pool}, it must be one of: {there}")
        return
    yield from ask(_listener_names_port, name, listener, config.pools[listener.pool])


def _listener_names_port(name: str, listener: Listener, pool: Pool) -> Iterator[Finding]:
    ports = pool.ports
    there = f"one of: {', '.join(ports)}"
    if listener.port is None and ports != ("",):
        yield Finding(("listen", name, "port"), f"is missing, the backends of {listener.pool} have ports, name {there}")
    elif listener.port is not None and ports == ("",):
        yield Finding(("listen", name, "port"), f"the backends of {listener.pool} have one address, remove it")
    elif listener.port is not None and listener.port not in ports:
        yield Finding(("listen", name, "port"), f"there is no port {listener.port} in {listener.pool}, name {there}")


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


def _nobody_is_sent_in_a_circle(config: LsproxyConfig) -> Iterator[Finding]:
    for name, pool in config.pools.items():
        if isinstance(pool, RelayPool):
            for backend, settings in pool.backends.items():
                for address in settings.doors.values():
                    yield from ask(_is_no_listener, ("pools", name, "backends", backend), address, config)


def _is_no_listener(path: KeyPath, address: Address, config: LsproxyConfig) -> Iterator[Finding]:
    for name, listener in config.listen.items():
        is_here = str(listener.address) == str(address) or is_loopback(address)
        if is_here and do_collide(listener.address, address):
            yield Finding(path, f"{address} is listen.{name} itself, name the license server's own address")


def _admin_tokens_stay_private(admin: Admin) -> Iterator[Finding]:
    if admin.tls is None and not is_loopback(admin.address):
        beyond = f"{admin.address} can be reached from other hosts, where a token needs TLS"
        yield Finding(("admin", "address"), f"{beyond}: add admin.tls or listen on 127.0.0.1")


def _pools_make_sense(config: LsproxyConfig) -> Iterator[Finding]:
    for name, pool in config.pools.items():
        if isinstance(pool, SeatPool):
            yield from ask(_seat_backends_make_sense, name, pool)
        elif isinstance(pool, RelayPool):
            yield from ask(_relay_backends_make_sense, name, pool)
            yield from ask(_ports_are_alike, name, pool)
            yield from ask(_probe_makes_sense, name, pool)
            for key, commands in (("on_activate", pool.on_activate), ("on_deactivate", pool.on_deactivate)):
                yield from ask(_commands_make_sense, ("pools", name, key), commands, HOOK_PLACES)


def _seat_backends_make_sense(pool_name: str, pool: SeatPool) -> Iterator[Finding]:
    paths: dict[KeyPath, SeatBackend] = {
        ("pools", pool_name, "backends", name): backend for name, backend in pool.backends.items()
    }
    for path, backend in paths.items():
        yield from ask(_token_stays_private, path, backend)
    yield from _first_of_each(_doors_differ, [((*path, "address"), backend.address) for path, backend in paths.items()])


def _token_stays_private(path: KeyPath, backend: SeatBackend) -> Iterator[Finding]:
    if backend.tls is None and not is_loopback(backend.address):
        beyond = f"the operator token goes to {backend.address} on another host, where it needs TLS"
        yield Finding((*path, "address"), f"{beyond}: add tls: {{ca: FILE}}")


def _relay_backends_make_sense(pool_name: str, pool: RelayPool) -> Iterator[Finding]:
    doors: list[Door] = []
    for name, backend in pool.backends.items():
        path: KeyPath = ("pools", pool_name, "backends", name)
        yield from ask(_has_one_or_several_ports, path, backend)
        if backend.ports is None:
            doors.append(((*path, "address"), backend.address))  # type: ignore[arg-type] # None was told above
        else:
            doors += [((*path, "ports", port), address) for port, address in backend.ports.items()]
    yield from _first_of_each(_doors_differ, [door for door in doors if door[1] is not None])


def _has_one_or_several_ports(path: KeyPath, backend: RelayBackend) -> Iterator[Finding]:
    if backend.address is None and backend.ports is None:
        yield Finding(
            (*path, "address"), "is missing, it must be host:port, or give several by ports: {NAME: host:port}"
        )
    elif backend.address is not None and backend.ports is not None:
        yield Finding((*path, "address"), "stands beside ports, keep one of them")


def _ports_are_alike(pool_name: str, pool: RelayPool) -> Iterator[Finding]:
    first, *others = pool.backends
    for name in others:
        if set(pool.backends[name].doors) != set(pool.ports):
            wanted = ", ".join(pool.ports) or "one address"
            path = ("pools", pool_name, "backends", name)
            yield Finding((*path, "ports"), f"must be those of {first}: {wanted}; all ports of a server move together")


def _probe_makes_sense(pool_name: str, pool: RelayPool) -> Iterator[Finding]:
    path: KeyPath = ("pools", pool_name, "probe")
    for port in pool.probe.ports:
        if port not in pool.ports:
            there = ", ".join(pool.ports) or "none, the backends have one address"
            yield Finding((*path, "ports"), f"there is no port {port}, there are: {there}")
    if pool.probe.command:
        yield from ask(_commands_make_sense, (*path, "command"), (pool.probe.command,), PROBE_PLACES)
    elif pool.probe.command_expect:
        yield Finding((*path, "command_expect"), "stands without a command, add it")


def _commands_make_sense(path: KeyPath, commands: Sequence[Sequence[str]], places: frozenset[str]) -> Iterator[Finding]:
    for command in commands:
        if not command or not command[0]:
            yield Finding(path, "an empty list is no command, write [PROGRAM, ARGUMENT…]")
            continue
        for unknown in sorted(placeholders(command) - places):
            known = ", ".join(f"{{{place}}}" for place in sorted(places))
            yield Finding(path, f"{{{unknown}}} stands for nothing here, known are: {known}")


def _doors_differ(one: Door, other: Door) -> Iterator[Finding]:
    (earlier, first), (later, second) = one, other
    if str(first).lower() == str(second).lower():
        same = f"{second} is the address of {spell(earlier[:-1])} too"
        yield Finding(later, f"{same}, two backends must be two servers")

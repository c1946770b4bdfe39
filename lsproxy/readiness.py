"""
When is lsproxy ready, and what does it say of its pools in one line?

It is ready when the first pool is served, or known not to be: each of its backends was found down or is in maint. A
pool of which more is not known within `limit` seconds is known not to be served too, and its clients are told so.
"""

from collections.abc import Callable, Mapping
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from lsproxy.proxy.pool import Pool

LOOK_SECONDS: Final = 0.05


async def first_known(reactor: IReactorTime, pools: Callable[[], Mapping[str, Pool]], limit: float) -> None:
    """Returns when the first of `pools` is served or known not to be, at the latest after `limit` seconds."""
    end = reactor.seconds() + limit
    while reactor.seconds() < end and not any(is_known(pool) for pool in pools().values()):
        await deferLater(reactor, LOOK_SECONDS)


def is_known(pool: Pool) -> bool:
    """Whether `pool` is served, or nobody is left to serve it."""
    if pool.serving is not None:
        return True
    backends = pool.snapshot().backends
    return all(backend.health == "down" or backend.admin == "maint" for backend in backends)


def standing(pools: Mapping[str, Pool]) -> str:
    """Who serves what, for `systemctl status`: `acme: lic-a; mcad: NOT SERVED`."""
    return "; ".join(f"{name}: {pool.serving or 'NOT SERVED'}" for name, pool in pools.items())

"""What do the numbers of one pool look like on a page? From its picture and what its servers said of their seats."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Final

from msgspec import UNSET

from lsproxy.license.dates import day_ends_at
from lsproxy.lmstat.text import RELEASE
from lsproxy.metrics.page import Page
from lsproxy.proxy.pool import Pool
from lsproxy.proxy.seatpool import SeatPool
from lsproxy.proxy.snapshot import BackendSnapshot, PoolSnapshot
from lsproxy.seat.messages import FeatureUsage, HolderUsage

ROLES: Final = ("active", "standby", "isolated", "blocked")
_ADMIN: Final = ("ready", "drain", "maint")
_BINDINGS: Final = ("bound", "unbound", "unknown", "off")
_FLOATING: Final = "floating"


def put_pool(page: Page, pool: Pool, picture: PoolSnapshot) -> None:
    """The pool and its backends."""
    name = picture.pool
    page.put("lsproxy_pool_served", picture.serving is not None, name)
    page.put("lsproxy_pool_unserved_seconds_total", pool.unserved_seconds, name)
    page.put("lsproxy_pool_clients", picture.clients, name)
    page.put("lsproxy_pool_waiting", picture.waiting, name)
    standbys = sum(other != picture.serving and pool.why_not(other) is None for other in pool.backends)
    page.put("lsproxy_pool_standbys", standbys, name)
    page.put("lsproxy_pool_conflicts", len(picture.conflicts), name)
    page.put("lsproxy_pool_state_saved", picture.unsaved is None, name)
    page.put_buckets("lsproxy_switch_seconds", pool.failovers, name, "failover")
    page.put_buckets("lsproxy_switch_seconds", pool.switchovers, name, "switchover")
    page.put("lsproxy_denials_total", pool.traffic.given_up, name, "no_backend")
    page.put_counts("lsproxy_denials_total", pool.traffic.denials.counts.items(), name)
    for backend in picture.backends:
        _put_backend(page, name, backend, is_serving=backend.name == picture.serving)
        page.put_buckets("lsproxy_probe_seconds", pool.backends[backend.name].latencies, name, backend.name)
    if isinstance(pool, SeatPool):
        page.put("lsproxy_pool_epoch", picture.epoch, name)
        _put_lag(page, pool, picture)
        _put_servers(page, pool, picture)


def put_seats(page: Page, pool: str, features: Iterable[FeatureUsage]) -> None:
    """Who holds what."""
    for one in features:
        expiry = expiry_of(one)
        page.put("lsproxy_seats_issued", one.issued, pool, one.feature)
        page.put("lsproxy_seats_in_use", one.in_use, pool, one.feature)
        page.put("lsproxy_seats_reserved", one.reserved, pool, one.feature)
        page.put("lsproxy_seats_queued", one.queued, pool, one.feature)
        page.put("flexlm_feature_issued", one.issued, pool, one.feature, _FLOATING)
        page.put("flexlm_feature_used", one.in_use, pool, one.feature, _FLOATING)
        for (user, since), count in _held(one).items():
            page.put("flexlm_feature_used_users", count, pool, one.feature, user, since)
        if one.vendor:  # else only its holders are left of it
            licensed = ("1", str(one.issued), one.vendor, one.version)
            page.put("lsproxy_license_expiry_timestamp_seconds", expiry, pool, one.feature)
            page.put("flexlm_feature_expiration_seconds", expiry, pool, one.feature, *licensed)


def expiry_of(feature: FeatureUsage) -> float:
    """The first moment after its last day, seconds since 1970; infinite if it is permanent."""
    return math.inf if feature.expires is None else day_ends_at(date.fromisoformat(feature.expires))


def _put_backend(page: Page, pool: str, backend: BackendSnapshot, *, is_serving: bool) -> None:
    where = pool, backend.name
    page.put("lsproxy_pool_serving", is_serving, *where)
    page.put("lsproxy_backend_up", backend.health == "up", *where)
    page.put_one_of("lsproxy_backend_admin", _ADMIN, backend.admin, *where)
    page.put_one_of("lsproxy_backend_binding", _BINDINGS, backend.binding, *where)
    page.put("lsproxy_backend_connections", backend.connections, *where)
    said = backend.said
    if said is None:
        return
    page.put_one_of("lsproxy_backend_role", ROLES, said.role, *where)
    page.put("lsproxy_backend_epoch", said.epoch, *where)
    page.put("lsproxy_backend_sessions", said.sessions, *where)
    page.put("lsproxy_backend_seats", said.seats, *where)
    if said.takeover is not None:
        page.put("lsproxy_backend_takeover_remaining_seconds", said.takeover.remaining, *where)


def _put_lag(page: Page, pool: SeatPool, picture: PoolSnapshot) -> None:
    """Of those that follow the pool's journal; another journal's slots say nothing."""
    slots = {
        backend.name: slot
        for backend in picture.backends
        if backend.said is not None and backend.said.journal == picture.journal
        if (slot := pool.backends[backend.name].slot) is not None
    }
    for name, slot in slots.items():
        page.put("lsproxy_backend_replay_lag_slots", max(slots.values()) - slot, picture.pool, name)


def _put_servers(page: Page, pool: SeatPool, picture: PoolSnapshot) -> None:
    """Servers and vendors as `lmstat` tells them, for programs that read it."""
    for backend in picture.backends:
        port = backend.address.rpartition(":")[2]
        master = "true" if backend.name == picture.serving else "false"
        is_up = backend.health == "up"
        page.put("flexlm_server_status", is_up, picture.pool, backend.name, master, port, RELEASE)
    is_up = picture.serving is not None and picture.barrenness not in {"blocked", "isolated"}
    for vendor in pool.plan.config.vendor_keys:
        page.put("flexlm_vendor_status", is_up, picture.pool, vendor, RELEASE)


def _held(feature: FeatureUsage) -> Counter[tuple[str, str]]:
    held: Counter[tuple[str, str]] = Counter()
    holders: Sequence[HolderUsage] = [] if feature.holders is UNSET else feature.holders
    for holder in holders:
        if holder.state != "queued":
            held[holder.user, holder.since] += holder.count
    return held

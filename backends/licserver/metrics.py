"""
Which numbers does a license server have, and who may read them?

Anybody who can reach the address: there are no users and no secrets in them. Only `/metrics` is there, to be read.
"""

import math
from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.threads import deferToThreadPool

from licserver.core.usage import usage_reply
from lsproxy.admin.events import Events
from lsproxy.admin.exchange import NOT_FOUND, WRONG_METHOD, Asked, Reply, refusal
from lsproxy.admin.http import Site
from lsproxy.license.dates import day_ends_at
from lsproxy.metrics.page import CONTENT_TYPE, Named, Page
from lsproxy.net.address import Address
from lsproxy.net.endpoints import server_endpoint
from lsproxy.net.reactor import BoottimeReactor
from lsproxy.seat.messages import FeatureUsage, Usage, UsageReply

if TYPE_CHECKING:
    from licserver.server import Server

PATH: Final = "/metrics"
_ROLES: Final = ("active", "standby", "isolated", "blocked")
_FEATURE: Final = ("feature",)

CATALOG: Final = (
    Named("licserver_build_info", "gauge", "Always 1; the release that runs, and its names.", ("version", "server")),
    Named("licserver_role", "gauge", "1 for what this server is.", ("role",)),
    Named("licserver_epoch", "gauge", "The epoch that this server knows."),
    Named("licserver_activations_total", "counter", "How often this server took the name, since its start."),
    Named("licserver_connections", "gauge", "Connections that are open, those of lsproxy's checks among them."),
    Named("licserver_sessions", "gauge", "Sessions in the ledger; a standby has those of the active server."),
    Named("licserver_bound", "gauge", "Whether this host may serve the license in force."),
    Named("licserver_name_conflict", "gauge", "Whether another server was started with this one's own name."),
    Named(
        "licserver_takeover_remaining_seconds",
        "gauge",
        "How much longer it may serve in its primary's place; only where that is limited.",
    ),
    Named("licserver_journal_slot", "gauge", "The newest slot of the journal that this server has."),
    Named("licserver_replay_lag_slots", "gauge", "Slots known to be in the journal that a standby has not replayed."),
    Named("licserver_journal_append_seconds", "histogram", "How long appends to the journal took, each of a batch."),
    Named("licserver_denials_total", "counter", "Checkouts refused, by the code of the refusal.", ("reason",)),
    Named("licserver_seats_issued", "gauge", "Seats that the license grants now; by the active server.", _FEATURE),
    Named("licserver_seats_in_use", "gauge", "Seats that are held; by the active server.", _FEATURE),
    Named("licserver_seats_reserved", "gauge", "Seats kept for somebody who does not hold them.", _FEATURE),
    Named("licserver_seats_queued", "gauge", "Checkouts that wait for a seat; by the active server.", _FEATURE),
    Named(
        "licserver_license_expiry_timestamp_seconds",
        "gauge",
        "When the feature expires, seconds since 1970, +Inf if it is permanent; by the active server.",
        _FEATURE,
    ),
)


class MetricsPort:
    """Answers `GET /metrics` on `address` with the numbers of `server`."""

    def __init__(self, reactor: BoottimeReactor, address: Address, server: "Server") -> None:
        self._reactor = reactor
        self._address = address
        self._server = server
        self._site = Site(reactor, self._answer, Events("", lambda: 0.0))
        self._port: IListeningPort | None = None

    async def open(self) -> None:
        """Listen. Raises LsproxyError."""
        endpoint = server_endpoint(self._reactor, self._address.host, self._address.port)
        self._port = await endpoint.listen(self._site)

    async def close(self) -> None:
        """Listen no more."""
        port, self._port = self._port, None
        self._site.close()
        if port is not None:
            await maybeDeferred(port.stopListening)

    async def _answer(self, asked: Asked) -> Reply:
        if asked.path != PATH:
            return refusal(NOT_FOUND, "not_found", f"there is nothing here but {PATH}")
        if asked.method not in {"GET", "HEAD"}:
            return refusal(WRONG_METHOD, "wrong_method", f"{PATH} takes GET", {"Allow": "GET, HEAD"})
        page, features = numbers(self._server)
        # Thousands of features take tens of milliseconds, and clients do not wait for that.
        body = await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), text, page, features)
        return Reply(content_type=CONTENT_TYPE, body=body)


def numbers(server: "Server") -> tuple[Page, list[FeatureUsage]]:
    """The numbers of `server`, and those of its features that are not on the page yet."""
    page, features = Page(CATALOG), list[FeatureUsage]()
    identity, desk, tenure = server.identity, server.desk, server.tenure
    ledger = desk.ledger
    page.put("licserver_build_info", 1, identity.release, identity.member.name)
    page.put_one_of("licserver_role", _ROLES, server.role())
    page.put("licserver_epoch", server.epoch)
    page.put("licserver_activations_total", server.activations)
    page.put("licserver_connections", server.connections)
    page.put("licserver_sessions", len(ledger.sessions))
    is_bound = bool(ledger.license_text) and not server.licenses.why_not(ledger.license_text, ledger.license_file)
    page.put("licserver_bound", is_bound)
    page.put("licserver_name_conflict", bool(server.membership.twin))
    page.put("licserver_journal_slot", server.slot)
    page.put("licserver_replay_lag_slots", server.lag)
    page.put_buckets("licserver_journal_append_seconds", server.appends)
    page.put_counts("licserver_denials_total", desk.denials.items())
    if tenure is not None:
        moment = server.moment()
        limit = server.redundancy.limit.shown(moment)
        if limit is not None:
            page.put("licserver_takeover_remaining_seconds", limit.remaining)
        usage = usage_reply(ledger, Usage(id=1, holders=False), moment.wall)
        assert isinstance(usage, UsageReply)  # no feature is named that could be unknown
        features = usage.features
    return page, features


def text(page: Page, features: Iterable[FeatureUsage]) -> bytes:
    """`page` with the numbers of `features`, in Prometheus' text format."""
    for feature in features:
        _put_seats(page, feature)
    return page.text()


def _put_seats(page: Page, feature: FeatureUsage) -> None:
    page.put("licserver_seats_issued", feature.issued, feature.feature)
    page.put("licserver_seats_in_use", feature.in_use, feature.feature)
    page.put("licserver_seats_reserved", feature.reserved, feature.feature)
    page.put("licserver_seats_queued", feature.queued, feature.feature)
    if feature.vendor:  # else only its holders are left of it
        expiry = math.inf if feature.expires is None else day_ends_at(date.fromisoformat(feature.expires))
        page.put("licserver_license_expiry_timestamp_seconds", expiry, feature.feature)

"""
How does an application get a seat, and keep it while license servers come and go?

    with LicenseClient("27000@lic1;27000@lic2", app="cad 2027") as client:
        with client.checkout("cad") as seat:
            ...
            seat.check()

One client is one session: a thread keeps it, any thread may use it.
"""

import getpass
import logging
import os
import queue
import random
import secrets
import socket
import ssl
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from lsproxy.client.clock import boot_seconds
from lsproxy.client.dialogue import Application, Dialogue
from lsproxy.client.errors import ClientError, Refused, SeatLost, SessionEnded
from lsproxy.client.events import Waiting
from lsproxy.client.route import Route
from lsproxy.client.seat import Seat
from lsproxy.client.session import Session
from lsproxy.net.address import Address, parse_server_list

SERVERS_VARIABLE = "LSPROXY_LICENSE"

_log = logging.getLogger(__name__)

OnLost = Callable[[Seat, str], None]
OnQueued = Callable[[str, int], None]


class LicenseClient:
    """
    A session with the license servers of `servers`, "port@host[;port@host…]",
    by default what the environment variable LSPROXY_LICENSE says.

    `on_lost(seat, reason)` is called when a seat is lost; without it the next
    call raises SeatLost. `on_queued(feature, position)` is called while a
    checkout waits. Both run in a thread of their own and may call the client.

    `tls`: a context that verifies the servers, whose certificates must name
    the hosts of the list. Seconds: `timeout` for a checkout beside its wait,
    `connect_timeout` for one address, `reply_timeout` until a silent server is
    left for the next; it should be longer than lsproxy's `hold`.
    """

    def __init__(
        self,
        servers: str | None = None,
        *,
        app: str = "",
        user: str | None = None,
        host: str | None = None,
        display: str = "",
        tls: ssl.SSLContext | None = None,
        on_lost: OnLost | None = None,
        on_queued: OnQueued | None = None,
        timeout: float = 30.0,
        connect_timeout: float = 3.0,
        reply_timeout: float = 12.0,
        clock: Callable[[], float] = boot_seconds,
        randomness: random.Random | None = None,
    ) -> None:
        self._addresses = _addresses(servers)
        self._application = Application(
            user=user or getpass.getuser(), host=host or socket.gethostname(), display=display, pid=os.getpid(), app=app
        )
        self._tls = tls
        self._on_lost = on_lost
        self._on_queued = on_queued
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._reply_timeout = reply_timeout
        self._clock = clock
        self._random = randomness or secrets.SystemRandom()
        self._opening = threading.Lock()
        self._session: Session | None = None
        self._is_closed = False
        self._news: queue.SimpleQueue[Seat | Waiting | None] = queue.SimpleQueue()

    def checkout(
        self, feature: str, *, version: str = "0", count: int = 1, wait: float = 0.0, timeout: float | None = None
    ) -> Seat:
        """
        `count` seats of `feature`, of at least `version`. With `wait` seconds
        it queues when none is free; `timeout` seconds, beside the wait, bound
        how long a server is looked for.

        Raises Refused (the server's code and sentence), NoServer, SessionEnded,
        and SeatLost when another seat was lost and `on_lost` is not given.
        """
        session = self._opened()
        untold = session.next_untold()
        if untold is not None:
            raise SeatLost(untold.feature, untold.lost or "it is held no more")
        begun = self._clock()
        until = begun + wait + (self._timeout if timeout is None else timeout)
        try:
            return session.check_out(feature, version, count, wait, until)
        except Refused as refused:
            if refused.code != "ended":
                raise
        # Repeated after a failover it may be found over, though nobody here ended it: once more, under a new id.
        left = max(0.0, wait - (self._clock() - begun))
        return session.check_out(feature, version, count, left, until)

    def close(self) -> None:
        """Give all seats back and end the session. Takes a few seconds at most, also when no server answers."""
        with self._opening:
            self._is_closed = True
            session, self._session = self._session, None
        if session is not None:
            session.close()
            self._news.put(None)

    def __enter__(self) -> Self:
        self._opened()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<LicenseClient of {', '.join(map(str, self._addresses))}>"

    def _opened(self) -> Session:
        with self._opening:
            if self._is_closed:
                raise SessionEnded("the client was closed")
            if self._session is None:
                session_id = f"{self._random.getrandbits(128):032x}"
                is_heard = self._on_lost is not None or self._on_queued is not None
                if is_heard:
                    threading.Thread(target=self._tell_news, name="lsproxy-client-news", daemon=True).start()
                self._session = Session(
                    Dialogue(session_id, self._application, self._reply_timeout),
                    Route(self._addresses, self._random),
                    self._tls,
                    self._connect_timeout,
                    self._clock,
                    queued=self._news.put if self._on_queued is not None else None,
                    lost=self._news.put if self._on_lost is not None else None,
                )
            return self._session

    def _tell_news(self) -> None:
        while (news := self._news.get()) is not None:
            try:
                match news:
                    case Waiting(feature, position) if self._on_queued is not None:
                        self._on_queued(feature, position)
                    case Seat() if self._on_lost is not None:
                        self._on_lost(news, news.lost or "it is held no more")
            except Exception:  # noqa: BLE001 - whatever the application raises, the next news must be told
                _log.exception("a callback of the license client raised an exception")


def _addresses(servers: str | None) -> tuple[Address, ...]:
    text = servers if servers is not None else os.environ.get(SERVERS_VARIABLE, "")
    if not text.strip():
        raise ClientError(
            f"no license server is named: give a server list such as 27000@host, or set {SERVERS_VARIABLE} to one"
        )
    return parse_server_list(text)

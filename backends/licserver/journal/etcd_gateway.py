"""
How does a request reach a member of the etcd cluster, and what is an answer worth?

One member is asked, the same as long as it answers; whatever is not answered
within the limit is asked again of the next. Every request of a journal can be repeated
without harm, see `etcd_statements.py`.

[Limit] A request that is under way in a follower when the leader dies is
answered after seven seconds. So nobody waits: the first limit of a call is 250 ms, or
four times what the last answer took where that is more, and each silence adds a
quarter. A call that got no answer at all leaves the next one to begin where it ended.

[Stale answers] A member that was stopped may answer with a state from before,
also to a linearizable read. So an answer from an older revision than the
highest seen when the request was sent is none.
"""

from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer, IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from licserver.journal import etcd_messages as messages
from licserver.journal.etcd_place import Access, EtcdPlace
from licserver.journal.interface import JournalError, JournalUnusable
from lsproxy.errors import LsproxyError
from lsproxy.net import tls
from lsproxy.net.address import Address
from lsproxy.net.endpoints import client_endpoint
from lsproxy.net.reactor import BoottimeReactor

T = TypeVar("T")

SHORTEST_SECONDS: Final = 0.25
LONGEST_SECONDS: Final = 2.0
OPENING_SECONDS: Final = 2.0
PATIENCE_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = 0.02
BYTES_PER_SECOND: Final = 4 * 1024 * 1024  # a disk or a line slower than that needs longer limits than ours
CONNECT_SECONDS: Final = 2.0
PASSWORD_SECONDS: Final = 1.0  # etcd takes some 0.1 s to check one, on purpose

_UNAVAILABLE: Final = {1, 4, 14}  # gRPC: cancelled, deadline exceeded, unavailable
_UNAUTHENTICATED: Final = 16
_PERMISSION_DENIED: Final = 7
_STALE_TOKEN: Final = ("auth: invalid auth token", "auth: revision in header is old")


_DONE: Final = Failure(ResponseDone())


class Unanswered(JournalError):
    """A member did not answer, or not with what counts; what was asked may be done or not."""


class Refused(JournalError):
    """etcd refused the request, and did nothing. `code` is gRPC's, `reason` etcd's own words."""

    def __init__(self, sentence: str, code: int, reason: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.reason = reason


class Limit:
    """For how long a call waits for its first answer. See [Limit]."""

    def __init__(self) -> None:
        self.seconds = SHORTEST_SECONDS

    def answered(self, took: float) -> None:
        """An answer came after so many seconds."""
        self.seconds = min(max(SHORTEST_SECONDS, 4 * took), LONGEST_SECONDS)

    def gave_up(self, last: float) -> None:
        """None came, the last one was waited for so long."""
        self.seconds = max(self.seconds, last)


def longer(seconds: float) -> float:
    """How long to wait after that was not enough."""
    return min(1.25 * seconds, LONGEST_SECONDS)


class Gateway:
    """
    One server's way to the cluster. Raises CertificateError for files that cannot be used.

    `revision` is the highest that was seen, `cluster_id` is empty before the first answer; a call goes on for
    `patience_seconds`.
    """

    def __init__(self, reactor: BoottimeReactor, place: EtcdPlace, access: Access) -> None:
        self.place = place
        self.revision = 0
        self.cluster_id = ""
        self.patience_seconds = OPENING_SECONDS
        self._reactor = reactor
        self._access = access
        self._limit = Limit()
        self._turn = 0
        self._token: str | None = None
        endpoints = _Endpoints(reactor, place, access)
        self._scheme = "https" if access.ca is not None else "http"
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = 8
        self._pool.retryAutomatically = False
        self._agent = Agent.usingEndpointFactory(reactor, endpoints, self._pool)
        self._streams = Agent.usingEndpointFactory(reactor, endpoints)

    async def ask(self, path: str, request: msgspec.Struct, kind: type[T]) -> T:
        """
        The answer of some member to a request that may be repeated.

        Raises Refused, JournalUnusable where this server is not let in, and
        JournalError when nobody answered in time.
        """
        began = self._reactor.seconds()
        limit = self._limit.seconds
        while True:
            turn, seen, asked_at = self._turn, self.revision, self._reactor.seconds()
            member = self.place.members[turn % len(self.place.members)]
            try:
                reply = await self.ask_member(member, path, request, kind, limit)
                self._believe(member, reply.header, seen)  # type: ignore[attr-defined] # every reply has one
            except Unanswered as problem:
                self.turn_from(turn)
                if self._reactor.seconds() - began >= self.patience_seconds:
                    self._limit.gave_up(limit)
                    raise JournalError(f"the journal {self.place} does not answer: {problem}") from problem
                if self._reactor.seconds() - asked_at >= limit:  # it was silent, and did not refuse
                    limit = longer(limit)
                await deferLater(self._reactor, PAUSE_SECONDS)
            else:
                self._limit.answered(self._reactor.seconds() - asked_at)
                return reply

    async def ask_member(self, member: Address, path: str, request: msgspec.Struct, kind: type[T], seconds: float) -> T:
        """
        The answer of that member within so many seconds, more for a large request.

        Raises Unanswered, Refused and JournalUnusable.
        """
        body = messages.encode(request)
        seconds += len(body) / BYTES_PER_SECOND
        for is_last in (False, True):
            headers = await self._headers(member, seconds)
            token = self._token
            status, _, answer = await self._exchange(b"POST", member, path, headers, body, seconds)
            if status == 200:  # noqa: PLR2004 - HTTP's OK
                return _read(member, answer, kind)
            problem = self._problem(member, status, answer)
            if is_last or not isinstance(problem, Refused) or token is None or not _is_stale_token(problem):
                raise problem
            if self._token == token:  # nobody else has had a new one yet
                self._token = None
        raise AssertionError

    async def stream(self, path: str, request: msgspec.Struct, line_received: Callable[[bytes], None]) -> None:
        """
        Each line of an endless answer, until the member ends it, or the Deferred of this is cancelled.

        Raises Unanswered and JournalUnusable.
        """
        turn = self._turn
        member = self.place.members[turn % len(self.place.members)]
        try:
            headers = await self._headers(member, LONGEST_SECONDS)
            asking = self._streams.request(b"POST", self._uri(member, path), headers, _Body(messages.encode(request)))
            asking.addTimeout(LONGEST_SECONDS, self._reactor)
            response = await asking
            await _read_body(response, Lines(line_received).feed)
        except JournalError:
            raise
        except Exception as error:
            raise Unanswered(f"etcd at {member} does not answer: {_words(error)}") from error

    @property
    def turn(self) -> int:
        """Which of the members is asked now."""
        return self._turn

    def turn_from(self, turn: int) -> None:
        """Ask the next member from now on, unless somebody has seen to that already."""
        if turn == self._turn:
            self._turn += 1

    def close(self) -> Deferred[None]:
        """Let go of the connections."""
        closing: Deferred[None] = self._pool.closeCachedConnections()
        return closing

    def _believe(self, member: Address, header: messages.Header, seen: int) -> None:
        """
        Note the revision of an answer to what was asked when `seen` was the highest.

        Raises Unanswered for one that does not count. See [Stale answers].
        """
        self.cluster_id = self.cluster_id or header.cluster_id
        if header.cluster_id and header.cluster_id != self.cluster_id:
            raise Unanswered(
                f"etcd at {member} belongs to cluster {header.cluster_id}, the journal to {self.cluster_id}; "
                "the members that the configuration names must be those of one cluster"
            )
        if 0 < header.revision < seen:
            raise Unanswered(f"etcd at {member} answered from revision {header.revision}, older than {seen}")
        self.revision = max(self.revision, header.revision)

    async def _headers(self, member: Address, seconds: float) -> Headers:
        headers = Headers({b"content-type": [b"application/json"]})
        if self._access.user is not None:
            if self._token is None:
                self._token = await self._authenticate(member, seconds)
            headers.setRawHeaders(b"authorization", [self._token.encode()])
        return headers

    async def _authenticate(self, member: Address, seconds: float) -> str:
        assert self._access.user is not None
        request = messages.Authenticate(self._access.user, self._access.password or "")
        headers = Headers({b"content-type": [b"application/json"]})
        body = messages.encode(request)
        path, limit = "/v3/auth/authenticate", max(seconds, PASSWORD_SECONDS)
        status, _, answer = await self._exchange(b"POST", member, path, headers, body, limit)
        if status == 200:  # noqa: PLR2004 - HTTP's OK
            return _read(member, answer, messages.AuthenticateReply).token
        problem = self._problem(member, status, answer)
        if not isinstance(problem, Refused):
            raise problem
        raise JournalUnusable(
            f"etcd at {member} does not let user {self._access.user} in ({problem.reason}); "
            "correct user or password_file"
        )

    async def fetch(self, member: Address, path: str, seconds: float) -> tuple[int, str, bytes]:
        """What a member answers to GET: status, `Date` header, body. Raises Unanswered."""
        return await self._exchange(b"GET", member, path, Headers(), None, seconds)

    async def _exchange(
        self, method: bytes, member: Address, path: str, headers: Headers, body: bytes | None, seconds: float
    ) -> tuple[int, str, bytes]:
        async def exchange() -> tuple[int, str, bytes]:
            producer = None if body is None else _Body(body)
            response = await self._agent.request(method, self._uri(member, path), headers, producer)
            received: list[bytes] = []
            await _read_body(response, received.append)
            dated = response.headers.getRawHeaders("date", [""])[0]
            return response.code, dated, b"".join(received)

        def timed_out(_: object, __: float) -> NoReturn:
            raise Unanswered(f"etcd at {member} does not answer within {seconds:.2g} s")

        try:
            return await Deferred.fromCoroutine(exchange()).addTimeout(seconds, self._reactor, timed_out)
        except Unanswered:
            raise
        except Exception as error:
            raise Unanswered(f"etcd at {member} does not answer: {_words(error)}") from error

    def _uri(self, member: Address, path: str) -> bytes:
        return f"{self._scheme}://{member}{path}".encode()

    def _problem(self, member: Address, status: int, answer: bytes) -> JournalError:
        try:
            said = messages.decode(answer, messages.ErrorReply)
        except msgspec.DecodeError:
            return Unanswered(f"{member} answers with HTTP status {status} and no words of etcd's")
        if said.code in _UNAVAILABLE:
            return Unanswered(f"etcd at {member} cannot answer now: {said.error}")
        if said.error == "etcdserver: user name is empty":
            return JournalUnusable(f"etcd at {member} wants to know a user; name user and password_file under etcd")
        if said.code == _PERMISSION_DENIED:
            return JournalUnusable(
                f"etcd at {member} does not allow user {self._access.user} to read and write "
                f"the keys under /{self.place.prefix}/; give its role that permission"
            )
        if "database space exceeded" in said.error:
            return Refused(
                f"etcd at {member} has used up its quota of space (NOSPACE); "
                "compact it, defragment its members, then disarm the alarm",
                said.code,
                said.error,
            )
        return Refused(f"etcd at {member} refused: {said.error}", said.code, said.error)


def _read(member: Address, answer: bytes, kind: type[T]) -> T:
    try:
        return messages.decode(answer, kind)
    except msgspec.DecodeError as error:
        raise Unanswered(f"{member} answers with something else than etcd would: {error}") from error


def _is_stale_token(problem: Refused) -> bool:
    return problem.code == _UNAUTHENTICATED or problem.reason in _STALE_TOKEN


def _words(error: Exception) -> str:
    """What a failure of Twisted's client was about, without its wrapping."""
    reasons: list[Failure] = getattr(error, "reasons", [])
    said = str(reasons[0].value) if reasons else str(error)
    return said or type(error).__name__


class Lines:
    """Splits what comes bit by bit into lines, without their ends; empty ones are left out."""

    def __init__(self, line_received: Callable[[bytes], None]) -> None:
        self._line_received = line_received
        self._rest: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            whole = b"".join([*self._rest, line])
            self._rest = []
            if whole:
                self._line_received(whole)
        if rest:
            self._rest.append(rest)


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """The endpoints of the members, with TLS where it is wanted."""

    def __init__(self, reactor: BoottimeReactor, place: EtcdPlace, access: Access) -> None:
        self._reactor = reactor
        self._tls: dict[str, tls.ClientTLS] = {}
        if access.ca is not None:
            try:
                for host in {member.host for member in place.members}:
                    self._tls[host] = tls.client_tls(host, access.ca, access.certificate, access.key)
            except LsproxyError as problem:
                raise JournalUnusable(f"etcd: {problem}") from problem

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Of the member that the URI names."""
        host = uri.host.decode().strip("[]")
        endpoint = client_endpoint(self._reactor, host, uri.port, timeout=CONNECT_SECONDS)
        return tls.wrap_client(self._reactor, endpoint, self._tls[host]) if self._tls else endpoint


@implementer(IBodyProducer)
class _Body:
    """The bytes of a request."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """All at once."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing is left to pause."""

    def resumeProducing(self) -> None:
        """Nothing is left."""

    def stopProducing(self) -> None:
        """Nothing is left."""


def _read_body(response: IResponse, receive: Callable[[bytes], object]) -> Deferred[None]:
    """Hand the body over as it comes. Fires at its end; cancelled, it closes the connection."""
    reader = _Reader(receive)
    response.deliverBody(reader)
    return reader.ended


class _Reader(Protocol):
    """Reads a body; Twisted's own `readBody` gives nothing before the end, and warns of a proxy that is Twisted's."""

    def __init__(self, receive: Callable[[bytes], object]) -> None:
        self.ended: Deferred[None] = Deferred(lambda _: self._close())
        self._receive = receive

    def dataReceived(self, data: bytes) -> None:
        """Some of it."""
        self._receive(data)

    def connectionLost(self, reason: Failure = _DONE) -> None:
        """That was all of it, or the connection broke."""
        if self.ended.called:
            return
        if reason.check(ResponseDone):
            self.ended.callback(None)
        else:
            self.ended.errback(reason)

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

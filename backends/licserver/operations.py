"""What operators ask of a server, and `status`: each request is carried out and answered here."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

import msgspec
from twisted.internet.defer import Deferred, TimeoutError  # noqa: A004 Twisted's name
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from licserver.core import role
from licserver.core.conversation import Conversation
from licserver.core.desk import Open, Says, Shut
from licserver.core.events import LicenseCameIntoForce
from licserver.errors import LicserverError
from licserver.journal.interface import JournalError
from licserver.licenses import LicenseRefused
from licserver.pairoperations import PairOperations
from licserver.status import status
from lsproxy.seat.messages import (
    Activate,
    Done,
    Install,
    Notice,
    Refusal,
    Register,
    RequestKey,
    Reread,
    StandDown,
    Status,
    Stop,
    Takeover,
    TookOver,
    Unregister,
)

if TYPE_CHECKING:
    from licserver.server import Server

LOOK_SECONDS: Final = 0.3

log = Logger()


class Operations:
    """See the module. `stopping` ends the server."""

    def __init__(self, reactor: IReactorTime, server: "Server", stopping: Callable[[], None]) -> None:
        self._reactor = reactor
        self._server = server
        self._stopping = stopping
        self._pair = PairOperations(server, self._license_digest)
        self._noted = ""
        self._digests: dict[str, str] = {}
        self._digested_by = server.licenses.vendor_keys

    def perform(self, conversation: Conversation, request: msgspec.Struct) -> None:
        """Carry out a request; the answer follows."""
        match request:
            case Status(request_id):
                reply = status(self._server, request_id, self._license_digest(), self._notices())
                self._server.desk.say_at_once(conversation, reply)
            case Takeover():
                self._run(conversation, request.id, self._take_over(conversation, request))
            case StandDown():
                self._run(conversation, request.id, self._stand_down(conversation, request))
            case Reread():
                self._run(conversation, request.id, self._reread(conversation, request))
            case Install():
                self._run(conversation, request.id, self._install(conversation, request))
            case Register() | Unregister() | RequestKey() | Activate():
                self._run(conversation, request.id, self._pair_operation(conversation, request))
            case Stop(request_id):
                log.info("an operator asked this server to stop", event="stop_asked")
                self._say(conversation, Done(request_id))
                self._stopping()

    def note_license(self) -> None:
        """Log, when it changes, whether the own license file differs from the text in force."""
        difference = self._difference()
        if difference != self._noted:
            self._noted = difference
            if difference:
                log.warn("{log_difference}", event="license_differs", log_difference=difference)

    def _run(self, conversation: Conversation, request_id: int, operation: Coroutine[Any, Any, None]) -> None:
        def failed(failure: Failure) -> None:
            if not failure.check(LicserverError):
                log.failure("an operator's request failed", failure)
            self._say(conversation, Refusal(request_id, "not_permitted", str(failure.value)))

        Deferred.fromCoroutine(operation).addErrback(failed)

    async def _take_over(self, conversation: Conversation, request: Takeover) -> None:
        reason = request.reason or "an operator asked for it"
        outcome = await self._server.take_over(reason, request.after_epoch, request.force)
        if isinstance(outcome, role.Refuse):
            self._say(conversation, Refusal(request.id, outcome.code, outcome.message))
        else:
            self._say(conversation, TookOver(request.id, outcome))

    async def _stand_down(self, conversation: Conversation, request: StandDown) -> None:
        server = self._server
        name = server.identity.member.name
        if server.tenure is None:
            self._say(conversation, Refusal(request.id, "not_active", f"{name} is not active"))
            return
        addresses = await self._running()
        if request.to is not None and request.to not in addresses:
            running = ", ".join(addresses)
            sentence = f"{request.to} is no running member of {server.identity.server_name}; running are {running}"
            self._say(conversation, Refusal(request.id, "not_permitted", sentence))
            return
        if server.tenure is not None:
            reason = request.reason or "an operator asked for it"
            log.info("standing down: {reason}", event="stand_down_asked", reason=reason)
            await server.tenure.stand_down(request.to, addresses.get(request.to or ""))
        self._say(conversation, Done(request.id))

    async def _running(self) -> dict[str, str]:
        """Name and address of those that run; as read before where the journal is what this server cannot reach."""
        server = self._server
        try:
            members = await server.journal.members().addTimeout(LOOK_SECONDS, self._reactor)
        except (JournalError, TimeoutError):
            members = server.membership.members
        return {member.name: member.address for member, is_running in members if is_running}

    async def _pair_operation(
        self, conversation: Conversation, request: Register | Unregister | RequestKey | Activate
    ) -> None:
        reply = self._pair.perform(request)
        self._server.desk.say(conversation, reply, Says.PLAIN)
        self._server.settle()

    def reread(self) -> None:
        """Put the own license file in force, if this server is active; what stands against it is logged."""
        try:
            self._put_in_force(self._server.licenses.read())
        except LicenseRefused as refused:
            log.error("{log_reason}", event="license_refused", log_reason=refused)
        self._server.settle()

    async def _reread(self, conversation: Conversation, request: Reread) -> None:
        problem = await self._server.reconfigure()
        try:
            self._put_in_force(self._server.licenses.read())
        except LicenseRefused as refused:
            raise LicenseRefused("\n".join(filter(None, [problem, str(refused)]))) from refused
        if problem:
            raise LicenseRefused(problem)
        self._confirm(conversation, request.id)

    async def _install(self, conversation: Conversation, request: Install) -> None:
        licenses = self._server.licenses
        licenses.check_new(request.license, licenses.path.name)
        self._refuse_isolated()
        licenses.install(request.license)
        self._put_in_force(request.license)
        self._confirm(conversation, request.id)

    def _put_in_force(self, text: str) -> None:
        server = self._server
        server.licenses.check_new(text, str(server.licenses.path))
        desk = server.desk
        self._refuse_isolated()
        if isinstance(desk.door, Open) and text != desk.ledger.license_text:
            moment = server.moment()
            desk.record(LicenseCameIntoForce(text, str(server.licenses.path)))
            server.redundancy.begin(moment)
            desk.serve_queues(moment)
            digest = server.licenses.digest(text)
            log.info("another license text is in force: {digest}", event="license_in_force", digest=digest)
        self.note_license()

    def _refuse_isolated(self) -> None:
        door = self._server.desk.door
        if self._server.tenure is not None and isinstance(door, Shut):
            raise LicenseRefused(f"the license in force stays for now: {door.message}")

    def _confirm(self, conversation: Conversation, request_id: int) -> None:
        """Say done when everything decided so far is kept."""
        self._server.desk.say(conversation, Done(request_id), Says.PLAIN)
        self._server.settle()

    def _say(self, conversation: Conversation, reply: msgspec.Struct) -> None:
        self._server.desk.say_at_once(conversation, reply)
        self._server.settle()

    def _license_digest(self) -> str:
        """The digest of the text in force, before there is one that of the own file."""
        text = self._server.desk.ledger.license_text
        if not text:
            try:
                text = self._server.licenses.read()
            except LicenseRefused:
                return ""
        return self._digest(text)

    def _digest(self, text: str) -> str:
        if self._server.licenses.vendor_keys is not self._digested_by:
            self._digests, self._digested_by = {}, self._server.licenses.vendor_keys
        if text not in self._digests:
            self._digests = {text: self._server.licenses.digest(text), **dict(list(self._digests.items())[:1])}
        return self._digests[text]

    def _difference(self) -> str:
        server = self._server
        in_force = server.desk.ledger.license_text
        if not in_force:
            return ""
        try:
            own = server.licenses.read()
        except LicenseRefused as refused:
            return f"the license in force stays in force, but the own license file cannot be used: {refused}"
        if own == in_force or self._digest(own) == self._digest(in_force):
            return ""
        try:
            server.licenses.check_new(own, str(server.licenses.path))
        except LicenseRefused as refused:
            return str(refused)
        if server.role() == "standby":
            return (
                f"{server.licenses.path} differs from the license in force, and would replace it if"
                f" {server.identity.member.name} were the first to start after all have stopped"
            )
        return f"{server.licenses.path} differs from the license in force; `reread` puts it in force"

    def _notices(self) -> list[Notice]:
        said = {"license": self._noted, "twin": self._server.membership.twin}
        return [Notice(code, sentence) for code, sentence in said.items() if sentence]

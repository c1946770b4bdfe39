"""
Which checks does the configuration ask for, and how do those of all ports become one?

One check visits all ports of a backend at once: it passes when all have, and fails with the first that did not.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure

from lsproxy.config import model
from lsproxy.net.address import Address
from lsproxy.net.reactor import BoottimeReactor
from lsproxy.net.tls import client_tls, wrap_client
from lsproxy.proxy.relay.commandprobe import CommandProbe
from lsproxy.proxy.relay.portcheck import SIGNS, Failed, Passed, PortCheck, Result, Undecided


class Checks:
    """The checks of one backend."""

    def __init__(self, ports: Sequence[PortCheck], command: CommandProbe | None) -> None:
        self._ports = ports
        self.command = command

    def ask(self) -> Deferred[Result]:
        """Begin a check. Fires when all ports have passed it or one has failed; cancelled, it leaves nothing behind."""
        return _Round([port.ask() for port in self._ports]).result

    @property
    def lively(self) -> tuple[str, ...]:
        """The ports that have shown life, so that they have to from now on; as `remember` takes them."""
        return tuple(port.ground for port in self._ports if port.has_shown_life)

    def remember(self, lively: Collection[str]) -> None:
        """`lively` of other checks: it holds for the ports that are at the same place and asked in the same way."""
        for port in self._ports:
            if port.ground in lively:
                port.signs = SIGNS

    def inherit(self, former: "Checks") -> None:
        """Know what `former` knows of the server, as far as it is asked in the same way."""
        self.remember(former.lively)
        if self.command is not None and former.command is not None:
            self.command.inherit(former.command)


def build_checks(
    reactor: BoottimeReactor,
    doors: Mapping[str, IStreamClientEndpoint],
    addresses: Mapping[str, Address],
    probe: model.Probe,
    health: model.Health,
    random: Callable[[], float],
    *,
    is_tls: bool = False,
) -> Checks:
    """
    The checks that `probe` describes, of a backend that is reached by `doors`, which by their port's name lead to
    `addresses`; `is_tls`: by TLS. With `probe.tls` these have to be without, which is put over them here.

    Raises CertificateError for a CA file that cannot be used, CommandError for an unknown name in `probe.command`.
    """
    ports = [
        PortCheck(
            reactor,
            f"{name} ({addresses[name]})" if name else str(addresses[name]),
            _by_tls(reactor, doors[name], addresses[name], probe.tls, health.timeout),
            probe.send,
            probe.expect,
            health.timeout,
            is_tls=is_tls or probe.tls is not None,
        )
        for name in probe.ports or doors
    ]
    first = next(iter(addresses.values()))
    command = CommandProbe(reactor, probe, first, health.fall, random) if probe.command else None
    return Checks(ports, command)


def _by_tls(
    reactor: BoottimeReactor,
    door: IStreamClientEndpoint,
    address: Address,
    tls: model.BackendTls | None,
    timeout: float,
) -> IStreamClientEndpoint:
    if tls is None:
        return door
    return wrap_client(reactor, door, client_tls(tls.name or address.host, tls.ca), handshake_seconds=timeout)


class _Round:
    """The visits of one check, of which the first failure decides."""

    def __init__(self, visits: Sequence[Deferred[Result]]) -> None:
        self.result: Deferred[Result] = Deferred(self._cancelled)
        self._visits = visits
        self._left = len(visits)
        self._seconds = 0.0
        for visit in visits:
            visit.addCallbacks(self._ended, _is_cancelled)

    def _ended(self, result: Result) -> None:
        self._left -= 1
        if self.result.called:
            return
        match result:
            case Passed(seconds):
                self._seconds = max(self._seconds, seconds)
                if not self._left:
                    self.result.callback(Passed(self._seconds))
            case Failed() | Undecided():
                self._cancelled(self.result)
                self.result.callback(result)

    def _cancelled(self, _result: Deferred[Result]) -> None:
        for visit in self._visits:
            visit.cancel()


def _is_cancelled(failure: Failure) -> None:
    failure.trap(CancelledError)

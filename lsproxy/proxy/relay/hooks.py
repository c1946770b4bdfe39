"""How is a person's command run for a pool, such as the one that fences a server, and how often is it tried?"""

from collections.abc import Mapping, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from lsproxy.commands import CommandError, fill, run


class Hooks:
    """
    The commands of one key of the configuration, run one after the other, each for at most `timeout` seconds. When one
    fails, all are run again, `retries` times.
    """

    def __init__(
        self, reactor: IReactorTime, key: str, commands: Sequence[Sequence[str]], timeout: float, retries: int
    ) -> None:
        self._reactor = reactor
        self._key = key
        self._commands = commands
        self._timeout = timeout
        self._retries = retries

    @property
    def are_there(self) -> bool:
        """Whether anything would be run."""
        return bool(self._commands)

    def run(self, values: Mapping[str, str]) -> Deferred[str | None]:
        """Fires with None when all have ended with status 0, or with the sentence on what the last attempt met."""
        return Deferred.fromCoroutine(self._run(values))

    async def _run(self, values: Mapping[str, str]) -> str | None:
        failure = None
        for _ in range(self._retries + 1):
            failure = await self._attempt(values)
            if failure is None:
                return None
        attempts = f" ({self._retries + 1} attempts)" if self._retries else ""
        return f"{self._key}: {failure}{attempts}"

    async def _attempt(self, values: Mapping[str, str]) -> str | None:
        for command in self._commands:
            try:
                outcome = await run(self._reactor, fill(command, values), self._timeout)
            except CommandError as error:
                return str(error)
            if outcome.problem is not None:
                return f"{command[0]} {outcome.problem}"
        return None

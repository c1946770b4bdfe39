"""
What was in use, waited and was healthy, up to 90 days back?

The history never disturbs what it tells of: a file that is damaged is set aside,
a disk that is full or slow costs samples, and either is said once in the log.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from lsproxy.errors import LsproxyError
from lsproxy.history.file import MOST_BYTES, HistoryDamagedError, HistoryFile
from lsproxy.history.grid import Slots
from lsproxy.history.samples import HealthSpan, PoolPoint, Sample, SeatPoint
from lsproxy.history.worker import ThreadReactor, Worker

FILE_NAME: Final = "history.db"

log = Logger()

Result = TypeVar("Result")


class History:
    """
    The history in the file at `path`; `wall` is seconds since 1970.

    Queries answer with nothing where the file cannot be read. `size` is how many bytes its content had after the last
    sample, `lost` how many samples could not be kept since the start, `trouble` a sentence on why it is not kept now.
    """

    def __init__(
        self, reactor: ThreadReactor, path: Path, wall: Callable[[], float], most_bytes: int = MOST_BYTES
    ) -> None:
        self._reactor = reactor
        self._wall = wall
        self._file = HistoryFile(path, most_bytes)
        self._worker: Worker | None = None
        self._lost_in_trouble = 0
        self.trouble: str | None = None
        self.size = 0
        self.lost = 0

    async def open(self) -> None:
        """Begin; the file itself is opened when it is needed."""
        self._worker = Worker(self._reactor, "history")

    async def close(self) -> None:
        """Let go of the file, after what was asked before."""
        worker, self._worker = self._worker, None
        if worker is not None:
            closing = worker.do(self._file.close)
            worker.stop()
            await closing

    async def record(self, sample: Sample) -> None:
        """Keep `sample`."""
        size = await self._do(lambda: self._file.add(sample))
        if size is None:
            self.lost += 1
            self._lost_in_trouble += 1
            return
        self.size = size
        if self.trouble is not None:
            lost = self._lost_in_trouble
            missing = "1 sample is missing" if lost == 1 else f"{lost} samples are missing"
            text = f"the history is kept again, {missing}"
            log.info("{log_text}", event="history_restored", log_text=text, lost=lost)
        self.trouble = None
        self._lost_in_trouble = 0

    async def seats(self, pool: str, since: float, until: float, points: int) -> dict[str, list[SeatPoint]]:
        """The seats of each feature of `pool` from `since` to `until`, in about `points` points."""
        slots = self._slots(since, until, points)
        return await self._do(lambda: self._file.seats(pool, slots)) or {}

    async def health(self, pool: str, since: float, until: float, points: int) -> dict[str, list[HealthSpan]]:
        """The health of each backend, no finer than `points` spans."""
        slots = self._slots(since, until, points)
        return await self._do(lambda: self._file.health(pool, slots)) or {}

    async def pools(self, pool: str, since: float, until: float, points: int) -> list[PoolPoint]:
        """Who served, and the clients, in about `points` points."""
        slots = self._slots(since, until, points)
        return await self._do(lambda: self._file.pools(pool, slots)) or []

    def _slots(self, since: float, until: float, points: int) -> Slots:
        return Slots(since, until, points, self._wall())

    async def _do(self, job: Callable[[], Result]) -> Result | None:
        """What `job` gives; None, and one sentence in the log, where it cannot be done."""
        for _ in range(2):
            if self._worker is None:
                return None
            doing: Deferred[Result] = self._worker.do(job)
            try:
                return await doing
            except HistoryDamagedError as damage:
                log.error("{damage}; the history begins anew", event="history_damaged", damage=damage)
            except LsproxyError as trouble:
                self._say(trouble)
                return None
        return None

    def _say(self, trouble: LsproxyError) -> None:
        is_news = self.trouble is None
        self.trouble = f"the history is not kept, clients are served all the same: {trouble}"
        if is_news:
            log.warn("{log_text}", event="history_failed", log_text=self.trouble)

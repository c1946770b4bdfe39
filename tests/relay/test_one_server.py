"""
Is only one server of a relayed pool ever in use?

Clients ask without a break, on connections that last as long as they are let.
From the first answer of the next server on, no question is answered by the
former one: not on an old connection, not on a new one.
"""

import random
import signal
import threading
import time
from typing import NamedTuple, Self

import pytest

from tests.faults.process import wait_for
from tests.relay.line import Line

CLIENTS = 12
PAUSE_SECONDS = 0.002


class Answer(NamedTuple):
    asked: float
    heard: float
    server: str


class Crowd:
    """Clients at one port, as a context; `answers` are all that they were given."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._is_over = False
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(CLIENTS)]
        self.answers: list[Answer] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        for thread in self._threads:
            thread.join()

    def wait_for(self, server: str, since: float) -> None:
        """Until a server has given as many answers as there are clients."""

        def is_heard() -> bool:
            return sum(one.server == server and one.asked > since for one in reversed(self.answers[-500:])) >= CLIENTS

        wait_for(is_heard, f"{server} answers")

    def doubles(self, former: str, heir: str, since: float) -> list[Answer]:
        """What `former` answered though it was asked after the first answer of `heir` that came after `since`."""
        later = [one for one in self.answers if one.heard > since]
        first = min(one.heard for one in later if one.server == heir)
        return [one for one in later if one.server == former and one.asked > first]

    def _ask(self) -> None:
        while not self._is_over:
            try:
                with Line(self._port) as line:
                    self._ask_on(line)
            except OSError:
                time.sleep(PAUSE_SECONDS)

    def _ask_on(self, line: Line) -> None:
        while not self._is_over:
            asked = time.monotonic()
            server = line.ask("who")
            if not server:
                return
            self.answers.append(Answer(asked, time.monotonic(), server))
            time.sleep(PAUSE_SECONDS)


class Changes:
    """The ways from one server of a site to the other."""

    def __init__(self, site) -> None:
        self._site = site

    def switched(self, former: str, heir: str) -> None:
        del former
        self._site.do("switch", "lic", "--to", heir)

    def killed(self, former: str, heir: str) -> None:
        del heir
        self._site.servers[former].kill()
        self._site.wait_health(former, "down")
        self._site.start_server(former)

    def hung(self, former: str, heir: str) -> None:
        """It wakes up when the other one is in use: what it was asked before, it answers into nothing."""
        self._site.servers[former].signal(signal.SIGSTOP)
        self._site.wait_serving(heir)
        self._site.servers[former].signal(signal.SIGCONT)

    def drained(self, former: str, heir: str) -> None:
        del heir
        self._site.do("drain", "lic", former)
        self._site.do("ready", "lic", former)


WAYS = ("switched", "killed", "hung", "drained")


def change(site, crowd: Crowd, way: str) -> None:
    """From the server in use to the other one, and nothing comes of the former any more."""
    former = site.serving()
    heir = "b" if former == "a" else "a"
    wait_for(lambda: site.health(heir) == "up", f"{heir} could follow")
    crowd.wait_for(former, time.monotonic())
    began = time.monotonic()
    getattr(Changes(site), way)(former, heir)
    crowd.wait_for(heir, began)
    time.sleep(0.1)
    doubles = crowd.doubles(former, heir, began)
    assert not doubles, (way, former, heir, doubles[:5])


def test_one_after_the_other(pair):
    """Switched, killed, hung and drained, there and back."""
    with Crowd(pair.door) as crowd:
        for way in WAYS * 2:
            change(pair, crowd, way)


@pytest.mark.soak
def test_for_minutes(pair):
    """The same in any order, for long; lsproxy has no more descriptors and hardly more memory afterwards."""
    choice = random.Random(5)
    with Crowd(pair.door) as crowd:
        change(pair, crowd, "switched")
        before = pair.proxy.resident_bytes()
        end = time.monotonic() + 300
        while time.monotonic() < end:
            change(pair, crowd, choice.choice(WAYS))
            crowd.answers.clear()
    wait_for(lambda: pair.picture()["clients"] == 0, "all have left")
    assert pair.proxy.resident_bytes() - before < 4 << 20
    assert pair.proxy.descriptors() < 60

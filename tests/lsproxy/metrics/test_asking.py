"""What a scrape asks of license servers, and what becomes of it when they do not answer."""

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from lsproxy.admin.events import Events
from lsproxy.config.check import load_config
from lsproxy.errors import LsproxyError
from lsproxy.history.history import History
from lsproxy.metrics.metrics import ANSWER_SECONDS, HOLDERS_A_PAGE, MOST_PAGES, Metrics
from lsproxy.proxy.memory import InMemory
from lsproxy.seat.messages import FeatureUsage, HolderUsage, UsageReply
from lsproxy.services import Services
from tests.faults.system import System


class Service:
    """The pool acme, whose server is down; who is asked of its seats is `operators`."""

    def __init__(self, folder):
        System(folder, has_proxy=True)
        memory = InMemory()
        self.services = Services(
            reactor, load_config(folder / "lsproxy.yaml"), memory, lambda: 0.5, lambda *_: None, None
        )
        pytest_twisted.blockon(Deferred.fromCoroutine(self.services.start()))
        self.pools = self.services.pools
        self.tallies = self.services.tallies
        self.operators = {}

    def stop(self):
        pytest_twisted.blockon(Deferred.fromCoroutine(self.services.stop_listening()))
        pytest_twisted.blockon(self.services.stop_pools())


class Machine(Clock):
    """A clock, and a thread pool that does its work at once."""

    def getThreadPool(self):
        return self

    def callInThreadWithCallback(self, told, job, *given):
        told(True, job(*given))

    def callFromThread(self, call, *arguments):
        call(*arguments)


class Operator:
    """Answers as `answer` does to each page asked for."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def usage(self, after=0, limit=200):
        self.asked.append((after, limit))
        return self.answer(after)


@pytest.fixture
def service(tmp_path):
    made = Service(tmp_path)
    yield made
    made.stop()


def text(service, clock, tmp_path):
    metrics = Metrics(clock, service, History(reactor, tmp_path / "h.db", lambda: 0.0), Events("t", lambda: 0.0), "1")
    return Deferred.fromCoroutine(metrics.text()).addCallback(bytes.decode)


def serve(service):
    """As if it were served."""
    service.pools["acme"]._serving = "lic-a"


def holder(seat, state="held"):
    since = "2026-11-21T20:48:00Z"
    return HolderUsage(seat, f"user-{seat % 2}", "ws", "", 1, "192.0.2.7", 3, "2026.1", since, state)


def page(after):
    """Three holders on each of two pages, the last of whom waits."""
    holders = [holder(after + number, "queued" if after and number == 2 else "held") for number in range(3)]
    feature = FeatureUsage("cad", "2027.0", "acme", 20, 15, 0, 1, "2027-01-31", holders)
    return succeed(UsageReply(1, None if after else 3, [feature]))


def test_nobody_is_asked_while_nobody_serves(service, tmp_path):
    """The pool is there, its seats are not."""
    said = []
    text(service, Machine(), tmp_path).addCallback(said.append)
    assert 'lsproxy_pool_served{pool="acme"} 0.0' in said[0]
    assert "lsproxy_seats_issued{" not in said[0]


def test_holders_are_asked_for_page_by_page(service, tmp_path):
    """All of a user since one time are one line; who waits is not counted; a day of expiry ends with the day."""
    serve(service)
    service.operators["acme"] = Operator(page)
    said = []
    text(service, Machine(), tmp_path).addCallback(said.append)
    assert service.operators["acme"].asked == [(0, HOLDERS_A_PAGE), (3, HOLDERS_A_PAGE)]
    of_cad = 'flexlm_feature_used_users{app="acme",name="cad",since="2026-11-21T20:48:00Z",'
    assert f'{of_cad}user="user-0"}} 9.0' in said[0]
    assert f'{of_cad}user="user-1"}} 6.0' in said[0]
    assert 'lsproxy_license_expiry_timestamp_seconds{feature="cad",pool="acme"} 1.80144e+09' in said[0]


def test_pages_have_an_end(service, tmp_path):
    """A server with very many holders does not hold a scrape up."""
    serve(service)

    def endless(after):
        return succeed(UsageReply(1, after + 1, [FeatureUsage("cad", "", "", 0, 1, 0, 0, None, [holder(after)])]))

    service.operators["acme"] = Operator(endless)
    said = []
    text(service, Machine(), tmp_path).addCallback(said.append)
    assert len(service.operators["acme"].asked) == MOST_PAGES
    assert 'lsproxy_seats_in_use{feature="cad",pool="acme"} 1.0' in said[0]
    assert "lsproxy_license_expiry_timestamp_seconds{" not in said[0]  # no line of the license is left


@pytest.mark.parametrize("answer", [lambda _: Deferred(), lambda _: fail(LsproxyError("lic-a is not connected"))])
def test_a_server_that_does_not_answer_is_left_out(service, tmp_path, answer):
    """In time for Prometheus, and all else is there."""
    serve(service)
    service.operators["acme"] = Operator(answer)
    clock, said = Machine(), []
    text(service, clock, tmp_path).addCallback(said.append)
    clock.advance(ANSWER_SECONDS)
    assert 'lsproxy_pool_served{pool="acme"} 1.0' in said[0]
    assert "lsproxy_seats_issued{" not in said[0]


def test_a_fault_is_logged_and_costs_the_seats_alone(service, tmp_path):
    """With its traceback."""
    serve(service)
    service.operators["acme"] = Operator(lambda _: 1 / 0)
    logged, said = [], []
    globalLogPublisher.addObserver(logged.append)
    text(service, Machine(), tmp_path).addCallback(said.append)
    globalLogPublisher.removeObserver(logged.append)
    assert [event["log_failure"].type for event in logged if "log_failure" in event] == [ZeroDivisionError]
    assert 'lsproxy_pool_served{pool="acme"} 1.0' in said[0]

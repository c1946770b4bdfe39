"""The history as the daemon has it: never in the way."""

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import globalLogPublisher

from lsproxy.history.history import History
from lsproxy.history.samples import FeatureSample
from tests.lsproxy.history.samples import NOW, sample

HOUR = 3600


@pytest.fixture
def said():
    """The texts of the log's warnings and errors, and what else has a name there."""
    lines = []

    def observe(event):
        if "event" in event:
            lines.append(event["event"])

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def run(coroutine):
    return pytest_twisted.blockon(Deferred.fromCoroutine(coroutine))


@pytest.fixture
def history(tmp_path):
    made = History(reactor, tmp_path / "history.db", lambda: NOW)
    run(made.open())
    yield made
    run(made.close())


@pytest_twisted.inlineCallbacks
def test_what_is_recorded_is_told(history):
    """Seats, health and the pool, by their names."""
    yield ensureDeferred(history.record(sample(NOW, used=4)))
    seats = yield ensureDeferred(history.seats("acme", NOW - HOUR, NOW + 1, 300))
    health = yield ensureDeferred(history.health("acme", NOW - HOUR, NOW + 1, 300))
    pools = yield ensureDeferred(history.pools("acme", NOW - HOUR, NOW + 1, 300))
    assert [point.used_max for point in seats["cad"]] == [4]
    assert [span.health for span in health["lic-a"]] == ["up"]
    assert [point.serving for point in pools] == ["lic-a"]
    assert history.size > 4096
    assert history.lost == 0


@pytest_twisted.inlineCallbacks
def test_an_uncounted_feature_has_no_limit(history):
    """Its points say so."""
    taken = sample(NOW)
    taken.pools[0].features[:] = [FeatureSample("viewer", None, 4, 0)]
    yield ensureDeferred(history.record(taken))
    seats = yield ensureDeferred(history.seats("acme", NOW - HOUR, NOW + 1, 300))
    assert [point.issued for point in seats["viewer"]] == [None]


@pytest_twisted.inlineCallbacks
def test_damage_is_said_once_and_the_history_goes_on(history, said, tmp_path):
    """The sample that met the damage is the first of the new file."""
    (tmp_path / "history.db").write_bytes(b"\0garbage" * 4096)
    yield ensureDeferred(history.record(sample(NOW)))
    yield ensureDeferred(history.record(sample(NOW + 60)))
    assert said == ["history_damaged"]
    assert history.lost == 0
    assert len((yield ensureDeferred(history.pools("acme", NOW - HOUR, NOW + HOUR, 300)))) == 2


@pytest_twisted.inlineCallbacks
def test_trouble_is_said_once_and_so_is_its_end(history, said, tmp_path):
    """A folder in the file's place: samples are lost and counted, queries answer with nothing, then it goes on."""
    (tmp_path / "history.db").mkdir()
    for number in range(3):
        yield ensureDeferred(history.record(sample(NOW + 60 * number)))
    assert (yield ensureDeferred(history.seats("acme", NOW - HOUR, NOW + HOUR, 300))) == {}
    assert (yield ensureDeferred(history.health("acme", NOW - HOUR, NOW + HOUR, 300))) == {}
    assert (yield ensureDeferred(history.pools("acme", NOW - HOUR, NOW + HOUR, 300))) == []
    assert said == ["history_failed"]
    assert history.lost == 3
    assert history.trouble.startswith("the history is not kept, clients are served all the same: ")
    (tmp_path / "history.db").rmdir()
    yield ensureDeferred(history.record(sample(NOW + 240)))
    assert said == ["history_failed", "history_restored"]
    assert history.trouble is None


@pytest_twisted.inlineCallbacks
def test_a_closed_history_answers_with_nothing(tmp_path):
    """Who asks while lsproxy ends is not kept waiting."""
    closed = History(reactor, tmp_path / "history.db", lambda: NOW)
    assert (yield ensureDeferred(closed.pools("acme", NOW - HOUR, NOW, 300))) == []
    yield ensureDeferred(closed.close())

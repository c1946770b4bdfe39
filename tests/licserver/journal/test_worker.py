"""Jobs leave the reactor thread in order and their answers come back to it."""

import threading

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.logger import globalLogPublisher

from licserver.journal.worker import Worker, do_once


@pytest_twisted.ensureDeferred
async def test_order_and_threads():
    """Jobs are done one after the other in one other thread; answers come in the reactor's."""
    worker = Worker(reactor, "test")
    threads, answered = [], []

    def job(number):
        threads.append(threading.current_thread())
        return number

    answers = [worker.do(lambda number=number: job(number)) for number in range(20)]
    for answer in answers:
        answer.addCallback(lambda number: answered.append((number, threading.current_thread())))
    await gatherResults(answers)
    worker.stop()
    assert answered == [(number, threading.current_thread()) for number in range(20)]
    assert len(set(threads)) == 1
    assert threading.current_thread() not in threads


@pytest_twisted.ensureDeferred
async def test_error():
    """What a job raises is its asker's, and the next job is done."""
    worker = Worker(reactor, "test")
    failing = worker.do(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await failing
    assert await worker.do(lambda: 2) == 2
    worker.stop()


@pytest_twisted.ensureDeferred
async def test_chore_beside_jobs():
    """The chore is done also while jobs never cease."""
    done = []
    worker = Worker(reactor, "test", lambda: done.append(1), 0.001)
    while len(done) < 5:
        await worker.do(lambda: None)
    worker.stop()


@pytest_twisted.ensureDeferred
async def test_broken_chore():
    """A chore that fails is reported, and the jobs go on."""
    reported = []

    def observe(event):
        if "log_failure" in event:
            reported.append(event["log_failure"].type)

    def fail():
        raise LookupError

    globalLogPublisher.addObserver(observe)
    worker = Worker(reactor, "test", fail, 0.001)
    while not reported:
        assert await worker.do(lambda: 1) == 1
    worker.stop()
    globalLogPublisher.removeObserver(observe)
    assert set(reported) == {LookupError}


@pytest_twisted.ensureDeferred
async def test_once():
    """A job of its own thread ends with its answer."""
    assert await do_once(reactor, "test", threading.current_thread) is not threading.current_thread()

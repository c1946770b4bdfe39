"""The swarm before real sockets."""

import time

from tests.promises.checker import check
from tests.promises.history import read_history
from tests.promises.recorder import Swarm, run_swarm
from tests.promises.reference import Reference
from tests.promises.small_server import Cluster

CAPACITY = {"cad": 4, "mesh": 1}


def test_takeovers_and_cuts_break_no_promise(tmp_path):
    """Twenty clients before a faultless pair that fails over and is cut: much is granted, nothing is violated."""
    with Cluster(Reference(CAPACITY), members=2) as servers:
        swarm = Swarm(
            servers.addresses,
            clients=20,
            seconds=1.5,
            features=list(CAPACITY),
            seed=1,
            record_path=tmp_path / "history.jsonl",
            think=0.02,
        ).start()
        for member in (1, 0):
            time.sleep(0.4)
            servers.take_over(member)
        servers.cut()
        history = swarm.join()
    grants = [record for record in history if record.kind == "received" and "seat" in record.message]
    assert len(grants) > 20
    assert check(history, CAPACITY) == []
    assert read_history(tmp_path / "history.jsonl") == history
    assert not any(len(str(value)) == 32 for record in history for value in record.message.values())


def test_a_server_that_does_not_count_is_found():
    """The same swarm before a server without a limit: promise 2 is broken."""
    with Cluster(Reference(CAPACITY, faults=frozenset({"over"}))) as servers:
        history = run_swarm(servers.addresses, clients=10, seconds=0.7, features=["cad"], seed=2, think=0.02)
    assert {violation.promise for violation in check(history, CAPACITY)} == {2}


def test_everything_is_returned_at_the_end():
    """After a swarm its servers hold no session."""
    with Cluster(Reference(CAPACITY)) as servers:
        run_swarm(servers.addresses, clients=5, seconds=0.3, features=["cad"], seed=3, think=0.02)
        assert not any(session.seats for session in servers.reference.sessions.values())

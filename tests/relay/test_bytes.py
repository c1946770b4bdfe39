"""Is what a client gets through lsproxy, byte for byte and end for end, what it gets from the server itself?"""

import socket
import time

import pytest

from tests.faults.process import wait_for
from tests.relay.line import Line, ask, checksum
from tests.relay.standin import RESET_ON_CLOSE, block

MIB = 1 << 20


@pytest.mark.parametrize("length", [64 * MIB, 1024 * MIB], ids=["64 MiB", "1 GiB"])
def test_both_ways_at_once(lasting_pair, length):
    """All bytes arrive, in their order."""
    with Line(lasting_pair.door) as line:
        here, there, wanted = line.exchange(length)
    assert here == checksum(length, seed=2)
    assert there == wanted


def test_an_eof_of_the_client_reaches_the_server(lasting_pair):
    """And the answer that the server gives after it comes back, then its EOF."""
    with Line(lasting_pair.door) as line:
        told, heard = line.upload(5 * MIB + 3)
        assert heard == told
        assert line.end() == "eof"


def test_an_eof_of_the_server_leaves_the_other_way_open(lasting_pair):
    """What the client says after it still arrives."""
    with Line(lasting_pair.door) as line:
        assert line.ask("who") == "a"
        line.say("shut")
        assert line.end() == "eof"
        line.say("and still something")
        line.shut()
        port = lasting_pair.addresses["a"][""]
        wait_for(lambda: ask(port, "kept") == "and still something", "the server has it")


def test_both_eofs_at_once(lasting_pair):
    """Nothing of the connection is left, here or there."""
    with Line(lasting_pair.door) as line:
        line.say("shut")
        line.shut()
        assert line.end() == "eof"
    wait_for(lambda: lasting_pair.picture()["clients"] == 0, "lsproxy has let go of it")
    assert lasting_pair.count("a") == 0


def test_the_server_ends_it(lasting_pair):
    """After its last words."""
    with Line(lasting_pair.door) as line:
        assert line.ask("bye") == "bye"
        assert line.end() == "eof"


@pytest.mark.parametrize("first", ["who", "reset"], ids=["after an answer", "as the only answer"])
def test_a_reset_of_the_server_is_a_reset(lasting_pair, first):
    """Also as the first thing it does, and then for this client only: the server is well."""
    with Line(lasting_pair.door) as line, Line(lasting_pair.door) as other:
        assert other.ask("who") == "a"
        if first == "who":
            assert line.ask("who") == "a"
        line.say("reset")
        assert line.end() == "reset"
        assert other.ask("who") == "a"
    assert lasting_pair.serving() == "a"


def test_a_reset_of_the_client_is_a_reset(lasting_pair):
    """The server sees it at once, not the end of what it could take for a whole upload."""
    line = Line(lasting_pair.door)
    assert line.ask("who") == "a"
    line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    line.close()
    wait_for(lambda: lasting_pair.count("a") == 0, "the server has seen it")


def test_a_kill_in_the_middle_of_a_transfer(pair):
    """The client sees the end at once, never a byte of another server; its next connection is answered."""
    length = 4096 * MIB
    with Line(pair.door) as line:
        line.say(f"exchange {length}")
        noise = block(2)
        received = 0
        while received < 32 * MIB:
            piece = line.socket.recv(MIB)
            start = received % MIB
            assert piece == (noise + noise)[start : start + len(piece)]
            received += len(piece)
        pair.servers["a"].kill()
        began = time.monotonic()
        end = _drained(line)
        assert time.monotonic() - began < 2
        assert end in {"eof", "reset"}
    pair.wait_serving("b")
    assert pair.who() == "b"


def test_a_client_that_does_not_read_costs_little(lasting_pair):
    """The server is slowed down to it: lsproxy keeps no more than buffers for it, and others go on."""
    before = lasting_pair.proxy.resident_bytes()
    with Line(lasting_pair.door) as line:
        line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        line.say(f"exchange {512 * MIB}")
        time.sleep(0.7)
        assert lasting_pair.who() == "a"
        assert lasting_pair.proxy.resident_bytes() - before < 8 * MIB


def test_what_was_said_before_the_first_answer_is_said_again(pair):
    """A request in pieces, in its middle the death of the server: the next one gets it whole."""
    with Line(pair.door) as line:
        line.socket.sendall(b"wh")
        wait_for(lambda: pair.seen("a")["connections"] == 1, "the connection is made")
        pair.servers["a"].kill()
        pair.wait_serving("b")
        line.socket.sendall(b"o\n")
        assert line.hear() == "b"


def _drained(line: Line) -> str:
    try:
        while line.socket.recv(MIB):
            pass
    except ConnectionResetError:
        return "reset"
    return "eof"

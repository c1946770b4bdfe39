"""Asking license servers side by side, on real sockets."""

import contextlib
import json
import socket
import ssl
import threading
import time

import msgspec
import pytest

from lsproxy.lmstat.ask import ANSWER_SECONDS, NoFeature, Told, Unreachable, ask
from lsproxy.net.address import Address
from tests.lsproxy.lmstat.test_text import feature, holder, status
from tests.lsproxy.net.conftest import Authority

SEATS = 5
PAGE = 2


class Server:
    """Answers each line by what `answer` makes of it; None: not at all; empty: closes the connection."""

    def __init__(self, answer, tls=None):
        self._answer = answer
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = Address(*self._listening.getsockname())
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            # A client that is no good has no more to say.
            with connection, contextlib.suppress(OSError, ValueError):
                self._talk(connection if self._tls is None else self._tls.wrap_socket(connection, server_side=True))

    def _talk(self, connection):
        with connection, connection.makefile("rb") as lines:
            for line in lines:
                reply = self._answer(json.loads(line))
                if reply == b"":
                    break
                connection.sendall(reply or b"")

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@pytest.fixture
def server():
    servers = []

    def make(answer, tls=None):
        servers.append(Server(answer, tls))
        return servers[-1].address

    yield make
    for one in servers:
        one.close()


def licserver(role="active", backend="lic1"):
    """A license server whose pages are short."""

    def answer(request):
        if request["op"] == "status":
            said = status(("lic1", "active"), ("lic2", "standby"), backend=backend, role=role)
            return msgspec.json.encode(said) + b"\n"
        if request.get("feature") == "none":
            return b'{"id":1,"ok":false,"error":"unknown_feature","message":"none"}\n'
        seats = range(request["after"] + 1, min(request["after"] + PAGE, SEATS) + 1)
        holders = [holder(seat, f"user{seat}") for seat in seats] if request["holders"] else msgspec.UNSET
        following = seats[-1] if request["holders"] and seats[-1] < SEATS else None
        one = msgspec.structs.replace(feature("f1", in_use=SEATS), holders=holders)
        return msgspec.json.encode({"id": 1, "ok": True, "next": following, "features": [one]}) + b"\n"

    return answer


def look(*addresses, feature=None, holders=True):
    return ask(addresses, None, feature=feature, holders=holders)


def test_all_pages_make_one_list(server):
    """Every holder stands in it once."""
    told = look(server(licserver()))
    assert [one.seat for one in told.features[0].holders] == list(range(1, SEATS + 1))


def test_without_holders_there_is_one_page(server):
    """And no list."""
    told = look(server(licserver()), holders=False)
    assert told.features[0].holders is msgspec.UNSET


def test_the_active_one_speaks_wherever_it_stands_in_the_list(server):
    """A standby that answers first does not."""
    told = look(server(licserver("standby", "lic2")), server(licserver()))
    assert told.status.backend == "lic1"


def test_a_standby_speaks_where_nobody_else_does(server):
    """The dead ones are not waited for any longer than the limit."""
    begun = time.monotonic()
    told = look(server(lambda _: None), server(licserver("standby", "lic2")))
    assert told.status.backend == "lic2"
    assert time.monotonic() - begun < ANSWER_SECONDS + 0.5


def test_a_silent_server_does_not_hold_up_an_active_one(server):
    """The answer is there at once."""
    begun = time.monotonic()
    assert isinstance(look(server(lambda _: None), server(licserver())), Told)
    assert time.monotonic() - begun < 0.5


def test_a_feature_that_nobody_knows(server):
    """Is a finding, no fault."""
    assert look(server(licserver()), feature="none") == NoFeature()


@pytest.mark.parametrize("answer", [b"garbage\n", b"{}\n", b'{"id":1,"ok":false,"error":"no_backend","message":"m"}\n'])
def test_what_is_no_license_server_is_unreachable(server, answer):
    """Also an lsproxy that has none."""
    assert look(server(lambda _: answer)) == Unreachable()


def test_a_server_that_dies_between_two_questions(server):
    """Is unreachable like one that never answered."""
    good = licserver()
    assert look(server(lambda request: good(request) if request["op"] == "status" else b"")) == Unreachable()


def test_pages_that_do_not_go_on(server):
    """A server that sends the same page for ever is as good as none."""
    good = licserver()
    assert look(server(lambda request: good({**request, "after": 0}))) == Unreachable()


def test_nobody_is_there():
    """Refused, or a name that does not exist."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        closed = Address(*taken.getsockname())
        assert look(closed) == Unreachable()
        assert look(closed, Address("no-such-host.invalid", 27000)) == Unreachable()
        assert look(Address("no-such-host.invalid", 27000)) == Unreachable(is_name_unknown=True)


def test_a_server_over_tls(server, tmp_path):
    """It is asked where the CA signed its name; without the CA, or by another name, it is unreachable."""
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("localhost"))
    address = server(licserver(), context)
    trusting = ssl.create_default_context(cafile=authority.file)
    told = ask([Address("localhost", address.port)], trusting, feature=None, holders=True)
    assert isinstance(told, Told)
    assert ask([address], trusting, feature=None, holders=True) == Unreachable()
    assert look(address) == Unreachable()

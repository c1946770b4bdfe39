"""Who is let in, how many, as whom, and what is written down of it?"""

import json
import socket
import struct
import time
from contextlib import ExitStack

import pytest

from tests.faults.process import wait_for
from tests.relay.line import Line, outcome

V1 = b"PROXY TCP4 192.0.2.7 192.0.2.9 4711 27000\r\n"
V2 = b"\r\n\r\n\x00\r\nQUIT\n"


def header_v2(*values: bytes) -> bytes:
    """As V1 says, in version 2, with these TLVs."""
    ends = socket.inet_aton("192.0.2.7") + socket.inet_aton("192.0.2.9") + struct.pack("!HH", 4711, 27000)
    rest = ends + b"".join(values)
    return V2 + struct.pack("!BBH", 0x21, 0x11, len(rest)) + rest


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


@pytest.fixture
def make_door(site):
    """One server, its pool, and a door with these settings."""

    def make(options=(), backend=None, **settings):
        site.server("a", options=options)
        site.pool(backends={"a": site.backend("a", **(backend or {}))})
        site.listen(**settings)
        return site.start()

    return make


def test_as_many_as_may_connect(make_door):
    """One more is reset at once; with room again the next one gets in."""
    site = make_door(max_connections=3)
    with ExitStack() as stack:
        lines = [stack.enter_context(Line(site.door)) for _ in range(3)]
        assert {line.ask("who") for line in lines} == {"a"}
        assert outcome(site.door) == "reset"
        wait_for(lambda: site.proxy.log.count("clients_refused") == 1, "it is said")
        lines[0].close()
        wait_for(lambda: outcome(site.door) == "a", "there is room again")
        assert lines[1].ask("who") == "a"


def test_as_many_as_may_connect_from_one_address(make_door):
    """Others are not held up by it."""
    site = make_door(max_per_source=2)
    with ExitStack() as stack:
        lines = [stack.enter_context(Line(site.door, source="127.0.0.2")) for _ in range(2)]
        assert {line.ask("who") for line in lines} == {"a"}
        assert outcome(site.door, source="127.0.0.2") == "reset"
        assert outcome(site.door, source="127.0.0.3") == "a"


def test_who_may_connect(make_door):
    """Whoever is of none of the networks is reset before a byte of it is read."""
    site = make_door(allow=["127.0.0.2/32", "127.8.0.0/16"])
    assert outcome(site.door, source="127.0.0.2") == "a"
    assert outcome(site.door, source="127.8.3.4") == "a"
    assert outcome(site.door) == "reset"
    wait_for(lambda: len(site.accesses()) == 3, "each has a line")
    ends = {(line["client"].partition(":")[0], line["ended"]) for line in map(json.loads, site.accesses())}
    assert ends == {("127.0.0.2", "client"), ("127.8.3.4", "client"), ("127.0.0.1", "lsproxy")}


@pytest.mark.parametrize(
    "header",
    [V1, header_v2(), header_v2(tlv(0x02, b"licenses.example.com"), tlv(0x04, bytes(300)), tlv(0xE0, b"ours"))],
    ids=["v1", "v2", "v2 with TLVs"],
)
def test_the_client_that_another_proxy_names(make_door, header):
    """Its address is what limits, the access log and the server itself know, whole or byte by byte."""
    site = make_door(
        options=["--proxied"],
        backend={"send_proxy_protocol": True},
        accept_proxy_protocol=["127.0.0.1/32"],
        allow=["192.0.2.0/24"],
    )
    for size in (1, len(header)):
        with Line(site.door) as line:
            for start in range(0, len(header), size):
                line.socket.sendall(header[start : start + size])
            assert line.ask("from") == "192.0.2.7:4711 192.0.2.9:27000"
    wait_for(lambda: len(site.accesses()) == 2, "the access log has its lines")
    assert {json.loads(line)["client"] for line in site.accesses()} == {"192.0.2.7:4711"}


def test_who_sends_no_header_where_one_is_due(make_door):
    """Something else, or too little of it: reset, and the others are served."""
    site = make_door(accept_proxy_protocol=["127.0.0.1/32"])
    assert outcome(site.door) == "reset"
    with Line(site.door) as late:
        late.socket.sendall(V1[:10])
        began = time.monotonic()
        assert late.end() == "reset"
        assert 2 < time.monotonic() - began < 5
    with Line(site.door) as line:
        line.socket.sendall(V1)
        assert line.ask("who") == "a"


def test_who_may_not_name_another(make_door):
    """From other sources a header is not looked for: it is the first line that the server reads."""
    site = make_door(accept_proxy_protocol=["127.0.0.9/32"])
    with Line(site.door) as line:
        line.socket.sendall(V1)
        assert line.hear() == V1.decode().rstrip("\n")


@pytest.mark.parametrize("version", [True, "v1", "v2"])
def test_the_server_learns_who_connects(make_door, version):
    """Without another proxy before it, lsproxy names the client and what that dialled, in either version."""
    site = make_door(options=["--proxied"], backend={"send_proxy_protocol": version})
    with Line(site.door, source="127.0.0.5") as line:
        own = "{}:{}".format(*line.socket.getsockname())
        assert line.ask("from") == f"{own} 127.0.0.1:{site.door}"


def test_how_connections_ended(site):
    """One line for each: who it was, where it was, how much, how long, and who ended it."""
    site.server("a")
    site.server("b")
    site.pool(hold=0.2)
    site.listen()
    site.start()
    site.wait_serving("a")
    with Line(site.door) as line:
        assert line.ask("hello") == "hello"
    wait_for(lambda: len(site.accesses()) == 1, "the first line")
    with Line(site.door) as line:
        assert line.ask("bye") == "bye"
        assert line.end() == "eof"
    wait_for(lambda: len(site.accesses()) == 2, "the second line")
    with Line(site.door) as line:
        assert line.ask("who") == "a"
        site.do("switch", "lic")
        assert line.end() == "reset"
    wait_for(lambda: len(site.accesses()) == 3, "the third line")
    for server in site.servers.values():
        server.kill()
    site.wait_serving(None)
    assert outcome(site.door) == "reset"
    wait_for(lambda: len(site.accesses()) == 4, "the last line")
    lines = [json.loads(line) for line in site.accesses()]
    assert [(line["backend"], line["received"], line["sent"], line["ended"]) for line in lines] == [
        ("a", 6, 6, "client"),
        ("a", 4, 4, "server"),
        ("a", 4, 2, "switch"),
        (None, 4, 0, "lsproxy"),
    ]
    assert {(line["listener"], line["pool"]) for line in lines} == {("door", "lic")}
    assert all(line["client"].startswith("127.0.0.1:") for line in lines)

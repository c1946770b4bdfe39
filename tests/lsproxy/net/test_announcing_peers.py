"""Headers as HAProxy and nginx write them, and as they understand ours."""

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.protocol import Factory

from lsproxy.net.announcing import accept_proxy_protocol, announce, ends_of
from lsproxy.net.endpoints import server_endpoint
from lsproxy.net.ends import Ends
from lsproxy.net.network import parse_network
from lsproxy.net.proxyprotocol import LOCAL_HEADER, header_v1, header_v2
from lsproxy.net.tls import server_tls, wrap_server
from tests.faults.process import Child
from tests.faults.system import free_port

LOOPBACK = "127.0.0.1"
FOUR = Ends(IPv4Address("TCP", "192.0.2.7", 51234), IPv4Address("TCP", "198.51.100.1", 27000))
SIX = Ends(IPv6Address("TCP", "2001:db8::7", 51234), IPv6Address("TCP", "2001:db8::1", 27000))
MIXED = Ends(FOUR.client, SIX.host)
HEADERS = pytest.mark.parametrize("write", [header_v1, header_v2])
LENGTH = 100_000

TO_US = """
global
    nbthread 1
defaults
    mode tcp
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend door
    bind {host}:{door}
    unique-id-format %{{+X}}o%ci:%cp
    tcp-request inspect-delay 100ms
    tcp-request content accept if TRUE
    default_backend us
backend us
    server us {host}:{us} {options}
"""
FROM_US = """
global
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend door
    bind {host}:{door} accept-proxy
    http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] %[dst] %[dst_port]\\n"
"""
NGINX_HEAD = """
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr notice;
events {{}}
"""
NGINX_TO_US = (
    NGINX_HEAD
    + """
stream {{ server {{ listen {host}:{door}; proxy_pass {host}:{us}; proxy_protocol on; }} }}
"""
)
NGINX_FROM_US = (
    NGINX_HEAD
    + """
stream {{
    server {{
        listen {host}:{door} proxy_protocol;
        return "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port\\n";
    }}
}}
"""
)


@pytest.fixture
def run(tmp_path, net):
    """Start a program with a configuration; fires when it listens on its `door`."""
    started = []

    async def start(program, text, **values):
        door = free_port()
        path = tmp_path / "configuration"
        path.write_text(text.format(host=LOOPBACK, door=door, folder=tmp_path, **values))
        switches = {
            "haproxy": ["-db", "-f", str(path)],
            "nginx": ["-p", str(tmp_path), "-e", "stderr", "-c", str(path)],
        }
        child = Child(program, [f"/usr/sbin/{program}", *switches[program]], tmp_path / "log")
        started.append(child)
        child.start()
        await net.until(lambda: _is_listening(door) or not child.is_running)
        assert child.is_running, child.log
        return door

    yield start
    for child in started:
        child.kill()


class Us:
    """An echo that notes the ends of each connection that asks something."""

    def __init__(self, net):
        self.net = net
        self.ends = []
        self.asked = []

    async def listen(self, tls=None):
        factory = Factory()
        factory.noisy = False

        def build(address):
            ends = ends_of(address, self.port.getHost())
            self.ends.append(ends)

            def answer(it, received):
                self.asked.append(ends)
                it.transport.write(received)

            self.net.accepted.append(self.net.Recorder(on_bytes=answer))
            return self.net.accepted[-1]

        factory.buildProtocol = build
        networks = [parse_network("127.0.0.0/8")]
        endpoint = accept_proxy_protocol(reactor, server_endpoint(reactor, LOOPBACK, 0), networks)
        if tls is not None:
            endpoint = wrap_server(reactor, endpoint, tls)
        self.port = await endpoint.listen(factory)
        self.net._ports.append(self.port)
        return self.port.getHost().port

    async def is_told_of(self, door):
        """Whether a client at the proxy's door is the client here, with the bytes of both ways whole."""
        peer = self.net.connect_raw(door)
        peer.send(b"x" * LENGTH)
        assert await self.net.read(peer, LENGTH) == b"x" * LENGTH
        ends = Ends(IPv4Address("TCP", *peer.getsockname()), IPv4Address("TCP", LOOPBACK, door))
        return set(self.asked) == {ends}


@pytest.fixture
def us(net):
    return Us(net)


def _is_listening(port):
    """Asked of the kernel, not by a connection: that one would reach us."""
    with open("/proc/net/tcp", encoding="ascii") as table:  # noqa: PTH123 - no file, a question
        return any(f":{port:04X} 00000000:0000 0A" in line for line in table)


async def heard(net, door, header, question=b""):
    """What the server at `door` says to a connection that begins with `header`."""
    client = net.Recorder(on_made=lambda it: it.transport.write(question))
    await net.dial(door, client, wrap=lambda endpoint: announce(endpoint, header))
    await net.until(lambda: client.is_lost)
    return client.received.splitlines()[-1].decode().split(), client.transport.getHost()


def shown(ends):
    return [ends.client.host, str(ends.client.port), ends.host.host, str(ends.host.port)]


@pytest.mark.haproxy
@pytest.mark.parametrize(
    "options",
    [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c",
        "send-proxy-v2-ssl-cn proxy-v2-options unique-id,crc32c,authority,ssl-cipher",
    ],
)
@pytest_twisted.ensureDeferred
async def test_from_haproxy(us, run, options):
    """HAProxy's headers are understood in both versions, with all its TLVs and its checksum."""
    door = await run("haproxy", TO_US, us=await us.listen(), options=options)
    assert await us.is_told_of(door)


@pytest.mark.haproxy
@pytest_twisted.ensureDeferred
async def test_from_haproxy_by_tls(us, run, authority):
    """HAProxy's header comes before its TLS."""
    tls = server_tls(*authority.issue("lic-a.example.com"))
    options = "send-proxy-v2 proxy-v2-options crc32c ssl verify none"
    assert await us.is_told_of(await run("haproxy", TO_US, us=await us.listen(tls), options=options))


@pytest.mark.haproxy
@pytest_twisted.ensureDeferred
async def test_haproxys_checks(us, run, net, logged):
    """HAProxy's own checks come as HAProxy's own connections, and are no fault."""
    await run("haproxy", TO_US, us=await us.listen(), options="check inter 50ms send-proxy-v2")
    await net.until(lambda: len(us.ends) > 1)
    assert {ends.client.host for ends in us.ends} == {LOOPBACK}
    assert {ends.host for ends in us.ends} == {us.port.getHost()}
    assert logged == []


@pytest.mark.haproxy
@HEADERS
@pytest.mark.parametrize("ends", [FOUR, SIX])
@pytest_twisted.ensureDeferred
async def test_to_haproxy(net, run, write, ends):
    """HAProxy takes the client of our header for its client."""
    door = await run("haproxy", FROM_US)
    assert (await heard(net, door, write(ends), b"GET / HTTP/1.0\r\n\r\n"))[0] == shown(ends)


@pytest.mark.haproxy
@pytest_twisted.ensureDeferred
async def test_own_connection_to_haproxy(net, run):
    """A connection of our own has our own address at HAProxy."""
    door = await run("haproxy", FROM_US)
    said, here = await heard(net, door, LOCAL_HEADER, b"GET / HTTP/1.0\r\n\r\n")
    assert said == [here.host, str(here.port), LOOPBACK, str(door)]


@pytest.mark.nginx
@pytest_twisted.ensureDeferred
async def test_from_nginx(us, run):
    """A header of nginx is understood."""
    assert await us.is_told_of(await run("nginx", NGINX_TO_US, us=await us.listen()))


@pytest.mark.nginx
@HEADERS
@pytest.mark.parametrize("ends", [FOUR, SIX, MIXED])
@pytest_twisted.ensureDeferred
async def test_to_nginx(net, run, write, ends):
    """Our header is understood by nginx, in both versions."""
    door = await run("nginx", NGINX_FROM_US)
    said, _here = await heard(net, door, write(ends))
    said[0] = said[0].removeprefix("::ffff:")  # an IPv4 address beside one in IPv6 is shown as it is written
    assert said == shown(ends)

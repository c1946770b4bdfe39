"""What the kernel is told about peers that say nothing."""

import socket

import pytest_twisted
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

from lsproxy.net.keepalive import KeepAlive, keep_alive


def options(handle):
    names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
    on = handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    return on, *(handle.getsockopt(socket.IPPROTO_TCP, name) for name in names)


@pytest_twisted.ensureDeferred
async def test_times_reach_the_kernel(net):
    """The times are the socket's, and unsent bytes are given up after the same time as silence."""
    served, client = await net.pair()
    keep_alive(served.transport, KeepAlive(idle_seconds=7, interval_seconds=2, probes=4))
    assert options(served.transport.getHandle()) == (1, 7, 2, 4, 15_000)
    keep_alive(client.transport)
    assert options(client.transport.getHandle()) == (1, 30, 10, 3, 60_000)


@pytest_twisted.ensureDeferred
async def test_accepted_connections_have_them(net):
    """What is accepted is probed from the beginning, at the usual times."""
    served, client = await net.pair()
    assert options(served.transport.getHandle()) == (1, 30, 10, 3, 60_000)
    assert options(client.transport.getHandle())[0] == 0


@pytest_twisted.ensureDeferred
async def test_below_a_wrapping_protocol(net):
    """The socket below a wrapping protocol, such as TLS, is found."""
    served, _client = await net.pair()
    wrapper = ProtocolWrapper(WrappingFactory(None), net.Recorder())
    wrapper.makeConnection(served.transport)
    keep_alive(wrapper)
    assert options(served.transport.getHandle())[0] == 1

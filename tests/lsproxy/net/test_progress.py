"""How far a peer has come, as the kernel counts it."""

import pytest_twisted

from lsproxy.net.progress import acknowledged_bytes


@pytest_twisted.ensureDeferred
async def test_counts_what_the_peer_has_taken(net):
    """Bytes are counted when the peer's kernel has them, and stop to be when it has no room for more."""
    served, peer = await net.raw()
    assert acknowledged_bytes(served.transport) == 0
    served.transport.write(b"x" * 1000)
    await net.until(lambda: acknowledged_bytes(served.transport) == 1000)
    size = 16 << 20
    served.transport.write(b"x" * size)
    await net.turns(0.2)
    taken = acknowledged_bytes(served.transport)
    assert 1000 < taken < size
    await net.turns(0.1)
    assert acknowledged_bytes(served.transport) == taken
    await net.read(peer, size // 2)
    await net.until(lambda: acknowledged_bytes(served.transport) > taken)


@pytest_twisted.ensureDeferred
async def test_nothing_after_the_end(net):
    """A connection that has ended takes nothing any more."""
    served, _ = await net.raw()
    transport = served.transport
    transport.abortConnection()
    await net.until(lambda: served.is_lost)
    assert acknowledged_bytes(transport) == 0

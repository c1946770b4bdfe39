"""How one license server dials another: with its own certificate, also while that is being renewed."""

import pytest_twisted
from twisted.internet import reactor

from licserver.config import Listen, ListenTls
from licserver.dialing import Dialing
from licserver.journal.interface import Member, Process
from lsproxy.net.address import Address
from lsproxy.net.tls import server_tls, wrap_server
from tests.lsproxy.net.conftest import Authority, Net


@pytest_twisted.ensureDeferred
async def test_renewal(tmp_path):
    """It shows the certificate of the moment; with half of one it goes on with the one before."""
    authority, net = Authority(tmp_path), Net()
    certificate, key = authority.issue("own", names=("127.0.0.1",))
    tls = ListenTls(certificate=certificate, key=key, ca=authority.file)
    other = server_tls(*authority.issue("other", names=("127.0.0.1",)), authority.file)
    port = await net.listen(wrap=lambda endpoint: wrap_server(reactor, endpoint, other))
    address = f"127.0.0.1:{port}"
    member = Member("lic-b", "b1", address, Process(1, 1, "boot"), address)
    dialing = Dialing(reactor, Listen(address=Address("127.0.0.1", 1), tls=tls))

    async def shown():
        net.accepted.clear()
        dialed = await net.dial(port, wrap=lambda _: dialing(member))
        await net.until(lambda: net.accepted)
        serial = net.accepted[0].transport.getHandle().get_peer_certificate().get_serial_number()
        dialed.transport.loseConnection()
        return serial

    try:
        first = await shown()
        key.write_bytes(b"half of a ")
        assert await shown() == first
        for new, file in zip(authority.issue("new", names=("127.0.0.1",)), (certificate, key), strict=True):
            file.write_bytes(new.read_bytes())
        assert await shown() != first
    finally:
        net.close()

"""A license server on loopback, ended after each test."""

import pytest_twisted

from tests.licserver.live import Live


@pytest_twisted.async_yield_fixture
async def live(tmp_path):
    """A server that is active, at `live.port`."""
    live = await Live(tmp_path).start()
    yield live
    await live.close()

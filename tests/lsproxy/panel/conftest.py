"""The panel in this process, before the admin API of its neighbours' tests."""

import re
import time
from datetime import UTC

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from lsproxy.checkup import third_party_licenses
from lsproxy.panel.site import Panel
from lsproxy.proxy.kinds.clientconfig import client_config
from tests.lsproxy.admin.conftest import Panel as AdminApi
from tests.lsproxy.admin.conftest import demo

__all__ = ["demo"]


class Browser(AdminApi):
    """Asks the panel, with the cookie and the form token of a login once there was one."""

    def __init__(self, demo):
        super().__init__(demo)
        self.panel = Panel(
            reactor, self.api, self, self.api._access, self.events, self.history, time.time, "0.1.0", UTC
        )
        self.cookie = self.form = None

    async def answer(self, asked):
        return await self.panel.answer(asked)

    def client_config(self, pool, host):
        config = self.services.config
        licenses = third_party_licenses(config.pools[pool])
        return client_config(pool, config.pools[pool], config.listen, licenses, host, "here")

    async def log_in(self, role):
        """With the token of that role."""
        answer = await self.ask("POST", "/login", f"token=of+a{'n' if role == 'operator' else ''}+{role}")
        assert answer.status == 303, answer
        self.cookie = answer.headers["set-cookie"].partition(";")[0]
        page = await self.look("/")
        self.form = re.search(rb'name="form" value="([0-9a-f]+)"', page.body).group(1).decode()

    async def look(self, path, **headers):
        return await self.ask("GET", path, Cookie=self.cookie or "none=1", **headers)

    async def send(self, path, **fields):
        """A form, with the token of the login unless another is given."""
        given = {"form": self.form or "", **fields}
        body = "&".join(f"{key}={value}" for key, value in given.items())
        return await self.ask("POST", path, body, Cookie=self.cookie or "none=1")


@pytest.fixture
def browser(demo):
    opened = Browser(demo)
    pytest_twisted.blockon(Deferred.fromCoroutine(opened.open()))
    yield opened
    pytest_twisted.blockon(Deferred.fromCoroutine(opened.close()))

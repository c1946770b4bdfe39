"""
The panel in a real browser, before a real lsproxy and two license servers.

The browser is driven from a thread of its own: in the one of the tests the
reactor's loop runs, beside which the driver does not.
"""

import functools
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import sync_playwright

from lsproxy.config.tokens import SALT_BYTES, add_token
from tests.faults.process import Child, wait_for
from tests.faults.system import System, free_port

TOKENS = {"operator": "of an operator", "viewer": "of a viewer"}
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE_MS = 15_000

_thread = ThreadPoolExecutor(1, "browser")


def in_the_browser(test):
    """Have a test run in the thread of the browser."""

    @functools.wraps(test)
    def run(**fixtures):
        return _thread.submit(test, **fixtures).result()

    return run


class Site:
    """A system, and windows on its panel. `url` is that of the panel."""

    def __init__(self, system, chromium):
        self.system = system
        self.url = "http://127.0.0.1:{}".format(system.addresses["admin"][1])
        self._chromium = chromium
        self._contexts = []
        self.complaints = []

    def window(self, role=None, path="/", *, url=None, **options):
        """
        A new window, logged in with the token of that role. What its console says, and what it asks of another host,
        is a complaint.
        """
        context = self._chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(PATIENCE_MS)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        url = url or self.url
        page.on("request", lambda request: request.url.startswith(url) or self.complaints.append(request.url))
        if role is not None:
            page.goto(f"{url}/login")
            page.get_by_label("Token").fill(TOKENS[role])
            page.get_by_role("button", name="Log in").click()
            page.wait_for_url(f"{url}/")
        if role is None or path != "/":
            page.goto(f"{url}{path}")
        return page

    def close(self):
        for context in self._contexts:
            context.close()
        self._contexts.clear()

    def _said(self, message):
        # That a request was refused is what some tests are about; advice on password managers is not.
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            self.complaints.append(f"{message.type}: {message.text}")


@pytest.fixture(scope="session")
def chromium():
    def start():
        driver = sync_playwright().start()
        return driver, driver.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))

    def stop():
        browser.close()
        driver.stop()

    driver, browser = _thread.submit(start).result()
    yield browser
    _thread.submit(stop).result()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A system that has been started; a test that kills a server starts it again."""
    system = System(tmp_path_factory.mktemp("web"), has_proxy=True)
    for role, token in TOKENS.items():
        add_token(system.folder / "tokens.yaml", role, role, token, bytes(SALT_BYTES))
    system.start()
    yield system
    system.end()
    assert not system.faults_in_logs()


@pytest.fixture
def site(running, chromium):
    opened = Site(running, chromium)
    yield opened
    _thread.submit(opened.close).result()
    assert opened.complaints == []


@pytest.fixture
def prefixed(running, tmp_path):
    """The address of nginx, which has the panel at /tools/licenses/."""
    port = free_port()
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(
        f"""
        daemon off; master_process off; pid {tmp_path}/nginx.pid; error_log stderr;
        events {{}}
        http {{
          access_log off; client_body_temp_path {tmp_path}/body; proxy_temp_path {tmp_path}/proxy;
          fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;
          server {{
            listen 127.0.0.1:{port};
            location /tools/licenses/ {{
              proxy_pass http://127.0.0.1:{running.addresses["admin"][1]}/;
              proxy_set_header Host 127.0.0.1;
              proxy_set_header X-Forwarded-Host $http_host;
              proxy_set_header X-Forwarded-For $remote_addr;
            }}
          }}
        }}
        """
    )
    nginx = Child("nginx", [shutil.which("nginx"), "-c", str(configuration)], tmp_path / "nginx.log")
    nginx.start()
    wait_for((tmp_path / "nginx.pid").exists, "nginx runs")
    yield f"http://127.0.0.1:{port}/tools/licenses"
    nginx.kill()

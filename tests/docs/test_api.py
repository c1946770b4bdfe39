"""docs/api.md: its examples run, its tables are complete, its reverse proxies lead to the panel and the API."""

import json
import os
import re
import shutil
import ssl
import subprocess
import time
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest

from lsproxy import eventnames
from lsproxy.admin.routes import ROUTES
from lsproxy.config.tokens import SALT_BYTES, add_token
from tests.faults.process import Child, wait_for
from tests.faults.system import COMMANDS, System, free_port
from tests.lsproxy.net.conftest import Authority

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
TOKEN = "of an operator"  # noqa: S105 - of this test alone


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def rows(heading):
    """The first cells of the table under a heading."""
    table = PAGE.partition(heading)[2].partition("|---|")[2].partition("\n\n")[0]
    return [line.split("|")[1].strip(" `") for line in table.splitlines()[1:]]


def test_every_call_is_told():
    """With the role it needs, and no other."""
    calls = {f"{route.method} {route.pattern}" for route in ROUTES}
    assert set(rows("## Calls")) == calls
    for route in ROUTES:
        assert f"| `{route.method} {route.pattern}` | {route.need} |" in PAGE


def test_every_event_is_told():
    """In the words of the list itself; programs rely on the names."""
    assert rows("## Events") == list(eventnames.TOLD)
    assert rows("## The log") == list(eventnames.LOGGED)
    for name, words in {**eventnames.TOLD, **eventnames.LOGGED}.items():
        assert f"| `{name}` | {words} |" in PAGE


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A proxy and two license servers, somebody who holds a seat, and the header with a token in it."""
    system = System(tmp_path_factory.mktemp("api"), has_proxy=True)
    add_token(system.folder / "tokens.yaml", "ops", "operator", TOKEN, bytes(SALT_BYTES))
    (system.folder / "token.header").write_text(f"Authorization: Bearer {TOKEN}\n")
    system.secrets.add(TOKEN)
    system.start()
    yield system
    faults = system.faults_in_logs()
    system.end()
    assert not faults, faults


def test_the_examples_run(served):
    """One after the other, as they stand but for the address."""
    keeper = served.keeper()
    assert keeper.checkout("cad")["seat"] == 1
    here = {
        "127.0.0.1:27080": "127.0.0.1:{}".format(served.addresses["admin"][1]),
        "/run/lsproxy/": f"{served.folder}/",
    }
    lines = [line for block in blocks("sh") for line in block.splitlines() if not line.startswith("#")]
    assert len(lines) > 12
    for line in lines:
        command = line
        for written, meant in here.items():
            command = command.replace(written, meant)
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],  # noqa: S607 - as a reader would
            cwd=served.folder,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        # head ends the pipe, --max-time the stream
        assert done.returncode == 0 or "--max-time" in line, (line, done.stdout, done.stderr)
        assert done.stdout, line
    assert served.usage("cad")["cad"]["in_use"] == 0


class ReverseProxy:
    """One that puts lsproxy under /licenses/, at `https` or not."""

    def __init__(self, name, folder, command, port, authority):
        self.child = Child(name, command, folder / f"{name}.log")
        self.port = port
        self.authority = authority
        self.context = None if authority is None else ssl.create_default_context(cafile=authority.file)
        self.child.start()
        wait_for(self._is_there, f"{name} listens: {self.child.log}", 10)

    def ask(self, method, path, body=None, **headers):
        """The answer, and where a browser goes from there."""
        kind = {} if self.context is None else {"context": self.context}
        connection = (HTTPConnection if self.context is None else HTTPSConnection)("localhost", self.port, **kind)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            answer.text = answer.read().decode()
            answer.leads_to = urlsplit(urljoin(path, answer.headers.get("Location", ""))).path
            return answer
        finally:
            connection.close()

    @property
    def scheme(self):
        return "http" if self.context is None else "https"

    def _is_there(self):
        try:
            return self.ask("GET", "/licenses").status == 301
        except OSError:
            return False


def nginx(served, folder, port):
    (server,) = blocks("nginx")
    server = server.replace("127.0.0.1:27080", "127.0.0.1:{}".format(served.addresses["admin"][1]))
    (folder / "nginx.conf").write_text(
        f"pid {folder}/nginx.pid;\nerror_log stderr;\ndaemon off;\nuser root;\nevents {{}}\n"
        f"http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n"
        f"fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n"
        f"server {{ listen 127.0.0.1:{port};\n{server} }} }}\n"
    )
    command = ["/usr/sbin/nginx", "-e", "stderr", "-c", str(folder / "nginx.conf")]
    return ReverseProxy("nginx", folder, command, port, None)


def haproxy(served, folder, port):
    (text,) = blocks("haproxy")
    authority = Authority(folder)
    certificate, key = authority.issue("localhost")
    (folder / "web.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
    text = text.replace(":443", f"127.0.0.1:{port}").replace("/etc/haproxy/web.pem", str(folder / "web.pem"))
    text = text.replace("127.0.0.1:27080", "127.0.0.1:{}".format(served.addresses["admin"][1]))
    usual = "defaults\n    mode http\n    timeout connect 5s\n    timeout client 1h\n    timeout server 30s\n"
    (folder / "haproxy.cfg").write_text(f"{usual}\n{text}")
    command = [shutil.which("haproxy") or "haproxy", "-db", "-q", "-f", str(folder / "haproxy.cfg")]
    return ReverseProxy("haproxy", folder, command, port, authority)


@pytest.fixture(params=[pytest.param(nginx, marks=pytest.mark.nginx), pytest.param(haproxy, marks=pytest.mark.haproxy)])
def before(request, served, tmp_path):
    made = request.param(served, tmp_path, free_port())
    yield made
    made.child.kill()


def test_a_reverse_proxy_with_a_path(served, before):
    """From its folder to the login, by a form into the panel, and the cookie is for that folder alone."""
    assert before.ask("GET", "/licenses").leads_to == "/licenses/"
    sent_on = before.ask("GET", "/licenses/")
    assert (sent_on.status, sent_on.leads_to) == (303, "/licenses/login")
    form = before.ask("GET", "/licenses/login")
    (action,) = re.findall(r'<form method="post" action="([^"]*)"', form.text)
    target = urljoin("/licenses/login", action)
    assert target == "/licenses/login"
    origin = f"{before.scheme}://localhost:{before.port}"
    assert before.ask("POST", target, f"token={TOKEN}", Origin="https://evil.example.com").status == 403
    welcome = before.ask("POST", target, "token=of+an+operator", Origin=origin)
    assert (welcome.status, welcome.leads_to) == (303, "/licenses/")
    cookie = welcome.headers["Set-Cookie"]
    assert "path=" not in cookie.lower()
    assert cookie.endswith("; Secure") == (before.scheme == "https")
    panel = before.ask("GET", "/licenses/", Cookie=cookie.partition(";")[0])
    assert (panel.status, "acme" in panel.text) == (200, True)
    for link in re.findall(r'(?:href|src|action)="([^"#]+)', panel.text):
        assert urljoin("/licenses/", link).startswith("/licenses/"), link
    assert "logged in to the panel from 127.0.0.1 through 127.0.0.1" in served.proxy.log


def test_events_and_commands_go_through_it(served, before):
    """Events come when they happen, and `--admin` takes the path too."""
    where = f"{before.scheme}://localhost:{before.port}/licenses/"
    environment = {**os.environ, "LSPROXY_TOKEN": TOKEN}
    if before.authority is not None:
        environment["SSL_CERT_FILE"] = str(before.authority.file)
    lsproxy = [str(COMMANDS / "lsproxy")]
    following = subprocess.Popen(
        [*lsproxy, "events", "--follow", "--json", "--admin", where],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert json.loads(following.stdout.readline())["event"]
        done = subprocess.run(
            [*lsproxy, "drain", "acme", "lic-b", "--admin", where, "--json"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        asked = time.monotonic()
        while json.loads(following.stdout.readline())["event"] != "backend_state":
            pass
        assert time.monotonic() - asked < 2
        done = subprocess.run([*lsproxy, "ready", "acme", "lic-b", "--admin", where], env=environment, check=False)
        assert done.returncode == 0
    finally:
        following.kill()
        following.wait(5)
        following.stdout.close()
    assert "from 127.0.0.1 through 127.0.0.1: state acme lic-b state=drain: done" in served.proxy.log

"""`lsproxy demo`: the whole system, its servers killed and started again, and nothing left behind."""

import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from lsproxy.client import LicenseClient
from tests.faults.process import SETPRIV, wait_for
from tests.faults.system import COMMANDS, free_port
from tests.lsproxy.cli.conftest import lsproxy


class Demo:
    """A demo as a process; what it prints goes to a file."""

    def __init__(self, folder, out):
        self.folder, self.out = folder, out
        self.port, self.panel_port = free_port(), free_port()
        ports = ["--port", str(self.port), "--panel-port", str(self.panel_port)]
        with out.open("wb") as printed:
            self.process = subprocess.Popen(
                [SETPRIV, "--pdeathsig", "KILL", str(COMMANDS / "lsproxy"), "demo", "--dir", str(folder), *ports],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
            )
        wait_for(lambda: "up standby" in self.said and "up active" in self.said, "the demo runs", 20)

    @property
    def said(self):
        return self.out.read_text()

    @property
    def now(self):
        """The latest line on the pool."""
        return next((line for line in reversed(self.said.splitlines()) if line.startswith("demo ")), "")

    def server(self, role):
        """Name and process of the server in that role."""
        found = re.search(rf"(lic-[ab]) up {role} \(process (\d+)\)", self.now)
        return found and (found[1], int(found[2]))

    def children(self):
        return [pid for pid in map(int, re.findall(r"process (\d+)", self.said)) if Path(f"/proc/{pid}").exists()]

    def end(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.process.wait(15)


@pytest.fixture
def start(tmp_path):
    started = []

    def begin():
        demo = Demo(tmp_path / "demo", tmp_path / f"out-{len(started)}")
        started.append(demo)
        return demo

    yield begin
    for demo in started:
        if demo.process.poll() is None:
            demo.process.kill()
            demo.process.wait()


def proxies(folder):
    """The processes of a demo in that folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in command and b"serve" in command:
            found.append(int(path.parent.name))
    return found


def test_the_demo_shows_a_failover_and_leaves_nothing_behind(start, tmp_path):
    """The active server is killed under a held seat: the other serves, the killed one comes back, Ctrl-C ends all."""
    demo = start()
    active, pid = demo.server("active")
    with LicenseClient(f"{demo.port}@127.0.0.1", app="test") as client, client.checkout("cad") as seat:
        wait_for(lambda: "1 seats" in demo.now, "the seat is shown")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: (demo.server("active") or [active])[0] != active, "the other is active", 10)
        seat.check()
        wait_for(lambda: "last failover: a client waited" in demo.now, "the pause is shown", 10)
        assert "1 seats" in demo.now
        standby = wait_for(lambda: demo.server("standby"), "the killed one is back", 10)
        assert standby[0] == active
        assert standby[1] != pid
    assert f"{active} (process {pid}) was ended by SIGKILL" in demo.said
    assert len(proxies(tmp_path / "demo")) == 3
    assert demo.end() == 0
    assert demo.said.endswith("stopping\n")
    assert proxies(tmp_path / "demo") == []


def test_a_demo_is_started_again_in_its_folder(start):
    """The journal goes on: the epoch is higher than before. A killed demo takes its processes with it."""
    demo = start()
    epoch = int(re.search(r"epoch (\d+)", demo.now)[1])
    demo.end(signal.SIGKILL)
    wait_for(lambda: not proxies(demo.folder), "all ended", 5)
    again = start()
    assert int(re.search(r"epoch (\d+)", again.now)[1]) > epoch
    assert again.end(signal.SIGTERM) == 0


def test_the_panel_is_reached_by_a_link_that_was_printed(start):
    """What the demo prints is enough to look at it in a browser."""
    demo = start()
    link = wait_for(lambda: re.search(r"http://127\.0\.0\.1:\d+/login\?code=\S+", demo.said), "a login link", 5)[0]
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    with browser.open(link, timeout=5) as page:
        assert page.url == f"http://127.0.0.1:{demo.panel_port}/"
        assert b"demo-licenses" in page.read()
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(link, timeout=5)  # noqa: S310 - the scheme stands in the pattern above
    demo.end()


def test_the_first_command_works_as_printed(start):
    """It runs a command while it holds a seat."""
    demo = start()
    line = next(line for line in demo.said.splitlines() if " run --server " in line)
    command = line.strip().replace("sleep 60", "echo held")
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (0, "held\n"), done.stderr
    demo.end()


def test_what_keeps_it_from_starting_is_one_sentence(tmp_path):
    """A port that is taken, a folder that cannot be; exit status 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = lsproxy("demo", "--dir", tmp_path / "demo", "--port", port, "--panel-port", free_port())
        assert done.status == 2
        assert done.err.startswith(f"127.0.0.1:{port} cannot be used (Address already in use): stop what listens there")
    (tmp_path / "file").write_text("")
    done = lsproxy("demo", "--dir", tmp_path / "file", "--port", free_port(), "--panel-port", free_port())
    assert done.status == 2
    assert "choose another --dir" in done.err
    done = lsproxy("demo", "--dir", tmp_path / ("x" * 110), "--port", free_port(), "--panel-port", free_port())
    assert (done.status, "is too long" in done.err) == (2, True)


def test_two_demos_in_one_folder_are_refused(start, tmp_path):
    """The second says so and leaves the first alone."""
    demo = start()
    done = lsproxy("demo", "--dir", demo.folder, "--port", free_port(), "--panel-port", free_port())
    assert done.status == 2
    assert "another demo runs in" in done.err
    time.sleep(0.2)
    assert demo.server("active")
    assert len(proxies(tmp_path / "demo")) == 3
    demo.end()

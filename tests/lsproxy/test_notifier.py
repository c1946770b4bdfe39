"""`lsproxy notify` as a process: what it tells over restarts of lsproxy and of itself, and when much happens."""

import http.client
import json
import signal
import socket
import subprocess
import threading
from contextlib import closing

import pytest

from tests.faults.process import Child, wait_for
from tests.faults.system import COMMANDS, System


@pytest.fixture
def folder(tmp_path):
    """With a command that writes down what it is told."""
    page = tmp_path / "page-me"
    page.write_text(f'#!/bin/sh\necho "$1|$2|$3${{4:+|$4}}" >> {tmp_path}/told\n')
    page.chmod(0o755)
    (tmp_path / "state").mkdir()
    return tmp_path


@pytest.fixture
def make_notifier(folder):
    """The process, not started."""
    made = []

    def make(**environment):
        command = [str(COMMANDS / "lsproxy"), "notify", "-c", str(folder / "lsproxy.yaml")]
        made.append(Child("notify", command, folder / "notify.log", environment))
        return made[-1]

    yield make
    for child in made:
        if child.is_running:
            child.kill()
    assert "Traceback" not in (folder / "notify.log").read_text()


def told(folder):
    path = folder / "told"
    return path.read_text().splitlines() if path.exists() else []


def command(folder):
    return [str(folder / "page-me"), "{event}", "{pool}", "{message}"]


def switch(system, backend):
    with closing(http.client.HTTPConnection("localhost", timeout=30)) as connection:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(system.folder / "admin.sock"))
        body, headers = json.dumps({"to": backend}), {"Content-Type": "application/json"}
        connection.request("POST", "/api/v1/pools/acme/switch", body, headers)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()


def test_restarts(folder, make_notifier):
    """
    What happens while it does not run is told when it does, and nothing twice; of an lsproxy that was started again,
    all that happens from then on. What happened before its very first start is not told.
    """
    system = System(folder, has_proxy=True)
    path = folder / "lsproxy.yaml"
    path.write_text(json.dumps({**json.loads(path.read_text()), "notify": [command(folder)]}))
    system.proxy.command += ["--notify=elsewhere"]
    notifier = make_notifier(STATE_DIRECTORY=str(folder / "state"))

    def is_told(number, backend):
        wait_for(lambda: len(told(folder)) >= number, f"{backend} is told of: {notifier.log}")
        assert len(told(folder)) == number
        assert told(folder)[-1].startswith(f"takeover|acme|{backend} took over from ")

    try:
        system.start()
        wait_for(lambda: system.status("lic-b")["role"] == "standby", "both run")
        switch(system, "lic-b")
        notifier.start()
        wait_for(lambda: "passing on" in notifier.log, "it runs")
        switch(system, "lic-a")
        is_told(1, "lic-a")
        notifier.signal(signal.SIGTERM)
        assert notifier.wait() == 0
        switch(system, "lic-b")
        notifier.start()
        is_told(2, "lic-b")
        system.proxy.kill()
        wait_for(lambda: "its events are waited for" in notifier.log, "it misses lsproxy")
        system.start_proxy()
        switch(system, "lic-a")
        is_told(3, "lic-a")
        assert notifier.log.count("its events are waited for") == 1
        assert "answers at" in notifier.log
    finally:
        system.end()


def test_slow_commands_are_waited_for(folder, make_notifier):
    """However much happens at once: all of it is told, in order, though lsproxy drops whoever reads too slowly."""
    (folder / "lsproxy.yaml").write_text(
        json.dumps({"notify": [command(folder)], "admin": {"socket": "admin.sock"}, "pools": "of no concern here"})
    )
    notifier = make_notifier()
    asked = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "admin.sock"))
        listening.listen()
        drops = iter([120, 300])

        def tell():
            for last in drops:
                with listening.accept()[0] as connection:
                    request = connection.recv(65536).decode()
                    asked.append(request.partition("Last-Event-ID: ")[2].partition("\r\n")[0])
                    first = int(asked[-1].partition("-")[2] or 0)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: events\n\n")
                    for number in range(first + 1, last + 1):
                        connection.sendall(event(number))

        teller = threading.Thread(target=tell, daemon=True)
        teller.start()
        notifier.start()
        wait_for(lambda: len(told(folder)) == 300, f"all are told: {notifier.log}")
        teller.join()
    assert told(folder) == [f"takeover|acme|number {number}" for number in range(1, 301)]
    assert asked == ["", "x-120"]


def test_the_socket_moves(folder, make_notifier):
    """It is looked for where the configuration has it now, and what stands there now is run; unless that is faulty."""
    path = folder / "lsproxy.yaml"

    def configure(socket_file, *marks):
        path.write_text(json.dumps({"notify": [[*command(folder), *marks]], "admin": {"socket": socket_file}}))

    def tell(listening, number):
        with listening.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + event(number))
            wait_for(lambda: len(told(folder)) == number, f"it is told: {notifier.log}")

    configure("admin.sock")
    notifier = make_notifier()
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        for listening, name in ((first, "admin.sock"), (second, "other.sock")):
            listening.bind(str(folder / name))
            listening.listen()
            listening.settimeout(20)
        notifier.start()
        tell(first, 1)
        path.write_text("notify: nonsense\n")
        tell(first, 2)
        assert notifier.log.count("notify: must be a list") == 1
        configure("other.sock", "moved")
        tell(second, 3)
    assert told(folder) == ["takeover|acme|number 1", "takeover|acme|number 2", "takeover|acme|number 3|moved"]


def event(number):
    happened = {"id": f"x-{number}", "time": "2999-01-01T00:00:00.000Z", "event": "takeover", "pool": "acme"}
    content = json.dumps({**happened, "message": f"number {number}", "details": {}})
    return f"id: x-{number}\nevent: takeover\ndata: {content}\n\n".encode()


def test_a_mistake_is_one_sentence(folder):
    """With the line it stands in; of the file only what concerns it is looked at."""
    (folder / "lsproxy.yaml").write_text('pools: nonsense\nnotify: "page-me"\n')
    argv = [str(COMMANDS / "lsproxy"), "notify", "-c", str(folder / "lsproxy.yaml")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"{folder}/lsproxy.yaml:2: notify: must be a list" in done.stderr


def test_a_second_one_is_refused(folder, make_notifier):
    """Else people were told of everything twice; after the first has ended it starts."""
    (folder / "lsproxy.yaml").write_text("admin: {socket: admin.sock}\nnotify: [[/bin/true]]\n")
    first, second = make_notifier(), make_notifier()
    first.start()
    wait_for(lambda: "passing on" in first.log, "it runs")
    second.start()
    assert second.wait() == 2
    assert "another `lsproxy notify` passes on the events of" in second.log
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    third = make_notifier()
    third.start()
    wait_for(lambda: third.log.count("passing on the events of lsproxy") == 2, "the third runs")
    third.signal(signal.SIGTERM)
    assert third.wait() == 0

"""Both daemons under a service manager that holds their sockets: started, restarted under load, hung."""

import http.client
import json
import shutil
import signal
import socket
import subprocess
import threading
import time
from contextlib import closing

import pytest

from tests.faults.caller import Caller
from tests.faults.process import wait_for
from tests.faults.system import COMMANDS, System, free_port
from tests.systemd.manager import Manager


def listening(host="127.0.0.1", port=0):
    return socket.create_server((host, port))


def listening_unix(path):
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind(str(path))
    path.chmod(0o600)
    made.listen()
    return made


@pytest.fixture
def system(tmp_path):
    """Two license servers and the files of a proxy; nothing runs yet."""
    made = System(tmp_path, has_proxy=True)
    yield made
    made.end()
    faults = made.faults_in_logs()
    assert not faults, faults


@pytest.fixture
def sockets(system):
    """One for each address that the proxy listens on."""
    made = [listening(*system.addresses["proxy"]), listening(*system.addresses["admin"])]
    made.append(listening_unix(system.folder / "admin.sock"))
    yield made
    for one in made:
        one.close()


def serve(system):
    return [str(COMMANDS / "lsproxy"), "serve", "-c", str(system.folder / "lsproxy.yaml")]


def shown(system):
    command = [str(COMMANDS / "lsproxy"), "status", "--json", "--admin", f"unix:{system.folder / 'admin.sock'}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def healthy(address):
    with closing(http.client.HTTPConnection(*address, timeout=10)) as connection:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200


def test_sockets_that_are_passed_are_used(system, sockets):
    """Each by its address; the admin socket's file and mode are the manager's. A client is served by them."""
    system.create_journal()
    for name in system.servers:
        system.start_server(name)
    with Manager(serve(system), system.folder, sockets) as manager:
        manager.start()
        assert manager.hear("READY=1")
        assert "acme: lic-" in manager.hear("STATUS=")
        with Caller(system.addresses["proxy"]) as caller:
            assert caller.ask("status")["ok"]
        assert healthy(system.addresses["admin"])
        assert json.loads(shown(system).stdout)["pools"][0]["serving"]
        assert (system.folder / "admin.sock").stat().st_mode & 0o777 == 0o600
        manager.signal(signal.SIGTERM)
        assert manager.wait() == 0
        assert (system.folder / "admin.sock").exists()


def test_a_restart_refuses_nobody(system, sockets):
    """While lsproxy is started again whoever connects waits; who was connected sees an end, and no reset."""
    system.create_journal()
    for name in system.servers:
        system.start_server(name)
    waits, troubles, is_over = [], [], threading.Event()

    def knock():
        while not is_over.is_set():
            begun = time.monotonic()
            try:
                with Caller(system.addresses["proxy"], seconds=20) as caller:
                    # one that came before the end is told to come again
                    if caller.ask("status").get("ok"):
                        waits.append(time.monotonic() - begun)
            except ConnectionRefusedError as trouble:
                troubles.append(trouble)
            except OSError:
                pass  # it was connected when lsproxy ended

    with Manager(serve(system), system.folder, sockets) as manager:
        manager.start()
        manager.hear("READY=1")
        clients = [threading.Thread(target=knock) for _ in range(4)]
        for client in clients:
            client.start()
        for number in (signal.SIGTERM, signal.SIGKILL):
            time.sleep(0.3)
            manager.signal(number)
            manager.wait()
            before = len(waits)
            manager.start()
            manager.hear("READY=1")
            wait_for(lambda before=before: len(waits) > before + 4, "clients go on")
        is_over.set()
        for client in clients:
            client.join()
    assert not troubles
    assert max(waits) < 10


def test_a_listener_comes_back_to_its_socket(system, sockets):
    """One that a reload takes away, and the next gives back: the manager has the address all the time."""
    path = system.folder / "lsproxy.yaml"
    whole = json.loads(path.read_text())
    other = {"address": f"127.0.0.1:{free_port()}", "pool": "acme"}
    system.create_journal()
    system.start_server("lic-a")
    with Manager(serve(system), system.folder, sockets) as manager:
        manager.start()
        manager.hear("READY=1")
        path.write_text(json.dumps({**whole, "listen": {"other": other}}))
        for text in (path.read_text(), json.dumps(whole)):
            path.write_text(text)
            manager.signal(signal.SIGHUP)
            manager.hear("RELOADING=1\nMONOTONIC_USEC=")
            manager.hear("READY=1")
        with Caller(system.addresses["proxy"]) as caller:
            assert caller.ask("status")["ok"]
        assert "was not taken" not in manager.log


def test_a_socket_for_nobody_is_refused(system, sockets):
    """One sentence with its address, exit status 2."""
    with listening() as stranger, Manager(serve(system), system.folder, [*sockets, stranger]) as manager:
        manager.start()
        assert manager.wait() == 2
        address = f"127.0.0.1:{stranger.getsockname()[1]}"
        assert f"passes a socket bound to {address}, and nothing in the configuration listens there" in manager.log


def test_a_socket_that_does_not_listen_is_refused(system):
    """Such as that of a unit with Accept=yes."""
    connected, other = socket.socketpair()
    with connected, other, Manager(serve(system), system.folder, [connected]) as manager:
        manager.start()
        assert manager.wait() == 2
        assert "is no socket that listens for connections" in manager.log


def test_a_license_server_takes_its_socket(system):
    """It is ready when it serves, and says its role; a stranger's socket is refused."""
    system.create_journal()
    command = system._command("serve", "lic-a")
    with (
        listening(*system.addresses["lic-a"]) as own,
        listening() as stranger,
        Manager(command, system.folder, [own, stranger]) as refused,
    ):
        refused.start()
        assert refused.wait() == 2
        assert "and nothing in the configuration listens there" in refused.log
        refused.__exit__()
        (system.folder / "notify.sock").unlink()
        with Manager(command, system.folder, [own]) as manager:
            manager.start()
            manager.hear("READY=1")
            assert "lic-a of acme-licenses: " in manager.hear("STATUS=")
            wait_for(lambda: system.status("lic-a")["role"] == "active", "it is active")


@pytest.mark.parametrize("daemon", ["lsproxy", "licserver"])
def test_a_daemon_that_hangs_sends_no_beats(system, daemon):
    """It beats twice in the time of WATCHDOG_USEC as long as it runs; the abort says where it hung."""
    system.create_journal()
    command = serve(system) if daemon == "lsproxy" else system._command("serve", "lic-a")
    with Manager(command, system.folder, environment={"WATCHDOG_USEC": "200000"}) as manager:
        manager.start()
        manager.hear("READY=1")
        assert 3 <= sum(said == "WATCHDOG=1" for said in manager.heard(0.5)) <= 6
        manager.signal(signal.SIGSTOP)
        manager.heard(0.2)
        assert "WATCHDOG=1" not in manager.heard(0.5)
        manager.signal(signal.SIGCONT)
        manager.hear("WATCHDOG=1")
        manager.signal(signal.SIGABRT)
        manager.wait()
        assert "Fatal Python error: Aborted" in manager.log


@pytest.mark.systemd
def test_systemds_own_activation(system):
    """By systemd-socket-activate, at the first connection."""
    system.create_journal()
    system.start_server("lic-a")
    listen = [f"--listen={':'.join(map(str, system.addresses[key]))}" for key in ("proxy", "admin")]
    activate = shutil.which("systemd-socket-activate")
    with Manager([activate, *listen, *serve(system)], system.folder) as manager:
        manager.start()
        wait_for(lambda: "Listening on" in manager.log, "it listens")
        with Caller(system.addresses["proxy"], seconds=20) as caller:
            assert caller.ask("status")["ok"]
        assert healthy(system.addresses["admin"])

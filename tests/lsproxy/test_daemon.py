"""`lsproxy serve` as a real process: how it starts, reloads and ends."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lsproxy.config.tokens import SALT_BYTES, add_token
from tests.faults.process import wait_for
from tests.faults.system import COMMANDS, System, free_port
from tests.lsproxy.net.conftest import Authority


@pytest.fixture
def system(tmp_path):
    """A proxy whose license servers are not started."""
    made = System(tmp_path, has_proxy=True)
    yield made
    faults = made.faults_in_logs()
    made.end()
    assert not faults, faults


def serve(system, *options, **environment):
    """What `serve` says and how it ends, where it does not come to run."""
    done = subprocess.run(
        [str(COMMANDS / "lsproxy"), "serve", "-c", str(system.folder / "lsproxy.yaml"), *options],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={**os.environ, **environment},
    )
    return done.returncode, done.stderr.strip().splitlines()[-1]


def edit(system, change):
    path = system.folder / "lsproxy.yaml"
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))


def start(system):
    """Started, and its admin API answers."""
    system.proxy.start()
    wait_for(lambda: "panel and API at" in system.proxy.log, f"lsproxy runs: {system.proxy.log}", 20)


def test_a_taken_port_is_one_sentence(system):
    """Exit status 2, and the address stands in it."""
    for key in ("proxy", "admin"):
        with socket.create_server(system.addresses[key]):
            status, said = serve(system)
        assert status == 2
        assert said == (
            f"cannot listen on 127.0.0.1:{system.addresses[key][1]}: the address is in use,"
            " stop what listens there or choose another port"
        )


def test_a_state_folder_that_is_missing_is_one_sentence(system):
    """The key to change is named."""
    edit(system, lambda tree: tree.update(state=f"sqlite://{system.folder}/none/state.db"))
    status, said = serve(system)
    assert status == 2
    assert said.endswith(f"the folder {system.folder}/none does not exist; make it, or set `state` elsewhere")


def test_a_configuration_that_is_wrong_is_told_whole(system):
    """File, line, key, what would be right."""
    edit(system, lambda tree: tree["pools"]["acme"].update(hodl=3))
    status, said = serve(system)
    assert status == 2
    assert said.startswith(f"{system.folder}/lsproxy.yaml:1: pools.acme.hodl: is an unknown key, did you mean hold?")


def test_a_license_that_is_missing_is_one_sentence(system):
    """Found before anything is listened on."""
    system.license_file.unlink()
    status, said = serve(system)
    assert status == 2
    assert "pools.acme.license_file" in said
    assert "does not exist" in said


def test_where_the_log_is_json_so_is_the_reason_not_to_start(system):
    """Of a fault in the file, and of one that shows only at the start."""
    edit(system, lambda tree: tree.update(log={"format": "json"}))
    with socket.create_server(system.addresses["admin"]):
        status, said = serve(system)
    assert (status, json.loads(said)["event"]) == (2, "cannot_start")
    assert "the address is in use" in json.loads(said)["message"]
    edit(system, lambda tree: tree["pools"]["acme"].update(hodl=3))
    status, said = serve(system)
    assert (status, json.loads(said)["event"]) == (2, "cannot_start")
    assert "did you mean hold?" in json.loads(said)["message"]


def test_every_line_of_a_json_log_is_an_event(system):
    """From the start to the end, and Twisted's own chatter is not among them."""
    edit(system, lambda tree: tree.update(log={"format": "json"}))
    system.proxy.start()
    wait_for(lambda: '"started"' in system.proxy.log, f"lsproxy runs: {system.proxy.log}", 20)
    wait_for(lambda: '"unserved"' in system.proxy.log or '"backend_down"' in system.proxy.log, "it is said", 20)
    system.proxy.signal(signal.SIGTERM)
    assert system.proxy.wait(10) == 0
    lines = [json.loads(line) for line in system.proxy.log.splitlines()]
    assert {"started", "stopping"} <= {line["event"] for line in lines}
    assert not [line for line in lines if line["event"] in {"note", "fault"}]
    assert [line["pool"] for line in lines if line["event"] == "backend_down"] == ["acme"] * 2


def test_tokens_that_others_may_read_are_refused(system):
    """One sentence with the way out."""
    path = system.folder / "tokens.yaml"
    path.chmod(0o644)
    status, said = serve(system)
    assert status == 2
    assert said.endswith(f"close it with: chmod 600 {path}")


def test_a_second_one_is_refused(system):
    """By the socket that the first one answers on."""
    start(system)
    status, said = serve(system)
    assert status == 2
    assert "another lsproxy runs there" in said


def test_it_ends_on_sigterm_and_clients_are_closed(system):
    """They see an end, no reset, and go to their next address; the next start finds everything free."""
    start(system)
    with socket.create_connection(system.addresses["proxy"], 10) as client:
        client.sendall(b'{"id":1,"op":"status"}\n')
        time.sleep(0.1)
        system.proxy.signal(signal.SIGTERM)
        assert client.recv(65536) == b""
    assert system.proxy.wait(5) == 0
    assert not (system.folder / "admin.sock").exists()
    start(system)


def test_an_end_has_its_time(system):
    """A client that neither reads nor closes does not hold it up."""
    system.proxy.command += ["--stop-timeout", "1"]
    start(system)
    deaf = [socket.create_connection(system.addresses["proxy"], 10) for _ in range(5)]
    for client in deaf:
        client.sendall(b'{"id":1,"op":"status"}\n')
    begun = time.monotonic()
    system.proxy.signal(signal.SIGTERM)
    assert system.proxy.wait(5) == 0
    assert time.monotonic() - begun < 2
    for client in deaf:
        client.close()


def test_sighup_takes_the_configuration_anew_or_says_why_not(system):
    """A wrong file changes nothing; the service manager is told of both."""
    path = system.folder / "notify.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(path))
        told.settimeout(10)
        system.proxy._environment["NOTIFY_SOCKET"] = str(path)
        start(system)
        assert told.recv(1024) == b"READY=1"
        assert told.recv(1024) == b"STATUS=acme: NOT SERVED"
        port = free_port()
        edit(system, lambda tree: tree["listen"]["licenses"].update(address=f"127.0.0.1:{port}"))
        system.proxy.signal(signal.SIGHUP)
        assert told.recv(1024).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert told.recv(1024) == b"READY=1"
        socket.create_connection(("127.0.0.1", port), 5).close()
        edit(system, lambda tree: tree.update(state="sqlite:///elsewhere"))
        system.proxy.signal(signal.SIGHUP)
        assert told.recv(1024).startswith(b"RELOADING=1")
        assert told.recv(1024) == b"READY=1"
        assert "state cannot change while lsproxy runs" in system.proxy.log
        socket.create_connection(("127.0.0.1", port), 5).close()
        system.proxy.signal(signal.SIGTERM)
        assert told.recv(1024) == b"STOPPING=1"
        assert system.proxy.wait(5) == 0


def test_what_an_operator_said_outlives_a_kill(system):
    """The state file is durable, and the socket left behind is in nobody's way."""
    start(system)
    lsproxy = [str(COMMANDS / "lsproxy")]
    where = ["--admin", f"unix:{system.folder / 'admin.sock'}"]
    subprocess.run([*lsproxy, "maint", "acme", "lic-a", *where], check=True, capture_output=True, timeout=20)
    time.sleep(0.1)
    system.proxy.kill()
    assert (system.folder / "admin.sock").exists()
    system.proxy.log_path.unlink()
    start(system)
    done = subprocess.run([*lsproxy, "status", "--json", *where], capture_output=True, timeout=20, check=False)
    backends = json.loads(done.stdout)["pools"][0]["backends"]
    assert [(backend["name"], backend["admin"]) for backend in backends] == [("lic-a", "maint"), ("lic-b", "ready")]


def test_the_limit_of_descriptors_is_raised(system):
    """The soft limit to the hard one, without being asked."""
    system.proxy.command[:0] = ["/bin/sh", "-c", 'ulimit -S -n 256; exec "$@"', "sh"]
    start(system)
    limits = Path(f"/proc/{system.proxy.pid}/limits").read_text().splitlines()
    soft, hard = next(line for line in limits if line.startswith("Max open files")).split()[3:5]
    assert soft == hard
    assert sys.maxsize > int(hard) > 256


def test_the_admin_api_over_tls(system, tmp_path):
    """Commands reach it by https, by the name that its certificate proves; the panel's cookie is for TLS alone."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("localhost")
    edit(system, lambda tree: tree["admin"].update(tls={"certificate": str(certificate), "key": str(key)}))
    add_token(system.folder / "tokens.yaml", "eve", "viewer", "of eve", bytes(SALT_BYTES))
    start(system)
    where = f"https://localhost:{system.addresses['admin'][1]}"
    command = [str(COMMANDS / "lsproxy"), "status", "--json", "--admin", where]
    environment = {**os.environ, "LSPROXY_TOKEN": "of eve"}
    trusting = {**environment, "SSL_CERT_FILE": str(authority.file)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, env=trusting)
    assert json.loads(done.stdout)["pools"][0]["pool"] == "acme", done.stderr
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, env=environment)
    assert done.returncode == 1
    assert "certificate verify failed" in done.stderr
    assert "Traceback" not in done.stderr
    context = ssl.create_default_context(cafile=authority.file)
    connection = http.client.HTTPSConnection("localhost", system.addresses["admin"][1], timeout=10, context=context)
    connection.request("POST", "/login", "token=of+eve", {"Host": "licenses.example.com"})
    answer = connection.getresponse()
    assert answer.status == 303
    assert answer.headers["Set-Cookie"].endswith("; Secure")
    connection.close()

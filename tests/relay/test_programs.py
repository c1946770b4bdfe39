"""Do programs that were written without a thought of lsproxy get through it what they get without it?"""

import contextlib
import hashlib
import http.client
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.faults.process import wait_for
from tests.faults.system import free_port
from tests.relay.site import listens

POSTGRES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"))), Path("/usr/bin"))
ACCOUNT = "nobody"
TRANSACTIONS = 400
LARGE = hashlib.shake_128(b"large").digest(8 << 20)
ROWS = "SELECT aid, abalance, filler FROM pgbench_accounts ORDER BY aid"
NGINX = """
daemon off;
master_process off;
error_log stderr error;
pid {folder}/nginx.pid;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port} {tls}; root {folder}; sendfile on; }}
}}
"""


def run(*command: object, text: str | None = None) -> str:
    """What a program prints, which must end well."""
    argv = [str(part) for part in command]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def before(site):
    """Lsproxy before a program that listens on a port; the two ports, direct and through lsproxy."""

    def start(port, *, backend=None, listener=None, **settings):
        site.addresses["a"] = {"": port}
        site.pool(backends={"a": site.backend("a", **(backend or {}))}, **settings)
        site.listen(**(listener or {}))
        site.start()
        site.wait_serving("a")
        return {"direct": port, "lsproxy": site.door}

    return start


@pytest.fixture
def database(site):
    """A PostgreSQL of its own, owned by an account without rights, without a password, on loopback."""
    home = Path(tempfile.mkdtemp(prefix="lsproxy-postgres-"))  # the folders of pytest are closed to other accounts
    if _is_root():
        shutil.chown(home, ACCOUNT)
    within = ["setpriv", f"--reuid={ACCOUNT}", "--regid=nogroup", "--clear-groups"] if _is_root() else []
    data, port = home / "data", free_port()
    run(*within, POSTGRES / "initdb", "-D", data, "-U", "bench", "--auth=trust", "--no-sync", "--locale=C")
    settings = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": home, "fsync": "off"}
    given = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    server = site.run("postgres", [*within, str(POSTGRES / "postgres"), "-D", str(data), *given])
    ready = [str(POSTGRES / "pg_isready"), "-h", "127.0.0.1", "-p", str(port)]
    wait_for(lambda: subprocess.run(ready, capture_output=True, check=False).returncode == 0, "PostgreSQL answers")
    yield port
    server.signal(2)  # SIGINT: it ends its own processes, at once
    server.wait()
    shutil.rmtree(home)


@pytest.mark.postgres
def test_a_database(before, database):
    """A benchmark with prepared statements over 8 connections, and a table as a copy, are the same both ways."""
    ports = before(database)
    for way, port in ports.items():
        at = ["-h", "127.0.0.1", "-p", port, "-U", "bench", "postgres"]
        run(POSTGRES / "pgbench", "-i", "-q", "-s", "1", *at)
        seeded = ["--random-seed=7", "-M", "prepared", "-c", "8", "-j", "2", "-t", TRANSACTIONS // 8]
        told = run(POSTGRES / "pgbench", *seeded, *at)
        assert f"actually processed: {TRANSACTIONS}/{TRANSACTIONS}" in told, (way, told)
        assert "number of failed transactions: 0" in told, (way, told)
    copies = {
        hashlib.sha256(run("psql", "-h", "127.0.0.1", "-p", port, "-U", "bench", "-c", f"COPY ({ROWS}) TO STDOUT",
                           "postgres").encode()).hexdigest()
        for port in ports.values()
    }  # fmt: skip
    assert len(copies) == 1


@pytest.fixture
def make_web(site, tmp_path):
    """An nginx with one small and one large file; its port. `tls` are lines of its configuration."""

    def make(tls=""):
        folder = tmp_path / "www"
        folder.mkdir(mode=0o755)
        (folder / "small").write_text("license\n")
        (folder / "large").write_bytes(LARGE)
        port = free_port()
        path = folder / "nginx.conf"
        user = "user root;\n" if _is_root() else ""
        path.write_text(user + NGINX.format(folder=folder, port=port, tls=tls))
        site.run("nginx", ["nginx", "-c", str(path)])
        wait_for(lambda: listens(port), "nginx listens")
        return port

    return make


@pytest.fixture
def certificate(tmp_path):
    """A certificate of lic-a, signed by itself, and its key."""
    key, made = tmp_path / "key.pem", tmp_path / "cert.pem"
    key.touch(0o600)
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=lic-a"]
    run("openssl", "req", "-x509", *new, "-addext", "subjectAltName=DNS:lic-a", "-keyout", key, "-out", made)
    return made, key


@pytest.mark.nginx
def test_a_web_server(before, make_web):
    """A large file is the same byte for byte, and a range of it too."""
    web = make_web()
    copies = {way: (_get(port, "bytes=0-"), _get(port, "bytes=1000001-9000000")) for way, port in before(web).items()}
    assert copies["direct"] == copies["lsproxy"]


@pytest.mark.nginx
@pytest.mark.wrk
def test_a_load_of_requests(before, make_web):
    """Sixty-four connections at full speed, kept open or made anew for each: every answer is a 200."""
    port = before(make_web())["lsproxy"]
    for how in ((), ("-H", "Connection: close")):
        told = run("wrk", "-t1", "-c64", "-d1s", *how, f"http://127.0.0.1:{port}/small")
        assert int(re.search(r"(\d+) requests in", told)[1]) > 500
        assert "Non-2xx" not in told
        assert "Socket errors" not in told, told


@pytest.mark.openssl
def test_tls_that_is_not_ours(site, before, certificate, tmp_path):
    """Passed on unread: the client verifies the server's own certificate, and has its file byte for byte."""
    made, key = certificate
    (tmp_path / "large").write_bytes(LARGE)
    port = free_port()
    serve = f"cd {tmp_path} && exec openssl s_server -accept 127.0.0.1:{port} -cert {made} -key {key} -WWW"
    site.run("openssl", ["sh", "-c", serve])
    wait_for(lambda: listens(port), "the server accepts")
    trust = ["-CAfile", made, "-servername", "lic-a", "-verify_hostname", "lic-a", "-verify_return_error"]
    seldom = {"interval": 60, "timeout": 10, "rise": 1}  # this server takes one connection at a time, checks too
    heard = {}
    for way, there in before(port, health=seldom).items():
        client = ["openssl", "s_client", "-connect", f"127.0.0.1:{there}", *trust, "-quiet"]
        argv = [str(part) for part in client]
        asked = b"GET /large HTTP/1.0\r\n\r\n"
        done = subprocess.run(argv, input=asked, capture_output=True, timeout=30, check=False)
        assert b"verify return:1" in done.stderr, done.stderr
        heard[way] = done.stdout
    assert heard["direct"].endswith(LARGE)
    assert heard["lsproxy"] == heard["direct"]


@pytest.mark.nginx
@pytest.mark.openssl
def test_tls_that_is_ours(before, make_web, certificate):
    """Of the listener, towards the server, and in its checks: the file is the same byte for byte."""
    made, key = certificate
    port = make_web(f"ssl; ssl_certificate {made}; ssl_certificate_key {key}")
    trusted = {"ca": str(made), "name": "lic-a"}
    door = before(
        port,
        backend={"tls": trusted},
        listener={"tls": {"certificate": str(made), "key": str(key)}},
        probe={"tls": trusted},
        health={"interval": 0.2, "timeout": 2, "rise": 1},
    )["lsproxy"]
    context = ssl.create_default_context(cafile=made)
    dialled = socket.create_connection(("127.0.0.1", door), 10)
    with dialled as plain, context.wrap_socket(plain, server_hostname="lic-a") as line:
        line.sendall(b"GET /large HTTP/1.0\r\n\r\n")
        heard = b"".join(iter(lambda: line.recv(1 << 20), b""))
    assert heard.endswith(b"\r\n\r\n" + LARGE)


def _get(port: int, range_: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/large", headers={"Range": range_})
        answer = connection.getresponse()
        assert answer.status == 206
        return hashlib.sha256(answer.read()).hexdigest()


def _is_root() -> bool:
    return Path("/proc/self").stat().st_uid == 0

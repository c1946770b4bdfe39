"""How commands reach the running lsproxy, and what they say where they do not."""

import socket
import threading

import pytest

from lsproxy.config.tokens import SALT_BYTES, add_token
from lsproxy.secretfile import write_secret
from tests.lsproxy.cli.conftest import lsproxy

OF_EVE, WRONG = "a token of eve", "a guessed token"


def test_no_daemon_is_one_sentence(tmp_path):
    """Exit status 1, and what to do."""
    done = lsproxy("status", "--admin", f"unix:{tmp_path}/none.sock")
    assert done.status == 1
    assert done.err == (
        f"lsproxy does not answer at unix:{tmp_path}/none.sock: there is no such socket;"
        " start lsproxy, or say where it is with --admin or LSPROXY_ADMIN\n"
    )


def test_a_socket_left_behind_is_one_sentence(tmp_path):
    """Nobody listens there."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead.sock"))
    done = lsproxy("reload", "--admin", f"unix:{tmp_path}/dead.sock")
    assert done.status == 1
    assert "nobody listens there" in done.err


@pytest.mark.parametrize(
    "where", ["", "socket", "ftp://127.0.0.1:1", "http://", "http://127.0.0.1:port", "http://[::1"]
)
def test_an_address_that_is_none_is_one_sentence(where):
    """Exit status 2."""
    done = lsproxy("status", "--admin", where)
    assert done.status == 2
    assert done.err.startswith(f"--admin {where}: write unix:PATH or http://HOST:PORT")


def test_something_else_at_the_address_is_said():
    """Neither a crash nor a guess."""
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer():
            connection, _ = other.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nwhat")

        thread = threading.Thread(target=answer)
        thread.start()
        done = lsproxy("status", "--admin", f"http://127.0.0.1:{other.getsockname()[1]}")
        thread.join()
    assert done.status == 1
    assert "is no lsproxy: HTTP status 404" in done.err


def test_over_http_a_token_is_needed(system, tmp_path):
    """From the environment or a file; a wrong one is told."""
    where = f"http://127.0.0.1:{system.addresses['admin'][1]}"
    add_token(system.folder / "tokens.yaml", "eve", "viewer", OF_EVE, bytes(SALT_BYTES))
    write_secret(tmp_path / "token", OF_EVE)
    assert "a token is needed" in lsproxy("status", "--admin", where).err
    assert lsproxy("status", "--admin", where, LSPROXY_TOKEN=OF_EVE).status == 0
    assert lsproxy("status", "--admin", where, "--token-file", tmp_path / "token").status == 0
    assert "is not in tokens.yaml" in lsproxy("status", "--admin", where, LSPROXY_TOKEN=WRONG).err
    done = lsproxy("switch", "acme", "--admin", where, LSPROXY_TOKEN=OF_EVE)
    assert (done.status, done.err) == (1, "eve is a viewer, this needs the token of an operator\n")


def test_a_token_is_not_sent_where_others_can_read_it():
    """To another host over http is refused before anything is sent."""
    done = lsproxy("status", "--admin", "http://192.0.2.1:27080", LSPROXY_TOKEN=WRONG)
    assert done.status == 2
    assert "is http on another host" in done.err
    assert WRONG not in done.err

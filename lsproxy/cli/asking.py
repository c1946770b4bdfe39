"""
How does a command ask the running lsproxy: over its unix socket, or over HTTP with a token.

A token is read from a file or the environment, never from the command line,
where other users of the machine would see it.
"""

import http.client
import json
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import click

from lsproxy.cli import Misused, Stopped
from lsproxy.config.relations import is_loopback
from lsproxy.net.address import Address
from lsproxy.secretfile import read_secret

DEFAULT: Final = "unix:/run/lsproxy/admin.sock"
SECONDS: Final = 30.0  # longer than anything lsproxy waits for itself
PATIENT_SECONDS: Final = 86_400.0  # but the commands of a switch: how long those may take is configured there
_WELL: Final = 200


class Admin:
    """The admin API at `where`, unix:PATH or http[s]://HOST:PORT."""

    def __init__(self, where: str, token_file: Path | None) -> None:
        self._where = where
        self._headers = {"Accept": "application/json"}
        self._connect, self._prefix, is_open = _connector(where)
        token = read_secret(token_file) if token_file is not None else os.environ.get("LSPROXY_TOKEN", "").strip()
        if token and not where.startswith("unix:"):
            if is_open:
                why = "a token sent there could be read on its way: use https://, or 127.0.0.1 through a tunnel"
                raise Misused(f"{where} is http on another host, {why}")
            self._headers["Authorization"] = f"Bearer {token}"

    def get(self, *path: str, **query: str) -> Any:
        """What the API answers to GET api/v1/PATH?QUERY. Raises Stopped."""
        return json.loads(self._ask("GET", path, query=f"?{urlencode(query)}" if query else "").read())

    def post(self, *path: str, seconds: float = SECONDS, **body: Any) -> Any:
        """What it answers to POST api/v1/PATH with `body` as JSON, within `seconds`. Raises Stopped."""
        return json.loads(self._ask("POST", path, json.dumps(body).encode(), seconds=seconds).read())

    def put(self, *path: str, body: bytes) -> Any:
        """What it answers to PUT api/v1/PATH. Raises Stopped."""
        return json.loads(self._ask("PUT", path, body).read())

    def events(self, *, is_followed: bool) -> Iterator[Any]:
        """The events kept, then, if they are followed, those to come until the connection ends. Raises Stopped."""
        query = "" if is_followed else "?follow=false"
        answer = self._ask("GET", ("events",), query=query)
        try:
            for line in answer:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])
        except OSError as problem:
            raise Stopped(f"the connection to {self._where} ended: {problem}") from problem

    def _ask(
        self,
        method: str,
        path: tuple[str, ...],
        body: bytes | None = None,
        query: str = "",
        seconds: float = SECONDS,
    ) -> http.client.HTTPResponse:
        target = "/".join([f"{self._prefix}/api/v1", *(quote(part, safe="") for part in path)]) + query
        connection = self._connect(seconds)
        try:
            connection.request(method, target, body, self._headers)
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as problem:
            raise Stopped(_unreachable(self._where, problem)) from problem
        if answer.status != _WELL:
            raise Stopped(_refusal(answer, self._where))
        return answer


def asking(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that asks the running lsproxy."""
    where = click.option(
        "--admin",
        envvar="LSPROXY_ADMIN",
        default=DEFAULT,
        show_default=True,
        metavar="WHERE",
        help="unix:PATH or http[s]://HOST:PORT[/PREFIX] (also LSPROXY_ADMIN).",
    )
    token = click.option(
        "--token-file", type=click.Path(path_type=Path), metavar="FILE", help="Token for http (also LSPROXY_TOKEN)."
    )
    return where(token(command))


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connector(where: str) -> tuple[Callable[[float], http.client.HTTPConnection], str, bool]:
    """
    What connects, told for how many seconds to wait; under which path a reverse proxy has put the API; and whether
    others can read what is sent.
    """
    if where.startswith("unix:"):
        path = where.removeprefix("unix:")
        return (lambda seconds: _UnixConnection(path, seconds)), "", False
    try:
        url = urlsplit(where)
        host, port = url.hostname, url.port
    except ValueError:
        host = port = None
    if not host or url.scheme not in {"http", "https"} or url.query or url.fragment:
        raise Misused(f"--admin {where}: write unix:PATH or http://HOST:PORT, such as {DEFAULT}")
    prefix = url.path.rstrip("/")
    if url.scheme == "https":
        context = ssl.create_default_context()
        return (
            (lambda seconds: http.client.HTTPSConnection(host, port, timeout=seconds, context=context)),
            prefix,
            False,
        )
    is_open = not is_loopback(Address(host, 0))
    return (lambda seconds: http.client.HTTPConnection(host, port, timeout=seconds)), prefix, is_open


def _unreachable(where: str, problem: Exception) -> str:
    match problem:
        case FileNotFoundError():
            why = "there is no such socket; start lsproxy, or say where it is with --admin or LSPROXY_ADMIN"
        case PermissionError():
            why = "you may not use this socket; be its user or in its group, or use http with a token"
        case ConnectionRefusedError():
            why = "nobody listens there; start lsproxy, or say where it is with --admin or LSPROXY_ADMIN"
        case TimeoutError():
            why = f"no answer within {SECONDS:g} s; look at its log"
        case _:
            why = f"{problem or type(problem).__name__}"
    return f"lsproxy does not answer at {where}: {why}"


def _refusal(answer: http.client.HTTPResponse, where: str) -> str:
    try:
        content = json.loads(answer.read(1024 * 1024))
        return str(content["message"])
    except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
        return f"what answers at {where} is no lsproxy: HTTP status {answer.status}"

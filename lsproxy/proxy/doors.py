"""How does the proxy reach a backend: which endpoint for which of its ports?"""

from collections.abc import Callable, Mapping
from typing import Protocol

from twisted.internet.interfaces import IStreamClientEndpoint

from lsproxy.net.ends import Ends

ONLY = ""
"""The name of the port of a backend that has a single `address`."""


class Doors(Protocol):
    """The ports of one backend by name."""

    def endpoint(self, port: str, ends: Callable[[], Ends]) -> IStreamClientEndpoint:
        """
        Where a client's connection goes on; `ends` says which ends that has, to doors that pass it on. Raises KeyError
        where the backend has no port of that name, or none any more.
        """


class PlainDoors:
    """Endpoints that are the same for every client."""

    def __init__(self, endpoints: Mapping[str, IStreamClientEndpoint]) -> None:
        self._endpoints = endpoints

    def endpoint(self, port: str, ends: Callable[[], Ends]) -> IStreamClientEndpoint:  # noqa: ARG002 - nobody is told
        """Where a client's connection goes on."""
        return self._endpoints[port]


class AnnouncingDoors:
    """Endpoints that begin with the client's address, made by `announce` for each connection."""

    def __init__(self, announce: Callable[[str, Ends], IStreamClientEndpoint]) -> None:
        self._announce = announce

    def endpoint(self, port: str, ends: Callable[[], Ends]) -> IStreamClientEndpoint:
        """Where a client's connection with these `ends` goes on."""
        return self._announce(port, ends())

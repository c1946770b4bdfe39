"""
How does a browser see this API where a reverse proxy stands between?

A proxy on this machine says so in headers that anybody could write, so they count from the loopback alone, and only
for the log's "from where", who has to wait after wrong tokens, the Secure mark of the cookie, and whether a form came
from our own pages (a page of another site cannot send these headers with a form). They let nobody in.

No header says under which path the proxy has put us, and none is needed: the proxy takes its prefix off, every link,
redirect and form here is relative (`Asked.root`), and the cookie counts for the folder in which the browser saw the
login page.
"""

from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address

import msgspec


class Seen(msgspec.Struct, frozen=True):
    """
    `client` is the address of the browser, `through` that of the proxy that passed it on; `origin` is what a browser
    calls this site (https://HOST[:PORT]), from which its own pages send their forms; `is_private`: it speaks TLS.
    """

    client: str
    through: str | None
    origin: str
    is_private: bool

    @property
    def source(self) -> str:
        """From where, for people."""
        return self.client if self.through is None else f"{self.client} through {self.through}"


def seen(source: str, headers: Mapping[str, str], *, is_private: bool) -> Seen:
    """The request of the address `source` with `headers` in lower case; `is_private`: it came over TLS."""
    host = headers.get("host", "")
    scheme = "https" if is_private else "http"
    if not is_loopback(source):
        return Seen(source, None, f"{scheme}://{host}", is_private)
    scheme = _last(headers.get("x-forwarded-proto", "")).lower() or scheme
    host = _last(headers.get("x-forwarded-host", "")) or host
    client = _address(_last(headers.get("x-forwarded-for", "")))
    return Seen(client or source, None if client is None else source, f"{scheme}://{host}", scheme == "https")


def _last(values: str) -> str:
    """What the proxy next to us wrote: those before it, and the client itself, may have written the others."""
    return values.rpartition(",")[2].strip()


def _address(text: str) -> str | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A scope is any text, and says nothing on another machine.
    return None if isinstance(address, IPv6Address) and address.scope_id is not None else str(address)


def is_loopback(source: str) -> bool:
    """Whether the address `source` is one of this machine alone."""
    try:
        return ip_address(source).is_loopback
    except ValueError:
        return False

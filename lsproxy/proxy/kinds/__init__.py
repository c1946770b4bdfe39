"""What the proxy knows of each kind of license server."""

from lsproxy.proxy.kinds.known import KINDS, Kind, kind, read_licenses

__all__ = ["KINDS", "Kind", "kind", "read_licenses"]

"""
What does `lsproxy notify` need of lsproxy.yaml?

It runs as a user of its own, who may not read the secrets that the rest of the file names, so the rest is not looked
at: lsproxy itself has checked it.
"""

from pathlib import Path
from typing import Final

import msgspec

from lsproxy.config.document import Document, Entry, Mapping, Node, read_document
from lsproxy.config.leaves import OutputPath
from lsproxy.config.load import build
from lsproxy.config.model import DEFAULT_ADMIN_SOCKET


class AdminSocket(msgspec.Struct, frozen=True, kw_only=True):
    """Where lsproxy tells its events."""

    socket: OutputPath = DEFAULT_ADMIN_SOCKET


class NotifyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The commands that are told of events, and where events are heard of."""

    notify: tuple[tuple[str, ...], ...] = ()
    admin: AdminSocket = AdminSocket()


_KEYS: Final = frozenset(NotifyConfig.__struct_fields__)
_ADMIN_KEYS: Final = frozenset(AdminSocket.__struct_fields__)


def load_notify(path: Path) -> NotifyConfig:
    """Those two of the file at `path`. Raises `ConfigError` with what is wrong in them."""
    document = read_document(path)
    admin_only = [
        Entry(entry.line, entry.key, _only(entry.node, _ADMIN_KEYS) if entry.key == "admin" else entry.node)
        for entry in _entries(_only(document.root, _KEYS))
    ]
    return build(Document(document.file, Mapping(document.root.line, tuple(admin_only))), NotifyConfig, lambda _: ())


def _only(node: Node, keys: frozenset[str]) -> Node:
    if not isinstance(node, Mapping):
        return node
    return Mapping(node.line, tuple(entry for entry in node.entries if entry.key in keys))


def _entries(node: Node) -> tuple[Entry, ...]:
    return node.entries if isinstance(node, Mapping) else ()

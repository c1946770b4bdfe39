"""What of licserver.yaml may change while the server runs, and what has changed?"""

from pathlib import Path
from typing import Final

from licserver.config import LicserverConfig
from lsproxy.changes import differences
from lsproxy.config.document import read_document
from lsproxy.config.problems import ConfigError, KeyPath, spell

_FIXED: Final = frozenset(
    {
        ("name",),
        ("server_name",),
        ("listen", "address"),
        ("advertise",),
        ("journal",),
        ("etcd",),
        ("redundancy", "scheme"),
        ("registered",),
        ("ttl",),
        ("heartbeat",),
        ("resume",),
        ("hostids",),
        ("state",),
    }
)
"""Others rely on them: the journal, the other servers, the sessions that were promised something."""


def refuse_fixed(path: Path, old: LicserverConfig, new: LicserverConfig) -> None:
    """Raises ConfigError where `new`, which was read from `path`, wants what only a restart can give."""
    fixed = list(dict.fromkeys(at for at in map(_fixed, differences(old, new)) if at is not None))
    if fixed:
        document = read_document(path)
        sentence = f"cannot change while {old.name} runs: put the old value back, or start the server again"
        raise ConfigError([document.problem(at, sentence) for at in fixed])


def describe(old: LicserverConfig, new: LicserverConfig) -> str:
    """The keys that have changed, for people."""
    return ", ".join(map(spell, differences(old, new)))


def _fixed(path: KeyPath) -> KeyPath | None:
    return next((path[:length] for length in (1, 2) if path[:length] in _FIXED), None)

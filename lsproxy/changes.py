"""What differs between two configurations, and may it change while lsproxy runs?"""

from collections.abc import Iterator
from typing import Final

import msgspec

from lsproxy.config.model import LsproxyConfig
from lsproxy.config.problems import KeyPath, spell
from lsproxy.errors import LsproxyError

_FIXED: Final = ("state",)
_FIXED_OF_POOLS: Final = ("kind", "server_name")
_WHOLE_POOL: Final = 2


class FixedError(LsproxyError):
    """Something changed that cannot change while lsproxy runs; a sentence for each on a line of `str()`."""


def differences(old: object, new: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Where the two trees differ, as deep as both have the same shape; an entry of a mapping may be in one alone."""
    if isinstance(old, msgspec.Struct) and type(old) is type(new):
        for field in msgspec.structs.fields(old):
            yield from differences(getattr(old, field.name), getattr(new, field.name), (*path, field.encode_name))
    elif isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            if key in old and key in new:
                yield from differences(old[key], new[key], (*path, key))
            else:
                yield (*path, key)
        if list(old) != list(new) and set(old) == set(new):
            yield path
    elif old != new:
        yield path


def refuse_fixed(old: LsproxyConfig, new: LsproxyConfig) -> None:
    """Raises FixedError where `new` wants what only a restart can give."""
    fixed = [spell(path) for path in differences(old, new) if _is_fixed(path)]
    if fixed:
        rows = (f"{key} cannot change while lsproxy runs: restart lsproxy, or put the old value back" for key in fixed)
        raise FixedError("\n".join(rows))


def describe(old: LsproxyConfig, new: LsproxyConfig) -> list[str]:
    """The changes, each by its key: `listen.lic: added`, `pools.acme.hold: changed`."""
    return [f"{spell(path)}: {_kind(old, new, path)}" for path in differences(old, new)]


def _is_fixed(path: KeyPath) -> bool:
    if path[0] == "pools" and len(path) > _WHOLE_POOL:
        return path[_WHOLE_POOL] in _FIXED_OF_POOLS
    return path[0] in _FIXED


def _kind(old: LsproxyConfig, new: LsproxyConfig, path: KeyPath) -> str:
    if not _has(old, path):
        return "added"
    return "changed" if _has(new, path) else "removed"


def _has(tree: object, path: KeyPath) -> bool:
    for key in path:
        if isinstance(tree, dict):
            if key not in tree:
                return False
            tree = tree[key]
        else:
            tree = getattr(tree, str(key))
    return True

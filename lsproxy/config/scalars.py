"""
What does one written value mean to the key it stands behind?

The key's type decides, never the look of the text: `no` behind a name is the
name, behind a boolean a mistake; `010` and `12:30`, which YAML 1.1 reads as 8
and 750, are no numbers at all.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import inspect

from lsproxy.config.problems import quote
from lsproxy.errors import LsproxyError

_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})", re.ASCII)
_NUMBER: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})(\.[0-9]{0,30})?([eE][-+]?[0-9]{1,3})?", re.ASCII)
_WITH_UNIT: Final = re.compile(r"([0-9.]+) ?(ms|s|sec|secs|seconds?|m|min|minutes?|h|hours?)", re.ASCII)
_BOOLEANS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


class UnfitValueError(LsproxyError):
    """A value that its key does not take; `str()` goes behind the path."""


class Leaf(msgspec.Struct, frozen=True):
    """
    How the text of a value of one's own type is read; stands in the type as
    `Annotated[T, Meta(extra={"leaf": Leaf(…)})]`.

    `wanted` says what is right ("a file"). `read` takes the text and the folder
    in which relative paths start, and raises an `LsproxyError` for what is not.
    """

    wanted: str
    read: Callable[[str, Path], Any]


def leaf_of(kind: inspect.Type) -> Leaf | None:
    """The `Leaf` with which `kind` is annotated, if it is."""
    return (kind.extra or {}).get("leaf") if isinstance(kind, inspect.Metadata) else None


def wanted_by(kind: inspect.Type) -> str:
    """What `kind` takes, in words that go behind "must be"."""
    leaf = leaf_of(kind)
    if leaf is not None:
        return leaf.wanted
    match kind:
        case inspect.Metadata():
            return wanted_by(kind.type)
        case inspect.UnionType():
            return " or ".join(wanted_by(part) for part in kind.types if not isinstance(part, inspect.NoneType))
        case inspect.LiteralType():
            return " or ".join(str(value) for value in kind.values)
        case inspect.IntType():
            return f"a whole number{_range(kind)}"
        case inspect.FloatType():
            return f"a number{_range(kind)}"
        case inspect.BoolType():
            return "true or false"
        case inspect.VarTupleType():
            return f"a list, each {wanted_by(kind.item_type)}"
        case inspect.StructType() | inspect.DictType():
            return "a mapping of keys and values"
        case _:
            return "text"


def read_scalar(text: str, kind: inspect.Type, folder: Path, *, is_quoted: bool) -> Any:
    """The value that `text` is for `kind`. Raises an `LsproxyError` with the sentence of what is wrong with it."""
    leaf = leaf_of(kind)
    if leaf is not None:
        return leaf.read(text, folder)
    match kind:
        case inspect.Metadata():
            if text in (kind.extra or {}).get("not_built", ()):
                raise UnfitValueError(f"{text} is not built in this release, it must be {wanted_by(kind)}")
            return read_scalar(text, kind.type, folder, is_quoted=is_quoted)
        case inspect.StrType():
            return text
        case inspect.LiteralType() if text in kind.values:
            return text
        case inspect.BoolType() | inspect.IntType() | inspect.FloatType() if is_quoted:
            raise UnfitValueError(f"must be {wanted_by(kind)} without quotes around it")
        case inspect.BoolType() if text in _BOOLEANS:
            return _BOOLEANS[text]
        case inspect.IntType():
            return _number(text, kind, int, _INTEGER)
        case inspect.FloatType():
            return _number(text, kind, float, _NUMBER)
    raise UnfitValueError(f"must be {wanted_by(kind)}, not {quote(text)}")


def _number(
    text: str, kind: inspect.IntType | inspect.FloatType, read: type[int | float], form: re.Pattern[str]
) -> Any:
    if form.fullmatch(text) is None:
        advice = ", durations are plain seconds" if _WITH_UNIT.fullmatch(text) else ""
        raise UnfitValueError(f"must be {wanted_by(kind)}, not {quote(text)}{advice}")
    value = read(text)
    if not math.isfinite(value) or not _is_within(value, kind):
        raise UnfitValueError(f"must be {wanted_by(kind)}, not {text}")
    return value


def _is_within(value: float, kind: inspect.IntType | inspect.FloatType) -> bool:
    return (
        (kind.gt is None or value > kind.gt)
        and (kind.ge is None or value >= kind.ge)
        and (kind.lt is None or value < kind.lt)
        and (kind.le is None or value <= kind.le)
    )


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    bounds = (("more than", kind.gt), ("at least", kind.ge), ("less than", kind.lt), ("at most", kind.le))
    told = [f"{word} {bound:g}" for word, bound in bounds if bound is not None]
    return " of " + " and ".join(told) if told else ""

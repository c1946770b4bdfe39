"""
How does a YAML file become a typed tree, and what is wrong with it, all of it at once?

The shape is a tree of frozen msgspec structs. The document is walked along it:
unknown and doubled keys, missing ones, wrong types and values each become a
`Problem`, and the walk goes on. Where nothing right could be read stands
`UNREAD`, so that the rules about relations can still be asked of the rest: a
rule that touches it is dropped, its cause has been told already.

A struct may say, as class variables, `shorthand` (the key meant when a single
value stands for the mapping) and `not_built` (keys that later releases take).
A struct with the class variable `by_kind` stands for the ones in there: what is
behind its key `kind` decides which.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import msgspec
from msgspec import inspect

from lsproxy.config.document import Document, Entry, Listing, Mapping, Node, Scalar, read_document
from lsproxy.config.problems import ConfigError, KeyPath, quote
from lsproxy.config.scalars import read_scalar, wanted_by
from lsproxy.errors import LsproxyError

T = TypeVar("T", bound=msgspec.Struct)


class Finding(msgspec.Struct, frozen=True):
    """A problem as a rule finds it: in the tree, not yet in a file."""

    path: KeyPath
    sentence: str


Rules = Callable[[Any], Iterable[Finding]]


class UnreadError(Exception):
    """A rule touched a value that could not be read."""


class _Unread:
    """Stands for a value that could not be read. Whatever is asked of it raises `UnreadError`."""

    def __getattr__(self, _name: str) -> NoReturn:
        raise UnreadError

    def _ask(self, *_: object) -> NoReturn:
        raise UnreadError

    __eq__ = __hash__ = __bool__ = __iter__ = __contains__ = __len__ = _ask
    __lt__ = __gt__ = __sub__ = __rsub__ = __add__ = __radd__ = __mul__ = __rmul__ = __fspath__ = _ask


UNREAD: Final[Any] = _Unread()


def load(path: Path, shape: type[T], rules: Rules) -> T:
    """
    The tree of the file at `path`, with defaults, relative paths resolved
    against the file's folder, and every one of `rules` kept. Raises
    `ConfigError` with all problems.
    """
    return build(read_document(path), shape, rules)


def build(document: Document, shape: type[T], rules: Rules) -> T:
    """As `load`, of a document at hand."""
    walk = _Walk(document)
    tree = walk.value(document.root, inspect.type_info(shape), ())
    found = [document.problem(finding.path, finding.sentence) for finding in ask(rules, tree)]
    if walk.findings or found:
        raise ConfigError([document.problem(f.path, f.sentence) for f in walk.findings] + found)
    whole: T = tree
    return whole


def ask(rule: Callable[..., Iterable[Finding]], *about: Any) -> Iterator[Finding]:
    """The findings of `rule`, up to where it touches a value that could not be read."""
    try:
        yield from rule(*about)
    except UnreadError:
        return


class _Walk:
    """One pass over a document along its shape, collecting findings."""

    def __init__(self, document: Document) -> None:
        self._folder = document.file.absolute().parent
        self.findings: list[Finding] = []

    def value(self, node: Node, kind: inspect.Type, path: KeyPath) -> Any:
        """What `node` is as `kind`, or `UNREAD` when that was told as a finding."""
        if isinstance(node, Scalar) and node.is_empty:
            return self._tell(path, f"has no value, it must be {wanted_by(kind)}")
        match kind:
            case inspect.UnionType():
                return self.value(node, _present(kind), path)
            case inspect.StructType() if isinstance(node, Mapping) and "by_kind" in vars(kind.cls):
                return self._alternative(node, vars(kind.cls)["by_kind"], path)
            case inspect.StructType() if isinstance(node, Mapping):
                return self._struct(node, kind, path)
            case inspect.StructType() if isinstance(node, Scalar) and hasattr(kind.cls, "shorthand"):
                stated = Mapping(node.line, (Entry(node.line, kind.cls.shorthand, node),))
                return self._struct(stated, kind, path)
            case inspect.DictType() if isinstance(node, Mapping):
                return self._dict(node, kind, path)
            case inspect.VarTupleType() if isinstance(node, Listing):
                return tuple(self.value(item, kind.item_type, (*path, n)) for n, item in enumerate(node.items))
        if not isinstance(node, Scalar):
            found = "a list" if isinstance(node, Listing) else "a mapping"
            return self._tell(path, f"must be {wanted_by(kind)}, not {found}")
        return self._scalar(node, kind, path)

    def _scalar(self, node: Scalar, kind: inspect.Type, path: KeyPath) -> Any:
        try:
            return read_scalar(node.text, kind, self._folder, is_quoted=node.is_quoted)
        except LsproxyError as error:
            return self._tell(path, str(error))

    def _struct(self, node: Mapping, kind: inspect.StructType, path: KeyPath) -> Any:
        fields = {field.encode_name: field for field in kind.fields}
        not_built: Sequence[str] = getattr(kind.cls, "not_built", ())
        values: dict[str, Any] = {}
        for entry in self._entries(node, path):
            here = (*path, entry.key)
            if entry.key in fields:
                field = fields[entry.key]
                values[field.name] = self.value(entry.node, field.type, here)
            elif entry.key in not_built:
                self._tell(here, "is not built in this release, remove it")
            else:
                self._tell(here, _unknown_key(entry.key, fields))
        for field in kind.fields:
            if field.name not in values:
                values[field.name] = self._default(field, (*path, field.encode_name))
        return kind.cls(**values)

    def _default(self, field: inspect.Field, path: KeyPath) -> Any:
        if field.required:
            return self._tell(path, f"is missing, it must be {wanted_by(field.type)}")
        if isinstance(field.type, inspect.StructType):
            return self._struct(Mapping(0, ()), field.type, path)
        return self._folder / field.default if isinstance(field.default, Path) else field.default

    def _alternative(self, node: Mapping, shapes: dict[str, type], path: KeyPath) -> Any:
        stated = next((entry.node for entry in node.entries if entry.key == "kind"), None)
        if isinstance(stated, Scalar) and stated.text in shapes:
            shape = inspect.type_info(shapes[stated.text])
            assert isinstance(shape, inspect.StructType)
            return self._struct(node, shape, path)
        found = f", not {quote(stated.text)}" if isinstance(stated, Scalar) else ""
        fault = "is missing, it must be" if stated is None else "must be"
        return self._tell((*path, "kind"), f"{fault} {' or '.join(shapes)}{found}")

    def _dict(self, node: Mapping, kind: inspect.DictType, path: KeyPath) -> Any:
        read = {}
        for entry in self._entries(node, path):
            here = (*path, entry.key)
            self._scalar(Scalar(entry.line, entry.key, is_quoted=True), kind.key_type, here)
            read[entry.key] = self.value(entry.node, kind.value_type, here)
        if len(read) < (kind.min_length or 0):
            return self._tell(path, f"is empty, it must hold at least {kind.min_length}")
        return read

    def _entries(self, node: Mapping, path: KeyPath) -> Iterator[Entry]:
        firsts: dict[str, Entry] = {}
        for entry in node.entries:
            first = firsts.setdefault(entry.key, entry)
            if first is entry:
                yield entry
            else:
                self._tell((*path, entry.key), f"stands twice, here and on line {entry.line}, keep one")

    def _tell(self, path: KeyPath, sentence: str) -> Any:
        self.findings.append(Finding(path, sentence))
        return UNREAD


def _present(kind: inspect.UnionType) -> inspect.Type:
    """What an optional value is when it is there."""
    return next(part for part in kind.types if not isinstance(part, inspect.NoneType))


def _unknown_key(key: str, known: Iterable[str]) -> str:
    # Beyond this length it is no slip of the finger, and difflib is quadratic.
    near = difflib.get_close_matches(key.lower(), known, n=1) if len(key) <= _LONGEST_SLIP else []
    advice = f"did you mean {near[0]}? Known here" if near else "known here"
    return f"is an unknown key, {advice}: {', '.join(known)}"


_LONGEST_SLIP: Final = 64

"""
What stands in a YAML file, and on which line? Text in, a bounded tree of nodes out, nothing interpreted yet.

YAML as an administrator writes it: mappings, lists and scalars. Scalars stay
text here; what `off`, `012` or `12:30` means depends on what the key wants and
is decided there, so none of YAML 1.1's guesses apply. Tags, anchors and
aliases are refused: they let a small file name types or grow without bound.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from lsproxy.config.problems import ConfigError, KeyPath, Problem, quote, spell

MOST_BYTES: Final = 1024 * 1024
MOST_NODES: Final = 10_000
MOST_DEPTH: Final = 20


class Scalar(msgspec.Struct, frozen=True):
    """A single value, as the text between its quotes."""

    line: int
    text: str
    is_quoted: bool

    @property
    def is_empty(self) -> bool:
        """Whether nothing stands here, or YAML's words for nothing."""
        return not self.is_quoted and self.text in {"", "~", "null", "Null", "NULL"}


class Entry(msgspec.Struct, frozen=True):
    """One `key: node` of a mapping; `line` is the key's."""

    line: int
    key: str
    node: "Node"


class Mapping(msgspec.Struct, frozen=True):
    """Keys and what stands behind them, in file order, doubled ones included."""

    line: int
    entries: tuple[Entry, ...]


class Listing(msgspec.Struct, frozen=True):
    """A list of nodes."""

    line: int
    items: tuple["Node", ...]


Node = Scalar | Mapping | Listing


class Document(msgspec.Struct, frozen=True):
    """A file and its root node. `file` is the path as it was given."""

    file: Path
    root: Node

    def problem(self, path: KeyPath, sentence: str) -> Problem:
        """A problem of the value at `path`, or, where nothing stands there, of the nearest mapping around it."""
        return Problem(file=str(self.file), line=self.line(path), path=spell(path), sentence=sentence)

    def has(self, *path: str) -> bool:
        """Whether something stands at `path`, keys of mappings, not a default."""
        return self.at(*path) is not None

    def at(self, *path: str) -> Node | None:
        """What stands at `path`, keys of mappings."""
        node: Node | None = self.root
        for step in path:
            entries = node.entries if isinstance(node, Mapping) else ()
            node = next((entry.node for entry in entries if entry.key == step), None)
        return node

    def line(self, path: KeyPath) -> int:
        """The line of the key at `path`, counted from 1; of the nearest key around it where `path` is absent."""
        node, line = self.root, self.root.line
        for step in path:
            if isinstance(node, Mapping):
                found = next((entry for entry in node.entries if entry.key == step), None)
                if found is None:
                    return line
                node, line = found.node, found.line
            elif isinstance(node, Listing) and isinstance(step, int) and step < len(node.items):
                node = node.items[step]
                line = node.line
            else:
                return line
        return line


def read_document(path: Path) -> Document:
    """The nodes of the file at `path`. Raises `ConfigError` for a file that cannot be read or is not YAML."""
    return parse_document(_read_bytes(path), path)


def parse_document(content: bytes, path: Path) -> Document:
    """As `read_document`, of bytes at hand; `path` names them in problems and is where relative paths start."""
    file = str(path)
    if len(content) > MOST_BYTES:
        raise _refused(file, None, f"is larger than {MOST_BYTES} bytes, no configuration needs that")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _refused(file, line, "is not text in UTF-8, save it in that encoding") from None
    try:
        return Document(path, _Composer(file, text).root())
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _refused(file, line, f"the character U+{ord(text[error.position]):04X} is not text, remove it") from None
    except yaml.MarkedYAMLError as error:
        raise _refused(file, *_syntax_problem(error)) from None
    except (ValueError, OverflowError):
        # PyYAML hands every number behind \U to chr()
        raise _refused(file, None, "has an escape \\U… of a character that does not exist, remove it") from None


class _Composer:
    """Builds nodes from the parser's events, so that depth and number are bounded while reading."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._nodes = 0
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.SafeLoader)

    def root(self) -> Node:
        root = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise self._fault(event, "a second document (---) starts here, one file holds one")
                root = self._node(next(self._events), 0)
        if root is None or (isinstance(root, Scalar) and root.is_empty):
            raise _refused(self._file, None, "is empty, it must hold keys and values")
        return root

    def _node(self, event: yaml.Event, depth: int) -> Node:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise self._fault(event, f"more than {MOST_NODES} values, no configuration needs that")
        if depth > MOST_DEPTH:
            raise self._fault(event, f"nested deeper than {MOST_DEPTH} levels, no configuration needs that")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise self._fault(event, "anchors and aliases (& and *) are not read here, quote the text or write it out")
        if getattr(event, "tag", None) is not None:
            raise self._fault(event, "tags (!) are not read here, put the value in quotes or leave the tag out")
        line = _line(event)
        match event:
            case yaml.MappingStartEvent():
                return Mapping(line, tuple(self._entries(depth)))
            case yaml.SequenceStartEvent():
                return Listing(line, tuple(self._items(depth)))
            case _:
                return self._scalar(event)

    def _entries(self, depth: int) -> Iterator[Entry]:
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            if not isinstance(key, Scalar):
                raise self._fault(event, "a key must be a plain word, not a list or mapping")
            value = self._node(next(self._events), depth + 1)
            yield Entry(key.line, key.text, value)

    def _items(self, depth: int) -> Iterator[Node]:
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            yield self._node(event, depth + 1)

    def _scalar(self, event: Any) -> Scalar:
        if not all(c.isprintable() or c in "\n\r\t" for c in event.value):
            raise self._fault(event, f"{quote(event.value)} holds characters that are not text, remove them")
        return Scalar(_line(event), event.value, is_quoted=bool(event.style))

    def _fault(self, event: yaml.Event, sentence: str) -> ConfigError:
        return _refused(self._file, _line(event), sentence)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 1


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise _refused(str(path), None, "there is no such file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise _refused(str(path), None, f"cannot be read: {reason}") from None


def _syntax_problem(error: yaml.MarkedYAMLError) -> tuple[int | None, str]:
    told = error.problem or ""
    mark = error.problem_mark
    if error.context_mark is not None and any(sign in told for sign in ("end of stream", "expected ':'")):
        # found too late, at the file's end or on the next line: what was begun is the mistake
        mark = error.context_mark
    advice = next((advice for sign, advice in _ADVICE if sign in told), f"is not YAML: {told}")
    return (None if mark is None else mark.line + 1), advice


_ADVICE: Final = (
    ("'\\t'", "a tab stands where YAML wants spaces, indent with spaces"),
    ("mapping values are not allowed", "a colon too many, or a wrong indent: put a value that holds a colon in quotes"),
    ("unexpected end of stream", "the quote that opens here is never closed, close it"),
    ("expected ',' or ']'", "the list is not closed, end it with ]"),
    ("expected ',' or '}'", "the mapping is not closed, end it with }"),
    ("could not find expected ':'", "a key without a colon, write it as key: value"),
    ("expected <block end>", "the indent fits nothing above, align it with its neighbours"),
    ("that cannot start any token", "a value that starts with this character must stand in quotes"),
)


def _refused(file: str, line: int | None, sentence: str) -> ConfigError:
    return ConfigError([Problem(file=file, line=line, sentence=sentence)])

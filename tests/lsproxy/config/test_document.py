"""YAML text becomes nodes with lines, or one sentence that says on which line it is not YAML."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsproxy.config.document import (
    MOST_BYTES,
    MOST_NODES,
    Entry,
    Listing,
    Mapping,
    Scalar,
    parse_document,
    read_document,
)
from lsproxy.config.problems import ConfigError

FILE = Path("some.yaml")


def refusal(content: bytes | str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_document(content if isinstance(content, bytes) else content.encode(), FILE)
    return str(caught.value)


def test_nodes_know_their_lines_and_stay_text():
    """What YAML 1.1 would turn into a boolean or a number is still text here."""
    document = parse_document(b"a: off\nb:\n  - 010\n  - '12:30'\n", FILE)
    assert document.root == Mapping(
        1,
        (
            Entry(1, "a", Scalar(1, "off", is_quoted=False)),
            Entry(2, "b", Listing(3, (Scalar(3, "010", is_quoted=False), Scalar(4, "12:30", is_quoted=True)))),
        ),
    )


def test_the_line_of_a_path_is_its_keys_line():
    """A path that is absent has the line of the nearest key around it."""
    document = parse_document(b"a:\n  b:\n    c:\n      - 1\n      - 2\n", FILE)
    lines = {path: document.line(path) for path in [("a",), ("a", "b", "c", 1), ("a", "b", "x"), ("a", "b", "c", 7)]}
    assert lines == {("a",): 1, ("a", "b", "c", 1): 5, ("a", "b", "x"): 2, ("a", "b", "c", 7): 3}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a:\n\tb: 1\n", "some.yaml:2: a tab stands where YAML wants spaces, indent with spaces"),
        (
            "a: b: c\n",
            "some.yaml:1: a colon too many, or a wrong indent: put a value that holds a colon in quotes",
        ),
        ("x: 1\na: 'b\nc: d\n", "some.yaml:2: the quote that opens here is never closed, close it"),
        ("a: [1, 2\nb: 3\n", "some.yaml:2: the list is not closed, end it with ]"),
        ("a: {b: 1\nc: 3\n", "some.yaml:2: the mapping is not closed, end it with }"),
        ("a: 1\nb\n", "some.yaml:2: a key without a colon, write it as key: value"),
        ("a:\n    b: 1\n  c: 2\n", "some.yaml:3: the indent fits nothing above, align it with its neighbours"),
        ("a: @b\n", "some.yaml:1: a value that starts with this character must stand in quotes"),
        ("", "some.yaml: is empty, it must hold keys and values"),
        ("# nothing\n---\n", "some.yaml: is empty, it must hold keys and values"),
        ("a: 1\n---\nb: 2\n", "some.yaml:2: a second document (---) starts here, one file holds one"),
        (
            "a: &x 1\nb: *x\n",
            "some.yaml:1: anchors and aliases (& and *) are not read here, quote the text or write it out",
        ),
        (
            "a: !!python/object/apply:os.system [id]\n",
            "some.yaml:1: tags (!) are not read here, put the value in quotes or leave the tag out",
        ),
        ("? [a, b]\n: 1\n", "some.yaml:1: a key must be a plain word, not a list or mapping"),
        ('a: "\\UFFFFFFFF"\n', "some.yaml: has an escape \\U… of a character that does not exist, remove it"),
        ('a: "\\U00110000"\n', "some.yaml: has an escape \\U… of a character that does not exist, remove it"),
        ("a: 1\nb: \x01\n", "some.yaml:2: the character U+0001 is not text, remove it"),
        (
            'a: 1\nb: "\\0"\n',
            'some.yaml:2: "\N{REPLACEMENT CHARACTER}" holds characters that are not text, remove them',
        ),
    ],
)
def test_what_is_not_plain_yaml_is_told_with_its_line(text: str, told: str):
    """One sentence, the line, and what would be right."""
    assert refusal(text) == told


def test_bytes_that_are_no_text_are_told_with_their_line():
    """A file in another encoding, or no text at all."""
    assert refusal(b"a: 1\nb: M\xfcller\n") == "some.yaml:2: is not text in UTF-8, save it in that encoding"
    assert refusal(bytes(range(256))).startswith("some.yaml:")


def test_a_byte_order_mark_is_no_part_of_the_first_key():
    """Editors on Windows write one."""
    root = parse_document(b"\xef\xbb\xbfa: 1\n", FILE).root
    assert isinstance(root, Mapping)
    assert root.entries[0].key == "a"


def test_size_number_and_depth_are_bounded():
    """No file is read past its limits, an alias bomb has no aliases to explode."""
    assert (
        refusal(b"#" * (MOST_BYTES + 1)) == f"some.yaml: is larger than {MOST_BYTES} bytes, no configuration needs that"
    )
    assert "values, no configuration needs that" in refusal("- x\n" * (MOST_NODES + 1))
    assert refusal("[" * 10_000) == "some.yaml:1: nested deeper than 20 levels, no configuration needs that"
    assert "anchors and aliases" in refusal("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n")


def test_a_file_that_cannot_be_read_is_told_by_name(tmp_path: Path):
    """Missing, a folder, below a file, larger than any configuration."""
    (tmp_path / "file").write_bytes(b"#" * (MOST_BYTES + 100))
    told = {}
    for name in ("missing", "", "file/below", "file"):
        with pytest.raises(ConfigError) as caught:
            read_document(tmp_path / name)
        told[name] = str(caught.value).removeprefix(str(tmp_path / name))
    assert told == {
        "missing": ": there is no such file",
        "": ": cannot be read: Is a directory",
        "file/below": ": cannot be read: Not a directory",
        "file": f": is larger than {MOST_BYTES} bytes, no configuration needs that",
    }


@given(st.binary(max_size=200) | st.text(alphabet="ab:-[]{},&*!|>'\"%@`\\xUu0F \n\t#?~", max_size=60).map(str.encode))
def test_any_bytes_are_a_document_or_a_sentence(content: bytes):
    """Nothing else leaves the reader."""
    told = "some.yaml"
    try:
        parse_document(content, FILE)
    except ConfigError as error:
        told = str(error)
    assert told.startswith("some.yaml")
    assert "\n" not in told

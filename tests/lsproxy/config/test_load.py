"""A document becomes a typed tree, or all of its mistakes at once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from lsproxy.config.document import parse_document
from lsproxy.config.leaves import Name, OutputPath
from lsproxy.config.load import Finding, ask, build
from lsproxy.config.problems import ConfigError


class Wheel(msgspec.Struct, frozen=True, kw_only=True):
    inches: Annotated[float, Meta(gt=0, le=30)] = 28.0
    spokes: Annotated[int, Meta(ge=3)] = 32
    tube: bool = True


class Bell(msgspec.Struct, frozen=True, kw_only=True):
    shorthand: ClassVar = "sound"

    sound: Annotated[Literal["ring", "ding"], Meta(extra={"not_built": ("honk",)})] = "ring"
    manual: OutputPath = Path("bell.txt")


class Bicycle(msgspec.Struct, frozen=True, kw_only=True):
    not_built: ClassVar = ("motor",)

    name: Name
    wheels: Annotated[dict[Name, Wheel], Meta(min_length=1)]
    bell: Bell = Bell()
    basket: Bell | None = None
    stickers: tuple[str, ...] = ()


def no_rules(_tree: Bicycle) -> list[Finding]:
    return []


def read(text: str, rules=no_rules) -> Bicycle:
    return build(parse_document(text.encode(), Path("/etc/b.yaml")), Bicycle, rules)


def refusal(text: str, rules=no_rules) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text, rules)
    assert str(caught.value) == "\n".join(str(problem) for problem in caught.value.problems)
    return [str(problem) for problem in caught.value.problems]


def test_what_is_written_is_read_and_the_rest_is_default():
    """Values have their key's type, paths start at the file's folder, defaults too."""
    assert read("name: red\nwheels: {front: {inches: 26, tube: false}, rear: {}}\nstickers: [no, 010]\n") == Bicycle(
        name="red",
        wheels={"front": Wheel(inches=26.0, tube=False), "rear": Wheel()},
        bell=Bell(sound="ring", manual=Path("/etc/bell.txt")),
        stickers=("no", "010"),
    )


def test_a_single_value_stands_for_the_mapping_where_the_type_says_so():
    """`bell: ding` is `bell: {sound: ding}`."""
    assert read("{name: a, wheels: {w: {}}, bell: ding}") == read("{name: a, wheels: {w: {}}, bell: {sound: ding}}")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("wheel: 1", "wheel: is an unknown key, did you mean wheels? Known here: name, wheels, bell, basket, stickers"),
        ("colour: 1", "colour: is an unknown key, known here: name, wheels, bell, basket, stickers"),
        ("motor: 1", "motor: is not built in this release, remove it"),
        ("name: again", "name: stands twice, here and on line 3, keep one"),
        ("bell: honk", "bell.sound: honk is not built in this release, it must be ding or ring"),
        ("bell: moo", 'bell.sound: must be ding or ring, not "moo"'),
        ("bell: [ring]", "bell: must be a mapping of keys and values, not a list"),
        ("bell:", "bell: has no value, it must be a mapping of keys and values"),
        ("bell: {manual: {}}", "bell.manual: must be a path, not a mapping"),
        ("stickers: a", 'stickers: must be a list, each text, not "a"'),
        ("stickers: [a, [b]]", "stickers[1]: must be text, not a list"),
        ("basket: ~", "basket: has no value, it must be a mapping of keys and values"),
    ],
)
def test_each_mistake_has_its_sentence(line: str, told: str):
    """Path, what is wrong, what would be right."""
    place, _, sentence = told.partition(" ")
    (problem,) = refusal(f"name: a\nwheels: {{w: {{}}}}\n{line}\n")
    number = 1 if line.startswith("name") else 3
    assert problem == f"/etc/b.yaml:{number}: {place} {sentence}"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("inches: 0", "inches: must be a number of more than 0 and at most 30, not 0"),
        ("inches: 31", "inches: must be a number of more than 0 and at most 30, not 31"),
        ("inches: 1e999", "inches: must be a number of more than 0 and at most 30, not 1e999"),
        ("inches: .inf", 'inches: must be a number of more than 0 and at most 30, not ".inf"'),
        ("inches: 0:30", 'inches: must be a number of more than 0 and at most 30, not "0:30"'),
        ("inches: '9'", "inches: must be a number of more than 0 and at most 30 without quotes around it"),
        ("inches: 5s", 'inches: must be a number of more than 0 and at most 30, not "5s", durations are plain seconds'),
        ("spokes: 2.5", 'spokes: must be a whole number of at least 3, not "2.5"'),
        ("spokes: 010", 'spokes: must be a whole number of at least 3, not "010"'),
        ("spokes: 0x20", 'spokes: must be a whole number of at least 3, not "0x20"'),
        ("spokes: 1_000", 'spokes: must be a whole number of at least 3, not "1_000"'),
        ("spokes: 2", "spokes: must be a whole number of at least 3, not 2"),
        ("spokes: true", 'spokes: must be a whole number of at least 3, not "true"'),
        (f"spokes: {'9' * 5000}", f'spokes: must be a whole number of at least 3, not "{"9" * 64}…"'),
        ("tube: yes", 'tube: must be true or false, not "yes"'),
        ("tube: off", 'tube: must be true or false, not "off"'),
        ("tube: 1", 'tube: must be true or false, not "1"'),
        ('tube: "true"', "tube: must be true or false without quotes around it"),
    ],
)
def test_a_scalar_is_read_by_its_keys_type(value: str, told: str):
    """No YAML 1.1 guess slips through: no sexagesimals, octals, underscores, or yes for true."""
    assert refusal(f"name: a\nwheels:\n  w:\n    {value}\n") == [f"/etc/b.yaml:4: wheels.w.{told}"]


def test_missing_keys_have_the_line_of_what_lacks_them():
    """The mapping's own line; the file's first for the root."""
    assert refusal("# b\nbell: {}\n") == [
        "/etc/b.yaml:2: name: is missing, it must be a name",
        "/etc/b.yaml:2: wheels: is missing, it must be a mapping of keys and values",
    ]


def test_a_mapping_that_needs_entries_may_not_be_empty():
    """An empty pool is none."""
    assert refusal("name: a\nwheels: {}\n") == ["/etc/b.yaml:2: wheels: is empty, it must hold at least 1"]


def test_a_name_of_the_readers_own_is_checked_like_a_value():
    """Names in keys have the form of names."""
    assert refusal('name: a\nwheels: {"a b": {}}\n') == [
        '/etc/b.yaml:2: wheels.a b: "a b" is no name, it must be 1 to 64 letters, digits, dots, dashes and underscores'
    ]


def test_a_root_that_is_no_mapping_is_one_problem():
    """A list or a word is no configuration."""
    assert refusal("- a\n") == ["/etc/b.yaml:1: must be a mapping of keys and values, not a list"]
    assert refusal("word\n") == ['/etc/b.yaml:1: must be a mapping of keys and values, not "word"']


def wheels_match(bicycle: Bicycle) -> Iterator[Finding]:
    """A rule over pairs, in the form of the real ones."""
    for name, wheel in bicycle.wheels.items():
        yield from ask(is_large, name, wheel, bicycle)


def is_large(name: str, wheel: Wheel, bicycle: Bicycle) -> Iterator[Finding]:
    if wheel.inches < 20:
        yield Finding(("wheels", name, "inches"), f"{bicycle.name} wants 20")


def test_rules_are_asked_of_what_could_be_read():
    """A mistake in one wheel hides neither the rule's finding in the other nor adds a finding of its own."""
    assert refusal("name: a\nwheels:\n  f: {inches: x}\n  r: {inches: 9}\n", wheels_match) == [
        '/etc/b.yaml:3: wheels.f.inches: must be a number of more than 0 and at most 30, not "x"',
        "/etc/b.yaml:4: wheels.r.inches: a wants 20",
    ]


@pytest.mark.parametrize("broken", ["wheels: 3", "wheels: {f: 3}", "wheels: {f: {inches: x}}", "- a"])
def test_a_rule_is_dropped_where_it_touches_what_could_not_be_read(broken: str):
    """The cause is told, no consequence."""
    text = broken if broken.startswith("-") else f"name: a\n{broken}\n"
    assert len(refusal(text, wheels_match)) == 1


def test_the_list_of_problems_is_bounded():
    """A file of nonsense does not fill the terminal."""
    rows = "".join(f"nonsense{n}: 1\n" for n in range(150))
    with pytest.raises(ConfigError) as caught:
        read(f"name: a\nwheels: {{w: {{}}}}\n{rows}")
    told = str(caught.value).splitlines()
    assert len(caught.value.problems) == 150
    assert (len(told), told[-1]) == (101, "/etc/b.yaml: 50 more problems follow")


KEYS = ["name", "wheels", "bell", "sound", "inches", "spokes", "tube", "motor", "stickers", "nonsense", "a b"]
VALUES = st.sampled_from(["1", "0", "-1", "x", "true", "~", "''", "1.5", "ring", "honk", "'\\\\'", "5s", "12:30"])
NODES = st.recursive(
    VALUES,
    lambda inner: (
        st.dictionaries(st.sampled_from(KEYS), inner, max_size=4).map(
            lambda d: "{" + ", ".join(f"{k}: {v}" for k, v in d.items()) + "}"
        )
        | st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]")
    ),
    max_leaves=12,
)


@given(NODES)
def test_any_tree_is_read_or_refused_with_its_places(text: str):
    """Nothing but `ConfigError` leaves, and each problem has a line and a sentence."""
    places = {1}
    try:
        read(text, wheels_match)
    except ConfigError as error:
        places = {problem.line for problem in error.problems}
    assert places <= {1, None}
    assert places

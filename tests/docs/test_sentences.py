"""Every sentence that a person can be shown of a pool stands in the documentation, and none that lsproxy never says."""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = ("sentences", "operation", "panel", "third-party", "pair")
MODULES: Final = (
    "core/choice core/claims core/succession core/outside core/expiry core/binding license/binding license/signature"
    " proxy/seatpool proxy/pool proxy/backend proxy/prober proxy/control proxy/takeover proxy/snapshot proxy/licenses"
    " proxy/operator proxy/traffic proxy/relay/pool proxy/relay/backend proxy/relay/checks proxy/relay/prober"
    " proxy/relay/portcheck proxy/relay/commandprobe proxy/relay/hooks proxy/relay/lookout commands changes net/tls"
    " net/handshake net/dialing panel/remarks panel/views"
)
_FAULT: Final = "heads a traceback in the log: a fault of lsproxy's own, for whoever mends it"
_SIGNING: Final = "said by `licserver sign` alone, to the vendor"
NOT_SHOWN: Final = {
    "while a command's end was judged": _FAULT,
    "while a check's end was told": _FAULT,
    "while a command's outcome was judged": _FAULT,
    "while a binding was judged": _FAULT,
    "while a connection to … was begun": _FAULT,
    "while a connection's protocol was built": _FAULT,
    "there is no FEATURE or INCREMENT line to sign": _SIGNING,
    "its lines are of …; a key signs a file of one vendor only": _SIGNING,
    "server …": "a row of the text that is signed",
    "vendor …": "a row of the text that is signed",
}
"""Literals that look like a sentence and reach nobody who reads the pages, and why."""

HOLE: Final = "…"
FEWEST_LETTERS: Final = 6
LEAST: Final = 12
"""Characters of a sentence, beside what varies, that a page has to show before it may cut it short."""
MOST_LEFT: Final = 30
"""Characters that may follow them up to the cut."""


def literals(source: str) -> Iterator[tuple[int, str]]:
    """The line and the text of each literal of a module that has blanks in it, HOLE where something is filled in."""
    tree = ast.parse(source)
    passed_over: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            passed_over.add(node.value)  # a docstring
        elif isinstance(node, ast.JoinedStr):
            passed_over.update(part for part in node.values if isinstance(part, ast.Constant))
    for node in ast.walk(tree):
        if node in passed_over:
            continue
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = re.sub(r"\{\w+\}", HOLE, node.value)
        else:
            continue
        if " " in text and sum(map(str.isalpha, text)) >= FEWEST_LETTERS:
            yield node.lineno, text


def quoted(page: str) -> Iterator[str]:
    """What stands in backquotes, each on one line and without those of its own."""
    for block in re.split(r"\n\s*\n|\n(?=\|)", page):
        for span in re.finditer(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", " ".join(block.split())):
            yield span[2].replace("`", "").strip()


def tells(shown: str, sentence: str) -> bool:
    """
    Whether `shown` has all that does not vary of `sentence`, in its order; or LEAST characters of its beginning, and
    after MOST_LEFT more at most ends with HOLE.
    """
    fixed = fixed_parts(sentence)
    patterns = [rf"(?<!\w){re.escape(fixed[0])}", *map(re.escape, fixed[1:])]
    if re.search(".+?".join(patterns) + r"(?!\w)", shown):
        return True
    return shown.endswith(HOLE) and any(
        re.search(".+?".join(patterns[:kept]) + f".{{0,{MOST_LEFT}}}$", shown)
        for kept in range(1, len(fixed))
        if sum(map(len, fixed[:kept])) >= LEAST
    )


def fixed_parts(sentence: str) -> list[str]:
    """What does not vary, without the marks at its ends."""
    return [part for part in re.split(f"{HOLE}+", sentence.replace("`", "").strip(f' {HOLE}:;,.()"')) if part]


def unexplained(found: Iterable[tuple[str, int, str]], pages: Iterable[str]) -> list[str]:
    """Of sentences, each with its module and line, those that none of the pages tells: `MODULE:LINE: SENTENCE`."""
    shown = [span for page in pages for span in quoted(page)]
    return [
        f"lsproxy/{module}.py:{line}: {text}"
        for module, line, text in found
        if text not in NOT_SHOWN and not any(tells(span, text) for span in shown)
    ]


@pytest.fixture(scope="module")
def said():
    """Module, line and text of all that is said."""
    return [
        (module, line, text)
        for module in MODULES.split()
        for line, text in literals((ROOT / f"lsproxy/{module}.py").read_text(encoding="utf-8"))
    ]


@pytest.fixture(scope="module")
def pages():
    """The pages by name."""
    return {page: (ROOT / f"docs/{page}.md").read_text(encoding="utf-8") for page in PAGES}


def test_every_sentence_is_explained(said, pages):
    """In docs/sentences.md, or in a page that it links to."""
    assert unexplained(said, pages.values()) == []


def test_what_nobody_sees_is_still_in_the_code(said):
    """An exception goes with its literal."""
    assert NOT_SHOWN.keys() - {text for *_, text in said} == set()


def test_no_sentence_is_explained_that_is_never_said(said, pages):
    """A row goes with its sentence: what its first column has in backquotes is said by some module."""
    rows = re.findall(r"^\| (`.+?) \| ", pages["sentences"], re.MULTILINE)
    known = [text for *_, text in said if sum(map(len, fixed_parts(text))) >= len("was lost")]
    stale = [span for row in rows for span in quoted(row) if not any(tells(span, text) for text in known)]
    assert stale == []


def test_a_row_that_is_missing_is_named(said, pages):
    """By the module and the line of its sentence."""
    without = "\n".join(row for row in pages["sentences"].splitlines() if "connection refused" not in row)
    others = [pages[page] for page in PAGES[1:]]
    (missing,) = {*unexplained(said, [*others, without])} - {*unexplained(said, pages.values())}
    assert re.fullmatch(r"lsproxy/proxy/relay/portcheck\.py:\d+: connection refused", missing)


@pytest.mark.parametrize(
    ("shown", "is_told"),
    [
        ("lic-a is active on journal 7f, this pool follows journal b1: stop lic-a", True),
        ("… is active on journal …, this pool …", True),
        ("lic-a is active on journal …", True),
        ("lic-a is active …", False),
        ("lic-a is active on journal 7f", False),
        ("this pool follows journal b1, lic-a is active on journal 7f", False),
    ],
)
def test_a_page_may_cut_a_sentence_short_and_not_tell_another(shown, is_told):
    """Where it shows enough of it, and that it is cut."""
    assert tells(shown, "… is active on journal …, this pool follows journal …: stop …") is is_told

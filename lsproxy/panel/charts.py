"""
How is a figure drawn over time? As an SVG image that asks no other host for anything and follows light and dark.

pygal draws; its style sheet, scripts and comments are taken out and ours is put
in, because theirs come from the network or say where they came from.
"""

import base64
import hashlib
import math
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import pygal  # type: ignore[import-untyped] # it has no types

from lsproxy.panel.words import Clock

# pygal looks for plugins by a kind of import hook that Python has given up, and warns of at every import that follows.
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]

WIDTH: Final = 640
HEIGHT: Final = 200
HOUR: Final = 3600.0
DAY: Final = 86_400.0

LONGEST_STEPS: Final = 2
"""Points that are further apart than this many steps have a hole between them, in which nothing is known."""

_MOST_LEVELS: Final = 4
_TICK_HOURS: Final = 4

STYLE: Final = """
svg { color: #57606d; --line: #dfe3e8; --used: #2456c8; --limit: #b3201c; }
@media (prefers-color-scheme: dark) {
  svg { color: #a0a9b6; --line: #2b323c; --used: #8ab0ff; --limit: #ff8f87; }
}
text { font: 11px system-ui, sans-serif; fill: currentColor; font-variant-numeric: tabular-nums; }
.background { fill: none; }
.axis.x text { text-anchor: middle; } .axis.y text { text-anchor: end; }
.guide, .axis .line { stroke: var(--line); stroke-width: 1; fill: none; }
.axis.x .guide { stroke: none; }
.series .line { fill: var(--used); fill-opacity: .16; stroke: var(--used); stroke-width: 1.75; stroke-linejoin: round; }
.serie-0 .line { fill: none; stroke: var(--limit); stroke-width: 1.5; stroke-dasharray: 6 4; }
"""
_STYLE_DIGEST: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY: Final = f"default-src 'none'; style-src 'sha256-{_STYLE_DIGEST}'; frame-ancestors 'none'; base-uri 'none'"
"""For a chart that is opened by itself: our style sheet, by its digest, and nothing else."""

Points = Sequence[tuple[float, float]]
"""Moments, in seconds since 1970, and values."""


def chart(used: Points, limit: Points, since: float, until: float, step: float, clock: Clock) -> bytes:
    """
    `used` as an area and `limit`, which may be empty, as a dashed line, from `since` to `until`. A point counts for
    `step` seconds.
    """
    highest = max((value for _, value in (*used, *limit)), default=0.0)
    levels = _levels(highest)
    drawn = pygal.XY(
        js=(),
        width=WIDTH,
        height=HEIGHT,
        margin=4,
        spacing=6,
        show_legend=False,
        show_dots=False,
        show_y_guides=True,
        no_data_text="",
        print_values=False,
        xrange=(since, until),
        range=(0, levels[-1]),
        disable_xml_declaration=True,
    )
    drawn.y_labels = levels
    drawn.x_labels = _ticks(since, until, clock)
    limits: list[tuple[float, float | None]] = []
    for run in _runs(limit, LONGEST_STEPS * step):
        limits += [*_lasting(run, step, until), (until, None)]
    drawn.add("", limits, fill=False, allow_interruptions=True)
    for run in _runs(used, LONGEST_STEPS * step):
        drawn.add("", _lasting(run, step, until), fill=True)
    drawn.add_xml_filter(_ours)
    text: str = drawn.render()
    return text.encode()


def _ours(root: Any) -> Any:
    """Without scripts, comments, tooltips and style of pygal's; lxml may or may not be there, so by the plain way."""
    for parent in list(root.iter()):
        for child in list(parent):
            is_shape = isinstance(child.tag, str) and not child.tag.endswith(("script", "defs", "title", "desc"))
            if not is_shape or "tooltip" in child.get("class", ""):
                parent.remove(child)
    style = root.makeelement("style", {})
    style.text = STYLE
    root.insert(0, style)
    return root


def _levels(highest: float) -> list[int]:
    """Whole numbers from 0 to at least `highest`, few of them, at round distances."""
    top = max(1, math.ceil(highest))
    rough = top / _MOST_LEVELS
    power = 10 ** max(0, math.floor(math.log10(max(rough, 1))))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [step * number for number in range(math.ceil(top / step) + 1)]


def _ticks(since: float, until: float, clock: Clock) -> list[dict[str, Any]]:
    """Midnights of a span of days, else every few hours; at full hours of the zone that people live in."""
    is_long = until - since > 2 * DAY
    start = clock(since).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    ticks = []
    for hours in range(int((until - since) / HOUR) + 1):
        when = start.timestamp() + hours * HOUR
        local = clock(when)
        is_wanted = local.hour == 0 if is_long else local.hour % _TICK_HOURS == 0
        if when <= until and is_wanted:
            ticks.append({"value": when, "label": local.strftime("%a %d" if is_long else "%H:%M")})
    return ticks


def _lasting(points: Points, step: float, until: float) -> list[tuple[float, float]]:
    """With the end of the last one, without which a single point were no line."""
    last = [(max(points[-1][0], min(points[-1][0] + step, until)), points[-1][1])] if points else []
    return [*points, *last]


def _runs(points: Points, longest_gap: float) -> list[list[tuple[float, float]]]:
    """Parts without a gap, so that no line is drawn through a time that nothing is known of."""
    runs: list[list[tuple[float, float]]] = []
    for point in points:
        if runs and point[0] - runs[-1][-1][0] <= longest_gap:
            runs[-1].append(point)
        else:
            runs.append([point])
    return runs

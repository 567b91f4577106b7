# SPDX-License-Identifier: Apache-2.0
"""Writes a picture of a run as SVG: plain elements and one style sheet, nothing to be loaded, no script.

Colours are classes, so that dark mode and print are a matter of the style sheet; what is drawn small says more in its
<title>, which browsers show as a tooltip. Coordinates have one decimal, so that the same log gives the same bytes.
"""

from collections.abc import Iterator
from typing import Final
from xml.sax.saxutils import escape

from lsca.log.units import duration, number, rate
from lsca.plot.density import NAMES, Strip, rates, strips, totals
from lsca.plot.layout import (
    CHAR,
    LANE,
    LEFT,
    LEGEND_TOP,
    RATE,
    RATE_TOP,
    ROWS_TOP,
    Layout,
    Row,
    clip,
)
from lsca.plot.model import Query, words

# Light enough apart to be told in grey, too. (light, dark), in the order of GROUPS
COLOURS: Final = (
    ("#2166ac", "#5b9fe0"),
    ("#6baed6", "#9cd0ee"),
    ("#e08214", "#f0a04a"),
    ("#5aae61", "#74c47b"),
    ("#7b3294", "#b987d3"),
    ("#01665e", "#3fa79d"),
    ("#a6761d", "#c79d56"),
    ("#c4c9d0", "#525a66"),
)
PLAIN: Final = """\
text { font: 10px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #20242a }
.title { font: bold 15px system-ui, "DejaVu Sans", sans-serif }
.sub { font: 11px system-ui, "DejaVu Sans", sans-serif; fill: #59616c }
.dim { fill: #59616c }
.small { font-size: 8px; fill: #59616c }
.bad { fill: #c0172b }
.back { fill: #ffffff }
.life { fill: #e9ecf0 }
.fold { fill: #cfd4db }
.failed { fill: #f2b8be }
.grid { stroke: #e3e6ea; stroke-width: 1 }
.axis { stroke: #8a929c; stroke-width: 1 }
.exec { stroke: #20242a; stroke-width: 1 }
.err { stroke: #c0172b; stroke-width: 1.2 }
"""
DARK: Final = """\
text { fill: #e4e7eb }
.sub, .dim, .small { fill: #9aa3af }
.bad { fill: #ff7b86 }
.back { fill: #15181d }
.life { fill: #262b33 }
.fold { fill: #3a424d }
.failed { fill: #7d2d36 }
.grid { stroke: #2a3038 }
.axis { stroke: #6b7480 }
.exec { stroke: #e4e7eb }
.err { stroke: #ff5c6a }
"""
SMALL: Final = 4.85  # width of a character of 8 pixels
PART: Final = (0.0, 0.3, 0.55, 0.8, 1.0)  # of a lane's height, by how busy it is


def draw(layout: Layout, query: Query) -> str:
    """The whole file as text."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{layout.width}" height="{layout.height}" '
        f'viewBox="0 0 {layout.width} {layout.height}" role="img">',
        f"<title>{_safe(layout.run.title)}</title>",
        f"<style>\n{_style()}</style>",
        f'<rect class="back" width="{layout.width}" height="{layout.height}"/>',
        *_head(layout, query),
        *_axis(layout),
        *_rates(layout, query),
    ]
    by_lane = {id(strip.lane): strip for strip in strips(layout, query)}
    for row in layout.rows:
        lines += _row(layout, row, by_lane)
    lines += _folded(layout)
    return "\n".join([*lines, "</svg>", ""])


def _style() -> str:
    light = "".join(f".g{i} {{ fill: {pair[0]} }}\n" for i, pair in enumerate(COLOURS))
    dark = "".join(f".g{i} {{ fill: {pair[1]} }}\n" for i, pair in enumerate(COLOURS))
    return f"{PLAIN}{light}@media screen and (prefers-color-scheme: dark) {{\n{DARK}{dark}}}\n"


def _head(layout: Layout, query: Query) -> Iterator[str]:
    run = layout.run
    yield _text(16, 22, clip(run.title, int((layout.width - 32) / 9)), "title")
    failed = f", {number(run.errors)} of them failed" if run.errors else ""
    many = "process" if len(run.processes) == 1 else "processes"
    yield _text(
        16,
        39,
        f"{duration(run.span)}, {len(run.processes):,} {many}, {number(run.calls)} calls{failed}",
        "sub",
    )
    x: float = 16
    y = LEGEND_TOP
    for group, (calls, ns) in sorted(totals(query).items()):
        label = f"{NAMES[group]} {number(calls)} · {duration(ns)}"
        yield (
            f"<g><title>{NAMES[group]}: {number(calls)} calls, {duration(ns)} in them</title>"
            f'<rect class="g{group}" x="{x:.1f}" y="{y}" width="10" height="10" rx="2"/>'
            f"{_text(x + 14, y + 9, label)}</g>"
        )
        x += 14 + len(label) * CHAR + 16
        if x > layout.width - 190:
            x, y = 16, y + 15
    yield f'<path class="exec" d="M{x + 3:.1f} {y}v10"/>{_text(x + 8, y + 9, "exec")}'
    x += 8 + 4 * CHAR + 14
    yield f'<path class="err" d="M{x + 3:.1f} {y + 1}v8"/>{_text(x + 8, y + 9, "failed calls")}'


def _axis(layout: Layout) -> Iterator[str]:
    bottom = layout.rows_bottom
    top = RATE_TOP
    path = "".join(f"M{layout.x(at):.1f} {top}V{bottom:.1f}" for at, _ in layout.ticks)
    yield f'<path class="grid" d="{path}"/>'
    heights = [ROWS_TOP - 14] + ([bottom + 14] if bottom > 420 else [])
    for y in heights:
        for at, text in layout.ticks:
            x = layout.x(at)
            end = x + len(text) * CHAR / 2 > layout.width
            anchor = "end" if end else "middle"
            yield f'<text class="dim" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _rates(layout: Layout, query: Query) -> Iterator[str]:
    """Calls a second over the run, one group on the other."""
    width, counts = rates(layout, query)
    sums = [sum(column) for column in zip(*counts, strict=True)]
    most = max(max(sums, default=0), 1)
    base = RATE_TOP + RATE
    below = [0] * len(sums)
    yield _text(16, RATE_TOP + 10, "calls a second", "dim")
    yield (
        f'<text class="dim" x="{LEFT - 6}" y="{RATE_TOP + 8}" text-anchor="end">'
        f"{rate(most * 1e9 / width)}</text>"
    )
    for group, column in enumerate(counts):
        if not any(column):
            continue
        path = "".join(
            f"M{layout.x(at * width):.1f} {base - RATE * below[at] / most:.1f}"
            f"V{base - RATE * (below[at] + calls) / most:.1f}"
            f"H{layout.x((at + 1) * width):.1f}V{base - RATE * below[at] / most:.1f}z"
            for at, calls in enumerate(column)
            if calls
        )
        below = [low + calls for low, calls in zip(below, column, strict=True)]
        yield f'<path class="g{group}" d="{path}"><title>{NAMES[group]}</title></path>'
    yield f'<path class="axis" d="M{LEFT} {base}H{layout.right}"/>'


def _row(layout: Layout, row: Row, by_lane: dict[int, Strip]) -> Iterator[str]:
    process = row.process
    indent = min(process.depth, 6) * 8
    program = process.program.rpartition("/")[2] or "?"
    pid = str(process.pid)
    many = len(row.lanes) > 1
    room = int((LEFT - 16 - indent - (len(pid) + 1) * CHAR - 8) / CHAR)
    y = row.top + (-3 if many and process.execs else LANE - 0.5)
    yield (
        f'<g class="process"><title>{_safe(words(process))}</title>'
        f'<text x="{16 + indent}" y="{y:.1f}">{_safe(clip(program, room))} '
        f'<tspan class="dim">{pid}</tspan></text></g>'
    )
    height = row.bottom - row.top
    last = 0.0
    for number_, (begin, end) in enumerate(process.lives):
        x, right = _edges(layout, begin, layout.run.span if end is None else end)
        yield (
            f'<rect class="life" x="{x:.1f}" y="{row.top:.1f}" width="{right - x:.1f}" '
            f'height="{height:.1f}"><title>{_safe(words(process))}</title></rect>'
        )
        last = right
        if process.ends[number_]:
            yield _end(layout, process.ends[number_], last, row)
    for lane in row.lanes:
        if lane.name:
            yield (
                f'<text class="small" x="{LEFT - 6}" y="{lane.y + LANE - 1:.1f}" '
                f'text-anchor="end">{lane.name}</text>'
            )
        if id(lane) in by_lane:
            yield from _strip(layout, by_lane[id(lane)])
    for label in row.labels:
        yield (
            f'<g class="label"><title>{_safe(label.whole[:300])}</title>'
            f'<path class="exec" d="M{label.mark:.1f} {row.y + 2:.1f}V{row.bottom:.1f}"/>'
            f"{_text(label.x, row.y + 9, label.text) if label.text else ''}</g>"
        )


def _end(layout: Layout, text: str, x: float, row: Row) -> str:
    """How a process ended, if not well: beside its bar, or in it at the edge of the picture."""
    fits = x + 4 + len(text) * CHAR < layout.width
    at, anchor = (x + 4, "start") if fits else (layout.width - 3.0, "end")
    y = row.lanes[0].y + LANE
    return f'<text class="bad" x="{at:.1f}" y="{y:.1f}" text-anchor="{anchor}">{_safe(text)}</text>'


def _strip(layout: Layout, strip: Strip) -> Iterator[str]:
    y = strip.lane.y
    for piece in strip.pieces:
        x, right = _edges(layout, piece.begin, piece.end)
        tall = LANE * PART[piece.level]
        yield (
            f'<rect class="g{piece.group}" x="{x:.1f}" y="{y + LANE - tall:.1f}" '
            f'width="{right - x:.1f}" height="{tall:.1f}"><title>{_safe(piece.words)}</title></rect>'
        )
    for mark in strip.marks:
        yield (
            f'<path class="err" d="M{layout.x(mark.at):.1f} {y - 3:.1f}v3.5">'
            f"<title>{_safe(mark.words)}</title></path>"
        )


def _folded(layout: Layout) -> Iterator[str]:
    if not layout.folded:
        return
    yield _text(16, layout.folded_y + 9, layout.folded_words, "dim")
    for one in layout.folded:
        x, right = _edges(layout, one.begin, one.end)
        kind = "failed" if any(one.process.ends) else "fold"
        name = clip(one.process.program.rpartition("/")[2], int((right - x - 4) / SMALL))
        yield (
            f'<rect class="{kind}" x="{x:.1f}" y="{one.y:.1f}" width="{right - x:.1f}" '
            f'height="{LANE}"><title>{_safe(words(one.process))}</title></rect>'
        )
        if len(name) > 1:
            yield _text(x + 2, one.y + LANE - 1, name, "small")


def _edges(layout: Layout, begin: int, end: int) -> tuple[float, float]:
    """Left and right of something; never so thin that it cannot be seen."""
    x = round(layout.x(begin), 1)
    return x, max(round(layout.x(end), 1), x + 0.6)


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    of_class = f' class="{kind}"' if kind else ""
    return f'<text{of_class} x="{x:.1f}" y="{y:.1f}">{_safe(text)}</text>'


def _safe(text: str) -> str:
    """A text of XML: file names and arguments hold anything, XML not."""
    return escape("".join(c if c.isprintable() or c == " " else "�" for c in text))

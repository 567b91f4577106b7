# SPDX-License-Identifier: Apache-2.0
"""Where things go in a picture of a run: rows of processes, lanes of threads, time to pixels, round ticks, labels.

Knows nothing of SVG. Heights and widths are pixels of the picture, from its upper left corner.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from lsca.plot.model import Process, Run, Thread

LEFT: Final = 214
RIGHT: Final = 24
CHAR: Final = 6.05  # width of a character of a label: monospaced, 10 pixels
LABEL: Final = 13
NO_LABEL: Final = 4
LANE: Final = 8
LANE_GAP: Final = 2
ROW_GAP: Final = 6
MOST_LANES: Final = 8
FOLDED_LANES: Final = 12
LEGEND_TOP: Final = 52
RATE_TOP: Final = 84
RATE: Final = 56
ROWS_TOP: Final = RATE_TOP + RATE + 30


@dataclass(slots=True)
class Label:
    """A text and where it begins; `whole` is what it would be with more room."""

    x: float
    text: str
    whole: str
    mark: float


@dataclass(slots=True)
class Lane:
    """A strip of calls: those of one thread, or of all that found no lane of their own."""

    y: float
    name: str
    threads: list[Thread]


@dataclass(slots=True)
class Row:
    """A process with its lanes, from `top` to `bottom`, and above them a strip for labels if it has any."""

    process: Process
    y: float
    top: float
    lanes: list[Lane]
    labels: list[Label]
    bottom: float


@dataclass(slots=True)
class Folded:
    """The life of a process that has no row of its own."""

    process: Process
    begin: int
    end: int
    y: float


@dataclass(slots=True)
class Layout:
    """All of a picture but its calls."""

    run: Run
    width: int
    height: int = 0
    rows: list[Row] = field(default_factory=list)
    folded: list[Folded] = field(default_factory=list)
    folded_y: float = 0
    folded_words: str = ""
    ticks: list[tuple[int, str]] = field(default_factory=list)
    rows_bottom: float = 0

    @property
    def right(self) -> int:
        return self.width - RIGHT

    def x(self, ns: float) -> float:
        return LEFT + (self.right - LEFT) * min(max(ns / self.run.span, 0), 1)


def arrange(run: Run, rows: int, width: int) -> Layout:
    """Gives the `rows` busiest processes a row each, in the order of the tree, and folds the others."""
    layout = Layout(run, max(width, 640))
    layout.ticks = ticks(run.span, (layout.right - LEFT) // 90)
    busiest = sorted(run.processes, key=lambda p: (-p.calls, p.begin, p.run, p.pid))
    own = {(p.run, p.pid) for p in busiest[: max(rows, 1)]}
    y: float = ROWS_TOP
    for process in run.processes:
        if (process.run, process.pid) in own:
            row = _row(layout, process, y)
            layout.rows.append(row)
            y = row.bottom + ROW_GAP
    rest = [p for p in run.processes if (p.run, p.pid) not in own]
    if rest:
        layout.folded_y = y
        y = _fold(layout, rest, y) + ROW_GAP
    layout.rows_bottom = y
    layout.height = math.ceil(y + 30)
    return layout


def ticks(span: int, most: int) -> list[tuple[int, str]]:
    """Round moments (nanoseconds) and their texts, at most `most` steps over the span."""
    units = (
        ("h", 3600 * 10**9),
        ("min", 60 * 10**9),
        ("s", 10**9),
        ("ms", 10**6),
        ("us", 10**3),
        ("ns", 1),
    )
    steps = [10**power * factor for power in range(10) for factor in (1, 2, 5)]
    steps += [10**9 * n for n in (10, 20, 30)]
    steps += [60 * 10**9 * n for n in (1, 2, 5, 10, 20, 30)]
    steps += [3600 * 10**9 * n for n in (1, 2, 4, 6, 12, 24, 48, 96, 240, 480, 960, 2400)]
    wanted = span / max(most, 1)
    step = next((s for s in steps if s >= wanted), None)
    if step is None:
        step = math.ceil(wanted / steps[-1]) * steps[-1]
    floor = span if span < 600 * 10**9 else step
    unit, size = next(u for u in units if u[1] <= floor and not (span < 600e9 and u[1] > 10**9))
    return [(at, _tick(at, unit, size)) for at in range(0, span + 1, step)]


def _tick(at: int, unit: str, size: int) -> str:
    return f"{at / size:.9f}".rstrip("0").rstrip(".") + f" {unit}"


def _row(layout: Layout, process: Process, y: float) -> Row:
    threads = process.threads
    lanes: list[Lane] = []
    at = top = y + (LABEL if process.execs else NO_LABEL)
    most = threads
    rest: list[Thread] = []
    if len(threads) > MOST_LANES:
        busiest = sorted(threads, key=lambda t: (-t.calls, t.begin))[: MOST_LANES - 1]
        kept = {thread.serial for thread in busiest}
        most = [thread for thread in threads if thread.serial in kept]
        rest = [thread for thread in threads if thread.serial not in kept]
    for thread in most:
        name = "" if len(threads) == 1 else str(thread.tid)
        lanes.append(Lane(at, name, [thread]))
        at += LANE + LANE_GAP
    if rest:
        lanes.append(Lane(at, f"{len(rest)} more", rest))
        at += LANE + LANE_GAP
    if not lanes:
        lanes.append(Lane(at, "", []))
        at += LANE + LANE_GAP
    return Row(process, y, top, lanes, _labels(layout, process), at - LANE_GAP)


def _labels(layout: Layout, process: Process) -> list[Label]:
    """Command lines where their exec happened, none over another; one that finds no room is a mark only."""
    found: list[Label] = []
    free = float(LEFT)
    moments = process.execs
    for number, (moment, text) in enumerate(moments):
        mark = layout.x(moment)
        after = layout.x(moments[number + 1][0]) if number + 1 < len(moments) else layout.right + 16
        wanted = len(text) * CHAR
        x = mark + 3
        if x + wanted > layout.right + 16 and number + 1 == len(moments):
            x = max(free, min(x, layout.right + 16 - wanted))
        x = max(x, free)
        room = int((after - 4 - x) / CHAR)
        shown = clip(text, room)
        if len(shown) < min(4, len(text)):
            shown = ""
        found.append(Label(x, shown, text, mark))
        if shown:
            free = x + len(shown) * CHAR + 5
    return found


def clip(text: str, room: int) -> str:
    """A text cut to `room` characters, the last of them an ellipsis; empty if that says nothing."""
    if len(text) <= room:
        return text
    return text[: room - 1].rstrip() + "…" if room > 1 else ""


def _fold(layout: Layout, processes: Iterable[Process], y: float) -> float:
    """Lives of processes side by side in few lanes; those that find no place are only counted."""
    lives = [
        (begin, layout.run.span if end is None else end, process)
        for process in processes
        for begin, end in process.lives
    ]
    lives.sort(key=lambda life: (life[0], life[1], life[2].run, life[2].pid))
    free: list[float] = []
    without = 0
    top = y + LABEL
    for begin, end, process in lives:
        left = layout.x(begin)
        lane = next((i for i, until in enumerate(free) if until <= left), len(free))
        if lane == FOLDED_LANES:
            without += 1
            continue
        if lane == len(free):
            free.append(0)
        free[lane] = max(layout.x(end), left + 1) + 1
        layout.folded.append(Folded(process, begin, end, top + lane * (LANE + LANE_GAP)))
    layout.folded_words = f"{len(lives)} smaller processes"
    if without:
        layout.folded_words += f", {without} of them not shown"
    return top + len(free) * (LANE + LANE_GAP)

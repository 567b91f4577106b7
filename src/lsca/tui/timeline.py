# SPDX-License-Identifier: Apache-2.0
"""The timeline of `lsca view`: how busy each process (or name, family, error) was in each part of a time window.

A row for all calls, below it the busiest groups; each cell is a part of the window, its character says how many calls
began there, its colour (or `!` without colours) that over a quarter failed.
The window is zoomed; the counting is DuckDB's.
"""

import os
import sys
from typing import Any, ClassVar, Final

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from lsca.log.units import duration, number, rate
from lsca.tui.filter import term
from lsca.tui.grid import printable
from lsca.tui.queries import GROUPINGS

LABEL: Final = 20
BARS: Final = " ▁▂▃▄▅▆▇█"
ASCII_BARS: Final = " .:-=+*%#"
HEAD: Final = 2  # lines above the rows
NARROWEST: Final = 1000  # ns: a window that is no shorter

Cell = tuple[int, int]  # calls, errors


class Timeline(ScrollView, can_focus=True):
    """Rows of bars over a common time window."""

    DEFAULT_CSS = """
    Timeline { overflow-x: hidden; overflow-y: scroll; scrollbar-size-vertical: 1; }
    Timeline > .timeline--title { text-style: bold; color: $text-accent; }
    Timeline > .timeline--cursor { text-style: reverse; }
    Timeline > .timeline--bar { color: $primary; }
    Timeline > .timeline--bad { color: $error; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "timeline--title",
        "timeline--cursor",
        "timeline--bar",
        "timeline--bad",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "across(-1)", show=False),
        Binding("right,l", "across(1)", show=False),
        Binding("up,k", "down(-1)", show=False),
        Binding("down,j", "down(1)", show=False),
        Binding("pageup", "down(-10)", show=False),
        Binding("pagedown", "down(10)", show=False),
        Binding("plus,equals_sign", "zoom(4)", show=False),
        Binding("minus", "zoom(0)", show=False),
        Binding("g", "regroup", show=False),
        Binding("enter", "choose", show=False),
    ]

    class Asked(Message):
        """Another window or grouping is to be counted."""

    class Moved(Message):
        """The cursor is on another cell."""

    class Chosen(Message):
        """Enter on a cell."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.grouping = "process"
        self.low, self.high = 0, 1
        self.whole = (0, 1)
        self.row = 0
        self.column = 0
        self.names: dict[int, str] = {}
        self._keys: list[Any] = [None]
        self._cells: list[dict[int, Cell]] = [{}]
        self._most = 1
        self._bins = 1
        encoding = getattr(sys.__stdout__, "encoding", None) or "utf-8"
        self._bars = BARS if encoding.lower().startswith("utf") else ASCII_BARS
        self._plain = bool(os.environ.get("NO_COLOR"))

    @property
    def bins(self) -> int:
        return max(self.app.size.width - LABEL - 3, 10)  # 3: two of the mark, one scrollbar

    def cover(self, span: int) -> None:
        """The whole log, from 0 to `span` ns."""
        self.whole = (0, max(span, 1))
        self.low, self.high = self.whole

    def show(self, rows: list[tuple[Any, ...]], bins: int) -> None:
        """The answer to queries.timeline for so many bins."""
        self._bins = bins
        self._keys, self._cells = [None], [{}]
        for key, at, calls, errors, _ in rows:
            if key != self._keys[-1]:
                self._keys.append(key)
                self._cells.append({})
            self._cells[-1][at] = (calls, errors)
            before = self._cells[0].get(at, (0, 0))
            self._cells[0][at] = (before[0] + calls, before[1] + errors)
        groups = [calls for cells in self._cells[1:] for calls, _ in cells.values()]
        self._most = max(groups, default=1)
        self.row = min(self.row, len(self._keys) - 1)
        self.column = min(self.column, bins - 1)
        self.virtual_size = Size(self.size.width, len(self._keys) + HEAD)
        self.refresh()
        self.post_message(self.Moved())

    def bounds(self, column: int | None = None) -> tuple[int, int]:
        """Begin and end of a cell in ns since the log begins."""
        at = self.column if column is None else column
        width = max(self.high - self.low, 1) // self._bins + 1
        return self.low + at * width, self.low + (at + 1) * width

    def terms(self) -> list[str]:
        """The filter that leaves the calls of the cell under the cursor."""
        begin, end = self.bounds()
        terms = [term("after", f"{begin}ns"), term("before", f"{end}ns")]
        key = self._keys[self.row]
        if key is not None and self.grouping == "process":
            terms.append(term("pid", key))
        elif key == "(no error)":
            terms.append("!error=*")
        elif key is not None:
            terms.append(term(self.grouping, key))
        return terms

    def words(self) -> str:
        """The cell under the cursor."""
        begin, end = self.bounds()
        calls, errors = self._cells[self.row].get(self.column, (0, 0))
        per_second = rate(calls * 1e9 / max(end - begin, 1))
        failed = f", {number(errors)} failed" if errors else ""
        return (
            f"{_moment(begin, end - begin)} + {duration(end - begin)}  "
            f"{self.label(self.row).strip()}: {number(calls)} calls, {per_second}/s{failed}"
        )

    def label(self, row: int) -> str:
        key = self._keys[row]
        if key is None:
            return "all calls"
        if self.grouping == "process":
            return f"{self.names.get(key, '')[: LABEL - 9]} {key}"
        return str(key)

    def action_across(self, by: int) -> None:
        self.column = min(max(self.column + by, 0), self._bins - 1)
        self._moved()

    def action_down(self, by: int) -> None:
        self.row = min(max(self.row + by, 0), len(self._keys) - 1)
        shown = max(self.size.height - HEAD, 1)
        top = int(self.scroll_offset.y)
        top = min(top, self.row) if self.row < top + shown else self.row - shown + 1
        self.scroll_to(y=top, animate=False, force=True)
        self._moved()

    def action_zoom(self, factor: int) -> None:
        """Into the cell of the cursor, or out again (0)."""
        begin, end = self.bounds()
        middle = (begin + end) // 2
        length = self.high - self.low
        length = max(length // factor, NARROWEST) if factor else length * 4
        length = min(length, self.whole[1])
        self.low = min(max(middle - length // 2, 0), max(self.whole[1] - length, 0))
        self.high = self.low + length
        self.column = min(
            max((middle - self.low) * self._bins // max(length, 1), 0), self._bins - 1
        )
        self.post_message(self.Asked())

    def action_regroup(self) -> None:
        names = list(GROUPINGS)
        self.grouping = names[(names.index(self.grouping) + 1) % len(names)]
        self.row = 0
        self.post_message(self.Asked())

    def action_choose(self) -> None:
        self.post_message(self.Chosen())

    def on_resize(self) -> None:
        if self.display and self.bins != self._bins:
            self.post_message(self.Asked())

    def _moved(self) -> None:
        self.refresh()
        self.post_message(self.Moved())

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        title = self.rich_style + self.get_component_rich_style("timeline--title", partial=True)
        if y == 0:
            head = f"  {'by ' + self.grouping:<{LABEL}}"
            text = f"{_moment(self.low, self.high - self.low)}"
            end = _moment(self.high, self.high - self.low)
            room = max(self._bins - len(text) - len(end), 1)
            return self._strip([Segment(head + text + " " * room + end, title)], width)
        if y == 1:
            ruler = "".join("|" if at % 10 == 0 else "." for at in range(self._bins))
            return self._strip([Segment(" " * (LABEL + 2) + ruler, title)], width)
        row = int(self.scroll_offset.y) + y - HEAD
        if row >= len(self._keys):
            return Strip.blank(width, self.rich_style)
        return self._strip(self._row(row), width)

    def _row(self, row: int) -> list[Segment]:
        plain = self.rich_style
        bar = plain + self.get_component_rich_style("timeline--bar", partial=True)
        bad = plain + self.get_component_rich_style("timeline--bad", partial=True)
        reverse = plain + self.get_component_rich_style("timeline--cursor", partial=True)
        here = row == self.row
        label = printable(self.label(row))[: LABEL - 1]
        segments = [
            Segment(
                f"{'>' if here else ' '} {label:<{LABEL}}",
                plain + self.get_component_rich_style("timeline--title", partial=True)
                if here
                else plain,
            )
        ]
        cells = self._cells[row]
        most = max((calls for calls, _ in cells.values()), default=1) if row == 0 else self._most
        for at in range(self._bins):
            calls, errors = cells.get(at, (0, 0))
            char = self._bars[_level(calls, most)]
            failing = errors * 4 > calls  # some failures are everyday: paths are searched
            if failing and self._plain:
                char = "!"
            style = bad if failing else bar
            if here and at == self.column:
                style = reverse
            segments.append(Segment(char, style))
        return segments

    def _strip(self, segments: list[Segment], width: int) -> Strip:
        return Strip(segments).adjust_cell_length(width, self.rich_style)


def _level(calls: int, most: int) -> int:
    """1 to 8; by the square root, so that one call beside thousands is still seen."""
    return 0 if not calls else max(1, min(8, round(8 * (calls / most) ** 0.5)))


def _moment(ns: int, span: int) -> str:
    """A moment with as many digits as the span around it is worth."""
    digits = 3 if span >= 10**9 else 6 if span >= 10**6 else 9
    return f"{ns / 1e9:.{digits}f} s"

# SPDX-License-Identifier: Apache-2.0
"""The table of `strace -c`: how often each call was made, how often it failed, and what time went into it.

Times are those that passed (strace's -w): a log does not know how much of it the CPU was busy.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from lsca.errors import UsageError
from lsca.log.record import Record
from lsca.log.rings import WAITS
from lsca.log.text import call_name

SECOND: Final = 1e9


@dataclass(slots=True)
class Row:
    """One call's figures; times in nanoseconds. `nr` is the first number seen, for a stable order."""

    name: str
    nr: int
    calls: int = 0
    errors: int = 0
    total: int = 0
    shortest: int = 0
    longest: int = 0

    @property
    def average(self) -> float:
        return self.total / self.calls if self.calls else 0.0


# name: (heading, width, cell(row, total of all rows))
COLUMNS: Final[dict[str, tuple[str, int, Callable[[Row, int], str]]]] = {
    "time-percent": ("% time", 6, lambda row, all_: f"{100 * row.total / all_ if all_ else 0:.2f}"),
    "total-time": ("seconds", 11, lambda row, all_: f"{row.total / SECOND:.6f}"),
    "min-time": ("shortest", 8, lambda row, all_: f"{row.shortest / SECOND:.6f}"),
    "max-time": ("longest", 8, lambda row, all_: f"{row.longest / SECOND:.6f}"),
    "avg-time": ("usecs/call", 11, lambda row, all_: str(int(row.average / 1000))),
    "calls": ("calls", 9, lambda row, all_: str(row.calls)),
    "errors": ("errors", 9, lambda row, all_: str(row.errors) if row.errors else ""),
    "name": ("syscall", 16, lambda row, all_: row.name),
}
ALIASES: Final = {
    "time": "total-time",
    "time_percent": "time-percent",
    "time_total": "total-time",
    "total_time": "total-time",
    "min": "min-time",
    "shortest": "min-time",
    "max": "max-time",
    "longest": "max-time",
    "avg": "avg-time",
    "average": "avg-time",
    "count": "calls",
    "error": "errors",
    "syscall": "name",
    "syscall-name": "name",
}
DEFAULT: Final = ("time-percent", "total-time", "avg-time", "calls", "errors", "name")
KEYS: Final[dict[str, Callable[[Row], Any]]] = {
    "total-time": lambda row: (-row.total, row.nr),
    "time-percent": lambda row: (-row.total, row.nr),
    "min-time": lambda row: (-row.shortest, row.nr),
    "max-time": lambda row: (-row.longest, row.nr),
    "avg-time": lambda row: (-row.average, row.nr),
    "calls": lambda row: (-row.calls, row.nr),
    "errors": lambda row: (-row.errors, row.nr),
    "name": lambda row: row.name,
}


class Summary:
    """Counts records; `rows` and `table` give what was counted."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._ends: dict[tuple[int, int, int], tuple[int, ...]] = {}
        self._waits = [0] * len(WAITS)

    def add(self, record: Record) -> None:
        """Counts a call, and what is told of connections through memory. Ends of processes and the like are none."""
        if record.kind == "stream_end":
            self._ends[record.run, record.pid, record.args[0]] = record.args[2:4]
        elif record.kind == "waits":
            self._waits = [sum(two) for two in zip(self._waits, record.args, strict=False)]
        if record.kind != "call":
            return
        name = call_name(record)
        row = self._rows.get(name)
        if row is None:
            row = self._rows[name] = Row(name, record.nr)
        took = max(0, record.end_ns - record.start_ns) if record.returns else 0
        row.shortest = min(row.shortest, took) if row.calls else took
        row.longest = max(row.longest, took)
        row.calls += 1
        row.total += took
        if record.returns and -4096 < record.ret < 0:
            row.errors += 1

    def rows(self, sort: str = "time") -> list[Row]:
        """In the order of `-S`. UsageError."""
        if sort in ("nothing", "none"):
            return list(self._rows.values())
        return sorted(self._rows.values(), key=KEYS[_column(sort, "-S")])

    def table(self, sort: str = "time", columns: Iterable[str] = DEFAULT) -> list[str]:
        """The lines of the table, its sums last."""
        rows = self.rows(sort)
        total = _sum(rows)
        chosen = [COLUMNS[_column(name, "-U")] for name in columns]
        rule = " ".join("-" * width for _, width, _ in chosen)
        last = chosen[-1]

        def line(cells: Iterable[str]) -> str:
            parts = [
                f"{text:<{width}}" if heading == "syscall" else f"{text:>{width}}"
                for (heading, width, _), text in zip(chosen, cells, strict=True)
            ]
            return " ".join(parts).rstrip() if last[0] == "syscall" else " ".join(parts)

        lines = [line(heading for heading, _, _ in chosen), rule]
        lines += [line(cell(row, total.total) for _, _, cell in chosen) for row in rows]
        lines += [rule, line(cell(total, total.total) for _, _, cell in chosen)]
        return lines

    def remarks(self) -> list[str]:
        """Lines below the table: what went through memory, and how the programs have waited; none if nothing."""
        lines = []
        if self._ends:
            sent, received = map(sum, zip(*self._ends.values(), strict=True))
            lines.append(
                f"{len(self._ends)} ends of connections: {sent} bytes sent and {received} received by memory"
            )
        if any(self._waits):
            words = (f"{n} {how}" for n, how in zip(self._waits, WAITS, strict=True) if n)
            lines.append("waits: " + ", ".join(words))
        return lines

    def facts(self, sort: str = "time") -> list[dict[str, Any]]:
        """The same for --json; times in nanoseconds."""
        total = _sum(self._rows.values()).total
        return [
            {
                "name": row.name,
                "calls": row.calls,
                "errors": row.errors,
                "time_ns": row.total,
                "min_ns": row.shortest,
                "max_ns": row.longest,
                "time_percent": round(100 * row.total / total, 2) if total else 0.0,
            }
            for row in self.rows(sort)
        ]


def _sum(rows: Iterable[Row]) -> Row:
    known = list(rows)
    return Row(
        "total",
        0,
        sum(row.calls for row in known),
        sum(row.errors for row in known),
        sum(row.total for row in known),
        min((row.shortest for row in known), default=0),
        max((row.longest for row in known), default=0),
    )


def _column(name: str, option: str) -> str:
    found = ALIASES.get(name, name)
    if found not in COLUMNS:
        raise UsageError(
            f"{option} {name}: there is no such column; there are {', '.join(COLUMNS)}"
        )
    return found


def columns(text: str) -> tuple[str, ...]:
    """What -U takes. UsageError."""
    return tuple(_column(name, "-U") for name in text.split(",") if name) or DEFAULT


def check_sort(name: str) -> str:
    """What -S takes. UsageError."""
    if name not in ("nothing", "none"):
        _column(name, "-S")
    return name

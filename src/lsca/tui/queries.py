# SPDX-License-Identifier: Apache-2.0
"""The tables that `lsca view` shows, as data: their SQL, columns, order, and where Enter leads.

A view is a query on the calls that the filter lets through; nothing else in lsca.tui knows SQL of calls. Each answer is
ordered and cut to a page by DuckDB.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from lsca.log.units import duration, number, rate, size
from lsca.tui.filter import PEER, term
from lsca.tui.source import Overview

MANY: Final = 1_000_000  # calls, from which on what a call is about comes late
PAGE: Final = 200  # rows that are asked for at once
SENT: Final = "regexp_matches(name, '^(p?write|send)')"
RECEIVED: Final = "regexp_matches(name, '^(p?read|recv)')"


def words(value: Any) -> str:
    return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Column:
    """A column: `name` in SQL, `title` on the screen. The higher `rank`, the sooner a narrow screen drops it."""

    title: str
    name: str
    width: int
    write: Callable[[Any], str] = words
    right: bool = True
    rank: int = 0
    flexible: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """A table. `body` is its query, with {where} and what `facts` gives filled in; `link` the filter of one row.

    `late` is what is asked for afterwards in a log of many calls, as column "about": what a call is about takes longer
    to find out than all else of it. `keys` are columns that are not shown, after those that are. `ties` put rows in
    order that the sort leaves equal.
    """

    name: str
    body: str
    columns: tuple[Column, ...]
    sort: str
    ties: str
    keys: tuple[str, ...] = ()
    descending: bool = True
    counted: bool = True
    late: str = ""
    link: Callable[[dict[str, Any]], list[str]] | None = None

    def inner(self, where: str, overview: Overview) -> str:
        """The query without order and page."""
        condition = f"\n  WHERE {where}" if where else ""
        return self.body.format(
            where=condition,
            begin=overview.begin_ns,
            seconds=f"{overview.seconds:.9f}",
            also=f"{where} AND " if where else "",
        )

    def sql(
        self, where: str, overview: Overview, sort: str, descending: bool, limit: int, offset: int
    ) -> str:
        """The query of one page. The last column is how many rows there are in all, unless that takes too long."""
        order = f"{sort} {'DESC' if descending else 'ASC'} NULLS LAST, {self.ties}"
        page = f"LIMIT {limit}" + (f" OFFSET {offset}" if offset else "")
        if not self.counted:
            return f"{self.inner(where, overview)}\nORDER BY {order}\n{page}"
        inner = self.inner(where, overview).replace("\n", "\n  ")
        return (
            f"SELECT *, count(*) OVER () AS total\nFROM (\n  {inner}\n)\nORDER BY {order}\n{page}"
        )

    def narrow(
        self, where: str, overview: Overview, sort: str, descending: bool, limit: int, offset: int
    ) -> str:
        """The same without what comes late."""
        whole = self.sql(where, overview, sort, descending, limit, offset)
        return whole.replace(f"{self.late} AS about", "NULL::VARCHAR AS about", 1)

    def rest(self, rows: list[tuple[Any, ...]]) -> str:
        """The question for what comes late, of the rows of `narrow`: run, thread, seq, about."""
        keys = [self.fields(row) for row in rows]
        calls = ", ".join(f"({key['run']}, {key['thread']}, {key['seq']})" for key in keys)
        return (
            f"SELECT run, thread, seq, {self.late} FROM calls WHERE (run, thread, seq) IN ({calls})"
        )

    def completed(
        self, rows: list[tuple[Any, ...]], found: list[tuple[Any, ...]]
    ) -> list[tuple[Any, ...]]:
        """The rows of `narrow` with the answer to `rest`."""
        about = {row[:3]: row[3] for row in found}
        at = [column.name for column in self.columns].index("about")
        complete = []
        for row in rows:
            key = self.fields(row)
            late = about.get((key["run"], key["thread"], key["seq"]))
            complete.append((*row[:at], late, *row[at + 1 :]))
        return complete

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    def fields(self, row: tuple[Any, ...]) -> dict[str, Any]:
        """A row by the names of its columns."""
        return dict(zip([c.name for c in self.columns] + list(self.keys), row, strict=False))


CALLS: Final = (
    Column("calls", "calls", 9, number),
    Column("failed", "errors", 8, number),
    Column("time", "time_ns", 8, duration),
)

NAMES: Final = View(
    "names",
    "SELECT name, family, count(*) AS calls, count(error) AS errors, sum(duration_ns) AS time_ns,\n"
    "  avg(duration_ns) AS mean_ns, max(duration_ns) AS longest_ns, count(*) / {seconds} AS rate\n"
    "FROM calls{where}\nGROUP BY name, family",
    (
        Column("name", "name", 16, right=False, flexible=True),
        Column("family", "family", 12, right=False, rank=2),
        *CALLS,
        Column("mean", "mean_ns", 8, duration, rank=1),
        Column("longest", "longest_ns", 8, duration, rank=1),
        Column("per s", "rate", 8, rate),
    ),
    "time_ns",
    "name",
    link=lambda row: [term("name", row["name"])],
)

PROCESSES: Final = View(
    "processes",
    "SELECT c.pid, parent, \n"
    "  coalesce(regexp_replace(coalesce(argv, program), '^[^ ]*/', ''), '(forked)') AS command,\n"
    "  epoch_ns(started) - {begin} AS begin_ns,\n"
    "  epoch_ns(ended) - epoch_ns(started) AS lived_ns, c.calls, c.errors, c.time_ns,\n"
    "  CASE WHEN signal > 0 THEN 'signal ' || signal ELSE exit_code::VARCHAR END AS status, c.run\n"
    "FROM (SELECT run, pid, count(*) AS calls, count(error) AS errors, sum(duration_ns) AS time_ns\n"
    "  FROM calls{where} GROUP BY run, pid) c\n"
    "LEFT JOIN (SELECT run, pid, min(parent) AS parent, min(started) AS started, max(ended) AS ended,\n"
    "  arg_max(program, started) AS program, arg_max(argv, started) AS argv, max(signal) AS signal,\n"
    "  max(exit_code) AS exit_code FROM processes GROUP BY run, pid) p USING (run, pid)",
    (
        Column("pid", "pid", 7),
        Column("parent", "parent", 7, rank=2),
        Column("command", "command", 14, right=False, flexible=True),
        Column("begin", "begin_ns", 8, duration, rank=1),
        Column("lived", "lived_ns", 8, duration),
        *CALLS,
        Column("exit", "status", 9, rank=1),
    ),
    "begin_ns",
    "run, pid",
    keys=("run",),
    descending=False,
    link=lambda row: [term("pid", row["pid"])],
)

FILES: Final = View(
    "files",
    "SELECT path, count(*) AS calls, count(error) AS errors, sum(duration_ns) AS time_ns,\n"
    f"  sum(bytes) FILTER ({RECEIVED}) AS received, sum(bytes) FILTER ({SENT}) AS sent,\n"
    "  count(DISTINCT pid) AS processes, min(error) AS error\n"
    "FROM calls\n  WHERE {also}starts_with(path, '/')\nGROUP BY path",
    (
        Column("path", "path", 24, right=False, flexible=True),
        *CALLS,
        Column("read", "received", 7, size),
        Column("written", "sent", 7, size),
        Column("by", "processes", 5, number, rank=1),
        Column("error", "error", 8, right=False, rank=2),
    ),
    "calls",
    "path",
    link=lambda row: [term("path", row["path"])],
)

PEERS: Final = View(
    "peers",
    f"SELECT {PEER} AS peer, count(*) AS calls, count(error) AS errors, sum(duration_ns) AS time_ns,\n"
    f"  sum(bytes) FILTER ({RECEIVED}) AS received, sum(bytes) FILTER ({SENT}) AS sent,\n"
    "  count(DISTINCT pid) AS processes, min(error) AS error\n"
    f"FROM calls\n  WHERE {{also}}{PEER} IS NOT NULL\nGROUP BY peer",
    (
        Column("peer", "peer", 24, right=False, flexible=True),
        *CALLS,
        Column("read", "received", 7, size),
        Column("written", "sent", 7, size),
        Column("by", "processes", 5, number, rank=1),
        Column("error", "error", 12, right=False, rank=2),
    ),
    "calls",
    "peer",
    link=lambda row: [term("peer", row["peer"])],
)

ERRORS: Final = View(
    "errors",
    "SELECT error, name, count(*) AS calls, count(DISTINCT path) AS paths, count(DISTINCT pid) AS processes,\n"
    "  sum(duration_ns) AS time_ns, arg_min(coalesce(path, address, file, ''), start) AS first\n"
    "FROM calls\n  WHERE {also}error IS NOT NULL\nGROUP BY error, name",
    (
        Column("error", "error", 12, right=False),
        Column("name", "name", 12, right=False),
        Column("calls", "calls", 8, number),
        Column("paths", "paths", 7, number, rank=1),
        Column("by", "processes", 5, number, rank=1),
        Column("time", "time_ns", 8, duration, rank=2),
        Column("first at", "first", 16, right=False, flexible=True),
    ),
    "calls",
    "error, name",
    link=lambda row: [term("error", row["error"]), term("name", row["name"])],
)

_ABOUT: Final = "coalesce(argv, path, address, file)"
_CALL: Final = (
    "SELECT epoch_ns(start) - {begin} AS begin_ns, pid, name, coalesce(error,\n"
    "    CASE WHEN ret > 4294967296 THEN '0x' || lower(to_hex(ret)) ELSE ret::VARCHAR END, '?') AS result,\n"
    f"  duration_ns, bytes, route, {_ABOUT} AS about, run, thread, seq, error\n"
    "FROM calls{where}"
)
_CALL_COLUMNS: Final = (
    Column("begin", "begin_ns", 10, lambda ns: f"{ns / 1e9:.6f}" if ns is not None else ""),
    Column("pid", "pid", 7),
    Column("name", "name", 14, right=False),
    Column("result", "result", 10),
    Column("took", "duration_ns", 8, duration),
    Column("bytes", "bytes", 7, size, rank=1),
    Column("route", "route", 7, right=False, rank=2),
    Column("about", "about", 16, right=False, flexible=True),
)
_CALL_KEYS: Final = ("run", "thread", "seq", "error")

ALL: Final = View(
    "calls",
    _CALL,
    _CALL_COLUMNS,
    "begin_ns",
    "thread, seq",
    _CALL_KEYS,
    descending=False,
    counted=False,
    late=_ABOUT,
)
SLOWEST: Final = View(
    "slowest",
    _CALL,
    _CALL_COLUMNS,
    "duration_ns",
    "start, thread, seq",
    _CALL_KEYS,
    counted=False,
    late=_ABOUT,
)

VIEWS: Final = (NAMES, PROCESSES, FILES, PEERS, ERRORS, ALL, SLOWEST)
BY_NAME: Final = {view.name: view for view in VIEWS}


def histogram(where: str, overview: Overview, bins: int) -> str:
    """How many calls begin in each of `bins` equal parts of the log."""
    width = bin_width(overview, bins)
    condition = f" WHERE {where}" if where else ""
    return (
        f"SELECT (epoch_ns(start) - {overview.begin_ns}) // {width} AS bin, count(*) "
        f"FROM calls{condition} GROUP BY 1 ORDER BY 1"
    )


def bin_width(overview: Overview, bins: int) -> int:
    return max(overview.end_ns - overview.begin_ns, 1) // bins + 1


GROUPINGS: Final = {
    "process": "pid",
    "name": "name",
    "family": "family",
    "error": "coalesce(error, '(no error)')",
}


def timeline(
    where: str, overview: Overview, grouping: str, low: int, high: int, bins: int, most: int = 200
) -> str:
    """Calls and errors of the `most` busiest groups in each of `bins` parts of a time window (ns since the begin)."""
    width = max(high - low, 1) // bins + 1
    begin = overview.begin_ns + low
    condition = f"{where} AND " if where else ""
    return (
        f"WITH cells AS (\n  SELECT {GROUPINGS[grouping]} AS key, "
        f"(epoch_ns(start) - {begin}) // {width} AS bin,\n"
        "    count(*) AS calls, count(error) AS errors\n  FROM calls\n"
        f"  WHERE {condition}start >= make_timestamp_ns({begin})\n"
        f"    AND start < make_timestamp_ns({begin + width * bins})\n  GROUP BY 1, 2\n"
        "), busiest AS (\n  SELECT key, sum(calls) AS all_calls FROM cells GROUP BY key\n"
        f"  ORDER BY all_calls DESC, key LIMIT {most}\n)\n"
        "SELECT key, bin, calls, errors, all_calls FROM cells JOIN busiest USING (key)\n"
        "ORDER BY all_calls DESC, key, bin"
    )

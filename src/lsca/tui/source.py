# SPDX-License-Identifier: Apache-2.0
"""The log behind the screens: the one place that opens it, asks it with SQL, and gets a single call in full.

Everything here may take long and is called in worker threads only. One question is answered at a time; a question that
nobody waits for any more is interrupted by the next.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lsca.errors import LogError
from lsca.log.text import call_text

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

    from lsca.log import Log, Record

Rows = list[tuple[Any, ...]]


class Interrupted(Exception):
    """The question was given up, because another one has taken its place."""


@dataclass(frozen=True, slots=True)
class Overview:
    """The size of a log; times in nanoseconds since 1970."""

    begin_ns: int
    end_ns: int
    calls: int
    errors: int
    processes: int
    runs: int

    @property
    def seconds(self) -> float:
        return max(self.end_ns - self.begin_ns, 1) / 1e9


@dataclass(frozen=True, slots=True)
class Call:
    """One call in full: its columns by name, and how the table writes it."""

    columns: dict[str, Any]
    text: str
    result: str


class Source:
    """Questions to one log (or several at once)."""

    def __init__(self, log: "Log", title: str) -> None:
        self.title = title
        self._log = log
        self._lock = threading.Lock()
        self.overview = Overview(0, 1, 0, 0, 0, 0)

    def rows(self, query: str) -> Rows:
        """All rows of an answer; keep it small by LIMIT. LogError with the words of DuckDB, Interrupted."""
        with self._lock:
            try:
                return self._ask(query).fetchall()
            except Exception as error:
                if type(error).__name__ == "InterruptException":
                    raise Interrupted from error
                if isinstance(error, LogError) or type(error).__module__.startswith(
                    ("duckdb", "_duckdb")
                ):
                    raise LogError(str(error)) from error
                raise

    def _ask(self, query: str) -> "DuckDBPyRelation":
        found = self._log.sql(query)
        assert found is not None, "each question is a SELECT"
        return found

    def interrupt(self) -> None:
        """Ends the question that is being answered, if there is one."""
        if self._lock.locked():
            self._log.interrupt()

    def look(self) -> Overview:
        """Asks for the size of the log, which may have grown since."""
        with self._lock:
            self._log.refresh()
        low, high, calls, errors, runs = self.rows(
            "SELECT min(epoch_ns(start)), max(epoch_ns(start) + coalesce(duration_ns, 0)), "
            "count(*), count(error), count(DISTINCT run) FROM calls"
        )[0]
        processes, started = self.rows("SELECT count(*), min(epoch_ns(started)) FROM processes")[0]
        begin = min((ns for ns in (low, started) if ns is not None), default=0)
        self.overview = Overview(begin, high or begin + 1, calls, errors, processes, runs)
        return self.overview

    def programs(self, most: int = 20_000) -> dict[int, str]:
        """The last part of what each process runs, by its number."""
        asked = self.rows(
            "SELECT pid, regexp_extract(program, '[^/]*$') FROM processes "
            f"WHERE program IS NOT NULL LIMIT {most}"
        )
        return dict(asked)

    def call(self, run: int, thread: int, seq: int) -> Call:
        """One call, written out. LogError if it is not there."""
        with self._lock:
            found = self._ask(
                "SELECT epoch_ns(start) AS start_ns, * FROM calls "
                f"WHERE run = {run} AND thread = {thread} AND seq = {seq}"
            )
            rows = found.fetchall()
            if not rows:
                raise LogError(f"call {seq} of thread {thread} is not in the log")
            columns = dict(zip(found.columns, rows[0], strict=True))
            record = self._record(columns)
        if record is None:
            arguments = ", ".join(f"{columns[f'arg{i}'] or 0:#x}" for i in range(6))
            result = columns["error"] or columns["ret"]
            return Call(
                columns, f"{columns['name']}({arguments})", "?" if result is None else str(result)
            )
        text, result = call_text(record, self._log.header.machine, strings=1 << 16)
        return Call(columns, text, result)

    def _record(self, columns: dict[str, Any]) -> "Record | None":
        """The record with its memory contents, which the table `calls` has not."""
        key = (columns["run"], columns["thread"], columns["seq"])
        found = self._log.records(
            [columns["name"]], pids=[columns["tid"]], events=False, others=True
        )
        return next((one for one in found if (one.run, one.thread, one.seq) == key), None)


def open_source(paths: Sequence[str]) -> Source:
    """The log in `paths`, several read as one. LogError."""
    import lsca

    log = lsca.open_log(paths[0] if len(paths) == 1 else list(paths))
    return Source(log, paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more")

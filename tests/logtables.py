# SPDX-License-Identifier: Apache-2.0
"""Tables `calls`, `processes`, `files`, `streams` in DuckDB, of made-up calls: what views and pictures are tested on.

The columns are those of `lsca.open_log(...).sql`; what stands in them is chosen by each test. A Fake answers as the Log
of a file would.
"""

import csv
import tempfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import duckdb

from lsca.log import Record
from lsca.table import Piece, by_name

ORIGIN = 1_700_000_000_000_000_000
TYPES = {
    "calls": "start TIMESTAMP_NS, duration_ns BIGINT, pid INTEGER, tid INTEGER, name VARCHAR, ret BIGINT, "
    "error VARCHAR, path VARCHAR, path2 VARCHAR, fd INTEGER, file VARCHAR, bytes BIGINT, address VARCHAR, "
    "argv VARCHAR, family VARCHAR, route VARCHAR, trapped BOOLEAN, nr SMALLINT, arg0 UBIGINT, arg1 UBIGINT, "
    "arg2 UBIGINT, arg3 UBIGINT, arg4 UBIGINT, arg5 UBIGINT, thread BIGINT, seq BIGINT, run INTEGER",
    "processes": "run INTEGER, pid INTEGER, parent INTEGER, started TIMESTAMP_NS, ended TIMESTAMP_NS, "
    "duration_ns BIGINT, program VARCHAR, argv VARCHAR, cwd VARCHAR, exit_code INTEGER, signal INTEGER, "
    "calls BIGINT, errors BIGINT, time_ns BIGINT",
}
COLUMNS = {name: [part.split()[0] for part in types.split(", ")] for name, types in TYPES.items()}


@dataclass
class Fake:
    """A log whose tables hold what `call` and `process` have put there."""

    connection: Any = field(default_factory=lambda: duckdb.connect(":memory:"))
    header: Any = field(default_factory=lambda: SimpleNamespace(machine="x86_64"))
    complete: bool = True
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _processes: list[dict[str, Any]] = field(default_factory=list)
    _seq: dict[int, int] = field(default_factory=dict)
    _tables: bool = False

    def call(
        self, at: float, name: str, took: float | None = 0.00001, pid: int = 10, **more: Any
    ) -> None:
        """A call that begins `at` seconds after the log and takes `took` seconds."""
        row = by_name(name)
        tid = more.setdefault("tid", pid)
        seq = self._seq[tid] = self._seq.get(tid, -1) + 1
        self._rows.append(
            {
                "start": ORIGIN + round(at * 1e9),
                "duration_ns": None if took is None else round(took * 1e9),
                "pid": pid,
                "name": name,
                "ret": 0,
                "family": row.family if row else "system",
                "route": "kernel",
                "trapped": False,
                "nr": row.numbers["x86_64"] if row else 0,
                "thread": tid,
                "seq": seq,
                "run": 0,
                **more,
            }
        )

    def process(self, pid: int, parent: int, begin: float, end: float | None, **more: Any) -> None:
        """A process from `begin` to `end`, in seconds after the log begins."""
        self._processes.append(
            {
                "run": 0,
                "pid": pid,
                "parent": parent,
                "started": ORIGIN + round(begin * 1e9),
                "ended": None if end is None else ORIGIN + round(end * 1e9),
                "exit_code": None if end is None else 0,
                **more,
            }
        )

    def sql(self, query: str) -> Any:
        if not self._tables:
            self._fill()
        return self.connection.cursor().sql(query)

    def refresh(self) -> bool:
        return False

    def interrupt(self) -> None:
        pass

    def records(
        self, names: Collection[str], *, pids: Collection[int], **_: bool
    ) -> Iterator[Record]:
        for row in self._rows:
            if row["name"] not in names or row["tid"] not in pids:
                continue
            args = tuple(row.get(f"arg{i}") or 0 for i in range(6))
            path = row.get("path")
            entry = {1: Piece(path.encode(), len(path))} if row["name"] == "openat" and path else {}
            record = Record(
                nr=row["nr"],
                name=row["name"],
                route=row["route"],
                kind="call",
                pid=row["pid"],
                tid=row["tid"],
                flags=1 if row["duration_ns"] is None else 0,
                start_ns=row["start"],
                end_ns=row["start"] + (row["duration_ns"] or 0),
                ret=row["ret"],
                args=args,
                entry=entry,
                exit={},
                thread=row["thread"],
                seq=row["seq"],
                run=row["run"],
            )
            yield record

    def _fill(self) -> None:
        self._tables = True
        fill(self.connection, "calls", self._rows)
        for process in self._processes:
            mine = [row for row in self._rows if row["pid"] == process["pid"]]
            process.setdefault("calls", len(mine))
            process.setdefault("errors", sum(bool(row.get("error")) for row in mine))
            process.setdefault("time_ns", sum(row["duration_ns"] or 0 for row in mine))
            if process["ended"] is not None:
                process.setdefault("duration_ns", process["ended"] - process["started"])
        fill(self.connection, "processes", self._processes)


def sample() -> Fake:
    """A shell (10) that runs a compiler (11) with two threads, and a client (12) that is killed; 1 s."""
    log = Fake()
    log.process(10, 1, 0, 1.0, program="/bin/sh", argv="sh build.sh")
    log.process(11, 10, 0.1, 0.5, program="/usr/bin/cc", argv="/usr/bin/cc -c 'a b.c'", exit_code=1)
    log.process(12, 10, 0.6, 0.9, program="/usr/bin/curl", argv="curl x", exit_code=None, signal=9)
    log.call(0.0, "execve", None, argv="sh build.sh", path="/bin/sh")
    for i in range(20):
        log.call(0.01 + i / 1000, "openat", path=f"/src/{i}.h", ret=-2, error="ENOENT")
    log.call(0.05, "openat", 0.00002, path="/src/a.h", fd=3, file="/src/a.h", ret=3, arg1=0x1234)
    log.call(0.06, "read", 0.0005, path="/src/a.h", fd=3, file="/src/a.h", ret=4096, bytes=4096)
    log.call(0.1, "wait4", 0.4, ret=11)
    log.call(0.11, "execve", None, 11, argv="/usr/bin/cc -c 'a b.c'", path="/usr/bin/cc")
    for i in range(300):
        thread = 11 + 100 * (i % 2)
        log.call(
            0.12 + i / 1000,
            "write",
            0.0002,
            11,
            tid=thread,
            ret=10,
            bytes=10,
            path="/out.o",
            fd=4,
            file="/out.o",
        )
    log.call(0.45, "close", 0.00001, 11, fd=4, file="/out.o", path="/out.o")
    log.call(0.5, "wait4", 0.45, ret=12)
    log.call(0.61, "execve", None, 12, argv="curl x", path="/usr/bin/curl")
    log.call(0.62, "connect", 0.002, 12, fd=5, file="socket:[7]", address="127.0.0.1:80")
    peer = "TCP:127.0.0.1:4000->127.0.0.1:80"
    log.call(0.63, "sendto", 0.0001, 12, fd=5, file=peer, ret=100, bytes=100)
    log.call(0.64, "recvfrom", 0.2, 12, fd=5, file=peer, ret=-104, error="ECONNRESET")
    log.call(0.96, "exit_group", None)
    return log


def fill(connection: Any, table: str, rows: Iterable[dict[str, Any]]) -> None:
    """Makes a table of rows by column; times are nanoseconds since 1970."""
    columns = COLUMNS[table]
    times = {"start", "started", "ended"} & set(columns)
    connection.execute(f"CREATE TABLE {table} ({TYPES[table]})")
    rows = list(rows)
    if not rows:
        return
    with tempfile.NamedTemporaryFile("w", suffix=".csv", newline="") as out:
        writer = csv.writer(out)
        for row in rows:
            writer.writerow(["" if row.get(c) is None else row[c] for c in columns])
        out.flush()
        kinds = ", ".join(
            f"'{part.split()[0]}': '{'BIGINT' if part.split()[0] in times else part.split()[1]}'"
            for part in TYPES[table].split(", ")
        )
        chosen = ", ".join(f"make_timestamp_ns({c})" if c in times else c for c in columns)
        connection.execute(
            f"INSERT INTO {table} SELECT {chosen} FROM read_csv('{out.name}', "
            f"auto_detect=false, header=false, nullstr='', "
            f"columns={{{kinds}}})"
        )

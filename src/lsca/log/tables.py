# SPDX-License-Identifier: Apache-2.0
"""Tables for DuckDB from records: `calls`, `processes`, `files`, `streams`; docs/sql.md describes them.

Works record by record in Python. DuckDB is imported by whoever opens a log for SQL, and by nobody else.
"""

import json
import shlex
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from lsca.errors import LogError
from lsca.log.descriptors import Descriptors
from lsca.log.files import Files
from lsca.log.objects import address_text, readable
from lsca.log.processes import Process, Processes
from lsca.log.reader import Log, Record
from lsca.log.text import call_name, errno_name
from lsca.log.touched import arguments_of, fds_of, named_of, row_of, succeeded
from lsca.table import Syscall
from lsca.table.addresses import SOCKADDR
from lsca.table.arguments import AT_FDCWD, Kind
from lsca.table.text import FileOf

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

INSTALL: Final = "SQL needs DuckDB, which is not installed; `pip install 'lsca[sql]'` brings it"
TYPES: Final = {
    "calls": "start TIMESTAMP_NS, duration_ns BIGINT, pid INTEGER, tid INTEGER, name VARCHAR, ret BIGINT, "
    "error VARCHAR, path VARCHAR, path2 VARCHAR, fd INTEGER, file VARCHAR, bytes BIGINT, address VARCHAR, "
    "argv VARCHAR, family VARCHAR, route VARCHAR, trapped BOOLEAN, nr SMALLINT, arg0 UBIGINT, "
    "arg1 UBIGINT, arg2 UBIGINT, arg3 UBIGINT, arg4 UBIGINT, arg5 UBIGINT, thread BIGINT, seq BIGINT, run INTEGER",
    "processes": "run INTEGER, pid INTEGER, parent INTEGER, started TIMESTAMP_NS, ended TIMESTAMP_NS, "
    "duration_ns BIGINT, program VARCHAR, argv VARCHAR, cwd VARCHAR, exit_code INTEGER, signal INTEGER, "
    "calls BIGINT, errors BIGINT, time_ns BIGINT",
    "files": "run INTEGER, path VARCHAR, opened BIGINT, read_bytes BIGINT, written_bytes BIGINT, created BIGINT, "
    'deleted BIGINT, renamed BIGINT, missed BIGINT, "by" BIGINT, first TIMESTAMP_NS, last TIMESTAMP_NS',
    "streams": "run INTEGER, pid INTEGER, fd INTEGER, file VARCHAR, local VARCHAR, peer VARCHAR, kind VARCHAR, "
    "opened TIMESTAMP_NS, closed TIMESTAMP_NS, received BIGINT, sent BIGINT, calls BIGINT",
}
STREAMS: Final = {
    "TCP": "tcp",
    "TCPv6": "tcp",
    "UDP": "udp",
    "UDPv6": "udp",
    "UNIX-STREAM": "unix",
    "UNIX-DGRAM": "unix",
    "UNIX-SEQPACKET": "unix",
    "pipe": "pipe",
}
CLOSES: Final = ("close", "close_range")


def connect(logs: Sequence[Log]) -> "DuckDBPyConnection":
    """A database with the tables of these logs. LogError without DuckDB."""
    try:
        import duckdb
    except ImportError as error:
        raise LogError(INSTALL) from error
    connection = duckdb.connect(":memory:")
    for name in TYPES:
        _fill(
            connection, name, (row for run, log in enumerate(logs) for row in _rows(name, log, run))
        )
    return connection


def _rows(table: str, log: Log, run: int) -> Iterator[dict[str, Any]]:
    machine = log.header.machine
    if table == "calls":
        yield from _calls(log, machine, run)
    elif table == "processes":
        yield from (_process(process, run) for process in Processes.of(log, machine).all)
    elif table == "files":
        for file in Files.of(log, machine).chosen():
            yield {
                "run": run,
                "path": file.path,
                "opened": file.opened,
                "read_bytes": file.read_bytes,
                "written_bytes": file.written_bytes,
                "created": file.created,
                "deleted": file.deleted,
                "renamed": file.renamed,
                "missed": file.missed,
                "by": len(file.pids),
                "first": file.first_ns,
                "last": file.last_ns,
            }
    else:
        yield from _streams(_calls(log, machine, run))


def _calls(records: Iterable[Record], machine: str, run: int) -> Iterator[dict[str, Any]]:
    descriptors = Descriptors(machine)
    numbers: dict[int, int] = {}
    for record in records:
        file = descriptors.follow(record)
        if record.kind != "call":
            continue
        seq = numbers[record.tid] = numbers.get(record.tid, -1) + 1
        facts = {
            "start": record.start_ns,
            "duration_ns": max(0, record.end_ns - record.start_ns) if record.returns else None,
            "pid": record.pid,
            "tid": record.tid,
            "name": call_name(record),
            "ret": record.ret if record.returns else None,
            "error": errno_name(record.ret) if record.returns else None,
            "route": record.route,
            "trapped": record.trapped,
            "nr": record.nr,
            "thread": record.tid,
            "seq": seq,
            "run": run,
        }
        facts |= {f"arg{index}": arg for index, arg in enumerate(record.args)}
        row = row_of(record, machine)
        yield facts | (_told(record, row, machine, file) if row else {})


def _told(record: Record, row: type[Syscall], machine: str, file: FileOf) -> dict[str, Any]:
    """What the row knows more of."""
    named = [name.path for name in named_of(record, machine, file)]
    fds = [fd for fd in fds_of(record, machine) if fd != AT_FDCWD]
    facts: dict[str, Any] = {"family": row.family, "fd": fds[0] if fds else None}
    stands_for = (file(fds[0], False) or file(fds[0], True)) if fds else None
    if fds and row.new_fd and fds[0] == record.ret:
        stands_for = file(fds[0], True)
    facts["file"] = stands_for
    facts["path"] = named[0] if named else stands_for
    if row.second and not row.second.startswith("_"):
        piece = record.entry.get(row.order[machine].index(row.second))
        facts["path2"] = piece.data.decode("utf-8", "replace") if piece else None
    elif len(named) > 1:
        facts["path2"] = named[1]
    if row.moves and succeeded(record):
        facts["bytes"] = record.ret
    for index, argument in enumerate(arguments_of(row, machine)):
        piece = record.entry.get(index) or record.exit.get(index)
        if not piece:
            continue
        if argument.layout is SOCKADDR:
            facts["address"] = address_text(piece.data) or None
        elif argument.kind is Kind.STRINGS and row.order[machine][index] == "argv":
            words = piece.data.decode("utf-8", "replace").split("\0")[:-1]
            facts["argv"] = shlex.join(words)
    return facts


def _process(process: Process, run: int) -> dict[str, Any]:
    image = process.images[-1] if process.images else None
    return {
        "run": run,
        "pid": process.pid,
        "parent": process.parent.pid if process.parent else None,
        "started": process.started_ns,
        "ended": process.ended_ns if process.exited else None,
        "duration_ns": process.duration_ns if process.exited else None,
        "program": image.path if image else None,
        "argv": image.command if image else None,
        "cwd": process.cwd,
        "exit_code": process.exit_code,
        "signal": process.signal,
        "calls": process.calls,
        "errors": process.errors,
        "time_ns": process.time_ns,
    }


def _streams(calls: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """One for each descriptor of a process, from its first use as a pipe or socket to its close."""
    open_: dict[tuple[int, int], dict[str, Any]] = {}
    for call in calls:
        file, fd = call.get("file"), call.get("fd")
        kind = STREAMS.get(file.partition(":")[0]) if file else None
        if fd is None or kind is None or file is None:
            continue
        key = (call["pid"], fd)
        stream = open_.get(key)
        if stream is None:
            stream = open_[key] = {
                "run": call["run"],
                "pid": call["pid"],
                "fd": fd,
                "kind": kind,
                "opened": call["start"],
                "received": 0,
                "sent": 0,
                "calls": 0,
            }
        stream["file"] = file
        local, _, peer = file.partition(":[")[2].removesuffix("]").partition("->")
        if kind != "pipe":
            stream["local"], stream["peer"] = local or None, peer or None
        stream["calls"] += 1
        moved = call.get("bytes")
        if moved:
            received = call["name"].startswith(("read", "recv", "pread", "splice", "tee"))
            stream["received" if received else "sent"] += moved
        if call["name"] in CLOSES and call["ret"] == 0:
            stream["closed"] = call["start"]
            yield open_.pop(key)
    yield from open_.values()


def _plain(value: Any) -> Any:
    return readable(value) if isinstance(value, str) else value


def _fill(connection: "DuckDBPyConnection", table: str, rows: Iterable[dict[str, Any]]) -> None:
    """Makes a table of rows by column; times are nanoseconds since 1970."""
    kinds = dict(part.replace('"', "").split() for part in TYPES[table].split(", "))
    connection.execute(f"CREATE TABLE {table} ({TYPES[table]})")
    with tempfile.NamedTemporaryFile("w", suffix=".json", errors="replace") as out:
        empty = True
        for row in rows:
            out.write(json.dumps({key: _plain(value) for key, value in row.items()}) + "\n")
            empty = False
        out.flush()
        if empty:
            return
        plain = {name: "BIGINT" if kind == "TIMESTAMP_NS" else kind for name, kind in kinds.items()}
        columns = ", ".join(f"'{name}': '{kind}'" for name, kind in plain.items())
        chosen = ", ".join(
            f'make_timestamp_ns("{name}")' if kind == "TIMESTAMP_NS" else f'"{name}"'
            for name, kind in kinds.items()
        )
        connection.execute(
            f"INSERT INTO {table} SELECT {chosen} FROM read_json('{out.name}', format='newline_delimited', "
            f"columns={{{columns}}})"
        )

# SPDX-License-Identifier: Apache-2.0
"""The tables beside `calls` that `Log.sql` offers. Which calls read, write or open is said by the table of calls.

`files` and `streams` are questions about `calls`. `processes` needs what is no call, too: beginnings and ends of
processes, of which there are few; they are looked at here. So do `rings` and `waits`, which rings.py reads.
"""

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lsca.log.record import Record
from lsca.table import rows
from lsca.table.effects import Does, Moves
from lsca.table.files import OPEN_FLAGS
from lsca.table.text import Piece

if TYPE_CHECKING:
    from lsca.log.reader import Log

EXECS: Final = ("execve", "execveat")
LAST: Final = ("exit_group", "exit")
WAITS: Final = ("wait4",)
AT_FDCWD: Final = -100


def _words(names: Iterable[str]) -> str:
    return "(" + ", ".join(f"'{name}'" for name in sorted(names)) + ")"


def _moving(moves: Moves) -> str:
    return _words(row.name for row in rows() if row.moves is moves)


def _doing(*does: Does) -> str:
    return _words(row.name for row in rows() if row.effect and row.effect.does in does)


def files_view() -> str:
    """One line for each path of a run. A file counts as created if a call that may do that succeeded."""
    create = OPEN_FLAGS["O_CREAT"]
    made = _words(("creat", "mkdir", "mkdirat", "mknod", "mknodat", "symlink", "symlinkat"))
    linked = _words(("link", "linkat"))
    gone = _words(("unlink", "unlinkat", "rmdir"))
    renamed = _words(("rename", "renameat", "renameat2"))
    reads, writes = _moving(Moves.IN), _moving(Moves.OUT)
    opens = _doing(Does.OPENS)
    return f"""
    WITH touched AS (
        SELECT run, pid, start, path, error,
            name IN {opens} AND ret >= 0 AS opened,
            CASE WHEN name IN {reads} THEN bytes END AS read_bytes,
            CASE WHEN name IN {writes} THEN bytes END AS written_bytes,
            ret >= 0 AND (name IN {made}
                OR (name = 'open' AND arg1 & {create} != 0)
                OR (name = 'openat' AND arg2 & {create} != 0)) AS created,
            ret >= 0 AND name IN {gone} AS deleted,
            ret >= 0 AND name IN {renamed} AS renamed
        FROM calls WHERE path IS NOT NULL
        UNION ALL
        SELECT run, pid, start, path2, error, false,
            CASE WHEN name IN {writes} THEN bytes END,
            CASE WHEN name IN {reads} THEN bytes END,
            ret >= 0 AND (name IN {linked} OR name IN {renamed}), false, false
        FROM calls WHERE path2 IS NOT NULL AND name NOT IN ('symlink', 'symlinkat', 'mount')
    )
    SELECT run, path,
        count(*) FILTER (opened) AS opened,
        coalesce(sum(read_bytes), 0)::BIGINT AS read_bytes,
        coalesce(sum(written_bytes), 0)::BIGINT AS written_bytes,
        count(*) FILTER (created) AS created,
        count(*) FILTER (deleted) AS deleted,
        count(*) FILTER (renamed) AS renamed,
        count(*) FILTER (error = 'ENOENT') AS missed,
        count(DISTINCT pid) AS "by",
        min(start) AS "first",
        max(start) AS "last"
    FROM touched
    WHERE NOT regexp_matches(path, '^(pipe|socket|anon_inode|TCP|UDP|UNIX|NETLINK):')
    GROUP BY run, path
    """


def streams_view() -> str:
    """One line for each time that a process had a pipe or socket open under a number."""
    reads, writes, closes = _moving(Moves.IN), _moving(Moves.OUT), _doing(Does.CLOSES)
    return f"""
    WITH used AS (
        SELECT run, pid, fd, file, start, name, bytes,
            count(*) FILTER (name IN {closes}) OVER (
                PARTITION BY run, pid, fd ORDER BY start, seq
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS turn
        FROM calls
        WHERE fd IS NOT NULL AND regexp_matches(file, '^(pipe|socket|TCP|UDP|UNIX|NETLINK):')
    ),
    streams AS (
        SELECT run, pid, fd, arg_max(file, start) FILTER (name NOT IN {closes}) AS file,
            min(start) AS opened,
            max(start) FILTER (name IN {closes}) AS closed,
            coalesce(sum(bytes) FILTER (name IN {reads}), 0)::BIGINT AS received,
            coalesce(sum(bytes) FILTER (name IN {writes}), 0)::BIGINT AS sent,
            count(*) AS calls
        FROM used GROUP BY run, pid, fd, turn
    )
    SELECT run, pid, fd, file,
        CASE WHEN contains(file, '[') AND NOT contains(file, ']:') THEN NULL
            ELSE nullif(split_part(substr(file, instr(file, ':') + 1), '->', 1), '') END AS local,
        CASE WHEN contains(file, '->') THEN split_part(file, '->', 2) END AS peer,
        lower(split_part(file, ':', 1)) AS kind,
        opened, closed, received, sent, calls
    FROM streams WHERE file IS NOT NULL
    """


PROCESSES: Final = """
    WITH done AS (
        SELECT l.run, l.pid, l.started AS since,
            count(*) AS calls, count(error) AS errors, sum(duration_ns)::BIGINT AS time_ns,
            min(c.start) AS first_call, max(c.start) AS last_call
        FROM lsca.lives l JOIN calls c ON c.run = l.run AND c.pid = l.pid
            AND (l.started IS NULL OR c.start >= l.started) AND (l.replaced IS NULL OR c.start < l.replaced)
        GROUP BY l.run, l.pid, l.started
    )
    SELECT l.run, l.pid, l.parent, coalesce(l.started, d.first_call) AS started, l.ended,
        epoch_ns(coalesce(l.ended, d.last_call)) - epoch_ns(coalesce(l.started, d.first_call)) AS duration_ns,
        l.program, l.argv, l.cwd, l.exit_code, l.signal,
        coalesce(d.calls, 0) AS calls, coalesce(d.errors, 0) AS errors, coalesce(d.time_ns, 0) AS time_ns
    FROM lsca.lives l LEFT JOIN done d
        ON d.run = l.run AND d.pid = l.pid AND d.since IS NOT DISTINCT FROM l.started
"""

# In the order of the fields of Ring, Waits and Life, by which they are filled.
RINGS: Final = """
    CREATE OR REPLACE TABLE lsca.rings (run INTEGER, pid INTEGER, connection BIGINT, fd INTEGER, kind VARCHAR,
        local VARCHAR, peer VARCHAR, inode BIGINT, peer_inode BIGINT, peer_pid INTEGER, began TIMESTAMP_NS,
        back_at TIMESTAMP_NS, back VARCHAR, back_by VARCHAR, ended TIMESTAMP_NS, ended_by VARCHAR, sent BIGINT,
        received BIGINT, kernel_sent BIGINT, kernel_received BIGINT)
"""

WAITED: Final = """
    CREATE OR REPLACE TABLE lsca.waits (run INTEGER, spun BIGINT, yielded BIGINT, slept BIGINT, woke BIGINT)
"""

LIVES: Final = """
    CREATE OR REPLACE TABLE lsca.lives (run INTEGER, pid INTEGER, parent INTEGER, started TIMESTAMP_NS,
        ended TIMESTAMP_NS, replaced TIMESTAMP_NS, program VARCHAR, argv VARCHAR, cwd VARCHAR, exit_code INTEGER,
        signal INTEGER)
"""


@dataclass(slots=True)
class Life:
    """One process from its beginning to its end. `replaced`: when another one began with its number."""

    run: int
    pid: int
    parent: int | None = None
    started: int | None = None
    ended: int | None = None
    replaced: int | None = None
    program: str | None = None
    argv: str | None = None
    cwd: str | None = None
    exit_code: int | None = None
    signal: int | None = None

    def status(self, status: int) -> None:
        """Take a wait status to heart, unless it says that the process lives on."""
        if status & 0x7F == 0:
            self.exit_code = status >> 8 & 0xFF
        elif status & 0xFF != 0x7F and status != 0xFFFF:
            self.exit_code, self.signal = None, status & 0x7F


def lives(log: "Log") -> list[Life]:
    """All processes of a log, in order of their beginning."""
    found: list[Life] = []
    now: dict[tuple[int, int], Life] = {}
    names = (*EXECS, *LAST, *WAITS)

    def life(record: Record, pid: int) -> Life:
        key = (record.run, pid)
        if key not in now:
            now[key] = Life(record.run, pid)
            found.append(now[key])
        return now[key]

    # Waits that have not ended yet: a child may begin after its parent has begun to wait for it.
    waits: list[Record] = []
    for record in log.records(names, others=False):
        waits = [wait for wait in waits if not _waited(wait, now, record.start_ns)]
        if record.name in WAITS:
            waits.append(record)
        if record.kind == "start" and not record.args[1]:
            before = now.get((record.run, record.pid))
            if before and (before.started is not None or before.ended is not None):
                before.replaced = record.start_ns
                del now[record.run, record.pid]
            one = life(record, record.pid)
            one.parent, one.started = record.args[0], record.start_ns
            one.cwd = log.file(record, AT_FDCWD)
            parent = now.get((record.run, record.args[0]))
            if parent and one.program is None:
                one.program, one.argv = parent.program, parent.argv
        elif record.kind == "exit":
            life(record, record.pid).ended = record.start_ns
        elif record.kind == "program" and 0 in record.entry:
            piece = record.entry[0]
            strings = piece.data.split(b"\0")[:-1]
            if strings:
                first = life(record, record.pid)
                first.argv = _shell(piece)
                first.program = _text(strings[0])
        elif record.kind == "status" and record.args:
            life(record, record.pid).status(record.args[0])
        elif record.kind == "call":
            _call(log, record, life(record, record.pid))
    for wait in waits:
        _waited(wait, now, wait.end_ns)
    for run, pid in _silent(log, now):
        found.append(Life(run, pid))
    return found


def _call(log: "Log", record: Record, one: Life) -> None:
    if record.name in EXECS and (not record.returns or record.ret == 0):
        at = record.name == "execveat"
        path, argv = record.entry.get(int(at)), record.entry.get(1 + at)
        if path:
            fd = _signed(record.args[0]) if at else AT_FDCWD
            one.program = log.path_of(record, path.data, fd)
        if argv:
            one.argv = _shell(argv)
    elif record.name in LAST and record.name == "exit_group":
        one.exit_code, one.ended = record.args[0] & 0xFF, record.start_ns
    elif record.name == "exit" and record.pid == record.tid and one.exit_code is None:
        one.exit_code = record.args[0] & 0xFF


def _waited(record: Record, now: dict[tuple[int, int], Life], at: int) -> bool:
    """What a parent has learned of its child, if its wait has ended by then; True if so."""
    if record.end_ns > at:
        return False
    if record.returns and record.ret > 0 and 1 in record.exit:
        child = now.get((record.run, record.ret))
        if child:
            child.status(int.from_bytes(record.exit[1].data[:4], "little"))
    return True


def _silent(log: "Log", now: dict[tuple[int, int], Life]) -> Iterator[tuple[int, int]]:
    """Processes of which the log has calls alone; in a log of several runs those are not looked for."""
    known = {pid for _, pid in now}
    runs = {run for run, _ in now} or {0}
    if len(runs) == 1:
        yield from ((run, pid) for run in runs for pid in sorted(log.pids - known) if pid)


def _shell(argv: Piece) -> str:
    """As a shell would take it, with "..." where there was more than the log keeps."""
    words = shlex.join(map(_text, argv.data.split(b"\0")[:-1]))
    return words + " ..." if len(argv.data) < argv.full else words


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _signed(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (value >> 31 << 32)

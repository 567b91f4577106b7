# SPDX-License-Identifier: Apache-2.0
"""What a picture of a run is about: its processes and threads with their lives, programs and ends.

Small queries only, whose answers grow with the number of processes and not with that of calls; the calls themselves are
counted later, when it is known how wide a pixel is (`density`).
"""

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from lsca.errors import LogError
from lsca.log.units import number
from lsca.table import rows

Query = Callable[[str], list[tuple[Any, ...]]]

# What is told apart by colour: more than eight nobody tells apart. In the order of the legend.
GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "files": ("files", "transfer"),
    "paths": ("paths", "metadata", "xattrs", "mounts"),
    "sockets": ("sockets",),
    "memory": ("memory",),
    "processes": ("processes", "threads", "remote", "signals"),
    "descriptors": ("descriptors", "asynchronous"),
    "other": ("clocks", "identity", "limits", "ipc", "security", "system", "obsolete"),
    "waiting": ("waiting",),
}
# Where waiting is what a call is for: wait4, futex, nanosleep, ...
_WAITS: Final = ("processes", "threads", "signals", "clocks", "waiting")
EXECS: Final = 5000


@dataclass(slots=True)
class Thread:
    """A thread of a process; times in nanoseconds since the log begins."""

    serial: int
    tid: int
    calls: int
    begin: int
    end: int


@dataclass(slots=True)
class Process:
    """A process: `lives` are (begin, end or None) of all that had this number, `execs` (time, command line)."""

    run: int
    pid: int
    parent: int
    lives: list[tuple[int, int | None]] = field(default_factory=list)
    program: str = ""
    ends: list[str] = field(default_factory=list)
    calls: int = 0
    errors: int = 0
    threads: list[Thread] = field(default_factory=list)
    execs: list[tuple[int, str]] = field(default_factory=list)
    depth: int = 0

    @property
    def begin(self) -> int:
        return self.lives[0][0]


@dataclass(slots=True)
class Run:
    """All of a picture. `origin` is the first nanosecond since 1970, `span` how many there are."""

    title: str
    origin: int
    span: int
    calls: int
    errors: int
    processes: list[Process]


def gather(query: Query, title: str) -> Run:
    """Asks for everything but the calls themselves. LogError if there is nothing to draw."""
    low, high, calls, errors = query(
        "SELECT min(epoch_ns(start)), max(epoch_ns(start) + coalesce(duration_ns, 0)), "
        "count(*), count(error) FROM calls"
    )[0]
    found = _processes(query)
    moments = [moment for row in found for moment in row[3:5] if moment is not None]
    moments += [moment for moment in (low, high) if moment is not None]
    if not moments:
        raise LogError(f"{title}: there is nothing to draw: no call and no process is in the log")
    origin = min(moments)
    run = Run(title, origin, max(max(moments) - origin, 1), calls, errors, [])
    by_key: dict[tuple[int, int], Process] = {}
    for number_, pid, parent, started, ended, program, argv, code, signal in found:
        process = by_key.setdefault((number_, pid), Process(number_, pid, parent or 0))
        begin = (started if started is not None else origin) - origin
        process.lives.append((begin, None if ended is None else ended - origin))
        process.program = program or process.program or _first_word(argv)
        process.ends.append(_end(code, signal))
    _threads(query, run, by_key)
    _execs(query, run, by_key)
    run.processes = _tree(by_key)
    for process in run.processes:
        process.program = process.program or _inherited(process, by_key)
    return run


def group_sql() -> str:
    """SQL for the group of a call, as its number in GROUPS."""
    waits = sorted(row.name for row in rows() if row.blocks and row.family in _WAITS)
    names = list(GROUPS)
    families = " ".join(
        f"WHEN '{family}' THEN {names.index(group)}"
        for group, members in GROUPS.items()
        for family in members
    )
    quoted = ", ".join(f"'{name}'" for name in waits)
    return (
        f"CASE WHEN name IN ({quoted}) THEN {names.index('waiting')} "
        f"ELSE CASE family {families} ELSE {names.index('other')} END END"
    )


def words(process: Process) -> str:
    """A process in one line, for its tooltip."""
    ends = [end for end in process.ends if end]
    parts = [f"{process.pid} {process.program or '?'}", f"{number(process.calls)} calls"]
    if process.errors:
        parts.append(f"{number(process.errors)} failed")
    if len(process.threads) > 1:
        parts.append(f"{len(process.threads)} threads")
    return ", ".join(parts + ends)


def _processes(query: Query) -> list[tuple[Any, ...]]:
    return query(
        "SELECT run, pid, parent, epoch_ns(started), epoch_ns(ended), program, argv, exit_code, "
        "signal FROM processes ORDER BY run, started NULLS FIRST, pid"
    )


def _threads(query: Query, run: Run, by_key: dict[tuple[int, int], Process]) -> None:
    asked = query(
        "SELECT run, pid, thread, min(tid), count(*), count(error), min(epoch_ns(start)), "
        "max(epoch_ns(start) + coalesce(duration_ns, 0)) FROM calls "
        "GROUP BY run, pid, thread ORDER BY 1, 2, 7, 3"
    )
    for number_, pid, serial, tid, calls, errors, first, last in asked:
        process = by_key.get((number_, pid))
        if process is None:  # its beginning is not in the log
            process = by_key[number_, pid] = Process(number_, pid, 0)
            process.lives.append((first - run.origin, None))
            process.ends.append("")
        process.calls += calls
        process.errors += errors
        thread = Thread(serial, tid, calls, first - run.origin, last - run.origin)
        process.threads.append(thread)


def _execs(query: Query, run: Run, by_key: dict[tuple[int, int], Process]) -> None:
    asked = query(
        "SELECT run, pid, epoch_ns(start), argv FROM calls "
        "WHERE name IN ('execve', 'execveat') AND error IS NULL "
        f"ORDER BY start, thread, seq LIMIT {EXECS}"
    )
    for number_, pid, moment, argv in asked:
        by_key[number_, pid].execs.append((moment - run.origin, command(argv or "?")))


def command(argv: str) -> str:
    """A command line as a label: the program without its directory, then its arguments, in one line."""
    try:
        first = shlex.split(argv)[0]
    except (ValueError, IndexError):
        first = argv.split(" ")[0]
    quoted = shlex.quote(first)
    rest = argv[len(quoted) :] if argv.startswith(quoted) else argv[len(first) :]
    return " ".join((os.path.basename(first) + rest).split())


def _first_word(argv: str | None) -> str:
    return argv.split(" ")[0] if argv else ""


def _end(code: int | None, signal: int | None) -> str:
    if signal:
        import signal as signals

        try:
            return signals.Signals(signal).name
        except ValueError:
            return f"signal {signal}"
    return f"exit {code}" if code else ""


def _inherited(process: Process, by_key: dict[tuple[int, int], Process]) -> str:
    """What a process runs that has never called exec: what its parent ran."""
    seen = set()
    at: Process | None = process
    while at is not None and at.pid not in seen:
        if at.program:
            return at.program
        seen.add(at.pid)
        at = by_key.get((at.run, at.parent))
    return ""


def _tree(by_key: dict[tuple[int, int], Process]) -> list[Process]:
    """Parents before their children, children by their beginning. A loop of parents is cut where it is met."""
    children: dict[tuple[int, int], list[Process]] = {}
    roots: list[Process] = []
    for process in by_key.values():
        parent = (process.run, process.parent)
        if parent in by_key and process.parent != process.pid:
            children.setdefault(parent, []).append(process)
        else:
            roots.append(process)
    order: list[Process] = []
    placed: set[tuple[int, int]] = set()

    def place(start: Process) -> None:
        stack = [(start, 0)]
        while stack:
            process, depth = stack.pop()
            if (process.run, process.pid) in placed:
                continue
            placed.add((process.run, process.pid))
            process.depth = depth
            order.append(process)
            below = children.get((process.run, process.pid), [])
            for child in sorted(below, key=lambda p: (p.begin, p.pid), reverse=True):
                stack.append((child, depth + 1))

    for root in sorted(roots, key=lambda p: (p.run, p.begin, p.pid)):
        place(root)
    for process in by_key.values():
        place(process)
    return order

# SPDX-License-Identifier: Apache-2.0
"""What a log consists of, as values: headers, records, and what is missing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lsca.table import Piece, by_number

MACHINES: Final = {62: "x86_64", 183: "aarch64"}  # ELF e_machine
ROUTES: Final = ("kernel", "proxy", "local", "handler")
KINDS: Final = {
    1: "call",
    2: "start",
    3: "exit",
    4: "fd",
    5: "program",
    6: "status",
    7: "stream",
    8: "stream_back",
    9: "stream_end",
    10: "waits",
}

NO_RETURN: Final = 1
REPLACES: Final = 2
FOREIGN: Final = 4
RESTARTS: Final = 8
TRAPPED: Final = 16
PIECE_OUT: Final = 1

# What native/log/module.c gives of a record, in this order: see _log.pyi.
Raw = tuple[
    int,
    int,
    int,
    int,
    int,
    int,
    int,
    int,
    int,
    int,
    int,
    tuple[int, int, int, int, int, int],
    tuple[tuple[int, int, bytes, int], ...],
    int,
    int,
    int,
    int,
]


@dataclass(frozen=True, slots=True)
class Header:
    """What is true of a whole run. `real0_ns` is CLOCK_REALTIME and `mono0_ns` CLOCK_MONOTONIC at tick `ticks0`."""

    machine: str
    ticks0: int
    mono0_ns: int
    real0_ns: int
    ns_per_tick: float
    boot_id: str
    host: str


@dataclass(frozen=True, slots=True)
class Record:
    """One call (`kind` "call"), or an event: the beginning ("start") or end ("exit") of a process, what a descriptor
    stands for ("fd"), what program was started ("program") and how it ended ("status"), what became of a connection
    ("stream", "stream_back", "stream_end") and how the run has waited ("waits"): `Log.rings` and `Log.waits` read
    those. What a newer lsca has written besides is of the kind "kind N".

    Times are CLOCK_REALTIME in nanoseconds. `ret` is what the kernel would return: a negative errno on failure.
    `name` is None for a number that the table does not have. `entry` and `exit` hold what pointer arguments pointed
    to before and after the call, by the argument's index. `seq` is the record's number in its `thread`, which is a
    serial number within the `run`. `ticks` is the start on the clock that descriptors are resolved by.
    """

    nr: int
    name: str | None
    route: str
    kind: str
    pid: int
    tid: int
    flags: int
    start_ns: int
    end_ns: int
    ret: int
    args: tuple[int, ...]
    entry: Mapping[int, Piece]
    exit: Mapping[int, Piece]
    thread: int = 0
    seq: int = 0
    run: int = 0
    ticks: int = 0
    end_ticks: int = 0

    @property
    def returns(self) -> bool:
        """False if the call did not come back (exit, execve), or not to its caller (made again after a signal)."""
        return not self.flags & (NO_RETURN | RESTARTS)

    @property
    def restarts(self) -> bool:
        """A signal came first, and the call is made again after its handler."""
        return bool(self.flags & RESTARTS)

    @property
    def foreign(self) -> bool:
        """The call was made by another machine's convention (int 0x80); `nr` and `args` are i386's."""
        return bool(self.flags & FOREIGN)

    @property
    def trapped(self) -> bool:
        """The call cost a signal: its site in the program is not, or not yet, patched."""
        return bool(self.flags & TRAPPED)


NOTHING: Final[Mapping[int, Piece]] = {}


def record(raw: Raw) -> Record:
    """A record of what the extension gives."""
    nr, kind, route, flags, pid, tid, thread, seq, start, end, ret, args, pieces, run, *rest = raw
    entry: Mapping[int, Piece] = NOTHING
    exit_: Mapping[int, Piece] = NOTHING
    if pieces:
        entry = {arg: Piece(data, full) for arg, out, data, full in pieces if not out & PIECE_OUT}
        exit_ = {arg: Piece(data, full) for arg, out, data, full in pieces if out & PIECE_OUT}
    row = None
    if kind == 1 and not flags & FOREIGN:
        row = by_number(MACHINES[rest[2]], nr)
    return Record(
        nr,
        row.name if row else None,
        ROUTES[route] if route < len(ROUTES) else f"route {route}",
        KINDS.get(kind) or f"kind {kind}",
        pid,
        tid,
        flags,
        start,
        end,
        ret,
        args,
        entry,
        exit_,
        thread,
        seq,
        run,
        rest[0],
        rest[1],
    )


@dataclass(frozen=True, slots=True)
class Gap:
    """Records of a thread that are not in the log, or, with `twice`, are there twice: from number `first` on."""

    run: int
    pid: int
    tid: int
    thread: int
    first: int
    count: int
    twice: bool = False

    def __str__(self) -> str:
        numbers = f"number {self.first}"
        if self.count > 1:
            numbers = f"numbers {self.first} to {self.first + self.count - 1}"
        what = "record is" if self.count == 1 else "records are"
        state = "there twice" if self.twice else "missing"
        return f"{self.count} {what} {state}: {numbers} of thread {self.tid} (process {self.pid})"


@dataclass(frozen=True, slots=True)
class Report:
    """What `Log.verify` found. `problems` says everything in words, one line each; a complete log has none."""

    records: int
    gaps: tuple[Gap, ...]
    problems: tuple[str, ...]

    @property
    def complete(self) -> bool:
        return not self.problems

    @property
    def missing(self) -> int:
        """How many records are known to be missing."""
        return sum(gap.count for gap in self.gaps if not gap.twice)

    def __str__(self) -> str:
        return "\n".join(self.problems) if self.problems else "complete"

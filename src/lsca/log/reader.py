# SPDX-License-Identifier: Apache-2.0
"""Reads log files; the layout is that of `file_header`, `file_block`, `record` and `piece` in native/shared/abi.h.

A first pass over the file checks every size and notes where the records are and when they began; after it nothing can
go wrong any more, and records are decoded one at a time, in order of their start. What follows the first damage is left
out: sizes there cannot be believed.
"""

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Final, NamedTuple

from lsca.errors import LogError
from lsca.table import Piece, by_number

MAGIC: Final = b"LSCALOG\n"
VERSION: Final = 1
MACHINES: Final = {62: "x86_64", 183: "aarch64"}  # ELF e_machine

HEADER: Final = struct.Struct("<8sIIQQQd40s64s")
BLOCK: Final = struct.Struct("<IIIIQ")
RECORD: Final = struct.Struct("<IHBBIIIIQQq6Q")
PIECE: Final = struct.Struct("<BBHI")
BLOCK_END: Final = 0xFFFFFFFF

ROUTES: Final = ("kernel", "proxy", "local", "handler")
KINDS: Final = {1: "call", 2: "start", 3: "exit"}

NO_RETURN: Final = 1
REPLACES: Final = 2
FOREIGN: Final = 4
RESTARTS: Final = 8
TRAPPED: Final = 16
PIECE_OUT: Final = 1


@dataclass(frozen=True, slots=True)
class Header:
    """What is true of a whole log. `real0_ns` is CLOCK_REALTIME and `mono0_ns` CLOCK_MONOTONIC at tick `ticks0`."""

    machine: str
    ticks0: int
    mono0_ns: int
    real0_ns: int
    ns_per_tick: float
    boot_id: str
    host: str

    def real_ns(self, ticks: int) -> int:
        return self.real0_ns + int((ticks - self.ticks0) * self.ns_per_tick)


@dataclass(frozen=True, slots=True)
class Record:
    """One call (`kind` "call"), or the beginning ("start") or end ("exit") of a process.

    Times are CLOCK_REALTIME in nanoseconds. `ret` is what the kernel would return: a negative errno on failure.
    `name` is None for a number that the table does not have. `entry` and `exit` hold what pointer arguments pointed
    to before and after the call, by the argument's index.
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


class _Place(NamedTuple):
    """Where a record is. Sorts by start; a record that replaces another comes after it."""

    start: int
    replaces: bool
    offset: int
    tid: int
    no_return: bool


@dataclass(frozen=True, slots=True)
class Log:
    """A log file. `lost` counts records the agents had no room for, `gaps` places where bytes are missing.

    `complete` is True if the run ended in good order and nothing is missing. `damage` says in words where reading
    had to stop. `uncaught` counts programs that ran without the agent.
    """

    path: Path
    header: Header
    lost: int
    gaps: int
    uncaught: int
    complete: bool
    damage: str | None
    pids: frozenset[int]
    _data: bytes = field(repr=False)
    _places: tuple[_Place, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Record]:
        return self.records

    @property
    def records(self) -> Iterator[Record]:
        """All records in order of their start."""
        for place in self._places:
            yield _decode(self._data, place.offset, self.header)


@dataclass(slots=True)
class _Scan:
    """The first pass: what was found so far."""

    data: bytes
    places: list[_Place] = field(default_factory=list)
    pids: set[int] = field(default_factory=set)
    ends: dict[int, int] = field(default_factory=dict)  # lease -> offset after its last known byte
    lost: int = 0
    gaps: int = 0
    uncaught: int = 0
    closed: bool = False
    damage: str | None = None

    def blocks(self) -> None:
        at = HEADER.size
        while at < len(self.data) and not self.damage and not self.closed:
            if len(self.data) - at < BLOCK.size:
                self.damage = f"the file ends inside a block, at byte {at}"
                return
            size, pid, _tid, offset, lease = BLOCK.unpack_from(self.data, at)
            at += BLOCK.size
            if size == BLOCK_END:
                self.lost, self.uncaught, self.closed = lease, pid, True
                return
            if offset != self.ends.get(lease, 0):
                self.gaps += 1
            self.ends[lease] = offset + size
            self.records(at, at + size)
            at += size

    def records(self, at: int, end: int) -> None:
        cut = "the file ends inside a record, at byte {}"
        while at < end:
            if at + RECORD.size > len(self.data):
                self.damage = cut.format(at)
                return
            fields = RECORD.unpack_from(self.data, at)
            size, _nr, _route, kind, pid, tid, flags, pieces, start = fields[:9]
            if size % 8 or not RECORD.size <= size <= end - at or kind not in KINDS:
                self.damage = f"the record at byte {at} makes no sense"
                return
            if at + size > len(self.data):
                self.damage = cut.format(at)
                return
            if not self._pieces_fit(at + RECORD.size, at + size, pieces):
                self.damage = f"the record at byte {at} is longer than it says"
                return
            replaces, no_return = bool(flags & REPLACES), bool(flags & NO_RETURN)
            self.places.append(_Place(start, replaces, at, tid, no_return))
            self.pids.add(pid)
            at += size

    def _pieces_fit(self, at: int, end: int, count: int) -> bool:
        for _ in range(count):
            if end - at < PIECE.size:
                return False
            arg, _flags, length, _full = PIECE.unpack_from(self.data, at)
            at += PIECE.size + _padded(length)
            if arg > 5 or at > end:
                return False
        return True


def read_log(path: str | PathLike[str]) -> Log:
    """Open the log file at `path`. Raises LogError if it cannot be read or is no log; never for damage further on."""
    where = Path(path)
    try:
        data = where.read_bytes()
    except OSError as error:
        raise LogError(f"cannot read {where}: {error.strerror}") from error
    header = _header(where, data)
    scan = _Scan(data)
    scan.blocks()
    if not scan.closed and not scan.damage:
        scan.damage = "the file has no end mark: the run is still going, or was killed"
    return Log(
        path=where,
        header=header,
        lost=scan.lost,
        gaps=scan.gaps,
        uncaught=scan.uncaught,
        complete=scan.closed and not (scan.lost or scan.gaps or scan.uncaught),
        damage=scan.damage,
        pids=frozenset(scan.pids),
        _data=data,
        _places=_in_order(scan.places),
    )


def _header(path: Path, data: bytes) -> Header:
    if not data.startswith(MAGIC):
        raise LogError(f"{path} is not a log of lsca")
    if len(data) < HEADER.size:
        raise LogError(f"{path} ends inside its header")
    _, version, machine, ticks0, mono0, real0, rate, boot_id, host = HEADER.unpack_from(data)
    if version != VERSION:
        raise LogError(f"{path} is a log of format {version}; this lsca reads format {VERSION}")
    if machine not in MACHINES:
        raise LogError(f"{path} was written on a machine unknown to this lsca (ELF {machine})")
    if not (math.isfinite(rate) and 0 < rate < 1e6):
        raise LogError(f"{path} has a damaged header: a tick of {rate} ns")
    return Header(MACHINES[machine], ticks0, mono0, real0, rate, _text(boot_id), _text(host))


def _in_order(places: list[_Place]) -> tuple[_Place, ...]:
    """Sort by start, and take out each record that was written before a call and then replaced."""
    places.sort()
    replaced: set[int] = set()
    waiting: dict[int, int] = {}  # tid -> offset of its last record without a return
    for place in places:
        if place.replaces:
            replaced.add(waiting.pop(place.tid, -1))
        elif place.no_return:
            waiting[place.tid] = place.offset
    return tuple(place for place in places if place.offset not in replaced)


def _decode(data: bytes, at: int, header: Header) -> Record:
    _, nr, route, kind, pid, tid, flags, pieces, start, end, ret, *args = RECORD.unpack_from(
        data, at
    )
    at += RECORD.size
    entry: dict[int, Piece] = {}
    exit_: dict[int, Piece] = {}
    for _ in range(pieces):
        arg, piece_flags, length, full = PIECE.unpack_from(data, at)
        at += PIECE.size
        (exit_ if piece_flags & PIECE_OUT else entry)[arg] = Piece(data[at : at + length], full)
        at += _padded(length)
    row = None if flags & FOREIGN else by_number(header.machine, nr)
    start_ns = header.real_ns(start)
    return Record(
        nr=nr,
        name=row.name if row and kind == 1 else None,
        route=ROUTES[route] if route < len(ROUTES) else f"route {route}",
        kind=KINDS[kind],
        pid=pid,
        tid=tid,
        flags=flags,
        start_ns=start_ns,
        end_ns=header.real_ns(end) if end else start_ns,
        ret=ret,
        args=tuple(args),
        entry=entry,
        exit=exit_,
    )


def _padded(length: int) -> int:
    return (length + 7) & ~7


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")

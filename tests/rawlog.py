# SPDX-License-Identifier: Apache-2.0
"""A plain reader of a log's segments, for tests of those who write them: native/log/segment.h in Python, and no more.

Slow, and without mercy: whatever is not as it should be is an AssertionError.
"""

import contextlib
import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lsca import _native

HEADER = struct.Struct("<8sIIQQQd2QII40s64s80x")
HEAD = struct.Struct("<IIQIIIIIIQ12I")
RUN = struct.Struct("<QQQIIIIII")
SHAPE = struct.Struct("<HBBBBBx24s")
END = struct.Struct("<QQIIQQ")
CALL, START, EXIT, FD, PROGRAM, STATUS = range(1, 7)
NO_RETURN, REPLACES = 1, 2
MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Row:
    """One record. `pieces` by argument: those before the call, those after it."""

    kind: int
    nr: int
    route: int
    flags: int
    pid: int
    tid: int
    thread: int
    seq: int
    start: int
    took: int
    ret: int
    args: tuple[int, ...]
    before: dict[int, bytes]
    after: dict[int, bytes]


@dataclass(frozen=True)
class Run:
    """What stands in a block of one lease."""

    lease: int
    thread: int
    first: int
    pid: int
    tid: int
    offset: int
    size: int
    rows: int


@dataclass
class Segment:
    """One file. `lost`, `undrained`, `uncaught`, `is_last` are None without an end."""

    run_id: tuple[int, int] = (0, 0)
    number: int = 0
    blocks: int = 0
    runs: list[Run] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    lost: int | None = None
    undrained: int | None = None
    uncaught: int | None = None
    is_last: bool | None = None


def _varints(data: bytes) -> Iterator[int]:
    value = shift = 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            yield value
            value = shift = 0
    assert not shift


def _signed(value: int) -> int:
    return (value >> 1) ^ -(value & 1)


def _ret(value: int) -> int:
    value &= MASK
    return value - (1 << 64) if value >> 63 else value


def _blobs(data: bytes, count: int) -> list[bytes]:
    found, at = [], 0
    for _ in range(count):
        size = shift = 0
        while True:
            byte = data[at]
            at += 1
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        found.append(data[at : at + size])
        at += size
    assert not data[at:].strip(b"\0") and len(data) - at < 8
    return found


class _Block:
    def __init__(self, payload: bytes, fields: tuple[int, ...], blobs: list[bytes]) -> None:
        _, _, _, _, rows, runs, shapes, blob_count, before, ticks, *columns = fields
        assert before == len(blobs)
        self.runs = [Run(*RUN.unpack_from(payload, RUN.size * i)[:8]) for i in range(runs)]
        at = RUN.size * runs
        self.shapes = [SHAPE.unpack_from(payload, at + SHAPE.size * i) for i in range(shapes)]
        at += SHAPE.size * shapes
        self.columns = []
        for size in columns[:12]:
            self.columns.append(payload[at : at + size])
            at += size
        blobs.extend(_blobs(payload[at:], blob_count))
        self.ticks, self.count, self.known = ticks, rows, before
        self.blobs = blobs

    def rows(self) -> Iterator[Row]:
        wide = len(self.shapes) > 256
        codes = (
            struct.unpack(f"<{self.count}H", self.columns[0]) if wide else tuple(self.columns[0])
        )
        starts, tooks, rets, *others = (_varints(column) for column in self.columns[1:])
        args, blob, full = others[:6], others[6], others[7]
        last: dict[tuple[int, int], int] = defaultdict(int)
        next_blob, code = self.known, iter(codes)
        for run in self.runs:
            start = self.ticks
            for number in range(run.rows):
                shape = next(code)
                nr, kind, route, flags, arg_count, piece_count, pieces = self.shapes[shape]
                start += _signed(next(starts))
                took = next(tooks)
                last[shape, -1] += _signed(next(rets))
                for i in range(arg_count):
                    last[shape, i] += _signed(next(args[i]))
                row = ({}, {})  # type: tuple[dict[int, bytes], dict[int, bytes]]
                for i in range(piece_count):
                    distance, data = next(blob), b""
                    if distance:
                        data = self.blobs[next_blob - (distance - 1)]
                        next_blob += distance == 1
                    if pieces[2 * i + 1] & 2:
                        next(full)
                    row[pieces[2 * i + 1] & 1][pieces[2 * i]] = data
                yield Row(
                    kind, nr, route, flags, run.pid, run.tid, run.thread, run.first + number,
                    start & MASK, took, _ret(last[shape, -1]),
                    tuple(last[shape, i] & MASK for i in range(arg_count)), *row,
                )  # fmt: skip
        for column in (starts, tooks, rets, *others):
            assert next(column, None) is None


def read_segment(path: Path, *, rows: bool = True) -> Segment:
    """All of a file; it may end without an end, but not inside a block."""
    data = path.read_bytes()
    fields = HEADER.unpack_from(data)
    assert fields[0] == b"LSCALOG\n" and fields[1] == 3
    segment = Segment(run_id=fields[7:9], number=fields[9])
    at, blobs = HEADER.size, list[bytes]()
    while at < len(data):
        assert segment.is_last is None, "something follows the end"
        head = HEAD.unpack_from(data, at)
        assert head[0] == 0x4B42534C
        payload = data[at + HEAD.size : at + HEAD.size + head[1]]
        assert len(payload) == head[1]
        at += HEAD.size + head[1]
        if head[3] == 2:
            segment.lost, segment.undrained, segment.uncaught, last = END.unpack(payload)[:4]
            segment.is_last = bool(last)
            continue
        block = _Block(payload, head, blobs)
        segment.blocks += 1
        segment.runs += block.runs
        if rows:
            segment.rows += block.rows()
    return segment


def whole_blocks(path: Path) -> int:
    """Where the last whole block ends; who is killed while it writes leaves a part of one."""
    data, at = path.read_bytes(), HEADER.size
    while at + HEAD.size <= len(data):
        end = at + HEAD.size + HEAD.unpack_from(data, at)[1]
        if end > len(data):
            break
        at = end
    return at


def areas_of(log: Path) -> list[str]:
    """The names of what is left in memory of a log."""
    found = []
    for name in _native.area_list():
        with contextlib.suppress(OSError, ValueError):
            if _native.area_about(name)["output"] == str(log):
                found.append(name)
    return found


def gaps(runs: list[Run]) -> list[tuple[int, int, int]]:
    """(thread, expected number, number found) wherever the records of a thread do not follow each other."""
    threads: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        threads[run.thread].append(run)
    found = []
    for thread, own in threads.items():
        expected = 0
        for run in sorted(own, key=lambda run: run.first):
            if run.first != expected:
                found.append((thread, expected, run.first))
            expected = run.first + run.rows
    return found

# SPDX-License-Identifier: Apache-2.0
"""Log files for tests, from a description of their records.

They are put together by the very code that `lsca run` uses, native/log/encode.c, which is compiled for this and called
through ctypes.
"""

import ctypes
import itertools
import struct
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
NATIVE = ROOT / "native"
MONO, REAL = 5_000_000_000, 1_700_000_000_000_000_000
X86_64, AARCH64 = 62, 183
AT_FDCWD = (1 << 64) - 100
KERNEL, PROXY, LOCAL, HANDLER = range(4)
CALL, START, EXIT, FD, PROGRAM, STATUS, STREAM, STREAM_BACK, STREAM_END, WAITS = range(1, 11)
NO_RETURN, REPLACES, FOREIGN, RESTARTS, TRAPPED, WIDE = 1, 2, 4, 8, 16, 128
OUT, CUT = 1, 2

HEADER = struct.Struct("<8sIIQQQdQQII40s64s80x")
RECORD = struct.Struct("<HHBBBBQIi")
PIECE = struct.Struct("<BBHI")
leases = itertools.count(1)


class Run(ctypes.Structure):
    """`struct segment_run` of native/log/segment.h."""

    _fields_ = (
        ("lease", ctypes.c_uint64),
        ("thread", ctypes.c_uint64),
        ("first", ctypes.c_uint64),
        ("pid", ctypes.c_uint32),
        ("tid", ctypes.c_uint32),
        ("offset", ctypes.c_uint32),
        ("bytes", ctypes.c_uint32),
        ("rows", ctypes.c_uint32),
        ("pad", ctypes.c_uint32),
    )


class End(ctypes.Structure):
    """`struct segment_end`."""

    _fields_ = (
        ("lost", ctypes.c_uint64),
        ("undrained", ctypes.c_uint64),
        ("uncaught", ctypes.c_uint32),
        ("is_last", ctypes.c_uint32),
        ("ticks", ctypes.c_uint64),
        ("mono", ctypes.c_uint64),
    )


@cache
def encoder() -> ctypes.CDLL:
    """encode.c as a library."""
    directory = ROOT / "build" / "tests"
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "encode.so"
    sources = [NATIVE / "log" / "encode.c", NATIVE / "log" / "hash.c"]
    machine = NATIVE / "shared" / "arch" / "x86_64"
    command = ["gcc", "-std=gnu11", "-O2", "-g", "-shared", "-fPIC", "-D_GNU_SOURCE="]
    command += [f"-I{NATIVE / 'shared'}", f"-I{machine}", f"-I{NATIVE / 'log'}"]
    new = directory / f"encode.{next(leases)}.so"
    subprocess.run([*command, *map(str, sources), "-o", str(new)], check=True)
    new.replace(path)
    library = ctypes.CDLL(str(path))
    library.segment_writer_new.restype = ctypes.c_void_p
    library.segment_writer_new.argtypes = (ctypes.c_uint64, ctypes.c_uint64)
    library.segment_writer_add.argtypes = (ctypes.c_void_p, ctypes.POINTER(Run), ctypes.c_char_p)
    library.segment_writer_block.restype = ctypes.c_void_p
    library.segment_writer_block.argtypes = (ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t))
    library.segment_writer_free.argtypes = (ctypes.c_void_p,)
    library.segment_check.restype = ctypes.c_uint64
    library.segment_end_block.argtypes = (ctypes.c_char_p, ctypes.POINTER(End))
    return library


@dataclass
class Call:
    """One record to be written; ticks are of 2 ns and begin at 1000. `pieces`: argument, flags, bytes, full."""

    nr: int = 39
    args: tuple[int, ...] = ()
    ret: int = 0
    start: int = 2000
    end: int = 3000
    tid: int = 10
    pid: int | None = None
    route: int = KERNEL
    kind: int = CALL
    flags: int = 0
    pieces: Sequence[tuple[int, int, bytes, int]] = field(default_factory=list)

    def packed(self) -> bytes:
        body = b"".join(struct.pack("<Q", arg & (1 << 64) - 1) for arg in self.args)
        for arg, flags, data, full in self.pieces:
            body += PIECE.pack(arg, flags | (CUT if full > len(data) else 0), len(data), full)
            body += data + bytes(-len(data) % 8)
        took, ret, flags = max(0, self.end - self.start), self.ret, self.flags
        if not (0 <= took < 1 << 32 and -(1 << 31) <= ret < 1 << 31):
            body += struct.pack("<Qq", took, ret)
            took = ret = 0
            flags |= WIDE
        counts = len(self.args) | len(self.pieces) << 4
        words = (RECORD.size + len(body)) // 8
        head = RECORD.pack(
            words, self.nr, self.kind, self.route, flags, counts, self.start, took, ret
        )
        return head + body


@dataclass(frozen=True)
class Stretch:
    """Records that one thread wrote without a break; `first` is the number of the first one."""

    calls: Sequence[Call]
    first: int = 0
    thread: int | None = None


def header(
    machine: int = X86_64,
    version: int = 3,
    rate: float = 2.0,
    number: int = 0,
    run: tuple[int, int] = (7, 8),
) -> bytes:
    """A segment's header."""
    names = (b"boot", b"host")
    return HEADER.pack(
        b"LSCALOG\n", version, machine, 1000, MONO, REAL, rate, *run, number, 0, *names
    )


class Writer:
    """Makes the blocks of one segment."""

    def __init__(self) -> None:
        self.library = encoder()
        self.writer = self.library.segment_writer_new(1, 2)
        self.numbers: dict[int, int] = {}

    def block(self, *stretches: Stretch) -> bytes:
        """One block of these stretches."""
        for stretch in stretches:
            data = b"".join(call.packed() for call in stretch.calls)
            call = stretch.calls[0]
            thread = call.tid if stretch.thread is None else stretch.thread
            run = Run(
                lease=next(leases),
                thread=thread,
                first=stretch.first,
                pid=call.tid if call.pid is None else call.pid,
                tid=call.tid,
                bytes=len(data),
            )
            assert self.library.segment_writer_add(self.writer, ctypes.byref(run), data) == 0
            assert run.rows == len(stretch.calls), "a record that the writer did not take"
        size = ctypes.c_size_t()
        at = self.library.segment_writer_block(self.writer, ctypes.byref(size))
        return ctypes.string_at(at, size.value)

    def calls(self, *calls: Call) -> bytes:
        """One block: neighbouring records of the same thread are a stretch, numbered as they come."""
        stretches = []
        for (tid, pid), group in itertools.groupby(calls, lambda call: (call.tid, call.pid)):
            some = list(group)
            first = self.numbers.get(tid, 0)
            self.numbers[tid] = first + len(some)
            stretches.append(Stretch([replace(call, pid=pid) for call in some], first))
        return self.block(*stretches)

    def __del__(self) -> None:
        self.library.segment_writer_free(self.writer)


def block(*calls: Call) -> bytes:
    """The first block of a segment."""
    return Writer().calls(*calls)


def checked(data: bytes) -> bytes:
    """A block that was changed, with the check sum that belongs to it now."""
    room = ctypes.create_string_buffer(data, len(data))
    at = ctypes.addressof(room)
    check = encoder().segment_check(ctypes.c_void_p(at), ctypes.c_void_p(at + 96))
    return data[:8] + struct.pack("<Q", check) + data[16:]


def end(
    lost: int = 0, undrained: int = 0, uncaught: int = 0, is_last: bool = True, ticks: int = 0
) -> bytes:
    """An end block."""
    facts = End(lost, undrained, uncaught, is_last, ticks, 0)
    room = ctypes.create_string_buffer(96 + ctypes.sizeof(End))
    encoder().segment_end_block(room, ctypes.byref(facts))
    return room.raw


def segment(blocks: Iterable[Sequence[Call]], **of_header: int) -> bytes:
    """A whole segment with its end."""
    writer = Writer()
    body = b"".join(writer.calls(*calls) for calls in blocks)
    return header(**of_header) + body + end()  # type: ignore[arg-type]


def whole(*calls: Call) -> bytes:
    """A log of one block."""
    return header() + block(*calls) + end()


def text(arg: int, data: bytes) -> tuple[int, int, bytes, int]:
    """A piece that was there before the call."""
    return (arg, 0, data, len(data))

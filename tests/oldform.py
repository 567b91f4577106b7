# SPDX-License-Identifier: Apache-2.0
"""Makes logs of the first form into logs of the present one, for as long as `lsca run` writes the first.

What the first form does not have is added: the command line, the working directory, how the program ended.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import segments
from lsca.table import by_number

OLD_HEADER = struct.Struct("<8sIIQQQd40s64s")
BLOCK = struct.Struct("<IIIIQ")
RECORD = struct.Struct("<IHBBIIIIQQq6Q")
PIECE = struct.Struct("<BBHI")
BLOCK_END = 0xFFFFFFFF


def convert(path: Path, cwd: Path, argv: list[str], status: int) -> None:
    """In place; a log that is of the present form already is left alone."""
    data = path.read_bytes()
    magic, version, machine, ticks0, mono0, real0, rate, boot, host = OLD_HEADER.unpack_from(data)
    if version != 1:
        return
    calls, uncaught, ended = _records(data)
    first = calls[0]
    told: list[segments.Call] = [
        segments.Call(
            kind=segments.PROGRAM, nr=0, pieces=[segments.text(0, "\0".join([*argv, ""]).encode())]
        ),
        segments.Call(
            kind=segments.FD,
            nr=0,
            args=(segments.AT_FDCWD,),
            pieces=[segments.text(0, str(cwd).encode())],
        ),
    ]
    last = segments.Call(kind=segments.STATUS, nr=0, args=(status,))
    for event, when in (
        (told[0], first.start - 2000),
        (told[1], first.start - 1000),
        (last, calls[-1].start + 1),
    ):
        event.start = event.end = when
        event.pid, event.tid = first.pid, 1  # a thread of the launcher's
    writer = segments.Writer()
    body = writer.calls(*told, *calls, *([last] if ended else []))
    head = segments.HEADER.pack(
        magic,
        2,
        machine,
        ticks0,
        mono0,
        real0,
        rate,
        hash(str(path)) & 0xFFFFFFFF,
        ticks0,
        0,
        0,
        boot,
        host,
    )
    path.write_bytes(head + body + (segments.end(uncaught=uncaught) if ended else b""))


def _records(data: bytes) -> tuple[list[segments.Call], int, bool]:
    """In order of threads and of what they did; how many programs were not caught; whether the log has an end."""
    at, found, uncaught, ended = OLD_HEADER.size, [], 0, False
    while at + BLOCK.size <= len(data):
        size, pid, _tid, _offset, _lease = BLOCK.unpack_from(data, at)
        at += BLOCK.size
        if size == BLOCK_END:
            uncaught, ended = pid, True
            break
        found += list(_block(data, at, min(at + size, len(data))))
        at += size
    return sorted(found, key=lambda call: (call.tid, call.pid)), uncaught, ended


def _block(data: bytes, at: int, end: int) -> Iterator[segments.Call]:
    while at + RECORD.size <= end:
        size, nr, route, kind, pid, tid, flags, count, start, stop, ret, *args = RECORD.unpack_from(
            data, at
        )
        pieces, place = [], at + RECORD.size
        for _ in range(count):
            arg, out, length, full = PIECE.unpack_from(data, place)
            place += PIECE.size
            pieces.append((arg, out & 1, data[place : place + length], full))
            place += (length + 7) & ~7
        row = (
            by_number("x86_64", nr)
            if kind == segments.CALL and not flags & segments.FOREIGN
            else None
        )
        wanted = len(row.arguments) if row else {segments.START: 2, segments.EXIT: 0}.get(kind, 6)
        yield segments.Call(
            nr=nr,
            args=tuple(args[:wanted]),
            ret=ret,
            start=start,
            end=max(stop, start),
            tid=tid,
            pid=pid,
            route=route,
            kind=kind,
            flags=flags,
            pieces=pieces,
        )
        at += size

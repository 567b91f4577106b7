# SPDX-License-Identifier: Apache-2.0
"""A call that waits, without a program: `Waiting` is a Request whose memory is a few arrays of bytes.

For the tests of what handlers see and decide. What the real thing does is proven where programs are run.
"""

import os
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lsca.table import Syscall
from lsca.table.arguments import Kind
from lsca.table.live import MACHINE
from lsca.table.reading import iovecs

BASE = 0x10000
STEP = 0x10000
Made = Callable[["Waiting", tuple[int, ...], Mapping[int, bytes]], int]


class Room(int):
    """An argument that is memory to be written: so many bytes of it."""


class Waiting:
    """A call of `row` with these arguments: numbers as they are, str and bytes as memory, `Room` as memory to fill.

    `make` is what happens when the call is made; it gets the arguments and what was replaced.
    """

    def __init__(
        self,
        row: type[Syscall],
        *values: Any,
        make: Made | None = None,
        pid: int | None = None,
        tid: int | None = None,
    ) -> None:
        self.row = row
        self.nr = row.numbers[MACHINE]
        self.pid = os.getpid() if pid is None else pid
        self.tid = self.pid if tid is None else tid
        self.rule = 0
        self.asked = self.nr << 32
        self.interrupted = False
        self.slept: list[float] = []
        self.opened: list[tuple[bytes, int]] = []
        self.made: list[tuple[tuple[int, ...], dict[int, bytes]]] = []
        self.came: list[int] = []  # signals, while it was made
        self.reads = 0
        self._make = make
        self._memory: dict[int, bytearray] = {}
        self._names = row.order[MACHINE]
        args = [self._place(value) for value in values]
        self.args = tuple(args + [0] * (6 - len(args)))

    def _place(self, value: Any) -> int:
        if isinstance(value, Room):
            data = bytes(value)
        elif isinstance(value, int):
            return value & (1 << 64) - 1
        elif isinstance(value, str):
            data = value.encode("utf-8", "surrogateescape") + b"\0"
        elif isinstance(value, list):
            parts = [part if isinstance(part, Room) else bytes(part) for part in value]
            data = b"".join(
                struct.pack("<QQ", self._place(part), part if isinstance(part, Room) else len(part))
                for part in parts
            )
        else:
            data = bytes(value)
        address = BASE + STEP * len(self._memory)
        self._memory[address] = bytearray(data)
        return address

    def _at(self, address: int, size: int) -> tuple[bytearray, int]:
        base = address - address % STEP
        memory = self._memory.get(base)
        if memory is None or address - base + size > max(len(memory), 4096):
            raise OSError(14, "Bad address")
        return memory, address - base

    def read(self, address: int, size: int, /) -> bytes:
        self.reads += 1
        memory, at = self._at(address, size)
        return bytes(memory[at : at + size]).ljust(size, b"\0")

    def write(self, address: int, data: bytes, /) -> int:
        memory, at = self._at(address, len(data))
        memory[at : at + len(data)] = data
        return len(data)

    def string(self, index: int, /) -> bytes:
        return self.read(self.args[index], 4096).split(b"\0")[0]

    def memory(self, index: int, /) -> bytes:
        argument = self.row.arguments[self._names[index]]
        if argument.kind is Kind.IOV_IN:
            assert argument.length
            count = self.args[self._names.index(argument.length)]
            return b"".join(self.read(*one) for one in iovecs(self, self.args[index], count))
        memory, at = self._at(self.args[index], 1)
        size = len(memory)
        if argument.length and argument.layout:
            count = self.args[self._names.index(argument.length)]
            size = min(size, count * argument.layout.size[MACHINE])
        return bytes(memory[at : at + size])

    def fill(self, index: int, data: bytes, /) -> int:
        argument = self.row.arguments[self._names[index]]
        if argument.kind is Kind.IOV_OUT:
            assert argument.length
            done = 0
            for base, size in iovecs(self, self.args[index], self.args[index + 1]):
                self.write(base, data[done : done + size])
                done += len(data[done : done + size])
            return done
        memory, at = self._at(self.args[index], 1)
        part = data[: len(memory) - at]
        memory[at : at + len(part)] = part
        return len(part)

    def proceed(
        self,
        args: Sequence[int] | None = None,
        replace: dict[int, bytes] | None = None,
        signal: int = 0,
    ) -> int:
        given = self.args if args is None else tuple(args)
        self.made.append((given, dict(replace or {})))
        self.came.extend([signal] if signal else [])
        return self._make(self, given, replace or {}) if self._make else 0

    def open(self, fd: int, flags: int, /) -> int:
        os.lseek(fd, 0, os.SEEK_SET)
        self.opened.append((os.read(fd, 1 << 20), flags))
        return 100 + len(self.opened)

    def wait(self, seconds: float, /) -> bool:
        self.slept.append(seconds)
        return self.interrupted

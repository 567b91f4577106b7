# SPDX-License-Identifier: Apache-2.0
"""Arguments of a live call as values, and values as what a call can be given: the table's shapes, through a Request.

The counterpart of what `native/shared/pack.h` does for the log. A program's memory is read when it is asked for and
may say anything: every length is the program's claim, and reading is limited by it and by LIMIT.
"""

import struct
from collections.abc import Mapping
from typing import Final

from lsca.live.address import Address
from lsca.live.request import Request
from lsca.live.values import Number, Structure
from lsca.table.arguments import MEMORY, ArgFlag, Argument, Kind, Length
from lsca.table.constants import Enum, Flags
from lsca.table.text import (
    View,
    show_id,
    show_int,
    show_long,
    show_unsigned,
    signed,
)

LIMIT: Final = 1 << 30  # bytes of one argument
STRINGS_MAX: Final = 1 << 16
PAGE: Final = 4096
IOVEC: Final = struct.Struct("<QQ")
MSGHDR: Final = struct.Struct("<QIxxxxQQQQi")
PATH_MAX: Final = 4096
WORD: Final = (1 << 64) - 1
VECTORS: Final = (Kind.IOV_IN, Kind.IOV_OUT)
READ: Final = (Kind.STRING, Kind.IN, Kind.INOUT, Kind.IOV_IN, Kind.MSG_IN, Kind.STRINGS)
WRITTEN: Final = (Kind.OUT, Kind.INOUT, Kind.IOV_OUT, Kind.MSG_OUT)


def number(argument: Argument, value: int, view: View) -> int:
    """A number as its C type has it, with its names if it has names."""
    show = argument.show
    if isinstance(show, Enum | Flags):
        plain = signed(value, 32) if isinstance(show, Enum) else value & 0xFFFFFFFF
        return Number(plain, show(value, view))
    if show is show_int or argument.kind is Kind.FD:
        return signed(value, 32)
    if show is show_long:
        return signed(value, 64)
    if show is show_unsigned:
        return value & 0xFFFFFFFF
    if show is show_id:
        return -1 if value & 0xFFFFFFFF == 0xFFFFFFFF else value & 0xFFFFFFFF
    return value


def empty(argument: Argument) -> object:
    """What an argument is before the call has filled it, or where its pointer is NULL."""
    if argument.seen is Address:
        return Address(0)
    return argument.seen()


def before(argument: Argument, index: int, request: Request) -> object:
    """What a pointer argument points to before the call. OSError where nothing is mapped."""
    if not request.args[index]:
        return empty(argument)
    if argument.kind is Kind.STRING:
        return request.string(index).decode("utf-8", "surrogateescape")
    if argument.kind is Kind.STRINGS:
        return strings_at(request, request.args[index])
    return request.memory(index)


def after(argument: Argument, index: int, request: Request, view: View) -> bytes:
    """What the call has left where it writes. OSError where nothing is mapped."""
    address = request.args[index]
    if not address:
        return b""
    filled = min(max(view.ret or 0, 0), LIMIT)
    if argument.kind in VECTORS:
        assert argument.length is not None
        return gather(request, address, view.value(argument.length), filled)
    if argument.kind is Kind.MSG_OUT:
        header = MSGHDR.unpack(request.read(address, MSGHDR.size))
        return gather(request, header[2], header[3], filled)
    return request.read(address, size_after(argument, request, view))


def size_after(argument: Argument, request: Request, view: View) -> int:
    """How many bytes of a call's output are valid, once it has been made."""
    assert argument.layout is not None
    size = argument.layout.size[view.machine]
    if ArgFlag.FILLED in argument.flags:
        return min(max(view.ret or 0, 0) * size, LIMIT)
    return min(room(argument, request, view), LIMIT)


def room(argument: Argument, request: Request, view: View) -> int:
    """How many bytes the program has offered for an output."""
    if argument.kind not in MEMORY or argument.layout is None:
        return 0
    size = argument.layout.size[view.machine]
    if argument.measure is Length.CONST or argument.length is None:
        return size
    if argument.measure is Length.DEREF:
        address = view.value(argument.length)
        return int.from_bytes(request.read(address, 4), "little") if address else 0
    count = view.value(argument.length)
    return (signed(count, 64) + 7) // 8 if argument.measure is Length.FDSET else count * size


def iovecs(request: Request, address: int, count: int) -> list[tuple[int, int]]:
    """Addresses and sizes of an array of struct iovec."""
    data = request.read(address, IOVEC.size * min(count, 1024))
    return [(base, size) for base, size in IOVEC.iter_unpack(data)]


def gather(request: Request, address: int, count: int, total: int) -> bytes:
    """The first `total` bytes of several buffers."""
    parts = []
    for base, size in iovecs(request, address, count):
        part = min(size, total)
        if part:
            parts.append(request.read(base, part))
        total -= part
    return b"".join(parts)


def string_at(request: Request, address: int) -> bytes:
    """The string at an address, up to a NUL; never over the end of a page that it does not reach."""
    parts: list[bytes] = []
    while True:
        part = request.read(address, PAGE - address % PAGE)
        end = part.find(b"\0")
        if end >= 0:
            return b"".join([*parts, part[:end]])
        parts.append(part)
        address += len(part)
        if len(parts) * PAGE > LIMIT or not part:
            return b"".join(parts)


def strings_at(request: Request, address: int) -> list[str]:
    """argv or envp."""
    found: list[str] = []
    while len(found) < STRINGS_MAX:
        pointer = int.from_bytes(request.read(address, 8), "little")
        if not pointer:
            break
        found.append(string_at(request, pointer).decode("utf-8", "surrogateescape"))
        address += 8
    return found


def value_of(argument: Argument, data: object, machine: str) -> object:
    """Bytes as the value that a handler sees."""
    if not isinstance(data, bytes):
        return data
    if argument.seen is Address:
        return Address.parse(data)
    if argument.seen is Structure and argument.layout is not None:
        return argument.layout.take_apart(data, machine)
    return data


def to_bytes(argument: Argument, value: object, now: bytes, machine: str) -> bytes:
    """A handler's value as the bytes that go to memory; `now` is what is there. TypeError, ValueError."""
    if isinstance(value, bytearray | memoryview):
        value = bytes(value)
    if argument.seen is Address:
        if isinstance(value, str):
            value = Address.of(value)
        if isinstance(value, Address):
            family = int.from_bytes(now[:2], "little")
            return value.within(family).pack()
    elif isinstance(value, bytes):
        return value
    elif isinstance(value, str) and argument.kind is Kind.STRING:
        data = value.encode("utf-8", "surrogateescape")
        if b"\0" in data:
            raise ValueError("a string ends at its first NUL, and there is one within")
        return data
    elif isinstance(value, Mapping) and argument.layout and argument.layout.shape:
        return _changed(argument, value, now, machine)
    wanted = "str or an Address" if argument.seen is Address else argument.seen.__name__
    raise TypeError(f"{wanted} is wanted, not {type(value).__name__}")


def _changed(
    argument: Argument, value: Mapping[str, int | bytes], now: bytes, machine: str
) -> bytes:
    assert argument.layout and argument.layout.shape
    shape = argument.layout.shape
    try:
        return shape.changed(now, machine, value)
    except KeyError as error:
        names = ", ".join(member.name for member in shape.fields[machine])
        raise ValueError(f"{shape.name} has no member {error.args[0]!r}; it has {names}") from None
    except struct.error as error:
        raise ValueError(f"{shape.name}: {error}") from None

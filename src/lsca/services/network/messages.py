# SPDX-License-Identifier: Apache-2.0
"""Addresses within the messages of sendmsg, sendmmsg and recvmsg: read where they stand in the program's memory, and
for the length of a call replaced there.
"""

import contextlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lsca.live.address import Address

HEADER: Final = struct.Struct("<QIxxxxQQQQi4x")  # struct msghdr
MESSAGE_SIZE: Final = 64  # struct mmsghdr: the same, and a length
NAME_LENGTH_AT: Final = 8
NAME_MOST: Final = 128
COUNT_MOST: Final = 1024  # UIO_MAXIOV


@dataclass(frozen=True, slots=True)
class Header:
    """What a message's header says of its address."""

    name: int
    name_length: int


@dataclass(frozen=True, slots=True)
class Name:
    """An address and where it stands."""

    at: int
    header: int
    address: Address


def length(call: Any, at: int) -> int:
    """The room for an address, as the program says; 0 if it says nothing that can be read."""
    try:
        return int.from_bytes(call.peek(at, 4), "little") if at else 0
    except OSError:
        return 0


def header(call: Any, at: int) -> Header | None:
    try:
        data = call.peek(at, HEADER.size)
    except OSError:
        return None
    if len(data) < HEADER.size:
        return None
    name, size, *_ = HEADER.unpack(data)
    return Header(name, size)


def names(call: Any, at: int, count: int) -> list[Name]:
    """The addresses of some messages; those without are left out."""
    found = []
    for number in range(min(count, COUNT_MOST)):
        place = at + number * MESSAGE_SIZE
        one = header(call, place)
        if one is None:
            break
        if one.name and 0 < one.name_length <= NAME_MOST:
            with contextlib.suppress(OSError):
                address = Address.parse(call.peek(one.name, one.name_length))
                found.append(Name(one.name, place, address))
    return found


@contextlib.contextmanager
def renamed(call: Any, changed: Sequence[tuple[Name, Address]]) -> Iterator[None]:
    """As long as the context lasts, other addresses of no more bytes stand there."""
    before = []
    try:
        for name, address in changed:
            data = address.pack()[: len(name.address.raw)]
            before.append((name.at, name.address.raw))
            call.poke(name.at, data)
        yield
    finally:
        for at, data in reversed(before):
            with contextlib.suppress(OSError):
                call.poke(at, data)

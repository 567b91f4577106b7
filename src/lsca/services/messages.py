# SPDX-License-Identifier: Apache-2.0
"""Addresses in the program's memory: of the messages of sendmsg and sendmmsg, replaced for the length of a call; and
those that a call has put there, which programs are to see as others.
"""

import contextlib
import errno
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import lsca
from lsca.live.address import Address

HEADER: Final = struct.Struct("<QIxxxxQQQQi4x")  # struct msghdr
MESSAGE_SIZE: Final = 64  # struct mmsghdr: the same, and a length
NAME_LENGTH_AT: Final = 8
NAME_MOST: Final = 128
COUNT_MOST: Final = 1024  # UIO_MAXIOV


@dataclass(frozen=True, slots=True)
class Header:
    """What a message's header says of its address, and where it stands."""

    at: int
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


def headers(call: Any, at: int, count: int) -> list[Header]:
    """Those of `count` messages, as far as they can be read."""
    count = min(count, COUNT_MOST)
    size = (count - 1) * MESSAGE_SIZE + HEADER.size
    if count < 1:
        return []
    try:
        data = call.peek(at, size)
    except OSError:
        return headers(call, at, count // 2)
    found = []
    for place in range(0, len(data) - HEADER.size + 1, MESSAGE_SIZE):
        name, length_of_it, *_ = HEADER.unpack_from(data, place)
        found.append(Header(at + place, name, length_of_it))
    return found


def names(call: Any, at: int, count: int) -> list[Name]:
    """The addresses of some messages; those without are left out."""
    found = []
    for one in headers(call, at, count):
        if one.name and 0 < one.name_length <= NAME_MOST:
            with contextlib.suppress(OSError):
                address = Address.parse(call.peek(one.name, one.name_length))
                found.append(Name(one.name, one.at, address))
    return found


def made(call: Any) -> int:
    """The result of a call, which is made now unless another handler has had it made."""
    return int(call.proceed() if call.result is None else call.result)


def send_renamed(call: Any, changed: Sequence[tuple[Name, Address]]) -> lsca.Verdict:
    """Has messages sent to other addresses than the program has written."""
    if changed:
        with _renamed(call, changed):
            made(call)
    return lsca.go_on


@contextlib.contextmanager
def _renamed(call: Any, changed: Sequence[tuple[Name, Address]]) -> Iterator[None]:
    """As long as the context lasts, other addresses stand there. OSError (ENAMETOOLONG) if one is too long for it."""
    before = []
    try:
        for name, address in changed:
            data = address.pack()
            if address.path.startswith("/"):
                data = data[:-1]  # it needs no NUL, and there may be no room for one
            if len(data) > len(name.address.raw):
                raise OSError(
                    errno.ENAMETOOLONG, f"no room for {address} in the place of {name.address}"
                )
            before.append((name.at, name.address.raw))
            call.poke(name.at, data)
            before.append((name.header + NAME_LENGTH_AT, _length(len(name.address.raw))))
            call.poke(name.header + NAME_LENGTH_AT, _length(len(data)))
        yield
    finally:
        for at, data in reversed(before):
            with contextlib.suppress(OSError):
                call.poke(at, data)


Translate = Callable[[Address], Address | None]


def show(call: Any, at: int, length_at: int, room: int, translate: Translate) -> None:
    """Writes another address where a call has written one, as the kernel would: the beginning, and the whole length."""
    size = length(call, length_at)
    if not at or not 0 < size <= NAME_MOST:
        return
    try:
        meant = translate(Address.parse(call.peek(at, min(size, room))))
        if meant is not None:
            data = meant.pack()
            call.poke(at, data[:room])
            call.poke(length_at, _length(len(data)))
    except OSError:
        pass  # the program has taken its memory away


def show_received(call: Any, count: int, translate: Translate) -> None:
    """The same for the messages of recvmsg (a `count` of 1) and recvmmsg."""
    before = headers(call, call.args[1], count)
    result = made(call)
    some = result if call.row_name() == "recvmmsg" else 1
    for one in before[:some] if result >= 0 else ():
        if one.name:
            show(call, one.name, one.at + NAME_LENGTH_AT, one.name_length, translate)


def _length(size: int) -> bytes:
    return size.to_bytes(4, "little")

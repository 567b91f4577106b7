# SPDX-License-Identifier: Apache-2.0
"""What a record touches: its descriptors, its paths, the bytes it moved. Follows from the call's row alone.

Where a path is relative, or a descriptor stands for a file, the caller says what they stand for: `FileOf`.
"""

import posixpath
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from lsca.log.record import Record
from lsca.table import Syscall, by_number
from lsca.table.arguments import AT_FDCWD, ArgFlag, Argument, Kind, Length
from lsca.table.descriptors import PAIR
from lsca.table.effects import Does
from lsca.table.text import FileOf, signed
from lsca.table.waiting import POLLFDS

F_DUPFD: Final = (0, 1030)  # F_DUPFD, F_DUPFD_CLOEXEC
POLLFD: Final = struct.Struct("<ihh")


class Named(NamedTuple):
    """A path argument: the text that was passed, and the absolute path as far as it is known."""

    text: str
    path: str


def readable(text: str) -> str:
    """A path for JSON and tables, which hold text only: bytes that are not UTF-8 become U+FFFD."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def row_of(record: Record, machine: str) -> type[Syscall] | None:
    """The row of a record's call."""
    if record.kind != "call" or record.foreign:
        return None
    return by_number(machine, record.nr)


def arguments_of(row: type[Syscall], machine: str) -> list[Argument]:
    """In the order in which they are passed."""
    return [row.arguments[name] for name in row.order[machine]]


def succeeded(record: Record) -> bool:
    return record.returns and not -4096 < record.ret < 0


def fds_of(record: Record, machine: str) -> Iterator[int]:
    """Every descriptor that the call was given or gave."""
    row = row_of(record, machine)
    if not row:
        return
    for index, argument in enumerate(arguments_of(row, machine)):
        if argument.kind is Kind.FD:
            yield signed(record.args[index], 32)
        elif argument.layout is PAIR:
            yield from pair_of(record, index)
        elif argument.layout is POLLFDS and index in record.entry:
            data = record.entry[index].data
            yield from (item[0] for item in POLLFD.iter_unpack(data[: len(data) & ~7]))
        elif argument.measure is Length.FDSET and index in record.entry:
            bits = int.from_bytes(record.entry[index].data, "little")
            yield from (fd for fd in range(bits.bit_length()) if bits >> fd & 1)
    if succeeded(record) and (row.new_fd or duplicates(record, row, machine)):
        yield record.ret


def duplicates(record: Record, row: type[Syscall], machine: str) -> bool:
    """Whether it is an fcntl that made a descriptor."""
    effect = row.effect
    if not effect or effect.does is not Does.FCNTL:
        return False
    command = record.args[row.order[machine].index(effect.args[1])]
    return command & 0xFFFFFFFF in F_DUPFD


def pair_of(record: Record, index: int) -> tuple[int, ...]:
    """The two descriptors that pipe or socketpair gave."""
    piece = record.exit.get(index)
    if not piece or len(piece.data) < 8 or not succeeded(record):
        return ()
    return struct.unpack_from("<ii", piece.data)


def named_of(record: Record, machine: str, file: FileOf) -> Iterator[Named]:
    """The path arguments, each resolved against the directory that the call names before it."""
    row = row_of(record, machine)
    if not row:
        return
    arguments = arguments_of(row, machine)
    for index, argument in enumerate(arguments):
        if ArgFlag.PATH not in argument.flags or index not in record.entry:
            continue
        text = record.entry[index].data.decode("utf-8", "surrogateescape")
        before = arguments[index - 1] if index else None
        start = (
            signed(record.args[index - 1], 32) if before and before.kind is Kind.FD else AT_FDCWD
        )
        yield Named(text, resolved(text, file(start, False)))


def resolved(path: str, start: str | None) -> str:
    """A path from a directory on, by its text alone. Relative still if the directory is not known."""
    if not path or path.startswith("/"):
        return tidy(path) if path else (start or "")
    return tidy(f"{start}/{path}") if start else path


def tidy(path: str) -> str:
    """Without "." and double slashes; ".." takes away the name before it, as if that were no link."""
    tidied = posixpath.normpath(path)
    return tidied[1:] if tidied.startswith("//") else tidied


def paths_of(record: Record, machine: str, file: FileOf) -> set[str]:
    """All files that the call touches, by its paths or its descriptors."""
    found = {named.path for named in named_of(record, machine, file)}
    for fd in fds_of(record, machine):
        for after in (False, True):
            text = file(fd, after)
            if text:
                found.add(text)
    found.discard("")
    return found

# SPDX-License-Identifier: Apache-2.0
"""The system calls: one class each, grouped by family in the files of this package.

A class is a row: its numbers, its arguments, where it may run, how well it is supported. `lsca.codegen` makes C of the
rows, `format_call` the text of the log, `lsca help` the pages. Nothing else knows a call's shape.
"""

from typing import Final

from lsca.table import (  # the order of the families in `lsca help`
    asynchronous,
    clocks,
    descriptors,
    files,
    identity,
    ipc,
    limits,
    memory,
    metadata,
    mounts,
    obsolete,
    paths,
    processes,
    remote,
    security,
    signals,
    sockets,
    system,
    threads,
    transfer,
    waiting,
    xattrs,
)
from lsca.table.classes import class_names, classes_of, in_class
from lsca.table.descriptors import COMMANDS
from lsca.table.formatting import format_call
from lsca.table.ioctls import REQUESTS
from lsca.table.syscall import (
    HANDLED_TEXT,
    RUNS_TEXT,
    TABLE,
    Handled,
    RowError,
    Runs,
    Support,
    Syscall,
)
from lsca.table.text import MACHINES, Piece

__all__ = [
    "COMMANDS",
    "FAMILIES",
    "HANDLED_TEXT",
    "MACHINES",
    "REQUESTS",
    "RUNS_TEXT",
    "Handled",
    "Piece",
    "RowError",
    "Runs",
    "Support",
    "Syscall",
    "by_name",
    "by_number",
    "class_names",
    "classes_of",
    "format_call",
    "in_class",
    "rows",
]

FAMILIES: Final = (
    files,
    transfer,
    paths,
    metadata,
    xattrs,
    descriptors,
    sockets,
    waiting,
    processes,
    remote,
    threads,
    signals,
    memory,
    clocks,
    identity,
    limits,
    ipc,
    mounts,
    security,
    system,
    asynchronous,
    obsolete,
)


def rows() -> tuple[type[Syscall], ...]:
    """Every row, by x86-64 number, then those that only the generic list has."""
    return TABLE.rows()


def by_name(name: str) -> type[Syscall] | None:
    """The row of that name."""
    return TABLE.by_name.get(name)


def by_number(machine: str, nr: int) -> type[Syscall] | None:
    """The row with that number on that machine ("x86_64" or "aarch64")."""
    return TABLE.by_number[machine].get(nr)

# SPDX-License-Identifier: Apache-2.0
"""strace's classes of system calls: %file, %desc, %network, ...

Most follow from what a row says anyway: whether it takes a path or a descriptor, and which family it is of. Where
strace sees a call elsewhere than its family, the row names the classes itself. `lsca log -e trace=` asks here.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Final

from lsca.table.arguments import ArgFlag, Argument, Kind, Length
from lsca.table.descriptors import PAIR
from lsca.table.syscall import TABLE, Syscall
from lsca.table.waiting import POLLFDS

FAMILY_CLASSES: Final = {
    "clocks": "clock",
    "identity": "creds",
    "ipc": "ipc",
    "memory": "memory",
    "processes": "process",
    "signals": "signal",
    "sockets": "network",
}
OWN_NAMES: Final = {  # the classes that are about names; the man page gives the same expressions
    "stat": r"stat(64)?",
    "lstat": r"lstat(64)?",
    "fstat": r"fstat(64)?|newfstatat|fstatat64|statx",
    "%stat": r"l?stat(64)?|fstat(64)?|newfstatat|fstatat64|statx",
    "statfs": r"statfs(64)?",
    "fstatfs": r"fstatfs(64)?",
    "%statfs": r"f?statfs(64)?|ustat",
}
OTHER_NAMES: Final = {"net": "network"}


def _takes_path(row: type[Syscall]) -> bool:
    return any(ArgFlag.PATH in argument.flags for argument in row.arguments.values())


def _is_fd(argument: Argument) -> bool:
    return (
        argument.kind is Kind.FD
        or argument.measure is Length.FDSET
        or argument.layout in (PAIR, POLLFDS)
    )


def _takes_fd(row: type[Syscall]) -> bool:
    return row.family != "sockets" and (row.new_fd or any(map(_is_fd, row.arguments.values())))


DERIVED: Final[dict[str, Callable[[type[Syscall]], bool]]] = {
    "file": _takes_path,
    "desc": _takes_fd,
}


def classes_of(row: type[Syscall]) -> frozenset[str]:
    """The classes that a call is in, without the "%" of their names."""
    found = {name for name, fits in DERIVED.items() if fits(row)}
    found |= {name for name, names in OWN_NAMES.items() if re.fullmatch(names, row.name)}
    if row.classes is not None:
        found |= set(row.classes)
    elif row.family in FAMILY_CLASSES:
        found.add(FAMILY_CLASSES[row.family])
    return frozenset(found)


@cache
def in_class(name: str) -> frozenset[str] | None:
    """The calls of a class of strace's, or of a family of ours; None if there is neither."""
    name = OTHER_NAMES.get(name, name)
    rows = TABLE.rows()
    found = frozenset(row.name for row in rows if name in classes_of(row))
    return found or frozenset(row.name for row in rows if row.family == name) or None


def class_names() -> tuple[str, ...]:
    """Every name that `in_class` understands, sorted."""
    rows = TABLE.rows()
    names = {row.family for row in rows} | set(OTHER_NAMES)
    return tuple(sorted(names.union(*map(classes_of, rows))))

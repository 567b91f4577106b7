# SPDX-License-Identifier: Apache-2.0
"""Sets of calls in strace's words: `openat,read`, `%file`, `/^f`, `!%memory`, `?name`, `all`.

Classes are what the rows say where they say it (which calls have a path, a descriptor, an address family); what strace
counts to a class beyond that is named here. A family of the table is a class as well.
"""

import re
from collections.abc import Callable
from typing import Final

from lsca.errors import near
from lsca.table.arguments import ArgFlag, Kind
from lsca.table.syscall import TABLE, Syscall

Test = Callable[[type[Syscall]], bool]


class SelectionError(ValueError):
    """A word that selects nothing; `at` is where it stands in the text."""

    def __init__(self, text: str, at: int, length: int) -> None:
        super().__init__(text)
        self.at = at
        self.length = length


def _named(pattern: str) -> Test:
    found = re.compile(pattern)
    return lambda row: bool(found.fullmatch(row.__name__))


def _has_path(row: type[Syscall]) -> bool:
    return any(ArgFlag.PATH in argument.flags for argument in row.arguments.values())


def _has_descriptor(row: type[Syscall]) -> bool:
    return row.new_fd or any(argument.kind is Kind.FD for argument in row.arguments.values())


def _is_network(row: type[Syscall]) -> bool:
    # A socket is read and written by calls for any descriptor; those that say `sockfd` are about sockets alone.
    return row.family == "sockets" or "sockfd" in row.arguments


CLASSES: Final[dict[str, Test]] = {
    "all": lambda row: True,
    "file": _has_path,
    "desc": _has_descriptor,
    "network": _is_network,
    "net": _is_network,
    "process": _named(
        r"v?fork|clone3?|execve(at)?|exit(_group)?|wait(4|id)|unshare|arch_prctl|t?g?kill|tkill"
        r"|rt_(tg)?sigqueueinfo|pidfd_send_signal"
    ),
    "signal": lambda row: (
        row.family == "signals"
        or bool(re.fullmatch(r"t?g?kill|tkill|pause|signalfd4?", row.__name__))
    ),
    "ipc": _named(r"(sem|shm|msg)(get|op|ctl|at|dt|snd|rcv|timedop)"),
    "memory": _named(
        r"brk|m(map|unmap|remap|protect|advise|lock2?|lockall|unlock|unlockall|incore|bind|sync|seal)"
        r"|(get|set)_mempolicy|set_mempolicy_home_node|m(igrate|ove)_pages|pkey_\w+|remap_file_pages"
        r"|io_(setup|destroy)|process_(madvise|mrelease)|map_shadow_stack|munlockall"
    ),
    "creds": _named(
        r"[gs]ete?[ug]id|[gs]etres[ug]id|setre[ug]id|setfs[ug]id|[gs]etgroups|cap[gs]et|prctl"
    ),
    "clock": _named(
        r"clock_(settime|gettime|getres|adjtime)|adjtimex|time|stime|gettimeofday|settimeofday"
    ),
    "stat": _named(r"stat"),
    "lstat": _named(r"lstat"),
    "fstat": _named(r"fstat|newfstatat|statx"),
    "%stat": _named(r"[lf]?stat|newfstatat|statx"),
    "statfs": _named(r"statfs"),
    "fstatfs": _named(r"fstatfs"),
    "%statfs": _named(r"f?statfs|ustat"),
    "pure": _named(r"get(e?[ug]id|p?pid|tid|pgrp)"),
}
BARE: Final = ("all", "file", "desc", "network", "process", "signal", "ipc", "memory")


def class_names() -> tuple[str, ...]:
    """All words that may follow a percent sign."""
    families = {row.family for row in TABLE.by_name.values()}
    return tuple(sorted({*CLASSES, *families} - {"all"}))


def select(text: str) -> frozenset[type[Syscall]]:
    """The rows that a text selects. SelectionError."""
    words = text.removeprefix("!")
    at = len(text) - len(words)
    found: set[type[Syscall]] = set()
    for word in words.split(","):
        found |= _word(word, at)
        at += len(word) + 1
    rows = frozenset(TABLE.by_name.values())
    return rows - found if text.startswith("!") else frozenset(found)


def _word(word: str, at: int) -> set[type[Syscall]]:
    rows = TABLE.by_name.values()
    name = word.removeprefix("?").removesuffix("@64")
    if name.startswith("/"):
        try:
            pattern = re.compile(name[1:])
        except re.error as error:
            raise SelectionError(
                f"{name[1:]!r} is no regular expression: {error}", at, len(word)
            ) from None
        found = {row for row in rows if pattern.search(row.__name__)}
    elif name.startswith("%") or name in BARE:
        found = _class(name.removeprefix("%"), at, len(word))
    else:
        found = {row for row in rows if row.__name__ == name}
    if found or word.startswith("?"):
        return found
    if not name:
        raise SelectionError("a system call is to be named here", at, len(word))
    what = (
        f"no system call matches {name!r}"
        if name[0] == "/"
        else f"there is no system call {name!r}"
    )
    raise SelectionError(what + near(name, [row.__name__ for row in rows]), at, len(word))


def _class(name: str, at: int, length: int) -> set[type[Syscall]]:
    test = CLASSES.get(name)
    rows = TABLE.by_name.values()
    found = {row for row in rows if (test(row) if test else row.family == name)}
    if not found:
        hint = near(name, class_names()) or f"; there are {', '.join(class_names())}"
        raise SelectionError(f"there is no class of calls %{name}{hint}", at, length)
    return found

# SPDX-License-Identifier: Apache-2.0
"""Sets of calls in strace's words: `openat,read`, `%file`, `/^f`, `!%memory`, `?name`, `all`."""

import re
from typing import Final

from lsca.errors import near
from lsca.table.classes import class_names, in_class
from lsca.table.syscall import TABLE, Syscall

# Classes that strace also knows without the percent sign, from times when it had no other way.
BARE: Final = ("all", "file", "desc", "network", "process", "signal", "ipc", "memory")


class SelectionError(ValueError):
    """A word that selects nothing; `at` is where it stands in the text."""

    def __init__(self, text: str, at: int, length: int) -> None:
        super().__init__(text)
        self.at = at
        self.length = length


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
    rows = TABLE.by_name
    name = word.removeprefix("?").removesuffix("@64")
    if name == "all":
        return set(rows.values())
    if name.startswith("/"):
        try:
            pattern = re.compile(name[1:])
        except re.error as error:
            raise SelectionError(
                f"{name[1:]!r} is no regular expression: {error}", at, len(word)
            ) from None
        found = {row for row in rows.values() if pattern.search(row.__name__)}
    elif name.startswith("%") or name in BARE:
        found = _class(name.removeprefix("%"), at, len(word))
    else:
        found = {rows[name]} if name in rows else set()
    if found or word.startswith("?"):
        return found
    if not name:
        raise SelectionError("a system call is to be named here", at, len(word))
    what = (
        f"no system call matches {name!r}"
        if name[0] == "/"
        else f"there is no system call {name!r}"
    )
    raise SelectionError(what + near(name, rows), at, len(word))


def _class(name: str, at: int, length: int) -> set[type[Syscall]]:
    names = in_class(name)
    if names is None:
        hint = near(name, class_names()) or f"; there are {', '.join(class_names())}"
        raise SelectionError(f"there is no class of calls %{name}{hint}", at, length)
    return {TABLE.by_name[one] for one in names}

# SPDX-License-Identifier: Apache-2.0
"""Which records are wanted: strace's expressions, made into one `Selection`.

`calls`, `statuses` and the like read what stands after `-e trace=`, `-e status=`, ...; they raise UsageError, in words.
A Selection says of one record whether it is wanted, and which call numbers can be wanted at all.
"""

import difflib
import fnmatch
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from lsca.errors import UsageError
from lsca.log.record import Record
from lsca.log.touched import fds_of, paths_of
from lsca.table import by_name, class_names, in_class, rows
from lsca.table.text import FileOf, no_file

STATUSES: Final = ("successful", "failed", "unfinished")
NO_STATUSES: Final = {
    "unavailable": "the log knows the result of every call that returned",
    "detached": "nothing is ever detached from a program that is logged",
}
OLD_NAMES: Final = ("file", "process", "network", "signal", "ipc", "desc", "memory")  # without %
PERSONALITIES: Final = ("@32", "@x32")
GLOB: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Calls:
    """A set of calls by name. `others`: everything that is not named, numbers without a name included."""

    names: frozenset[str] = frozenset()
    others: bool = True

    def __contains__(self, name: str | None) -> bool:
        return (name in self.names) != self.others

    @property
    def everything(self) -> bool:
        return self.others and not self.names


@dataclass(frozen=True, slots=True)
class Selection:
    """What is wanted of a log; by default all of it.

    `statuses` None: whatever the result. `fds` and `paths`: calls that touch one of these descriptors, or a file whose
    absolute path is, is below, or matches one of these.
    """

    calls: Calls = field(default_factory=Calls)
    statuses: frozenset[str] | None = None
    pids: frozenset[int] = frozenset()
    fds: frozenset[int] = frozenset()
    paths: tuple[str, ...] = ()

    @property
    def asks_for_files(self) -> bool:
        """Whether descriptors must be followed for it."""
        return bool(self.paths)

    def numbers(self, machine: str) -> frozenset[int] | None:
        """The numbers of calls that may be wanted, for a reader that can leave out the others. None: any."""
        if self.calls.everything or self.calls.others:
            return None
        found = (by_name(name) for name in self.calls.names)
        return frozenset(row.numbers[machine] for row in found if row and machine in row.numbers)

    def wants(self, record: Record, machine: str, file: FileOf = no_file) -> bool:
        """Whether a record is wanted. Beginnings and ends of processes are, unless calls are chosen."""
        if self.pids and record.pid not in self.pids and record.tid not in self.pids:
            return False
        if record.kind != "call":
            chosen = self.statuses is not None or self.fds or self.paths
            return self.calls.everything and not chosen
        name = None if record.foreign else record.name
        if name not in self.calls:
            return False
        if self.statuses is not None and status_of(record) not in self.statuses:
            return False
        if self.fds and not self.fds & set(fds_of(record, machine)):
            return False
        return not self.paths or self._touches(record, machine, file)

    def _touches(self, record: Record, machine: str, file: FileOf) -> bool:
        found = paths_of(record, machine, file)
        return any(path_fits(path, wanted) for path in found for wanted in self.paths)


def status_of(record: Record) -> str:
    """ "successful", "failed", or "unfinished" for a call that did not return."""
    if not record.returns:
        return "unfinished"
    return "failed" if -4096 < record.ret < 0 else "successful"


def path_fits(path: str, wanted: str) -> bool:
    """`wanted` is a path, a pattern, or, with a slash at its end, a directory and all that is below it.

    A pattern without a slash is one of names: *.so. One that is not absolute is one of the last names: lib/*.so.
    """
    if GLOB & set(wanted):
        if not wanted.startswith("/"):
            wanted, path = f"*/{wanted}", f"/{path}"
        return _pattern(wanted).match(path) is not None
    if wanted.endswith("/"):
        return path.startswith(wanted) or path == wanted[:-1]
    return path == wanted


@lru_cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(text))


# ---- expressions ----


def calls(text: str) -> Calls:
    """What `-e trace=` takes: names, %classes, /expressions, a comma between them, "!" before all, "?" before one."""
    negated = False
    while text.startswith("!"):
        negated, text = not negated, text[1:]
    if text in ("all", "none", ""):
        return Calls(others=(text == "all") != negated)
    names = frozenset[str]().union(*(_named(word, text) for word in text.split(",") if word))
    return Calls(names, others=negated)


def _named(word: str, whole: str) -> frozenset[str]:
    """The calls that one word stands for."""
    forgiving = word.startswith("?")
    word = word.removeprefix("?").removesuffix("@64")
    if word.endswith(PERSONALITIES):
        at = word[word.index("@") :]
        raise UsageError(
            f"-e trace={whole}: calls of 32-bit programs stand in a log by number only; leave out the {at}"
        )
    if word == "all":
        return frozenset(row.name for row in rows())
    found: frozenset[str] | None
    if word.startswith("/"):
        found = _matching(word[1:], whole)
    elif word.startswith("%"):
        found = in_class(word[1:])
    elif by_name(word):
        found = frozenset({word})
    else:
        found = in_class(word) if word in OLD_NAMES else None
    if found is None or not found:
        if forgiving:
            return frozenset()
        raise UsageError(f"-e trace={whole}: {_unknown(word)}")
    return found


def _matching(expression: str, whole: str) -> frozenset[str]:
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise UsageError(f"-e trace={whole}: not a regular expression: {error}") from error
    return frozenset(row.name for row in rows() if pattern.search(row.name))


def _unknown(word: str) -> str:
    if word.startswith("/"):
        return f"no system call matches {word[1:]!r}; with a question mark before it (?{word}) that is no error"
    if word.startswith("%"):
        known = ", ".join("%" + name for name in class_names())
        return f"there is no such class or family; there are {known}"
    near = difflib.get_close_matches(word, [row.name for row in rows()], 1)
    hint = f"; did you mean {near[0]}?" if near else f"; ?{word} would be no error"
    return f"there is no such system call: {word}{hint}"


def statuses(text: str) -> frozenset[str]:
    """What `-e status=` takes."""
    negated = text.startswith("!")
    words = text.removeprefix("!").split(",")
    found: set[str] = set()
    for word in words:
        if word in STATUSES:
            found.add(word)
        elif word == "all":
            found |= set(STATUSES)
        elif word in NO_STATUSES:
            raise UsageError(f"-e status={text}: {NO_STATUSES[word]}")
        elif word != "none":
            known = ", ".join(STATUSES)
            raise UsageError(f"-e status={text}: there is no status {word!r}; there are {known}")
    return frozenset(set(STATUSES) - found if negated else found)


def numbers(text: str, option: str) -> frozenset[int]:
    """Numbers with commas or white space between them: descriptors, processes."""
    words = text.replace(",", " ").split()
    if not words or not all(word.isdecimal() for word in words):
        raise UsageError(f"{option} {text}: numbers are wanted, with commas between them")
    return frozenset(map(int, words))


def paths(texts: Iterable[str]) -> tuple[str, ...]:
    """What -P takes: the text itself, the absolute path that it is from here, and what that is a link to."""
    found: dict[str, None] = {}
    for text in texts:
        if not text:
            raise UsageError("-P wants a path")
        found[text] = None
        if GLOB & set(text):
            continue
        slash = "/" if text.endswith("/") and text != "/" else ""
        found[os.path.abspath(text) + slash] = None
        found[os.path.realpath(text) + slash] = None
    return tuple(found)

# SPDX-License-Identifier: Apache-2.0
"""What a run did to files: which were read, written, created, deleted, renamed, and which were looked for in vain."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from lsca.errors import UsageError
from lsca.log.colour import Paint
from lsca.log.descriptors import Descriptors
from lsca.log.filters import path_fits
from lsca.log.reader import Log
from lsca.log.record import Record
from lsca.log.touched import fds_of, named_of, readable, row_of, succeeded
from lsca.table import Syscall, classes_of, rows
from lsca.table.effects import Does, Moves
from lsca.table.files import OPEN_FLAGS

ENOENT: Final = -2
DELETES: Final = ("unlink", "unlinkat", "rmdir")
RENAMES: Final = ("rename", "renameat", "renameat2")
CREATES: Final = ("mkdir", "mkdirat", "mknod", "mknodat", "creat")
LINKS: Final = ("link", "linkat", "symlink", "symlinkat")
PSEUDO: Final = re.compile(r"[\w-]+:\[|anon_inode:|/memfd:")  # what has no path
KINDS: Final = ("read", "written", "created", "deleted", "renamed", "missed")
SECOND_FD_MOVES: Final = 2


@dataclass(slots=True)
class File:
    """One path, and what was done to it. Times are CLOCK_REALTIME in nanoseconds."""

    path: str
    opened: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    created: int = 0
    deleted: int = 0
    renamed: int = 0
    missed: int = 0
    first_ns: int = 0
    last_ns: int = 0
    pids: set[int] = field(default_factory=set)
    renamed_to: str | None = None

    def is_kind(self, kind: str) -> bool:
        """Whether one of `KINDS` is true of it."""
        value: int = getattr(self, f"{kind}_bytes" if kind in ("read", "written") else kind)
        return value > 0


# heading: value to be sorted by
SORTS: Final[dict[str, Callable[[File], Any]]] = {
    "path": lambda file: file.path,
    "opened": lambda file: (-file.opened, file.path),
    "read": lambda file: (-file.read_bytes, file.path),
    "written": lambda file: (-file.written_bytes, file.path),
    "bytes": lambda file: (-file.read_bytes - file.written_bytes, file.path),
    "created": lambda file: (-file.created, file.path),
    "deleted": lambda file: (-file.deleted, file.path),
    "renamed": lambda file: (-file.renamed, file.path),
    "missed": lambda file: (-file.missed, file.path),
    "by": lambda file: (-len(file.pids), file.path),
    "first": lambda file: (file.first_ns, file.path),
    "last": lambda file: (file.last_ns, file.path),
}
HEAD: Final = ("OPENED", "READ", "WRITTEN", "CREATED", "DELETED", "RENAMED", "MISSED", "BY")


class Files:
    """Collects files from records, which come in order of their start."""

    def __init__(self, log: Log) -> None:
        self._machine = log.header.machine
        self._descriptors = Descriptors(log)
        self._files: dict[str, File] = {}

    @classmethod
    def of(cls, log: Log) -> "Files":
        """All files of a log; calls that touch none are not even looked at."""
        found = cls(log)
        for record in log.records(_touching(), events=False):
            found.add(record)
        return found

    def add(self, record: Record) -> None:
        stands_for = self._descriptors.of(record)
        row = row_of(record, self._machine)
        if not row or not record.returns:
            return
        named = list(named_of(record, self._machine, stands_for))
        if named:
            self._named(record, row, [name.path for name in named])
        if row.moves and record.ret > 0:
            fds = list(fds_of(record, self._machine))[:SECOND_FD_MOVES]
            for at, fd in enumerate(fds):
                path = stands_for(fd, False)
                if path and not PSEUDO.match(path):
                    file = self._file(path, record)
                    if (row.moves is Moves.IN) == (at == 0):
                        file.read_bytes += record.ret
                    else:
                        file.written_bytes += record.ret

    def _named(self, record: Record, row: type[Syscall], paths: list[str]) -> None:
        """A call that named files by path."""
        if not paths[0]:
            return
        if record.ret == ENOENT:
            self._file(paths[0], record).missed += 1
            return
        if not succeeded(record):
            return
        file = self._file(paths[0], record)
        if row.effect and row.effect.does is Does.OPENS:
            file.opened += 1
            file.created += _creates(record, row, self._machine)
        if row.name in DELETES:
            file.deleted += 1
        elif row.name in RENAMES and len(paths) > 1:
            file.renamed += 1
            file.renamed_to = paths[1]
            self._file(paths[1], record).created += 1
        elif row.name in CREATES:
            file.created += 1
        elif row.name in LINKS:
            self._file(paths[-1], record).created += 1

    def _file(self, path: str, record: Record) -> File:
        file = self._files.get(path)
        if file is None:
            file = self._files[path] = File(path, first_ns=record.start_ns)
        file.last_ns = max(file.last_ns, record.end_ns, record.start_ns)
        file.pids.add(record.pid)
        return file

    def chosen(
        self, kinds: Iterable[str] = (), below: Iterable[str] = (), sort: str = "path"
    ) -> list[File]:
        """Those of one of these kinds, and below one of these paths, if any are given. UsageError."""
        if sort not in SORTS:
            raise UsageError(
                f"--sort {sort}: there is no such column; there are {', '.join(SORTS)}"
            )
        wanted, under = tuple(kinds), tuple(below)
        found = [
            file
            for file in self._files.values()
            if (not wanted or any(file.is_kind(kind) for kind in wanted))
            and (not under or any(_below(file.path, path) for path in under))
        ]
        return sorted(found, key=SORTS[sort])


def _touching() -> frozenset[str]:
    """The calls that name a file, or move bytes."""
    return frozenset(row.name for row in rows() if row.moves or "file" in classes_of(row))


def _below(path: str, wanted: str) -> bool:
    return path_fits(path, wanted) or path.startswith(wanted.rstrip("/") + "/")


def _creates(record: Record, row: type[Syscall], machine: str) -> bool:
    """Whether an open may have created its file. O_CREAT alone does not tell whether it was there before."""
    order = row.order[machine]
    if "flags" not in order:
        return False
    flags = record.args[order.index("flags")]
    return bool(flags & OPEN_FLAGS["O_CREAT"])


def lines(files: list[File], paint: Paint) -> Iterator[str]:
    """A head, a line for each file, and the sums."""
    rows = [_cells(file) for file in files]
    sums = (
        sum(file.opened for file in files),
        sum(file.read_bytes for file in files),
        sum(file.written_bytes for file in files),
        *(sum(getattr(file, kind) for file in files) for kind in KINDS[2:]),
    )
    pids = set[int]().union(*(file.pids for file in files)) if files else set()
    last = (*map(_count, sums), str(len(pids)))
    widths = [max(len(row[at]) for row in [HEAD, last, *rows]) for at in range(len(HEAD))]

    def line(cells: tuple[str, ...]) -> str:
        return "  ".join(f"{text:>{width}}" for text, width in zip(cells, widths, strict=True))

    yield paint("head", line(HEAD) + "  PATH")
    for file, row in zip(files, rows, strict=True):
        moved = f" -> {file.renamed_to}" if file.renamed_to else ""
        gone = bool(file.deleted or (file.missed and not file.opened))
        yield f"{line(row)}  {paint('error' if gone else 'path', file.path)}{moved}"
    plural = "" if len(files) == 1 else "s"
    yield paint("head", f"{line(last)}  {len(files)} file{plural}")


def facts(file: File) -> dict[str, Any]:
    """One file for --json: docs/log.md names the fields."""
    return {
        "path": readable(file.path),
        "opened": file.opened,
        "read_bytes": file.read_bytes,
        "written_bytes": file.written_bytes,
        "created": file.created,
        "deleted": file.deleted,
        "renamed": file.renamed,
        "renamed_to": file.renamed_to and readable(file.renamed_to),
        "missed": file.missed,
        "by": sorted(file.pids),
        "first_ns": file.first_ns,
        "last_ns": file.last_ns,
    }


def _count(number: int) -> str:
    return str(number) if number else "."


def _cells(file: File) -> tuple[str, ...]:
    numbers = (
        file.opened,
        file.read_bytes,
        file.written_bytes,
        file.created,
        file.deleted,
        file.renamed,
        file.missed,
    )
    return (*map(_count, numbers), str(len(file.pids)))

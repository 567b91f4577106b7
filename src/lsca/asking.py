# SPDX-License-Identifier: Apache-2.0
"""What the fixture's questions find in the log of a test. Called by testing.py, when a test asks."""

import errno
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from lsca.errors import HandlerError
from lsca.handlers.conditions import glob
from lsca.live.address import Address
from lsca.log import Log
from lsca.log.descriptors import Descriptors
from lsca.log.files import Files
from lsca.log.record import Record
from lsca.log.text import Style, as_text
from lsca.log.touched import paths_of
from lsca.table.selection import SelectionError, select

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

LINE: Final = 200  # characters of one that are shown
STRINGS: Final = 60  # bytes of a string
DIRECTORY: Final = re.compile(r"AT_FDCWD<[^>]*>")
USUAL: Final = frozenset({("ioctl", "ENOTTY"), ("lseek", "ESPIPE")})
PRELOAD: Final = b"/etc/ld.so.preload"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a program's. `error` is an errno's name, "" if it succeeded; `paths` are absolute."""

    name: str
    pid: int
    ret: int
    error: str
    paths: frozenset[str]
    text: str = field(compare=False)

    def __str__(self) -> str:
        return self.text


class Answer:
    """What a question in SQL gave; everything else is asked of `relation`, DuckDB's."""

    def __init__(self, relation: "DuckDBPyRelation | None") -> None:
        self.relation = relation

    def rows(self) -> list[tuple[Any, ...]]:
        return [] if self.relation is None else self.relation.fetchall()

    def scalar(self) -> Any:
        """The first value of the first row; None if there is none."""
        rows = self.rows()
        return rows[0][0] if rows and rows[0] else None

    def column(self) -> list[Any]:
        """The first value of each row."""
        return [row[0] for row in self.rows()]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.rows())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.relation, name)


def calls(
    log: Log, names: Sequence[str], *, path: str | None, error: str | None, pid: int | None
) -> list[Call]:
    """As `Fixture.calls`."""
    try:
        wanted = {row.name for row in select(",".join(names))} if names else None
    except SelectionError as failed:
        raise HandlerError(str(failed)) from None
    pattern = None if path is None else glob(path)
    found = []
    machine, stands_for = log.header.machine, Descriptors(log)
    pids = None if pid is None else [pid]
    for record in log.records(wanted, pids=pids, events=False):
        code = _error(record)
        if error is not None and (not code if error == "*" else code != error):
            continue
        file = stands_for.of(record)
        paths = frozenset(paths_of(record, machine, file))
        if pattern is not None and not any(map(pattern.fullmatch, paths)):
            continue
        text = as_text(record, _style(machine), file=file)
        found.append(Call(record.name or "", record.pid, record.ret, code, paths, text))
    return found


def files(log: Log, *what: str) -> list[str]:
    """Paths of which one of these is true: "read", "written", "created"."""
    return [file.path for file in Files.of(log).chosen(list(what))]


def connections(log: Log) -> list[str]:
    """As `Fixture.connections`."""
    found: dict[str, None] = {}
    for record in log.records(["connect"], events=False):
        if 1 in record.entry:
            address = str(Address.parse(record.entry[1].data))
            found[address] = None
    return list(found)


def last_calls(log: Log, count: int) -> str:
    """As `Fixture.last_calls`."""
    stands_for, style = Descriptors(log), _style(log.header.machine)
    records = list(log.records(events=False))
    errors = [record for record in records if _error(record) and not _is_usual(record)][-count:]
    failed = [_shown(record, style, stands_for) for record in errors]
    last = [_shown(record, style, stands_for) for record in records[-count:]]
    if not records:
        return "no program has made a call"
    parts = [f"the last {len(last)} of {len(records)} calls", *last]
    if failed:
        parts = [f"the last {len(failed)} that failed", *failed, "", *parts]
    return "\n".join(parts)


def _error(record: Record) -> str:
    failed = record.returns and -4096 < record.ret < 0
    return errno.errorcode.get(-record.ret, str(-record.ret)) if failed else ""


def _is_usual(record: Record) -> bool:
    """Fails in nearly every program: it asks whether this is a terminal, whether there is something to preload."""
    if (record.name, _error(record)) in USUAL:
        return True
    path = record.entry.get(0)
    return record.name == "access" and path is not None and path.data.startswith(PRELOAD)


def _style(machine: str) -> Style:
    return Style(machine, clock="none", duration=False, route=False, strings=STRINGS)


def _shown(record: Record, style: Style, descriptors: Descriptors) -> str:
    line = DIRECTORY.sub("AT_FDCWD", as_text(record, style, file=descriptors.of(record)))
    return line if len(line) <= LINE else f"{line[: LINE - 3]}..."

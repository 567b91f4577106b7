# SPDX-License-Identifier: Apache-2.0
"""`open_log` and `Log`: the log of one run or of several, in one file or in many.

Files are read by the extension `lsca._log`, which checks whatever it believes; here are only the questions that one can
ask. What follows the first damage of a file is left out: sizes there cannot be believed.
"""

import glob
import os
import time
from collections.abc import Collection, Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lsca import _log
from lsca.errors import LogError
from lsca.log.record import MACHINES, Gap, Header, Record, Report, record
from lsca.log.rings import Ring, Waits
from lsca.log.rings import rings as find_rings
from lsca.log.rings import waits as find_waits
from lsca.table import rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

    from lsca.log.sql import Database

AnyPath = str | PathLike[str]
CALL_LIMIT: Final = 512
AT_FDCWD: Final = -100
UNFINISHED: Final = "the file has no end block: the run is still going, or was killed"


class Arrow:
    """The calls as an Arrow stream; polars and pyarrow take it as it is: `polars.DataFrame(log.arrow())`.

    `padded`: with all columns, of which only those asked for are filled.
    """

    def __init__(
        self, log: _log.Log, columns: Collection[str] | None, *, padded: bool = False
    ) -> None:
        unknown = set(columns or ()) - set(_log.COLUMNS)
        if unknown:
            known = ", ".join(_log.COLUMNS)
            raise LogError(f"calls have no column {sorted(unknown)[0]!r}; there are {known}")
        self._log = log
        self._padded = padded
        self._wanted = 0
        for place, name in enumerate(_log.COLUMNS):
            self._wanted |= (columns is None or name in columns) << place

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._log.stream(self._wanted, not self._padded)


class Log:
    """What `open_log` gives. Iterating gives its records in order of their start.

    `lost` counts records that found no room, `uncaught` programs that ran without the agent. `damage` says in words
    where reading had to stop, or that the log has no end; it may come to light late, when the damaged part is read.
    """

    def __init__(
        self, paths: Iterable[Path], pattern: str | None = None, *, chain: bool = False
    ) -> None:
        self._log = _log.Log()
        self._pattern = pattern
        self._chain = chain
        self._database: Database | None = None
        self.paths: list[Path] = []
        for path in paths:
            self._add(path)
        self._add_next()

    def _add_next(self) -> bool:
        """The segments that follow the last one: FILE.1 after FILE, FILE.2 after FILE.1."""
        grown = False
        while self._chain:
            last = self._log.segments()[-1]
            if not last["end"] or last["end"][3]:
                break
            path, number = os.fsdecode(last["path"]), last["number"]
            following = Path(f"{path.removesuffix(f'.{number}')}.{number + 1}")
            try:
                if self._log.add(os.fsencode(following), True):
                    break
            except OSError:
                break
            self.paths.append(following)
            grown = True
        return grown

    def _add(self, path: Path) -> None:
        try:
            problem = self._log.add(os.fsencode(path))
        except OSError as error:
            raise LogError(f"cannot read {path}: {os.strerror(error.errno or 0)}") from error
        if problem:
            raise LogError(f"{path} {problem}")
        self.paths.append(path)

    # ---- what there is ----------------------------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """The first file."""
        return self.paths[0]

    @property
    def header(self) -> Header:
        """The first run's."""
        return self.headers[0]

    @property
    def headers(self) -> tuple[Header, ...]:
        """Of each run."""
        first: dict[int, _log.Segment] = {}
        for segment in self._log.segments():
            first.setdefault(segment["run"], segment)
        return tuple(_header(segment) for segment in first.values())

    @property
    def pids(self) -> frozenset[int]:
        return frozenset(self._log.pids())

    def __len__(self) -> int:
        return self._log.length()

    @property
    def lost(self) -> int:
        return sum(self._ends(lambda end: end[0] + end[1]).values())

    @property
    def uncaught(self) -> int:
        return sum(self._ends(lambda end: end[2]).values())

    def _ends(self, fact: Any) -> dict[int, int]:
        """What the ends of each run's segments say, which count through the run."""
        found: dict[int, int] = {}
        for segment in self._log.segments():
            if segment["end"]:
                run = segment["run"]
                found[run] = max(found.get(run, 0), fact(segment["end"]))
        return found

    @property
    def gaps(self) -> int:
        """At how many places records are missing by their numbers; `verify` says which."""
        return len(_gaps(self._log, deep=False))

    @property
    def damage(self) -> str | None:
        """Every damaged or unfinished file in words; None if there is none."""
        return "; ".join(self._damages()) or None

    def _damages(self) -> Iterator[str]:
        for segment in self._log.segments():
            name = f"{Path(os.fsdecode(segment['path'])).name}: " if len(self.paths) > 1 else ""
            if segment["problem"]:
                yield f"{name}{segment['problem']}, at byte {segment['problem_at']}"
            elif not segment["end"]:
                yield name + UNFINISHED

    @property
    def complete(self) -> bool:
        """The runs ended in good order, and nothing is known to be missing."""
        return not self._problems(_gaps(self._log, deep=False))

    def verify(self) -> Report:
        """Reads everything, and says exactly what is missing."""
        gaps = _gaps(self._log, deep=True)
        return Report(len(self), gaps, tuple(self._problems(gaps)))

    def _problems(self, gaps: Iterable[Gap]) -> list[str]:
        found = list(self._damages())
        found += self._absent()
        found += map(str, gaps)
        texts = (
            (self._ends(lambda end: end[0]), "found no room and were lost"),
            (self._ends(lambda end: end[1]), "could not be written, or made no sense"),
        )
        found += [f"{n} records {what}" for ends, what in texts if (n := sum(ends.values()))]
        if self.uncaught:
            found.append(
                f"{self.uncaught} program{'s' * (self.uncaught > 1)} ran without the agent, whose calls are not here"
            )
        return found

    def _absent(self) -> Iterator[str]:
        """Segments that are not among the files."""
        numbers: dict[int, dict[int, _log.Segment]] = {}
        for segment in self._log.segments():
            numbers.setdefault(segment["run"], {})[segment["number"]] = segment
        for segments in numbers.values():
            expected = 0
            for number in sorted(segments):
                if number == expected + 1:
                    yield f"segment {expected} of the run is not among the files"
                elif number > expected:
                    yield f"segments {expected} to {number - 1} of the run are not among the files"
                expected = number + 1
            end = segments[expected - 1]["end"]
            if end and not end[3]:
                yield f"the segments after number {expected - 1} are not among the files"

    # ---- records ----------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Record]:
        return self.records()

    def records(
        self,
        names: Collection[str] | None = None,
        *,
        pids: Collection[int] | None = None,
        events: bool = True,
        others: bool | None = None,
        after: list[int] | None = None,
    ) -> Iterator[Record]:
        """Records in order of their start, over all threads.

        `names`: only these calls; `pids`: only these processes or threads. `events`: also what is no call. `others`:
        also calls that the table does not have (as a rule, if no names are given). `after`: only what came after
        `mark()`.
        """
        wanted = self._numbers(names)
        strangers = names is None if others is None else others
        ids = None if pids is None else list(pids)
        return map(record, self._log.records(wanted, strangers, events, ids, after))

    def _numbers(self, names: Collection[str] | None) -> bytes:
        if names is None:
            return b"\1" * CALL_LIMIT
        machines = {segment["machine"] for segment in self._log.segments()}
        wanted = bytearray(CALL_LIMIT)
        for row in rows():
            if row.name in names:
                for machine in machines:
                    number = row.numbers.get(MACHINES[machine])
                    # A log of two machines shows a few calls too many; the iterator's user looks at their names.
                    if number is not None:
                        wanted[number] = 1
        return bytes(wanted)

    def mark(self) -> list[int]:
        """How far the log goes now, for `records(after=...)`."""
        return [segment["blocks"] for segment in self._log.segments()]

    def refresh(self) -> bool:
        """Looks whether the files have grown, or new ones of their pattern have come; True if so."""
        grown = self._log.refresh()
        for name in sorted(glob.glob(self._pattern)) if self._pattern else ():
            if Path(name) not in self.paths:
                self._add(Path(name))
                grown = True
        grown |= self._add_next()
        if grown and self._database:
            self._database.forget()
        return grown

    def follow(self, every: float = 0.2, **wanted: Any) -> Iterator[Record]:
        """The records that there are, and then those that come, until the log has its end."""
        seen = dict.fromkeys(self.paths, 0)
        while True:
            segments = self._log.segments()
            after = [seen.get(Path(os.fsdecode(one["path"])), 0) for one in segments]
            yield from self.records(after=after, **wanted)
            for one in segments:
                seen[Path(os.fsdecode(one["path"]))] = one["blocks"]
            if all(one["end"] or one["problem"] for one in segments) and not self._goes_on():
                return
            if not self.refresh():
                time.sleep(every)

    def _goes_on(self) -> bool:
        """Whether a run's last segment says that another one follows, or ends inside what is being written."""
        last: dict[int, _log.Segment] = {one["run"]: one for one in self._log.segments()}
        return any(
            not one["end"][3] if one["end"] else "ends inside" in (one["problem"] or "ends inside")
            for one in last.values()
        )

    # ---- what descriptors stood for ---------------------------------------------------------------------------------

    def file(self, record: Record, fd: int) -> str | None:
        """What a descriptor of the record's process stood for when the call began; AT_FDCWD is its directory."""
        found = self._log.file(record.run, record.pid, fd, record.ticks)
        return None if found is None else found.decode("utf-8", "backslashreplace")

    def path_of(self, record: Record, path: bytes, fd: int = AT_FDCWD) -> str:
        """Where a path argument of the record leads to: absolute, if it is known from where it starts.

        `..` takes the name before it away, by the text alone.
        """
        found = self._log.file(record.run, record.pid, fd, record.ticks, path)
        return (found or b"").decode("utf-8", "backslashreplace")

    # ---- connections through memory ---------------------------------------------------------------------------------

    def rings(self) -> list[Ring]:
        """The ends of connections whose bytes went through memory, in the order in which they were switched."""
        return find_rings(self)

    def waits(self) -> list[Waits]:
        """How the programs of each run have waited; of those that have, and have come to their end."""
        return find_waits(self)

    # ---- tables -----------------------------------------------------------------------------------------------------

    def arrow(self, columns: Collection[str] | None = None, *, padded: bool = False) -> Arrow:
        """The calls as an Arrow stream, of all columns or only these. A column that is not asked for costs nothing.

        `padded`: those that are not asked for are there nevertheless, without values.
        """
        return Arrow(self._log, columns, padded=padded)

    def sql(self, query: str, parameters: object = None) -> "DuckDBPyRelation | None":
        """Asks DuckDB. There are the tables of docs/sql.md. The last statement's result, if any."""
        if self._database is None:
            from lsca.log.sql import (
                Database,
            )  # with the package of that name, which not everybody has

            self._database = Database(self)
        return self._database.ask(query, parameters)

    def interrupt(self) -> None:
        """Ends, from another thread, the question whose result is being fetched: duckdb.InterruptException there."""
        if self._database is not None:
            self._database.interrupt()


def _gaps(log: _log.Log, *, deep: bool) -> tuple[Gap, ...]:
    found = log.verify(deep)
    return tuple(
        Gap(run, pid, tid, thread, first, end - first, twice)
        for run, pid, tid, thread, first, end, twice in found
    )


def _header(segment: "_log.Segment") -> Header:
    return Header(
        MACHINES[segment["machine"]],
        segment["ticks0"],
        segment["mono0"],
        segment["real0"],
        segment["ns_per_tick"],
        segment["boot_id"].decode("utf-8", "replace"),
        segment["host"].decode("utf-8", "replace"),
    )


def open_log(paths: AnyPath | Iterable[AnyPath]) -> Log:
    """Open a log: a file with the segments that follow it, several files, or all that match a pattern like "*.lsca".

    Raises LogError if one cannot be read or is no log; never for damage further on.
    """
    if not isinstance(paths, (str, PathLike)):
        many = [Path(path) for path in paths]
        if not many:
            raise LogError("no log was named")
        return Log(many)
    text = os.fspath(paths)
    if not os.path.lexists(text) and glob.has_magic(text):
        found = sorted(glob.glob(text))
        if not found:
            raise LogError(f"no file matches {text}")
        return Log(map(Path, found), text)
    return Log([Path(text)], chain=True)


read_log = open_log

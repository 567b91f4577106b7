# SPDX-License-Identifier: Apache-2.0
"""What the pytest fixture `lsca` is: rules about the programs that a test starts, and questions about their calls.

Imported by the plugin (pytest_plugin.py) when a test asks for the fixture, and not before. It knows nothing of pytest
and can be used without it, as a context manager.
"""

import contextlib
import errno
import os
import re
import signal
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import lsca
from lsca import _native
from lsca.errors import HandlerError
from lsca.handlers.conditions import glob
from lsca.handlers.dispatch import OnError
from lsca.hosting import Host, Launchers
from lsca.live.address import Address
from lsca.log.descriptors import Descriptors
from lsca.log.files import Files
from lsca.log.record import Record
from lsca.log.text import Style, as_text
from lsca.log.touched import paths_of
from lsca.running import Completed
from lsca.table.selection import SelectionError, select

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

LAST: Final = 20  # calls that are shown of a failed test
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


class Fixture:
    """The programs of one test. `log_path` is the log's file, `route` and `strict` as in `lsca.run`."""

    def __init__(
        self,
        log_path: str | os.PathLike[str],
        *,
        route: str = "kernel",
        strict: bool = False,
        on_error: OnError = "go_on",
        launchers: Launchers | None = None,
    ) -> None:
        self.log_path = Path(log_path)
        self.route = route
        self.strict = strict
        self.on_error: OnError = on_error
        self.host = Host(os.fspath(log_path), launchers=launchers, strict=strict, on_error=on_error)
        self._rules: list[lsca.Rule[Any]] = []
        self._more: list[Path] = []  # logs of runs in another session
        self._reports: list[lsca.Report] = []
        self._log: lsca.Log | None = None
        self._is_joined = False
        self.has_looked = False  # the test knows of its reports

    # ---- rules ----

    def on(self, *calls: str | type[lsca.Syscall], **filters: Any) -> "lsca.Rule[Any]":
        """`lsca.on`, in force for all programs of this test as soon as it says what happens."""
        rule: lsca.Rule[Any] = cast(Any, lsca.on)(*calls, **filters)
        rule.home = None
        rule.noted = self._note
        return rule

    def inject(self, *faults: str, seed: int | None = None) -> None:
        """Faults in strace's words, as `lsca run -e` has them: "fsync:error=EIO:path=*.wal:when=3"."""
        from lsca.services.faults import rules

        texts = [
            text if text.startswith(("inject=", "fault=")) else f"inject={text}" for text in faults
        ]
        self._use([*self._rules, *rules(*texts, seed=seed)])

    def clear(self) -> None:
        """No rule is in force any more; the log goes on."""
        self._use([])

    def _note(self, rule: "lsca.Rule[Any]") -> None:
        self._use(self._rules if rule in self._rules else [*self._rules, rule])

    def _use(self, rules: "list[lsca.Rule[Any]]") -> None:
        self.host.use(rules)
        self._rules = rules

    @property
    def reports(self) -> "list[lsca.Report]":
        """What went wrong in handlers so far. A test that looks at them does not fail because of them."""
        self.has_looked = True
        return self.problems()

    def problems(self) -> "list[lsca.Report]":
        """The same, without consequences."""
        return [*self.host.session.reports, *self._reports]

    # ---- programs ----

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """As long as this lasts, what this process starts is caught. The plugin does it for the whole test."""
        with self.host.joined():
            self._is_joined = True
            try:
                yield
            finally:
                self._is_joined = False

    def run(
        self,
        args: Any,
        *,
        input: Any = None,
        capture_output: bool = False,
        timeout: float | None = None,
        check: bool = False,
        **options: Any,
    ) -> Completed[Any]:
        """`subprocess.run`; after a timeout all that the program has started is killed. `.log` is the test's log."""
        if self.route != "kernel":
            return self._run_apart(
                args,
                input=input,
                capture_output=capture_output,
                timeout=timeout,
                check=check,
                **options,
            )
        if capture_output:
            options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        if input is not None:
            options["stdin"] = subprocess.PIPE
        with contextlib.ExitStack() as stack:
            if not self._is_joined:
                stack.enter_context(self.joined())
            process = stack.enter_context(subprocess.Popen(args, **options))
            try:
                out, err = process.communicate(input, timeout=timeout)
            except subprocess.TimeoutExpired as expired:
                self.kill(process.pid)
                expired.output, expired.stderr = process.communicate()
                raise
            except BaseException:
                self.kill(process.pid)
                raise
        completed = _Completed(args, process.returncode, out, err)
        completed.fixture = self
        completed.reports = self.problems()
        if check:
            completed.check_returncode()
        return completed

    def _run_apart(self, args: Any, **options: Any) -> Completed[Any]:
        """By a launcher of its own: a proxy belongs to it."""
        path = self.log_path.with_suffix(f".{len(self._more) + 1}.lsca")
        completed: Completed[Any] = lsca.run(
            args,
            handlers=self._rules,
            route=self.route,
            log=path,
            strict=self.strict,
            on_error=self.on_error,
            **options,
        )
        self._more.append(path)
        self._log = None
        self._reports += completed.reports
        return completed

    def kill(self, pid: int, how: int = signal.SIGKILL) -> None:
        """Sends a signal to a process and to all that it has started."""
        processes = _native.session_snapshot(self.host.session.fd)["processes"]
        wanted, grown = {pid}, True
        while grown:
            more = {one["pid"] for one in processes if one["parent"] in wanted} - wanted
            wanted, grown = wanted | more, bool(more)
        for one in wanted:
            if one == pid or any(p["pid"] == one and p["alive"] for p in processes):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one, how)

    # ---- the log ----

    @property
    def log(self) -> "lsca.Log":
        """The log of all programs of this test: all calls that have ended by now."""
        self.host.sync()
        if self._log is None:
            self._log = lsca.open_log([self.log_path, *self._more])
        else:
            self._log.refresh()
        return self._log

    def sql(self, query: str, parameters: object = None) -> Answer:
        """Asks DuckDB: `calls`, `processes`, `files`, `streams`; docs/sql.md describes them."""
        return Answer(self.log.sql(query, parameters))

    def calls(
        self, *names: str, path: str | None = None, error: str | None = None, pid: int | None = None
    ) -> list[Call]:
        """The calls of these names or classes (all, if there is none), in order.

        `path`: a pattern as `on` takes it, for one of the files that the call touches. `error`: an errno's name, or "*"
        for all that failed.
        """
        try:
            wanted = {row.name for row in select(",".join(names))} if names else None
        except SelectionError as failed:
            raise HandlerError(str(failed)) from None
        pattern = None if path is None else glob(path)
        found = []
        log = self.log
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

    def files_read(self) -> list[str]:
        """Paths from which bytes were read."""
        return [file.path for file in Files.of(self.log).chosen(["read"])]

    def files_written(self) -> list[str]:
        """Paths to which bytes were written, or that came to be by a rename or another call of the kind."""
        return [file.path for file in Files.of(self.log).chosen(["written", "created"])]

    def connections(self) -> list[str]:
        """The addresses to which programs have connected or tried to: "127.0.0.1:80", "[::1]:80", "/run/x", "@x"."""
        found: dict[str, None] = {}
        for record in self.log.records(["connect"], events=False):
            if 1 in record.entry:
                address = str(Address.parse(record.entry[1].data))
                found[address] = None
        return list(found)

    def last_calls(self, count: int = LAST) -> str:
        """The last calls in words: first those that failed, then the last ones of all."""
        log = self.log
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

    # ---- the end ----

    def end(self) -> None:
        """Ends the session as soon as its last program has ended; the log's file is whole when `ended` says so."""
        self._reports = self.problems()
        self.host.end()

    def ended(self, *, wait: bool = False) -> bool:
        return self.host.ended(wait=wait)

    def log_files(self) -> Iterable[Path]:
        return [self.log_path, *self._more]

    def __enter__(self) -> "Fixture":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self.ended(wait=True)


class _Completed(Completed[Any]):
    """A result whose log is the whole test's."""

    fixture: Fixture

    @property
    def log(self) -> "lsca.Log":
        return self.fixture.log


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

# SPDX-License-Identifier: Apache-2.0
"""What the pytest fixture `lsca` is: rules about the programs that a test starts, and questions about their calls.

Imported by the plugin (pytest_plugin.py) when a test asks for the fixture, and not before. It knows nothing of pytest
and can be used without it, as a context manager. Rules, and the reading of logs (asking.py), are imported by the first
test that wants them: they know every call, which takes longer than many a test.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import lsca
from lsca import _native
from lsca.hosting import Host, Launchers
from lsca.running import Completed

if TYPE_CHECKING:
    from lsca.asking import Answer, Call
    from lsca.handlers.dispatch import OnError

LAST: Final = 20  # calls that are shown of a failed test


class Fixture:
    """The programs of one test. `log_path` is the log's file, `route` and `strict` as in `lsca.run`.

    `sync`: as in LogOptions; "never" for a log that nobody keeps.
    """

    def __init__(
        self,
        log_path: str | os.PathLike[str],
        *,
        route: str = "kernel",
        strict: bool = False,
        on_error: "OnError" = "go_on",
        launchers: Launchers | None = None,
        sync: str = "close",
    ) -> None:
        self.log_path = Path(log_path)
        self.route = route
        self.strict = strict
        self.on_error: OnError = on_error
        self.host = Host(
            os.fspath(log_path), launchers=launchers, strict=strict, on_error=on_error, sync=sync
        )
        self._rules: list[lsca.Rule[Any]] = []
        self._more: list[Path] = []  # logs of runs in another session
        self._reports: list[lsca.Report] = []
        self._log: lsca.Log | None = None
        self._is_joined = False
        self.has_looked = False  # the test knows of its reports

    # ---- rules ----

    def on(self, *calls: "str | type[lsca.Syscall]", **filters: Any) -> "lsca.Rule[Any]":
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

    def strays(self) -> int:
        """How many processes stayed with the kernel though the route is another one: `run` did not start them."""
        if self.route == "kernel":
            return 0
        self.host.sync()
        return len(lsca.open_log([self.log_path]).pids - {0})

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

    def sql(self, query: str, parameters: object = None) -> "Answer":
        """Asks DuckDB. There are the tables of docs/sql.md."""
        from lsca.asking import Answer

        return Answer(self.log.sql(query, parameters))

    def calls(
        self, *names: str, path: str | None = None, error: str | None = None, pid: int | None = None
    ) -> "list[Call]":
        """The calls of these names or classes (all, if there is none), in order.

        `path`: a pattern as `on` takes it, for one of the files that the call touches. `error`: an errno's name, or "*"
        for all that failed.
        """
        from lsca.asking import calls

        return calls(self.log, names, path=path, error=error, pid=pid)

    def files_read(self) -> list[str]:
        """Paths from which bytes were read."""
        from lsca.asking import files

        return files(self.log, "read")

    def files_written(self) -> list[str]:
        """Paths to which bytes were written, or that came to be by a rename or another call of the kind."""
        from lsca.asking import files

        return files(self.log, "written", "created")

    def connections(self) -> list[str]:
        """The addresses to which programs have connected or tried to: "127.0.0.1:80", "[::1]:80", "/run/x", "@x"."""
        from lsca.asking import connections

        return connections(self.log)

    def last_calls(self, count: int = LAST) -> str:
        """The last calls in words: first those that failed, then the last ones of all."""
        from lsca.asking import last_calls

        return last_calls(self.log, count)

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

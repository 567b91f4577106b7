# SPDX-License-Identifier: Apache-2.0
"""A program whose calls a Python function of the test answers, with the launcher in a process of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from differential import ROOT, program
from lsca import _native
from lsca.rules import Rule, compile_rules

LAUNCH = Path(__file__).with_name("launch.py")
Callback = Callable[[_native.Request], tuple[int, int]]
GO_ON = (0, 0)


def asks(*, static: bool = False) -> str:
    """Path of the program that makes the calls."""
    return program("handlers/asks.c", static=static, name="asks-static" if static else "asks")


@dataclass
class Run:
    """A program on its way, or what came of it."""

    session: int
    process: subprocess.Popen[bytes]
    errors: list[BaseException] = field(default_factory=list)

    def end(self, timeout: float = 60) -> list[str]:
        """What the program wrote, by lines. A test fails here if it does not end."""
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("the program does not end") from None
        self.err = err.decode()
        return out.decode().splitlines()

    def kill(self) -> None:
        """All of it."""
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, 9)
        self.process.communicate()

    def pids(self) -> list[int]:
        """The program's living processes."""
        return [p["pid"] for p in _native.session_snapshot(self.session)["processes"] if p["alive"]]


@contextlib.contextmanager
def running(
    rules: Sequence[Rule],
    callback: Callback | None,
    *argv: str,
    route: str = "kernel",
    deny: bool = False,
    log: str = "",
    threads: int = 64,
    stdin: bool = False,
) -> Iterator[Run]:
    """Starts `argv` with a handler; at the end nothing of it is left."""
    where = os.fsencode(os.path.abspath(log)) if log else None
    fd, area = _native.session_create(route == "proxy", where, handlers=True)
    try:
        _native.rules_set(fd, compile_rules(rules, deny=deny))
        process = subprocess.Popen(
            [sys.executable, "-S", str(LAUNCH), str(fd), str(area), route, log, *argv],
            pass_fds=[one for one in (fd, area) if one >= 0],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src")},
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        run = Run(fd, process)
        server = None
        if callback:
            lock = threading.Lock()

            def note(request: _native.Request, error: BaseException) -> None:
                with lock:
                    run.errors.append(error)

            server = _native.serve(fd, callback, threads=threads, on_error=note)
        try:
            yield run
        finally:
            run.kill()
            if server:
                server.stop()
    finally:
        for one in (fd, area):
            if one >= 0:
                os.close(one)


def outcome(
    rules: Sequence[Rule],
    callback: Callback | None,
    *argv: str,
    route: str = "kernel",
    **options: bool,
) -> list[str]:
    """What a program writes whose calls are handled. An error of the handler's is the test's."""
    with running(rules, callback, *argv, route=route, **options) as run:
        lines = run.end()
        assert not run.errors, run.errors
        return lines

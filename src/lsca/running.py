# SPDX-License-Identifier: Apache-2.0
"""`lsca.run`: like subprocess.run, with the program's calls caught and its handlers in this process.

A launcher process runs the program (launch.py); this one serves its calls meanwhile, in threads of the extension.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from lsca import _native, launch
from lsca.errors import StartError
from lsca.session import PostOptions, Session

if TYPE_CHECKING:
    from lsca.handlers.dispatch import OnError
    from lsca.handlers.reports import Report
    from lsca.log import Log

Text = TypeVar("Text", str, bytes)
Command = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Stream = int | IO[Any] | None
PATIENCE = 10.0  # seconds for a launcher to follow its programs, once they were killed


class Completed(subprocess.CompletedProcess[Text], Generic[Text]):
    """What subprocess.run returns, and beyond it the log, and what went wrong in handlers."""

    log_path: Path | None = None
    reports: "list[Report]"

    @property
    def log(self) -> "Log | None":
        """The log that was asked for, opened anew each time: programs in the background may still write it."""
        if self.log_path is None:
            return None
        from lsca.log import open_log

        return open_log(self.log_path)


@overload
def run(
    args: Command,
    *,
    handlers: object = ...,
    route: str = ...,
    log: str | os.PathLike[str] | None = ...,
    on_error: "OnError" = ...,
    strict: bool = ...,
    hide_vdso: bool = ...,
    post: PostOptions | None = ...,
    streams: str = ...,
    stdin: Stream = ...,
    input: str | None = ...,
    stdout: Stream = ...,
    stderr: Stream = ...,
    capture_output: bool = ...,
    shell: bool = ...,
    cwd: str | os.PathLike[str] | None = ...,
    env: Mapping[str, str] | None = ...,
    timeout: float | None = ...,
    check: bool = ...,
    text: Literal[True],
    encoding: str | None = ...,
    errors: str | None = ...,
) -> Completed[str]: ...
@overload
def run(
    args: Command,
    *,
    handlers: object = ...,
    route: str = ...,
    log: str | os.PathLike[str] | None = ...,
    on_error: "OnError" = ...,
    strict: bool = ...,
    hide_vdso: bool = ...,
    post: PostOptions | None = ...,
    streams: str = ...,
    stdin: Stream = ...,
    input: bytes | None = ...,
    stdout: Stream = ...,
    stderr: Stream = ...,
    capture_output: bool = ...,
    shell: bool = ...,
    cwd: str | os.PathLike[str] | None = ...,
    env: Mapping[str, str] | None = ...,
    timeout: float | None = ...,
    check: bool = ...,
    text: Literal[False] = ...,
    encoding: None = ...,
    errors: None = ...,
) -> Completed[bytes]: ...
def run(
    args: Command,
    *,
    handlers: object = None,
    route: str = "kernel",
    log: str | os.PathLike[str] | None = None,
    on_error: "OnError" = "go_on",
    strict: bool = False,
    hide_vdso: bool = False,
    post: PostOptions | None = None,
    streams: str = "auto",
    stdin: Stream = None,
    input: str | bytes | None = None,
    stdout: Stream = None,
    stderr: Stream = None,
    capture_output: bool = False,
    shell: bool = False,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    check: bool = False,
    text: bool = False,
    encoding: str | None = None,
    errors: str | None = None,
) -> Completed[Any]:
    """Runs a program to its end, with all that it starts. The parameters are subprocess.run's, and these:

    `handlers`: functions and rules made with `lsca.on`, in order, or a module of them. `on_error`: whether a call whose
    handler raises goes on ("go_on") or fails with EPERM ("deny"). `route`, `log`, `strict`, `hide_vdso`, `post`,
    `streams`: see Session. StartError if the program cannot be started, TimeoutExpired after all of its processes were
    killed.
    """
    if capture_output:
        if stdout is not None or stderr is not None:
            raise ValueError("stdout and stderr may not be used with capture_output")
        stdout = stderr = subprocess.PIPE
    if input is not None:
        if stdin is not None:
            raise ValueError("stdin and input may not both be used")
        stdin = subprocess.PIPE
    session = Session(
        route=route,
        log=None if log is None else os.fspath(log),
        hide_vdso=hide_vdso,
        strict=strict,
        post=post,
        streams=streams,
        handlers=None if handlers in ((), [], None) else handlers,  # a session without is cheaper
        on_error=on_error,
    )
    with contextlib.closing(session):
        with _launched(
            session,
            _words(args, shell),
            {"cwd": cwd, "env": env, "stdin": stdin, "stdout": stdout, "stderr": stderr}
            | ({"encoding": encoding, "errors": errors, "text": text}),
        ) as (process, status):
            with session.served():
                try:
                    out, err = process.communicate(input, timeout=timeout)
                except subprocess.TimeoutExpired as expired:
                    kill_all(session, process)
                    out, err = process.communicate()
                    expired.cmd, expired.output, expired.stderr = args, out, err
                    raise
                except BaseException:
                    kill_all(session, process)
                    raise
            problem = _problem(status)
        reports = session.reports
    if problem is not None:
        raise problem
    completed: Completed[Any] = Completed(args, process.returncode, out, err)
    completed.log_path = None if log is None else Path(log)
    completed.reports = reports
    if check:
        completed.check_returncode()
    return completed


def kill_all(session: Session, process: "subprocess.Popen[Any]") -> None:
    """Kills every process of a session, and its launcher should it not follow."""
    with contextlib.suppress(OSError):
        for one in _native.session_snapshot(session.fd)["processes"]:
            if one["alive"]:
                with contextlib.suppress(OSError):
                    os.kill(one["pid"], signal.SIGKILL)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()


def _words(args: Command, shell: bool) -> list[str]:
    if isinstance(args, str | os.PathLike):
        return ["/bin/sh", "-c", os.fspath(args)] if shell else [os.fspath(args)]
    words = [os.fspath(word) for word in args]
    return ["/bin/sh", "-c", *words] if shell else words


@contextlib.contextmanager
def _launched(
    session: Session, program: list[str], options: dict[str, Any]
) -> Iterator[tuple["subprocess.Popen[Any]", int]]:
    """A launcher in a process of its own, and the pipe on which it says what went wrong."""
    reader, writer = os.pipe()
    try:
        try:
            given = (session.fd, session.log_fd, session.area, writer)
            command = launch.command(given, session.log or "", session.flags(), program)
            passed = [fd for fd in (*given, session.post_fd) if fd >= 0]
            process = subprocess.Popen(command, pass_fds=passed, **options)
            session.is_used = True
        finally:
            os.close(writer)
        yield process, reader
    finally:
        os.close(reader)


def _problem(status: int) -> StartError | None:
    text = b""
    while part := os.read(status, 4096):
        text += part
    code, _, words = text.decode("utf-8", "surrogateescape").partition(" ")
    return StartError(words, int(code)) if words else None

# SPDX-License-Identifier: Apache-2.0
"""Runs a program natively and captured, and compares everything that others can see of it.

The kernel is the oracle: standard output and error, exit status or signal, the files left behind
with their contents and modes, and whether any process was left over must be the same.
`compare` is what tests call; `program` builds a test program of our own; `Session` plays a
person at a terminal. Every run happens in a fresh directory of the same name, in a session of
its own, with a deadline after which whatever is left of it is killed.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import fcntl
import hashlib
import os
import platform
import pty
import pwd
import re
import select
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import termios
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
BUILD = ROOT / "build" / "tests"
ROUTES = tuple(os.environ.get("LSCA_TEST_ROUTES", "kernel,proxy").split(","))
MARKER = "LSCA_TEST_RUN"
CFLAGS = ("-O1", "-g", "-Wall", "-Wextra", "-Wno-nonnull", "-Wno-stringop-overflow",
          "-Wno-unused-result", "-pthread", f"-I{TESTS / 'calls'}")  # fmt: skip
LEFTOVER_GRACE = 5.0


@pytest.fixture(params=ROUTES)
def route(request: pytest.FixtureRequest) -> str:
    """The route under test; LSCA_TEST_ROUTES=native shows whether a test itself is steady."""
    return str(request.param)


@dataclass(frozen=True)
class Outcome:
    """What is left of a run. `status` is negative for death by a signal, None when time ran out."""

    status: int | None
    stdout: bytes
    stderr: bytes
    files: Mapping[str, str] = field(default_factory=dict)
    leftover: tuple[str, ...] = ()

    def without(self, vary: Mapping[str, str]) -> Outcome:
        """The same with what varies from run to run replaced: pattern to what stands for it."""
        out, err = self.stdout, self.stderr
        for pattern, instead in vary.items():
            out, err = (re.sub(pattern.encode(), instead.encode(), text) for text in (out, err))
        return replace(self, stdout=out, stderr=err)

    def lines(self) -> list[str]:
        """The whole outcome as text, for comparison by eye."""
        if self.status is None:
            status = "no end within the time allowed"
        elif self.status < 0:
            status = f"died by {signal.Signals(-self.status).name}"
        else:
            status = f"exit {self.status}"
        result = [f"status: {status}"]
        for name, data in (("out", self.stdout), ("err", self.stderr)):
            text = data if len(data) < 200_000 else b"%d bytes, sha256 %s" % (
                len(data), hashlib.sha256(data).hexdigest().encode())  # fmt: skip
            result += [f"{name}| {line}" for line in text.decode(errors="replace").splitlines()]
        result += [f"file| {name}: {what}" for name, what in sorted(self.files.items())]
        result += [f"left over| {name}" for name in self.leftover]
        return result


# ---- building ------------------------------------------------------------------------------------


MUSL = (
    "musl-gcc",
    "-idirafter",
    "/usr/include",
    "-idirafter",
    f"/usr/include/{platform.machine()}-linux-gnu",
)


def program(
    source: str,
    *,
    static: bool = False,
    flags: Sequence[str] = (),
    musl: bool = False,
    name: str = "",
    compiler: Sequence[str] = ("gcc", "-std=gnu11", *CFLAGS),
) -> str:
    """Path of the program built from tests/SOURCE, compiled when a source is newer. With musl it is static.

    Several test processes may ask at once: each compiles under a lock, and the result
    appears under its name in one step.
    """
    path = TESTS / source
    target = BUILD / path.parent.relative_to(TESTS) / (name or path.stem)
    if static or musl:
        target = target.parent / (target.name + ("-musl" if musl else "-static"))
    newest = max(p.stat().st_mtime for p in (path, *TESTS.rglob("*.h")))
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists() or target.stat().st_mtime < newest:
            half = target.parent / f".{target.name}.{os.getpid()}"
            if musl:
                compiler = [*MUSL, "-std=gnu11", *CFLAGS]
            command = [*compiler, *flags, *(["-static"] if static or musl else []), "-o", str(half)]
            subprocess.run([*command, str(path)], check=True, timeout=100)
            half.replace(target)
    return str(target)


# ---- running -------------------------------------------------------------------------------------


def lsca() -> list[str]:
    """The command line that starts lsca: named, as installed beside this Python, or from the sources."""
    if named := os.environ.get("LSCA_TEST_COMMAND"):
        return named.split()
    for candidate in (Path(sys.executable).with_name("lsca"), ROOT / ".venv" / "bin" / "lsca"):
        if candidate.exists():
            return [str(candidate)]
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); import lsca.cli as c; "
    return [sys.executable, "-c", code + "sys.exit(c.main())"]


def lsca_for(user: str, base: Path) -> list[str]:
    """The same for somebody else, from a copy: sources and Python may be in a home closed to him."""
    copy = base / "lsca"
    if not copy.exists():
        shutil.copytree(ROOT / "src" / "lsca", copy / "lsca")
    code = (
        f"import sys; sys.path.insert(0, {str(copy)!r}); import lsca.cli as c; sys.exit(c.main())"
    )
    for python in (sys.executable, "/usr/bin/python3"):
        new = "import sys; sys.exit(sys.version_info < (3, 11))"
        with contextlib.suppress(OSError):
            if not subprocess.run([python, "-B", "-c", new], cwd="/", **person(user)).returncode:
                return [python, "-B", "-c", code]
    raise AssertionError(f"{user} can start no Python 3.11")


def person(user: str | None) -> dict[str, Any]:
    """What makes subprocess start a program as that user; only root can."""
    if user is None or os.getuid():
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def command(
    route: str, argv: Sequence[str], *options: str, start: Sequence[str] | None = None
) -> list[str]:
    """`argv` as it is run in that route by `start`, else `lsca`; "native" leaves it as it is."""
    if route == "native":
        return list(argv)
    return [*(start or lsca()), "run", "--route", route, "--no-daemon", *options, "--", *argv]


def environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A small environment, the same in every run."""
    base = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8", "TERM": "dumb", "TZ": "UTC"}  # fmt: skip
    return base | dict(extra or {})


def run_in(
    where: Path, argv: Sequence[str], timeout: float = 60, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Runs that command there, with the small environment and nothing to read."""
    given = {"env": environment(where), "capture_output": True} | options
    return subprocess.run(
        argv, cwd=where, stdin=subprocess.DEVNULL, timeout=timeout, check=False, **given
    )


@contextlib.contextmanager
def fresh_directory(files: Path | None, base: Path) -> Iterator[Path]:
    """An empty directory, or a copy of `files`; removed afterwards so that its name can come back."""
    where = base / "run"
    shutil.rmtree(where, ignore_errors=True)
    if files:
        shutil.copytree(files, where, symlinks=True)
    else:
        where.mkdir()
    try:
        yield where
    finally:
        shutil.rmtree(where, ignore_errors=True)


def processes(marker: str, session: int) -> dict[int, str]:
    """Live processes that carry our marker in their environment or belong to that session."""
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError, ValueError):
            rest = (entry / "stat").read_text().rpartition(")")[2].split()
            if rest[0] in "ZX":
                continue
            ours = int(rest[3]) == session
            with contextlib.suppress(OSError):
                ours = ours or marker.encode() in (entry / "environ").read_bytes()
            if ours:
                found[int(entry.name)] = (entry / "comm").read_text().strip()
    return found


def leftovers(marker: str, session: int, grace: float = LEFTOVER_GRACE) -> tuple[str, ...]:
    """Names of processes that outlive the run by more than the grace; they are then killed."""
    deadline = time.monotonic() + grace
    while (left := processes(marker, session)) and time.monotonic() < deadline:
        time.sleep(0.02)
    for pid in left:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    return tuple(sorted(left.values()))


def describe(directory: Path, ignore: Sequence[str] = ()) -> dict[str, str]:
    """Every file below the directory: kind, mode, length, digest or target."""
    result: dict[str, str] = {}
    for path in sorted(directory.rglob("*")):
        short = path.relative_to(directory)
        name = str(short)
        if any(one.match(pattern) for one in (short, *short.parents) for pattern in ignore):
            continue
        info = path.lstat()
        what = f"{stat.filemode(info.st_mode)} {info.st_uid}:{info.st_gid}"
        if path.is_symlink():
            what += f" -> {os.readlink(path)}"
        elif path.is_file():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            what += f" {info.st_size} bytes {digest} links {info.st_nlink}"
        result[name] = what
    return result


def execute(
    argv: Sequence[str],
    *,
    route: str = "native",
    base: Path,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    timeout: float = 60,
    files: Path | None = None,
    ignore: Sequence[str] = (),
    options: Sequence[str] = (),
    user: str | None = None,
) -> Outcome:
    """One run in one route; as `user`, where we are root."""
    marker = f"{MARKER}={uuid.uuid4().hex}"
    who = person(user)
    start = lsca_for(user, base) if user and who and route != "native" else None
    with fresh_directory(files, base) as where, tempfile.TemporaryFile() as source:
        for path in (where, *where.rglob("*")) if who else ():
            os.chown(path, who["user"], who["group"], follow_symlinks=False)
        source.write(stdin)
        source.seek(0)
        process = subprocess.Popen(
            command(route, argv, *options, start=start),
            cwd=where,
            env=environment(where, env) | {MARKER: marker.partition("=")[2]},
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            **who,
        )
        status: int | None = None
        try:
            out, err = process.communicate(timeout=timeout)
            status = process.returncode
            left = leftovers(marker, process.pid)
        except subprocess.TimeoutExpired:
            left = leftovers(marker, process.pid, 0)
            out, err = process.communicate()  # ends at once: nobody is left to write
        finally:
            leftovers(marker, process.pid, 0)
        return Outcome(status, out, err, describe(where, ignore), left)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A base directory, the same for all runs of this process: outputs may contain its name."""
    base = Path(tempfile.gettempdir()) / f"lsca-test-{os.getpid()}"
    base.mkdir()
    base.chmod(0o755)  # servers and cases that run as somebody else have to come through
    try:
        yield base
    finally:
        shutil.rmtree(base, ignore_errors=True)


_natively: dict[tuple[object, ...], Outcome] = {}  # so that the second route does not ask again


def compare(
    argv: Sequence[str],
    *,
    routes: Sequence[str] = ROUTES,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    timeout: float = 60,
    files: Path | None = None,
    ignore: Sequence[str] = (),
    status: int | None = None,
    vary: Mapping[str, str] | None = None,
    user: str | None = None,
) -> Outcome:
    """Fails with a diff unless the program behaves in every route as it does natively.

    `files` is a directory whose contents the program finds in its own; `ignore` are patterns of
    files and directories that differ from run to run; `status`, when given, is what the native run has to return;
    `vary` are patterns of output that differ from run to run, with what is compared in their place.
    """
    with scratch() as base:
        given = {"base": base, "stdin": stdin, "env": env, "files": files, "ignore": ignore,
                 "user": user, "timeout": timeout}  # fmt: skip
        contents = tuple(describe(files).items()) if files else ()
        key = (tuple(argv), stdin, tuple((env or {}).items()), contents, user)
        if key not in _natively or "native" in routes:
            _natively[key] = execute(argv, **given).without(vary or {})  # type: ignore[arg-type]
        native = _natively[key]
        assert native.status is not None, "the native run did not end"
        if status is not None:
            shown = [line for line in native.lines() if not line.startswith("file|")]
            assert native.status == status, "\n".join(["the native run failed", *shown[-40:]])
        for route in routes:
            captured = execute(argv, route=route, **given)  # type: ignore[arg-type]
            same(native, captured.without(vary or {}), route)
    return native


def same(native: Outcome, captured: Outcome, route: str) -> None:
    """Asserts that two outcomes are equal; the message shows where they are not."""
    if native == captured:
        return
    lines = difflib.unified_diff(
        native.lines(), captured.lines(), "native", f"route {route}", n=2, lineterm=""
    )
    raise AssertionError("\n".join(["captured run differs from the native one", *lines]))


# ---- at a terminal -------------------------------------------------------------------------------


class Session:
    """A program on a pseudo-terminal, and somebody who types.

    `expect` waits for a text and returns what came up to its end; `transcript` is everything.
    """

    def __init__(self, argv: Sequence[str], *, route: str, cwd: Path, timeout: float = 20,
                 env: Mapping[str, str] | None = None) -> None:  # fmt: skip
        self.timeout = timeout
        self.transcript = b""
        self.marker = f"{MARKER}={uuid.uuid4().hex}"
        variables = environment(cwd, env) | {MARKER: self.marker.partition("=")[2]}
        line = command(route, argv)
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
            os.chdir(cwd)
            os.execvpe(line[0], line, variables)

    def resize(self, rows: int, columns: int) -> None:
        """Changes the window; the foreground process group is told by the kernel."""
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, data: bytes) -> None:
        """Types."""
        os.write(self.fd, data)

    def _more(self, deadline: float) -> bytes:
        ready, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            shown = self.transcript.decode(errors="replace")
            self.close()
            raise AssertionError(f"nothing more came; so far:\n{shown}")
        try:
            return os.read(self.fd, 65536)
        except OSError as error:  # all of the other side is closed
            if error.errno != errno.EIO:
                raise
            return b""

    def expect(self, text: bytes) -> bytes:
        """Waits until the text has come since the last expect."""
        start, deadline = len(self.transcript), time.monotonic() + self.timeout
        begin = getattr(self, "_seen", 0)
        while (at := self.transcript.find(text, begin)) < 0:
            piece = self._more(deadline)
            self.transcript += piece
            if not piece:
                shown = self.transcript.decode(errors="replace")
                self.close()
                raise AssertionError(f"ended before {text!r} came:\n{shown}")
        self._seen = at + len(text)
        return self.transcript[min(begin, start) : self._seen]

    def finish(self) -> int:
        """Reads to the end and returns the status as subprocess has it."""
        deadline = time.monotonic() + self.timeout
        while piece := self._more(deadline):
            self.transcript += piece
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > deadline:
                self.close()
                raise AssertionError("the terminal was closed, but the program did not end")
            time.sleep(0.01)
        self.pid = 0
        left = leftovers(self.marker, -1)
        assert not left, f"left over: {left}"
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        """Ends whatever still runs."""
        for pid in processes(self.marker, self.pid or -1):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if self.pid:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
            self.pid = 0
        with contextlib.suppress(OSError):
            os.close(self.fd)

# SPDX-License-Identifier: Apache-2.0
"""gdb and strace: attached from outside to captured programs, and as captured programs themselves.

A captured program has no tracer while it runs, so they may come; they see the agent's signals as they see any other,
and when they have gone the program goes on as if nothing had been. Running under lsca they trace programs that then run
uncaught, because a program has one tracer; in the route `proxy` that is refused.
"""

import contextlib
import re
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from differential import MARKER, command, environment, execute, leftovers, processes, program

needs_gdb = pytest.mark.skipif(not shutil.which("gdb"), reason="gdb is not installed")
needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
DEADLINE = 20.0
EXPECTED = b"read: 5\nline\n"
GDB = ["gdb", "-q", "-nx", "-batch", "-ex", "set confirm off", "-ex", "set debuginfod enabled off"]
QUIET = ["-ex", "handle SIGSYS nostop noprint pass"]  # the agent's signal is not what is looked for


class Target:
    """A program in some route that has said that it is ready."""

    def __init__(self, route: str, mode: str, where: Path) -> None:
        mark = uuid.uuid4().hex
        self.marker = f"{MARKER}={mark}"
        self.process = subprocess.Popen(
            command(route, [program("capture/attached.c", name="attached"), mode]),
            cwd=where,
            env=environment(where) | {MARKER: mark},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == b"ready\n"
        found = processes(self.marker, self.process.pid)
        self.pid = next(pid for pid, name in found.items() if name == "attached")
        if mode == "blocked":
            self.wait_for(lambda: self.state() == "S")

    def state(self) -> str:
        """As in /proc: R, S, t ..."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]

    def tracer(self) -> int:
        """Who traces it, or 0."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"TracerPid:\s*(\d+)", status)[1])  # type: ignore[index]

    def wait_for(self, what: object) -> None:
        """Until it is so."""
        deadline = time.monotonic() + DEADLINE
        while not what():  # type: ignore[operator]
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.01)

    def finish(self) -> None:
        """It gets its line, and ends as it should."""
        out, err = self.process.communicate(b"line\n", timeout=DEADLINE)
        assert (out, err, self.process.returncode) == (EXPECTED, b"", 7)


@contextlib.contextmanager
def target(route: str, mode: str, where: Path) -> Iterator[Target]:
    it = Target(route, mode, where)
    try:
        yield it
    finally:
        leftovers(it.marker, it.process.pid, 0)
        it.process.wait(DEADLINE)
        for stream in (it.process.stdin, it.process.stdout, it.process.stderr):
            with contextlib.suppress(BrokenPipeError):
                stream.close()  # type: ignore[union-attr]


def gdb(pid: int, *commands: str) -> str:
    """What gdb, attached to that process, says to the commands; then it leaves."""
    line = [*GDB, "-p", str(pid), *QUIET]
    for each in (*commands, "detach"):
        line += ["-ex", each]
    done = subprocess.run(line, capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL)  # fmt: skip
    return done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")


@needs_gdb
@pytest.mark.parametrize("mode", ["blocked", "busy"])
def test_gdb_attaches(mode: str, route: str, tmp_path: Path) -> None:
    """It comes and goes, and can look at the program's variables."""
    with target(route, mode, tmp_path) as it:
        for _ in range(5):
            said = gdb(it.pid, "thread apply all bt", "print turns >= 0")
            assert "$1 = 1" in said, said
            assert it.tracer() == 0
        it.finish()


@needs_gdb
@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="gdb finds no file, and so no unwind information, for the agent's frames",
)
def test_gdb_reads_the_stack(route: str, tmp_path: Path) -> None:
    """A program that waits shows where, through the agent's frames."""
    with target(route, "blocked", tmp_path) as it:
        said = gdb(it.pid, "bt")
        assert "wait_for_a_line (" in said, said


@needs_gdb
def test_gdb_sets_a_breakpoint(route: str, tmp_path: Path) -> None:
    with target(route, "busy", tmp_path) as it:
        commands = [
            "break turn_around",
            "continue",
            "bt 2",
            "continue",
            "print turns > 0",
        ]
        said = gdb(it.pid, *commands, "delete")
        assert "hit Breakpoint 1" in said or "Breakpoint 1, turn_around" in said, said
        assert said.count("1, turn_around (") >= 2, said
        assert "$1 = 1" in said, said
        assert it.tracer() == 0
        it.finish()


@needs_strace
@pytest.mark.parametrize("mode", ["blocked", "busy"])
def test_strace_attaches(mode: str, route: str, tmp_path: Path) -> None:
    """It sees calls, leaves when told to, and comes again."""
    with target(route, mode, tmp_path) as it:
        for turn in range(3):
            out = tmp_path / f"trace-{turn}"
            tracer = subprocess.Popen(
                ["strace", "-f", "-o", str(out), "-p", str(it.pid)],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            it.wait_for(lambda: it.tracer() != 0)
            if mode == "busy":
                it.wait_for(lambda out=out: out.read_bytes().count(b"\n") > 200)
            tracer.send_signal(signal.SIGINT)
            tracer.wait(DEADLINE)
            assert it.tracer() == 0
        it.finish()
        if mode == "busy":
            assert b"getppid(" in out.read_bytes()


@needs_strace
def test_strace_stays_to_the_end(route: str, tmp_path: Path) -> None:
    with target(route, "blocked", tmp_path) as it:
        out = tmp_path / "trace"
        line = ["strace", "-f", "-o", str(out), "-p", str(it.pid)]
        tracer = subprocess.Popen(line, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        it.wait_for(lambda: it.tracer() != 0)
        it.finish()
        assert tracer.wait(DEADLINE) == 0
        assert b"+++ exited with 7 +++" in out.read_bytes()


def traced_names(trace: Path) -> list[str]:
    """The calls in strace's output, sorted: two processes may come in any order."""
    return sorted(re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.M))


@needs_strace
def test_strace_itself_captured(tmp_path: Path) -> None:
    line = ["strace", "-f", "-o", "{}", "/bin/sh", "-c", "/bin/true; exit 3"]
    traces = {}
    for route in ("native", "kernel", "proxy"):
        traces[route] = tmp_path / f"trace-{route}"
        argv = [part.format(traces[route]) for part in line]
        done = execute(argv, route=route, base=tmp_path, timeout=30)
        if route == "proxy":
            assert done.status == 1
            assert b"Operation not permitted" in done.stderr
        else:
            assert done.status == 3, done.lines()
    assert traced_names(traces["kernel"]) == traced_names(traces["native"])


@needs_gdb
def test_gdb_itself_captured(tmp_path: Path) -> None:
    commands = ["break wait_for_a_line", "run", "bt", "delete", "continue"]
    words = [word for each in commands for word in ("-ex", each)]
    line = [*GDB, *words, program("capture/attached.c", name="attached")]
    said = {}
    for route in ("native", "kernel", "proxy"):
        done = execute(line, route=route, base=tmp_path, stdin=b"line\n", timeout=60)
        assert done.status is not None, done.lines()
        said[route] = re.sub(rb"process \d+", b"process N", done.stdout)
    assert b"exited with code 07" in said["native"]
    assert said["kernel"] == said["native"]
    assert b"exited with code" not in said["proxy"]

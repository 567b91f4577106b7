# SPDX-License-Identifier: Apache-2.0
"""Handlers that do not answer, and the death of handler, launcher or program at any moment: nothing hangs."""

import contextlib
import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from handling import GO_ON, asks, running

from differential import ROOT
from lsca import _native
from lsca.rules import Ask, Rule

PPID = Rule(calls=("getppid",), verdict=Ask())
Request = _native.Request

# A handler process of its own: serves the session whose descriptor it inherits, until it is killed.
SERVER = """
import sys, time
from lsca import _native
server = _native.serve(int(sys.argv[1]), {callback})
print("here", flush=True)
time.sleep(1000)
"""


def server_process(session: int, callback: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", SERVER.format(callback=callback), str(session)],
        pass_fds=[session],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
    )
    with process.stdout or contextlib.nullcontext() as out:
        assert out and out.readline() == b"here\n"
    return process


@contextlib.contextmanager
def blocked() -> Iterator[tuple[threading.Event, threading.Event]]:
    """Events for a handler that hangs: the first says that it has begun, the second lets it go at the end."""
    begun, over = threading.Event(), threading.Event()
    try:
        yield begun, over
    finally:
        over.set()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGALRM])
def test_a_handler_that_hangs_holds_nobody_back_from_death(
    route: str, number: signal.Signals
) -> None:
    with blocked() as (begun, over):

        def hang(q: Request) -> tuple[int, int]:
            begun.set()
            over.wait(60)
            return GO_ON

        with running([PPID], hang, asks(), "ppid", route=route) as run:
            assert begun.wait(20)
            (pid,) = run.pids()
            os.kill(pid, number)
            assert run.end(20) == []
            assert run.process.returncode == -number


def test_an_alarm_ends_a_program_whose_handler_hangs(route: str) -> None:
    with (
        blocked() as (_, over),
        running([PPID], lambda q: (over.wait(60), GO_ON)[1], asks(), "alarm", route=route) as run,
    ):
        assert run.end(20) == []
        assert run.process.returncode == -signal.SIGALRM


@pytest.mark.parametrize("many", ["", "many"])
def test_a_signal_that_is_handled_ends_the_wait(route: str, many: str) -> None:
    """Without SA_RESTART the call ends with EINTR once the handler has had its time; from either kind of site."""
    first = iter([42] * 500)
    with blocked() as (_, over):

        def hang(q: Request) -> tuple[int, int]:
            if many and next(first, None):
                return (1, 42)
            over.wait(60)
            return GO_ON

        argv = ["many", "500", "interrupted", "0"] if many else ["interrupted", "0"]
        with running([PPID], hang, asks(), *argv, route=route) as run:
            assert run.end(30)[-3:] == ["getppid: 0", "signals: 1", "soon: 1"]


def test_a_handler_that_waits_politely_is_told_at_once(route: str) -> None:
    told: list[tuple[bool, float]] = []

    def polite(q: Request) -> tuple[int, int]:
        before = time.monotonic()
        told.append((q.wait(30), time.monotonic() - before))
        assert q.interrupted
        return (1, -errno.EINTR)

    with running([PPID], polite, asks(), "interrupted", "0", route=route) as run:
        assert run.end(20) == ["getppid: 0", "signals: 1", "soon: 1"]
        assert not run.errors
    assert told[0][0] and told[0][1] < 3


@pytest.mark.parametrize("restart", ["0", "1"])
def test_a_slow_answer_is_worth_waiting_for(route: str, restart: str) -> None:
    """A signal that comes while the handler is at work is delivered after the call, which is asked about once."""
    asked: list[int] = []

    def slow(q: Request) -> tuple[int, int]:
        asked.append(q.tid)
        time.sleep(0.6)
        return GO_ON

    with running([PPID], slow, asks(), "interrupted", restart, route=route) as run:
        assert run.end(20) == ["getppid: 1", "signals: 1", "soon: 1"]
    assert len(asked) == 1


def test_a_wait_that_proceeds_is_interrupted(route: str, tmp_path: Path) -> None:
    """The handler has the call made, the call waits, the signal ends it, and the program sees what it would have."""
    results: list[int] = []
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    script = f"import os, signal\nsignal.signal(14, lambda *_: 1/0)\nsignal.setitimer(0, 0.4)\n" \
             f"try: os.open({str(fifo)!r}, os.O_RDONLY)\nexcept ZeroDivisionError: print('ended')"  # fmt: skip

    def through(q: Request) -> tuple[int, int]:
        results.append(q.proceed())
        return GO_ON

    rule = Rule(calls=("openat", "open"), path=str(fifo), verdict=Ask())
    with running([rule], through, sys.executable, "-S", "-c", script, route=route) as run:
        assert run.end(20) == ["ended"]
    assert results == [-errno.EINTR]


@pytest.mark.parametrize("deny", [False, True])
def test_the_handler_process_dies(route: str, deny: bool) -> None:
    """Waiting and later calls go on, or fail, as the rules say; a new handler takes over."""
    rule = Rule(calls=("chdir",), verdict=Ask())
    lost = "chdir: EPERM" if deny else "chdir: 0"
    script = """
import os
for i in range(4):
    try:
        os.chdir("/")
        print("chdir: 0", flush=True)
    except PermissionError:
        print("chdir: EPERM", flush=True)
    except OSError as error:
        print(error.errno, flush=True)
    input()
"""
    with running(
        [rule], None, sys.executable, "-S", "-c", script, route=route, deny=deny, stdin=True
    ) as run:
        out, feed = run.process.stdout, run.process.stdin
        assert out and feed
        first = server_process(run.session, "lambda q: time.sleep(1000)")
        time.sleep(0.5)  # so that it most likely waits already; either way is right
        first.kill()
        assert out.readline().decode().strip() == lost
        feed.write(b"\n")
        feed.flush()
        assert out.readline().decode().strip() == lost
        first.wait()
        second = server_process(run.session, "lambda q: (1, -17)")
        feed.write(b"\n")
        feed.flush()
        assert out.readline().decode().strip() == "17"
        second.kill()
        second.wait()
        feed.write(b"\n")
        feed.flush()
        assert out.readline().decode().strip() == lost
        feed.write(b"\n")
        feed.flush()
        assert run.end(20) == []


def test_the_handler_process_dies_at_any_moment(route: str) -> None:
    """Ten processes ask all the time; whatever moment the handler dies at, they come to their end."""
    chance = random.Random(4)
    for _ in range(6):
        rules = [Rule(calls=("getppid",), verdict=Ask())]
        with running(rules, None, "/bin/sh", "-c", f"for i in 1 2 3 4 5 6 7 8 9 10; do {asks()} many 4000 & done; wait",
                     route=route) as run:  # fmt: skip
            server = server_process(run.session, "lambda q: (1, 42)")
            time.sleep(chance.uniform(0.05, 0.6))
            server.kill()
            lines = run.end(40)
            server.wait()
        assert len(lines) == 10


def test_programs_die_at_any_moment(route: str) -> None:
    """Their slots are found again, and the living get the right answers all along."""
    chance = random.Random(5)
    rule = Rule(calls=("getppid", "getpgid"), verdict=Ask())

    def answer(q: Request) -> tuple[int, int]:
        if q.nr in (110, 173):
            time.sleep(0.001)
            with contextlib.suppress(OSError):
                q.proceed()
            return (1, 42)
        return (1, 2 * q.args[0])

    script = f"for i in 1 2 3 4 5 6 7 8; do (while :; do {asks()} many 100000; done) & done; {asks()} tokens 4 20000"
    with running([rule], answer, "/bin/sh", "-c", script, route=route) as run:
        end = time.monotonic() + 4
        while time.monotonic() < end and run.process.poll() is None:
            time.sleep(chance.uniform(0.001, 0.02))
            for pid in run.pids():
                with contextlib.suppress(OSError):
                    if (
                        chance.random() < 0.2
                        and os.readlink(f"/proc/{pid}/exe") == asks()
                        and b"many" in Path(f"/proc/{pid}/cmdline").read_bytes()
                    ):
                        os.kill(pid, signal.SIGKILL)
        out = run.process.stdout
        assert out
        wrong = next((line for line in out if line.startswith(b"wrong")), b"")
        assert wrong == b"wrong: 0\n"
        assert not run.errors


def test_the_launcher_dies(route: str) -> None:
    """Handlers do not need it."""
    with running([PPID], lambda q: (1, 42), "/bin/sh", "-c", f"read x; {asks()} ppid & exec {asks()} ppid",
                 route=route, stdin=True) as run:  # fmt: skip
        deadline = time.monotonic() + 10
        while not (seen := _native.session_snapshot(run.session)["launcher"]) or not run.pids():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.2)
        (pid,) = run.pids()
        with running([PPID], lambda q: (1, 42), asks(), "until", route=route) as other:
            assert other.end(20) == ["until: 42"]
        os.kill(seen, signal.SIGKILL)
        assert run.process.stdin
        run.process.stdin.close()
        run.process.stdin = None
        run.process.communicate(timeout=20)
        deadline = time.monotonic() + 10
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not Path(f"/proc/{pid}").exists()


def test_the_launcher_dies_at_any_moment(route: str) -> None:
    """Whoever is caught stays so; what starts later runs uncaught, or, in the route `proxy`, does not."""
    chance = random.Random(6)
    loop = f"for i in 1 2 3 4 5 6 7 8 9 10; do {asks()} many 2000; done"
    for _ in range(4):
        with running(
            [PPID],
            lambda q: (1, 42),
            "/bin/sh",
            "-c",
            f"({loop}) & {asks()} many 60000; wait",
            route=route,
        ) as run:
            time.sleep(chance.uniform(0.1, 0.8))
            launcher = _native.session_snapshot(run.session)["launcher"]
            if launcher:
                with contextlib.suppress(OSError):
                    os.kill(launcher, signal.SIGKILL)
            lines = run.end(40)
            assert not run.errors
        assert set(lines) <= {"many: 2000", "many: 60000", "many: 0"}


def test_nobody_serves() -> None:
    """A session whose rules ask a handler that never comes: it is waited for once."""
    before = time.monotonic()
    with running([PPID], None, asks(), "ppid", "ppid", "many", "1000") as run:
        assert run.end(30) == ["getppid: 1", "getppid: 1", "many: 0"]
    assert time.monotonic() - before < 15


def test_a_server_that_stops(route: str) -> None:
    begun = threading.Event()

    def answer(q: Request) -> tuple[int, int]:
        begun.set()
        return (1, 42)

    with running([PPID], None, asks(), "many", "1000000", route=route) as run:
        server = _native.serve(run.session, answer)
        assert begun.wait(20)
        time.sleep(0.02)
        server.stop()
        (line,) = run.end(30)
        assert 0 < int(line.split()[1]) < 1000000


def test_another_pid_namespace(route: str) -> None:
    """Ids that mean somebody else here, or nobody."""
    if os.geteuid():
        pytest.skip("a pid namespace needs root")

    def slow(q: Request) -> tuple[int, int]:
        if q.wait(0.5):
            raise AssertionError("taken for dead")
        return (1, 42)

    with running([PPID], slow, asks(), "unshared", route=route) as run:
        assert run.end(30) == ["pid: 1", "many: 5"]
        assert not run.errors

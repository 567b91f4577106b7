# SPDX-License-Identifier: Apache-2.0
"""Proves clocks of a run's own: all programs see the same time, wait until it is time, and as long as they should."""

import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from commands import lsca, refused

import lsca as library
from lsca.services import time as clocks

# Ways to wait for five seconds, and how long the program's own clock says that it took.
WAITS = {
    "sleep": "time.sleep(5)",
    "select": "select.select([], [], [], 5)",
    "poll": "select.poll().poll(5000)",
    "epoll": "select.epoll().poll(5)",
    "futex": "threading.Event().wait(5)",
    "sigtimedwait": "signal.sigtimedwait([signal.SIGUSR1], 5)",
    "setitimer": "signal.signal(14, lambda *_: None); signal.setitimer(signal.ITIMER_REAL, 5); signal.pause()",
    "clock_nanosleep": "libc.clock_nanosleep(0, 1, ctypes.byref(ts(int(time.time()) + 5, 0)), None)",
    "timerfd": "fd = libc.timerfd_create(1, 0); set(fd, 0, 5); os.read(fd, 8)",
    "timerfd, until": "fd = libc.timerfd_create(0, 0); set(fd, 1, int(time.time()) + 5); os.read(fd, 8)",
}
HEAD = """
import ctypes, os, select, signal, sys, threading, time
libc = ctypes.CDLL(None)
class ts(ctypes.Structure): _fields_ = [("s", ctypes.c_long), ("n", ctypes.c_long)]
class its(ctypes.Structure): _fields_ = [("every", ts), ("first", ts)]
def set(fd, flags, s): libc.timerfd_settime(fd, flags, ctypes.byref(its(ts(0, 0), ts(s, 0))), None)
"""
ONE = """t = time.monotonic(); {}; print({!r}, time.monotonic() - t, sep="=", file=sys.stderr)"""


def run(*argv: Any, clock: object, route: str = "kernel") -> str:
    done = library.run(
        [str(word) for word in argv], handlers=[clock], route=route, capture_output=True, text=True,
        env=os.environ | {"LC_ALL": "C", "TZ": "UTC"},
    )  # fmt: skip
    assert not done.reports, done.reports
    return done.stdout + done.stderr


def test_waiting_takes_as_long_as_the_clock_says(route: str) -> None:
    program = "\n".join(ONE.format(code, name) for name, code in WAITS.items())
    start = time.monotonic()
    out = run(sys.executable, "-c", HEAD + program, clock=clocks.clock("+3d,x10"), route=route)
    assert time.monotonic() - start < 5 * len(WAITS) / 2
    lines = [line.partition("=") for line in out.splitlines() if "=" in line]
    took = {name: float(seconds) for name, _, seconds in lines}
    assert took.keys() == WAITS.keys()
    for name, seconds in took.items():
        least = 3.9 if "until" in name or name == "clock_nanosleep" else 4.9  # to a whole second
        assert least < seconds < 15, (name, seconds)


def test_all_programs_stand_still(route: str) -> None:
    clock = clocks.frozen("2030-01-01T12:00:00+00:00")
    program = "import time; print(time.time(), time.time_ns(), time.clock_gettime(5))"
    text = (
        f"date +%s.%N; {sys.executable} -c '{program}'; sleep 0.01; date +%s; perl -e 'print time'"
    )
    assert run("sh", "-c", text, clock=clock, route=route) == (
        "1893499200.000000000\n1893499200.0 1893499200000000000 1893499200.0\n1893499200\n1893499200"
    )


def test_it_can_be_set_meanwhile() -> None:
    clock = clocks.frozen(datetime(2030, 1, 1, tzinfo=UTC))
    assert run("date", "+%F %T", clock=clock) == "2030-01-01 00:00:00\n"
    clock.tick(90)
    assert run("date", "+%F %T", clock=clock) == "2030-01-01 00:01:30\n"
    clock.move_to("2031-02-03T04:05:06+00:00")
    assert run("date", "+%F %T", clock=clock) == "2031-02-03 04:05:06\n"
    running = clocks.shifted(timedelta(days=-1))
    assert abs(float(run("date", "+%s", clock=running)) - time.time() + 86400) < 5


def test_go_and_c(route: str, tmp_path: Path) -> None:
    """Which have no libc, or ask it for time() and gettimeofday()."""
    clock = clocks.frozen("2030-01-01T00:00:00+00:00")
    (tmp_path / "c.c").write_text(
        "#include <stdio.h>\n#include <sys/time.h>\n#include <time.h>\n"
        'int main() { struct timeval v; gettimeofday(&v, 0); printf("%ld %ld\\n", (long)time(0), (long)v.tv_sec); }\n'
    )
    subprocess.run(["gcc", "-static", "-o", tmp_path / "c", tmp_path / "c.c"], check=True)
    assert run(tmp_path / "c", clock=clock, route=route) == "1893456000 1893456000\n"
    if shutil.which("go") is None:
        pytest.skip("there is no go")
    (tmp_path / "main.go").write_text(
        'package main\nimport ("fmt"; "time")\nfunc main() { fmt.Println(time.Now().Unix()) }\n'
    )
    build = ["go", "build", "-o", tmp_path / "main", tmp_path / "main.go"]
    subprocess.run(
        build, env=os.environ | {"CGO_ENABLED": "0", "GOCACHE": "/tmp/lsca-go-cache"}, check=True
    )
    assert run(tmp_path / "main", clock=clock, route=route) == "1893456000\n"


def test_the_command_line() -> None:
    assert lsca("run", "--time", "@2030-01-01T00:00:00+00:00", "date", "+%F") == "2030-01-01\n"
    ahead = int(lsca("run", "--time", "+1d12h", "date", "+%s")) - time.time()
    assert abs(ahead - 129600) < 5


@pytest.mark.parametrize("text", ["", "soon", "+3", "x0", "@", "+3d;x1", "2030-13-01"])
def test_what_is_no_time(text: str) -> None:
    said = refused("run", f"--time={text}", "true")
    assert "is no time" in said or "times as fast" in said

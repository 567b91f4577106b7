# SPDX-License-Identifier: Apache-2.0
"""Proves that a `signal=` without a fault comes during the call, as strace has it: waits end, other calls are made."""

import functools
import subprocess
from pathlib import Path

import pytest
from handling import program
from test_command import run

WAITS = ("readv", "recvfrom", "nanosleep", "pause", "futex", "poll", "ppoll", "epoll_wait", "wait4")
CALLS = (*WAITS, "writev", "getppid", "readv full", "recvfrom full", "poll full")
# Whoever is traced by strace is woken by signals that it ignores, too (SIGCHLD, in one case); otherwise nobody is.
WOKEN_BY_STRACE = {
    ("ignored", "nanosleep"): "untouched",
    ("blocked", "nanosleep"): "untouched",
    ("ignored", "epoll_wait"): " 1 ,",
}
SAYS = (
    "import lsca\nlsca.on({!r}, when=lambda call: True, count='1', per='thread').signal('USR1')\n"
)


def cases(how: str) -> list[list[str]]:
    for_ever = ("pause",) if how in ("ignored", "blocked") else ()
    return [call.split() for call in CALLS if call not in for_ever]


@functools.cache
def natively(how: str, call: str, *more: str) -> tuple[str, int]:
    fault = ["-e", f"trace={call}", "-e", f"inject={call}:signal=SIGUSR1:when=1"]
    words = ["strace", "-o", "/dev/null", *fault, *command(how, call, *more)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    return done.stdout, done.returncode


def command(how: str, call: str, *more: str) -> list[str]:
    return [program("handlers/during.c", name="during"), call, how, *more]


@pytest.mark.parametrize("how", ["handler", "restart", "ignored", "blocked", "default"])
@pytest.mark.parametrize("way", ["trapped", "warm", "function"])
def test_as_strace_does_it(route: str, way: str, how: str, tmp_path: Path) -> None:
    different = []
    for call, *more in cases(how):
        words = ["-e", f"inject={call}:signal=SIGUSR1:when=1"]
        if way == "function":
            (tmp_path / "says.py").write_text(SAYS.format(call))
            words = ["-s", str(tmp_path / "says.py")]
        warm = ["warm"] if way == "warm" else []
        ours = run("--route", route, *words, "--", *command(how, call, *more, *warm))
        said = (ours.stdout, ours.returncode)
        asleep = WOKEN_BY_STRACE.get((how, call))
        if asleep is None and (theirs := natively(how, call, *more)) != said:
            different.append((call, more, theirs, said))
        elif asleep is not None and asleep not in ours.stdout:
            different.append((call, more, asleep, said))
        assert ours.stderr == ""
    assert not different

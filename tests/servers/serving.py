# SPDX-License-Identifier: Apache-2.0
"""Runs a server and its clients, all of them captured, with their connections going through memory.

A scenario is a script for bash that looks at what has arrived, and prints what it has found. It is run natively, too,
and must print the same. A run that does not come to its end is ended, and shown as far as it has come.
"""

import contextlib
import os
import platform
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from differential import (
    MARKER,
    command,
    environment,
    fresh_directory,
    leftovers,
    lsca_for,
    person,
    scratch,
)

HERE = Path(__file__).parent
PYTHON = str(Path(sys.executable).resolve())
SUMMARY = re.compile(
    r"lsca: (\d+) connections went through memory, (\d+) bytes(; some went back to the kernel)?\s*"
)
# `port` finds a port where nobody listens, below those that clients get; `ready PID COMMAND` waits until the command
# succeeds, as long as that process lives; `ended NAME PID...` says how each of them has ended.
PRELUDE = r"""
exec 2> errors
set -u
port() { while PORT=$((20000 + RANDOM % 12000)); listens $PORT; do :; done; }
listens() { (exec 3<> /dev/tcp/127.0.0.1/$1) 2> /dev/null; }
ready() {
    local pid=$1; shift
    until "$@" > /dev/null 2>&1; do kill -0 $pid || { echo "no server: $*"; exit 1; }; sleep 0.05; done
}
ended() {
    local name=$1; shift
    for pid; do wait $pid; echo "$name $?"; done
}
"""
x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="written for x86-64")


@dataclass(frozen=True)
class Run:
    """What a run has printed and left of itself, and what went through memory."""

    status: int | None
    out: list[str]
    errors: list[str]
    told: str  # by lsca
    leftover: tuple[str, ...]

    def shown(self) -> str:
        status = "no end within the time allowed" if self.status is None else f"exit {self.status}"
        errors = [f"err| {line}" for line in self.errors[-30:]]
        left = [f"left over| {name}" for name in self.leftover]
        lsca = [f"lsca| {line}" for line in self.told.splitlines()]
        return "\n".join([status, *(f"out| {line}" for line in self.out), *errors, *lsca, *left])

    def streams(self) -> tuple[int, int]:
        """Connections and bytes. AssertionError if lsca has said anything else."""
        told = SUMMARY.fullmatch(self.told)
        assert told, self.shown()
        return int(told[1]), int(told[2])


def _read(path: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace").splitlines()
    return []


def _run(argv: list[str], where: Path, timeout: float, user: str | None) -> Run:
    """lsca says what became of connections if its stderr is a terminal; the script's own goes to a file."""
    marker = uuid.uuid4().hex
    terminal, inner = pty.openpty()
    status: int | None = None
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(
            argv,
            cwd=where,
            env=environment(where) | {MARKER: marker},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=inner,
            start_new_session=True,
            **person(user),
        )
        try:
            status = process.wait(timeout)
            left = leftovers(f"{MARKER}={marker}", process.pid)
        except subprocess.TimeoutExpired:
            left = leftovers(f"{MARKER}={marker}", process.pid, 0)
        finally:
            leftovers(f"{MARKER}={marker}", process.pid, 0)
            process.wait()
            os.set_blocking(terminal, False)
            told = b""
            with contextlib.suppress(OSError):
                told = os.read(terminal, 65536)
            os.close(inner)
            os.close(terminal)
        out.seek(0)
        lines = out.read().decode(errors="replace").splitlines()
    return Run(status, lines, _read(where / "errors"), told.decode(errors="replace"), left)


def serve(
    script: str,
    *,
    needs: Sequence[str],
    joined: int,
    moved: int,
    prepare: Callable[[Path], None] | None = None,
    user: str | None = None,
    timeout: float = 50,
) -> None:
    """AssertionError unless the script does the same both ways, and prints nothing that is wrong.

    `needs`: commands, where "a|b" is content with either; `joined`, `moved`: so many connections and bytes at least
    have to go through memory. The files of this directory are to be found in $HERE.
    """
    absent = [name for name in needs if not any(map(shutil.which, name.split("|")))]
    if absent:
        pytest.skip(f"not installed: {', '.join(absent)}")
    head = f"HERE=$PWD/bin PYTHON='{PYTHON} -IS'\n"
    argv = ["bash", "-c", PRELUDE + head + textwrap.dedent(script)]
    runs = []
    with scratch() as base:
        start = lsca_for(user, base) if user and person(user) else None
        for line in (argv, command("kernel", argv, "--streams=on", start=start)):
            with fresh_directory(None, base) as where:
                shutil.copytree(HERE, where / "bin", ignore=shutil.ignore_patterns("__pycache__"))
                if prepare:
                    prepare(where)
                for path in (where, *where.rglob("*")) if person(user) else ():
                    os.chown(path, person(user)["user"], person(user)["group"])
                runs.append(_run(line, where, timeout, user))
    native, ours = runs
    assert native.status == 0 and not native.leftover, f"the native run failed: {native.shown()}"
    assert (ours.status, ours.out, ours.leftover) == (0, native.out, ()), (
        f"natively:\n{native.shown()}\nwith streams:\n{ours.shown()}"
    )
    connections, size = ours.streams()
    assert connections >= joined and size >= moved, ours.shown()

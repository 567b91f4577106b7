# SPDX-License-Identifier: Apache-2.0
"""A daemon, a copy of the agent, and programs that bring it along: what tests/unit/test_preload*.py share.

As root, all of it can be another user's: every statement about preloading holds for ordinary users.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lsca.log import read_log
from lsca.session import AGENT

LSCA = [sys.executable, "-m", "lsca"]
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def _users() -> list[str]:
    """Whoever runs the tests, and, if that is root, somebody who is not: if such a one may read this directory."""
    if os.geteuid() or not shutil.which("setpriv"):
        return ["self"]
    reads = subprocess.run([*NOBODY, sys.executable, "-c", "import lsca"], capture_output=True)
    return ["self"] if reads.returncode else ["self", "nobody"]


USERS = _users()
IS_CAUGHT = "grep ^SigCgt /proc/self/status"
SIGSYS_BIT = 1 << 30


def caught(output: str) -> bool:
    """Whether IS_CAUGHT, run by a shell, came from a program with an agent."""
    return bool(int(output.split()[1], 16) & SIGSYS_BIT)


def is_complete(path: Path) -> bool:
    """A log that has just been made has no header yet."""
    return path.stat().st_size > 0 and read_log(path).complete


class Place:
    """A directory that every user may enter, and a daemon in it if there is to be one."""

    def __init__(self, user: str) -> None:
        self.user = [] if user == "self" else NOBODY
        self.path = Path(tempfile.mkdtemp(prefix="lsca-test-"))
        self.path.chmod(0o777)
        self.agent = shutil.copy(AGENT, self.path / "lsca-agent.so")
        self.socket = str(self.path / "s")
        self.logs = self.path / "logs"
        self.daemon: subprocess.Popen[str] | None = None
        self.children: list[subprocess.Popen[str]] = []

    def start(self, *options: str) -> None:
        self.daemon = subprocess.Popen(
            [*self.user, *LSCA, "daemon", "--socket", self.socket, *options],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.daemon.stderr is not None
        assert "ready" in self.daemon.stderr.readline()

    def close(self) -> None:
        for process in [*self.children, *([self.daemon] if self.daemon else [])]:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
            for file in (process.stdin, process.stdout, process.stderr):
                if file is not None:
                    file.close()
        shutil.rmtree(self.path)

    def environment(self, preload: bool = True) -> dict[str, str]:
        more = {"LSCA_DAEMON": self.socket, "LC_ALL": "C", "PATH": "/usr/bin:/bin"}
        if preload:
            more["LD_PRELOAD"] = str(self.agent)
        return {**os.environ, **more}

    def words(self, *words: str, preload: bool = True) -> list[str]:
        """By env, for setpriv is no business of the daemon's."""
        variables = [f"LSCA_DAEMON={self.socket}", "LC_ALL=C", "PATH=/usr/bin:/bin"]
        if preload:
            variables.append(f"LD_PRELOAD={self.agent}")
        return [*self.user, "env", *variables, *words]

    def run(self, *words: str, preload: bool = True) -> subprocess.CompletedProcess[str]:
        command = self.words(*words, preload=preload)
        return subprocess.run(command, capture_output=True, text=True, timeout=100)

    def begin(self, *words: str, preload: bool = True) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            self.words(*words, preload=preload),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.children.append(process)
        return process

    def sessions(self) -> list[dict[str, object]]:
        done = subprocess.run(
            [*self.user, *LSCA, "daemon", "--socket", self.socket, "--status", "--json"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        return json.loads(done.stdout)["sessions"]  # type: ignore[no-any-return]

    def log(self) -> Path:
        """The only log, when it is complete."""
        wait_for(lambda: len(list(self.logs.iterdir())) == 1)
        path = next(self.logs.iterdir())
        wait_for(lambda: is_complete(path))
        return path

    def compiled(self, name: str, source: str, *flags: str) -> str:
        cc = shutil.which("gcc")
        if cc is None:
            pytest.skip("gcc is not installed")
        (self.path / f"{name}.c").write_text(source)
        target = str(self.path / name)
        subprocess.run([cc, "-O1", "-pthread", "-o", target, f"{target}.c", *flags], check=True)
        return target


@pytest.fixture(params=USERS)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """Once for each user."""
    with contextlib.closing(Place(request.param)) as one:
        yield one


@pytest.fixture
def here() -> Iterator[Place]:
    """For whoever runs the tests."""
    with contextlib.closing(Place("self")) as one:
        yield one


def wait_for(what: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            pytest.fail("it did not happen")
        time.sleep(0.01)

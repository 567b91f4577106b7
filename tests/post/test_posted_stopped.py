# SPDX-License-Identifier: Apache-2.0
"""A poster that is stopped: its program goes on soon, even if it was stopped in the middle of a write; and what waits
to be written meanwhile can be seen.
"""

import json
import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from posting import Posting, comm, memories, recover

from differential import environment
from killing import children

LOCK_AT = 16384 + 128  # of the first file's entry: native/shared/posts.h
WAITERS = 1 << 31
BOUND = 20.0  # seconds; a tenth is what it should take
LSCA = [sys.executable, "-m", "lsca"]


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + BOUND
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    until(lambda: state(pid) == "T")


def test_the_program_goes_on(tmp_path: Path) -> None:
    """As if the poster were stopped within its write, which takes microseconds: the lock is its own then."""
    before = set(memories())
    run = Posting(tmp_path, lines=10**9, pause=100)
    try:
        run.working()
        (path,) = set(memories()) - before
        with path.open("r+b") as file, mmap.mmap(file.fileno(), LOCK_AT + 4) as memory:

            def lock() -> int:
                return int.from_bytes(memory[LOCK_AT : LOCK_AT + 4], "little")

            stop(run.poster)
            stop(run.program)
            while lock():  # the one or the other was just writing
                os.kill(run.poster, signal.SIGCONT)
                os.kill(run.program, signal.SIGCONT)
                time.sleep(0.001)
                stop(run.poster)
                stop(run.program)
            memory[LOCK_AT : LOCK_AT + 4] = run.poster.to_bytes(4, "little")
            os.kill(run.program, signal.SIGCONT)
            until(lambda: lock() == run.poster | WAITERS)  # the ring is full
            until(lambda: state(run.poster) != "T")
            memory[LOCK_AT : LOCK_AT + 4] = bytes(4)  # it would let go now, if it knew
            had = run.acknowledged()[0]
            until(lambda: run.acknowledged()[0] > had + 3000)
    finally:
        run.end()
    recover()
    run.check()


def test_the_run_ends(tmp_path: Path) -> None:
    run = Posting(tmp_path, lines=200_000, pause=0)
    run.working()
    os.kill(run.poster, signal.SIGSTOP)
    run.over()
    assert run.check() == 200_000


SCRIPT = """
import sys
file = open("out.txt", "wb", 0)
for line in sys.stdin:
    for n in range(50):
        file.write(b"x" * 10)
    print("written", flush=True)
"""


def test_what_waits_can_be_seen(daemon: str, tmp_path: Path) -> None:
    around = environment(tmp_path) | {"LSCA_DAEMON": daemon}
    options = ("--daemon", daemon, "--post", "*.txt", "--post-after", "1")
    argv = [*LSCA, "run", *options, "--", sys.executable, "-IS", "-c", SCRIPT]
    pipe = subprocess.PIPE

    def lsca(*words: str) -> str:
        done = subprocess.run([*LSCA, *words], capture_output=True, env=around, check=True)
        return done.stdout.decode()

    def posted() -> dict[str, int]:
        (session,) = json.loads(lsca("daemon", "--status", "--json"))["sessions"]
        return dict(session["posted"])

    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, cwd=tmp_path, env=around) as run:
        assert run.stdin and run.stdout

        def write() -> None:
            assert run.stdin and run.stdout
            run.stdin.write(b"\n")
            run.stdin.flush()
            assert run.stdout.readline() == b"written\n"

        write()
        until(lambda: posted()["waiting"] == 0)
        before = posted()
        assert 40 < before["writes"] <= 50 and before["files"] == 1 and before["lost"] == 0
        assert before["bytes"] == 10 * before["writes"]
        (poster,) = [pid for pid in children(run.pid) if comm(pid) == "lsca-poster"]
        os.kill(poster, signal.SIGSTOP)
        until(lambda: state(poster) == "T")
        write()
        seen = posted()
        assert (seen["bytes"], seen["waiting"]) == (before["bytes"] + 500, 500)
        assert "500B to be written" in lsca("top", "-d", "0.1")
        assert "500 bytes still to be written" in lsca("daemon", "--status")
        assert (tmp_path / "out.txt").stat().st_size == 500
        os.kill(poster, signal.SIGCONT)
        until(lambda: posted()["waiting"] == 0)
        assert (tmp_path / "out.txt").stat().st_size == 1000
        run.stdin.close()
        assert run.wait(30) == 0

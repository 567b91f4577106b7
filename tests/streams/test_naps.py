# SPDX-License-Identifier: Apache-2.0
"""Who waits in a read sleeps on a semaphore at first: signals, limits and ends come as natively, and none is left."""

import platform
import subprocess
from pathlib import Path

import pytest
from playing import FLAGS, captured, play

from differential import command, program, run_in

HOWS = ("signals", "restarts", "closes", "shuts", "limits", "parts", "forks", "kills")
SOCKETS_ONLY = ("shuts", "limits")
pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="written for x86-64")


def napper() -> str:
    return program("streams/naps.c", flags=(*FLAGS, "-pthread"))


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        (kind, how)
        for kind in ("tcp", "unix", "pipe")
        for how in HOWS
        if kind != "pipe" or how not in SOCKETS_ONLY
    ],
)
def test_a_nap_shows_nothing(kind: str, how: str, tmp_path: Path) -> None:
    argv = [napper(), kind, how]
    native = play(argv, tmp_path)
    ours = play(captured(argv), tmp_path)
    assert (native.status, ours.status, ours.lines) == (0, 0, native.lines), ours.others
    said = [line.split() for line in ours.others]
    assert all(words[0] == "guards" for words in said), ours.others
    assert all(int(words[1]) > 0 for words in said), "nobody can have napped"


@pytest.mark.parametrize("end", ["exit 0", "exec kill -9 $PPID"])
def test_no_semaphore_is_left(end: str, tmp_path: Path) -> None:
    """Nor by a launcher that is killed."""
    alone = ["unshare", "-rmi", "sh", "-c"]
    apart = "mount -t tmpfs none /dev/shm"
    if subprocess.run([*alone, apart], capture_output=True).returncode:
        pytest.skip("no mounts of our own can be had")
    count = "tail -n +2 /proc/sysvipc/sem | wc -l"
    inner = command("kernel", ["sh", "-c", f'"$0" tcp parts; {count}; {end}', napper()])
    argv = [*alone, f'{apart} && {{ "$@"; {count}; }}', "-", *inner]
    done = run_in(tmp_path, argv, timeout=60)
    assert done.stdout == b"0 wrong\nstatus 0\n1\n0\n", done.stderr

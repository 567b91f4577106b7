# SPDX-License-Identifier: Apache-2.0
"""What the daemon gives to programs that bring their agent along: who is refused, who belongs where, names of logs.

That the agent makes something of it is proven in test_preload.py.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lsca import _native, attached
from lsca.log import read_log


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A program with a name that no file should have."""
    code = "open('/proc/self/comm', 'w').write('../a b\\n'); print(flush=True); input()"
    one = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert one.stdout is not None and one.stdin is not None
    one.stdout.readline()
    yield one
    one.kill()
    one.wait()
    one.stdin.close()
    one.stdout.close()


@pytest.mark.parametrize(
    "request_",
    [
        {"version": _native.ABI_VERSION + 1, "pid": 7},
        {"version": str(_native.ABI_VERSION), "pid": 7},
        {"version": _native.ABI_VERSION, "pid": 8},
        {"version": _native.ABI_VERSION, "pid": "7"},
    ],
)
def test_refused(request_: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        attached.check(request_, 7)
    attached.check({"version": _native.ABI_VERSION, "pid": 7}, 7)


def test_found_by_process() -> None:
    one, two = attached.create(1111, None), attached.create(2222, None)
    try:
        assert attached.find([one, two], 2222) is two
        assert attached.find([one, two], 3333) is None
        snapshot = _native.session_snapshot(one.fd)
        assert [entry["pid"] for entry in snapshot["processes"]] == [1111]
        assert (snapshot["launcher"], snapshot["log"]) == (0, False)
    finally:
        one.close()
        two.close()


def test_what_is_no_session_has_nobody() -> None:
    with open("/dev/zero", "rb") as zero, open("/dev/null", "rb") as null:
        assert not _native.session_has(zero.fileno(), 1)
        assert not _native.session_has(null.fileno(), 1)
    assert not _native.session_has(-1, 1)


def test_names_of_logs(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    stem = f"_a_b-{process.pid}"
    made = [attached.create(process.pid, str(tmp_path)) for _ in range(3)]
    for one in made:
        one.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted([f"{stem}.lsca", f"{stem}-2.lsca", f"{stem}-3.lsca"])
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.iterdir())


def test_directory_that_is_gone(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        attached.create(os.getpid(), str(tmp_path / "gone"))
    assert len(os.listdir("/proc/self/fd")) == before


def test_keeper_ends_with_the_program(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    """Even one that never took the memory that was meant for it."""
    one = attached.create(process.pid, str(tmp_path))
    one.keep()
    try:
        assert not os.waitid(os.P_PID, one.keeper, os.WEXITED | os.WNOHANG)
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.wait()
        ended = os.waitid(os.P_PID, one.keeper, os.WEXITED)
        assert ended is not None and ended.si_status == 0
        assert attached.find([one], process.pid) is None
    finally:
        one.close()
    (log,) = tmp_path.iterdir()
    assert read_log(log).complete

# SPDX-License-Identifier: Apache-2.0
"""Nothing is lost: what programs say they did, and what is in the log, agree to the last call.

Under many threads at once, many processes with forks and execs, and more threads than there are chunks at a time.
"""

import signal
from collections import Counter
from pathlib import Path

import pytest

from differential import command, program, run_in
from rawlog import (
    CALL,
    EXIT,
    FD,
    PROGRAM,
    START,
    STATUS,
    Segment,
    areas_of,
    gaps,
    read_segment,
)

GETPPID, PAUSE, KILL = 110, 34, 62
NO_RETURN = 1
OPTIONS: tuple[str, ...] = ()


def run(route: str, where: Path, *words: str, options: tuple[str, ...] = ()) -> Path:
    """Runs the counting program with a log, whose path is returned."""
    log = where / "run.lsca"
    argv = [program("log/counted.c"), *words]
    done = run_in(where, command(route, argv, "-o", str(log), *options), timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
    return log


def whole(log: Path, *, rows: bool = True) -> Segment:
    segment = read_segment(log, rows=rows)
    assert (segment.is_last, segment.lost, segment.undrained) == (True, 0, 0)
    assert gaps(segment.runs) == []
    assert areas_of(log) == []
    return segment


def test_threads_at_full_rate(route: str, tmp_path: Path) -> None:
    """64 threads; each record has its number, and each thread as many records as it made calls, and a few."""
    calls = 20_000 if route == "kernel" else 2_000
    segment = whole(run(route, tmp_path, "threads", "64", str(calls)), rows=False)
    rows = Counter[int]()
    for one in segment.runs:
        rows[one.thread] += one.rows
    busy = [count for count in rows.values() if count >= calls]
    assert len(busy) == 64 and max(busy) < calls + 200


def test_processes(route: str, tmp_path: Path) -> None:
    """200 processes, a third of which calls exec and half of which forks: all calls, all beginnings, all ends."""
    count, calls = (200, 100) if route == "kernel" else (60, 20)
    segment = whole(run(route, tmp_path, "processes", str(count), str(calls)))
    execs = (count + 2) // 3
    forks = sum(1 for i in range(count) if i % 2 and i % 3)
    made = sum(1 for row in segment.rows if row.kind == CALL and row.nr == GETPPID)
    assert made == calls * (count + execs + forks)
    kinds = Counter((row.kind, row.args[1:]) for row in segment.rows if row.kind == START)
    assert kinds == {(START, (0,)): count + forks + 1, (START, (1,)): execs}
    assert sum(1 for row in segment.rows if row.kind == EXIT) == count + forks + 1


@pytest.mark.parametrize("lossless", [True, False])
def test_more_threads_than_anybody_has(tmp_path: Path, lossless: bool) -> None:
    """Each holds a chunk, and none waits for another's. With --lossy a drainer that is late costs records: so many as
    it is said, and not one more.
    """
    options = () if lossless else ("--lossy",)
    log = run("kernel", tmp_path, "blocked", "2500", "3", options=options)
    segment = whole(log, rows=False) if lossless else read_segment(log, rows=False)
    missing = sum(found - expected for _, expected, found in gaps(segment.runs))
    assert missing <= segment.lost
    assert len({one.thread for one in segment.runs}) >= 2501


def test_what_the_launcher_says(route: str, tmp_path: Path) -> None:
    rows = whole(run(route, tmp_path, "threads", "1", "1")).rows
    (begun,) = (row for row in rows if row.kind == PROGRAM)
    (ended,) = (row for row in rows if row.kind == STATUS)
    assert begun.before[0].split(b"\0")[1:] == [b"threads", b"1", b"1", b""]
    assert ended.args == (0,) and begun.thread == ended.thread and begun.pid == ended.pid
    inherited = {row.args[0]: row.before[0] for row in rows if row.kind == FD}
    assert inherited[0] == b"/dev/null" and inherited[1].startswith(b"pipe:")
    assert inherited[(1 << 64) - 100] == bytes(tmp_path)
    assert begun.seq == 0 and min(row.start for row in rows) == begun.start


@pytest.mark.parametrize("options", [(), ("-s", "32"), ("-e", "read=0"), ("-e", "write=0")])
def test_contents_are_kept_if_asked_for(tmp_path: Path, options: tuple[str, ...]) -> None:
    rows = whole(run("kernel", tmp_path, "read", "3", "1000", options=options)).rows
    reads = [row for row in rows if row.kind == CALL and row.nr == 0 and row.args[0] == 0]
    assert len(reads) == 3 and all(row.ret == 0 and not row.after for row in reads)  # /dev/null
    others = [
        row for row in rows if row.kind == CALL and row.nr == 0 and row.args[0] and row.ret > 0
    ]
    kept = [len(row.after.get(1, b"")) for row in others]
    assert kept == [32 if options == ("-s", "32") else 0] * len(others)


def test_the_call_in_which_a_thread_dies(route: str, tmp_path: Path) -> None:
    """It never returns, and is there all the same: the last one of its thread."""
    log = tmp_path / "run.lsca"
    argv = [program("log/counted.c"), "dies", "1", "3"]
    done = run_in(tmp_path, command(route, argv, "-o", str(log)))
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, b"")
    calls = [row for row in whole(log).rows if row.kind == CALL]
    last = {row.thread: row for row in calls}
    assert sorted(row.nr for row in last.values()) == [PAUSE, KILL]
    assert all(row.flags & NO_RETURN for row in last.values())


def test_libraries_stay_where_they_are(tmp_path: Path) -> None:
    """Programs that write to chunks far along map more of the log's memory, but not among the libraries."""
    script = """
        for ((i = 0; i < 300; i++)); do sleep 60 & done
        for ((i = 0; i < 50; i++)); do cat /proc/self/maps; done
        kill $(jobs -p)
    """
    words = ["setarch", "-R", "bash", "-c", script]

    def libraries(text: bytes) -> list[bytes]:
        return [line.split()[0] for line in text.splitlines() if b".so" in line]

    native = run_in(tmp_path, words).stdout
    captured = run_in(tmp_path, command("kernel", words, "-o", str(tmp_path / "log"))).stdout
    assert libraries(captured) == libraries(native) != []
    windows = [line for line in captured.splitlines() if b"/dev/shm/lsca-" in line]
    assert len(windows) > 50, "each program found its chunk in the first window"

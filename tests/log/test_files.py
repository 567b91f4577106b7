# SPDX-License-Identifier: Apache-2.0
"""Where a log goes: disks that are full, places that cannot be written, several segments, the last calls only."""

import contextlib
import fcntl
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import segments
from differential import command, environment, program, run_in
from killing import Victim, alive, kill, victim
from lsca import _native
from lsca.errors import LogError
from lsca.log.recover import Recovered, areas, dump, recover
from lsca.session import SYNCS
from rawlog import CALL, STATUS, areas_of, gaps, read_segment, whole_blocks

GETPPID = 110
ROOM = 64 * 1024 // 32 * 1362  # records without arguments that may wait to be drained
MANY = ("threads", "2", "100000")


def run(
    where: Path,
    log: Path | str,
    *options: str,
    words: tuple[str, ...] = MANY,
    before: Callable[[], None] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    argv = command("kernel", [program("log/counted.c"), *words], "-o", str(log), *options)
    return run_in(where, argv, timeout=120, preexec_fn=before)


def segments_of(log: Path) -> list[Path]:
    return [
        log,
        *sorted(log.parent.glob(f"{log.name}.[0-9]*"), key=lambda path: int(path.suffix[1:])),
    ]


# ---- full and forbidden ----


def test_the_disk_is_full(tmp_path: Path) -> None:
    """The program does not notice; the file ends with a whole block, and says how many records are missing."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))

    log = tmp_path / "run.lsca"
    done = run(tmp_path, log, words=("threads", "2", "200000"), before=limited)
    assert done.returncode == 0
    assert (
        done.stderr.count(b"\n") == 1
        and b"run.lsca: File too large; the log ends here" in done.stderr
    )
    segment = read_segment(log, rows=False)
    assert sum(one.rows for one in segment.runs) > 0 and areas_of(log) == []
    assert segment.is_last is None or segment.undrained


def test_a_device_that_is_full(tmp_path: Path) -> None:
    done = run(tmp_path, "/dev/full")
    assert done.returncode == 125 and b"/dev/full: No space left on device" in done.stderr
    assert areas_of(tmp_path) == []


def test_places_where_no_log_can_be(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "none" / "x.lsca"):
        done = run(tmp_path, place)
        assert done.returncode == 125 and b"cannot be written" in done.stderr
        assert done.stderr.count(b"\n") == 1 and areas_of(place) == []


def test_a_pipe(tmp_path: Path) -> None:
    """What is no file gets the same bytes."""
    fifo, copy = tmp_path / "fifo", tmp_path / "copy"
    os.mkfifo(fifo)
    with copy.open("wb") as to, subprocess.Popen(["cat", fifo], stdout=to):
        assert run(tmp_path, fifo, words=("threads", "1", "1000")).returncode == 0
    segment = read_segment(copy)
    assert (
        segment.is_last
        and sum(row.nr == GETPPID for row in segment.rows if row.kind == CALL) == 1000
    )


@pytest.mark.parametrize("sync", SYNCS)
def test_a_log_is_whole_however_it_is_synced(sync: str, tmp_path: Path) -> None:
    log = tmp_path / "run.lsca"
    assert run(tmp_path, log, "--sync", sync).returncode == 0
    segment = read_segment(log, rows=False)
    assert segment.is_last and sum(one.rows for one in segment.runs) > 200_000


# ---- segments ----


def test_segments_follow_each_other(tmp_path: Path) -> None:
    """Each is a log of its own, with the same run; together they have all."""
    log = tmp_path / "run.lsca"
    assert run(tmp_path, log, "--rotate-size", "100k", "--sync=segment").returncode == 0
    parts = [read_segment(path, rows=False) for path in segments_of(log)]
    assert len(parts) > 3
    assert [part.number for part in parts] == list(range(len(parts)))
    assert {part.run_id for part in parts} == {parts[0].run_id}
    assert [part.is_last for part in parts] == [False] * (len(parts) - 1) + [True]
    runs = [one for part in parts for one in part.runs]
    assert gaps(runs) == [] and sum(one.rows for one in runs) > 200_000
    assert all(path.stat().st_size >= 100 << 10 for path in segments_of(log)[:-1])


def test_segments_by_age(tmp_path: Path) -> None:
    log = tmp_path / "run.lsca"
    with victim(tmp_path, "--rotate-age", "1", "--sync", "interval") as run:
        deadline = time.monotonic() + 20
        while len(segments_of(log)) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        kill(*run.programs)
        run.gone()
    parts = [read_segment(path, rows=False) for path in segments_of(log)]
    assert len(parts) >= 3 and gaps([one for part in parts for one in part.runs]) == []


def test_killed_between_segments(tmp_path: Path) -> None:
    """The last one is gone on with; what is in the others does not come again."""
    log = tmp_path / "run.lsca"
    with victim(tmp_path, "--rotate-size", "64k") as run:
        while len(segments_of(log)) < 4:
            time.sleep(0.01)
        kill(run.front.pid, run.launcher)
        time.sleep(0.05)
        kill(*run.programs)
        run.gone()
        (one,) = recover(str(log))
        assert (one.state, one.output) == ("done", str(log))
        counts = run.counts()
    runs = [one for path in segments_of(log) for one in read_segment(path, rows=False).runs]
    assert gaps(runs) == []
    for _, tid, returned in counts:
        assert sum(one.rows for one in runs if one.tid == tid) >= returned


def test_a_keeper_goes_on_in_the_last_segment(tmp_path: Path) -> None:
    """Where only the launcher was killed, nothing of what it had written is written over."""
    log = tmp_path / "run.lsca"
    with victim(tmp_path, "--rotate-size", "64k") as run:
        while len(segments_of(log)) < 4:
            time.sleep(0.01)
        kill(run.launcher)
        before = len(segments_of(log))
        while len(segments_of(log)) < before + 3:
            time.sleep(0.01)
        kill(*run.programs)
        run.gone()
        counts = run.counts()
    parts = [read_segment(path, rows=False) for path in segments_of(log)]
    assert [part.number for part in parts] == list(range(len(parts)))
    assert [part.is_last for part in parts] == [False] * (len(parts) - 1) + [True]
    runs = [one for part in parts for one in part.runs]
    assert gaps(runs) == []
    for _, tid, returned in counts:
        assert sum(one.rows for one in runs if one.tid == tid) >= returned


def left_behind(stack: contextlib.ExitStack, tmp_path: Path) -> tuple[Victim, Path, str, int]:
    """A run of which all is dead; its log; its area, by name and open, which we have and no daemon."""
    for attempt in range(20):  # a daemon may be faster
        place = tmp_path / str(attempt)
        place.mkdir()
        log = place / "run.lsca"
        run = stack.enter_context(victim(place))
        time.sleep(0.2)
        (name,) = areas_of(log)
        area = os.open(f"{_native.AREA_DIRECTORY}/{name}", os.O_RDWR)
        kill(run.front.pid, run.launcher, *run.programs)
        fcntl.flock(area, fcntl.LOCK_EX)
        run.gone()
        if areas_of(log):
            return run, log, name, area
        os.close(area)
    raise AssertionError("a daemon was faster each time")


@pytest.mark.parametrize("begun", [0, 100, 256])
def test_killed_when_the_next_segment_was_to_begin(tmp_path: Path, begun: int) -> None:
    """The area still names the one before, which has its end: nothing is written behind that."""
    with contextlib.ExitStack() as stack:
        run, log, name, area = left_behind(stack, tmp_path)
        header = log.read_bytes()[:256]
        os.truncate(log, whole_blocks(log))
        with log.open("ab") as file:
            file.write(segments.end(is_last=False))
        if begun:
            second = header[:64] + (1).to_bytes(4, "little") + header[68:]
            log.with_name("run.lsca.1").write_bytes(second[:begun])
        os.close(area)
        while areas_of(log):
            _native.area_recover(name)
        counts = run.counts()
    parts = [read_segment(path, rows=False) for path in segments_of(log)]
    assert [part.is_last for part in parts] == [False, True]
    runs = [one for part in parts for one in part.runs]
    assert gaps(runs) == []
    for _, tid, returned in counts:
        assert sum(one.rows for one in runs if one.tid == tid) >= returned


# ---- the last calls ----


@pytest.mark.parametrize("count", [1, 1000, 50_000])
def test_flight(tmp_path: Path, count: int) -> None:
    """At least so many calls, the very last ones, and not much more."""
    log = tmp_path / "run.lsca"
    assert run(tmp_path, log, "--flight", str(count)).returncode == 0
    segment = read_segment(log)
    assert segment.is_last and segment.lost == 0
    assert count <= len(segment.rows) < count + 10_000
    assert segment.rows[-1].kind == STATUS
    for thread in {one.thread for one in segment.runs}:
        numbers = [row.seq for row in segment.rows if row.thread == thread]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))


def test_flight_with_little_memory(tmp_path: Path) -> None:
    """As many as there is room for, and the program does not wait for more."""
    done = elsewhere(
        tmp_path, "-t tmpfs -o size=600k", "threads", "2", "100000", options=("--flight", "1000000")
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    segment = read_segment(tmp_path / "run.lsca", rows=False)
    rows = sum(one.rows for one in segment.runs)
    assert segment.is_last and segment.lost == 0 and 5_000 < rows < 100_000


def test_flight_is_looked_at(tmp_path: Path) -> None:
    log, copy = tmp_path / "run.lsca", tmp_path / "copy.lsca"
    with victim(tmp_path, "--flight", "1000") as run:
        (name,) = areas_of(log)
        assert any(name in line and "the last 1000 calls" in line for line in areas())
        while sum(row[2] for row in run.counts()) < 2000:
            time.sleep(0.005)
        for which in (name, str(run.launcher), str(run.programs[0])):
            records = dump(which, str(copy))
            segment = read_segment(copy, rows=False)
            assert segment.is_last and records == sum(one.rows for one in segment.runs) > 1000
        assert log.stat().st_size == 256


def recovered(log: Path) -> Recovered | None:
    """None if a daemon of somebody else's has been faster: each recovers what it finds when it starts."""
    for _ in range(100):
        try:
            (one,) = recover(str(log))
            return one
        except LogError:
            if not areas_of(log):
                return None
            time.sleep(0.05)  # it is at it
    raise AssertionError("neither we nor anybody else can recover it")


def test_flight_is_recovered(tmp_path: Path) -> None:
    log = tmp_path / "run.lsca"
    with victim(tmp_path, "--flight", "1000") as run:
        time.sleep(0.1)
        kill(run.front.pid, run.launcher, *run.programs)
        run.gone()
        brought = recovered(log)
    assert brought is None or (brought.state == "done" and brought.records > 1000)
    assert read_segment(log, rows=False).is_last


# ---- slow ones ----


def test_nobody_drains_for_a_while(tmp_path: Path) -> None:
    """A launcher that stands still costs time, and no record."""
    log = tmp_path / "run.lsca"
    with victim(tmp_path) as run:
        os.kill(run.launcher, signal.SIGSTOP)
        counts, before = run.counts(), None
        while counts != before:
            before = counts
            time.sleep(0.5)
            counts = run.counts()
        os.kill(run.launcher, signal.SIGCONT)
        time.sleep(0.2)
        assert run.counts() != counts
        kill(*run.programs)
        run.gone()
    segment = read_segment(log, rows=False)
    assert (segment.lost, segment.undrained, gaps(segment.runs)) == (0, 0, [])


def test_a_drainer_that_nobody_waits_for(tmp_path: Path) -> None:
    """It is dead and still has a number, as under an init that reaps nobody: the program goes on before long."""
    script = """
import ctypes, os, subprocess, sys, time
from killing import children
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
front = subprocess.Popen(sys.argv[1:], stderr=subprocess.DEVNULL)
while not (launcher := children(front.pid)) or not (program := children(launcher[0])):
    time.sleep(0.01)
time.sleep(0.2)
for pid in (front.pid, launcher[0]):
    os.kill(pid, 9)
front.wait()
while f"PPid:\\t{os.getpid()}\\n" not in open(f"/proc/{program[0]}/status").read():
    time.sleep(0.01)
print(os.waitpid(program[0], 0)[1])
"""
    log = tmp_path / "run.lsca"
    argv = [program("log/counted.c"), "threads", "2", "3000000"]
    done = run_in(
        tmp_path,
        [sys.executable, "-c", script, *command("kernel", argv, "-o", str(log))],
        env=environment(tmp_path, {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}),
    )
    assert (done.returncode, done.stdout) == (0, b"0\n"), done.stderr
    while names := areas_of(log):  # a daemon may be faster
        for name in names:
            _native.area_recover(name)
    segment = read_segment(log, rows=False)
    assert segment.is_last and segment.lost


def test_lossy(tmp_path: Path) -> None:
    """The program does not wait for it; what is lost is counted, and shows as a gap."""
    log = tmp_path / "run.lsca"
    with victim(tmp_path, "--lossy") as run:
        os.kill(run.launcher, signal.SIGSTOP)
        deadline = time.monotonic() + 60
        while sum(row[2] for row in run.counts()) < ROOM + 1_000_000:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        before = run.counts()
        time.sleep(0.5)
        assert all(
            later[2] > earlier[2] for earlier, later in zip(before, run.counts(), strict=True)
        )
        os.kill(run.launcher, signal.SIGCONT)
        time.sleep(0.3)
        kill(*run.programs)
        run.gone()
    segment = read_segment(log, rows=False)
    missing = sum(found - expected for _, expected, found in gaps(segment.runs))
    assert segment.lost is not None and segment.lost >= missing > 0


# ---- orphans ----


def test_an_orphan_whose_log_is_gone(tmp_path: Path) -> None:
    """The directory is gone, and with it the log; nothing is left behind."""
    (tmp_path / "in").mkdir()
    with victim(tmp_path / "in") as run:
        kill(run.front.pid, run.launcher, *run.programs)
        run.gone()
        (name,) = areas_of(run.log)
        (tmp_path / "in").rename(tmp_path / "out")
        state, _, _, text = _native.area_recover(name)
        assert (state, text) == ("done", "its directory is gone, and with it the log")
    assert name not in _native.area_list()


def test_a_log_that_was_moved(tmp_path: Path) -> None:
    moved = tmp_path / "moved.lsca"
    with victim(tmp_path) as run:
        time.sleep(0.1)
        kill(run.front.pid, run.launcher, *run.programs)
        run.gone()
        run.log.rename(moved)
        run.log.write_bytes(b"something else, which is to stay as it is" * 10)
        (name,) = areas_of(run.log)
        state, _, _, text = _native.area_recover(name)
        assert state == "failed" and "of another run" in text
        (one,) = recover(str(moved))
        assert one.state == "done"
        counts = run.counts()
    assert run.log.read_bytes().startswith(b"something else")
    runs = read_segment(moved, rows=False).runs
    assert gaps(runs) == []
    for _, tid, returned in counts:
        assert sum(one.rows for one in runs if one.tid == tid) >= returned


@pytest.mark.parametrize("data", [b"a few words of mine\n", b"x", b""])
def test_a_short_file_in_its_place(tmp_path: Path, data: bytes) -> None:
    """Somebody else's file is not taken for a log that was killed at its birth; an empty one may be."""
    with victim(tmp_path) as run:
        time.sleep(0.1)
        kill(run.front.pid, run.launcher, *run.programs)
        run.gone()
        run.log.write_bytes(data)
        other = tmp_path / "other"
        other.write_bytes(data)
        (name,) = areas_of(run.log)
        state, _, _, text = _native.area_recover(name, os.fsencode(other))
        assert state == "failed" and "not its log" in text and other.read_bytes() == data
        state, _, _, text = _native.area_recover(name)
        assert state == ("failed" if data else "done")
        assert run.log.read_bytes() == data or not data
        if data:
            run.log.unlink()


def test_programs_that_go_on(tmp_path: Path) -> None:
    """What is there is taken while they still write, and the rest when they have ended."""
    with victim(tmp_path) as run:
        kill(run.front.pid, run.launcher)
        run.front.wait()
        while alive(run.launcher):
            time.sleep(0.005)
        first = recovered(run.log)
        assert first is None or first.state == "alive"
        kill(*run.programs)
        run.gone()
        second = recovered(run.log)
        assert second is None or second.state == "done"
        assert areas_of(run.log) == []
    assert read_segment(run.log, rows=False).is_last


def test_areas_of_nonsense() -> None:
    """Whatever lies there under our name is no reason to fail."""
    path = Path(f"/dev/shm/lsca-{os.getuid()}-test-{os.getpid()}")
    for data in (b"", b"LSCAREA\n", os.urandom(5000), b"LSCAREA\n" + os.urandom(5000)):
        path.write_bytes(data)
        try:
            state, _, _, text = _native.area_recover(path.name)
            assert state == "failed" and text
            assert any(path.name in line for line in areas())
        finally:
            path.unlink(missing_ok=True)
    for name in ("../x", "none", "a" * 200):
        assert _native.area_recover(name)[0] == "failed"


# ---- the memory's place ----


def elsewhere(
    where: Path, mount: str, *words: str, options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[bytes]:
    """Runs with another /dev/shm than everybody's."""
    argv = [program("log/counted.c"), *words]
    argv = command("kernel", argv, "-o", str(where / "run.lsca"), *options)
    script = f'mount {mount} none /dev/shm || exit 99; "$@"; s=$?; ls -A /dev/shm; exit $s'
    done = run_in(where, ["unshare", "-m", "sh", "-c", script, "sh", *argv], timeout=120)
    if done.returncode in (1, 99):
        pytest.skip("only root can mount another /dev/shm")
    return done


@pytest.mark.parametrize(
    "mount",
    ["-t tmpfs -o size=300k", "-t tmpfs -o ro", "-t tmpfs -o size=8k", "-t tmpfs -o size=4k"],
)
def test_little_shared_memory(tmp_path: Path, mount: str) -> None:
    """A full one costs time, and no program its life; one that cannot be written is done without."""
    done = elsewhere(tmp_path, mount, "threads", "2", "20000")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    segment = read_segment(tmp_path / "run.lsca", rows=False)
    rows = sum(one.rows for one in segment.runs)
    assert segment.is_last and segment.lost is not None
    if "size=300k" not in mount and "ro" not in mount:
        assert rows + segment.lost >= 40_000
    else:
        assert (segment.lost, gaps(segment.runs)) == (0, []) and rows >= 40_000

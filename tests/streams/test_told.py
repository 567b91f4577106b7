# SPDX-License-Identifier: Apache-2.0
"""What the log says of connections through memory: which they were, how many bytes went which way, how they ended."""

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from playing import captured

from differential import environment, run_in
from lsca.log import Log, Ring, open_log

TOLD = Path(__file__).with_name("told.py")
PYTHON = [sys.executable, "-IS", str(TOLD)]
KINDS = ("tcp", "unix")
BACK = ("shutdown", "setsockopt", "ioctl", "sendmsg", "fcntl")
pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="written for x86-64")


def run(kind: str, how: str, where: Path) -> tuple[Log, dict[int, tuple[int, int]]]:
    """The log, and what each process says that it has sent and received."""
    log = where / "log.lsca"
    done = run_in(where, captured([*PYTHON, kind, how], "-o", str(log)), timeout=60)
    assert done.returncode == 0 and not done.stderr, done.stderr
    lines = [tuple(map(int, line.split())) for line in done.stdout.decode().splitlines()]
    opened = open_log(log)
    assert opened.complete, opened.verify()
    return opened, {pid: (sent, received) for pid, sent, received in lines}


def moved(one: Ring) -> tuple[int, int]:
    """Bytes sent and received, some of them by the kernel at first."""
    assert one.sent is not None and one.received is not None
    assert one.kernel_sent is not None and one.kernel_received is not None
    return one.sent + one.kernel_sent, one.received + one.kernel_received


@pytest.mark.parametrize("kind", KINDS)
def test_both_ends_are_told(kind: str, tmp_path: Path) -> None:
    log, said = run(kind, "close", tmp_path)
    one, two = log.rings()
    assert one.connection == two.connection and one.kind == two.kind == kind
    assert (one.pid, one.peer_pid) == (two.peer_pid, two.pid)
    assert {one.pid, two.pid} == set(said)
    for end in (one, two):
        assert moved(end) == said[end.pid] and end.ended_by == "close"
        assert (end.back, end.back_by, end.back_ns) == (None, None, None)
        assert end.began_ns and end.ended_ns and end.began_ns < end.ended_ns
        assert max(end.sent or 0, end.received or 0) > 1000
    if kind == "tcp":
        assert one.local and (one.local, one.peer) == (two.peer, two.local)
    else:
        assert one.inode and (one.inode, one.peer_inode) == (two.peer_inode, two.inode)


def test_pipes_have_one_way(tmp_path: Path) -> None:
    log, said = run("pipe", "close", tmp_path)
    ends = log.rings()
    assert len(ends) == 4 and {end.kind for end in ends} == {"pipe"}
    for pid, (sent, received) in said.items():
        sides = [moved(end) for end in ends if end.pid == pid]
        assert sorted(sides) == sorted([(sent, 0), (0, received)])
    for end in ends:
        (other,) = [one for one in ends if one.connection == end.connection and one is not end]
        assert other.inode == end.inode == end.peer_inode


@pytest.mark.parametrize(
    ("how", "call"),
    [("exec", "execve"), ("kept", "execve"), ("fails", "close"), ("exits", "exit_group")],
)
@pytest.mark.parametrize("kind", KINDS)
def test_how_it_ends(kind: str, how: str, call: str, tmp_path: Path) -> None:
    log, said = run(kind, how, tmp_path)
    ends = {end.pid: end for end in log.rings()}
    child = next(pid for pid in said if ends[pid].ended_by == call)
    assert moved(ends[child]) == said[child]
    assert moved(ends[ends[child].peer_pid or 0])[1] == said[child][0]
    if how == "fails":
        failed = [one.ret for one in log.records({"execve"}, events=False) if one.pid == child]
        assert failed == [-2, -2, -2]


@pytest.mark.parametrize("how", BACK)
@pytest.mark.parametrize("kind", KINDS)
def test_why_it_goes_back(kind: str, how: str, tmp_path: Path) -> None:
    log, said = run(kind, how, tmp_path)
    (end,) = [end for end in log.rings() if end.back_by == how]
    assert end.back == ("sends" if how == "shutdown" else "both")
    assert end.back_ns and end.ended_ns and end.back_ns < end.ended_ns
    assert end.ended_by == "close" and moved(end) == said[end.pid]


@pytest.mark.parametrize("kind", KINDS)
def test_a_ring_that_nobody_reads(kind: str, tmp_path: Path) -> None:
    log, said = run(kind, "full", tmp_path)
    (end,) = [end for end in log.rings() if end.back]
    assert (end.back, end.back_by, end.ended_by) == ("sends", "full", "exit_group")
    assert moved(end)[0] < said[end.pid][0]  # what follows is not counted


@pytest.mark.parametrize("kind", KINDS)
def test_an_end_that_is_killed_tells_nothing(kind: str, tmp_path: Path) -> None:
    log, said = run(kind, "killed", tmp_path)
    one, two = sorted(log.rings(), key=lambda end: end.sent is None)
    assert (two.sent, two.ended_by, two.ended_ns) == (None, None, None)
    assert one.back_by == "peer" and one.ended_by == "close"
    assert moved(one)[1] == said[one.pid][1]


@pytest.mark.parametrize("kind", KINDS)
def test_who_has_forked_and_who_was(kind: str, tmp_path: Path) -> None:
    """Each process tells its own part; one that has never used its descriptor tells nothing."""
    log, said = run(kind, "forked", tmp_path)
    ends = {end.pid: end for end in log.rings()}
    assert set(ends) == set(said) and len({end.connection for end in ends.values()}) == 1
    assert sum(end.sent or 0 for end in ends.values()) == sum(
        end.received or 0 for end in ends.values()
    )
    parent = max(said.values())
    assert len(said) == 3 and parent[0] == sum(
        sent for sent, _ in said.values() if sent != parent[0]
    )


def test_many_that_are_closed_at_once(tmp_path: Path) -> None:
    log, _ = run("unix", "many", tmp_path)
    ends = log.rings()
    assert len(ends) > 250 and {end.ended_by for end in ends} == {"close_range"}
    by_connection: dict[int, list[Ring]] = {}
    for end in ends:
        by_connection.setdefault(end.connection, []).append(end)
    for one, two in by_connection.values():
        assert (one.sent, one.received) == (two.received, two.sent)


def test_it_can_be_seen_while_it_goes_on(daemon: str, tmp_path: Path) -> None:
    """In the daemon's status, in `lsca top` and by `lsca doctor`, before anything is closed."""
    around = environment(tmp_path) | {"LSCA_DAEMON": daemon}
    run_it = [sys.executable, "-m", "lsca", "run", "--streams=on", "--daemon", daemon, "--"]
    argv = [*run_it, *PYTHON, "tcp", "stays"]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, env=around, cwd=tmp_path) as started:
        assert started.stdin and started.stdout
        sent = int(started.stdout.readline().split()[1])

        def lsca(*words: str) -> Any:
            done = subprocess.run(
                [sys.executable, "-m", "lsca", *words, "--json"], capture_output=True, env=around
            )
            return json.loads(done.stdout)

        (run,) = lsca("daemon", "--status")["sessions"]
        assert run["streams"]["joined"] == 1 and run["streams"]["back"] == 0
        assert sent < run["streams"]["bytes"] <= 2 * sent
        seen = lsca("top", "-d", "0.1")
        assert seen["streams"] == [1, run["streams"]["bytes"]]
        (line,) = [one for one in lsca("doctor")["findings"] if one["name"] == "streams now"]
        expected = f"run {run['pid']}: connections 1, bytes by memory {run['streams']['bytes']}"
        assert line["ok"] and expected in line["text"]
        started.stdin.close()
        assert started.wait(30) == 0
    assert lsca("daemon", "--status")["sessions"] == []


def test_it_can_be_read(tmp_path: Path) -> None:
    """As text, as JSON, with SQL; and how the run has waited."""
    log, said = run("tcp", "setsockopt", tmp_path)

    def lsca(*words: str) -> str:
        argv = [sys.executable, "-m", "lsca", *words]
        done = subprocess.run(argv, capture_output=True, check=True, env=environment(tmp_path))
        assert not done.stderr
        return done.stdout.decode()

    path = str(log.path)
    (one,) = [end for end in log.rings() if end.back]
    lines = [
        line for line in lsca("log", path).splitlines() if f"connection {one.connection}" in line
    ]
    assert f"TCP:[{one.local}->{one.peer}], to process {one.peer_pid}" in "".join(lines)
    assert sum(" goes through memory" in line for line in lines) == 2
    assert sum(" is the kernel's again by setsockopt" in line for line in lines) == 1
    assert sum(" ended by close: " in line for line in lines) == 2
    assert f" ended by close: {one.sent} bytes sent and {one.received} received" in "".join(lines)
    told = [json.loads(line) for line in lsca("log", "--json", path).splitlines()]
    assert [line["by"] for line in told if line["kind"] == "stream_back"] == ["setsockopt"]
    query = "SELECT sum(sent + kernel_sent)::BIGINT AS s, count(ended) AS n, any_value(back_by) AS b FROM rings"
    row = json.loads(lsca("sql", path, query, "--json"))
    assert row == {"s": sum(sent for sent, _ in said.values()), "n": 2, "b": "setsockopt"}
    (waits,) = log.waits()
    assert waits.spun + waits.yielded + waits.slept > 0
    row = json.loads(lsca("sql", path, "SELECT * FROM waits", "--json"))
    assert row["spun"] == waits.spun and row["slept"] == waits.slept

# SPDX-License-Identifier: Apache-2.0
"""What descriptors stand for, where no call says it: connections' ends, what is sent, what a preloaded program has."""

import socket
import struct
import sys
from pathlib import Path

import pytest

from differential import command, run_in
from preloading import Place, wait_for
from rawlog import CALL, FD, NO_RETURN, REPLACES, START, Row, areas_of, gaps, read_segment

TALK = """
import array, os, socket, sys
server = socket.create_server(("127.0.0.1", 0))
port = server.getsockname()[1]
client = socket.create_connection(("127.0.0.1", port))
peer, _ = server.accept()
one, two = socket.socketpair()
file = open("sent", "w")
socket.send_fds(one, [b"x"], [file.fileno()])
_, (got,), _, _ = socket.recv_fds(two, 10, 4)
print(port, client.getsockname()[1], server.fileno(), client.fileno(), peer.fileno(), got)
"""
AGAIN = """
import os
for path in ("/none", "/etc/passwd", "/none"):
    try:
        os.execv(path, [path])
    except OSError:
        pass
"""


def rows_of(route: str, where: Path, argv: list[str]) -> tuple[list[Row], bytes]:
    log = where / "run.lsca"
    done = run_in(where, command(route, argv, "-o", str(log)))
    assert done.returncode == 0, done.stderr
    segment = read_segment(log)
    assert segment.is_last and gaps(segment.runs) == [] and areas_of(log) == []
    return segment.rows, done.stdout


def inet(data: bytes) -> tuple[int, str, int]:
    """Family, address, port."""
    family, port, address = struct.unpack_from("<H2s4s", data)
    return family, socket.inet_ntoa(address), int.from_bytes(port, "big")


def test_connections_and_what_is_sent(route: str, tmp_path: Path) -> None:
    rows, output = rows_of(route, tmp_path, [sys.executable, "-IS", "-c", TALK])
    port, own, server, client, peer, got = map(int, output.split())
    told: dict[int, list[Row]] = {}
    for row in rows:
        if row.kind == FD:
            told.setdefault(row.args[0], []).append(row)
    ends = {
        fd: {
            tuple(inet(end) for end in (row.before.get(1), row.before.get(2)) if end)
            for row in told[fd]
        }
        for fd in (server, client, peer)
    }
    here, there = (2, "127.0.0.1", port), (2, "127.0.0.1", own)
    assert (here,) in ends[server] and (there, here) in ends[client] and (here, there) in ends[peer]
    assert all(
        row.before[0].startswith(b"socket:[") for fd in (server, client, peer) for row in told[fd]
    )
    assert [row.before[0] for row in told[got]] == [bytes(tmp_path / "sent")]


def test_what_is_told_follows_its_call(tmp_path: Path) -> None:
    rows, _ = rows_of("kernel", tmp_path, [sys.executable, "-IS", "-c", TALK])
    numbers = {(row.thread, row.seq): row for row in rows}
    for row in rows:
        if row.kind == FD and row.thread > 1:
            before = numbers[row.thread, row.seq - 1]
            assert before.kind in (CALL, FD) and before.start <= row.start


def test_an_exec_that_failed_is_replaced_by_the_next(route: str, tmp_path: Path) -> None:
    """The record that was written before it, and at once the one that says how it ended."""
    rows, _ = rows_of(route, tmp_path, [sys.executable, "-IS", "-c", AGAIN])
    numbers = {(row.thread, row.seq): row for row in rows}
    failed = [row for row in rows if row.flags & REPLACES]
    assert [row.ret for row in failed] == [-2, -13, -2]
    for row in failed:
        before = numbers[row.thread, row.seq - 1]
        assert before.flags & NO_RETURN and before.nr == row.nr and before.before == row.before


def test_both_sides_of_a_vfork_are_there(tmp_path: Path) -> None:
    """The parent's record comes once its child has gone, and is its own."""
    script = "for i in 1 2 3; do /bin/true; done"
    rows, _ = rows_of("kernel", tmp_path, ["sh", "-c", script])
    begun = {row.pid for row in rows if row.kind == START and row.args[1] == 0}
    births = [row for row in rows if row.kind == CALL and row.nr in (56, 57, 58, 435)]
    assert len(births) == 3 and {row.ret for row in births} < begun
    assert len({row.thread for row in births}) == 1


@pytest.mark.parametrize("limit", ["16384", "32768"])
def test_little_address_space(tmp_path: Path, limit: str) -> None:
    rows, output = rows_of(
        "kernel", tmp_path, ["sh", "-c", f"ulimit -v {limit}; cat /dev/null; echo well"]
    )
    assert output == b"well\n" and sum(row.kind == START for row in rows) == 3


def test_what_a_preloaded_program_has(here: Place) -> None:
    here.start("-o", str(here.logs))
    assert here.run("sh", "-c", "exec 7</etc/passwd; exec sh -c 'exit 3'").returncode == 3
    (log,) = here.logs.iterdir()
    wait_for(lambda: log.stat().st_size > 256 and read_segment(log).is_last)
    told = [row for row in read_segment(log).rows if row.kind == FD]
    assert b"/etc/passwd" in {row.before[0] for row in told if row.args[0] == 7}
    assert any(row.args[0] == (1 << 64) - 100 and row.before[0].startswith(b"/") for row in told)

# SPDX-License-Identifier: Apache-2.0
"""What poll, select and epoll say of connections, and when, is the same whether the bytes go by a ring or not.

`readiness.c`, `waiting.c` and `sets.c` print all that they are told, and are run natively and captured; `crowd.c` has
two processes send each other random pieces by many connections at once, and looks at every byte.
"""

import pytest

from differential import execute, program, same, scratch

FLAGS = ("-Wno-stringop-overflow",)
ROOM = ("blocking", "trying", "looking", "poll", "select", "epoll", "epoll-looking", "edge")
WAYS = ("poll", "select", "level", "changing", "edge", "one-shot", "removing", "threads")


def both(argv: list[str], timeout: float = 60) -> bytes:
    """Compares, and returns what is printed."""
    with scratch() as base:
        native = execute(argv, base=base, timeout=timeout)
        assert native.status == 0, native.lines()
        captured = execute(
            argv, route="kernel", base=base, timeout=timeout, options=["--streams=on"]
        )
        same(native, captured, "kernel --streams=on")
    return native.stdout


@pytest.mark.parametrize("name", ["readiness", "waiting", "sets"])
def test_told_the_same(name: str) -> None:
    both([program(f"streams/{name}.c", flags=FLAGS)])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize(
    ("connections", "size", "most"),
    [(8, 300_000, 5_000), (50, 3_000, 100), (2, 2_000_000, 200_000)],
)
def test_every_byte(kind: str, way: str, connections: int, size: int, most: int) -> None:
    """Short messages never fill a ring, long ones do all the time."""
    crowd = program("streams/crowd.c", flags=FLAGS)
    out = both([crowd, kind, way, str(connections), str(size), str(most), "1"])
    assert b"status 0" in out


@pytest.mark.parametrize("how", ["poll", "level", "edge"])
@pytest.mark.parametrize("kind", ["tcp", "pair"])
def test_room_is_told(kind: str, how: str) -> None:
    """By who has sent nothing himself, and at once: looking for room now and then would take twice the time allowed."""
    out = both([program("streams/download.c", flags=FLAGS), kind, how, "40000000"])
    assert b"in time" in out


def test_edges_behind_the_kernel() -> None:
    assert b"20 are right, status 0" in both([program("streams/counting.c", flags=FLAGS)])


@pytest.mark.parametrize("way", WAYS)
def test_on_one_cpu(way: str) -> None:
    crowd = program("streams/crowd.c", flags=FLAGS)
    both(["taskset", "-c", "0", crowd, "tcp", way, "10", "200000", "3000", "2"])


@pytest.mark.parametrize("how", ROOM)
@pytest.mark.parametrize(("kind", "size"), [("tcp", 300_000), ("unix", 120_000)])
def test_both_send_before_they_read(kind: str, size: int, how: str) -> None:
    """What the kernel would hold is held, though a ring is smaller."""
    out = both([program("streams/brimful.c", flags=FLAGS), kind, how, str(size)])
    assert out == b"status 0\n"


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("tcp", "ends"),
        ("unix", "ends"),
        ("unix", "restarts"),
        ("pipe", "ends"),
        ("pipe", "restarts"),
    ],
)
def test_a_signal_while_there_is_no_room(kind: str, how: str) -> None:
    out = both([program("streams/alarmed.c", flags=FLAGS), kind, how])
    assert out == (b"went on\n" if how == "restarts" else b"interrupted\n")

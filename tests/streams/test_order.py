# SPDX-License-Identifier: Apache-2.0
"""Which of several connections epoll shows first: the one by which something came first."""

import sys
from pathlib import Path

import pytest
from playing import captured

from differential import run_in

SHOWS = """
import os, random, select, socket, sys

MANY = 8
rings = 0
if sys.argv[1] == "unix":
    pairs = [socket.socketpair() for _ in range(MANY)]
else:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        pairs = [(socket.create_connection(listening.getsockname()), listening.accept()[0]) for _ in range(MANY)]
asked, asks = os.pipe()
told, tells = os.pipe()
chance = random.Random(7)
orders = [chance.sample(range(MANY), MANY) for _ in range(50)]
if not os.fork():
    for one, other in pairs:
        one.close()
    for _, other in pairs:
        for _ in range(10):
            other.sendall(b"x")
            assert other.recv(10)
    for order in orders:
        os.read(asked, 1)
        for i in order:
            pairs[i][1].sendall(b"x")
        os.write(tells, b"!")
    os.read(asked, 1)
    os._exit(0)
for one, other in pairs:
    other.close()
for one, _ in pairs:
    for _ in range(10):
        assert one.recv(10)
        one.sendall(b"y")
with open("/proc/self/maps") as maps:
    rings = sum("/lsca-stream-" in line for line in maps)
shown = {one.fileno(): i for i, (one, _) in enumerate(pairs)}
looks = select.epoll()
for fd in shown:
    looks.register(fd, select.EPOLLIN)
same = 0
for order in orders:
    looks.poll(0)  # what was shown last is not on the kernel's list any more
    os.write(asks, b"?")
    os.read(told, 1)
    seen = [shown[fd] for fd, _ in looks.poll()]
    same += seen == order
    assert sorted(seen) == list(range(MANY))
    for one, _ in pairs:
        one.recv(1)
os.write(asks, b"?")
os.wait()
print(same)
print(rings, file=sys.stderr)
"""


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_what_came_first_is_shown_first(kind: str, tmp_path: Path) -> None:
    argv = [sys.executable, "-S", "-c", SHOWS, kind]
    natively, done = run_in(tmp_path, argv), run_in(tmp_path, captured(argv))
    assert int(natively.stdout) > 45, (
        natively.stderr
    )  # by TCP one may overtake another from CPU to CPU
    assert int(done.stdout) > 45, done.stderr
    assert int(done.stderr.split()[-1]) == 8, "there were no rings"

# SPDX-License-Identifier: Apache-2.0
"""Connections that end before a ring has paid for itself get none after a while, and get theirs when they last."""

import platform
import sys
from pathlib import Path

import pytest
from pipelines import rings_of

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="written for x86-64")

PLAY = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
counts = [int(each) for each in sys.argv[1:]]
if os.fork() == 0:
    for _ in counts:
        one, _ = listener.accept()
        while data := one.recv(100):
            one.sendall(data)
        one.close()
    os._exit(0)
port = listener.getsockname()[1]
for count in counts:
    with socket.create_connection(("127.0.0.1", port)) as one:
        for _ in range(count):
            one.sendall(b"x" * 64)
            assert len(one.recv(100)) == 64
os.wait()
print("done")
"""


def rings(tmp_path: Path, *counts: int) -> int:
    count, out = rings_of([sys.executable, "-S", "-c", PLAY, *map(str, counts)], tmp_path)
    assert out == b"done\n"
    return count


def test_short_ones_get_none(tmp_path: Path) -> None:
    assert 1 <= rings(tmp_path, *[3] * 100) <= 5


def test_those_that_last_get_theirs(tmp_path: Path) -> None:
    assert rings(tmp_path, *[20] * 50) >= 48


def test_those_that_last_get_theirs_again(tmp_path: Path) -> None:
    assert rings(tmp_path, *[3] * 50, *[20] * 50) >= 45

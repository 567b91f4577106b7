# SPDX-License-Identifier: Apache-2.0
"""Proves that the log of a program that joins a session begins with what it is: its words, directory, and descriptors.

The program says itself what /proc has of it.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lsca.testing import Fixture

AT_FDCWD = -100
SAYS = """
import json, os
for_all = {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in (0, 1, 2)} | {-100: os.readlink("/proc/self/cwd")}
open(os.environ["TO"], "w").write(json.dumps(for_all))
"""
LONG = "d" * 200


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Fixture]:
    with Fixture(tmp_path / "test.lsca") as fixture:
        yield fixture


def compare(session: Fixture, tmp_path: Path, **options: Any) -> dict[str, str]:
    """What the program has said, which is what the log says."""
    said = tmp_path / "said"
    with session.joined():
        subprocess.run(
            [sys.executable, "-IS", "-c", SAYS], check=True, env={"TO": str(said)}, **options
        )
    told: dict[str, str] = json.loads(said.read_text())
    record = next(one for one in session.log if one.name == "openat")
    for fd, text in told.items():
        assert session.log.file(record, int(fd)) == text, f"descriptor {fd}"
    return told


def test_what_most_are_started_with(session: Fixture, tmp_path: Path) -> None:
    told = compare(session, tmp_path, stdin=subprocess.DEVNULL, capture_output=True, cwd=tmp_path)
    assert told["0"] == "/dev/null"
    assert told["1"].startswith("pipe:[")
    assert told[str(AT_FDCWD)] == str(tmp_path)


def test_names_that_only_look_like_those(session: Fixture, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    fifo = os.open(tmp_path / "fifo", os.O_RDWR)
    zero = os.open("/dev/zero", os.O_RDONLY)
    with (tmp_path / "file").open("w") as file, os.fdopen(fifo), os.fdopen(zero):
        told = compare(session, tmp_path, stdin=zero, stdout=file, stderr=fifo)
    assert told["0"] == "/dev/zero"
    assert told["1"] == str(tmp_path / "file")
    assert told["2"] == str(tmp_path / "fifo")


def test_a_name_of_a_socket(session: Fixture, tmp_path: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    with listening:
        listening.bind(str(tmp_path / "name"))
        path = os.open(tmp_path / "name", os.O_PATH)
        told = compare(session, tmp_path, stdin=path)
        os.close(path)
    assert told["0"] == str(tmp_path / "name")


def test_a_null_of_another_name(session: Fixture, tmp_path: Path) -> None:
    """The same device, and another file."""
    try:
        os.mknod(tmp_path / "null", 0o20666, os.makedev(1, 3))
        other = os.open(tmp_path / "null", os.O_RDWR)
    except OSError:
        pytest.skip("device files cannot be made or opened here")
    with os.fdopen(other):
        told = compare(session, tmp_path, stdin=other)
    assert told["0"] == str(tmp_path / "null")


def test_a_long_directory(session: Fixture, tmp_path: Path) -> None:
    where = tmp_path / LONG / LONG
    where.mkdir(parents=True)
    told = compare(session, tmp_path, cwd=where)
    assert told[str(AT_FDCWD)] == str(where)


def test_a_directory_that_is_gone(session: Fixture, tmp_path: Path) -> None:
    where = tmp_path / "gone"
    where.mkdir()
    gone = os.open(where, os.O_PATH)
    where.rmdir()
    told = compare(session, tmp_path, cwd=f"/proc/self/fd/{gone}")
    os.close(gone)
    assert told[str(AT_FDCWD)] == f"{where} (deleted)"


@pytest.mark.parametrize("size", [10, 600, 3000, 5000, 12000])
def test_words_of_every_length(session: Fixture, size: int) -> None:
    """As it is started, and as one that is in the session already executes it."""
    word = "w" * size
    other = "v" * size
    script = f'exec {shutil.which("true")} "$0" "$1"'
    with session.joined():
        subprocess.run(["true", word, other], check=True)
        subprocess.run(["/bin/sh", "-c", script, word, other], check=True)
    rows = session.sql("select argv from processes where parent is not null").column()
    assert len([row for row in rows if word in row and (2 * size > 16000 or other in row)]) == 2


def test_a_short_program_takes_little_memory(session: Fixture) -> None:
    """Of the log's: two pages at most, and not the whole chunk that it has leased."""
    area = session.host.session.area
    with session.joined():
        subprocess.run(["true"], check=True)
        before = os.fstat(area).st_blocks
        for _ in range(8):
            subprocess.run(["true"], check=True)
    assert (os.fstat(area).st_blocks - before) * 512 <= 8 * 8192

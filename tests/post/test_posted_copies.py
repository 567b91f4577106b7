# SPDX-License-Identifier: Apache-2.0
"""Proves that a program cannot tell that its writes are posted when descriptors of one opening go
different ways: one is put in the place of another, is handed on by its number, or has its position
moved by a call that nobody can follow.
"""

import re
import sys
from pathlib import Path

import pytest
from test_posted import OPTIONS, TELLS, posted

from differential import execute

# After the second write the poster is asked, and with the third one it begins.
ASKED = ("--post", "**", "--post-after", "2")

COMMON = """
import os, select, sys, time
def opened(name, number):
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    os.dup2(fd, number)
    os.close(fd)
def lines(fd, what, count):
    for number in range(count): os.write(fd, b"%s %06d\\n" % (what, number))
def where(fd):
    print(os.lseek(fd, 0, os.SEEK_CUR), flush=True)
"""
A_PIPE = """
for number in range(100): os.dup2(2, 51)
opened("a.log", 50)
lines(50, b"a", 400)
come, go = os.pipe()
os.dup2(go, 50)
lines(50, b"pipe", 3)
while select.select([come], [], [], 0.2)[0]: sys.stdout.write(os.read(come, 1000).decode())
"""
ANOTHER_FILE = """
opened("a.log", 50)
lines(50, b"a", 400)
os.dup2(50, 52)
lines(50, b"a", 400)
new = os.open("b.log", os.O_WRONLY | os.O_CREAT, 0o644)
lines(new, b"b", 3)
os.dup2(new, 50)
lines(52, b"twin", 400)
os.closerange(60, 70)
if not os.fork(): os._exit(0)
os.wait()
for fd in (new, 50, 52): where(fd)
lines(50, b"b", 400)
lines(52, b"twin", 400)
"""
ASKED_ABOUT = """
opened("a.log", 50)
new = os.open("b.log", os.O_WRONLY | os.O_CREAT, 0o644)
lines(50, b"a", 2)
os.dup2(new, 50)
time.sleep(0.05)
for turn in range(20):
    lines(50, b"b", 20)
    time.sleep(0.005)
where(new)
"""
# Only the copy is kept by the child.
SPAWNED = """
fd = os.open("file", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
os.dup2(fd, 50)
(come, said), (heard, go) = os.pipe(), os.pipe()
child = "while read -r x; do echo child $x >&50; echo x; done"
pid = os.posix_spawn("/bin/bash", ["bash", "-c", child], os.environ, file_actions=[
    (os.POSIX_SPAWN_DUP2, heard, 0), (os.POSIX_SPAWN_DUP2, said, 1)])
for turn in range(20):
    lines(fd, b"parent", 50)
    time.sleep(0.005)
    os.write(go, b"%d\\n" % turn)
    os.read(come, 2)
os.close(go)
os.waitpid(pid, 0)
where(fd)
"""
# It would lose both of them, but sees to it that it does not.
KEPT = SPAWNED.replace("dup2(fd, 50", "dup2(fd, 50, False").replace(
    "file_actions=[", "file_actions=[(os.POSIX_SPAWN_DUP2, 50, 50),"
)
SENT = """
with open("source", "wb") as file: file.write(b"s" * 100)
source = os.open("source", os.O_RDONLY)
fd = os.open("file", os.O_WRONLY | os.O_CREAT, 0o644)
os.dup2(fd, 50)
lines(fd, b"one", 2)
os.sendfile(50, source, 0, 100)
time.sleep(0.05)
for turn in range(20):
    lines(fd, b"one", 20)
    time.sleep(0.005)
    lines(50, b"other", 1)
where(50)
"""


def compared(script: str, base: Path, options: tuple[str, ...], least: int) -> None:
    argv = [sys.executable, "-IS", "-c", COMMON + script]
    expected = execute(argv, base=base)
    got = execute(argv, base=base, route="kernel", options=options)
    assert re.sub(TELLS, b"", got.stderr) == expected.stderr == b""
    assert (got.stdout, got.status) == (expected.stdout, expected.status)
    assert got.files == expected.files
    assert posted(got.stderr) >= least


@pytest.mark.parametrize(("script", "least"), [(A_PIPE, 300), (ANOTHER_FILE, 1500)])
def test_one_in_the_place_of_a_posted_one(script: str, least: int, tmp_path: Path) -> None:
    compared(script, tmp_path, (*OPTIONS, "--streams", "off"), least)


def test_one_in_the_place_of_one_that_was_asked_about(tmp_path: Path) -> None:
    compared(ASKED_ABOUT, tmp_path, ASKED, 300)


@pytest.mark.parametrize("script", [SPAWNED, KEPT])
def test_a_child_that_keeps_a_copy(script: str, tmp_path: Path) -> None:
    compared(script, tmp_path, OPTIONS, 0)


def test_a_copy_whose_position_goes_its_own_way(tmp_path: Path) -> None:
    compared(SENT, tmp_path, ASKED, 0)

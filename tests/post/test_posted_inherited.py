# SPDX-License-Identifier: Apache-2.0
"""Proves that descriptors which a program has from others are posted, and that nobody who shares them can tell: the
same programs natively and with --post, each process in its turn, and what calls return and what is in the files
compared.
"""

import os
import sys
from pathlib import Path

import pytest
from test_posted import OPTIONS, posted

from differential import command, execute, program, run_in

SEEDS = int(os.environ.get("LSCA_POST_SEEDS", "16"))


def shell(words: str, *arguments: str) -> list[str]:
    return ["/bin/bash", "-c", words, *arguments]


def compared(argv: list[str], base: Path, least: int, most: int = 1 << 30) -> None:
    expected = execute(argv, base=base)
    got = execute(argv, base=base, route="kernel", options=OPTIONS)
    count = posted(got.stderr)
    said = b"".join(
        line for line in got.stderr.splitlines(keepends=True) if not line.startswith(b"lsca: ")
    )
    assert said == expected.stderr
    assert got.files == expected.files
    assert (got.stdout, got.status) == (expected.stdout, expected.status)
    assert least <= count <= most


@pytest.mark.parametrize("seed", range(SEEDS))
def test_processes_that_share_cannot_tell(seed: int, tmp_path: Path) -> None:
    calls = (20, 60, 200)[seed % 3]
    how = (">>", ">", "1<>")[seed % 5 % 3]
    argv = shell(f'exec "$0" "$@" {how} file0', program("post/handed.c"), str(seed), str(calls))
    compared(argv, tmp_path, 0)


BOTH = """
import os
for number in range(2000):
    os.write(1 + number % 2, b"%06d line\\n" % number)
"""
# The one that goes on is the only one left that has it.
DAEMON = """
import os, time
if os.fork(): os._exit(0)
os.setsid()
os.closerange(3, 256)
if os.fork(): os._exit(0)
time.sleep(0.05)
for number in range(2000):
    os.write(1, b"%06d line\\n" % number)
os.close(1)
open("over", "w").close()
"""
IMAGES = """
import os, sys
left = int(sys.argv[1])
for number in range(300):
    os.write(1, b"%d %06d line\\n" % (left, number))
if left:
    os.execv(sys.executable, [sys.executable, "-IS", "-c", sys.argv[2], str(left - 1), sys.argv[2]])
"""
# Who shares it has it append no more; then it writes where it stands, over what another has appended.
NO_APPENDS = """
import fcntl, os, time
go, back = os.pipe(), os.pipe()
if not os.fork():
    os.close(go[1])
    while os.read(go[0], 1):
        for number in range(50): os.write(1, b"%06d line\\n" % number)
        os.write(back[1], b"x")
    os._exit(0)
def step():
    os.write(go[1], b"x")
    os.read(back[0], 1)
step()
fcntl.fcntl(1, fcntl.F_SETFL, fcntl.fcntl(1, fcntl.F_GETFL) & ~os.O_APPEND)
with open("file", "ab", 0) as file: file.write(b"another " * 100)
step()
time.sleep(0.05)
os.close(go[1])
os.wait()
"""


def python(script: str, *arguments: str) -> list[str]:
    return [sys.executable, "-IS", "-c", script, *arguments]


@pytest.mark.parametrize("how", [">>file 2>&1", ">file 2>&1", "2>>file >&2"])
def test_two_descriptors_of_one_opening_are_in_order(how: str, tmp_path: Path) -> None:
    compared(shell(f'exec "$0" "$@" {how}', *python(BOTH)), tmp_path, 1500)


@pytest.mark.parametrize("how", [">>", ">"])
def test_the_next_image_goes_on(how: str, tmp_path: Path) -> None:
    argv = python(IMAGES, "4", IMAGES)
    compared(shell(f'exec "$0" "$@" {how} file', *argv), tmp_path, 1000)


@pytest.mark.parametrize("how", [">>", ">"])
def test_a_shell_that_writes_between_its_children(how: str, tmp_path: Path) -> None:
    words = f'for n in 1 2 3; do echo $n; "$0" "$@"; /bin/echo and; done {how} file; wc file'
    # A file that the shell has, too, is posted only if all can do is append.
    most = 1 << 30 if how == ">>" else 10
    compared(shell(words, *python(IMAGES, "1", IMAGES)), tmp_path, 1500 if most > 10 else 0, most)


@pytest.mark.parametrize("how", [">>", ">"])
def test_one_that_has_left_its_parents(how: str, tmp_path: Path) -> None:
    words = f'"$0" "$@" {how} file; while [ ! -e over ]; do sleep 0.01; done'
    compared(shell(words, *python(DAEMON)), tmp_path, 1500)


@pytest.mark.parametrize("how", [">>", ">"])
def test_lines_of_threads_and_children_stay_whole(how: str, tmp_path: Path) -> None:
    argv = shell(f'exec "$0" "$@" {how} file 2>&1', program("post/scenes.c"), "twins", "file")
    done = run_in(tmp_path, command("kernel", argv, *OPTIONS[:3], "20"))
    found: dict[bytes, list[bytes]] = {}
    for line in (tmp_path / "file").read_bytes().splitlines():
        who, _, rest = line.partition(b" ")
        found.setdefault(who, []).append(rest)
    expected = {b"thread%d" % n: 3000 for n in range(4)} | {b"copy": 20000}
    expected |= {b"child%d" % n: 40 for n in range(10, 200, 20)}
    assert {who: len(lines) for who, lines in found.items()} == expected
    for lines in found.values():
        assert lines == [b"%06d and some more" % number for number in range(len(lines))]
    assert done.returncode == 0 and posted(done.stderr) > 0


# Who has it is not to be seen.
IN_A_MESSAGE = """
import array, os, socket, sys
one, other = socket.socketpair()
rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [1]))
if sys.argv[1] == "rights": one.sendmsg([b"x"], [rights])
else: one.sendmsg([b"x"])
os.set_inheritable(one.fileno(), True)
os.set_inheritable(other.fileno(), True)
os.execv(sys.executable, [sys.executable, "-IS", "-c", sys.argv[2]])
"""


@pytest.mark.parametrize("what", ["rights", "nothing"])
def test_one_that_is_under_way_is_not_posted(what: str, tmp_path: Path) -> None:
    script = BOTH.replace("1 + number % 2", "1")
    argv = shell('exec "$0" "$@" > file', *python(IN_A_MESSAGE, what, script))
    compared(argv, tmp_path, *((0, 1) if what == "rights" else (1500,)))


def test_one_that_appends_no_more(tmp_path: Path) -> None:
    compared(shell('exec "$0" "$@" >> file', *python(NO_APPENDS)), tmp_path, 40)


@pytest.mark.parametrize("how", [">>", ">"])
def test_what_the_run_was_started_with(how: str, tmp_path: Path) -> None:
    """The shell that starts the run has opened it, and is a shell no more when there is something to write."""
    script = python(BOTH.replace("1 + number % 2", "1"))
    words = f'exec "$0" "$@" {how} file'
    native = execute(shell(words, *script), base=tmp_path)
    got = execute(shell(words, *command("kernel", script, *OPTIONS)), base=tmp_path)
    assert (got.status, got.files) == (native.status, native.files)
    assert posted(got.stderr) > 1500


def is_left_to_the_shell(tmp_path: Path, *within: str) -> bool:
    words = '{ "$0" "$@"; echo over; } > file; cat file'
    argv = command("kernel", python(BOTH.replace("1 + number % 2", "1")), *OPTIONS)
    got = execute(shell(words, *within, *argv), base=tmp_path)
    assert got.stdout == b"".join(b"%06d line\n" % n for n in range(2000)) + b"over\n"
    return posted(got.stderr) == 0


def test_one_that_another_has_as_well_is_not_posted(tmp_path: Path) -> None:
    """The shell outside may write to it at any time, where the position is."""
    assert is_left_to_the_shell(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may have a pid namespace of its own")
def test_one_that_somebody_outside_of_the_namespace_has_is_not_posted(tmp_path: Path) -> None:
    assert is_left_to_the_shell(tmp_path, "unshare", "-pf", "--mount-proc")

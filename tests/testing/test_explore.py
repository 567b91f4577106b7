# SPDX-License-Identifier: Apache-2.0
"""Proves `lsca explore` on a program with planted mistakes: each is found, nothing else, and each can be repeated."""

import json
import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from differential import ROOT
from lsca.exploring.judge import _shape
from lsca.exploring.sites import Fault, Site, faults, plausible

LSCA = [sys.executable, "-m", "lsca"]
# Its own calls, beside the dynamic linker's.
ONLY = [
    "--only",
    "openat,read,write,fsync,close,rename",
    "--errors",
    "EIO,ENOENT",
    "--timeout",
    "3",
]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("planted") / "planted"
    source = ROOT / "tests/testing/planted.c"
    subprocess.run(["gcc", "-static", "-O1", "-o", program, source], check=True)
    return program


@pytest.fixture
def place(tmp_path: Path, planted: Path) -> Path:
    (tmp_path / "in.txt").write_text("hello\n")
    (tmp_path / "planted").symlink_to(planted)
    return tmp_path


def explore(place: Path, *argv: str, options: list[str] = ONLY) -> tuple[int, dict[str, Any]]:
    command = [*LSCA, "explore", "--json", *options, "--", *argv]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=110)
    assert done.returncode in (0, 1) and not done.stderr, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, found


def test_a_program_without_mistakes(place: Path) -> None:
    code, found = explore(place, "./planted")
    assert (code, found["findings"]) == (0, [])
    assert found["tried"] > 8 and not found["unreached"] and not found["left_out"]
    assert sorted(os.listdir(place)) == ["in.txt", "planted"]


@pytest.mark.parametrize(
    ("mistake", "kind", "call"),
    [
        ("crash", "crash", "openat"),
        ("hang", "hang", "read"),
        ("silent", "silent", "write"),
        ("promise", "silent", "fsync"),
        ("leak", "leak", "write"),
    ],
)
def test_a_mistake_is_found_and_can_be_repeated(
    mistake: str, kind: str, call: str, place: Path
) -> None:
    options = [*ONLY, "--only", call] if mistake == "hang" else ONLY
    code, found = explore(place, "./planted", mistake, options=options)
    assert code == 1
    mine = [one for one in found["findings"] if (one["kind"], one["call"]) == (kind, call)]
    assert mine, found["findings"]
    command = shlex.split(mine[0]["reproduce"])
    assert command[:3] == ["lsca", "run", "-e"]
    if kind == "hang":
        return
    again = subprocess.run([*LSCA, *command[1:]], cwd=place, capture_output=True, timeout=60)
    assert again.returncode == mine[0]["exit_code"]
    if kind == "leak":
        assert (place / "new.txt").exists()


def test_the_same_every_time(place: Path) -> None:
    options = [*ONLY, "-j", "3"]
    first = explore(place, "./planted", "leak", options=options)
    assert explore(place, "./planted", "leak", options=options) == first
    alone = explore(place, "./planted", "leak", options=[*ONLY, "-j", "1"])
    assert alone == first


def test_budget_and_place(place: Path) -> None:
    _, found = explore(place, "./planted", options=[*ONLY, "--budget", "3"])
    assert found["tried"] == 3 and found["left_out"] > 3
    _, found = explore(place, "./planted", options=[*ONLY, "--in-place"])
    assert found["tried"] > 3
    assert (place / "out.txt").read_text() == "HELLO\n"


def test_shells_and_what_differs_by_itself(place: Path) -> None:
    script = "date +%N; echo $$ > pid; mktemp >/dev/null; cat in.txt | ./planted"
    options = ["--only", "execve,pipe2", "--timeout", "20"]
    _, found = explore(place, "sh", "-c", script, options=options)
    assert len(found["notes"]) == 2
    assert not [one for one in found["findings"] if one["kind"] in ("crash", "hang", "leak")]


def test_sanitizers(place: Path, tmp_path: Path) -> None:
    source = tmp_path / "bad.c"
    source.write_text(
        "#include <fcntl.h>\n#include <unistd.h>\nint main(int c, char **v) { int a[4] = {0};"
        ' int fd = open("in.txt", O_RDONLY); (void)v; return a[fd < 0 ? 3 + c : 0]; }\n'
    )
    build = ["gcc", "-fsanitize=undefined", "-w", "-o", tmp_path / "bad", source]
    if subprocess.run(build, capture_output=True).returncode:
        pytest.skip("gcc has no sanitizers")
    _, found = explore(place, "./bad", options=["--only", "openat", "--errors", "EMFILE"])
    assert "sanitizer" in {one["kind"] for one in found["findings"]}


def test_words(place: Path) -> None:
    def said(*argv: str) -> tuple[int, str]:
        done = subprocess.run(
            [*LSCA, "explore", *argv], cwd=place, capture_output=True, text=True, timeout=100
        )
        return done.returncode, done.stdout + done.stderr

    assert said("--only", "wriet", "true") == (
        125,
        "lsca: --only wriet: there is no system call 'wriet'; near to it: write, writev, pwritev\n",
    )
    assert said("--errors", "EFOO", "true") == (
        125,
        "lsca: --errors EFOO: there is no errno 'EFOO'\n",
    )
    assert "no program is named" in said()[1]
    code, text = said("false")
    assert code == 125 and "false fails by itself (exit code 1)" in text
    code, text = said(*ONLY, "--", "./planted", "crash")
    assert code == 1
    assert "crash: it died of SIGABRT [signal 6]\n" in text
    assert (
        "  lsca run -e inject=openat:error=ENOENT:when=1:per=session -- ./planted crash\n" in text
    )
    assert "faults tried: " in text.splitlines()[-1]


def test_progress_is_for_terminals(place: Path) -> None:
    leader, follower = pty.openpty()
    command = [*LSCA, "explore", *ONLY, "--", "./planted"]
    done = subprocess.run(command, cwd=place, stdout=subprocess.PIPE, stderr=follower, timeout=100)
    os.close(follower)
    shown = os.read(leader, 1 << 16)
    os.close(leader)
    assert b"faults, 0 found" in shown and done.stdout.startswith(b"1")


def test_order_and_plausibility() -> None:
    one = Site("write", 1, 'write(3<a>, "x", 1) = 1', "3<a>")
    two = Site("write", 2, 'write(3<a>, "x", 1) = 1', "3<a>")
    other = Site("write", 3, 'write(1<pipe>, "x", 1) = 1', "1<pipe>")
    found = faults([one, two, other], {"write": ("ENOSPC", "EIO", "EPIPE", "EAGAIN")})
    assert found[:3] == [Fault(one, "ENOSPC"), Fault(other, "EPIPE"), Fault(one, "EIO")]
    assert {fault.error for fault in found if fault.site == other} == {"EPIPE"}
    assert not plausible(Site("fcntl", 1, "fcntl(1<pipe>, F_GETFD) = 0", "1<pipe>"), "EAGAIN")
    assert not plausible(Site("openat", 1, 'openat(AT_FDCWD, "a", O_RDONLY) = 3', ""), "EROFS")
    assert _shape("tmpa1b2c3d4/x") == _shape("tmpz9y8x7w6/x") != _shape("other/x")

# SPDX-License-Identifier: Apache-2.0
"""Proves that `lsca log` chooses, writes and counts as strace does: the same program runs under both.

Left out of the comparison are addresses, numbers of processes and of pipes, and the first execve, which comes before
the agent.
"""

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from reading_logs import Lsca, Made

pytestmark = pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")

CALL = re.compile(r"^(?:\d+ +)?(\w+)\(", re.M)
EXPRESSIONS = [
    "trace=all",
    "trace=none",
    "openat",
    "trace=openat,close,read",
    "t=openat",
    "trace=!openat,close",
    "!openat",
    "trace=%file",
    "trace=!%file",
    "trace=file",
    "trace=%desc",
    "trace=desc,%network",
    "trace=%network",
    "trace=%net",
    "trace=%memory",
    "trace=%process",
    "trace=%signal",
    "trace=%creds",
    "trace=%clock",
    "trace=%stat",
    "trace=%fstat",
    "trace=%%stat",
    "trace=%pure",
    "trace=/^open|^re",
    "trace=/(name|dir)",
    "trace=!/at$",
    "trace=?nosuch,close",
    "trace=close@64",
    "status=successful",
    "status=failed",
    "status=!failed",
    "status=successful,failed",
]


def strace(made: Made, tmp_path: Path, *options: str, args: tuple[str, ...] = ("alone",)) -> str:
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    out = tmp_path / "trace"
    command = ["strace", "-f", "-o", str(out), *options, made.program, *args]
    subprocess.run(command, cwd=work, check=False, capture_output=True, timeout=60)
    return out.read_text()


def names(text: str) -> Counter[str]:
    found = Counter(CALL.findall(text))
    found.pop("execve", None)
    return found


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_same_calls_are_chosen(
    lsca: Lsca, single: Made, tmp_path: Path, expression: str
) -> None:
    ours = lsca("log", "--plain", "-e", expression, single.log)
    assert not ours.stderr
    theirs = strace(single, tmp_path, "-e", expression)
    expected = names(theirs)
    if "status" in expression or expression.startswith("trace=!"):
        expected.pop("exit_group", None)
    got = names(ours.stdout)
    if "exit_group" not in expected:
        got.pop("exit_group", None)
    assert got == expected


@pytest.mark.parametrize("options", [["-z"], ["-Z"], ["-P", "/dev/null"]])
def test_options_choose_the_same(
    lsca: Lsca, single: Made, tmp_path: Path, options: list[str]
) -> None:
    ours = names(lsca("log", "--plain", *options, single.log, cwd=single.directory).stdout)
    theirs = names(strace(single, tmp_path, *options))
    ours.pop("exit_group", None)
    theirs.pop("exit_group", None)
    assert ours == theirs


def test_a_path_chooses_at_least_the_same(lsca: Lsca, single: Made, tmp_path: Path) -> None:
    """More, because strace does not know descriptors of a file that was not there when it started."""
    ours = names(lsca("log", "--plain", "-P", "made", single.log, cwd=single.directory).stdout)
    theirs = names(strace(single, tmp_path, "-P", "made"))
    assert theirs and theirs <= ours
    assert ours["write"] == 1 and ours["close"] == 3 and ours["pread64"] == 1


def tidy(line: str) -> str:
    """Without what differs from run to run."""
    line = re.sub(r"0x[0-9a-f]{5,}", "ADDRESS", line)
    line = re.sub(r"pipe:\[#?\d+\]", "pipe:[N]", line)
    line = re.sub(r"htons\(\d+\)", "PORT", line)
    line = re.sub(r"/[\w/.-]*/work\b", "/work", line)
    return re.sub(r" +=", " =", line).strip()


def shown(text: str, wanted: tuple[str, ...]) -> list[str]:
    """The lines of some calls, without the number before them."""
    lines = (re.sub(r"^\d+ +", "", line) for line in text.splitlines())
    return [tidy(line) for line in lines if line.split("(")[0].split("] ")[-1] in wanted]


PLAIN = (
    "openat",
    "read",
    "write",
    "pread64",
    "pwrite64",
    "close",
    "dup",
    "fcntl",
    "renameat",
    "chdir",
)


@pytest.mark.parametrize(
    "options", [[], ["-x"], ["-xx"], ["-s", "5"], ["-n"], ["-e", "raw=close,dup"], ["-v"]]
)
def test_lines_look_the_same(lsca: Lsca, single: Made, tmp_path: Path, options: list[str]) -> None:
    ours = lsca("log", "--plain", *options, single.log).stdout
    theirs = strace(single, tmp_path, *options)
    wanted = (*PLAIN, "fstat") if "-v" not in options else PLAIN
    got, expected = shown(ours, wanted), shown(theirs, wanted)
    assert len(got) > 20
    assert got == expected


def test_descriptors_are_shown_the_same(lsca: Lsca, single: Made, tmp_path: Path) -> None:
    """-y: files by whatever name they were opened, the working directory, copies of descriptors, pipes."""
    ours = lsca("log", "--plain", "-y", single.log).stdout
    theirs = strace(single, tmp_path, "-y")
    wanted = (*PLAIN, "newfstatat", "pipe2", "lseek", "fchdir", "unlink")
    got, expected = shown(ours, wanted), shown(theirs, wanted)
    sockets = [at for at, line in enumerate(expected) if "socket:" in line or "TCP:" in line]
    assert len(got) == len(expected) > 30
    assert [line for at, line in enumerate(got) if at not in sockets] == [
        line for at, line in enumerate(expected) if at not in sockets
    ]


def test_contents_are_dumped_the_same(lsca: Lsca, single: Made, tmp_path: Path) -> None:
    options = ["-e", "trace=read,write", "-e", "read=3,4", "-e", "write=4"]
    ours = lsca("log", "--plain", *options, single.log).stdout
    theirs = strace(single, tmp_path, *options)
    dumped = [line for line in ours.splitlines() if line.startswith(" | ")]
    expected = [line for line in theirs.splitlines() if line.startswith(" | ")]
    assert dumped and set(dumped) <= set(expected)


def rows(table: str) -> dict[str, tuple[str, str]]:
    """Of a table of -c: calls and errors by name."""
    found = {}
    for line in table.splitlines()[2:]:
        words = line.split()
        if len(words) in (5, 6) and words[-1] != "total" and not line.startswith("-"):
            found[words[-1]] = (words[3], words[4] if len(words) == 6 else "0")
    return found


def test_counts_are_the_same(lsca: Lsca, single: Made, tmp_path: Path) -> None:
    ours = rows(lsca("log", "-c", single.log).stdout)
    theirs = rows(strace(single, tmp_path, "-c"))
    for name in ("execve", "exit_group"):
        ours.pop(name, None)
        theirs.pop(name, None)
    assert ours == theirs


@pytest.mark.parametrize("sort", ["name", "calls", "errors"])
def test_counts_are_sorted_the_same(lsca: Lsca, single: Made, tmp_path: Path, sort: str) -> None:
    """By what -S names; strace leaves open what follows among equals, but for names."""
    ours = rows(lsca("log", "-c", "-S", sort, single.log).stdout)
    theirs = rows(strace(single, tmp_path, "-c", "-S", sort))
    column = {"calls": 0, "errors": 1}.get(sort)
    for name in ("execve", "exit_group"):
        ours.pop(name, None)
        theirs.pop(name, None)
    if column is None:
        assert list(ours) == list(theirs) == sorted(ours)
    else:
        assert [row[column] for row in ours.values()] == [row[column] for row in theirs.values()]


def test_the_head_of_the_table_is_strace_s(lsca: Lsca, single: Made, tmp_path: Path) -> None:
    every = "time-percent,total-time,min-time,max-time,avg-time,calls,errors,name"
    for options in ([], ["-U", every], ["-U", "name,calls"]):
        ours = lsca("log", "-c", *options, single.log).stdout.splitlines()
        theirs = strace(single, tmp_path, "-c", *options).splitlines()
        assert [line.rstrip() for line in ours[:2]] == [line.rstrip() for line in theirs[:2]]
        assert ours[-1].split()[-1] == theirs[-1].split()[-1]

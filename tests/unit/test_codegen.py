# SPDX-License-Identifier: Apache-2.0
"""Proves the generator: the text for a few rows, what it refuses, that the C compiles for both machines, and that a
file is written only when its text changed.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lsca import codegen
from lsca.table import MACHINES, RowError, Runs, Syscall, by_name, rows
from lsca.table.arguments import ArgFlag, Fd, InOut, Int, Kind, Length, Out, Request
from lsca.table.arguments import Path as PathArgument
from lsca.table.clocks import TIMESPEC
from lsca.table.ioctls import INT
from lsca.table.layouts import opaque
from lsca.table.syscall import CALL_LIMIT, Table
from lsca.table.waiting import EVENTS

SHARED = Path(__file__).parents[2] / "native" / "shared"


class small(
    Syscall,
    x86_64=7,
    generic=9,
    runs=Runs.ANYWHERE,
    blocks=True,
    new_fd=True,
    terminal=True,
    table=Table(),
):
    """a call for the test"""

    fd = Fd()
    path = PathArgument()
    events = Out(EVENTS, length="count", filled=True)
    count = Int()
    left = InOut(TIMESPEC, on_error=True)


class bare(Syscall, x86_64=8, runs=Runs.PROGRAM, table=Table()):
    """a call for the test"""


NAMED = {
    "close": "NAMES_OF_ARG + 0",
    "close_range": "NAMES_OF_ALL",
    "dup": "",
    "dup2": "NAMES_OF_ARG + 1",
    "dup3": "NAMES_OF_ARG + 1",
    "io_uring_setup": "NAMES_UNKNOWN",
    "openat": "",
    "renameat2": "NAMES_OF_ALL",
    "unlink": "NAMES_OF_ALL",
}

GOLDEN = """\
/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls of x86_64. Written by src/lsca/codegen.py from src/lsca/table/: change those. */
#include "calls.h"

const struct call_row call_rows[CALL_LIMIT] = {
	[7] = { /* small */
		.nargs = 5, .runs = RUNS_ANYWHERE, .flags = CALL_KNOWN | CALL_BLOCKS | CALL_NEW_FD | CALL_TERMINAL,
		.posts = POSTS_ALL,
		.args = {
			{.kind = ARG_FD},
			{.kind = ARG_STRING, .flags = ARG_PATH},
			{.kind = ARG_OUT, .length = LEN_ARG, .len_arg = 3, .flags = ARG_FILLED | ARG_WHOLE, .size = 12},
			{.kind = ARG_VALUE},
			{.kind = ARG_INOUT, .flags = ARG_ON_ERROR | ARG_WHOLE, .size = 16},
		},
	},
	[8] = { /* bare */
		.nargs = 0, .runs = RUNS_PROGRAM, .flags = CALL_KNOWN,
	},
};

{ways}
const struct ioctl_row ioctl_rows[] = {
	{.request = 0x1, .kind = ARG_VALUE, .runs = RUNS_BORROW, .size = 0}, /* FIRST */
	{.request = 0x2, .kind = ARG_OUT, .runs = RUNS_ANYWHERE, .size = 4}, /* SECOND */
};
const uint32_t ioctl_count = 2;

const struct ioctl_row fcntl_rows[] = {
	{.request = 0x5, .kind = ARG_IN, .runs = RUNS_ANYWHERE, .size = 4}, /* POINTS */
};
const uint32_t fcntl_count = 1;
"""
IOCTLS = (Request("SECOND", 2, Kind.OUT, INT), Request("FIRST", 1, borrow=True))
FCNTLS = (Request("VALUE", 4, Kind.VALUE), Request("POINTS", 5, Kind.IN, INT), Request("NONE", 6))


def test_golden() -> None:
    assert codegen.generate("x86_64", (bare, small), IOCTLS, FCNTLS) == GOLDEN.replace(
        "{ways}", codegen.call_ways((bare, small), "x86_64")
    )


POSTED = {
    "close": "POSTS_CLOSES",
    "dup2": "POSTS_PASSES",
    "fsync": "POSTS_SYNCS",
    "getpid": "",
    "io_uring_setup": "POSTS_ENDS",
    "openat": "POSTS_OPENS",
    "pread64": "POSTS_LOOKS",
    "rename": "POSTS_ALL",
    "write": "POSTS_WRITES",
}


def test_what_calls_mean_for_posted_files() -> None:
    for name, expected in POSTED.items():
        assert codegen.call_posts(by_name(name)) == expected


def test_ways() -> None:
    lines = codegen.call_ways(rows(), "x86_64").splitlines()
    assert len(lines) == CALL_LIMIT + 2
    for name, way in {
        "read": "WAY_PLAIN",
        "getpid": "WAY_KNOWN + KNOWN_PID",
        "setuid": "WAY_SPECIAL",
        "mprotect": "WAY_SPECIAL",
        "ppoll": "WAY_SLOW",
        "execve": "WAY_SLOW",
    }.items():
        row = by_name(name)
        assert row and lines[row.numbers["x86_64"] + 1] == f"\t[{row.numbers['x86_64']}] = {way},"
    assert lines[-2] == f"\t[{CALL_LIMIT - 1}] = WAY_SLOW,"


def test_what_a_call_may_rename() -> None:
    """The effects say it of one descriptor; where they do not, the row does."""
    found = {}
    for name in NAMED:
        row = by_name(name)
        assert row
        found[name] = codegen.call_names(row, "x86_64")
    assert found == NAMED


def test_other_machine() -> None:
    text = codegen.generate("aarch64", (bare, small), IOCTLS, FCNTLS)
    assert "bare" not in text
    assert "[9] = { /* small */" in text
    assert ".size = 16}" in text and ".size = 12}" not in text


def test_vectors_are_counted_in_elements() -> None:
    writev = by_name("writev")
    assert writev
    expected = "{.kind = ARG_IOV_IN, .length = LEN_ARG, .size = 1, .len_arg = 2}"
    assert codegen.call_arg(writev, writev.arguments["iov"], "x86_64") == expected


def test_order_of_clone() -> None:
    clone = by_name("clone")
    assert clone
    kinds = {m: re.findall(r"ARG_\w+", codegen.call_row(clone, m)) for m in MACHINES}
    assert kinds["x86_64"][2:] == ["ARG_POINTER", "ARG_POINTER", "ARG_VALUE"]
    assert kinds["aarch64"][2:] == ["ARG_POINTER", "ARG_VALUE", "ARG_POINTER"]


def test_refuses_two_requests_of_one_number() -> None:
    both = (Request("ONE", 1), Request("OTHER", 1))
    with pytest.raises(RowError, match="ioctl: OTHER has the number 0x1 of another request"):
        codegen.generate("x86_64", (), both, ())


def test_refuses_a_request_that_is_too_large() -> None:
    large = Request("LARGE", 1, Kind.IN, opaque("large", 1 << 16))
    with pytest.raises(RowError, match="fcntl: LARGE has 65536 bytes, more than a row can hold"):
        codegen.generate("x86_64", (), (), (large,))


def test_main_writes_only_changes(tmp_path: Path) -> None:
    assert codegen.main([str(tmp_path)]) == 0
    files = {machine: tmp_path / f"calls_{machine}.c" for machine in MACHINES}
    before = {machine: path.stat().st_mtime_ns for machine, path in files.items()}
    files["aarch64"].write_text("something else")
    assert codegen.main([str(tmp_path)]) == 0
    assert files["x86_64"].stat().st_mtime_ns == before["x86_64"]
    assert files["aarch64"].read_text() != "something else"


def test_main_wants_a_directory(capsys: pytest.CaptureFixture[str]) -> None:
    assert codegen.main([]) == 2
    assert capsys.readouterr().err == "usage: python3 -m lsca.codegen OUTDIR | --names\n"


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs a C compiler")
def test_compiles(tmp_path: Path) -> None:
    codegen.main([str(tmp_path)])
    for machine in MACHINES:
        command = ["gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", f"-I{SHARED}"]
        command += ["-fsyntax-only", str(tmp_path / f"calls_{machine}.c")]
        subprocess.run(command, check=True)


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs a C compiler")
def test_names_of_the_header() -> None:
    """Every kind, length and flag that the table can say is a name of calls.h, and the other way round."""

    text = (SHARED / "calls.h").read_text()
    for prefix, ours in (("ARG_", {*Kind, *ArgFlag}), ("LEN_", {*Length}), ("RUNS_", {*Runs})):
        theirs = set(re.findall(rf"^\t({prefix}[A-Z0-9_]+)", text, re.MULTILINE)) - {"ARG_NONE"}
        assert {str(name) for name in ours} == theirs


# ---- what readers of logs know of calls ----


def test_plans_say_which_arguments_are_what() -> None:
    row = by_name("renameat2")
    assert row
    plan = codegen.call_plan(row, "x86_64")
    for part in ("[316]", '"renameat2"', ".fd = 0,", ".path = 1, .dir = 0, .path2 = 3, .dir2 = 2"):
        assert part in plan
    row = by_name("openat")
    assert row
    assert ".fd = PLAN_RESULT" in codegen.call_plan(row, "aarch64")
    row = by_name("symlinkat")
    assert row
    assert ".path = 2, .dir = 1, .path2 = 0, .dir2 = -1, .raw2 = 1" in codegen.call_plan(
        row, "x86_64"
    )


def test_plans_are_made_for_both_machines() -> None:
    text = codegen.plans(rows())
    for machine in MACHINES:
        count = sum(machine in row.numbers for row in rows())
        begun = text.index(f"plans_{machine}[CALL_LIMIT]")
        assert text[begun : text.index("};", begun)].count("\n\t[") == count


def test_plans_refuse_what_c_would_not_take() -> None:
    with pytest.raises(RowError, match="cannot stand in C"):
        codegen.quoted('a "word"')

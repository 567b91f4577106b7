# SPDX-License-Identifier: Apache-2.0
"""`lsca tree` and `lsca files` on a log of the sample program, which does known things to processes and files."""

import json

import pytest

from lsca.log import open_log
from lsca.log.colour import Paint
from lsca.log.processes import Image, Process, Processes
from lsca.log.tree import duration, lines
from reading_logs import Lsca, Made


def test_who_started_whom_and_how_they_ended(lsca: Lsca, family: Made) -> None:
    (root,) = json.loads(lsca("tree", "--json", family.log).stdout)
    assert root["exit_code"] == 5 and root["parent"] is None
    again, killed = root["children"]
    assert (again["exit_code"], again["signal"], again["parent"]) == (3, None, root["pid"])
    assert again["programs"][-1]["argv"] == ["sample", "child", "with a space"]
    assert again["programs"][-1]["path"] == "/proc/self/exe"
    assert (killed["exit_code"], killed["signal"]) == (None, "SIGKILL")
    assert again["started_ns"] < killed["started_ns"] < root["ended_ns"]
    assert root["calls"] > 50 and root["errors"] >= 4 and root["time_ns"] > 0


def test_numbers_add_up(lsca: Lsca, family: Made) -> None:
    processes = Processes.of(open_log(family.log)).all
    counted = lsca("log", "-c", family.log).stdout.splitlines()[-1].split()
    assert sum(process.calls for process in processes) == int(counted[3])
    assert sum(process.errors for process in processes) == int(counted[4])


def test_a_tree_of_lines(lsca: Lsca, family: Made) -> None:
    out = lsca(
        "tree", family.log, env={"PYTHONIOENCODING": "utf-8", "PATH": "/usr/bin:/bin"}
    ).stdout
    head, first, second, third = out.splitlines()
    assert head.split() == [
        "PID",
        "STARTED",
        "TOOK",
        "CALLS",
        "ERRORS",
        "IN",
        "CALLS",
        "ENDED",
        "COMMAND",
    ]
    assert "exit 5" in first
    assert "exit 3" in second and second.endswith("├─ sample child 'with a space'")
    assert "SIGKILL" in third and "└─ (" in third
    plain = lsca(
        "tree", family.log, env={"PYTHONIOENCODING": "ascii", "PATH": "/usr/bin:/bin"}
    ).stdout
    assert "|- sample child" in plain and plain.isascii()


def process(pid: int, parent: Process | None, *commands: str) -> Process:
    images = [Image("/bin/x", tuple(command.split()), pid * 1000) for command in commands]
    made = Process(pid, parent, pid * 1000, pid * 1000 + 500, images=images)
    if parent:
        parent.children.append(made)
    return made


def test_lines_lead_to_the_right_parent() -> None:
    root = process(1, None, "sh")
    inner = process(2, root, "make", "gmake all")
    process(3, inner, "cc a.c")
    process(4, root, "ls")
    text = [line.partition("not ended")[2][2:] for line in lines([root], Paint())]
    got = [line for line in text[1:] if line]
    assert got == ["sh", "├─ make", "│  └─ cc a.c", "└─ ls"]
    again = list(lines([root], Paint()))[3]
    assert again.endswith("│  │= gmake all")


def test_a_copy_is_named_for_what_its_parent_was_then() -> None:
    root = process(1, None, "sh", "later")
    root.images[1].started_ns = 9000
    copy = process(2, root)
    assert process(3, copy).command == copy.command == "(sh)"


def test_lines_are_cut_to_the_terminal() -> None:
    root = process(1, None, "word " * 100)
    assert all(len(line) <= 100 for line in lines([root], Paint(), width=100))


def test_a_deep_tree() -> None:
    root = parent = process(1, None, "a")
    for pid in range(2, 3000):
        parent = process(pid, parent, "a")
    assert sum(1 for _ in lines([root], Paint())) == 3000


@pytest.mark.parametrize(
    ("ns", "text"),
    [(0, "0ns"), (999, "999ns"), (1500, "1.50us"), (12_345_678, "12.3ms"), (61 * 10**9, "61.0s")],
)
def test_durations(ns: int, text: str) -> None:
    assert duration(ns) == text


def files_of(lsca: Lsca, made: Made, *options: str) -> dict[str, dict[str, object]]:
    out = lsca("files", "--json", *options, made.log).stdout
    facts = [json.loads(line) for line in out.splitlines()]
    return {str(fact["path"]).rpartition("work/")[2]: fact for fact in facts}


def test_what_was_done_to_files(lsca: Lsca, single: Made) -> None:
    found = files_of(lsca, single)
    assert found["made"]["opened"] == 1
    assert (found["made"]["read_bytes"], found["made"]["written_bytes"]) == (40 + 103, 103)
    assert found["missing"]["missed"] == 3 and found["missing too"]["missed"] == 1
    assert found["dir/inner"]["created"] == 1 and found["dir/inner"]["renamed"] == 1
    assert str(found["dir/inner"]["renamed_to"]).endswith("outer")
    assert found["outer"]["deleted"] == 1 and found["outer"]["opened"] == 1
    assert found["dir"]["created"] == 1


@pytest.mark.parametrize(
    ("kind", "has", "has_not"),
    [
        ("--missed", "missing", "made"),
        ("--written", "made", "missing"),
        ("--read", "made", "outer"),
        ("--deleted", "outer", "made"),
        ("--renamed", "dir/inner", "made"),
        ("--created", "dir", "missing"),
    ],
)
def test_only_a_kind(lsca: Lsca, single: Made, kind: str, has: str, has_not: str) -> None:
    found = files_of(lsca, single, kind)
    assert has in found and has_not not in found


def test_only_a_directory_sorted(lsca: Lsca, single: Made) -> None:
    done = lsca(
        "files", "-P", "dir", "-P", "miss*", "--sort", "missed", single.log, cwd=single.directory
    )
    head, *rows, total = done.stdout.splitlines()
    assert head.split()[-1] == "PATH" and total.endswith(f" {len(rows)} files")
    missing, inside = str(single.directory / "missing"), str(single.directory / "dir")
    assert rows[0].endswith(missing)
    assert all(inside in row or missing[:-3] in row for row in rows)


def test_no_such_column(lsca: Lsca, single: Made) -> None:
    done = lsca("files", "--sort", "size", single.log)
    assert done.returncode == 125 and "there are path, opened, read" in done.stderr

# SPDX-License-Identifier: Apache-2.0
"""`lsca sql` with queries, from a pipe and at a prompt, and `lsca export` in all its formats."""

import csv
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lsca.cli.prompt import statements
from lsca.cli.sql import split
from lsca.log import grid
from lsca.log.colour import Paint
from reading_logs import LSCA, Lsca, Made

duckdb = pytest.importorskip("duckdb")


def rows(lsca: Lsca, made: Made, query: str) -> list[dict[str, Any]]:
    return json_rows(lsca, Path(made.log), query)


# ---- what the tables hold ----


def test_calls_are_those_of_the_log(lsca: Lsca, family: Made) -> None:
    log = [json.loads(line) for line in lsca("log", "--json", family.log).stdout.splitlines()]
    calls = [record for record in log if record["kind"] == "call"]
    table = rows(
        lsca,
        family,
        "SELECT name, pid, tid, ret, error, nr, epoch_ns(start) AS ns FROM calls ORDER BY ns",
    )
    key = ("name", "pid", "tid", "ret", "error", "nr")
    want = sorted((tuple(str(call[k]) for k in key), call["start_ns"]) for call in calls)
    assert sorted((tuple(str(row[k]) for k in key), row["ns"]) for row in table) == want


@pytest.mark.parametrize("count", [100, 8000])
def test_long_arguments(lsca: Lsca, tmp_path: Path, count: int) -> None:
    """Whole, or it is said that there were more, wherever they are shown."""
    argv = ["/bin/true", "x" * 3000, *map(str, range(count))]
    log = tmp_path / "log.lsca"
    shell = ("sh", "-c", '"$@"; :', "sh")
    assert lsca("run", "--no-daemon", "-o", log, "--", *shell, *argv).returncode == 0
    query = "SELECT argv FROM calls WHERE name = 'execve' UNION ALL SELECT argv FROM processes"
    texts = [
        row["argv"] for row in json_rows(lsca, log, query) if row["argv"].startswith("/bin/true")
    ]
    assert len(texts) == 2
    tree = lsca("tree", log).stdout
    whole = " ".join(argv)
    if count == 100:
        assert texts == [whole] * 2 and tree.rstrip().endswith(" 98 99")
    for text in texts if count == 8000 else ():
        assert text.endswith(" ...") and whole.startswith(text[: -len(" ...")])
        assert len(text) > 16_000 and tree.rstrip().endswith(" ...")


def json_rows(lsca: Lsca, log: Path, query: str) -> list[dict[str, Any]]:
    done = lsca("sql", log, "--json", query)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_descriptors_have_files_and_bytes(lsca: Lsca, single: Made) -> None:
    (made,) = rows(lsca, single, "SELECT * FROM calls WHERE name = 'openat' AND path LIKE '%made'")
    assert made["file"].endswith("made") and made["fd"] == made["ret"] and made["family"] == "files"
    (row,) = rows(
        lsca,
        single,
        "SELECT sum(bytes) AS n FROM calls WHERE file LIKE '%made' AND name LIKE '%write%'",
    )
    assert row["n"] == 103
    (moved,) = rows(lsca, single, "SELECT path, path2 FROM calls WHERE name = 'renameat'")
    assert moved["path"].endswith("dir/inner") and moved["path2"].endswith("outer")
    (address,) = rows(lsca, single, "SELECT address FROM calls WHERE name = 'connect'")
    assert re.fullmatch(r"127\.0\.0\.1:\d+", address["address"])


def test_processes_are_those_of_the_tree(lsca: Lsca, family: Made) -> None:
    table = rows(
        lsca, family, "SELECT pid, parent, exit_code, signal, argv FROM processes ORDER BY started"
    )
    (root,) = json.loads(lsca("tree", "--json", family.log).stdout)
    assert [row["pid"] for row in table] == [
        root["pid"],
        *(child["pid"] for child in root["children"]),
    ]
    assert [row["exit_code"] for row in table] == [5, 3, None]
    assert table[2]["signal"] == 9 and table[1]["argv"] == "sample child 'with a space'"


def test_streams(lsca: Lsca, single: Made) -> None:
    found = rows(
        lsca, single, "SELECT kind, sum(received) AS r, sum(sent) AS s FROM streams GROUP BY 1"
    )
    assert {row["kind"]: (row["r"], row["s"]) for row in found} == {
        "pipe": (3, 3),
        "socket": (5, 5),
        "tcp": (7, 7),
    }


def test_several_logs(lsca: Lsca, single: Made, family: Made) -> None:
    done = lsca(
        "sql",
        single.log,
        family.log,
        "--csv",
        "SELECT run, count(DISTINCT pid) AS n FROM calls GROUP BY 1 ORDER BY 1",
    )
    assert done.stdout == "run,n\n0,1\n1,3\n"


def test_no_nanosecond_is_lost_and_order_is_kept(lsca: Lsca, single: Made) -> None:
    found = rows(lsca, single, "SELECT start, epoch_ns(start) AS ns FROM calls ORDER BY start DESC")
    assert all(
        row["start"].split(".")[1].ljust(9, "0") == f"{row['ns'] % 10**9:09d}" for row in found
    )
    assert [row["ns"] for row in found] == sorted((row["ns"] for row in found), reverse=True)


# ---- how a result is printed ----


def test_a_table_of_text(lsca: Lsca, single: Made) -> None:
    out = lsca(
        "sql", single.log, "SELECT 'a' AS word, 5 AS number UNION ALL SELECT 'longer', NULL"
    ).stdout
    assert out == "word    number\n------  ------\na            5\nlonger\n"


def test_csv(lsca: Lsca, single: Made) -> None:
    done = lsca("sql", single.log, "--csv", "SELECT 'a,\"b' AS x, 1 AS y")
    assert list(csv.reader(done.stdout.splitlines())) == [["x", "y"], ['a,"b', "1"]]


def test_wide_columns_are_cut() -> None:
    lines = list(
        grid.lines(["n", "path"], [True, False], [[1, "x" * 100], [20000, None]], Paint(), 40)
    )
    assert all(len(line) <= 40 for line in lines)
    assert lines[2].endswith("x…") and lines[3].startswith("20000")
    assert grid.fitted([100, 5, 60], 60) == [25, 5, 26]
    assert grid.fitted([50, 50], 10) == [8, 8]


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert grid.cell("a\033[2Jb\n") == "a\\x1b[2Jb\\n"


# ---- queries and files, and what is wrong with them ----


def test_which_word_is_the_query(tmp_path: Path) -> None:
    file = tmp_path / "a b"
    file.touch()
    assert split([str(file)]) == ([str(file)], None)
    assert split([str(file), "select 1"]) == ([str(file)], "select 1")
    assert split([str(file), str(file)]) == ([str(file), str(file)], None)
    assert split([str(file), ".tables"]) == ([str(file)], ".tables")
    assert split([str(file), "missing"]) == ([str(file), "missing"], None)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT nme FROM calls", '"nme" not found'),
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM nothing", "nothing does not exist"),
        ("SELECT 1 / 'x' AS n", "Conversion Error"),
        (".schema nothing", "there are calls, processes, files, streams"),
        (".nonsense", "there are .tables"),
    ],
)
def test_errors_are_in_words(lsca: Lsca, single: Made, query: str, says: str) -> None:
    done = lsca("sql", single.log, query)
    assert done.returncode == 125 and done.stdout == ""
    assert done.stderr.startswith("lsca: ") and says in done.stderr
    assert "Traceback" not in done.stderr


def test_without_duckdb(single: Made) -> None:
    code = "import sys; sys.modules['duckdb'] = None; from lsca.cli import main; sys.exit(main(sys.argv[1:]))"
    for words in (
        ["sql", single.log, "select 1"],
        ["export", single.log, "--to", "parquet", "-o", "/dev/null"],
    ):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
        assert done.returncode == 125 and "pip install 'lsca[sql]'" in done.stderr
    for words in (
        ["tree", single.log],
        ["files", single.log],
        ["export", single.log, "--to", "strace"],
    ):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout


# ---- statements one after the other ----


def test_statements_are_told_apart() -> None:
    text = "select 1;\n\n.tables\nselect ';',\n2 -- no; end\n;\nselect 3"
    assert list(statements(iter(text.splitlines(keepends=True)))) == [
        "select 1;",
        ".tables",
        "select ';',\n2 -- no; end\n;",
        "select 3",
    ]
    assert list(statements(iter([".quit\n", "select 1;\n"]))) == []


def test_statements_from_a_pipe(lsca: Lsca, single: Made) -> None:
    text = "CREATE TABLE mine AS SELECT 7 AS x;\nSELECT *\nFROM mine;\n.tables\n"
    done = lsca("sql", single.log, "--csv", input=text)
    assert done.stdout == "x\n7\ncalls\nprocesses\nfiles\nstreams\nrings\nwaits\n"
    done = lsca("sql", single.log, input="select nme from calls;\nselect 1;\n")
    assert done.returncode == 125 and "1" not in done.stdout


def test_a_prompt(single: Made, tmp_path: Path) -> None:
    """Over a terminal: an error does not end it, a statement may have two lines, Ctrl-C drops one, history stays."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "TERM": "dumb"}
    command = [*LSCA, "sql", single.log]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True
    ) as child:
        os.close(theirs)
        seen = ""

        def until(text: str) -> None:
            nonlocal seen
            deadline = time.monotonic() + 30
            while text not in seen:
                assert select.select([ours], [], [], deadline - time.monotonic())[0], seen
                seen += os.read(ours, 10_000).decode()
            seen = seen.partition(text)[2]

        until("lsca> ")
        os.write(ours, b"select nme from calls;\n")
        until('"nme" not found')
        until("lsca> ")
        os.write(ours, b"select 40 +\n")
        until("...> ")
        os.write(ours, b"2 as answer;\n")
        until("42")
        until("lsca> ")
        os.write(ours, b".tables\n")
        until("streams")
        until("lsca> ")
        os.write(ours, b".quit\n")
        assert child.wait(30) == 0
    os.close(ours)
    assert "select 40 +" in (tmp_path / "lsca" / "sql_history").read_text()


# ---- export ----


def test_json_lines(lsca: Lsca, single: Made) -> None:
    lines = lsca("export", single.log, "--to", "jsonl").stdout.splitlines()
    facts = [json.loads(line) for line in lines]
    writes = [fact for fact in facts if fact.get("name") == "write"]
    assert writes[0]["files"] and re.match(r"write\(3</.*/made>, ", writes[0]["text"])
    assert {"program", "start", "call", "exit"} <= {fact["kind"] for fact in facts}


def test_strace_text(lsca: Lsca, family: Made) -> None:
    out = lsca("export", family.log, "--to", "strace").stdout
    line = re.compile(r"\d+ +\d{10}\.\d{6} (\w+\(.* = .+|\+\+\+ exited with \d+ \+\+\+)")
    assert all(line.fullmatch(text) for text in out.splitlines())


def test_parquet(lsca: Lsca, single: Made, tmp_path: Path) -> None:
    out = tmp_path / "it's.parquet"
    done = lsca("export", single.log, "--to", "parquet", "-o", out)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (count,) = duckdb.execute("SELECT count(*) FROM read_parquet(?)", [str(out)]).fetchone()
    assert count == rows(lsca, single, "SELECT count(*) AS n FROM calls")[0]["n"]


def test_perfetto(lsca: Lsca, family: Made, tmp_path: Path) -> None:
    """The Trace Event Format: known phases, times that count, slices of a thread within one another."""
    out = tmp_path / "trace.json"
    assert lsca("export", family.log, "--to", "perfetto", "-o", out).returncode == 0
    events = json.loads(out.read_text())["traceEvents"]
    assert {event["ph"] for event in events} == {"X", "i", "M", "s", "f"}
    assert all({"name", "ph", "pid", "tid", "ts"} <= set(event) for event in events)
    names = {event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert "exe" in names
    slices = [event for event in events if event["ph"] == "X"]
    assert all(event["ts"] >= 0 and event["dur"] >= 0 for event in slices)
    ends: list[float] = []
    track = None
    for event in sorted(slices, key=lambda e: (e["pid"], e["tid"], e["ts"], -e["dur"])):
        if (event["pid"], event["tid"]) != track:
            track, ends = (event["pid"], event["tid"]), []
        while ends and ends[-1] <= event["ts"]:
            ends.pop()
        assert not ends or event["ts"] + event["dur"] <= ends[-1] + 0.002, event
        ends.append(event["ts"] + event["dur"])
    arrows = [event for event in events if event["ph"] in "sf"]
    assert len(arrows) == 4


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--to", "parquet"], "-o OUT.parquet"),
        (["--to", "xml"], "invalid choice"),
        ([], "--to"),
        (["--to", "parquet", "-o", "/nowhere/x.parquet"], "/nowhere"),
        (["--to", "jsonl", "-o", "/nowhere/x"], "cannot write /nowhere/x"),
    ],
)
def test_exports_that_cannot_be(lsca: Lsca, single: Made, words: list[str], says: str) -> None:
    done = lsca("export", single.log, *words)
    assert done.returncode == 125 and says in done.stderr and "Traceback" not in done.stderr

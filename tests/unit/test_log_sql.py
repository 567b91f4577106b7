# SPDX-License-Identifier: Apache-2.0
"""Logs as tables: proves columns, views, and that only what a question needs is decoded."""

import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lsca import _log
from lsca.errors import LogError
from lsca.log import Log, open_log
from segments import (
    AARCH64,
    AT_FDCWD,
    EXIT,
    FD,
    FOREIGN,
    NO_RETURN,
    OUT,
    PROGRAM,
    PROXY,
    REAL,
    REPLACES,
    RESTARTS,
    START,
    STATUS,
    TRAPPED,
    Call,
    Writer,
    block,
    end,
    header,
    segment,
    text,
    whole,
)

duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")

from lsca.log import sql  # noqa: E402

READ, WRITE, CLOSE, EXECVE, EXIT_GROUP, OPENAT, UNLINK, SENDFILE = 0, 1, 3, 59, 231, 257, 87, 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.lsca"


def log_of(path: Path, *calls: Call) -> Log:
    path.write_bytes(whole(*calls))
    return open_log(path)


def ask(log: Log, query: str, parameters: object = None) -> list[Any]:
    result = log.sql(query, parameters)
    assert result is not None
    return result.fetchall()


def opened(name: bytes = b"/etc/passwd", fd: int = 3, flags: int = 0, **more: Any) -> Call:
    return Call(OPENAT, (AT_FDCWD, 9, flags, 0), fd, pieces=[text(1, name)], **more)


def everything() -> list[Call]:
    inet = struct.pack("<HH4s8x", socket.AF_INET, socket.htons(80), bytes([10, 0, 0, 1]))
    flat = struct.pack("<8I", 16, 0, 0, 0, 1, 0, 0, 0) + inet
    return [
        opened(start=2000, end=2010, route=PROXY),
        Call(READ, (3, 9, 100), 7, start=2100, end=2110, flags=TRAPPED),
        Call(READ, (4, 9, 100), -9, start=2200, end=2210),
        Call(READ, (0, 9, 100), -512, start=2300, end=2310, flags=RESTARTS),
        Call(42, (5, 9, 16), start=2400, end=2410, pieces=[text(1, inet)]),
        Call(46, (5, 9, 0), 3, start=2500, end=2510, pieces=[text(1, flat)]),
        Call(EXECVE, (1, 2, 3), start=2600, end=2600, flags=NO_RETURN),
        Call(500, (1,), -38, start=2700, end=2710),
        Call(20, (), 10, start=2800, end=2810, flags=FOREIGN),
        Call(EXIT_GROUP, (1,), start=2900, end=2900, flags=NO_RETURN),
    ]


def test_columns(path: Path) -> None:
    calls = everything()
    calls[6].pieces = [text(0, b"/bin/echo"), text(1, b"echo\0a b\0it's\0\0")]
    log = log_of(path, *calls)
    rows = ask(log, "SELECT * EXCLUDE (start) FROM calls ORDER BY start")
    names = [name for name in _log.COLUMNS if name != "start"]
    table = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    assert table["name"] == [
        *("openat", "read", "read", "read", "connect", "sendmsg", "execve"),
        *("syscall_0x1f4", "i386:20", "exit_group"),
    ]
    assert table["duration_ns"] == [20, 20, 20, 20, 20, 20, None, 20, 20, None]
    assert table["ret"] == [3, 7, -9, None, 0, 3, None, -38, 10, None]
    assert table["error"] == [None, None, "EBADF", *[None] * 4, "ENOSYS", None, None]
    assert table["fd"] == [3, 3, 4, 0, 5, 5, None, None, None, None]
    assert table["bytes"] == [None, 7, None, None, None, 3, None, None, None, None]
    assert table["address"][4:6] == ["10.0.0.1:80", "10.0.0.1:80"]
    assert table["argv"][6] == "echo 'a b' 'it'\"'\"'s' ''"
    assert table["path"][:3] == ["/etc/passwd", "/etc/passwd", None]
    assert table["path"][6] == "/bin/echo"
    assert table["family"][:2] == ["files", "transfer"] and table["family"][7:9] == [None, None]
    assert table["route"][:2] == ["proxy", "kernel"]
    assert table["trapped"] == [False, True, *[False] * 8]
    assert table["nr"][7] == 500 and table["arg2"][1] == 100
    assert table["seq"] == list(range(10)) and set(table["run"]) == {0}
    assert set(table["pid"]) == set(table["tid"]) == set(table["thread"]) == {10}
    assert ask(log, "SELECT epoch_ns(min(start)) FROM calls") == [(REAL + 2000,)]


def test_types(path: Path) -> None:
    types = dict(ask(log_of(path, Call()), "SELECT column_name, column_type FROM (DESCRIBE calls)"))
    assert types["start"] == "TIMESTAMP_NS" and types["arg0"] == "UBIGINT"
    assert types["name"] == types["path"] == "VARCHAR" and types["nr"] == "SMALLINT"
    assert types["trapped"] == "BOOLEAN" and types["pid"] == "INTEGER"


def test_events_and_replaced_records_are_no_calls(path: Path) -> None:
    calls = [
        Call(kind=START, args=(9, 0)),
        Call(EXECVE, flags=NO_RETURN),
        Call(EXECVE, flags=REPLACES, ret=-2),
        Call(kind=FD, args=(3,), pieces=[text(0, b"/x")]),
    ]
    assert ask(log_of(path, *calls), "SELECT name, error, seq FROM calls") == [
        ("execve", "ENOENT", 2)
    ]


def test_each_column_by_itself(path: Path) -> None:
    """What is decoded depends on the question; the answer does not."""
    log = log_of(path, *everything())
    whole_rows = ask(log, "SELECT * FROM calls")
    for place, name in enumerate(_log.COLUMNS):
        assert ask(log, f"SELECT {name} FROM calls") == [(row[place],) for row in whole_rows]
        assert ask(log, f"SELECT count({name}) FROM calls") == [
            (sum(row[place] is not None for row in whole_rows),)
        ]


def test_only_what_is_needed_is_decoded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of(path, *everything())
    asked = []
    ask(log, "SELECT 1")
    arrow = log.arrow
    monkeypatch.setattr(log, "arrow", lambda *a, **k: asked.append(a[0]) or arrow(*a, **k))
    ask(log, "SELECT name, max(duration_ns) FROM calls WHERE pid = 10 GROUP BY name")
    assert asked == [None, {"name", "duration_ns", "pid"}]
    ask(log, "SELECT a.path FROM calls a JOIN calls b USING (seq)")
    assert asked[3] == {"path", "seq"}
    ask(log, "SELECT 1")
    assert asked[5] == set()


@pytest.mark.parametrize(
    "plan",
    [
        "text",
        [{"name": 3}],
        [{"name": "ARROW_SCAN", "extra_info": {}}],
        [{"name": "ARROW_SCAN", "extra_info": {"Projections": [1]}}],
    ],
)
def test_a_plan_that_is_not_understood(plan: object) -> None:
    with pytest.raises(ValueError):
        list(sql.columns(plan))


def test_blocks_segments_and_runs_are_one_table(path: Path, tmp_path: Path) -> None:
    path.write_bytes(segment([[Call()] * 3, [Call(READ)] * 2]))
    other = tmp_path / "b.lsca"
    other.write_bytes(header(AARCH64, run=(3, 4)) + block(Call(nr=63)) + end())
    log = open_log([path, other])
    counted = ask(log, "SELECT run, name, count(*) FROM calls GROUP BY ALL ORDER BY ALL")
    assert counted == [(0, "getpid", 3), (0, "read", 2), (1, "read", 1)]


def test_many_blocks(path: Path) -> None:
    writer = Writer()
    data = header()
    for _ in range(3):
        data += writer.calls(*[opened(b"/%d" % (i % 50)) for i in range(5000)])
    path.write_bytes(data + end())
    log = open_log(path)
    query = "SELECT path, count(*) FROM calls GROUP BY path ORDER BY path LIMIT 2"
    assert ask(log, query) == [("/0", 300), ("/1", 300)]


def test_a_damaged_block_ends_the_table_and_is_said(path: Path) -> None:
    data = bytearray(segment([[Call()], [Call(READ)]]))
    data[len(header()) + len(block(Call())) + 96 + 24] ^= 1
    path.write_bytes(bytes(data))
    log = open_log(path)
    assert log.damage is None and len(log) == 2
    assert ask(log, "SELECT name FROM calls") == [("getpid",)]
    assert "check sum" in str(log.damage)


# ---- asking ---------------------------------------------------------------------------------------------------------


def test_parameters_and_several_statements(path: Path) -> None:
    log = log_of(path, *everything())
    assert ask(log, "SELECT count(*) FROM calls WHERE name = ?", ["read"]) == [(3,)]
    query = "CREATE TABLE slow AS SELECT name FROM calls; SELECT count(*) FROM slow"
    assert ask(log, query) == [(10,)]
    assert ask(log, "SELECT count(*) FROM slow") == [(10,)]
    log.sql("DROP TABLE slow")
    with pytest.raises(LogError, match="slow does not exist"):
        log.sql("SELECT * FROM slow")
    relation = log.sql("SELECT name FROM calls LIMIT 1")
    assert relation is not None and relation.columns == ["name"]


def test_two_answers_at_once(path: Path) -> None:
    log = log_of(path, *everything())
    first, second = log.sql("SELECT sum(nr) FROM calls"), log.sql("SELECT max(path) FROM calls")
    assert first is not None and second is not None
    assert second.fetchall() == [("/etc/passwd",)] and first.fetchall()[0][0] > 900


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT nam FROM calls", '"nam" not found'),
        ("SELECT * FROM cals", "does not exist"),
        ("SELECT ?", "parameter"),
        ("", "the query is empty"),
    ],
)
def test_mistakes(path: Path, query: str, words: str) -> None:
    log = log_of(path, Call())
    with pytest.raises(LogError, match=words):
        ask(log, query)


def test_a_mistake_that_shows_when_the_answer_is_fetched(path: Path) -> None:
    with pytest.raises(duckdb.Error, match="Could not convert"):
        ask(log_of(path, Call()), "SELECT CAST(name AS INTEGER) FROM calls")


def test_without_duckdb(path: Path) -> None:
    path.write_bytes(whole(Call()))
    program = (
        "import sys; sys.modules['duckdb'] = None; import lsca\n"
        "try: lsca.open_log(sys.argv[1]).sql('SELECT 1')\n"
        "except lsca.errors.LscaError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert "pip install 'lsca[sql]'" in done.stdout


def test_a_log_that_grows_is_asked_again(path: Path) -> None:
    writer = Writer()
    path.write_bytes(header() + writer.calls(opened(start=2000, end=2001)))
    log = open_log(path)
    assert ask(log, "SELECT count(*) FROM calls") == [(1,)]
    with path.open("ab") as file:
        file.write(writer.calls(Call(READ, (3, 9, 9), start=3000, end=3001)))
    assert log.refresh()
    assert ask(log, "SELECT count(*), max(path) FROM calls") == [(2, "/etc/passwd")]


# ---- views ----------------------------------------------------------------------------------------------------------


def test_processes(path: Path) -> None:
    calls = [
        Call(kind=PROGRAM, pieces=[text(0, b"/bin/sh\0-c\0x y\0")], start=1100, end=1100),
        Call(kind=FD, args=(AT_FDCWD,), pieces=[text(0, b"/home/u")], start=1150, end=1150),
        Call(kind=START, args=(9, 0), start=1160, end=1160),
        Call(57, (), 11, start=1200, end=1210),
        Call(kind=START, args=(10, 0), start=1300, end=1300, tid=11),
        Call(EXECVE, (1, 2, 3), start=1400, end=1400, tid=11, flags=NO_RETURN),
        Call(kind=START, args=(10, 1), start=1450, end=1450, tid=11),
        Call(READ, (9, 1, 1), -9, start=1500, end=1600, tid=11),
        Call(kind=EXIT, start=1700, end=1700, tid=11),
        Call(61, (11, 1), 11, start=1800, end=1810, pieces=[(1, OUT, b"\x09\0\0\0", 4)]),
        Call(EXIT_GROUP, (3,), start=1900, end=1900, flags=NO_RETURN),
        Call(kind=STATUS, args=(3 << 8,), start=2000, end=2000),
    ]
    calls[5].pieces = [text(0, b"./tool"), text(1, b"tool\0")]
    log = log_of(path, *calls)
    columns = "pid, parent, program, argv, cwd, exit_code, signal, calls, errors, time_ns"
    assert ask(log, f"SELECT {columns} FROM processes ORDER BY pid") == [
        (10, 9, "/bin/sh", "/bin/sh -c 'x y'", "/home/u", 3, None, 3, 0, 40),
        (11, 10, "/home/u/tool", "tool", "/home/u", None, 9, 2, 1, 200),
    ]
    times = "epoch_ns(started), epoch_ns(ended), duration_ns"
    at = REAL - 2000
    assert ask(log, f"SELECT {times} FROM processes WHERE pid = 11") == [
        (at + 2600, at + 3400, 800)
    ]


def test_files(path: Path) -> None:
    calls = [
        opened(b"/a", 3, start=2000, end=2001),
        Call(READ, (3, 9, 9), 5, start=2010, end=2011),
        opened(b"/b", 4, flags=0o101, start=2020, end=2021),
        Call(WRITE, (4, 9, 9), 6, start=2030, end=2031),
        Call(SENDFILE, (4, 3, 0, 9), 100, start=2040, end=2041),
        opened(b"/none", -2, start=2050, end=2051),
        Call(UNLINK, (9,), start=2060, end=2061, pieces=[text(0, b"/a")]),
        Call(82, (8, 9), start=2070, end=2071, pieces=[text(0, b"/b"), text(1, b"/c")]),
    ]
    log = log_of(path, *calls)
    columns = 'path, opened, read_bytes, written_bytes, created, deleted, renamed, missed, "by"'
    assert ask(log, f"SELECT {columns} FROM files ORDER BY path") == [
        ("/a", 1, 105, 0, 0, 1, 0, 0, 1),
        ("/b", 1, 0, 106, 1, 0, 1, 0, 1),
        ("/c", 0, 0, 0, 1, 0, 0, 0, 1),
        ("/none", 0, 0, 0, 0, 0, 0, 1, 1),
    ]


def test_streams(path: Path) -> None:
    def inet(port: int) -> bytes:
        return struct.pack("<HH4s8x", socket.AF_INET, socket.htons(port), bytes([127, 0, 0, 1]))

    calls = [
        Call(41, (2, 1, 0), 3, start=2000, end=2001),
        Call(42, (3, 9, 16), start=2010, end=2011, pieces=[text(1, inet(80))]),
        Call(51, (3, 9, 9), start=2015, end=2016, pieces=[(1, OUT, inet(9), 16)]),
        Call(WRITE, (3, 9, 9), 6, start=2020, end=2021),
        Call(READ, (3, 9, 9), 4, start=2030, end=2031),
        Call(CLOSE, (3,), start=2040, end=2041),
        Call(22, (9,), start=2050, end=2051, pieces=[(0, OUT, struct.pack("<ii", 3, 4), 8)]),
        Call(READ, (3, 9, 9), 1, start=2060, end=2061),
    ]
    columns = "fd, file, local, peer, kind, received, sent, calls, closed IS NULL"
    found = ask(log_of(path, *calls), f"SELECT {columns} FROM streams ORDER BY opened")
    name = "TCP:127.0.0.1:9->127.0.0.1:80"
    assert found[0] == (3, name, "127.0.0.1:9", "127.0.0.1:80", "tcp", 4, 6, 6, False)
    assert found[1][4:] == ("pipe", 1, 0, 1, True) and found[1][2:4] == (None, None)
    assert len(found) == 2


# ---- elsewhere ------------------------------------------------------------------------------------------------------


def test_polars_takes_it(path: Path) -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    log = log_of(path, *everything())
    frame = polars.DataFrame(log.arrow())
    assert frame.columns == list(_log.COLUMNS) and frame.height == 10
    some = polars.DataFrame(log.arrow(["path", "name"]))
    assert some.columns == ["name", "path"]
    assert some["path"].to_list() == frame["path"].to_list()
    assert frame["error"].to_list()[2] == "EBADF"


def test_pandas_by_duckdb(path: Path) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    result = log_of(path, *everything()).sql("SELECT name, ret FROM calls")
    assert result is not None
    frame = result.df()
    assert list(frame["name"])[:2] == ["openat", "read"]


def test_a_column_that_does_not_exist(path: Path) -> None:
    with pytest.raises(LogError, match="no column 'nme'"):
        log_of(path, Call()).arrow(["nme"])


def test_a_stream_outlives_its_log(path: Path) -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    stream = log_of(path, *everything()).arrow()
    assert polars.DataFrame(stream).height == 10

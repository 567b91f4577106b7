# SPDX-License-Identifier: Apache-2.0
"""What stands between the screens of `lsca view` and a log, on files as `lsca run -o` writes them."""

import threading
import time
from pathlib import Path

import pytest

from lsca.cli import plot
from lsca.errors import LogError
from lsca.tui.filter import where
from lsca.tui.queries import ALL, ERRORS, FILES, NAMES, PROCESSES, SLOWEST, histogram
from lsca.tui.source import Interrupted, Source, open_source
from segments import AT_FDCWD, EXIT, NO_RETURN, START, Call, Writer, end, header, text

OPENAT, READ, CLOSE, EXECVE, EXIT_GROUP = 257, 0, 3, 59, 231


def calls() -> list[Call]:
    """A process that opens two files, one of which is there, and starts another one."""
    return [
        Call(kind=START, args=(1, 0), start=1000, end=1000),
        Call(OPENAT, (AT_FDCWD, 64, 0), -2, 2000, 2100, pieces=[text(1, b"/etc/none")]),
        Call(OPENAT, (AT_FDCWD, 64, 0), 3, 3000, 3200, pieces=[text(1, b"/etc/hosts")]),
        Call(READ, (3, 64, 100), 100, 4000, 9000),
        Call(CLOSE, (3,), 0, 9100, 9200),
        Call(
            EXECVE,
            (64, 64, 64),
            0,
            9300,
            9300,
            flags=NO_RETURN,
            pieces=[text(0, b"/bin/x"), text(1, b"x\0-a b\0")],
        ),
        Call(EXIT_GROUP, (3,), 0, 9400, 9400, flags=NO_RETURN),
        Call(kind=EXIT, start=9500, end=9500),
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    where_ = tmp_path / "run.lsca"
    where_.write_bytes(header() + Writer().calls(*calls()) + end())
    return where_


@pytest.fixture
def source(path: Path) -> Source:
    found = open_source([str(path)])
    found.look()
    return found


def test_overview(source: Source) -> None:
    overview = source.overview
    assert (overview.calls, overview.errors, overview.processes, overview.runs) == (6, 1, 1, 1)
    assert source.programs() == {10: "x"}


def test_every_view(source: Source) -> None:
    """Their SQL suits the tables of a log, not only those of the tests."""
    for view in (NAMES, PROCESSES, FILES, ERRORS, ALL, SLOWEST):
        for terms in ("", "path=/etc/* error!=EIO"):
            sql = view.sql(where(terms), source.overview, view.sort, view.descending, 10, 0)
            assert source.rows(sql), (view.name, terms)
    assert sum(calls for _, calls in source.rows(histogram("", source.overview, 10))) == 6


def test_paths_of_descriptors(source: Source) -> None:
    rows = source.rows(FILES.sql("", source.overview, "calls", True, 10, 0))
    assert rows[0][:2] == ("/etc/hosts", 3)


def test_what_comes_late_is_the_same(source: Source) -> None:
    page = ("", source.overview, "begin_ns", False, 10, 0)
    narrow = source.rows(ALL.narrow(*page))
    assert {ALL.fields(row)["about"] for row in narrow} == {None}
    complete = ALL.completed(narrow, source.rows(ALL.rest(narrow)))
    assert complete == source.rows(ALL.sql(*page))


def test_one_call(source: Source) -> None:
    call = source.call(0, 10, 2)
    assert (call.text, call.result) == ('openat(AT_FDCWD, "/etc/hosts", O_RDONLY)', "3")
    assert source.call(0, 10, 3).columns["file"] == "/etc/hosts"
    with pytest.raises(LogError, match="call 99 of thread 10 is not in the log"):
        source.call(0, 10, 99)


def test_several_logs_as_one(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.lsca"
    other.write_bytes(header(run=(9, 9)) + Writer().calls(*calls()) + end())
    both = open_source([str(path), str(other)])
    assert both.title.endswith("and 1 more")
    overview = both.look()
    assert (overview.calls, overview.runs) == (12, 2)
    assert both.call(1, 10, 2).result == "3"


def test_a_log_that_grows(path: Path) -> None:
    writer = Writer()
    first, second = writer.calls(*calls()[:3]), writer.calls(*calls()[3:])
    path.write_bytes(header() + first)
    source = open_source([str(path)])
    assert source.look().calls == 2
    with path.open("ab") as out:
        out.write(second + end())
    assert source.look().calls == 6


def test_errors_are_in_words(source: Source, tmp_path: Path) -> None:
    with pytest.raises(LogError, match="nonsense"):
        source.rows("SELECT nonsense FROM calls")
    with pytest.raises(LogError, match="cannot read"):
        open_source([str(tmp_path / "none")])
    (tmp_path / "text").write_text("hello")
    with pytest.raises(LogError, match="not a log"):
        open_source([str(tmp_path / "text")])


def test_a_question_is_given_up(source: Source) -> None:
    """A question that would take minutes ends when another one is wanted."""
    ended: list[str] = []

    def ask() -> None:
        try:
            source.rows(
                "SELECT count(*) FROM range(10_000_000) a, range(10_000_000) b WHERE a.range * b.range = 7"
            )
        except Interrupted:
            ended.append("interrupted")

    thread = threading.Thread(target=ask)
    thread.start()
    deadline = time.monotonic() + 30
    while thread.is_alive() and time.monotonic() < deadline:
        source.interrupt()
        thread.join(0.05)
    assert ended == ["interrupted"]
    assert source.rows("SELECT count(*) FROM calls") == [(6,)]


def test_plot_of_a_file(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "run.svg"
    assert plot.main([str(path), "-o", str(out)]) == 0
    drawn = out.read_text()
    assert "x -a b" not in drawn and "x &#x27;-a b&#x27;" not in drawn
    assert "x '-a b'" in drawn and "exit 3" in drawn
    assert "read /etc/hosts: 10.0 us" in drawn
    assert "failed: openat ENOENT" in drawn

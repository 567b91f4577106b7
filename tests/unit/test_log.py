# SPDX-License-Identifier: Apache-2.0
"""Reading logs: files made record by record, whole, in odd orders, cut short, and damaged at random.

Proves that a reader gets what was written, in order of time, that loss and damage are always said, and that no file
whatever makes the reader fail with anything but LscaError.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lsca
from lsca.cli.log import main
from lsca.errors import LogError, LscaError
from lsca.log import Log, Record, Style, as_json, as_text, open_log
from lsca.table import by_name
from segments import (
    AARCH64,
    AT_FDCWD,
    FOREIGN,
    MONO,
    NO_RETURN,
    PROXY,
    REAL,
    REPLACES,
    RESTARTS,
    STATUS,
    Call,
    Stretch,
    Writer,
    block,
    checked,
    end,
    header,
    segment,
    text,
    whole,
)

CLOSE, GETPID, OPENAT, EXIT_GROUP, EXECVE = 3, 39, 257, 231, 59
END = end()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.lsca"


def read(path: Path, data: bytes) -> Log:
    path.write_bytes(data)
    return open_log(path)


def lines(path: Path, data: bytes, style: Style | None = None) -> list[str]:
    style = style or Style("x86_64", clock="none", duration=False, route=False, pid=False)
    return [as_text(record, style) for record in read(path, data)]


def opened(**more: int) -> Call:
    pieces = [text(1, b"/etc/passwd")]
    return Call(nr=OPENAT, args=(AT_FDCWD, 0x1234, 0, 0), ret=3, pieces=pieces, **more)


# ---- what was written is read ----


def test_a_record_comes_back(path: Path) -> None:
    log = read(path, whole(opened(route=PROXY, start=1500, end=2500)))
    (record,) = log.records()
    assert (record.name, record.nr, record.route, record.kind) == ("openat", 257, "proxy", "call")
    assert (record.pid, record.tid, record.ret) == (10, 10, 3)
    assert record.args[:2] == (AT_FDCWD, 0x1234)
    assert record.entry[1].data == b"/etc/passwd" and record.entry[1].full == 11
    assert not record.exit
    assert record.start_ns == REAL + 1000 and record.end_ns == REAL + 3000
    assert log.complete and log.damage is None and len(log) == 1


def test_what_came_out_is_kept_apart_from_what_went_in(path: Path) -> None:
    call = Call(nr=0, args=(0, 0x10, 100), ret=3, pieces=[(1, 1, b"abc", 3), (1, 0, b"xyz", 3)])
    (record,) = read(path, whole(call)).records()
    assert record.exit[1].data == b"abc" and record.entry[1].data == b"xyz"


def test_header(path: Path) -> None:
    head = read(path, header(AARCH64) + END).header
    assert (head.machine, head.boot_id, head.host) == ("aarch64", "boot", "host")
    assert (head.mono0_ns, head.real0_ns, head.ns_per_tick) == (MONO, REAL, 2.0)


def test_numbers_are_those_of_the_logs_machine(path: Path) -> None:
    (record,) = read(path, header(AARCH64) + block(Call(nr=172)) + END).records()
    assert record.name == "getpid"


def test_records_are_in_order_of_their_start(path: Path) -> None:
    early = Call(nr=CLOSE, start=1001, tid=11)
    late = Call(nr=GETPID, start=9000, end=9001)
    log = read(path, segment([[late], [early]]))
    assert [record.name for record in log] == ["close", "getpid"]
    assert log.pids == {10, 11}


def test_blocks_that_overlap_are_merged(path: Path) -> None:
    blocks = [
        [Call(start=start, end=start, tid=tid) for start in range(1000 + tid, 9000, 7)]
        for tid in (3, 1, 2)
    ]
    log = read(path, segment(blocks))
    starts = [record.start_ns for record in log]
    assert starts == sorted(starts) and len(starts) == sum(map(len, blocks)) == len(log)
    assert [record.seq for record in log if record.tid == 2] == list(range(len(blocks[2])))


def test_segments_of_a_run_follow_each_other(path: Path) -> None:
    first, second = [Call(), Call(nr=CLOSE)], [Call(nr=OPENAT, start=4000, end=4001)]
    path.write_bytes(header() + block(*first) + end(is_last=False))
    assert "segments after number 0 are not among the files" in str(open_log(path).verify())
    later = Writer().block(Stretch(second, first=2))
    Path(f"{path}.1").write_bytes(header(number=1) + later + END)
    log = lsca.open_log(path)
    assert [record.nr for record in log] == [GETPID, CLOSE, OPENAT] and log.complete
    assert {record.run for record in log} == {0}
    assert "segment 0 of the run is not among" in str(open_log(f"{path}.1").verify())
    Path(f"{path}.1").write_bytes(header(number=1, run=(1, 1)) + later + END)
    assert len(open_log(path)) == 2


def test_several_runs_are_one_log(path: Path, tmp_path: Path) -> None:
    path.write_bytes(whole(Call()))
    other = tmp_path / "b.lsca"
    other.write_bytes(header(AARCH64, run=(3, 4)) + block(Call(nr=172)) + END)
    for paths in ([path, other], str(tmp_path / "*.lsca")):
        log = open_log(paths)
        assert [(record.run, record.name) for record in log] == [(0, "getpid"), (1, "getpid")]
        assert [head.machine for head in log.headers] == ["x86_64", "aarch64"]
    with pytest.raises(LscaError, match="no file matches"):
        open_log(str(tmp_path / "*.log"))
    with pytest.raises(LscaError, match="no log was named"):
        open_log([])


def test_a_log_that_grows(path: Path) -> None:
    writer = Writer()
    path.write_bytes(header() + writer.calls(Call()))
    log = open_log(path)
    mark = log.mark()
    assert not log.refresh() and len(log) == 1
    with path.open("ab") as file:
        file.write(writer.calls(Call(nr=CLOSE, start=3000, end=3001)))
    assert log.refresh() and len(log) == 2
    assert [record.nr for record in log.records(after=mark)] == [CLOSE]
    following = log.follow(every=0.01)
    assert [next(following).nr, next(following).nr] == [GETPID, CLOSE]
    with path.open("ab") as file:
        file.write(writer.calls(Call(nr=OPENAT, start=4000, end=4001)) + end(is_last=False))
    assert next(following).nr == OPENAT
    later = Writer().block(Stretch([Call(nr=EXECVE)], first=3))
    Path(f"{path}.1").write_bytes(header(number=1) + later + END)
    assert [record.nr for record in following] == [EXECVE]
    assert log.complete


def test_some_records_only(path: Path) -> None:
    calls = opened(), Call(nr=CLOSE, start=2500, tid=11), Call(nr=500, start=2600), Call(kind=3)
    log = read(path, whole(*calls))
    assert [record.nr for record in log.records(["close"], events=False)] == [CLOSE]
    assert [record.nr for record in log.records(["close"], others=True, events=False)] == [3, 500]
    assert [record.nr for record in log.records(pids=[11])] == [CLOSE]
    assert len(list(log.records(events=False))) == 3


def test_long_times_and_large_results(path: Path) -> None:
    (record,) = read(path, whole(Call(ret=0x7F0000000000, end=2000 + (1 << 40)))).records()
    assert record.ret == 0x7F0000000000 and record.end_ns - record.start_ns == 1 << 41


def test_events(path: Path) -> None:
    events = [
        Call(kind=5, pieces=[text(0, b"cat\0/etc/hosts\0")], start=1),
        Call(kind=4, args=(3,), pieces=[text(0, b"pipe:[9]")], start=2),
        Call(kind=6, args=(256,), start=3),
    ]
    log = read(path, whole(*events))
    assert [record.kind for record in log] == ["program", "fd", "status"]
    assert [record.name for record in log] == [None, None, None]


def test_a_record_that_replaces_takes_the_other_out(path: Path) -> None:
    before = Call(nr=EXECVE, flags=NO_RETURN, start=2000, end=2000)
    other = Call(nr=EXIT_GROUP, flags=NO_RETURN, start=2100, end=2100, tid=11)
    after = Call(nr=EXECVE, flags=REPLACES, start=2000, end=2200, ret=-2)
    for blocks in ([[before, other, after]], [[before], [other], [after]]):
        log = read(path, segment(blocks))
        first, second = log.records()
        assert len(log) == 2
        assert (first.name, first.ret, first.returns) == ("execve", -2, True)
        assert (second.name, second.returns) == ("exit_group", False)


# ---- loss and damage are said ----


def test_lost_records_and_uncaught_programs_are_counted(path: Path) -> None:
    log = read(path, header() + block(Call()) + end(lost=7, uncaught=2))
    assert (log.lost, log.uncaught, log.complete, log.damage) == (7, 2, False, None)
    said = str(log.verify())
    assert "7 records found no room" in said and "2 programs ran without the agent" in said


def test_a_gap_in_a_threads_numbers_is_a_loss(path: Path) -> None:
    def log(*firsts: int) -> Log:
        writer = Writer()
        stretches = [Stretch([Call(), Call()], first) for first in firsts]
        return read(path, header() + writer.block(*stretches) + end())

    assert log(0, 2).gaps == 0 and log(2, 0).complete
    assert log(0, 5).gaps == 1
    (gap,) = log(0, 5).verify().gaps
    assert (gap.thread, gap.first, gap.count, gap.twice) == (10, 2, 3, False)
    (gap,) = log(1).verify().gaps
    assert (gap.first, gap.count) == (0, 1)
    (gap,) = log(0, 1).verify().gaps
    assert (gap.first, gap.count, gap.twice) == (1, 1, True)
    report = log(0, 5, 9).verify()
    assert report.missing == 5 and not report.complete
    assert report.problems[0] == ("3 records are missing: numbers 2 to 4 of thread 10 (process 10)")


def test_a_file_without_an_end_is_read_and_said_so(path: Path) -> None:
    log = read(path, header() + block(Call(), Call()))
    assert len(log) == 2 and not log.complete and "no end block" in str(log.damage)


def test_a_whole_log_is_complete(path: Path) -> None:
    log = read(path, whole(Call(), Call()))
    assert log.complete and str(log.verify()) == "complete" and log.verify().records == 2


def test_a_file_that_was_cut_is_read_up_to_there(path: Path) -> None:
    data = segment([[Call(), Call()], [Call()]])
    first = len(header()) + len(block(Call(), Call()))
    for cut in range(first + 1, len(data) - len(END)):
        log = read(path, data[:cut])
        assert len(list(log.records())) == 2, cut
        assert f"the file ends inside a block, at byte {first}" in str(log.damage)


def test_a_changed_byte_in_a_block_ends_the_reading_there(path: Path) -> None:
    data = bytearray(segment([[Call()], [Call(nr=CLOSE)], [Call()]]))
    first = len(header()) + len(block(Call()))
    data[first + 96 + 24] ^= 1  # its process
    log = read(path, bytes(data))
    assert [record.nr for record in log.records()] == [GETPID]
    assert str(log.damage) == f"the block's check sum is wrong, at byte {first}"
    assert not log.complete and "check sum" in str(log.verify())


@pytest.mark.parametrize(
    "data",
    [b"", b"LSCALOG", b"LSCALOG\n", header()[:-1], b"\x7fELF" + bytes(400)],
    ids=["empty", "short magic", "magic only", "header cut", "other file"],
)
def test_a_file_that_is_no_log(path: Path, data: bytes) -> None:
    with pytest.raises(LscaError, match=r"a\.lsca"):
        read(path, data)


def test_a_header_this_reader_does_not_know(path: Path) -> None:
    with pytest.raises(LscaError, match="another format"):
        read(path, header(version=9))
    with pytest.raises(LscaError, match="machine unknown"):
        read(path, header(machine=40))
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(LscaError, match="damaged header"):
            read(path, header(rate=rate))


def test_a_log_of_the_version_before(path: Path) -> None:
    log = read(path, header(version=2) + block(Call(), Call(nr=CLOSE)) + END)
    assert [record.nr for record in log] == [GETPID, CLOSE] and log.complete
    with pytest.raises(LscaError, match="another format"):
        read(path, header(version=1))


def test_a_kind_of_record_that_is_not_known_yet(path: Path) -> None:
    """As a later version may write it: what is around it is read."""
    data = bytearray(block(Call(), Call(kind=STATUS, args=(7,)), Call(nr=CLOSE)))
    shape = 96 + 48 + 32  # the second one, behind the block's head, its run and the first shape
    assert data[shape + 2] == STATUS
    data[shape + 2] = 200
    log = read(path, header() + checked(bytes(data)) + END)
    assert [(record.kind, record.nr) for record in log] == [
        ("call", GETPID),
        ("kind 200", GETPID),
        ("call", CLOSE),
    ]
    assert log.complete and len(log.rings()) == 0
    show_all(log)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LscaError, match="No such file"):
        open_log(tmp_path / "none")
    with pytest.raises(LscaError, match="Is a directory"):
        open_log(tmp_path)


CALLS = (opened(), Call(nr=500, start=1), Call(kind=2), Call(flags=NO_RETURN), Call(flags=FOREIGN))


def show_all(log: Log) -> None:
    style = Style(log.header.machine)
    assert str(log.verify())
    for record in log:
        as_text(record, style)
        json.loads(as_json(record, style))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_damage_breaks_the_reader(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.lsca"
    raw = bytearray(segment([CALLS, CALLS[:2]]))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(8, len(raw) - 8))
        new = data.draw(st.binary(min_size=1, max_size=8))
        raw[at : at + len(new)] = new
    cut = data.draw(st.integers(0, len(raw)))
    path.write_bytes(bytes(raw[: cut or None]))
    try:
        log = open_log(path)
    except LscaError:
        return
    show_all(log)


@settings(max_examples=200, deadline=None)
@given(tail=st.binary(max_size=400))
def test_nothing_after_a_header_breaks_the_reader(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.lsca"
    show_all(read(path, header() + tail))


# ---- lines ----


def test_a_line_is_straces(path: Path) -> None:
    assert lines(path, whole(opened())) == ['openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 3']
    assert lines(path, whole(Call(nr=CLOSE, args=(3,)))) == [f"{'close(3)':<40}= 0"]
    (line,) = lines(path, whole(Call(nr=CLOSE, args=(9,), ret=-9)))
    assert line.endswith("= -1 EBADF (Bad file descriptor)")


def test_what_does_not_return_has_a_question_mark(path: Path) -> None:
    (line,) = lines(path, whole(Call(nr=EXIT_GROUP, args=(0,), flags=NO_RETURN, end=2000)))
    assert line.split() == ["exit_group(0)", "=", "?"]
    (line,) = lines(path, whole(Call(nr=CLOSE, args=(0,), flags=RESTARTS, ret=-512)))
    assert line.endswith("= ? ERESTARTSYS (To be restarted)")


def test_numbers_without_a_row(path: Path) -> None:
    assert by_name("syscall_0x1ff") is None
    (line,) = lines(path, whole(Call(nr=511, args=(1, 2), ret=-38)))
    assert line.startswith("syscall_0x1ff(0x1, 0x2, 0") and "= -1 ENOSYS (" in line
    (line,) = lines(path, whole(Call(nr=20, flags=FOREIGN, ret=10)))
    assert line.startswith("i386:syscall_0x14(")


def test_beginnings_and_ends(path: Path) -> None:
    begun = Call(kind=2, args=(9,), start=1), Call(kind=2, args=(9, 1), start=2)
    assert lines(path, whole(*begun, Call(kind=3, start=3))) == [
        "+++ started by 9 +++",
        "+++ started a new image +++",
        "+++ exited +++",
    ]


def test_everything_around_a_call(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = next(read(path, whole(opened(route=PROXY, start=62_500, end=68_500))).records())
    (line,) = lines(path, path.read_bytes(), Style("x86_64", clock="epoch"))
    call = 'openat(AT_FDCWD, "/etc/passwd", O_RDONLY)'
    assert line == f"10    1700000000.000123 {call} = 3 <0.000012> [proxy]"
    line = as_text(record, Style("x86_64", clock="relative"), REAL)
    assert line.startswith("10        0.000123 openat(")
    for clock, shown_clock in (("seconds", "??:??:?? "), ("micros", "??:??:??.")):
        far = Record(**{**{n: getattr(record, n) for n in record.__slots__}, "start_ns": 1 << 90})
        assert shown_clock in as_text(far, Style("x86_64", clock=clock))  # type: ignore[arg-type]


def test_json(path: Path) -> None:
    (record,) = read(path, whole(opened(route=PROXY))).records()
    fact = json.loads(as_json(record, Style("x86_64")))
    assert (fact["name"], fact["ret"], fact["route"]) == ("openat", 3, "proxy")
    assert fact["entry"] == {"1": {"text": "/etc/passwd"}}
    odd = Call(nr=0, args=(0, 1, 9), ret=1, pieces=[(1, 3, b"\xff", 9)])
    (record,) = read(path, whole(odd)).records()
    assert json.loads(as_json(record, Style("x86_64")))["exit"] == {"1": {"hex": "ff", "full": 9}}


def test_json_says_what_cost_a_signal(path: Path) -> None:
    records = read(path, whole(Call(flags=16), Call(flags=8, start=4000))).records()
    style = Style("x86_64")
    assert [json.loads(as_json(record, style))["trapped"] for record in records] == [True, False]


# ---- the verb ----


def shown(capsys: pytest.CaptureFixture[str], *argv: str) -> list[str]:
    assert main(list(argv)) == 0
    return capsys.readouterr().out.splitlines()


def test_the_verb(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_bytes(whole(opened(), Call(start=2500), Call(nr=CLOSE, start=2600, tid=11)))
    file = str(path)
    assert all(line.endswith("[kernel]") for line in shown(capsys, file))
    names = [line.split()[1].partition("(")[0] for line in shown(capsys, "--plain", file)]
    assert names == ["openat", "getpid", "close"]
    (line,) = shown(capsys, "-e", "trace=close", file)
    assert "close(" in line and line.startswith("11 ")
    assert len(shown(capsys, "-e", "trace=!close,openat", file)) == 1
    assert len(shown(capsys, "-e", "close", "-p", "10", file)) == 0
    assert len(shown(capsys, "-p", "10", file)) == 2
    assert [json.loads(line)["name"] for line in shown(capsys, "--json", file)] == names
    with pytest.raises(LscaError, match="no such system call"):
        main(["-e", "trace=opne", file])
    with pytest.raises(LscaError, match="a log shows what has happened"):
        main(["-e", "inject=close", file])


def test_one_process_needs_no_number(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_bytes(whole(Call()))
    assert shown(capsys, "--plain", str(path))[0].startswith("getpid()")
    assert shown(capsys, "--plain", "-f", str(path))[0].startswith("10    getpid()")


def test_the_verb_says_what_is_missing(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = Writer().block(Stretch([Call()], first=3))
    path.write_bytes(header() + blocks + block(Call())[:-1])
    assert main([str(path)]) == 0
    said = capsys.readouterr().err
    assert "inside a block" in said and "missing at 1 place" in said


def test_head_ends_quietly(path: Path) -> None:
    path.write_bytes(whole(*[Call()] * 5000))
    program = "import sys; from lsca.cli.log import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reader:
        assert reader.stdout is not None and reader.stderr is not None
        reader.stdout.readline()
        reader.stdout.close()
        assert reader.stderr.read() == b""
        assert reader.wait() == 0


def test_what_is_no_file(tmp_path: Path) -> None:
    """Said at once: a pipe that nobody writes to is not waited for."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(LogError, match="is a pipe or a device, not a file"):
            open_log(path)

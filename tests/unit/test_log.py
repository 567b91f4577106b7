# SPDX-License-Identifier: Apache-2.0
"""Reading logs: files made by hand, whole, in odd orders, cut short, and damaged at random.

Proves that a reader gets what was written, in order of time, that loss and damage are always said, and that no file
whatever makes the reader fail with anything but LscaError.
"""

import json
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsca.cli.log import main
from lsca.errors import LscaError
from lsca.log import Log, Record, Style, as_json, as_text, read_log
from lsca.table import by_name

MONO, REAL = 5_000_000_000, 1_700_000_000_000_000_000
X86_64, AARCH64 = 62, 183
CLOSE, GETPID, OPENAT, EXIT_GROUP, EXECVE = 3, 39, 257, 231, 59
KERNEL, PROXY = 0, 1
AT_FDCWD = (1 << 64) - 100
NO_RETURN, REPLACES, FOREIGN, RESTARTS = 1, 2, 4, 8
END = struct.pack("<IIIIQ", 0xFFFFFFFF, 0, 0, 0, 0)


@dataclass
class Call:
    """One record to be written; ticks are of 2 ns and begin at 1000."""

    nr: int = GETPID
    args: tuple[int, ...] = ()
    ret: int = 0
    start: int = 2000
    end: int = 3000
    tid: int = 10
    route: int = KERNEL
    kind: int = 1
    flags: int = 0
    pieces: list[tuple[int, int, bytes, int]] = field(default_factory=list)

    def packed(self) -> bytes:
        tail = b""
        for arg, flags, data, full in self.pieces:
            tail += struct.pack("<BBHI", arg, flags, len(data), full)
            tail += data + bytes(-len(data) % 8)
        return (
            struct.pack(
                "<IHBBIIIIQQq6Q",
                96 + len(tail),
                self.nr,
                self.route,
                self.kind,
                self.tid,
                self.tid,
                self.flags,
                len(self.pieces),
                self.start,
                self.end,
                self.ret,
                *(self.args + (0,) * 6)[:6],
            )
            + tail
        )


def header(machine: int = X86_64, version: int = 1, rate: float = 2.0) -> bytes:
    return struct.pack(
        "<8sIIQQQd40s64s", b"LSCALOG\n", version, machine, 1000, MONO, REAL, rate, b"boot", b"host"
    )


def block(*calls: Call, lease: int = 1, offset: int = 0) -> bytes:
    data = b"".join(call.packed() for call in calls)
    return struct.pack("<IIIIQ", len(data), 10, 10, offset, lease) + data


def whole(*calls: Call) -> bytes:
    return header() + block(*calls) + END


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.lsca"


def read(path: Path, data: bytes) -> Log:
    path.write_bytes(data)
    return read_log(path)


def lines(path: Path, data: bytes, style: Style | None = None) -> list[str]:
    style = style or Style("x86_64", clock="none", duration=False, route=False, pid=False)
    return [as_text(record, style) for record in read(path, data)]


def opened(**more: int) -> Call:
    name = b"/etc/passwd"
    return Call(
        nr=OPENAT, args=(AT_FDCWD, 0x1234, 0, 0), ret=3, pieces=[(1, 0, name, len(name))], **more
    )


# ---- what was written is read ----


def test_a_record_comes_back(path: Path) -> None:
    log = read(path, whole(opened(route=PROXY, start=1500, end=2500)))
    (record,) = log.records
    assert (record.name, record.nr, record.route, record.kind) == ("openat", 257, "proxy", "call")
    assert (record.pid, record.tid, record.ret) == (10, 10, 3)
    assert record.args[:2] == (AT_FDCWD, 0x1234)
    assert record.entry[1].data == b"/etc/passwd" and record.entry[1].full == 11
    assert not record.exit
    assert record.start_ns == REAL + 1000 and record.end_ns == REAL + 3000
    assert log.complete and log.damage is None and len(log) == 1


def test_what_came_out_is_kept_apart_from_what_went_in(path: Path) -> None:
    call = Call(nr=0, args=(0, 0x10, 100), ret=3, pieces=[(1, 1, b"abc", 3), (1, 0, b"xyz", 3)])
    (record,) = read(path, whole(call)).records
    assert record.exit[1].data == b"abc" and record.entry[1].data == b"xyz"


def test_header(path: Path) -> None:
    head = read(path, header(AARCH64) + END).header
    assert (head.machine, head.boot_id, head.host) == ("aarch64", "boot", "host")
    assert (head.mono0_ns, head.real0_ns, head.ns_per_tick) == (MONO, REAL, 2.0)


def test_numbers_are_those_of_the_logs_machine(path: Path) -> None:
    (record,) = read(path, header(AARCH64) + block(Call(nr=172)) + END).records
    assert record.name == "getpid"


def test_records_are_in_order_of_their_start(path: Path) -> None:
    early, late = Call(nr=CLOSE, start=1001, tid=11), Call(nr=GETPID, start=9000)
    log = read(path, header() + block(late, lease=1) + block(early, lease=2) + END)
    assert [record.name for record in log] == ["close", "getpid"]
    assert log.pids == {10, 11}


def test_a_record_that_replaces_takes_the_other_out(path: Path) -> None:
    before = Call(nr=EXECVE, flags=NO_RETURN, start=2000, end=0)
    other = Call(nr=EXIT_GROUP, flags=NO_RETURN, start=2100, end=0, tid=11)
    after = Call(nr=EXECVE, flags=REPLACES, start=2000, end=2200, ret=-2)
    first, second = read(path, whole(after, other, before)).records
    assert (first.name, first.ret, first.returns) == ("execve", -2, True)
    assert (second.name, second.returns) == ("exit_group", False)


# ---- loss and damage are said ----


def test_lost_records_and_uncaught_programs_are_counted(path: Path) -> None:
    end = struct.pack("<IIIIQ", 0xFFFFFFFF, 2, 0, 0, 7)
    log = read(path, header() + block(Call()) + end)
    assert (log.lost, log.uncaught, log.complete, log.damage) == (7, 2, False, None)


def test_a_gap_in_a_lease_is_a_loss(path: Path) -> None:
    log = read(path, header() + block(Call()) + block(Call(), offset=96) + END)
    assert log.gaps == 0 and log.complete
    log = read(path, header() + block(Call()) + block(Call(), offset=192) + END)
    assert log.gaps == 1 and not log.complete and len(log) == 2
    log = read(path, header() + block(Call(), offset=96) + END)
    assert log.gaps == 1


def test_a_file_without_an_end_is_read_and_said_so(path: Path) -> None:
    log = read(path, header() + block(Call(), Call()))
    assert len(log) == 2 and not log.complete and "no end mark" in str(log.damage)


@pytest.mark.parametrize(
    ("cut", "records", "words"),
    [(10, 0, "inside a block"), (24 + 95, 0, "inside a record"), (24 + 96, 1, "inside a record")],
)
def test_a_file_that_was_cut_is_read_up_to_there(
    path: Path, cut: int, records: int, words: str
) -> None:
    log = read(path, header() + block(Call(), Call())[:cut])
    assert len(list(log.records)) == records and words in str(log.damage)


def test_a_record_of_an_impossible_size_ends_the_reading(path: Path) -> None:
    for size in (0, 8, 97, 104 + 96, 1 << 31):
        second = struct.pack("<I", size) + Call().packed()[4:]
        data = Call().packed() + second
        log = read(path, header() + struct.pack("<IIIIQ", len(data), 1, 1, 0, 1) + data + END)
        assert len(log) == 1 and "makes no sense" in str(log.damage)


@pytest.mark.parametrize(
    "data",
    [b"", b"LSCALOG", b"LSCALOG\n", header()[:-1], b"\x7fELF" + bytes(400)],
    ids=["empty", "short magic", "magic only", "header cut", "other file"],
)
def test_a_file_that_is_no_log(path: Path, data: bytes) -> None:
    with pytest.raises(LscaError, match=r"a\.lsca"):
        read(path, data)


def test_a_header_this_reader_does_not_know(path: Path) -> None:
    with pytest.raises(LscaError, match="format 9"):
        read(path, header(version=9))
    with pytest.raises(LscaError, match="ELF 40"):
        read(path, header(machine=40))
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(LscaError, match="damaged header"):
            read(path, header(rate=rate))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LscaError, match="No such file"):
        read_log(tmp_path / "none")
    with pytest.raises(LscaError, match="Is a directory"):
        read_log(tmp_path)


CALLS = (opened(), Call(nr=500, start=1), Call(kind=2), Call(flags=NO_RETURN), Call(flags=FOREIGN))


def show_all(log: Log) -> None:
    style = Style(log.header.machine)
    for record in log:
        as_text(record, style)
        json.loads(as_json(record, style))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_damage_breaks_the_reader(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.lsca"
    raw = bytearray(whole(*CALLS))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(8, len(raw) - 8))
        new = data.draw(st.binary(min_size=1, max_size=8))
        raw[at : at + len(new)] = new
    cut = data.draw(st.integers(0, len(raw)))
    path.write_bytes(bytes(raw[: cut or None]))
    try:
        log = read_log(path)
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
    (line,) = lines(path, whole(Call(nr=EXIT_GROUP, args=(0,), flags=NO_RETURN, end=0)))
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
    record = next(read(path, whole(opened(route=PROXY, start=62_500, end=68_500))).records)
    (line,) = lines(path, path.read_bytes(), Style("x86_64", clock="epoch"))
    call = 'openat(AT_FDCWD, "/etc/passwd", O_RDONLY)'
    assert line == f"10    1700000000.000123 {call} = 3 <0.000012> [proxy]"
    line = as_text(record, Style("x86_64", clock="relative"), REAL)
    assert line.startswith("10        0.000123 openat(")
    for clock, text in (("seconds", "??:??:?? "), ("micros", "??:??:??.")):
        far = Record(**{**{n: getattr(record, n) for n in record.__slots__}, "start_ns": 1 << 90})
        assert text in as_text(far, Style("x86_64", clock=clock))  # type: ignore[arg-type]


def test_json(path: Path) -> None:
    (record,) = read(path, whole(opened(route=PROXY))).records
    fact = json.loads(as_json(record, Style("x86_64")))
    assert (fact["name"], fact["ret"], fact["route"]) == ("openat", 3, "proxy")
    assert fact["entry"] == {"1": {"text": "/etc/passwd"}}
    odd = Call(nr=0, args=(0, 1, 9), ret=1, pieces=[(1, 3, b"\xff", 9)])
    (record,) = read(path, whole(odd)).records
    assert json.loads(as_json(record, Style("x86_64")))["exit"] == {"1": {"hex": "ff", "full": 9}}


def test_json_says_what_cost_a_signal(path: Path) -> None:
    records = read(path, whole(Call(flags=16), Call(flags=8, start=4000))).records
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
    path.write_bytes(header() + block(Call(), offset=96)[:-1])
    assert main([str(path)]) == 0
    said = capsys.readouterr().err
    assert "inside a record" in said and "missing at 1 place" in said


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

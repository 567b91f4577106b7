# SPDX-License-Identifier: Apache-2.0
"""`lsca log` beyond what strace can confirm: clocks, colours, files written, a run that still goes on, bad input."""

import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

import segments
from lsca.cli.logoptions import parse
from lsca.errors import UsageError
from reading_logs import LSCA, Lsca, Made

TIME = {
    (): r"\d\d:\d\d:\d\d\.\d{6} ",
    ("-t",): r"\d\d:\d\d:\d\d ",
    ("-tt",): r"\d\d:\d\d:\d\d\.\d{6} ",
    ("-ttt",): r"\d{10}\.\d{6} ",
    ("-r",): r" +\d+\.\d{6} ",
    ("--relative-timestamps",): r" +\d+\.\d{6} ",
    ("--relative-timestamps=ns",): r" +\d+\.\d{9} ",
    ("-t", "-r"): r"\d\d:\d\d:\d\d \(\+ +\d+\.\d{6}\) ",
    ("--absolute-timestamps=unix,ns",): r"\d{10}\.\d{9} ",
    ("--absolute-timestamps=format:time,precision:ms",): r"\d\d:\d\d:\d\d\.\d{3} ",
    ("--timestamps=none",): r"",
    ("--plain",): r"",
}


@pytest.mark.parametrize("options", TIME)
def test_clocks(lsca: Lsca, single: Made, options: tuple[str, ...]) -> None:
    out = lsca("log", *options, "-e", "openat", single.log).stdout
    assert all(re.match(TIME[options] + r"openat\(", line) for line in out.splitlines())


@pytest.mark.parametrize(
    ("option", "pattern"),
    [
        ("-T", r"\d+\.\d{6}"),
        ("--syscall-times=ns", r"\d+\.\d{9}"),
        ("--syscall-times=ms", r"\d+\.\d{3}"),
    ],
)
def test_durations(lsca: Lsca, single: Made, option: str, pattern: str) -> None:
    out = lsca("log", "--plain", option, "-e", "openat", single.log).stdout
    assert all(re.search(f" <{pattern}>$", line) for line in out.splitlines())
    assert not re.search("<.*>$", lsca("log", "--plain", single.log).stdout, re.M)


def test_where_the_result_stands(lsca: Lsca, single: Made) -> None:
    out = lsca("log", "--plain", "-a", "60", "-e", "close", single.log).stdout
    assert {line.index(" = ") for line in out.splitlines()} == {59}


def test_processes_have_numbers_and_ends(lsca: Lsca, family: Made) -> None:
    out = lsca("log", "--plain", family.log).stdout
    ends = re.findall(r"^(\d+) +\+\+\+ exited with (\d+)", out, re.M)
    assert [code for _, code in ends] == ["3", "5"]
    first = ends[-1][0]
    mine = lsca("log", "--plain", "-p", first, family.log).stdout.splitlines()
    assert mine and all(line.startswith(first) for line in mine)
    assert "+++" not in lsca("log", "--plain", "-qq", family.log).stdout
    assert "+++" not in lsca("log", "--plain", "-e", "quiet=exit", family.log).stdout


def test_descriptors_by_number(lsca: Lsca, single: Made) -> None:
    out = lsca("log", "--plain", "-e", "fd=50", single.log).stdout
    assert [line.partition("(")[0] for line in out.splitlines()] == [
        "fcntl",
        "lseek",
        "read",
        "close",
    ]


def test_paths_by_pattern_and_directory(lsca: Lsca, single: Made) -> None:
    by_name = lsca("log", "--plain", "-P", "miss*", single.log).stdout
    assert [line.partition("(")[0] for line in by_name.splitlines()] == ["openat"] * 3 + ["access"]


def test_sockets_have_addresses(lsca: Lsca, single: Made) -> None:
    out = lsca("log", "--plain", "-yy", "-e", "connect,sendto,bind", single.log).stdout
    assert re.search(r"sendto\(\d+<TCP:\[.*->127\.0\.0\.1:\d+\]>, \"request\"", out)
    assert re.search(r"sendto\(\d+<socket:\[#\d+\]>, \"hello\"", out)


def test_output_goes_to_files(lsca: Lsca, family: Made, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = lsca("log", "--plain", "-o", out, family.log)
    assert done.stdout == "" and "openat(" in out.read_text()
    size = out.stat().st_size
    lsca("log", "--plain", "-A", "-o", out, family.log)
    assert out.stat().st_size == 2 * size
    lsca("log", "--plain", "-ff", "-o", out, family.log)
    apart = sorted(tmp_path.glob("out.*"))
    assert len(apart) == 3
    assert all(not re.match(r"\d+ ", path.read_text()) for path in apart)


def test_json(lsca: Lsca, single: Made) -> None:
    out = lsca("log", "--json", "-y", "-e", "openat", "-Z", single.log).stdout
    facts = [json.loads(line) for line in out.splitlines()]
    assert {fact["error"] for fact in facts} == {"ENOENT"}
    assert [fact["paths"] for fact in facts] == [[str(single.directory / "missing")]] * 3
    counts = [
        json.loads(line) for line in lsca("log", "--json", "-c", single.log).stdout.splitlines()
    ]
    assert next(row for row in counts if row["name"] == "openat")["errors"] == 3


def test_calls_and_counts(lsca: Lsca, single: Made) -> None:
    lines = lsca("log", "--plain", "-C", "-e", "close", single.log).stdout.splitlines()
    assert lines[0].startswith("close(") and lines[-1].endswith("total")
    assert lines[-1].split()[-2] == str(sum(line.startswith("close(") for line in lines))


def test_a_reader_that_has_seen_enough(family: Made) -> None:
    command = f"{' '.join(LSCA)} log {family.log} | head -n 1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1


# ---- colours ----


@pytest.mark.parametrize(
    ("options", "environment", "coloured"),
    [
        ([], {}, True),
        ([], {"NO_COLOR": "1"}, False),
        ([], {"TERM": "dumb"}, False),
        (["--color=never"], {}, False),
        (["--color=always"], {"NO_COLOR": "1"}, True),
        (["-o", "/dev/stdout"], {}, False),
    ],
)
def test_colours_on_a_terminal(
    single: Made, options: list[str], environment: dict[str, str], coloured: bool
) -> None:
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", **environment}
    if "NO_COLOR" not in environment:
        env.pop("NO_COLOR", None)
    with subprocess.Popen(
        [*LSCA, "log", "-e", "access", *options, single.log], stdout=theirs, env=env
    ) as child:
        os.close(theirs)
        child.wait(30)
    out = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "access" in out and ("\033[" in out) == coloured


def test_no_colours_in_a_pipe(lsca: Lsca, single: Made) -> None:
    assert "\033" not in lsca("log", single.log).stdout
    coloured = lsca("log", "--color=always", single.log).stdout
    assert re.sub(r"\033\[\d+m", "", coloured) == lsca("log", single.log).stdout


# ---- a run that goes on ----


def test_follow_waits_for_the_end(tmp_path: Path) -> None:
    log = tmp_path / "log.lsca"
    log.touch()
    writer = segments.Writer()
    opened = segments.Call(
        nr=257, args=(segments.AT_FDCWD, 1, 0, 0), ret=3, pieces=[segments.text(1, b"a")]
    )
    last = segments.Call(nr=84, args=(1,), start=9000, end=9100, pieces=[segments.text(0, b"last")])
    command = [*LSCA, "log", "--plain", "-e", "openat,rmdir", "--follow", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout
        with log.open("ab", buffering=0) as file:
            file.write(
                segments.header() + writer.calls(opened, segments.Call(start=5000, end=5100))
            )
            assert reader.stdout.readline().startswith('openat(AT_FDCWD, "a", O_RDONLY)')
            assert reader.poll() is None
            file.write(writer.calls(last))
            assert reader.stdout.readline().startswith('rmdir("last")')
            file.write(segments.end())
        assert reader.stdout.read() == ""
        assert reader.wait(30) == 0


def test_verify(lsca: Lsca, family: Made, tmp_path: Path) -> None:
    done = lsca("log", "--verify", family.log)
    assert done.returncode == 0 and "complete" in done.stdout and "3 processes" in done.stdout
    cut = tmp_path / "cut.lsca"
    cut.write_bytes(Path(family.log).read_bytes()[:-30])
    done = lsca("log", "--verify", cut)
    assert done.returncode == 1 and "complete" not in done.stdout


# ---- bad input ----


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-k", "x"], "stacks are not in a log"),
        (["-i", "x"], "a log does not have that"),
        (["-E", "A=b", "x"], "env VAR=VALUE lsca run"),
        (["-u", "me", "x"], "setpriv"),
        (["-b", "execve", "x"], "-p chooses"),
        (["-D", "x"], "lsca run"),
        (["-Y", "x"], "lsca tree"),
        (["--inject=all:error=EIO", "x"], "lsca run"),
        (["-e", "inject=close:error=EIO", "x"], "a log shows what has happened"),
        (["-e", "fault=close", "x"], "a log shows what has happened"),
        (["-e", "signal=SIGCHLD", "x"], "-e trace=%signal"),
        (["-e", "nonsense=1", "x"], "there is no 'nonsense'"),
        (["-e", "trace=opne", "x"], "did you mean open"),
        (["-e", "trace=%nonsense", "x"], "no such class or family"),
        (["-e", "trace=/[", "x"], "not a regular expression"),
        (["-e", "trace=/^nothing$", "x"], "no system call matches"),
        (["-e", "trace=read@32", "x"], "leave out the @32"),
        (["-e", "status=good", "x"], "there are successful, failed, unfinished"),
        (["-e", "status=detached", "x"], "nothing is ever detached"),
        (["-e", "fd=one", "x"], "numbers are wanted"),
        (["-p", "me", "x"], "numbers are wanted"),
        (["-P", "", "x"], "wants a path"),
        (["-s", "many", "x"], "not a number"),
        (["-S", "size", "x"], "no such column"),
        (["-U", "size", "x"], "no such column"),
        (["--relative-timestamps=h", "x"], "there are s, ms, us, ns"),
        (["--absolute-timestamps=noon", "x"], "none, time or unix"),
        (["--strings-in-hex=some", "x"], "there are none, non-ascii-chars"),
        (["--color=blue", "x"], "invalid choice"),
        (["-ff", "x"], "it wants -o FILE"),
        (["-ff", "-c", "-o", "y", "x"], "-c counts all processes together"),
        (["-A", "x"], "it wants -o FILE"),
        (["-c", "--follow", "x"], "use one of them"),
        (["--nonsense", "x"], "lsca log --help"),
        ([], "no file is named"),
    ],
)
def test_what_is_not_understood_is_explained(words: list[str], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(words)
    assert says in str(caught.value)
    assert caught.value.exit_code == 125


def test_files_that_are_no_logs(lsca: Lsca, tmp_path: Path) -> None:
    for verb in ("log", "tree", "files", "sql"):
        done = lsca(verb, tmp_path / "missing")
        assert done.returncode == 125 and "No such file" in done.stderr
        done = lsca(verb, __file__)
        assert done.returncode == 125 and "not a log of lsca" in done.stderr


def test_output_that_cannot_be_written(lsca: Lsca, single: Made) -> None:
    done = lsca("log", "-o", "/nowhere/out", single.log)
    assert done.returncode == 125
    assert done.stderr == "lsca: cannot write /nowhere/out: No such file or directory\n"
    done = lsca("log", "-o", "|cat", single.log)
    assert done.returncode == 125 and "lsca ... | cat" in done.stderr

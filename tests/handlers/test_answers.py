# SPDX-License-Identifier: Apache-2.0
"""What a Python function can do with a call: see it, answer it, change it, have it made; in both routes, for every way
in which a program can make a call."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from handling import GO_ON, asks, outcome, running

from lsca import _native
from lsca.rules import Ask, Return, Rule

PPID = Rule(calls=("getppid",), verdict=Ask(), id=7)
OPENS = ("openat", "open")
Request = _native.Request


def below(path: Path, *calls: str) -> Rule:
    return Rule(calls=calls, path=f"{path}/**", verdict=Ask())


def test_go_on_return_and_fail(route: str) -> None:
    answers = iter([GO_ON, (1, 42), (1, -errno.EDOM)])
    lines = outcome([PPID], lambda q: next(answers), asks(), "ppid", "ppid", "ppid", route=route)
    assert lines == ["getppid: 1", "getppid: 42", "getppid: 1"]


def test_kill(route: str) -> None:
    with running([PPID], lambda q: (2, signal.SIGUSR1), asks(), "ppid", route=route) as run:
        assert run.end() == []
        assert run.process.returncode == -signal.SIGUSR1


def test_what_a_request_says(route: str) -> None:
    seen: list[tuple[int, ...]] = []

    def note(q: Request) -> tuple[int, int]:
        seen.append((q.nr, q.args[0], q.pid, q.tid, q.rule, q.interrupted))
        return (1, 2 * q.args[0])

    rule = Rule(calls=("getpgid",), verdict=Ask(), id=99)
    with running([rule], note, asks(), "threads", "1", route=route) as run:
        assert run.end() == ["right: 1", "quickly: 1"]
    ((nr, arg, pid, tid, rule_id, interrupted),) = seen
    assert (nr, arg, rule_id, interrupted) == (
        121 if os.uname().machine == "x86_64" else 155,
        1000,
        99,
        False,
    )
    assert pid > 0 < tid != pid


def test_strings(route: str, tmp_path: Path) -> None:
    seen: list[bytes] = []

    def note(q: Request) -> tuple[int, int]:
        seen.extend((q.string(0), q.string(1)) if len(seen) < 2 else ())
        return GO_ON

    (tmp_path / "a").write_text("")
    lines = outcome(
        [below(tmp_path, "rename")],
        note,
        asks(),
        "rename",
        f"{tmp_path}/a",
        f"{tmp_path}/b",
        route=route,
    )
    assert lines == ["rename: 0"]
    assert seen == [f"{tmp_path}/a".encode(), f"{tmp_path}/b".encode()]


def test_buffers_that_are_read(route: str, tmp_path: Path) -> None:
    seen: list[bytes] = []

    def note(q: Request) -> tuple[int, int]:
        seen.append(q.memory(1))
        assert q.memory(1) == seen[-1]
        return GO_ON

    rules = [below(tmp_path, "write", "writev"), Rule(calls=("sendmsg",), verdict=Ask())]
    argv = [
        "write",
        f"{tmp_path}/w",
        "small",
        "vectors",
        f"{tmp_path}/v",
        "messages",
        "large",
        f"{tmp_path}/l",
    ]
    lines = outcome(rules, note, asks(), *argv, route=route)
    assert lines[0] == "write: 5"
    assert lines[-2] == "write: 1048576"
    large = bytes((i * 7 + i // 256) % 256 for i in range(1 << 20))
    assert seen == [b"small", b"onetwothree", b"hello there", large]


def test_buffers_that_are_filled(route: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("the real contents")

    def fill(q: Request) -> tuple[int, int]:
        with pytest.raises(ValueError, match="not one that the call fills"):
            q.fill(0 if q.nr in (0, 63) else 2, b"x")
        return (1, q.fill(1, b"made up by python"))

    rules = [below(tmp_path, "read", "readv"), Rule(calls=("recvmsg",), verdict=Ask())]
    argv = ["print", f"{tmp_path}/file", "vectors", f"{tmp_path}/v", "messages"]
    assert outcome(rules, fill, asks(), *argv, route=route) == [
        "open: [made up by python]",
        "writev: 11", "readv: 17", "first: [made]", "second: [ up by p]", "third: [ython]",
        "sendmsg: 11", "recvmsg: 17", "first: [made ]", "second: [up by python]",
    ]  # fmt: skip


def test_a_large_buffer_is_filled(route: str, tmp_path: Path) -> None:
    data = os.urandom(1 << 20)
    rule = below(tmp_path, "pread64")
    lines = outcome(
        [rule], lambda q: (1, q.fill(1, data)), asks(), "large", f"{tmp_path}/l", route=route
    )
    assert lines == [
        "write: 1048576",
        f"sum: {sum(b * (i % 1000 + 1) for i, b in enumerate(data))}",
    ]


def test_proceed_and_another_result(route: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("the real contents")

    def shout(q: Request) -> tuple[int, int]:
        n = q.proceed()
        text = q.memory(1)
        assert (n, text) == (17, b"the real contents")
        q.fill(1, text.upper())
        return (1, n - 9)

    lines = outcome(
        [below(tmp_path, "read")], shout, asks(), "print", f"{tmp_path}/file", route=route
    )
    assert lines == ["open: [THE REAL]"]


def test_proceed_and_go_on(route: str, tmp_path: Path) -> None:
    """It is made once, and what it gave is the result."""
    results: list[int] = []

    def once(q: Request) -> tuple[int, int]:
        results.append(q.proceed())
        return GO_ON

    path = tmp_path / "file"
    assert outcome(
        [below(tmp_path, "write")], once, asks(), "write", str(path), "abc", route=route
    ) == ["write: 3"]
    assert results == [3]
    assert path.read_text() == "abc"


def test_proceed_with_other_arguments(route: str, tmp_path: Path) -> None:
    path = tmp_path / "file"

    def shorter(q: Request) -> tuple[int, int]:
        return (1, q.proceed([q.args[0], q.args[1] + 1, 2]))

    assert outcome(
        [below(tmp_path, "write")], shorter, asks(), "write", str(path), "abcd", route=route
    ) == ["write: 2"]
    assert path.read_text() == "bc"


@pytest.mark.parametrize("size", [5, 5000, 300_000])
def test_replaced_memory(route: str, tmp_path: Path, size: int) -> None:
    """Whatever takes the place of the program's own may be of any size."""
    new = (b"0123456789" * (size // 10 + 1))[:size]

    def other(q: Request) -> tuple[int, int]:
        with pytest.raises(ValueError, match="points to nothing that the call only reads"):
            q.proceed(replace={0: b"x"})
        return (1, q.proceed(replace={1: new}))

    rules = [below(tmp_path, "write", "writev"), Rule(calls=("sendmsg",), verdict=Ask())]
    argv = ["write", f"{tmp_path}/w", "abcd", "vectors", f"{tmp_path}/v"]
    argv += ["messages"] if size < 100_000 else []
    lines = outcome(rules, other, asks(), *argv, route=route)
    assert lines[:2] == [f"write: {size}", f"writev: {size}"]
    assert (tmp_path / "w").read_bytes() == new
    assert (tmp_path / "v").read_bytes() == new
    if size < 100:
        assert lines[6:] == ["sendmsg: 5", "recvmsg: 5", "first: [01234]", "second: []"]


def test_another_path(route: str, tmp_path: Path) -> None:
    (tmp_path / "real").write_text("from elsewhere")
    rule = Rule(calls=OPENS, path="/not/there", verdict=Ask())

    def other(q: Request) -> tuple[int, int]:
        at = 1 if q.nr in (257, 56) else 0
        assert q.string(at) == b"/not/there"
        return (1, q.proceed(replace={at: f"{tmp_path}/real".encode()}))

    assert outcome([rule], other, asks(), "print", "/not/there", route=route) == [
        "open: [from elsewhere]"
    ]


def test_a_file_that_only_python_has(route: str) -> None:
    rule = Rule(calls=OPENS, path="/not/there", verdict=Ask())

    def made(q: Request) -> tuple[int, int]:
        fd = os.memfd_create("contents")
        try:
            os.write(fd, b"written by python")
            return (1, q.open(fd, os.O_RDONLY | os.O_CLOEXEC))
        finally:
            os.close(fd)

    assert (
        outcome([rule], made, asks(), "print", "/not/there", "print", "/not/there", route=route)
        == ["open: [written by python]"] * 2
    )


def test_memory_of_the_program(route: str, tmp_path: Path) -> None:
    def reach(q: Request) -> tuple[int, int]:
        assert q.read(q.args[1], 3) == b"abc"
        assert q.write(q.args[1], b"ABC") == 3
        for bad in (lambda: q.read(8, 4), lambda: q.write(8, b"x")):
            with pytest.raises(OSError) as caught:
                bad()
            assert caught.value.errno == errno.EFAULT
        with pytest.raises(IndexError):
            q.memory(3)
        return GO_ON

    path = tmp_path / "file"
    # The text of an argument lies on the stack, and may be written to.
    assert outcome(
        [below(tmp_path, "write")], reach, asks(), "write", str(path), "abcd", route=route
    ) == ["write: 4"]
    assert path.read_text() == "ABCd"


def test_every_way_to_make_a_call(route: str) -> None:
    """Raw instructions, sites that have become jumps, static programs, children of vfork, spawn and fork."""
    for static in (False, True):
        lines = outcome(
            [PPID], lambda q: (1, 42), asks(static=static),
            "ppid", "raw", "many", "2000", "vfork", "spawn", route=route,
        )  # fmt: skip
        assert lines == ["getppid: 42", "raw: 42", "many: 2000", *["getppid: 42", "child: 0"] * 2]


def test_children_of_a_shell(route: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    rule = Rule(calls=OPENS, path=f"{tmp_path}/secret", verdict=Ask())
    script = f"cat {tmp_path}/secret; (cat < {tmp_path}/secret) || echo no | cat; exec cat {tmp_path}/secret"
    with running([rule], lambda q: (1, -errno.EACCES), "/bin/sh", "-c", script, route=route) as run:
        assert run.end() == ["no"]
        assert run.err.count("Permission denied") == 3


def test_sleeping_handlers_overlap(route: str) -> None:
    busy: set[int] = set()
    most = 0
    lock = threading.Lock()

    def slow(q: Request) -> tuple[int, int]:
        nonlocal most
        with lock:
            busy.add(q.tid)
            most = max(most, len(busy))
        time.sleep(0.4)
        with lock:
            busy.discard(q.tid)
        return (1, 2 * q.args[0])

    rule = Rule(calls=("getpgid",), verdict=Ask())
    assert outcome([rule], slow, asks(), "threads", "64", route=route) == [
        "right: 64",
        "quickly: 1",
    ]
    assert most > 32


def test_more_callers_than_threads() -> None:
    rule = Rule(calls=("getpgid",), verdict=Ask())

    def slow(q: Request) -> tuple[int, int]:
        time.sleep(0.01)
        return (1, 2 * q.args[0])

    with running([rule], slow, asks(), "threads", "100", threads=2) as run:
        assert run.end() == ["right: 100", "quickly: 1"]


def test_every_call_gets_its_own_answer(route: str) -> None:
    rule = Rule(calls=("getpgid",), verdict=Ask())
    lines = outcome(
        [rule], lambda q: (1, 2 * q.args[0]), asks(), "tokens", "50", "8000", route=route
    )
    assert lines == ["wrong: 0"]


def test_every_open_is_caught(route: str) -> None:
    rule = Rule(calls=OPENS, path="/dev/null", verdict=Ask())
    count = 0

    def note(q: Request) -> tuple[int, int]:
        nonlocal count
        count += 1
        return (1, -errno.ENOANO)

    assert outcome([rule], note, asks(), "opens", "/dev/null", "5000", route=route) == [
        "failed: 5000"
    ]
    assert count == 5000


def test_forks_execs_and_exits(route: str) -> None:
    seen: list[str] = []

    def note(q: Request) -> tuple[int, int]:
        if q.rule == 1:
            seen.append("fork")
            with pytest.raises(NotImplementedError, match="own context"):
                q.proceed()
            return GO_ON if seen.count("fork") > 1 else (1, -errno.EAGAIN)
        if q.rule == 2:
            with pytest.raises(NotImplementedError, match="does not return"):
                q.proceed()
            seen.append(f"exit {q.args[0]}")
            return (1, -1)
        path = q.string(0)
        result = q.proceed()
        seen.append(f"{os.path.basename(path).decode()} {result}")
        if not result:
            with pytest.raises(ProcessLookupError):
                q.read(q.args[0], 1)
        return GO_ON

    rules = [
        Rule(calls=("fork", "clone", "clone3"), verdict=Ask(), id=1),
        Rule(calls=("exit_group",), verdict=Ask(), id=2),
        Rule(calls=("execve",), process="**/asks", verdict=Ask(), id=3),
    ]
    lines = outcome(
        rules, note, asks(), "fork", "fork", "exec", "/not/there", "exec", asks(), route=route
    )
    assert lines == ["fork: EAGAIN", "fork: 1", "exec: ENOENT", "getppid: 1"]
    assert sorted(seen) == sorted(
        ["fork", "fork", "exit 0", f"there -{errno.ENOENT}", "asks 0", "exit 0"]
    )


def test_the_return_from_a_signal_is_watched(route: str) -> None:
    seen: list[int] = []
    script = (
        "import signal, time\nhits = []\nsignal.signal(14, lambda *_: hits.append(1))\n"
        "signal.setitimer(0, 0.05, 0.05)\nwhile len(hits) < 5: time.sleep(0.01)\n"
        "signal.setitimer(0, 0)\nprint('back')"
    )
    rule = Rule(calls=("rt_sigreturn",), verdict=Ask())
    with running(
        [rule],
        lambda q: (seen.append(q.tid), (1, -5))[1],
        sys.executable,
        "-S",
        "-c",
        script,
        route=route,
    ) as run:
        assert run.end() == ["back"]
        assert not run.errors
    assert len(seen) >= 5


def test_a_handler_that_raises(route: str) -> None:
    def broken(q: Request) -> tuple[int, int]:
        raise LookupError("planned")

    for deny, line in ((False, "spawn"), (True, "")):
        with running(
            [Rule(calls=("chdir",), verdict=Ask())],
            broken,
            asks(),
            "chdir",
            "/",
            deny=deny,
            route=route,
        ) as run:
            assert run.end() == ["chdir: EPERM" if deny else "chdir: 0"], line
            assert [type(error) for error in run.errors] == [LookupError]


@pytest.mark.parametrize("answer", [None, 5, (1,), (3, 0), (2, 0), (2, 99), (1, "x"), (1, -512)])
def test_answers_that_are_none(answer: object) -> None:
    with running(
        [Rule(calls=("chdir",), verdict=Ask())], lambda q: answer, asks(), "chdir", "/"
    ) as run:  # type: ignore[arg-type, return-value]
        assert run.end() == ["chdir: 0"]
        assert len(run.errors) == 1


def test_a_request_that_is_kept() -> None:
    kept: list[Request] = []
    outcome([PPID], lambda q: (kept.append(q), GO_ON)[1], asks(), "ppid")
    with pytest.raises(RuntimeError, match="request is over"):
        kept[0].read(0, 1)
    assert kept[0].interrupted
    assert kept[0].rule == 7


def test_the_log_names_the_route(route: str, tmp_path: Path) -> None:
    answers = iter([(1, 42), GO_ON, (1, 42)])
    log = tmp_path / "log"
    rules = [PPID, Rule(calls=("chdir",), verdict=Return(-errno.EIO))]
    with running(
        rules,
        lambda q: next(answers),
        asks(),
        "ppid",
        "ppid",
        "chdir",
        "/",
        route=route,
        log=str(log),
    ) as run:
        run.end()
    done = subprocess.run(
        [sys.executable, "-m", "lsca", "log", "--json", str(log)], capture_output=True, check=True
    )
    records = [json.loads(line) for line in done.stdout.splitlines()]
    found = [
        (r["name"], r["route"], r["ret"]) for r in records if r.get("name") in ("getppid", "chdir")
    ]
    assert [(name, where) for name, where, ret in found] == [
        ("getppid", "handler"), ("getppid", "kernel"), ("chdir", "handler"),
    ]  # fmt: skip
    assert found[0][2] == 42
    assert found[2][2] == -errno.EIO


def test_a_server_that_nobody_stops() -> None:
    """The interpreter may end with it, at once."""
    script = (
        "from lsca import _native\nfd = _native.session_create(False, None, handlers=True)[0]\n"
        "server = _native.serve(fd, lambda q: (0, 0))\n"
    )
    before = time.monotonic()
    subprocess.run([sys.executable, "-c", script], check=True, timeout=20)
    assert time.monotonic() - before < 1.5


def test_run_serves_for_its_length(capfd: pytest.CaptureFixture[str]) -> None:
    from lsca.rules import compile_rules
    from lsca.session import AGENT, PROXY

    fd = _native.session_create(False, None, handlers=True)[0]
    _native.rules_set(fd, compile_rules([PPID]))
    try:
        argv = [os.fsencode(asks()), b"ppid", b"vfork"]
        done = _native.run(
            fd, argv, [], os.fsencode(AGENT), os.fsencode(PROXY), serve=lambda q: (1, 42)
        )
        assert done == (0, 0, "")
        again = _native.serve(fd, lambda q: GO_ON)
        with pytest.raises(OSError) as busy:
            _native.serve(fd, lambda q: GO_ON)
        assert busy.value.errno == errno.EBUSY
        again.stop()
        again.stop()
    finally:
        os.close(fd)
    assert capfd.readouterr().out.splitlines() == ["getppid: 42", "getppid: 42", "child: 0"]

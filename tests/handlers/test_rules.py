# SPDX-License-Identifier: Apache-2.0
"""What the agent decides by rules alone: each condition, each action, both routes, and rules that change meanwhile."""

import errno
import os
import socket
import time
from pathlib import Path

import pytest
from handling import asks, outcome, running

from lsca import _native
from lsca.errors import RuleError
from lsca.rules import Address, Ask, Compare, Kill, Return, Rule, When, compile_rules

OPENS = ("openat", "open")


def test_an_errno_by_path(route: str, tmp_path: Path) -> None:
    (tmp_path / "a.wal").write_text("log")
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.wal").write_text("below")
    rule = Rule(calls=OPENS, path=f"{tmp_path}/*.wal", verdict=Return(-errno.EIO))
    argv = [
        "print",
        f"{tmp_path}/a.wal",
        "print",
        f"{tmp_path}/./deep/..//a.wal",
        "print",
        f"{tmp_path}/a.txt",
    ]
    argv += [
        "print",
        f"{tmp_path}/deep/b.wal",
        "chdir",
        str(tmp_path),
        "print",
        "a.wal",
        "print",
        "deep/../a.wal",
    ]
    assert outcome([rule], None, asks(), *argv, route=route) == [
        "open: EIO", "open: EIO", "open: [text]", "open: [below]", "chdir: 0", "open: EIO", "open: EIO",
    ]  # fmt: skip


def test_a_path_that_a_descriptor_stands_for(route: str, tmp_path: Path) -> None:
    rule = Rule(calls=("write",), path=f"{tmp_path}/full*", verdict=Return(-errno.ENOSPC))
    argv = ["write", f"{tmp_path}/full-1", "x", "write", f"{tmp_path}/empty", "xy"]
    assert outcome([rule], None, asks(), *argv, route=route) == ["write: ENOSPC", "write: 2"]


def test_numbers_and_descriptors(route: str) -> None:
    rules = [
        Rule(
            calls=("getpgid",),
            tests=(Compare("pid", ">=", 1000), Compare("pid", "<", 1010)),
            verdict=Return(-errno.EACCES),
        ),
        Rule(calls=("getppid",), verdict=Return(42)),
    ]
    with running(rules, None, asks(), "ppid", "raw", "many", "3000", route=route) as run:
        assert run.end() == ["getppid: 42", "raw: 42", "many: 3000"]
    closed = Rule(calls=("close",), fds=((700, 800),), verdict=Return(0))
    assert outcome([closed], None, "/bin/sh", "-c", "exec 9</dev/null; exec 9<&-; echo good") == [
        "good"
    ]


def test_answers_in_place_are_no_hiding_place(route: str) -> None:
    """getpid is answered by the agent itself, from memory, once it has been asked."""
    rule = Rule(calls=("getpid",), verdict=Return(42))
    assert outcome([rule], None, asks(), *["pid"] * 5, route=route) == ["getpid: 42"] * 5


def test_when(route: str) -> None:
    rule = Rule(calls=("getppid",), when=When(3, 7, 2), verdict=Return(42))
    lines = outcome([rule], None, asks(), *["ppid"] * 10, route=route)
    assert [number for number, line in enumerate(lines, 1) if line == "getppid: 42"] == [3, 5, 7]


def test_counted_in_each_process() -> None:
    rule = Rule(
        calls=("getppid",), process="**/asks", when=When(1, 1, per="process"), verdict=Return(42)
    )
    assert outcome([rule], None, asks(), "ppid", "spawn", "ppid") == [
        "getppid: 42", "getppid: 42", "child: 0", "getppid: 1",
    ]  # fmt: skip


def test_chance_follows_its_seed() -> None:
    def of(seed: int) -> list[str]:
        rule = Rule(calls=("getppid",), chance=0.3, seed=seed, verdict=Return(42))
        return outcome([rule], None, asks(), *["ppid"] * 200)

    first = of(1)
    assert 30 < first.count("getppid: 42") < 90
    assert of(1) == first != of(2)


def test_after_bytes(route: str, tmp_path: Path) -> None:
    """The disk is full after ten bytes: what fits is written, the rest is not."""
    path = tmp_path / "file"
    rule = Rule(calls=("write",), path=str(path), after_bytes=10, verdict=Return(-errno.ENOSPC))
    argv = ["write", str(path), "123456"] * 3
    assert outcome([rule], None, asks(), *argv, route=route) == [
        "write: 6",
        "write: 4",
        "write: ENOSPC",
    ]
    assert path.read_text() == "1234561234"


def test_short_reads_and_writes(route: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    rules = [Rule(calls=("write", "writev", "readv"), path=f"{tmp_path}/*", most=4)]
    assert outcome(rules, None, asks(), "write", str(path), "123456", "vectors", str(path), route=route) == [
        "write: 4", "writev: 4", "readv: 4", "first: [onet]", "second: []", "third: []",
    ]  # fmt: skip


def test_paths_that_move(route: str, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_text("moved")
    (tmp_path / "other").write_text("stays")
    rules = [
        Rule(
            calls=(*OPENS, "rename", "renameat", "renameat2"),
            move=("/nowhere/at/all", f"{tmp_path}/real"),
        )
    ]
    argv = [
        "print",
        "/nowhere/at/all/file",
        "print",
        f"{tmp_path}/other",
        "print",
        "/nowhere/at/allfile",
    ]
    argv += ["rename", "/nowhere/at/all/file", "/nowhere/at/all/new"]
    assert outcome(rules, None, asks(), *argv, route=route) == [
        "open: [moved]", "open: [stays]", "open: ENOENT", "rename: 0",
    ]  # fmt: skip
    assert (tmp_path / "real" / "new").read_text() == "moved"


def test_addresses(route: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        denied = Rule(
            calls=("connect",),
            address=Address(network="127.0.0.0/8", ports=(1, 1)),
            verdict=Return(-errno.ENETUNREACH),
        )
        sent = Rule(
            calls=("connect",),
            address=Address(family="inet", ports=(2, 9)),
            redirect=Address(network="127.0.0.1", ports=(port, port)),
        )
        lines = outcome(
            [denied, sent],
            None,
            asks(),
            "connect",
            "1",
            "connect",
            "5",
            "connect",
            str(port),
            route=route,
        )
        assert lines == [
            "connect: ENETUNREACH",
            "connect: 0",
            f"peer: {port}",
            "connect: 0",
            f"peer: {port}",
        ]


def test_delays(route: str) -> None:
    before = time.monotonic()
    rules = [
        Rule(calls=("getppid",), delay=0.2),
        Rule(calls=("getppid",), delay_after=0.1, verdict=Return(42)),
    ]
    assert outcome(rules, None, asks(), "ppid", route=route) == ["getppid: 42"]
    assert time.monotonic() - before > 0.3


@pytest.mark.parametrize("restart", ["0", "1"])
def test_a_delay_goes_on_after_a_signal(route: str, restart: str) -> None:
    before = time.monotonic()
    lines = outcome(
        [Rule(calls=("getppid",), delay=0.5)], None, asks(), "interrupted", restart, route=route
    )
    assert lines == ["getppid: 1", "signals: 1", "soon: 1"]
    assert 0.5 < time.monotonic() - before < 5


def test_signals_and_kills(route: str) -> None:
    with running(
        [Rule(calls=("getppid",), verdict=Kill(15))], None, asks(), "ppid", route=route
    ) as run:
        assert run.end() == []
        assert run.process.returncode == -15
    with running([Rule(calls=("getppid",), signal=10)], None, asks(), "ppid", route=route) as run:
        assert run.end() == []
        assert run.process.returncode == -10


def test_forks_and_execs(route: str) -> None:
    rules = [
        Rule(
            calls=("fork", "vfork", "clone", "clone3"),
            when=When(1, 1),
            verdict=Return(-errno.EAGAIN),
        ),
        Rule(calls=("execve",), path="/bin/false", verdict=Return(-errno.EACCES)),
        Rule(calls=("execve",), move=("/no/where", str(Path(asks()).parent))),
    ]
    lines = outcome(
        rules,
        None,
        asks(),
        "fork",
        "fork",
        "exec",
        "/bin/false",
        "exec",
        "/no/where/asks",
        route=route,
    )
    assert lines == ["fork: EAGAIN", "fork: 1", "exec: EACCES", "getppid: 1"]


def test_rules_change_while_programs_run(route: str) -> None:
    """Also for a call that the agent's own code makes, hundreds of times, before it looks around."""
    with running(
        [Rule(calls=("getpgid",), verdict=Return(1))], None, asks(), "until", route=route
    ) as run:
        time.sleep(0.3)
        for _ in range(50):
            _native.rules_set(
                run.session, compile_rules([Rule(calls=("getppid",), verdict=Return(41))])
            )
            _native.rules_set(run.session, compile_rules([]))
        assert run.process.poll() is None
        _native.rules_set(
            run.session, compile_rules([Rule(calls=("getppid",), verdict=Return(42))])
        )
        assert run.end(20) == ["until: 42"]


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        (Rule(calls=("opnat",)), "there is no call 'opnat'; did you mean openat?"),
        (Rule(calls=("getpid",), path="/x"), "getpid: it has neither a path nor a descriptor"),
        (
            Rule(calls=("exit_group",), verdict=Return(0)),
            "exit_group: it does not return to its caller",
        ),
        (Rule(calls=("fork",), most=1), "fork: it is made in the program's own context"),
        (Rule(calls=("read",), address=Address()), "read: it is given no socket address"),
        (Rule(calls=("openat",), most=1), "openat: it has no buffer"),
        (
            Rule(calls=("openat",), tests=(Compare("path", "==", 1),)),
            "its arguments: dirfd, pathname, flags, mode",
        ),
        (Rule(calls=("write", "openat"), tests=()), ""),
        (
            Rule(calls=("connect",), address=Address(network="1.2.3")),
            "'1.2.3' is no network address",
        ),
        (
            Rule(calls=("connect",), redirect=Address(ports=(1, 1))),
            "another address is one address",
        ),
        (Rule(calls=("openat",), move=("x", "/y")), "x: paths are moved by an absolute path"),
        (Rule(calls=("openat",), when=When(0)), "they count from 1"),
        (Rule(calls=("openat",), chance=1.5), "a chance of 1.5"),
        (Rule(calls=("openat",), path="x" * 300_000), "a session holds 262144"),
        (Rule(calls=()), "a rule without calls"),
    ],
)
def test_mistakes_are_named(rule: Rule, what: str) -> None:
    if not what:
        compile_rules([rule])
        return
    with pytest.raises(RuleError) as caught:
        compile_rules([rule])
    assert what in str(caught.value)


def test_bytes_that_are_no_rules() -> None:
    fd = _native.session_create(False, None, handlers=True)[0]
    good = compile_rules([Rule(calls=("openat",), path="/x", verdict=Ask())])
    try:
        _native.rules_set(fd, good)
        for bad in (b"", good[:100], good[:-8], good + bytes(8), bytes(len(good))):
            with pytest.raises(ValueError, match="these rules cannot be used"):
                _native.rules_set(fd, bad)
        for at in range(0, len(good), 4):
            bad = bytearray(good)
            bad[at : at + 4] = b"\xff\xff\xff\xff"
            try:
                _native.rules_set(fd, bytes(bad))
            except ValueError as error:
                assert "these rules cannot be used" in str(error)
    finally:
        os.close(fd)
    plain = _native.session_create(False, None)[0]
    with pytest.raises(ValueError, match="made without handlers"):
        _native.rules_set(plain, good)
    os.close(plain)

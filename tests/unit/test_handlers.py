# SPDX-License-Identifier: Apache-2.0
"""Proves what rules and handlers decide: which calls are meant, the order, the verdicts, and what errors do.

With calls that no program makes (tests/waiting.py); tests/handlers has programs.
"""

import errno
import io
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

import lsca
from lsca import calls as c
from lsca.errors import HandlerError
from lsca.handlers import Handlers
from lsca.handlers.conditions import Chance, counted, glob, where
from lsca.handlers.dispatch import OnError
from lsca.live.address import Address
from waiting import Room, Waiting

GO_ON = (0, 0)


def openat(path: str, flags: int = 0, **more: Any) -> Waiting:
    return Waiting(c.openat, -100, path, flags, 0, **more)


def write(data: bytes, fd: int = 1, **more: Any) -> Waiting:
    return Waiting(c.write, fd, data, len(data), **more)


def ask(waiting: Waiting, *sources: object, on_error: OnError = "go_on") -> tuple[int, int]:
    handlers = Handlers(*sources, on_error=on_error)
    try:
        return handlers(waiting)
    finally:
        handlers.close()


# ---- which calls ----------------------------------------------------------------------------------------------------


def test_calls_by_row_name_class_and_expression() -> None:
    names = {row.__name__ for row in lsca.on(c.openat, "rename", "%stat", "/^fa", p=1).rows}
    assert {"openat", "rename", "stat", "fallocate", "faccessat"} <= names
    assert "read" not in names
    assert {row.__name__ for row in lsca.on("read,write").rows} == {"read", "write"}


@pytest.mark.parametrize(
    ("pattern", "path", "is_match"),
    [
        ("/etc/shadow", "/etc/shadow", True),
        ("/etc/*", "/etc/shadow", True),
        ("/etc/*", "/etc/ssl/certs", False),
        ("/etc/**", "/etc/ssl/certs", True),
        ("/a/**/b", "/a/b", True),
        ("/a/**/b", "/a/x/y/b", True),
        ("/a/**/b", "/a/xb", False),
        ("*.wal", "/data/x.wal", True),
        ("*.wal", "/data/x.wal.bak", False),
        ("data/*.db", "/srv/data/x.db", True),
        ("/f?[a-c]", "/f1b", True),
        ("/f?[!a-c]", "/f1b", False),
        ("/f?[!a-c]", "/f1/", False),
        ("/a\\*", "/a*", True),
        ("/a\\*", "/ab", False),
        ("/a.c", "/abc", False),
        ("/[", "/[", True),
    ],
)
def test_path_patterns(pattern: str, path: str, is_match: bool) -> None:
    assert bool(glob(pattern).fullmatch(path)) is is_match


def test_path_of_a_descriptor(tmp_path: Path) -> None:
    rule = lsca.on("write", path=f"{tmp_path}/**").fail("ENOSPC")
    with open(tmp_path / "f", "w") as f:
        assert ask(write(b"x", f.fileno()), rule) == (1, -errno.ENOSPC)
    assert ask(write(b"x", 1), rule) == GO_ON


def test_either_path_of_two() -> None:
    rule = lsca.on(c.rename, path="/b").fail("EPERM")
    assert ask(Waiting(c.rename, "/a", "/b"), rule) == (1, -errno.EPERM)
    assert ask(Waiting(c.rename, "/a", "/c"), rule) == GO_ON


@pytest.mark.parametrize(
    ("text", "address", "is_match"),
    [
        ("127.0.0.1", "127.0.0.1:80", True),
        ("127.0.0.1:80", "127.0.0.1:81", False),
        ("10.0.0.0/8:80-90", "10.9.8.7:85", True),
        ("10.0.0.0/8", "11.0.0.1:85", False),
        (":443", "[2001:db8::1]:443", True),
        ("*:443", "1.2.3.4:444", False),
        ("127.0.0.1:80", "[::ffff:127.0.0.1]:80", True),
        ("[::1]:53", "[::1]:53", True),
        ("[2001:db8::]/32", "[2001:db8:1::1]:53", True),
        ("localhost:5", "127.0.0.9:5", True),
        ("/run/*.sock", "/run/x.sock", True),
        ("@x*", "@xyz", True),
        (":80", "/run/x", False),
    ],
)
def test_addresses(text: str, address: str, is_match: bool) -> None:
    assert where(text).matches(Address.of(address)) is is_match


def test_address_of_a_call() -> None:
    rule = lsca.on(c.connect, address="10.0.0.0/8").fail("ECONNREFUSED")
    sin = Address.of("10.1.1.1:80").pack()
    assert ask(Waiting(c.connect, 3, sin, 16), rule) == (1, -errno.ECONNREFUSED)
    assert ask(Waiting(c.connect, 3, Address.of("9.1.1.1:80").pack(), 16), rule) == GO_ON


def test_flags() -> None:
    creating = lsca.on(c.openat, flags="O_CREAT|O_WRONLY").fail("EROFS")
    assert ask(openat("/a", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), creating) != GO_ON
    assert ask(openat("/a", os.O_CREAT | os.O_RDWR), creating) == GO_ON
    assert ask(openat("/a", os.O_CREAT), lsca.on(c.openat, flags=os.O_CREAT).fail(1)) != GO_ON
    reading = lsca.on(c.openat, flags="O_RDONLY").fail("EACCES")
    assert ask(openat("/a", os.O_CLOEXEC), reading) != GO_ON
    assert ask(openat("/a", os.O_WRONLY), reading) == GO_ON


def test_descriptor_process_and_predicate() -> None:
    assert ask(write(b"", 2), lsca.on("write", fd=[1, 2]).fail(5)) == (1, -5)
    assert ask(write(b"", 3), lsca.on("write", fd=[1, 2]).fail(5)) == GO_ON
    assert ask(write(b""), lsca.on("write", process=os.getpid()).fail(5)) == (1, -5)
    assert ask(write(b""), lsca.on("write", process="python*").fail(5)) == (1, -5)
    assert ask(write(b""), lsca.on("write", process="git").fail(5)) == GO_ON
    small = lsca.on(c.write, when=lambda call: call.count < 3).fail(5)
    assert ask(write(b"ab"), small) == (1, -5)
    assert ask(write(b"abc"), small) == GO_ON


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("3", [3]),
        ("2..4", [2, 3, 4]),
        ("3+", [3, 4, 5, 6, 7, 8]),
        ("2+3", [2, 5, 8]),
        ("1..6+2", [1, 3, 5]),
        ("2..5+", [2, 3, 4, 5]),
    ],
)
def test_counts(text: str, chosen: list[int]) -> None:
    count = counted(text)
    assert [n for n in range(1, 9) if count.includes(n)] == chosen


def test_only_calls_that_fit_are_counted() -> None:
    rule = lsca.on("openat", path="/b", count=2).fail(5)
    handlers = Handlers(rule)
    paths = ["/b", "/a", "/a", "/b", "/b"]
    assert [handlers(openat(path))[1] for path in paths] == [0, 0, 0, -5, 0]
    handlers.close()


def test_each_run_counts_for_itself() -> None:
    rule = lsca.on("write", count=2).fail(5)
    chance = lsca.on("write", p=0.5, seed=3).fail(5)
    for one in (rule, chance):
        runs = []
        for _ in range(2):
            handlers = Handlers(one)
            runs.append([handlers(write(b""))[1] for _ in range(20)])
            handlers.close()
        assert runs[0] == runs[1]


def test_what_stays_goes_on_counting_when_rules_are_replaced() -> None:
    stays, goes = lsca.on("write", count=3).fail(5), lsca.on("read").fail(5)
    handlers = Handlers(goes, stays)
    handlers(write(b""))
    handlers.replace([stays])
    assert [handlers(write(b""))[1] for _ in range(3)] == [0, -5, 0]
    handlers.close()


def test_counted_per_thread_and_call() -> None:
    rule = lsca.on("read,write", count=2, per="thread").fail(5)
    handlers = Handlers(rule)
    me = os.getpid()
    calls = [write(b"", tid=me), write(b"", tid=me + 1), Waiting(c.read, 0, Room(1), 1, tid=me)]
    assert [handlers(call)[1] for call in [*calls, *calls]] == [0, 0, 0, -5, -5, -5]
    handlers.close()


def test_the_same_seed_gives_the_same_calls() -> None:
    first, again, other = Chance(0.5, 7), Chance(0.5, 7), Chance(0.5, 8)
    one = [first() for _ in range(200)]
    assert one == [again() for _ in range(200)]
    assert one != [other() for _ in range(200)]
    assert 60 < sum(one) < 140


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({}, "lsca.on wants to know which calls"),
        ({"calls": ["opnat"]}, "no system call 'opnat'; near to it: openat"),
        ({"calls": ["%flie"]}, "no class of calls %flie; near to it: file"),
        ({"calls": [7]}, "lsca.on wants rows or names of calls, not 7"),
        ({"calls": ["getpid"], "path": "/a"}, "path= has no meaning for getpid, which has no path"),
        ({"calls": ["read"], "flags": "O_CREAT"}, "flags= has no meaning for read"),
        ({"calls": ["openat"], "flags": "O_CREATE"}, "no 'O_CREATE'; near to it: O_CREAT"),
        ({"calls": ["connect"], "address": "example.org:80"}, "names are not looked up"),
        ({"calls": ["connect"], "address": "1.2.3.4:99999"}, "ports are 1 to 65535"),
        ({"calls": ["read"], "count": "x"}, r"is written first\[..last\]"),
        ({"calls": ["read"], "count": "5..3"}, "the last one is before the first"),
        ({"calls": ["read"], "p": 2}, "a probability is from 0 to 1, not 2"),
        ({"calls": ["read"], "fd": "1"}, "fd= wants a number or several"),
        ({"calls": ["read"], "when": "3+"}, "how often is count="),
        ({"calls": ["read"], "per": "day"}, "no per='day'; there are session, process, thread"),
    ],
)
def test_wrong_conditions(words: dict[str, Any], message: str) -> None:
    with pytest.raises(HandlerError, match=message):
        lsca.on(*words.pop("calls", []), **words)


# ---- verdicts -------------------------------------------------------------------------------------------------------


def test_verdicts_of_a_handler() -> None:
    for verdict, answer in (
        (lsca.go_on, GO_ON),
        (lsca.ret(7), (1, 7)),
        (lsca.fail("ENOENT"), (1, -errno.ENOENT)),
        (lsca.fail(errno.EIO), (1, -errno.EIO)),
        (lsca.kill(), (2, signal.SIGKILL)),
        (lsca.kill("SIGTERM"), (2, signal.SIGTERM)),
    ):
        assert ask(write(b""), lsca_handler(verdict)) == answer


def lsca_handler(verdict: lsca.Verdict) -> object:
    @lsca.on(c.write)
    def handler(call: c.write) -> lsca.Verdict:
        return verdict

    return handler


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lsca.fail("ENOENTT"), "no errno 'ENOENTT'; near to it: ENOENT"),
        (lambda: lsca.fail(0), "a number from 1 to 4095, not 0"),
        (lambda: lsca.kill("SIGTREM"), "no signal 'SIGTREM'; near to it: SIGTERM"),
        (lambda: lsca.kill(99), "a number from 1 to 64"),
        (lambda: lsca.ret("x"), "lsca.ret wants a number, not str"),
        (lambda: lsca.on("read").fail("EIO").ret(1), "this rule has its verdict already"),
        (lambda: lsca.on("read").fail("EIO", after_bytes=-1), "after_bytes is a number of bytes"),
        (lambda: lsca.on("read").sleep(-1), "a delay is a number of seconds, not -1"),
        (lambda: lsca.on("read").cut(0), "cut to a number of bytes, not to 0"),
        (lambda: lsca.on("read").fail("EIO")(lambda call: lsca.go_on), "not both"),
    ],
)
def test_wrong_verdicts(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_the_first_verdict_that_is_not_go_on_wins() -> None:
    asked = []

    @lsca.on(c.write)
    def first(call: c.write) -> lsca.Verdict:
        asked.append("first")
        return lsca.go_on

    @lsca.on(c.write)
    def second(call: c.write) -> lsca.Verdict:
        asked.append("second")
        return lsca.ret(2)

    @lsca.on(c.write)
    def third(call: c.write) -> lsca.Verdict:
        asked.append("third")
        return lsca.ret(3)

    assert ask(write(b""), first, second, third) == (1, 2)
    assert asked == ["first", "second"]


def test_a_result_is_passed_on() -> None:
    @lsca.on(c.write)
    def makes(call: c.write) -> lsca.Verdict:
        call.proceed()
        return lsca.go_on

    seen = []

    @lsca.on(c.write)
    def sees(call: c.write) -> lsca.Verdict:
        seen.append(call.result)
        return lsca.go_on

    assert ask(write(b"abc", make=lambda *_: 2), makes, sees) == (1, 2)
    assert seen == [2]


def test_what_was_replaced_is_made() -> None:
    @lsca.on(c.openat)
    def elsewhere(call: c.openat) -> lsca.Verdict:
        call.replace(path="/b")
        return lsca.go_on

    waiting = openat("/a", make=lambda *_: 5)
    assert ask(waiting, elsewhere) == (1, 5)
    assert waiting.made[0][1] == {1: b"/b"}


def test_a_file_as_the_answer(tmp_path: Path) -> None:
    @lsca.on(c.openat)
    def fake(call: c.openat) -> lsca.Verdict:
        return lsca.file("nobody\n" if call.path == "/a" else open(__file__, "rb").read())

    waiting = openat("/a", os.O_RDONLY | os.O_CLOEXEC)
    assert ask(waiting, fake) == (1, 101)
    assert waiting.opened == [(b"nobody\n", os.O_CLOEXEC)]


def test_a_file_where_no_descriptor_is_returned() -> None:
    handlers = Handlers(lsca_handler(lsca.file(b"")))
    assert handlers(write(b"")) == GO_ON
    assert "write does not" in handlers.reports[0].error
    handlers.close()


def test_a_file_may_be_given_in_many_ways(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"on disk")
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    with open(tmp_path / "f", "rb") as opened:
        for content, data in (
            (b"bytes", b"bytes"),
            ("text", b"text"),
            (io.BytesIO(b"in memory"), b"in memory"),
            (opened, b"on disk"),
            (fd, b"on disk"),
        ):

            @lsca.on(c.openat)
            def fake(call: c.openat, content: Any = content) -> lsca.Verdict:
                return lsca.file(content)

            waiting = openat("/a")
            assert ask(waiting, fake) == (1, 101)
            assert waiting.opened[0][0] == data
    os.close(fd)


def test_async_handlers_share_one_loop() -> None:
    import asyncio

    both = threading.Barrier(2)
    names = set()

    @lsca.on(c.write)
    async def handler(call: c.write) -> lsca.Verdict:
        names.add(threading.current_thread().name)
        await asyncio.to_thread(both.wait, 10)
        return lsca.ret(call.count)

    handlers = Handlers(handler)
    answers: list[tuple[int, int]] = []
    threads = [
        threading.Thread(target=lambda n=n: answers.append(handlers(write(b"x" * n))))  # type: ignore[misc]
        for n in (1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [(1, 1), (1, 2)]
    assert names == {"lsca-async"}
    handlers.close()


def test_sleep() -> None:
    @lsca.on(c.write)
    def slow(call: c.write) -> lsca.Verdict:
        assert lsca.sleep(0.25)
        return lsca.go_on

    @lsca.on(c.write)
    async def wrong(call: c.write) -> lsca.Verdict:
        lsca.sleep(1)
        return lsca.go_on

    waiting = write(b"")
    assert ask(waiting, slow) == GO_ON
    assert waiting.slept == [0.25]
    handlers = Handlers(wrong)
    handlers(write(b""))
    assert "await asyncio.sleep" in handlers.reports[0].error
    handlers.close()


# ---- rules without Python -------------------------------------------------------------------------------------------


def test_delays_and_their_order() -> None:
    waiting = write(b"abc", make=lambda *_: 3)
    assert ask(waiting, lsca.on("write").sleep(0.1, after=0.2)) == (1, 3)
    assert waiting.slept == [0.1, 0.2]
    waiting = write(b"abc")
    assert ask(waiting, lsca.on("write").sleep(0.1), lsca.on("write").fail("EIO")) == (1, -5)
    assert waiting.slept == [0.1]


def test_a_full_device() -> None:
    rule = lsca.on("write,pwrite64").fail("ENOSPC", after_bytes=10)
    handlers = Handlers(rule)
    results = [
        handlers(write(b"x" * n, make=lambda waiting, args, _: args[2])) for n in (4, 4, 4, 4)
    ]
    assert results == [(1, 4), (1, 4), (1, 2), (1, -errno.ENOSPC)]
    handlers.close()


def test_what_was_not_written_does_not_fill_a_device() -> None:
    handlers = Handlers(lsca.on("write").fail("ENOSPC", after_bytes=4))
    assert handlers(write(b"abcd", make=lambda *_: -errno.EINTR)) == (1, -errno.EINTR)
    assert handlers(write(b"abcd", make=lambda *_: 4)) == (1, 4)
    handlers.close()


def test_cut() -> None:
    waiting = write(b"abcdef", make=lambda waiting, args, _: args[2])
    assert ask(waiting, lsca.on("write").cut(2)) == (1, 2)
    waiting = Waiting(c.read, 0, Room(9), 9, make=lambda waiting, args, _: args[2])
    assert ask(waiting, lsca.on("read").cut(3)) == (1, 3)

# SPDX-License-Identifier: Apache-2.0
"""Proves the grammar of `inject=` and `fault=`: what each option does, and that a wrong one is shown where it is."""

import errno
import os
import signal
import struct
from pathlib import Path
from typing import Any

import pytest

from lsca import calls as c
from lsca.handlers import Handlers
from lsca.handlers.agent import compile_rules
from lsca.services import faults
from lsca.services.expressions import ExpressionError, compile_expression
from waiting import Room, Waiting

GO_ON = (0, 0)


def openat(path: str = "/a", flags: int = 0, **more: Any) -> Waiting:
    return Waiting(c.openat, -100, path, flags, 0, **more)


def write(data: bytes, fd: int = 1, **more: Any) -> Waiting:
    return Waiting(c.write, fd, data, len(data), **more)


def ask(waiting: Waiting, *texts: str, seed: int | None = None) -> tuple[int, int]:
    handlers = Handlers(faults.rules(*texts, seed=seed))
    answer = handlers(waiting)
    assert handlers.reports == []
    handlers.close()
    return answer


def test_error_and_retval() -> None:
    assert ask(openat(), "inject=openat:error=ENOENT") == (1, -errno.ENOENT)
    assert ask(openat(), "inject=openat:error=5") == (1, -5)
    assert ask(openat(), "inject=openat:retval=0x10") == (1, 16)
    assert ask(openat(), "inject=%file:error=EIO") == (1, -errno.EIO)
    assert ask(openat(), "inject=!openat:error=EIO") == GO_ON
    assert ask(openat(), "inject=?nothing,open,openat:error=EIO") == (1, -errno.EIO)


def test_fault() -> None:
    assert ask(openat(), "fault=openat") == (1, -errno.ENOSYS)
    assert ask(openat(), "fault=openat:error=EACCES") == (1, -errno.EACCES)


def test_delays() -> None:
    waiting = openat(make=lambda *_: 3)
    assert ask(waiting, "inject=openat:delay_enter=5ms:delay_exit=0.5s") == (1, 3)
    assert waiting.slept == [0.005, 0.5]
    waiting = openat()
    ask(waiting, "inject=openat:delay_enter=250")
    assert waiting.slept == [0.00025]
    waiting = openat()
    ask(waiting, "inject=openat:delay_enter=1e3ns")
    assert waiting.slept == [pytest.approx(1e-6)]


def test_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    waiting = openat()
    assert ask(waiting, "inject=openat:signal=SIGUSR1") == (1, 0)
    assert (waiting.came, sent) == ([signal.SIGUSR1], []), "it comes during the call"
    assert ask(openat(), "inject=openat:signal=12:error=EINTR") == (1, -errno.EINTR)
    assert sent == [(os.getpid(), signal.SIGUSR2)]


def test_pokes() -> None:
    waiting = Waiting(c.read, 0, Room(8), 8, make=lambda waiting, *_: waiting.fill(1, b"ABCDEFGH"))
    assert ask(waiting, "inject=read:poke_exit=@arg2=78797a") == (1, 8)
    assert waiting.read(waiting.args[1], 8) == b"xyzDEFGH"
    waiting = write(b"hello")
    assert ask(waiting, "inject=write:poke_enter=@arg2=48,@arg1=00") == GO_ON
    assert waiting.read(waiting.args[1], 5) == b"Hello"


def test_another_call_instead() -> None:
    text = "inject=write:signal=0x0f:syscall=getpid"
    rule = faults.rules(text.replace("signal=0x0f", "delay_enter=1"))
    handlers = Handlers(rule)
    assert handlers(write(b"")) == (1, os.getpid())
    handlers.close()
    assert ask(write(b""), "inject=write:retval=3:syscall=getpid") == (1, 3)
    assert all(pure(c.read(Waiting(c.read, 0, Room(1), 1))) >= 0 for pure in faults.PURE.values())


def test_when_counts_per_call_and_thread() -> None:
    handlers = Handlers(faults.rules("inject=read,write:error=EIO:when=1+2"))
    made = [handlers(one)[1] for one in (write(b""), write(b""), write(b""))]
    assert made == [-5, 0, -5]
    assert handlers(Waiting(c.read, 0, Room(1), 1))[1] == -5
    handlers.close()


def test_the_last_when_counts() -> None:
    assert ask(openat(), "inject=openat:error=EIO:when=7:when=1") == (1, -5)


def test_path_descriptor_and_process(tmp_path: Path) -> None:
    with open(tmp_path / "x.wal", "w") as f:
        fsync = Waiting(c.fsync, f.fileno())
        assert ask(fsync, "inject=fsync:error=EIO:path=*.wal") == (1, -5)
        assert ask(fsync, "inject=fsync:error=EIO:path=*.db") == GO_ON
    assert ask(write(b"", 2), "inject=write:error=EIO:fd=1-3,9") == (1, -5)
    assert ask(write(b"", 4), "inject=write:error=EIO:fd=1-3,9") == GO_ON
    assert ask(openat("/a:b"), r"inject=openat:error=EIO:path=/a\:b") == (1, -5)
    assert ask(openat("/a:b"), "inject=openat:error=EIO:path='/a:b'") == (1, -5)
    assert ask(write(b""), "inject=write:error=EIO:process=python*") == (1, -5)


def test_address() -> None:
    sin = struct.pack("<H", 2) + struct.pack("!H4s8x", 80, bytes([10, 0, 0, 1]))
    connect = Waiting(c.connect, 3, sin, 16)
    assert ask(connect, "inject=connect:error=ETIMEDOUT:address='10.0.0.0/8:80'") != GO_ON
    assert ask(connect, r"inject=connect:error=ETIMEDOUT:address=10.0.0.0/8\:81") == GO_ON


def test_a_full_device() -> None:
    handlers = Handlers(faults.rules("inject=write:error=ENOSPC:after_bytes=1k"))
    sizes = [handlers(write(b"x" * 600, make=lambda _, args, __: args[2]))[1] for _ in range(3)]
    assert sizes == [600, 424, -errno.ENOSPC]
    handlers.close()


def test_chance_is_the_seed_s() -> None:
    def run(seed: int) -> list[int]:
        handlers = Handlers(faults.rules("inject=write:error=EIO:p=30%", seed=seed))
        results = [handlers(write(b""))[1] for _ in range(100)]
        handlers.close()
        return results

    assert run(1) == run(1) != run(2)
    assert 10 < run(1).count(-5) < 60
    assert faults.uses_chance(["inject=write:error=EIO:p=0.1"])
    assert not faults.uses_chance(["inject=write:error=EIO"])


def test_several_rules_for_one_call() -> None:
    texts = ("inject=openat:delay_enter=1ms", "inject=openat:error=EIO:path=/b", "fault=openat")
    waiting = openat("/b")
    assert ask(waiting, *texts) == (1, -errno.EIO)
    assert waiting.slept == [0.001]
    assert ask(openat("/c"), *texts) == (1, -errno.ENOSYS)


@pytest.mark.parametrize(
    ("text", "waiting", "is_match"),
    [
        ("count > 3", write(b"abcd"), True),
        ("count > 3", write(b"abc"), False),
        ("2 <= count < 4 and fd == 1", write(b"abc"), True),
        ("not count", write(b""), True),
        ("buf == 'abc'", write(b"abc"), True),
        ("'b' in buf", write(b"abc"), True),
        ("buf[:2] in ('ab', 'cd')", write(b"abc"), True),
        ("len(buf) == 3", write(b"abc"), True),
        ("fd in (1, 2)", write(b"abc", 3), False),
        ("flags & O_CREAT", openat(flags=os.O_CREAT), True),
        ("flags & O_CREAT", openat(), False),
        ("flags & (O_CREAT | O_EXCL) == O_CREAT", openat(flags=os.O_CREAT), True),
        ("path == '/x'", openat("/a/../x"), True),
        ("pathname == '/x'", openat("/a/../x"), False),
        ("call == 'openat' or fd > 3", openat(), True),
        ("pid > 1", write(b""), True),
        ("count % 2 == 1 and count // 2 == 1 and -count < 0", write(b"abc"), True),
        ("count << 70", write(b"abc"), False),
        ("buf + 1", write(b"abc"), False),
    ],
)
def test_expressions(text: str, waiting: Waiting, is_match: bool) -> None:
    row = waiting.row
    assert compile_expression(text, [row])(row(waiting)) is is_match


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "buf.startswith('x')",
        "(lambda: 1)()",
        "[x for x in (1,)]",
        "count ** 9",
        "f'{count}'",
        "open",
        "1.5 < count",
        "len(buf, buf)",
        "count if fd else 1",
        "(count := 3)",
        "buf[::2]",
        "count >",
        "(" * 500,
        "a" * 5000,
        "",
    ],
)
def test_what_no_expression_may_say(text: str) -> None:
    with pytest.raises(ExpressionError):
        compile_expression(text, [c.write])


WRONG = {
    "inject=opnat:error=ENOENT": ("opnat", "there is no system call 'opnat'; near to it: openat"),
    "inject=read,wrte:error=5": ("wrte", "there is no system call 'wrte'; near to it: write"),
    "inject=%flie:error=5": ("%flie", "there is no class of calls %flie; near to it: file"),
    "inject=:error=5": ("", "a system call is to be named here"),
    "inject=read:eror=EIO": ("eror", "there is no option 'eror'; near to it: error"),
    "inject=read:error=EOI": ("EOI", "there is no errno 'EOI'; near to it: .*EIO"),
    "inject=read:error=0": ("0", "a number from 1 to 4095, not 0"),
    "inject=read:error": ("error", "error= wants a value"),
    "inject=read": ("inject=read", "nothing is to happen: say one of error=, retval="),
    "inject=read:when=1": ("inject=read:when=1", "nothing is to happen"),
    "inject=read:error=EIO:retval=1": ("retval", "error= and retval= exclude each other"),
    "inject=read:error=EIO:error=EIO": ("error", "error= is given twice"),
    "inject=read:retval=-1": ("-1", "no result of a call that succeeds; error= makes a call fail"),
    "inject=read:signal=SIGTREM": ("SIGTREM", "near to it: SIGTERM"),
    "inject=read:delay_enter=5min": ("5min", "'5min' is no time: a number, then s, ms, us or ns"),
    "inject=read:error=EIO:when=0": ("0", "first and step are 1 to 65535"),
    "inject=read:error=EIO:when=3-5": ("3-5", r"it is written first\[..last\]"),
    "inject=read:error=EIO:p=7": ("7", "'7' is no probability"),
    "inject=read:error=EIO:fd=x": ("x", "'x' is no descriptor"),
    "inject=getpid:error=EIO:path=/a": ("/a", "path= has no meaning for getpid"),
    "inject=read:error=EIO:after_bytes=1T": ("1T", "no number of bytes; 4096, 64k"),
    "inject=read:retval=1:after_bytes=1": ("after_bytes", "wants an error= to come then"),
    "inject=read:poke_exit=@arg9=00": ("@arg9=00", "is not @argN=HEX"),
    "inject=read:retval=1:syscall=fork": ("fork", "'fork' cannot take a call's place"),
    "inject=read:error=EIO:if=cuont > 3": ("cuont", "no argument 'cuont'; near to it: count"),
    "inject=read:error=EIO:if=count >": ("", "not an expression"),
    "inject=read:error=EIO:if=count.x": ("count.x", "only names, numbers"),
    "inject=openat:error=EIO:path='/a": ("'", "a ' opens here and nothing closes it"),
    "inject=connect:error=EIO:address=nowhere": ("nowhere", "names are not looked up"),
    "fault=read:delay_enter=1": ("delay_enter", "delay_enter= belongs to inject="),
    "injct=read:error=EIO": ("injct", "there is no -e injct=; near to it: inject"),
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_fault_is_shown_where_it_is_wrong(text: str) -> None:
    marked, message = WRONG[text]
    with pytest.raises(faults.FaultError, match=message) as caught:
        faults.rules(text)
    _, rule, mark = str(caught.value).split("\n")
    assert rule == f"  -e {text}"
    start = mark.index("^")
    assert len(mark) - start == max(len(marked), 1)
    if marked:
        assert rule[start : start + len(marked)] == marked


def test_counting_by_thread_needs_no_python() -> None:
    for text in ("inject=write:error=EIO:when=3", "inject=%file:delay_enter=1:when=2+2:path=*.x"):
        (rule,) = faults.rules(text)
        compile_rules([rule], deny=False)
        assert rule.counted_by_agent and rule.effects.handler is None


def test_counting_in_all_processes_together() -> None:
    (rule,) = faults.rules("inject=write:error=EIO:when=3:per=session")
    assert rule.conditions.per == "session"
    with pytest.raises(faults.FaultError, match="there is no per='run'"):
        faults.rules("inject=write:error=EIO:when=3:per=run")

# SPDX-License-Identifier: Apache-2.0
"""Proves what becomes of a call whose handler errs, what is said of it, and where rules are looked for."""

import errno
import struct
import types
from typing import Any

import pytest

import lsca
from lsca import calls as c
from lsca.errors import HandlerError
from lsca.handlers import Handlers, rules_of
from lsca.handlers.dispatch import OnError
from waiting import Waiting

GO_ON = (0, 0)


def openat(path: str, flags: int = 0, **more: Any) -> Waiting:
    return Waiting(c.openat, -100, path, flags, 0, **more)


def ask(waiting: Waiting, *sources: object, on_error: OnError = "go_on") -> tuple[int, int]:
    handlers = Handlers(*sources, on_error=on_error)
    try:
        return handlers(waiting)
    finally:
        handlers.close()


@lsca.on(c.openat)
def broken(call: c.openat) -> lsca.Verdict:
    raise KeyError("missing")


@lsca.on(c.openat)
def forgetful(call: c.openat) -> lsca.Verdict:
    return None  # type: ignore[return-value]


def test_a_handler_that_raises_is_reported_and_the_call_goes_on() -> None:
    handlers = Handlers(broken)
    assert handlers(openat("/a")) == GO_ON
    report = handlers.reports[0]
    line = broken.__code__.co_firstlineno + 2  # type: ignore[attr-defined]
    assert str(report) == (
        f"{__file__}:{line}: KeyError: 'missing'; "
        'in openat(AT_FDCWD, "/a", O_RDONLY), which went on'
    )
    assert "Traceback" in report.traceback
    handlers.close()


def test_or_the_call_is_denied() -> None:
    assert ask(openat("/a"), broken, on_error="deny") == (1, -errno.EPERM)


def test_a_call_that_was_made_keeps_its_result() -> None:
    @lsca.on(c.openat)
    def late(call: c.openat) -> lsca.Verdict:
        call.proceed()
        raise ValueError("too late")

    assert ask(openat("/a", make=lambda *_: 9), late, on_error="deny") == (1, 9)


def test_a_wrong_answer_is_an_error_too() -> None:
    handlers = Handlers(forgetful)
    assert handlers(openat("/a")) == GO_ON
    report = handlers.reports[0]
    assert report.error.startswith(
        "forgetful returned None; a handler returns lsca.go_on, lsca.ret"
    )
    assert report.where == f"{__file__}:{forgetful.__code__.co_firstlineno}"  # type: ignore[attr-defined]
    handlers.close()


def test_a_program_that_has_ended_is_no_error() -> None:
    @lsca.on(c.openat)
    def slow(call: c.openat) -> lsca.Verdict:
        raise ProcessLookupError(errno.ESRCH, "No such process")

    waiting = openat("/a")
    waiting.interrupted = True
    handlers = Handlers(slow)
    assert handlers(waiting) == GO_ON
    assert handlers.reports == []
    handlers.close()


def test_the_same_error_is_not_said_for_ever() -> None:
    said: list[str] = []
    handlers = Handlers(broken, say=said.append)
    for _ in range(100):
        handlers(openat("/a"))
    assert len(said) == 5
    assert said[-1].endswith("more of these are not shown")
    assert len(handlers.reports) == 100
    handlers.close()


def test_memory_that_cannot_be_read_matches_nothing() -> None:
    waiting = openat("/a")
    waiting.args = (waiting.args[0], 8, 0, 0, 0, 0)
    handlers = Handlers(lsca.on("openat", path="/a").fail(5))
    assert handlers(waiting) == GO_ON
    assert handlers.reports == []
    handlers.close()


def test_a_predicate_that_raises_is_an_error_too() -> None:
    def missing(call: c.openat) -> bool:
        return bool(open("/nothing/there"))

    handlers = Handlers(lsca.on(c.openat, when=missing).fail(5))
    assert handlers(openat("/a")) == GO_ON
    assert "FileNotFoundError" in handlers.reports[0].error
    handlers.close()


def test_a_call_nobody_wants() -> None:
    handlers = Handlers(broken)
    assert handlers.wanted() == {257}
    assert handlers(Waiting(c.write, 1, b"", 0)) == GO_ON
    handlers.close()


# ---- where rules come from ------------------------------------------------------------------------------------------


MODULE = """
import lsca
from lsca import calls as c

@lsca.on(c.read)
@lsca.on(c.write, fd=1)
def both(call):
    return lsca.go_on

lsca.on("openat").fail("ENOENT")
unfinished = lsca.on("close")

def inside():
    return lsca.on("fsync").fail("EIO")

inside()

@lsca.on(c.connect)
def last(call):
    return lsca.go_on
"""


def test_rules_of_a_module_in_the_order_in_which_they_stand() -> None:
    module = types.ModuleType("mine")
    exec(compile(MODULE, "mine.py", "exec"), module.__dict__)
    names = [[row.__name__ for row in rule.rows] for rule in rules_of(module)]
    assert names == [["read"], ["write"], ["openat"], ["connect"]]
    assert len(rules_of(module.both)) == 2


def test_what_is_no_handler() -> None:
    with pytest.raises(HandlerError, match=r"ask is no handler: write @lsca.on\(...\) above it"):
        Handlers(ask)
    with pytest.raises(HandlerError, match="module struct has no handlers"):
        Handlers(struct)

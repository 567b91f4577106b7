# SPDX-License-Identifier: Apache-2.0
"""Asks the rules about one call after the other: the first verdict that is not "go on" is the answer.

`Handlers` is the callback of `_native.serve`, called by several threads at once, each with a Request of its own. It
must never raise: an error of a handler is reported, and the call goes on or is denied.
"""

import errno
import itertools
import os
import threading
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from lsca.errors import HandlerError
from lsca.handlers.reports import Report, Reports, handler_place, of_exception
from lsca.handlers.rule import Rule, rules_of
from lsca.handlers.verdicts import Kind, Verdict, go_on, memory_file
from lsca.live.request import Request, Surroundings
from lsca.live.threads import without_signals
from lsca.table import Syscall
from lsca.table.arguments import MEMORY, Length
from lsca.table.arguments import Kind as ArgKind
from lsca.table.live import MACHINE
from lsca.table.reading import WRITTEN
from lsca.table.syscall import Handled

if TYPE_CHECKING:
    import asyncio

OnError = Literal["go_on", "deny"]
ON_ERROR: Final = ("go_on", "deny")
GO_ON: Final = (0, 0)  # what the extension wants to hear: 0 go on, 1 return, 2 kill
RETURN: Final = 1
KILL: Final = 2
COUNTERS: Final = 512  # of a session: RULE_LIMIT of native/shared/rules.h
SIZES: Final = ("count", "len", "size", "bufsiz")  # what arguments for a number of bytes are called
REOPENED: Final = os.O_ACCMODE | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC


class _Here(threading.local):
    """What this thread is at: a request, and whether it is the one that runs all async handlers."""

    request: Request | None = None
    is_loop: bool = False


_here: Final = _Here()


def sleep(seconds: float) -> bool:
    """Waits within a handler; only the calling thread of the program waits with it. False if a signal ended it early.

    Not for `async def` handlers, which `await asyncio.sleep`.
    """
    if _here.is_loop:
        raise HandlerError(
            "lsca.sleep would stop all async handlers; use `await asyncio.sleep(...)`"
        )
    request = _here.request
    if request is None:
        time.sleep(seconds)
        return True
    return not request.wait(seconds)


class _Found(NamedTuple):
    """What there is about one call number: its row, and its rules with their numbers, in order."""

    row: type[Syscall]
    rules: tuple[tuple[int, Rule[Any]], ...]


class Handlers:
    """All rules of one run, in order, and the reports of what went wrong in them.

    `on_error`: whether a call whose handler raises goes on, or is denied with EPERM. `say` is told of errors at once.
    """

    def __init__(
        self,
        *sources: object,
        on_error: OnError = "go_on",
        say: Callable[[str], None] | None = None,
    ) -> None:
        if on_error not in ON_ERROR:
            raise HandlerError(
                f"there is no on_error={on_error!r}; there are {', '.join(ON_ERROR)}"
            )
        self.on_error = on_error
        self.surroundings = Surroundings()
        self._reports = Reports(say)
        self._loop = _Loop()
        self._counters = itertools.count()
        self._begun: dict[int, tuple[Rule[Any], Rule[Any]]] = {}
        self.on_replaced: Callable[[], None] | None = None
        self.rules: tuple[Rule[Any], ...] = ()
        self._table: dict[int, _Found] = {}
        self.replace(rules_of(list(sources)))

    @property
    def reports(self) -> list[Report]:
        return list(self._reports.kept)

    def replace(self, rules: list[Rule[Any]]) -> None:
        """Puts other rules in force, from the next call on. HandlerError if they cannot be, and the old ones stay."""
        table: dict[type[Syscall], list[tuple[int, Rule[Any]]]] = {}
        before = self.rules, self._table, self._begun
        rules = self._begin(rules)
        for number, rule in enumerate(rules, 1):
            for row in rule.rows:
                if MACHINE in row.numbers:
                    table.setdefault(row, []).append((number, rule))
        self.rules = tuple(rules)
        self._table = {
            row.numbers[MACHINE]: _Found(row, tuple(found)) for row, found in table.items()
        }
        try:
            if self.on_replaced is not None:
                self.on_replaced()
        except HandlerError:
            self.rules, self._table, self._begun = before
            raise

    def _begin(self, rules: list[Rule[Any]]) -> list[Rule[Any]]:
        """The rules of this run: what has counted goes on counting, and what is new begins."""
        begun: dict[int, tuple[Rule[Any], Rule[Any]]] = {}
        for rule in rules:
            kept = self._begun.get(id(rule))
            if kept is None:
                kept = rule, rule.begin(next(self._counters) % COUNTERS)
            begun[id(rule)] = kept
        self._begun = begun
        return [begun[id(rule)][1] for rule in rules]

    def wanted(self) -> frozenset[int]:
        """The numbers of the calls that some rule is about; no other ones need to come here."""
        return frozenset(self._table)

    def end(self) -> None:
        """Tells the rules that want to know that the programs have ended."""
        for one in dict.fromkeys(rule.at_end for rule in self.rules):
            if one is not None:
                one()

    def close(self) -> None:
        """Ends the threads that belong to this."""
        self._loop.close()
        self.surroundings.processes.close()

    def __call__(self, request: Request) -> tuple[int, int]:
        found = self._table.get(request.nr)
        if found is None:
            return GO_ON
        call = found.row(request, self.surroundings)
        _here.request = request
        try:
            return self._answer(call, request, found.rules)
        except Exception as error:
            return self._failed(call, error)
        finally:
            _here.request = None

    # ---- one call ----

    def _answer(
        self, call: Syscall, request: Request, rules: tuple[tuple[int, Rule[Any]], ...]
    ) -> tuple[int, int]:
        verdict = None
        behind, signal = 0.0, 0
        asked = request.rule
        for number, rule in rules:
            if number != asked:
                if number < asked:
                    continue  # the agent has been through those
                if not rule.matches(call) or not rule.counts(call):
                    continue
            elif not (rule.matched_by_agent or rule.matches(call)) or not (
                rule.counted_by_agent or rule.counts(call)
            ):
                continue
            effects = rule.effects
            if effects.beside:
                if effects.before:
                    request.wait(effects.before)
                signal = effects.signal or signal
                behind += effects.behind
                if effects.cut is not None:
                    _cut(call, effects.cut)
            if effects.handler is not None:
                verdict = self._ask(effects.handler, call)
            elif effects.after_bytes is not None:
                verdict = _after(call, rule, effects.after_bytes)
            else:
                verdict = effects.verdict
            if effects.verdict is go_on:
                break  # no further rule is asked
            if verdict is not None and verdict is not go_on and verdict.kind is not Kind.GO_ON:
                break
        answer = self._finish(call, request, verdict, later=bool(behind or signal))
        if behind:
            request.wait(behind)
        if signal:  # last of all, since it would keep the call from being made
            call.process.signal(signal)
        return answer

    def _ask(self, handler: Callable[[Any], Any], call: Syscall) -> Verdict:
        answer = handler(call)
        if type(answer) is Verdict:
            return answer
        if isinstance(answer, Coroutine):
            answer = self._loop.run(answer)
        if not isinstance(answer, Verdict):
            raise _WrongAnswer(handler, answer)
        return answer

    def _finish(
        self, call: Syscall, request: Request, verdict: Verdict | None, *, later: bool
    ) -> tuple[int, int]:
        """What the extension is told. `later`: something is to come after the call, so it is made from here."""
        if verdict is None or verdict.kind is Kind.GO_ON:
            if call.result is not None:
                return RETURN, call.result
            if call.changed or (later and call.handled is Handled.ANY):
                return RETURN, call.proceed()
            return GO_ON
        if verdict.kind is Kind.RETURN:
            return RETURN, verdict.value
        if verdict.kind is Kind.KILL:
            return KILL, verdict.value
        return RETURN, _open(call, request, verdict.content)

    def _failed(self, call: Syscall, error: Exception) -> tuple[int, int]:
        if isinstance(error, ProcessLookupError) and call.interrupted:
            return GO_ON  # the program has ended meanwhile: nobody waits for an answer, and nothing went wrong
        if call.result is not None:
            became, answer = "had been made", (RETURN, call.result)
        elif self.on_error == "deny":
            became, answer = "was denied (EPERM)", (RETURN, -errno.EPERM)
        else:
            became, answer = "went on", GO_ON
        try:
            text = str(call)
        except Exception:  # its memory may be anything
            text = call.row_name()
        report = of_exception(text, error, became)
        if isinstance(error, _WrongAnswer):
            report = Report(text, str(error), error.where, became)
        self._reports.add(report)
        return answer


class _WrongAnswer(Exception):
    def __init__(self, handler: object, answer: object) -> None:
        name = getattr(handler, "__name__", repr(handler))
        super().__init__(
            f"{name} returned {answer!r}; a handler returns lsca.go_on, lsca.ret(...), lsca.fail(...), "
            "lsca.kill(...) or lsca.file(...)"
        )
        self.where = handler_place(handler)


def _size_argument(call: Syscall) -> str:
    """The argument that says how many bytes a call moves; "" if there is none."""
    for argument in call.arguments.values():
        moves = argument.kind in (ArgKind.IN, *WRITTEN) and argument.seen is bytes
        if moves and argument.measure is Length.ARG and argument.length is not None:
            return argument.length if argument.kind in MEMORY else ""
    return next((name for name in SIZES if name in call.arguments), "")


def _cut(call: Syscall, size: int) -> None:
    name = _size_argument(call)
    if name and getattr(call, name) > size:
        call.replace(**{name: size})


def _after(call: Syscall, rule: Rule[Any], limit: int) -> Verdict | None:
    """A device that takes `limit` bytes in all: up to there writes get through, the last one in part."""
    name = _size_argument(call)
    wanted = int(getattr(call, name)) if name else _vector_size(call)
    granted = rule.volume.reserve(limit, wanted)
    if granted == 0 and wanted:
        return rule.effects.verdict
    if name and granted < wanted:
        _cut(call, granted)
    result = call.proceed()
    rule.volume.give_back(granted - max(result, 0))
    return None


def _vector_size(call: Syscall) -> int:
    for name, argument in call.arguments.items():
        if argument.kind in (ArgKind.IOV_IN, ArgKind.MSG_IN):
            return len(getattr(call, name))
    return 1


def _open(call: Syscall, request: Request, content: bytes | int | None) -> int:
    """Opens a descriptor of this process in the program; the number that it has there."""
    if not call.new_fd:
        raise HandlerError(
            f"lsca.file answers a call that returns a descriptor; {call.row_name()} does not"
        )
    flags = int(getattr(call, "flags", 0)) & REOPENED
    if isinstance(content, int):
        return request.open(content, flags)
    fd = memory_file(content or b"")
    try:
        return request.open(fd, flags)
    finally:
        os.close(fd)


class _Loop:
    """The one event loop that all `async def` handlers share, in a thread of its own from the first of them on."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        import asyncio  # takes longer to import than all the rest, and most handlers need none

        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._forever, args=(self._loop,), name="lsca-async", daemon=True
                )
                with without_signals():
                    self._thread.start()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    @staticmethod
    def _forever(loop: "asyncio.AbstractEventLoop") -> None:
        _here.is_loop = True
        loop.run_forever()

    def close(self) -> None:
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()
            loop.close()

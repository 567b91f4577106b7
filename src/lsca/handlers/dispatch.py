# SPDX-License-Identifier: Apache-2.0
"""Asks the rules about one call after the other: the first verdict that is not "go on" is the answer.

`Handlers` is the callback of `_native.serve`, called by several threads at once, each with a Request of its own. It
must never raise: an error of a handler is reported, and the call goes on or is denied.
"""

import errno
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from types import CodeType
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
LOOP: Final = "lsca-async"  # the thread that runs all async handlers
COUNTERS: Final = 512  # of a session: RULE_LIMIT of native/shared/rules.h
SIZES: Final = ("count", "len", "size", "bufsiz")  # what arguments for a number of bytes are called
# What is answered without a call unless the vDSO is hidden.
VDSO: Final = frozenset(
    ("clock_gettime", "gettimeofday", "time", "clock_getres", "getcpu", "getrandom")
)
REOPENED: Final = os.O_ACCMODE | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC


def _asked_about() -> Request | None:
    """The request whose handler is running in this thread.

    It is looked for on the stack, so that handlers that do not sleep pay nothing for those that do.
    """
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not _ANSWERING:
        frame = frame.f_back  # type: ignore[assignment] # None at the end
    request: Request | None = None if frame is None else frame.f_locals["request"]
    return request


def sleep(seconds: float) -> bool:
    """Waits within a handler; only the calling thread of the program waits with it. False if a signal ended it early.

    Not for `async def` handlers, which `await asyncio.sleep`.
    """
    if threading.current_thread().name == LOOP:
        raise HandlerError(
            "lsca.sleep would stop all async handlers; use `await asyncio.sleep(...)`"
        )
    request = _asked_about()
    if request is None:
        time.sleep(seconds)
        return True
    return not request.wait(seconds)


class _Found(NamedTuple):
    """What there is about one call number: its row, and its rules with their numbers, in order."""

    row: type[Syscall]
    rules: tuple[tuple[int, Rule[Any]], ...]


class _Plan(NamedTuple):
    """What is to be done about one call number when the agent asks for one rule.

    `handler`: there is nothing to be decided or done but to ask this function. Else the rules are gone through.
    """

    row: type[Syscall]
    handler: Callable[[Any], Any] | None
    rules: tuple[tuple[int, Rule[Any]], ...]


def _answering(
    handlers: "Handlers", plans: dict[int, _Plan]
) -> Callable[[Request], tuple[int, int]]:
    """The callback of `_native.serve`. Every handler pays for what is done here, so it is little."""
    plan_of, new, surroundings = plans.get, object.__new__, handlers.surroundings

    def answer(request: Request) -> tuple[int, int]:
        plan = plan_of(request.asked) or handlers.plan(request)
        if plan is None:
            return GO_ON
        row, handler, rules = plan
        call = new(row)
        call._request = request
        call._surroundings = surroundings
        try:
            if handler is None:
                return handlers.go_through(call, request, rules)
            verdict = handler(call)
            if verdict is go_on and not call._touched:
                return GO_ON
            if type(verdict) is not Verdict:
                verdict = handlers.settle(handler, verdict)
            return handlers.finish(call, request, verdict, later=False)
        except Exception as error:
            return handlers.failed(call, error)

    return answer


_ANSWERING: Final = next(c for c in _answering.__code__.co_consts if isinstance(c, CodeType))


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
        self._plans: dict[int, _Plan] = {}
        self._posted: list[str | None] = []
        self._planning = threading.Lock()
        self.answer: Final = _answering(self, self._plans)
        self.replace(rules_of(list(sources)))

    @property
    def reports(self) -> list[Report]:
        return list(self._reports.kept)

    def replace(self, rules: list[Rule[Any]]) -> None:
        """Puts other rules in force, from the next call on. HandlerError if they cannot be, and the old ones stay."""
        table: dict[type[Syscall], list[tuple[int, Rule[Any]]]] = {}
        before = self.rules, self._table, self._begun
        self._posted = [one.conditions.path for one in rules if one.effects.post]
        rules = self._begin([one for one in rules if not one.effects.post])
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
        finally:
            with self._planning:
                self._plans.clear()

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

    def posted(self) -> list[str]:
        """The paths of rules that post."""
        return [path for path in self._posted if path]

    def want_clocks(self) -> bool:
        """Whether a rule is about calls that the vDSO would answer, and about no others."""
        names = [{row.__name__ for row in rule.rows} for rule in self.rules]
        return any(one <= VDSO for one in names)

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
        return self.answer(request)

    # ---- one call ----

    def plan(self, request: Request) -> _Plan | None:
        """What is to be done about requests like this one; None: nothing."""
        found = self._table.get(request.nr)
        if found is None:
            return None
        asked = request.rule
        rules = tuple((number, rule) for number, rule in found.rules if number >= asked)
        handler = None
        if len(rules) == 1 and rules[0][0] == asked:
            rule = rules[0][1]
            if rule.matched_by_agent and (rule.counted_by_agent or not rule.conditions.counts):
                handler = None if rule.effects.beside else rule.effects.handler
        plan = _Plan(found.row, handler, rules)
        with self._planning:
            if found is self._table.get(request.nr):  # else they have just been replaced
                self._plans[request.asked] = plan
        return plan

    def go_through(
        self, call: Syscall, request: Request, rules: tuple[tuple[int, Rule[Any]], ...]
    ) -> tuple[int, int]:
        verdict = None
        behind, signal = 0.0, 0
        asked = request.rule
        kept: set[str] = set()
        for number, rule in rules:
            if number != asked:  # the agent has been through those before it
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
                if effects.move is not None and not rule.moved_by_agent:
                    _move(call, *effects.move, kept)
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
        goes_on = verdict is None or verdict.kind is Kind.GO_ON
        if signal and goes_on and call.result is None and call.handled is Handled.ANY:
            call.proceed(signal=signal)
            signal = 0
        answer = self.finish(call, request, verdict, later=bool(behind))
        if behind:
            request.wait(behind)
        if signal:  # there was no call during which it could come
            call.process.signal(signal)
        return answer

    def _ask(self, handler: Callable[[Any], Any], call: Syscall) -> Verdict:
        answer = handler(call)
        return answer if type(answer) is Verdict else self.settle(handler, answer)

    def settle(self, handler: Callable[[Any], Any], answer: Any) -> Verdict:
        """The verdict behind what a handler has returned, which an `async def` has not said yet."""
        if isinstance(answer, Coroutine):
            answer = self._loop.run(answer)
        if not isinstance(answer, Verdict):
            raise _WrongAnswer(handler, answer)
        return answer

    def finish(
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

    def failed(self, call: Syscall, error: Exception) -> tuple[int, int]:
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


def _move(call: Syscall, source: str, target: str, kept: set[str]) -> None:
    """Does what the agent does with a path. `kept`: the arguments that a rule wants to stay as they are."""
    for name in call.path_names():
        path = call.absolute(name) if getattr(call, name) else ""
        if path == source or path.startswith(source.rstrip("/") + "/"):
            if source == target:
                kept.add(name)
            elif name not in kept:
                slash = "/" if getattr(call, name).endswith("/") else ""
                call.replace(**{name: (target.rstrip("/") + path[len(source) :] or "/") + slash})


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
                    target=self._forever, args=(self._loop,), name=LOOP, daemon=True
                )
                with without_signals():
                    self._thread.start()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    @staticmethod
    def _forever(loop: "asyncio.AbstractEventLoop") -> None:
        loop.run_forever()

    def close(self) -> None:
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()
            loop.close()

# SPDX-License-Identifier: Apache-2.0
"""`lsca.on`: which calls, and what becomes of them: a handler in Python, or a few words that need none.

    @lsca.on(c.openat, path="/etc/shadow")
    def hidden(call: c.openat) -> lsca.Verdict: ...

    lsca.on("write", path="/data/**").fail("ENOSPC", after_bytes=1 << 20)

At the top level of a module both are noted in the module, as `__lsca_rules__`, in the order in which they stand: so a
file of handlers needs no registration. Elsewhere a rule is a value that is handed on.
"""

import copy
import errno
import itertools
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable
from types import FrameType, ModuleType
from typing import Any, Final, Generic, Literal, TypedDict, TypeVar, Unpack, cast, overload

from lsca.errors import HandlerError
from lsca.handlers.conditions import (
    Bits,
    Chance,
    Volume,
    When,
    Where,
    bits,
    counted,
    glob,
    glob_text,
    is_given,
    numbers,
    where,
)
from lsca.handlers.verdicts import Verdict, fail, go_on, kill, ret, signal_of
from lsca.table import Syscall
from lsca.table.selection import SelectionError, select
from lsca.table.syscall import Handled

C = TypeVar("C", bound=Syscall)
F = TypeVar("F")
C1 = TypeVar("C1", bound=Syscall)
C2 = TypeVar("C2", bound=Syscall)
C3 = TypeVar("C3", bound=Syscall)
C4 = TypeVar("C4", bound=Syscall)
Answer = Verdict | Coroutine[Any, Any, Verdict]
R = TypeVar("R", bound=Answer)
Handler = Callable[[Any], Answer]
Per = Literal["session", "process", "thread"]
PER: Final = ("session", "process", "thread")
NOTED: Final = "__lsca_rules__"
_order = itertools.count()


class Conditions:
    """What must be true of a call, beyond being one of these. `None`: nothing."""

    def __init__(self, path: str | None = None, per: Per = "session") -> None:
        self.path = path
        self.per = per
        self.fds: frozenset[int] | None = None
        self.where: Where | None = None
        self.bits: dict[type[Syscall], Bits] = {}
        self.process: int | str | None = None
        self.count: When | None = None
        self.chance: Chance | None = None
        self.predicate: Callable[[Any], object] | None = None
        self.given: str | None = None

    @property
    def counts(self) -> bool:
        """Not all calls that fit are meant."""
        return self.count is not None or self.chance is not None


class Effects:
    """What becomes of a call: delays in seconds, a signal, a verdict or a handler. `cut`: bytes it may move at most.

    `beside` says that there is something beside the verdict.
    """

    def __init__(self) -> None:
        self.before = self.behind = 0.0
        self.signal = 0
        self.verdict: Verdict | None = None
        self.after_bytes: int | None = None
        self.cut: int | None = None
        self.move: tuple[str, str] | None = None
        self.handler: Handler | None = None
        self.post = False
        self.beside = False

    def __bool__(self) -> bool:
        return vars(self) != vars(Effects())


class Rule(Generic[C]):
    """Calls, conditions, and what happens: as a decorator it takes a handler, and its methods need none."""

    def __init__(self, rows: frozenset[type[Syscall]], conditions: Conditions) -> None:
        self.rows = rows
        self.conditions = conditions
        self.effects = Effects()
        self.order = next(_order)
        self.home: dict[str, Any] | None = None
        self.noted: Callable[[Rule[Any]], None] | None = None
        self._path = glob(conditions.path) if conditions.path else None
        exe = conditions.process
        self._exe = glob(exe) if isinstance(exe, str) else None
        self._counted = 0
        self.matched_by_agent = False
        self.counted_by_agent = False
        self.moved_by_agent = False
        self._lock = threading.Lock()
        self.volume = Volume()
        self.counter = 0  # the agent's, for this rule
        self.at_end: Callable[[], None] | None = None  # of a run with it

    def begin(self, counter: int) -> "Rule[C]":
        """The same rule for one run, which has counted nothing yet."""
        begun = copy.copy(self)
        chance = self.conditions.chance
        if chance is not None:
            begun.conditions = copy.copy(self.conditions)
            begun.conditions.chance = Chance(chance.probability, chance.seed)
        begun._counted, begun._lock, begun.volume = 0, threading.Lock(), Volume()
        begun.counter = counter
        return begun

    # ---- what happens ----

    def __call__(self, handler: Callable[[C], R]) -> Callable[[C], R]:
        """Has `handler` decide: a function, or an `async def`."""
        if not callable(handler):
            raise HandlerError(f"a handler is a function of one call, not {type(handler).__name__}")
        if self.effects:
            raise HandlerError("a rule has a handler or says itself what happens, not both")
        self.effects.handler = handler
        handler.__dict__[NOTED] = [*getattr(handler, NOTED, ()), self]
        self._note()
        return handler

    def fail(self, error: int | str, *, after_bytes: int | None = None) -> "Rule[C]":
        """Fails with this errno; with `after_bytes` only once such calls have moved that much."""
        if after_bytes is not None:
            if not isinstance(after_bytes, int) or after_bytes < 0:
                raise HandlerError(f"after_bytes is a number of bytes, not {after_bytes!r}")
            self.effects.after_bytes = after_bytes
        return self._decide(fail(error))

    def ret(self, value: int) -> "Rule[C]":
        """Returns this without being made."""
        return self._decide(ret(value))

    def kill(self, signal: int | str = "SIGKILL") -> "Rule[C]":
        """The process gets this signal instead."""
        return self._decide(kill(signal))

    def go_on(self) -> "Rule[C]":
        """The call is made, and no rule behind this one is asked."""
        return self._decide(go_on)

    def sleep(self, seconds: float = 0.0, *, after: float = 0.0) -> "Rule[C]":
        """Waits before the call is made, or after it."""
        for given in (seconds, after):
            if not isinstance(given, int | float) or not 0 <= given < float("inf"):
                raise HandlerError(f"a delay is a number of seconds, not {given!r}")
        self.effects.before += seconds
        self.effects.behind += after
        self.effects.beside = True
        return self._note()

    def signal(self, signal: int | str) -> "Rule[C]":
        """Sends the calling thread a signal as well, during the call: one that waits is interrupted."""
        self.effects.signal = signal_of(signal)
        self.effects.beside = True
        return self._note()

    def cut(self, size: int) -> "Rule[C]":
        """Moves at most so many bytes: a short read or write."""
        if not isinstance(size, int) or size < 1:
            raise HandlerError(f"a call is cut to a number of bytes, not to {size!r}")
        self.effects.cut = size
        self.effects.beside = True
        return self._note()

    def move(self, source: str, target: str) -> "Rule[C]":
        """Paths of the call that lead to `source`, or below it, lead to or below `target` instead.

        Decided in the program, and before any handler is asked, which sees the path as the program gave it: it is made
        absolute, without "." and "..", and links are not followed. One rule moves on what another has moved. The same
        path twice says that such paths stay as they are, whatever later rules would do. Calls without a path are left
        out.
        """
        for path in (source, target):
            if not path.startswith("/") or (path != os.path.normpath(path)):
                raise HandlerError(
                    f"paths are moved by absolute paths without '.', '..' and doubled slashes: {path!r}"
                )
        self.rows = frozenset(
            row for row in self.rows if row.path_names() and row.handled is Handled.ANY
        )
        if not self.rows:
            raise HandlerError("a rule that moves paths needs calls that have one")
        self.effects.move = (source, target)
        self.effects.beside = True
        return self._note()

    def post(self) -> "Rule[C]":
        """Posts small writes to files with the rule's path, which are fixed when the session begins: docs/post.md."""
        only = vars(self.conditions) == vars(Conditions(self.conditions.path or "/"))
        if self.effects or not only or {row.__name__ for row in self.rows} - {"write", "writev"}:
            raise HandlerError(
                "a rule that posts is about write, writev and a path, and nothing else"
            )
        self.effects.post = True
        return self._note()

    def _decide(self, verdict: Verdict) -> "Rule[C]":
        if self.effects.verdict is not None or self.effects.handler is not None:
            raise HandlerError("this rule has its verdict already; a second one needs another rule")
        self.effects.verdict = verdict
        return self._note()

    def _note(self) -> "Rule[C]":
        """Enters the rule in the module at whose top level it stands; tells `noted` that it has something to do."""
        if self.noted is not None:
            self.noted(self)
        if self.home is not None:
            noted = self.home.setdefault(NOTED, [])
            if self not in noted:
                noted.append(self)
        return self

    # ---- whether ----

    def matches(self, call: Syscall) -> bool:
        """Everything but counting and chance. A pointer that leads nowhere does not match: the kernel will say so."""
        try:
            return self._matches(call)
        except OSError as error:
            if error.errno != errno.EFAULT:
                raise
            return False

    def _matches(self, call: Syscall) -> bool:
        wanted = self.conditions
        if wanted.process is not None:
            if self._exe is None:
                if call.process.pid != wanted.process:
                    return False
            elif not self._exe.fullmatch(call.process.exe):
                return False
        if wanted.fds is not None and not any(
            getattr(call, name) in wanted.fds for name in call.fd_names()
        ):
            return False
        if wanted.given is not None and not is_given(call, wanted.given):
            return False
        if wanted.bits:
            test = wanted.bits[type(call)]
            if getattr(call, test.argument) & test.mask != test.value:
                return False
        if self._path is not None and not self._path_matches(call):
            return False
        if wanted.where is not None and not wanted.where.matches(cast(Any, call).peer):
            return False
        return wanted.predicate is None or bool(wanted.predicate(call))

    def _path_matches(self, call: Syscall) -> bool:
        assert self._path is not None
        names = call.path_names()
        if names:
            return any(self._path.fullmatch(call.absolute(name)) for name in names)
        return any(self._path.fullmatch(call.opened(name).path) for name in call.fd_names())

    def counts(self, call: Syscall) -> bool:
        """Counts the call, and says whether it is one of those that are meant."""
        wanted = self.conditions
        if wanted.count is not None:
            if wanted.per == "session":
                with self._lock:
                    self._counted += 1
                    number = self._counted
            else:
                key = (
                    (self.order, call.thread.tid, call.nr) if wanted.per == "thread" else self.order
                )
                with self._lock:
                    counts = call.process.counts
                    number = counts[key] = counts.get(key, 0) + 1
            if not wanted.count.includes(number):
                return False
        return wanted.chance is None or wanted.chance()

    def __repr__(self) -> str:
        names = sorted(row.__name__ for row in self.rows)
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        handler = self.effects.handler
        what = getattr(handler, "__name__", "") if handler else str(self.effects.verdict or "")
        return f"<rule for {', '.join(names[:3])}{more}: {what}>"


class Filters(TypedDict, Generic[F], total=False):
    """What `lsca.on` can be told about the calls that are meant; see there."""

    path: str | None
    fd: int | Iterable[int] | None
    address: str | None
    flags: int | str | None
    process: int | str | None
    when: Callable[[F], object] | None
    count: str | int | None
    per: Per
    p: float | None
    seed: int | None
    given: str | None


Call = str | type[Syscall]
Row = type[Syscall]


# A handler's parameter is the union of its rows; by names, nothing is known of it.
@overload
def on(a: type[C1], /, **filters: Unpack[Filters[C1]]) -> Rule[C1]: ...
@overload
def on(a: type[C1], b: type[C2], /, **filters: Unpack[Filters[C1 | C2]]) -> Rule[C1 | C2]: ...
@overload
def on(
    a: type[C1], b: type[C2], c: type[C3], /, **filters: Unpack[Filters[C1 | C2 | C3]]
) -> Rule[C1 | C2 | C3]: ...
@overload
def on(
    a: type[C1],
    b: type[C2],
    c: type[C3],
    d: type[C4],
    /,
    **filters: Unpack[Filters[C1 | C2 | C3 | C4]],
) -> Rule[C1 | C2 | C3 | C4]: ...
@overload
def on(a: str, /, *more: Call, **filters: Unpack[Filters[Any]]) -> Rule[Any]: ...
@overload
def on(a: Row, b: str, /, *more: Call, **filters: Unpack[Filters[Any]]) -> Rule[Any]: ...
@overload
def on(a: Row, b: Row, c: str, /, *more: Call, **filters: Unpack[Filters[Any]]) -> Rule[Any]: ...
@overload
def on(
    a: Row, b: Row, c: Row, d: str, /, *more: Call, **filters: Unpack[Filters[Any]]
) -> Rule[Any]: ...
@overload
def on(
    a: Row, b: Row, c: Row, d: Row, e: Call, /, *more: Call, **filters: Unpack[Filters[Any]]
) -> Rule[Any]: ...
def on(
    *calls: Call,
    path: str | None = None,
    fd: int | Iterable[int] | None = None,
    address: str | None = None,
    flags: int | str | None = None,
    process: int | str | None = None,
    when: Callable[[Any], object] | None = None,
    count: str | int | None = None,
    per: Per = "session",
    p: float | None = None,
    seed: int | None = None,
    given: str | None = None,
) -> Rule[Any]:
    """The calls that a handler or a rule is about; nothing else leaves the program. HandlerError for what cannot be.

    `calls`: rows, names, `"%file"` and whatever strace's -e trace= takes. `path`: a pattern for the path made absolute,
    or for what the descriptor stands for. `fd`: descriptors. `address`: of a socket, `"10.0.0.0/8:80-90"`. `flags`:
    bits or names that are set. `process`: a pid, or a pattern for the program's file. `when`: a function of the call.
    `count`: which of the calls that fit, in strace's way: `"3+"`; counted `per` session, process or thread (there, each
    call by itself). `given`: this pointer is not NULL; of sendmsg's message, it has an address. `p`: with this
    probability, the same each time for the same `seed`.
    """
    rows = _rows(calls)
    wanted = Conditions(path=path, per=per)
    if path is not None:
        glob_text(path)
        _need(rows, _about_path, calls, "path", "path and no descriptor")
    if per not in PER:
        raise HandlerError(f"there is no per={per!r}; there are {', '.join(PER)}")
    if fd is not None:
        wanted.fds = numbers(fd, "fd")
        rows = _need(rows, lambda row: bool(row.fd_names()), calls, "fd", "descriptor")
    if path is not None:
        rows = frozenset(row for row in rows if _about_path(row))
    if address is not None:
        wanted.where = where(address)
        rows = _need(rows, lambda row: bool(row.fd_names()), calls, "address", "socket")
    if flags is not None:
        found = {row: bits(row, flags) for row in rows}
        wanted.bits = {row: one for row, one in found.items() if one is not None}
        rows = _need(rows, lambda row: row in wanted.bits, calls, "flags", "flags")
    if given is not None:
        wanted.given = given
        rows = _need(
            rows, lambda row: given in row.arguments, calls, "given", f"argument {given!r}"
        )
    if process is not None:
        if isinstance(process, str) and process.isdigit():
            process = int(process)
        wanted.process = process
    if when is not None:
        if not callable(when):
            raise HandlerError(f"when= is a function of a call, not {when!r}; how often is count=")
        wanted.predicate = when
    if count is not None:
        wanted.count = counted(count)
    if p is not None:
        wanted.chance = Chance(p, seed)
    rule: Rule[Any] = Rule(rows, wanted)
    rule.home = _module_of(sys._getframe(1))
    return rule


def noted(rules: Iterable[Rule[Any]], depth: int = 1) -> list[Rule[Any]]:
    """Rules that a function has made for its caller: noted in the caller's module if it stands at the top level there.

    `depth`: how many functions further out the caller is.
    """
    home = _module_of(sys._getframe(depth + 1))
    made = list(rules)
    for rule in made:
        rule.home = home
        rule._note()
    return made


def _module_of(frame: FrameType) -> dict[str, Any] | None:
    """The names of the module whose top level this is; None within a function or a class."""
    return frame.f_globals if frame.f_locals is frame.f_globals else None


def _rows(calls: tuple[str | type[Syscall], ...]) -> frozenset[type[Syscall]]:
    if not calls:
        raise HandlerError("lsca.on wants to know which calls: rows as c.openat, or names")
    found: set[type[Syscall]] = set()
    for call in calls:
        if isinstance(call, str):
            try:
                found |= select(call)
            except SelectionError as error:
                raise HandlerError(str(error)) from error
        elif isinstance(call, type) and issubclass(call, Syscall) and call is not Syscall:
            found.add(call)
        else:
            raise HandlerError(f"lsca.on wants rows or names of calls, not {call!r}")
    return frozenset(found)


def _about_path(row: type[Syscall]) -> bool:
    return bool(row.path_names() or row.fd_names())


def _need(
    rows: frozenset[type[Syscall]],
    test: Callable[[type[Syscall]], bool],
    calls: tuple[str | type[Syscall], ...],
    word: str,
    what: str,
) -> frozenset[type[Syscall]]:
    """Those rows that a condition can be asked of. HandlerError if one was named of which it cannot."""
    for call in calls:
        named = select(call) if isinstance(call, str) else {call}
        if not any(test(row) for row in named):
            name = call if isinstance(call, str) else call.__name__
            raise HandlerError(f"{word}= has no meaning for {name}, which has no {what}")
    return frozenset(row for row in rows if test(row))


def rules_of(source: object) -> list[Rule[Any]]:
    """The rules of a rule, a decorated function, a module, or several of those, in their order. HandlerError."""
    if isinstance(source, Rule):
        return [source]
    if isinstance(source, list | tuple):
        return [rule for one in source for rule in rules_of(one)]
    noted = getattr(source, NOTED, None)
    if isinstance(source, ModuleType):
        # Services have their rules like functions; a module has those of the ones at its top level.
        services = [one for one in vars(source).values() if hasattr(type(one), NOTED)]
        if services:
            noted = [*(noted or ()), *(rule for one in services for rule in rules_of(one))]
    if noted is not None:
        # Decorators are applied from below, and what stands first is to be asked first.
        return sorted((rule for rule in noted if rule.effects), key=lambda rule: rule.order)
    if isinstance(source, ModuleType):
        raise HandlerError(f"module {source.__name__} has no handlers: nothing in it says lsca.on")
    name = getattr(source, "__name__", repr(source))
    raise HandlerError(f"{name} is no handler: write @lsca.on(...) above it")

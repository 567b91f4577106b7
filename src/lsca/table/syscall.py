# SPDX-License-Identifier: Apache-2.0
"""The base class of all rows, and the table that they enter.

    class pread64(Syscall, x86_64=17, generic=67, blocks=True, terminal=True):
        \"\"\"read from a file descriptor at a given offset\"\"\"

        fd = Fd()
        buf = Out(length="count", filled=True)
        count = Size()
        offset = Offset()

A row is checked when its class is made; what is wrong is said with the call's and the argument's name.
"""

import errno
from collections.abc import Callable, Mapping
from enum import Enum, StrEnum
from typing import ClassVar, Final

from lsca.table.arguments import COUNTED, MEMORY, ArgFlag, Argument, Kind, Length
from lsca.table.effects import Effect, Moves, Names, Posts
from lsca.table.live import MACHINE, Call, Reader
from lsca.table.text import AARCH64, MACHINES, X86_64, Show, View, show_int

ARGS_MAX: Final = 6
CALL_LIMIT: Final = 512  # of native/shared/calls.h
SIZE_MAX: Final = 1 << 32


class Runs(StrEnum):
    """Where a call may be completed under the route `proxy`: `enum call_runs` of native/shared/calls.h."""

    PROGRAM = "RUNS_PROGRAM"
    ANYWHERE = "RUNS_ANYWHERE"
    BOTH = "RUNS_BOTH"
    BORROW = "RUNS_BORROW"
    HANDOVER = "RUNS_HANDOVER"
    NOWHERE = "RUNS_NOWHERE"


class Support(StrEnum):
    """How well a call is served. All but FULL come with a caveat in words."""

    FULL = "full"  # described, served in every route
    PARTIAL = "partial"  # works, but for what the caveat says
    PLAIN = "plain"  # passed on as it is; the log shows numbers and addresses
    NONE = "none"  # refused under the route `proxy`
    GONE = "gone"  # Linux itself answers ENOSYS


RUNS_TEXT: Final = {
    Runs.PROGRAM: "in the program itself",
    Runs.ANYWHERE: "by the proxy, which holds the descriptors",
    Runs.BOTH: "by the proxy and by the program, which both keep this state",
    Runs.BORROW: "in the program, with the descriptors lent to it for the time of the call",
    Runs.HANDOVER: "in the program; the new descriptor is then moved to the proxy",
    Runs.NOWHERE: "not under the route `proxy` (ENOSYS); by the kernel otherwise",
}


class Known(StrEnum):
    """What the agent may know without asking: `enum call_known` of native/shared/calls.h."""

    PID = "KNOWN_PID"
    TID = "KNOWN_TID"
    UID = "KNOWN_UID"
    EUID = "KNOWN_EUID"
    GID = "KNOWN_GID"
    EGID = "KNOWN_EGID"
    RESUID = "KNOWN_RESUID"
    RESGID = "KNOWN_RESGID"
    RESOLUTION = "KNOWN_RESOLUTION"
    PRIORITY_MIN = "KNOWN_PRIORITY_MIN"
    PRIORITY_MAX = "KNOWN_PRIORITY_MAX"


KNOWN_WORDS: Final = {Known.PID, Known.TID, Known.UID, Known.EUID, Known.GID, Known.EGID}


class Handled(Enum):
    """What a handler may do with a call; `flag` is its name in `enum call_flags` of native/shared/calls.h, if any."""

    ANY = ""  # answer it, change it, have it made and look at the result
    BEFORE = "CALL_ASIDE"  # let it be made, or refuse it: it is made in the program's own context
    WATCHED = "CALL_WATCHED"  # know of it: it does not return to its caller

    @property
    def flag(self) -> str:
        return str(self.value)


HANDLED_TEXT: Final = {
    Handled.ANY: "may answer it, change it, have it made and look at the result",
    Handled.BEFORE: "are asked before it, and cannot have it made: it comes out in the program's own context",
    Handled.WATCHED: "are told of it; it does not return, so nothing can take its place",
}


class RowError(TypeError):
    """A row that contradicts itself, the limits of a call, or another row."""


class Table:
    """Rows by name and by each machine's number."""

    def __init__(self) -> None:
        self.by_name: dict[str, type[Syscall]] = {}
        self.by_number: dict[str, dict[int, type[Syscall]]] = {name: {} for name in MACHINES}

    def add(self, row: "type[Syscall]") -> None:
        """Enter a row, unless its name or one of its numbers is taken."""
        if row.name in self.by_name:
            raise RowError(f"{row.name}: there is a row of this name already")
        for machine, number in row.numbers.items():
            other = self.by_number[machine].get(number)
            if other:
                raise RowError(f"{row.name}: {machine} number {number} is {other.name}'s")
        self.by_name[row.name] = row
        for machine, number in row.numbers.items():
            self.by_number[machine][number] = row

    def rows(self) -> "tuple[type[Syscall], ...]":
        """All rows by their x86-64 number, then those that only the generic list has."""
        return tuple(
            sorted(
                self.by_name.values(),
                key=lambda row: (X86_64 not in row.numbers, *row.numbers.values()),
            )
        )


TABLE: Final = Table()


class Syscall(Call):
    """One system call; an instance is one that waits for its answer. Keywords of the class:

    x86_64, generic   its numbers there; None where the machine does not have it
    runs              where it may be completed
    support, caveat   how well it is served
    since             the first Linux with it, "" for older than 2.6.12
    blocks            it may wait for an unbounded time
    new_fd            a non-negative result is a new descriptor
    terminal          job control of the terminal may stop its caller
    known             its answer stays the same until its caller changes it: the agent may keep it
    identity          it may change what is known of its caller
    classes           strace's classes that it is in, instead of its family's; `lsca.table.classes` has the others
    handled           what a handler may do with it
    returns, note     how the log writes the result, and what it adds to it in parentheses
    generic_order     the arguments' names in the generic list's order, where that differs (clone)
    effect            what it does to its process's descriptors, if it succeeds
    moves             its result is a number of bytes that were read or written
    names             of what it may change the name, if it does not only close or replace a descriptor
    posts             what it means for files whose writes are posted, if not what its arguments suggest
    labels            the arguments' names in the order in which the log writes them, where it does, and what it puts
                      before them ("flags" for flags=CLONE_VM)
    errors            with which errnos it may fail through no fault of its caller's, as the man page lists them, the
                      likeliest first; "" where nobody tries
    second            the argument that is its second name of a file without being a pathname (a link's target)
    """

    family: ClassVar[str]
    summary: ClassVar[str]
    numbers: ClassVar[Mapping[str, int]]
    runs: ClassVar[Runs]
    support: ClassVar[Support]
    caveat: ClassVar[str]
    since: ClassVar[str]
    blocks: ClassVar[bool]
    new_fd: ClassVar[bool]
    terminal: ClassVar[bool]
    known: ClassVar[Known | None]
    identity: ClassVar[bool]
    classes: ClassVar[tuple[str, ...] | None]
    handled: ClassVar[Handled]
    returns: ClassVar[Show]
    note: ClassVar[Callable[[View], str] | None]
    effect: ClassVar[Effect | None]
    moves: ClassVar[Moves | None]
    names: ClassVar[Names | None]
    posts: ClassVar[Posts | None]
    second: ClassVar[str | None]
    labels: ClassVar[Mapping[str, str] | None]
    errors: ClassVar[tuple[str, ...]]

    def __init_subclass__(
        cls,
        *,
        x86_64: int | None = None,
        generic: int | None = None,
        runs: Runs = Runs.ANYWHERE,
        support: Support = Support.FULL,
        caveat: str = "",
        since: str = "",
        blocks: bool = False,
        new_fd: bool = False,
        terminal: bool = False,
        known: Known | None = None,
        identity: bool = False,
        classes: tuple[str, ...] | None = None,
        handled: Handled = Handled.ANY,
        returns: Show = show_int,
        note: Callable[[View], str] | None = None,
        generic_order: tuple[str, ...] | None = None,
        effect: Effect | None = None,
        moves: Moves | None = None,
        names: Names | None = None,
        posts: Posts | None = None,
        second: str | None = None,
        labels: Mapping[str, str] | None = None,
        errors: str = "",
        table: Table = TABLE,
    ) -> None:
        super().__init_subclass__()
        arguments = {
            name: value for name, value in vars(cls).items() if isinstance(value, Argument)
        }
        for name in arguments:
            delattr(cls, name)  # an argument may be called `name`: the class's own facts come after
        numbers = {X86_64: x86_64, AARCH64: generic}
        cls.name = cls.__name__
        cls.family = cls.__module__.rpartition(".")[2]
        cls.summary = (cls.__doc__ or "").strip()
        cls.numbers = {machine: nr for machine, nr in numbers.items() if nr is not None}
        cls.arguments = arguments
        cls.order = {X86_64: tuple(arguments), AARCH64: generic_order or tuple(arguments)}
        cls._order = cls.order[MACHINE if MACHINE in MACHINES else X86_64]
        cls.runs, cls.support, cls.caveat, cls.since = runs, support, caveat, since
        cls.blocks, cls.new_fd, cls.terminal = blocks, new_fd, terminal
        cls.known, cls.identity, cls.classes = known, identity, classes
        cls.effect, cls.moves, cls.second, cls.labels = effect, moves, second, labels
        cls.handled, cls.names, cls.posts, cls.errors = handled, names, posts, tuple(errors.split())
        cls.returns, cls.note = staticmethod(returns), staticmethod(note) if note else None
        _check(cls)
        table.add(cls)
        for name in arguments:
            setattr(cls, name, Reader(name, vars(cls).get(name)))

    def __str__(self) -> str:
        """A live call in strace's manner: openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 3."""
        from lsca.table.formatting import format_call  # which is made for rows

        view = self.view()
        args, result = format_call(type(self), view.machine, view.args, view.ret, *self.pieces())
        return f"{self.row_name()}({args})" + (f" = {result}" if view.ret is not None else "")


def _check(row: type[Syscall]) -> None:
    """Raise RowError for a row that cannot be true."""

    def wrong(what: str) -> RowError:
        return RowError(f"{row.name}: {what}")

    if not row.summary or "\n" in row.summary:
        raise wrong("a row has a docstring of one line")
    if not row.numbers:
        raise wrong("a row has a number on at least one machine")
    for machine, number in row.numbers.items():
        if not 0 <= number < CALL_LIMIT:
            raise wrong(f"{machine} number {number} is not below {CALL_LIMIT}")
    if len(row.arguments) > ARGS_MAX:
        raise wrong(f"{len(row.arguments)} arguments; a system call has at most {ARGS_MAX}")
    if (row.support is Support.FULL) != (not row.caveat):
        raise wrong("a caveat belongs to every support level but FULL, and only there")
    unknown = [name for name in row.errors if not hasattr(errno, name)]
    if unknown:
        raise wrong(f"there is no errno {unknown[0]}")
    if row.known and row.runs is not Runs.PROGRAM:
        raise wrong("what is known is the program's")
    if row.known in KNOWN_WORDS and row.arguments:
        raise wrong("what is known as one word has no arguments")
    if set(row.order[AARCH64]) != set(row.arguments):
        raise wrong("generic_order does not name the arguments")
    if row.labels and set(row.labels) != set(row.arguments):
        raise wrong("labels does not name the arguments")
    for name in (*(row.effect.args if row.effect else ()), *([row.second] if row.second else ())):
        if name not in row.arguments:
            raise wrong(f"its effect names {name!r}, and there is no such argument")
    for name, argument in row.arguments.items():
        problem = _problem(row.arguments, argument)
        if problem:
            raise wrong(f"argument {name!r}: {problem}")


def _problem(arguments: Mapping[str, Argument], argument: Argument) -> str | None:
    """What is wrong with one argument, or None."""
    length, layout = argument.length, argument.layout
    if length is not None and length not in arguments:
        return f"its length is {length!r}, and there is no such argument"
    if length is not None and argument.measure is Length.DEREF:
        if arguments[length].kind not in (Kind.IN, Kind.INOUT):
            return f"its length is read at {length!r}, which is not memory that is read"
    elif length is not None and arguments[length].kind is not Kind.VALUE:
        return f"its length is {length!r}, which is not a number"
    if length is None and argument.kind in COUNTED:
        return "nothing says how many there are"
    if argument.kind in MEMORY:
        if layout is None:
            return "memory without a layout"
        if not all(0 < size < SIZE_MAX for size in layout.size.values()):
            return f"{layout.name} has no size that a row can hold"
        if layout.name == "bytes" and length is None:
            return "bytes without a length"
    if ArgFlag.FILLED in argument.flags and argument.measure is not Length.ARG:
        return "filled, but no argument gives its room"
    return None

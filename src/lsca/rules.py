# SPDX-License-Identifier: Apache-2.0
"""Rules about calls, compiled into the form in which the agent decides them by itself.

A `Rule` says which calls it is about and what becomes of them; `compile_rules` makes of several, in their order, the
bytes that `_native.rules_set` puts into force, also while programs run. The first rule that fits a call and decides it
ends the search; one that only delays or changes the call leaves the rest to the next. native/shared/rules.h describes
the bytes. What a rule cannot do with a call is said by `RuleError`, in terms of that call.
"""

import os
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from lsca.errors import RuleError
from lsca.table.arguments import ArgFlag, Argument, Kind, Length
from lsca.table.live import MACHINE
from lsca.table.syscall import CALL_LIMIT, TABLE, Handled, Syscall

Op = Literal["==", "!=", "<", "<=", ">", ">="]
Family = Literal["inet", "inet6", "unix"]

MAGIC: Final = 0x6C736372
RULE_LIMIT: Final = 512
TESTS: Final = 4
ROOM: Final = 1 << 18
TEXT_MOST: Final = 2048
NS: Final = 1_000_000_000
FAMILIES: Final[Mapping[str, int]] = {"unix": 1, "inet": 2, "inet6": 10}
OPS: Final[tuple[Op, ...]] = ("==", "!=", "<", "<=", ">", ">=")

IF_PID, IF_EXE, IF_FD, IF_PATH, IF_ADDRESS, IF_WHEN, IF_CHANCE, IF_AFTER = (
    1 << bit for bit in range(8)
)
PER: Final[Mapping[str, int]] = {"session": 0, "process": 1 << 8, "thread": 1 << 9}
NONE, RETURN, ASK, KILL, PASS = range(5)
DENY: Final = 1

_HEAD: Final = struct.Struct("<IIII")
_TEXT: Final = struct.Struct("<II")
_TEST: Final = struct.Struct("<BBB5xQq")
_ADDRESS: Final = struct.Struct("<HHHH16sII")
_FRONT: Final = struct.Struct("<IIII")
_BACK: Final = struct.Struct("<II QQQ QQ Q q II QQ Q")
_RULE_SIZE: Final = 312
_CUT: Final = (Kind.IOV_IN, Kind.IOV_OUT, Kind.MSG_IN)


class Compare(NamedTuple):
    """A condition on one argument, by its name: `(argument & mask) op value`, as signed numbers.

    `narrow`: only the lower half counts, as an int (a descriptor, AT_FDCWD).
    """

    argument: str
    op: Op
    value: int
    mask: int = (1 << 64) - 1
    narrow: bool = False


class Address(NamedTuple):
    """Socket addresses: a family, ports, a network (`10.0.0.0/8`, `::1`) or the pattern of a Unix socket's path.

    An abstract Unix socket is written with `@` in front. What is not said may be anything.
    """

    family: Family | None = None
    ports: tuple[int, int] | None = None
    network: str | None = None
    path: str | None = None


class When(NamedTuple):
    """The `first`, `first + step`, ... `last` of the calls that meet all other conditions; counted from 1.

    Counted in the whole session, in each process, or in each thread, there each call by itself.
    """

    first: int = 1
    last: int | None = None
    step: int = 1
    per: Literal["session", "process", "thread"] = "session"


class Return(NamedTuple):
    """The call is not made; its result is `value`. A negative errno is a failure."""

    value: int


class Ask:
    """The session's handler decides; it finds the rule's `id` in its request."""


class Kill(NamedTuple):
    """The call is not made, and its process gets a signal."""

    signal: int


class Pass:
    """The call goes on, and no further rule is looked at."""


class Rule(NamedTuple):
    """Which calls, and what becomes of them. Conditions that are given must all be met.

    path           a pattern for the absolute path of one of the call's paths; of a call that has none, for what its
                   descriptor stands for. `*` and `?` stay within a component, `**` does not
    process        a pattern for the path of the program's executable
    fds            descriptors, or ranges of them
    after_bytes    once such calls have moved so many bytes; the one that reaches the number is cut short
    chance, seed   the probability, and what decides it: the same seed, the same calls
    delay, delay_after   seconds before and after the call
    most           bytes that the call may move
    move           (from, to): paths that begin with the one begin with the other; twice the same: they stay,
                   whatever later rules would do with them
    redirect       another address in the call's place; a port of (0, 0) or none stays
    counter        a number below 512: rules with the same one count together, and go on counting after a change of
                   rules; None: it begins anew then
    """

    calls: tuple[str, ...]
    id: int = 0
    pid: int | None = None
    process: str | None = None
    fds: tuple[int | tuple[int, int], ...] = ()
    path: str | None = None
    tests: tuple[Compare, ...] = ()
    address: Address | None = None
    when: When | None = None
    chance: float | None = None
    seed: int = 0
    after_bytes: int | None = None
    verdict: Return | Ask | Kill | Pass | None = None
    signal: int = 0
    delay: float = 0.0
    delay_after: float = 0.0
    most: int | None = None
    move: tuple[str, str] | None = None
    redirect: Address | None = None
    counter: int | None = None


class _Pool:
    """The texts and lists behind the rules."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.data = bytearray()
        self.known: dict[bytes, int] = {}

    def add(self, data: bytes, count: int) -> tuple[int, int]:
        """Where `data` is, and `count` of whatever it is made of."""
        if not data:
            return 0, 0
        if data not in self.known:
            self.data += bytes(-len(self.data) % 8)
            self.known[data] = self.start + len(self.data)
            self.data += data
        return self.known[data], count

    def text(self, text: str | None) -> tuple[int, int]:
        data = os.fsencode(text or "")
        return self.add(data, len(data))


def call_of(name: str) -> type[Syscall]:
    """The row of a call. RuleError with a suggestion if there is none."""
    row = TABLE.by_name.get(name)
    if row is None:
        import difflib

        near = difflib.get_close_matches(name, TABLE.by_name, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise RuleError(f"there is no call {name!r}{hint}")
    return row


def compile_rules(
    rules: Sequence[Rule], *, deny: bool = False, machine: str | None = None
) -> bytes:
    """All rules in one piece for `_native.rules_set`.

    With `deny` a call that a handler should have decided fails with EPERM if there is no handler, or it raised; else
    it goes on. RuleError for what cannot be.
    """
    machine = machine or MACHINE
    if len(rules) > RULE_LIMIT:
        raise RuleError(f"{len(rules)} rules; a session holds {RULE_LIMIT}")
    head = _HEAD.size + _TEXT.size * CALL_LIMIT
    pool = _Pool(head + _RULE_SIZE * len(rules))
    by_call: dict[int, list[int]] = {}
    packed = bytearray()
    for index, rule in enumerate(rules):
        for number in sorted(_numbers(rule, machine)):
            by_call.setdefault(number, []).append(index)
        packed += _rule(rule, index, pool, machine)
    lists = bytearray()
    for number in range(CALL_LIMIT):
        own = by_call.get(number, [])
        lists += _TEXT.pack(*pool.add(struct.pack(f"<{len(own)}H", *own), len(own)))
    pool.data += bytes(-len(pool.data) % 8)
    size = head + len(packed) + len(pool.data)
    if size > ROOM:
        raise RuleError(
            f"these rules take {size} bytes; a session holds {ROOM}: use fewer or shorter patterns"
        )
    flags = DENY if deny else 0
    return _HEAD.pack(MAGIC, size, len(rules), flags) + bytes(lists + packed + pool.data)


def _numbers(rule: Rule, machine: str) -> set[int]:
    """The numbers of a rule's calls here. One that only other machines have is no mistake, none at all is."""
    rows = [call_of(name) for name in rule.calls]
    for row in rows:
        _check_call(rule, row)
    numbers = {row.numbers[machine] for row in rows if machine in row.numbers}
    if not numbers:
        raise RuleError(
            f"{', '.join(rule.calls) or 'a rule without calls'}: no such call on {machine}"
        )
    return numbers


def _arguments(row: type[Syscall], *kinds: Kind) -> list[Argument]:
    return [argument for argument in row.arguments.values() if argument.kind in kinds]


def _has_address(row: type[Syscall]) -> bool:
    found = [a for a in _arguments(row, Kind.IN) if a.layout and a.layout.name == "struct sockaddr"]
    return bool(found or _arguments(row, Kind.MSG_IN))


def _has_path(row: type[Syscall]) -> bool:
    return any(ArgFlag.PATH in argument.flags for argument in row.arguments.values())


def _can_be_cut(row: type[Syscall]) -> bool:
    plain = (
        argument.measure is Length.ARG
        and argument.layout is not None
        and argument.layout.name == "bytes"
        for argument in _arguments(row, Kind.IN, Kind.OUT)
    )
    return any(plain) or bool(_arguments(row, *_CUT))


def _check_call(rule: Rule, row: type[Syscall]) -> None:
    """Raise RuleError if the rule wants of a call what that call has not."""

    def wrong(what: str) -> RuleError:
        return RuleError(f"{row.name}: {what}")

    if row.handled is Handled.WATCHED and not isinstance(rule.verdict, Ask | Pass | None):
        raise wrong("it does not return to its caller, so nothing can take its place")
    if row.handled is not Handled.ANY and (rule.most is not None or rule.move or rule.redirect):
        raise wrong("it is made in the program's own context, so its arguments stay as they are")
    if rule.path is not None and not _has_path(row) and not _arguments(row, Kind.FD):
        raise wrong("it has neither a path nor a descriptor that a path could be compared with")
    if rule.move and not _has_path(row):
        raise wrong("it has no path that could be replaced")
    if rule.fds and not _arguments(row, Kind.FD):
        raise wrong("it has no descriptor")
    if (rule.address or rule.redirect) and not _has_address(row):
        raise wrong("it is given no socket address")
    if (rule.most is not None or rule.after_bytes is not None) and not _can_be_cut(row):
        raise wrong("it has no buffer whose length could be counted or cut short")
    for test in rule.tests:
        if test.argument not in row.arguments:
            have = ", ".join(row.arguments) or "none"
            raise wrong(f"it has no argument {test.argument!r}; its arguments: {have}")


def _positions(rule: Rule, machine: str) -> list[int]:
    """Where the arguments of a rule's tests stand, which must be the same in all of its calls."""
    rows = [row for row in map(call_of, rule.calls) if machine in row.numbers]
    found = []
    for test in rule.tests:
        places = {row.order[machine].index(test.argument) for row in rows}
        if len(places) != 1:
            raise RuleError(
                f"{', '.join(rule.calls)}: {test.argument!r} is not the same argument in all; make two rules"
            )
        found.append(places.pop())
    return found


def _address(address: Address | None, pool: _Pool, *, exact: bool) -> bytes:
    if address is None:
        return _ADDRESS.pack(0, 0, 0, 0, b"", 0, 0)
    family = FAMILIES[address.family] if address.family else 0
    prefix, ip = 0, b""
    if address.network is not None:
        import ipaddress  # few rules are about networks

        try:
            network = ipaddress.ip_network(address.network, strict=False)
        except ValueError as error:
            raise RuleError(f"{address.network!r} is no network address: {error}") from None
        own = FAMILIES["inet" if network.version == 4 else "inet6"]
        if family not in (0, own):
            raise RuleError(f"{address.network} is no address of the family {address.family}")
        family, prefix, ip = own, network.prefixlen, network.network_address.packed
        if exact:
            host = ipaddress.ip_interface(address.network)
            ip = host.ip.packed
    if address.path is not None and family not in (0, FAMILIES["unix"]):
        raise RuleError(f"an address of the family {address.family} has no path")
    if address.path is not None:
        family = FAMILIES["unix"]
    low, high = address.ports or (0, 0)
    if not 0 <= low <= high < 1 << 16:
        raise RuleError(f"ports {low} to {high}: there are 0 to 65535")
    if exact and (not family or (family != FAMILIES["unix"] and address.network is None)):
        raise RuleError("another address is one address: say its network address or its path")
    if address.path is not None and exact and len(os.fsencode(address.path)) > 107:
        raise RuleError(f"{address.path}: the path of a Unix socket has at most 107 bytes")
    return _ADDRESS.pack(family, prefix, low, high, ip, *pool.text(address.path))


def _ranges(fds: Iterable[int | tuple[int, int]]) -> list[tuple[int, int]]:
    pairs = [fd if isinstance(fd, tuple) else (fd, fd) for fd in fds]
    for low, high in pairs:
        if not -1 <= low <= high < 1 << 31:
            raise RuleError(f"descriptors {low} to {high}: not a range of descriptors")
    return pairs


def _seconds(seconds: float, what: str) -> int:
    if not 0 <= seconds <= 1e9:
        raise RuleError(f"{what} of {seconds} seconds")
    return round(seconds * NS)


def _conditions(rule: Rule) -> int:
    when = rule.when
    given: dict[int, object] = {
        IF_PID: rule.pid is not None,
        IF_EXE: rule.process is not None,
        IF_FD: rule.fds,
        IF_PATH: rule.path is not None,
        IF_ADDRESS: rule.address,
        IF_WHEN: when,
        IF_CHANCE: rule.chance is not None,
        IF_AFTER: rule.after_bytes is not None,
    }
    return (
        sum(flag for flag, is_given in given.items() if is_given)
        | PER[when.per if when else "session"]
    )


def _verdict(rule: Rule) -> tuple[int, int]:
    match rule.verdict:
        case Return(value):
            if value == -512 or not -(1 << 63) <= value < 1 << 63:
                raise RuleError(f"{value} is not what a call can return")
            return RETURN, value
        case Ask():
            return ASK, 0
        case Kill(number):
            if not 1 <= number <= 64:
                raise RuleError(f"there is no signal {number}")
            return KILL, number
        case Pass():
            return PASS, 0
        case None:
            return NONE, 0


def _check_rule(rule: Rule) -> None:
    """What does not depend on the call."""
    if len(rule.tests) > TESTS:
        raise RuleError(f"{len(rule.tests)} conditions on arguments; a rule has at most {TESTS}")
    if not 0 <= rule.signal <= 64:
        raise RuleError(f"there is no signal {rule.signal}")
    if rule.chance is not None and not 0 <= rule.chance <= 1:
        raise RuleError(f"a chance of {rule.chance}: it is between 0 and 1")
    if not 0 <= rule.id < 1 << 32:
        raise RuleError(f"a rule's number {rule.id}: it has 32 bits")
    if rule.counter is not None and not 0 <= rule.counter < RULE_LIMIT:
        raise RuleError(f"counter {rule.counter}: there are {RULE_LIMIT}")
    for number in (rule.most, rule.after_bytes):
        if number is not None and not 0 <= number < 1 << 63:
            raise RuleError(f"{number} bytes")
    when = rule.when
    if when and (
        when.first < 1 or when.step < 1 or (when.last is not None and when.last < when.first)
    ):
        raise RuleError(
            f"calls {when.first} to {when.last} in steps of {when.step}: they count from 1"
        )
    if rule.move:
        for path in rule.move:
            if not path.startswith("/") or len(os.fsencode(path)) > TEXT_MOST:
                raise RuleError(
                    f"{path}: paths are moved by an absolute path of at most {TEXT_MOST} bytes"
                )
            if re.search(r"//|/\.\.?(/|$)", path):
                raise RuleError(f"{path}: a path to compare with has no //, . or ..")


def _rule(rule: Rule, index: int, pool: _Pool, machine: str) -> bytes:
    """One `struct rule`."""
    _check_rule(rule)
    kind, value = _verdict(rule)
    when = rule.when or When()
    pairs = _ranges(rule.fds)
    tests = bytearray()
    for test, place in zip(rule.tests, _positions(rule, machine), strict=True):
        mask = test.mask & ((1 << 64) - 1)
        tests += _TEST.pack(place, OPS.index(test.op), test.narrow, mask, _signed(test.value))
    tests += bytes(_TEST.size * TESTS - len(tests))
    source, target = rule.move or ("", "")
    front = _FRONT.pack(rule.id, _conditions(rule), rule.pid or 0, len(rule.tests))
    front += _TEXT.pack(*pool.text(rule.process)) + _TEXT.pack(*pool.text(rule.path))
    front += _TEXT.pack(
        *pool.add(b"".join(struct.pack("<ii", *pair) for pair in pairs), len(pairs))
    )
    counter = rule.counter if rule.counter is not None else RULE_LIMIT + index
    back = _BACK.pack(
        counter, kind,
        when.first, when.last or 0, when.step,
        round((rule.chance or 0) * (1 << 32)), rule.seed & ((1 << 64) - 1),
        rule.after_bytes or 0,
        value,
        rule.signal, rule.most is not None,
        _seconds(rule.delay, "a delay"), _seconds(rule.delay_after, "a delay"),
        rule.most or 0,
    )  # fmt: skip
    moved = _TEXT.pack(*pool.text(source)) + _TEXT.pack(*pool.text(target))
    address = _address(rule.address, pool, exact=False)
    return front + tests + address + back + moved + _address(rule.redirect, pool, exact=True)


def _signed(value: int) -> int:
    """As the kernel's registers have it."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value

# SPDX-License-Identifier: Apache-2.0
"""Rules in the form that the agent decides by itself (`lsca.rules`), so that nothing else leaves the program.

A rule without Python stays there altogether. What only Python can decide is asked for under the conditions that the
agent does know. Rules are tried in their order on either side: the agent asks about the first one that wants Python,
and Python goes on from there. So what counts must count where all of its calls come by: a rule that counts is Python's
if one before it may already have asked.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from lsca import rules as packed
from lsca.errors import HandlerError, RuleError
from lsca.handlers.conditions import Where, glob_text
from lsca.handlers.rule import Rule
from lsca.handlers.verdicts import Kind, go_on
from lsca.table import Syscall
from lsca.table.arguments import Kind as ArgKind
from lsca.table.live import MACHINE
from lsca.table.reading import WRITTEN
from lsca.table.syscall import Handled

MAPPED: Final = "::ffff:"
FAMILY_INET: Final = 2
FAMILY_INET6: Final = 10
FIRST: Final = 1  # the id of the first rule; 0 is nobody's
BUFFERS: Final = (ArgKind.IN, ArgKind.IOV_IN, ArgKind.MSG_IN, *WRITTEN)


def compile_rules(rules: Iterable[Rule[Any]], *, deny: bool) -> bytes:
    """What `_native.rules_set` wants. HandlerError for what cannot be."""
    found: list[packed.Rule] = []
    asked: set[type[Syscall]] = set()
    for number, rule in enumerate(rules, FIRST):
        rows = frozenset(row for row in rule.rows if MACHINE in row.numbers)
        rule.counted_by_agent = _counts_alone(rule, rows, asked)
        rule.matched_by_agent = _matches_alone(rule, rows)
        rule.moved_by_agent = rule.matched_by_agent and (rule.counted_by_agent or not _counts(rule))
        for row_set, tests in _by_tests(rule, _possible(rule, rows)):
            for one in _translated(rule, number, row_set, tests, asked):
                found.append(one)
                if isinstance(one.verdict, packed.Ask):
                    asked |= row_set
    found.sort(
        key=lambda one: one.move is None
    )  # wherever a handler has its call made, it is there
    try:
        return packed.compile_rules(found, deny=deny)
    except RuleError as error:
        raise HandlerError(str(error)) from error


def _counts(rule: Rule[Any]) -> bool:
    wanted = rule.conditions
    counts = wanted.count is not None or wanted.chance is not None
    return counts or rule.effects.after_bytes is not None


def _counts_alone(
    rule: Rule[Any], rows: frozenset[type[Syscall]], asked: set[type[Syscall]]
) -> bool:
    """The agent sees all calls that the rule counts, and knows all that they must fulfil before they count."""
    moves = rule.effects.cut is not None or rule.effects.after_bytes is not None
    whole = all(_has_buffer(row) or not moves for row in rows)
    return _matches_alone(rule, rows) and whole and not rows & asked


def _matches_alone(rule: Rule[Any], rows: frozenset[type[Syscall]]) -> bool:
    """The agent knows everything but counts."""
    return rule.conditions.predicate is None and all(_knows_conditions(rule, row) for row in rows)


def _possible(rule: Rule[Any], rows: frozenset[type[Syscall]]) -> frozenset[type[Syscall]]:
    """Without those calls to which it cannot be done: an exit does not fail. HandlerError if none is left."""
    if rule.effects.handler is not None:
        return rows
    decides = rule.effects.verdict is not None
    left = frozenset(row for row in rows if not (decides and row.handled is Handled.WATCHED))
    if rows and not left:
        names = ", ".join(sorted(row.__name__ for row in rows))
        raise HandlerError(f"{names} does not return to its caller, so nothing can take its place")
    return left


def _by_tests(
    rule: Rule[Any], rows: frozenset[type[Syscall]]
) -> Iterator[tuple[frozenset[type[Syscall]], tuple[packed.Compare, ...]]]:
    """The rows in groups whose flags stand at the same place."""
    groups: dict[tuple[tuple[int, packed.Compare], ...], set[type[Syscall]]] = {}
    for row in rows:
        tests: list[packed.Compare] = []
        bits, given = rule.conditions.bits.get(row), rule.conditions.given
        if bits is not None:
            tests.append(packed.Compare(bits.argument, "==", bits.value, bits.mask))
        if given is not None:
            tests.append(packed.Compare(given, "!=", 0))
        key = tuple((row.order[MACHINE].index(test.argument), test) for test in tests)
        groups.setdefault(key, set()).add(row)
    for placed, found in groups.items():
        yield frozenset(found), tuple(test for _, test in placed)


def _translated(
    rule: Rule[Any],
    number: int,
    rows: frozenset[type[Syscall]],
    tests: tuple[packed.Compare, ...],
    asked: set[type[Syscall]],
) -> Iterator[packed.Rule]:
    """A rule as the agent's: as it is where the agent can decide it, else as a question."""
    alone = {row for row in rows if _decides(rule, row, asked)}
    for part, is_question in ((alone, False), (rows - alone, True)):
        if not part:
            continue
        knows_path = all(_knows_path(row) for row in part)
        knows_address = all(_is_given_address(row) for row in part)
        base = packed.Rule(
            calls=tuple(sorted(row.__name__ for row in part)),
            id=number,
            tests=tests,
            **_conditions(rule, knows_path=knows_path),
        )
        counting = _counting(rule) if rule.counted_by_agent else {}
        effects: dict[str, Any] = {"verdict": packed.Ask()} if is_question else _effects(rule)
        where = rule.conditions.where if knows_address else None
        names = rule.conditions.given is not None and all(_has_message(row) for row in part)
        anywhere = packed.Address() if names else None
        for address in _addresses(where) if where else (anywhere,):
            yield base._replace(address=address, **counting, **effects)


def _decides(rule: Rule[Any], row: type[Syscall], asked: set[type[Syscall]]) -> bool:
    """Whether the agent can do all of it for calls of this row."""
    effects = rule.effects
    if effects.handler is not None or not _knows_conditions(rule, row):
        return False
    if rule.conditions.predicate is not None or (_counts(rule) and not rule.counted_by_agent):
        return False
    moves = effects.cut is not None or effects.after_bytes is not None
    return not moves or _has_buffer(row)


def _knows_conditions(rule: Rule[Any], row: type[Syscall]) -> bool:
    wanted = rule.conditions
    if wanted.path is not None and not _knows_path(row):
        return False
    if wanted.given is not None and row.arguments[wanted.given].kind is ArgKind.MSG_IN:
        return False
    return wanted.where is None or _is_given_address(row)


def _knows_path(row: type[Syscall]) -> bool:
    """The agent looks at all paths, but at one descriptor only."""
    return bool(row.path_names()) or len(row.fd_names()) < 2


def _is_given_address(row: type[Syscall]) -> bool:
    """It looks at addresses that a call brings, not at what a socket is connected to."""
    return row.__name__ in ("connect", "bind")


def _has_message(row: type[Syscall]) -> bool:
    return any(argument.kind is ArgKind.MSG_IN for argument in row.arguments.values())


def _has_buffer(row: type[Syscall]) -> bool:
    return any(a.kind in BUFFERS and a.seen is bytes for a in row.arguments.values())


def _conditions(rule: Rule[Any], *, knows_path: bool) -> dict[str, Any]:
    wanted = rule.conditions
    found: dict[str, Any] = {}
    if wanted.path is not None and knows_path:
        found["path"] = glob_text(wanted.path)
    if wanted.fds is not None:
        found["fds"] = tuple(sorted(wanted.fds))
    if isinstance(wanted.process, int):
        found["pid"] = wanted.process
    elif wanted.process is not None:
        found["process"] = glob_text(wanted.process)
    return found


def _counting(rule: Rule[Any]) -> dict[str, Any]:
    wanted, effects = rule.conditions, rule.effects
    # One counter for all that a rule has become, the same one when rules are replaced around it.
    found: dict[str, Any] = {"counter": rule.counter}
    if wanted.count is not None:
        count = wanted.count
        found["when"] = packed.When(
            count.first,
            count.last or None,
            count.step,
            per=wanted.per,
        )
    if wanted.chance is not None:
        found["chance"] = wanted.chance.probability
        found["seed"] = wanted.chance.seed
    if effects.after_bytes is not None:
        found["after_bytes"] = effects.after_bytes
    return found if len(found) > 1 else {}


def _effects(rule: Rule[Any]) -> dict[str, Any]:
    effects = rule.effects
    found: dict[str, Any] = {
        "delay": effects.before,
        "delay_after": effects.behind,
        "signal": effects.signal,
        "most": effects.cut,
        "move": effects.move,
    }
    verdict = effects.verdict
    if verdict is not None and verdict.kind is Kind.RETURN:
        found["verdict"] = packed.Return(verdict.value)
    elif verdict is not None and verdict.kind is Kind.KILL:
        found["verdict"] = packed.Kill(verdict.value)
    elif verdict is go_on:
        found["verdict"] = packed.Pass()
    return found


def _addresses(where: Where) -> Iterator[packed.Address]:
    """One set of addresses as the agent's: an IPv4 network is found in an IPv6 socket too, as a mapped one."""
    ports = (where.low, where.high) if where.high else None
    if where.path:
        yield packed.Address("unix", path=where.path)
        return
    if not where.ip:
        yield packed.Address("inet", ports=ports)
        yield packed.Address("inet6", ports=ports)
        return
    if where.families[0] == FAMILY_INET:
        host = ".".join(map(str, where.ip))
        yield packed.Address("inet", ports, f"{host}/{where.prefix}")
        yield packed.Address("inet6", ports, f"{MAPPED}{host}/{96 + where.prefix}")
    else:
        groups = [where.ip[at : at + 2].hex() for at in range(0, len(where.ip), 2)]
        yield packed.Address("inet6", ports, f"{':'.join(groups)}/{where.prefix}")

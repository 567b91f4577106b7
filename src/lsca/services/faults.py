# SPDX-License-Identifier: Apache-2.0
"""Faults on the command line: strace's `inject=` and `fault=`, and beyond it by path, descriptor, expression, chance.

    inject=fsync:error=EIO:path=*.wal:when=3
    inject=write:delay_exit=20ms:fd=1
    inject=%network:error=ECONNRESET:p=0.1
    fault=openat:if=flags & O_CREAT

Each becomes a rule or a handler, with nothing but the public `lsca`. What is wrong is said with its place in the text.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import lsca
from lsca.errors import HandlerError, near
from lsca.services.expressions import ExpressionError, compile_expression

UNITS: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "": 1e-6}
TIME: Final = re.compile(r"(\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+)(s|ms|us|ns|)")
SIZE: Final = re.compile(r"(\d+)([kKmMgG]?)(?:i?[bB])?")
SIZES: Final = {"": 0, "k": 10, "m": 20, "g": 30}
POKE: Final = re.compile(r"@arg([1-7])=((?:[0-9a-fA-F]{2})+)")
RETVAL_MAX: Final = (1 << 63) - 1
SEED_STEP: Final = 0x9E3779B9  # rules with one seed between them are not to fail together
PURE: Final[dict[str, Callable[[Any], int]]] = {
    "getpid": lambda call: call.process.pid,
    "gettid": lambda call: call.thread.tid,
    "getppid": lambda call: call.process.parent,
    "getpgrp": lambda call: int(call.process.status("NSpgid").split()[-1]),
    "getuid": lambda call: _id(call, "Uid", 0),
    "geteuid": lambda call: _id(call, "Uid", 1),
    "getgid": lambda call: _id(call, "Gid", 0),
    "getegid": lambda call: _id(call, "Gid", 1),
}
POKES: Final = ("poke_enter", "poke_exit")
ACTIONS: Final = ("error", "retval", "signal", "delay_enter", "delay_exit", *POKES)
CONDITIONS: Final = ("when", "path", "fd", "if", "p", "after_bytes", "address", "process", "per")
OPTIONS: Final = (*ACTIONS, "syscall", *CONDITIONS)


class FaultError(HandlerError):
    """A fault that was not understood: shows the rule, the place in it, and what was meant."""

    def __init__(self, rule: str, text: str, at: int, length: int) -> None:
        mark = " " * (len("-e ") + at) + "^" * max(length, 1)
        super().__init__(f"{text}\n  -e {rule}\n  {mark}")
        self.rule = rule
        self.at = at


class Part(NamedTuple):
    """One option of a fault: `value` stands at `at` of the text."""

    name: str
    value: str
    at: int
    start: int


def rules(*texts: str, seed: int | None = None) -> list[lsca.Rule[Any]]:
    """The rules of some faults, in their order. FaultError. `seed` decides what `p=` decides."""
    return [
        _rule(text, None if seed is None else seed + n * SEED_STEP) for n, text in enumerate(texts)
    ]


def uses_chance(texts: Sequence[str]) -> bool:
    """Whether a seed makes a difference."""
    return any(part.name == "p" for text in texts for part in _split(text)[1])


def _rule(text: str, seed: int | None) -> "lsca.Rule[Any]":
    calls, parts = _split(text)
    options = _options(text, calls, parts)
    conditions = _conditions(text, options, seed)
    try:
        rule: lsca.Rule[Any] = lsca.on(calls.value)
    except HandlerError as error:
        place = error.__cause__
        at, length = getattr(place, "at", 0), getattr(place, "length", len(calls.value))
        raise FaultError(text, str(error), calls.at + at, length) from None
    if "if" in options:
        part = options["if"]
        try:
            conditions["when"] = compile_expression(part.value, rule.rows)
        except ExpressionError as error:
            raise FaultError(text, str(error), part.at + error.at, error.length) from None
    for name, part in options.items():
        # One after the other, so that what does not go together is said of the option that does not.
        key = {"when": "count", "if": "when"}.get(name, name)
        if key in conditions:
            with _at(text, part):
                lsca.on(calls.value, **{key: conditions[key]})
    rule = lsca.on(calls.value, **conditions)
    if options.keys() & set(POKES) or _needs_pure(options):
        rule(_handler(options, text))
    else:
        _act(rule, options, text)
    return rule


def _split(text: str) -> tuple[Part, list[Part]]:
    """The calls and the options of a fault. A colon within quotes or brackets, or behind a backslash, is none."""
    kind, equals, _ = text.partition("=")
    if kind not in ("inject", "fault") or not equals:
        known = ["inject", "fault"]
        hint = near(kind, known) or "; there are inject= and fault="
        raise FaultError(text, f"there is no -e {kind}={hint}", 0, len(kind))
    pieces: list[tuple[str, int]] = []
    value, start, depth, quote, at = "", len(kind) + 1, 0, "", len(kind) + 1
    while at < len(text):
        char = text[at]
        if char == "\\" and at + 1 < len(text) and text[at + 1] == ":" and not quote:
            value, at = value + ":", at + 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth = max(depth - 1, 0)
        elif char == ":" and not depth:
            pieces.append((value, start))
            value, start, at = "", at + 1, at + 1
            continue
        value, at = value + char, at + 1
    pieces.append((value, start))
    if quote:
        raise FaultError(text, f"a {quote} opens here and nothing closes it", text.rindex(quote), 1)
    calls = Part(kind, pieces[0][0], pieces[0][1], pieces[0][1])
    return calls, [_part(text, piece, start) for piece, start in pieces[1:]]


def _part(text: str, piece: str, start: int) -> Part:
    name, equals, value = piece.partition("=")
    if name not in OPTIONS:
        hint = near(name, OPTIONS) or f"; there are {', '.join(OPTIONS)}"
        raise FaultError(text, f"there is no option {name!r}{hint}", start, len(name))
    if not equals or not value:
        raise FaultError(text, f"{name}= wants a value", start, len(piece))
    at = start + len(name) + 1
    if name != "if" and len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value, at = value[1:-1], at + 1
    return Part(name, value, at, start)


def _options(text: str, calls: Part, parts: list[Part]) -> dict[str, Part]:
    options: dict[str, Part] = {}
    for part in parts:
        if part.name in options and part.name != "when":  # of several when=, the last one counts
            raise FaultError(text, f"{part.name}= is given twice", part.start, len(part.name))
        options[part.name] = part
    if "error" in options and "retval" in options:
        second = max(options["error"], options["retval"], key=lambda part: part.start)
        raise FaultError(
            text, "error= and retval= exclude each other", second.start, len(second.name)
        )
    if calls.name == "fault":
        for name in options.keys() & set(ACTIONS) - {"error"}:
            part = options[name]
            raise FaultError(
                text, f"{name}= belongs to inject=, not to fault=", part.start, len(name)
            )
        options.setdefault("error", Part("error", "ENOSYS", 0, 0))
    if not options.keys() & set(ACTIONS):
        what = ", ".join(f"{name}=" for name in ACTIONS[:-1])
        raise FaultError(
            text, f"nothing is to happen: say one of {what} or {ACTIONS[-1]}=", 0, len(text)
        )
    if "after_bytes" in options and "error" not in options:
        part = options["after_bytes"]
        raise FaultError(
            text, "after_bytes= wants an error= to come then", part.start, len(part.name)
        )
    return options


class _at:
    """What goes wrong within is the fault of one option."""

    def __init__(self, text: str, part: Part) -> None:
        self.text = text
        self.part = part

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ValueError) and not isinstance(error, FaultError):
            raise FaultError(self.text, str(error), self.part.at, len(self.part.value)) from None


def _conditions(text: str, options: dict[str, Part], seed: int | None) -> dict[str, Any]:
    found: dict[str, Any] = {"per": "thread"}  # strace counts per syscall and per tracee
    for name, part in options.items():
        with _at(text, part):
            if name in ("path", "address", "process", "per"):
                found[name] = part.value
            elif name == "when":
                found["count"] = part.value
            elif name == "fd":
                found["fd"] = _descriptors(part.value)
            elif name == "p":
                found["p"] = _probability(part.value)
                found["seed"] = seed
    return found


def _act(rule: "lsca.Rule[Any]", options: dict[str, Part], text: str) -> None:
    for name, part in options.items():
        with _at(text, part):
            if name == "delay_enter":
                rule.sleep(_seconds(part.value))
            elif name == "delay_exit":
                rule.sleep(after=_seconds(part.value))
            elif name == "signal":
                rule.signal(_number_or_name(part.value))
            elif name == "error":
                after = options.get("after_bytes")
                rule.fail(
                    _number_or_name(part.value),
                    after_bytes=None if after is None else _bytes(text, after),
                )
            elif name == "retval":
                rule.ret(_retval(part.value))
            elif name == "syscall":
                _pure(part.value)


def _handler(options: dict[str, Part], text: str) -> Callable[[Any], lsca.Verdict]:
    """For what a rule cannot do: writing into memory, and asking for another call in its stead."""
    values: dict[str, Any] = {}
    for name, part in options.items():
        with _at(text, part):
            if name in ("delay_enter", "delay_exit"):
                values[name] = _seconds(part.value)
            elif name == "signal":
                values[name] = lsca.kill(_number_or_name(part.value)).value
            elif name in ("poke_enter", "poke_exit"):
                values[name] = _pokes(part.value)
            elif name == "error":
                values["verdict"] = lsca.fail(_number_or_name(part.value))
            elif name == "retval":
                values["verdict"] = lsca.ret(_retval(part.value))
            elif name == "syscall":
                values[name] = _pure(part.value)

    def inject(call: Any) -> lsca.Verdict:
        if "delay_enter" in values:
            lsca.sleep(values["delay_enter"])
        _poke(call, values.get("poke_enter", ()))
        verdict = values.get("verdict")
        if verdict is None and "syscall" in values:
            verdict = lsca.ret(values["syscall"](call))
        is_made = verdict is None and options.keys() & {"poke_exit", "delay_exit", "signal"}
        if is_made:
            call.proceed(signal=values.get("signal", 0))
        _poke(call, values.get("poke_exit", ()))
        if "delay_exit" in values:
            lsca.sleep(values["delay_exit"])
        if "signal" in values and not is_made:  # there was no call during which it could come
            call.process.signal(values["signal"])
        return verdict or lsca.go_on

    return inject


def _needs_pure(options: dict[str, Part]) -> bool:
    return "syscall" in options and not options.keys() & {"error", "retval"}


# ---- values ---------------------------------------------------------------------------------------------------------


def _number_or_name(text: str) -> int | str:
    return int(text, 0) if re.fullmatch(r"\d+|0x[0-9a-fA-F]+", text) else text


def _seconds(text: str) -> float:
    found = TIME.fullmatch(text)
    if not found:
        raise ValueError(
            f"{text!r} is no time: a number, then s, ms, us or ns (us if nothing is said)"
        )
    return float(found[1]) * UNITS[found[2]]


def _retval(text: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value <= RETVAL_MAX:
        hint = "; error= makes a call fail" if text.startswith("-") else ""
        raise ValueError(f"{text!r} is no result of a call that succeeds{hint}")
    return value


def _bytes(text: str, part: Part) -> int:
    with _at(text, part):
        found = SIZE.fullmatch(part.value)
        if not found:
            raise ValueError(f"{part.value!r} is no number of bytes; 4096, 64k, 1M and 2G are")
        return int(found[1]) << SIZES[found[2].lower()]


def _descriptors(text: str) -> list[int]:
    found: list[int] = []
    for word in text.split(","):
        low, dash, high = word.partition("-")
        if not low.isdigit() or (dash and not high.isdigit()) or (dash and int(high) < int(low)):
            raise ValueError(f"{word!r} is no descriptor; 3 is one, 3-9 are some, and 1,2 two")
        found += range(int(low), int(high or low) + 1)
    return found


def _probability(text: str) -> float:
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise ValueError(f"{text!r} is no probability: from 0 to 1, or from 0% to 100%")
    return value


def _pokes(text: str) -> list[tuple[int, bytes]]:
    found = []
    for word in text.split(","):
        match = POKE.fullmatch(word)
        if not match:
            raise ValueError(
                f"{word!r} is not @argN=HEX, with N from 1 to 7 and two digits for each byte"
            )
        found.append((int(match[1]) - 1, bytes.fromhex(match[2])))
    return found


def _poke(call: Any, pokes: Sequence[tuple[int, bytes]]) -> None:
    for index, data in pokes:
        if index < len(call.args) and call.args[index]:
            try:
                call.poke(call.args[index], data)
            except OSError:  # nothing is there, and strace says nothing either
                continue


def _pure(name: str) -> Callable[[Any], int]:
    if name not in PURE:
        raise ValueError(
            f"{name!r} cannot take a call's place{near(name, PURE)}; these can: {', '.join(PURE)}"
        )
    return PURE[name]


def _id(call: Any, name: str, which: int) -> int:
    return int(call.process.status(name).split()[which])

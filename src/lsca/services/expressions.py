# SPDX-License-Identifier: Apache-2.0
"""Conditions on a call as text: `count > 4096 and path != "/dev/null"`. Python's grammar, but only some of it.

Names are arguments, constants of the call's flags, and path, fd, pid, tid, call. Nothing is evaluated as Python: the
syntax tree is walked, and what is not listed here is refused when the text is read.
"""

import ast
import errno
import operator
import os
from collections.abc import Callable, Iterable
from typing import Any, Final

import lsca
from lsca.errors import near

Value = Any
Evaluate = Callable[[Any], Value]
SHIFT_MAX: Final = 64
LENGTH_MAX: Final = 2000

BINARY: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
}
COMPARE: Final[dict[type[ast.cmpop], Callable[[Any, Any], bool]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
UNARY: Final[dict[type[ast.unaryop], Callable[[Any], Any]]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
}
SPECIAL: Final[dict[str, Evaluate]] = {
    "path": lambda call: call.absolute(),
    "fd": lambda call: getattr(call, call.fd_names()[0]) if call.fd_names() else -1,
    "pid": lambda call: call.process.pid,
    "tid": lambda call: call.thread.tid,
    "call": lambda call: call.row_name(),
}


class ExpressionError(ValueError):
    """What is wrong in an expression, and where: from `at` on, `length` characters."""

    def __init__(self, text: str, at: int, length: int) -> None:
        super().__init__(text)
        self.at = at
        self.length = length


def compile_expression(text: str, rows: Iterable[type[lsca.Syscall]]) -> Callable[[Any], bool]:
    """A function of a live call. A call that lacks one of the arguments, or where types do not fit, is not meant."""
    if len(text) > LENGTH_MAX:
        raise ExpressionError(f"longer than {LENGTH_MAX} characters", 0, len(text))
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError as error:
        at = max((error.offset or 1) - 1, 0)
        raise ExpressionError(f"not an expression: {error.msg}", min(at, len(text)), 1) from None
    except (ValueError, RecursionError, MemoryError):
        raise ExpressionError("not an expression", 0, len(text)) from None
    evaluate = _compile(tree.body, tuple(rows))

    def test(call: Any) -> bool:
        try:
            return bool(evaluate(call))
        except (AttributeError, TypeError, ValueError, ArithmeticError):
            return False

    return test


def _wrong(node: ast.AST, text: str) -> ExpressionError:
    at = getattr(node, "col_offset", 0)
    return ExpressionError(text, at, (getattr(node, "end_col_offset", at + 1) or at + 1) - at)


def _compile(node: ast.expr, rows: tuple[type[lsca.Syscall], ...]) -> Evaluate:
    match node:
        case ast.Constant(value=value) if isinstance(value, int | str | bytes):
            return lambda call: value
        case ast.Name(id=name):
            return _name(node, name, rows)
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            inner = [_compile(part, rows) for part in parts]
            return lambda call: [one(call) for one in inner]
        case ast.BoolOp(op=op, values=parts):
            inner = [_compile(part, rows) for part in parts]
            decide = all if isinstance(op, ast.And) else any
            return lambda call: decide(one(call) for one in inner)
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in UNARY:
            unary, value_of = UNARY[type(sign)], _compile(operand, rows)
            return lambda call: unary(value_of(call))
        case ast.BinOp(left=left, op=binary, right=right) if type(binary) in BINARY:
            return _binary(type(binary), _compile(left, rows), _compile(right, rows))
        case ast.Compare(left=left, ops=ops, comparators=rights) if all(
            type(op) in COMPARE for op in ops
        ):
            return _comparison(
                [COMPARE[type(op)] for op in ops],
                [_compile(part, rows) for part in [left, *rights]],
            )
        case ast.Call(func=ast.Name(id="len"), args=[part], keywords=[]):
            measured = _compile(part, rows)
            return lambda call: len(measured(call))
        case ast.Subscript(value=base, slice=ast.Slice(lower=low, upper=high, step=None)):
            return _slice(base, low, high, rows)
    raise _wrong(
        node,
        "only names, numbers, texts, comparisons, and/or/not, arithmetic, `in`, [a:b] and len() "
        "can stand here",
    )


def _binary(kind: type[ast.operator], left: Evaluate, right: Evaluate) -> Evaluate:
    function = BINARY[kind]
    shifts = kind in (ast.LShift, ast.RShift)

    def evaluate(call: Any) -> Value:
        a, b = left(call), right(call)
        if not isinstance(a, int) or not isinstance(b, int) or (shifts and not 0 <= b <= SHIFT_MAX):
            raise TypeError("arithmetic is for numbers")
        return function(a, b)

    return evaluate


def _comparison(tests: list[Callable[[Any, Any], bool]], parts: list[Evaluate]) -> Evaluate:
    def evaluate(call: Any) -> bool:
        left = parts[0](call)
        for test, part in zip(tests, parts[1:], strict=True):
            right = part(call)
            if not test(*_alike(left, right)):
                return False
            left = right
        return True

    return evaluate


def _alike(a: Value, b: Value) -> tuple[Value, Value]:
    """A buffer is bytes and a text in an expression is not: they are compared as bytes."""
    if isinstance(a, bytes) and isinstance(b, str):
        return bytes(a), b.encode()
    if isinstance(a, str) and isinstance(b, bytes):
        return a.encode("utf-8", "surrogateescape"), bytes(b)
    if isinstance(a, bytes) and isinstance(b, list):
        return a, [one.encode() if isinstance(one, str) else one for one in b]
    return a, b


def _slice(
    base: ast.expr,
    low: ast.expr | None,
    high: ast.expr | None,
    rows: tuple[type[lsca.Syscall], ...],
) -> Evaluate:
    value = _compile(base, rows)
    first = _compile(low, rows) if low else lambda call: None
    last = _compile(high, rows) if high else lambda call: None
    return lambda call: value(call)[first(call) : last(call)]


def _name(node: ast.AST, name: str, rows: tuple[type[lsca.Syscall], ...]) -> Evaluate:
    if any(name in row.arguments for row in rows):
        own = {row.__name__ for row in rows if name in row.arguments}
        special = SPECIAL.get(name)

        def argument(call: Any) -> Value:
            if call.row_name() not in own and special is not None:
                return special(call)
            return getattr(call, name)

        # A path is what it leads to, however the program wrote it.
        return SPECIAL["path"] if name == "path" else argument
    if name in SPECIAL:
        return SPECIAL[name]
    number = _constant(name, rows)
    if number is None:
        known = {argument for row in rows for argument in row.arguments} | set(SPECIAL)
        some = ", ".join(sorted(known)) if len(known) < 16 else "its arguments"
        hint = near(name, known) or f"; there are {some}"
        raise _wrong(node, f"there is no argument {name!r}{hint}")
    return lambda call: number


def _constant(name: str, rows: tuple[type[lsca.Syscall], ...]) -> int | None:
    for row in rows:
        for argument in row.arguments.values():
            base = getattr(argument.show, "base", None)
            values = {**getattr(base, "values", {}), **getattr(argument.show, "values", {})}
            if name in values:
                return int(values[name])
    found = getattr(errno, name, None) if name.startswith("E") else None
    found = getattr(os, name, None) if name.startswith("O_") else found
    return found if isinstance(found, int) else None

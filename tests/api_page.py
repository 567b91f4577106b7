# SPDX-License-Identifier: Apache-2.0
"""docs/api.md, made of what the code says of itself: `make api`; tests/unit/test_api.py compares.

Signatures are taken from the source and not from objects, whose text differs between versions of Python. What has no
docstring is not shown, unless its name says all of it.
"""

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import lsca
import lsca.errors
from lsca.live.address import Address
from lsca.live.opened import File
from lsca.live.process import Process, Thread
from lsca.live.values import Structure
from lsca.table.live import Call

PAGE = Path(__file__).parents[1] / "docs" / "api.md"
WIDTH = 100
HEAD = """# The Python interface

<!-- Written by `make api` from the docstrings; a test compares. Change them, not this file. -->

`import lsca` does nothing; the names below are fetched when they are first used. `docs/tutorial.md` and
`docs/handlers.md` show how they go together, `lsca help CALL` lists the arguments of a call.
"""
INNER = (
    "Rule.begin",
    "Rule.matches",
    "Rule.counts",
    "Session.flags",
    "PostOptions.create",
)  # for other parts of LSCA
SECTIONS: dict[str, tuple[tuple[str, Any], ...]] = {
    "Running a program": tuple(
        (f"lsca.{name}", getattr(lsca, name))
        for name in ("run", "Completed", "Session", "PostOptions", "Report")
    ),
    "Handlers and rules": tuple(
        (f"lsca.{name}", getattr(lsca, name))
        for name in ("on", "Rule", "ret", "fail", "kill", "file", "sleep", "Verdict")
    ),
    "What a handler gets": (
        ("lsca.Syscall", Call),
        ("call.process", Process),
        ("call.thread", Thread),
        ("call.file", File),
        ("lsca.Address", Address),
        ("Structure", Structure),
    ),
    "Logs": (("lsca.open_log", lsca.open_log), ("lsca.Log", lsca.Log)),
    "Errors": tuple(
        (f"lsca.errors.{name}", one)
        for name, one in vars(lsca.errors).items()
        if isinstance(one, type) and issubclass(one, Exception)
    ),
}


def node_of(thing: Any) -> ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef:
    node = ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    return node


def signature(name: str, node: ast.FunctionDef | ast.AsyncFunctionDef, *, bound: bool) -> str:
    """`name(arguments) -> result`, one argument a line if that is too long for one."""
    given = node.args
    if bound:
        first = given.posonlyargs or given.args
        del first[0]
    result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    plain = f"{name}({ast.unparse(given)}){result}"
    if len(plain) <= WIDTH:
        return plain
    parts = []
    defaults = [None] * (len(given.args) - len(given.defaults)) + list(given.defaults)
    for arg, default in zip(given.args, defaults, strict=True):
        parts.append(_argument(arg, default))
    if given.vararg or given.kwonlyargs:
        parts.append("*" + (ast.unparse(given.vararg) if given.vararg else ""))
    for arg, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        parts.append(_argument(arg, default))
    return f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){result}"


def _argument(arg: ast.arg, default: ast.expr | None) -> str:
    return ast.unparse(arg) + (f" = {ast.unparse(default)}" if default is not None else "")


def words(thing: Any) -> str:
    return inspect.cleandoc(thing.__doc__ or "")


def members(owner: type) -> Iterator[tuple[str, str]]:
    """Signatures and docstrings of a class's public members, in the order of the source."""
    for name, value in vars(owner).items():
        if name.startswith("_") or f"{owner.__name__}.{name}" in INNER:
            continue
        if isinstance(value, property):
            assert value.fget
            node = node_of(value.fget)
            assert not isinstance(node, ast.ClassDef)
            result = f": {ast.unparse(node.returns)}" if node.returns else ""
            yield f"{name}{result}", words(value.fget)
        elif isinstance(value, classmethod | staticmethod | FunctionType):
            function = value if isinstance(value, FunctionType) else value.__func__
            node = node_of(function)
            assert not isinstance(node, ast.ClassDef)
            if function.__doc__:
                bound = not isinstance(value, staticmethod)
                yield signature(name, node, bound=bound), words(function)


def described(name: str, thing: Any) -> Iterator[str]:
    yield f"### `{name}`\n"
    if isinstance(thing, type):
        yield words(thing) + "\n"
        for text, doc in members(thing):
            yield f"```text\n{text}\n```\n"
            if doc:
                yield doc + "\n"
    else:
        node = node_of(thing)
        assert not isinstance(node, ast.ClassDef)
        yield f"```text\n{signature(name, node, bound=False)}\n```\n"
        yield words(thing) + "\n"


def text() -> str:
    """The whole page."""
    parts = [HEAD]
    for title, things in SECTIONS.items():
        parts.append(f"## {title}\n")
        if title == "Errors":
            parts.append(words(lsca.errors) + "\n")
            continue
        for name, thing in things:
            parts += described(name, thing)
        if title == "Handlers and rules":
            parts.append("### `lsca.go_on`\n")
            parts.append("The verdict that nothing is to happen: the next handler is asked.\n")
    return "\n".join(parts)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(text())
    else:
        sys.stdout.write(text())

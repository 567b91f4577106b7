# SPDX-License-Identifier: Apache-2.0
"""`lsca help`: the system calls by family, or one call as its row describes it."""

import argparse
import difflib
import shutil
import sys
import textwrap

from lsca.errors import UsageError
from lsca.table import (
    COMMANDS,
    FAMILIES,
    HANDLED_TEXT,
    MACHINES,
    REQUESTS,
    RUNS_TEXT,
    Handled,
    Support,
    Syscall,
    by_name,
    rows,
)
from lsca.table.arguments import ArgFlag, Argument, Kind, Length
from lsca.table.constants import Enum, Flags
from lsca.table.text import Show

SUMMARY = "describe system calls and how well each is served"
MARKS = {
    Support.FULL: "",
    Support.PARTIAL: "*",
    Support.PLAIN: "+",
    Support.NONE: "!",
    Support.GONE: "-",
}
LEGEND = (
    "no mark: full support   * with a caveat   + logged with addresses only\n"
    "! not under the route `proxy`   - Linux itself has it no more\n"
    "`lsca help CALL` says more."
)
KINDS = {
    Kind.VALUE: "a number",
    Kind.FD: "a descriptor",
    Kind.STRING: "a string, read",
    Kind.IN: "memory, read",
    Kind.OUT: "memory, written",
    Kind.INOUT: "memory, read and written",
    Kind.IOV_IN: "buffers, read one after the other",
    Kind.IOV_OUT: "buffers, filled one after the other",
    Kind.MSG_IN: "a message to send: address, buffers, ancillary data",
    Kind.MSG_OUT: "room for a message: address, buffers, ancillary data",
    Kind.MMSG_IN: "messages to send",
    Kind.MMSG_OUT: "room for messages",
    Kind.FCNTL: "what the command needs",
    Kind.IOCTL: "what the request needs",
    Kind.SIGMASK: "the signals that are blocked meanwhile",
    Kind.SIGMASK6: "the signals that are blocked meanwhile, with their size",
    Kind.POINTER: "an address that only the program can follow",
    Kind.STRINGS: "strings, read, up to a NULL",
}
INDENT = "  "
NAMES_SHOWN = 8


def main(argv: list[str]) -> int:
    """Prints pages for the named calls, or the overview."""
    options = _parser().parse_args(argv)
    if not options.calls:
        sys.stdout.write(overview(shutil.get_terminal_size().columns))
        return 0
    sys.stdout.write("\n".join(page(_row(name)) for name in options.calls))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lsca help", description=SUMMARY)
    parser.add_argument("calls", nargs="*", metavar="CALL", help="a system call, as in `man 2`")
    return parser


def _row(name: str) -> type[Syscall]:
    row = by_name(name)
    if row is None:
        near = difflib.get_close_matches(name, [row.name for row in rows()], n=3)
        hint = f"; near to it: {', '.join(near)}" if near else ""
        raise UsageError(f"there is no system call {name!r}{hint}")
    return row


def overview(width: int) -> str:
    """All calls by family, each with a mark for its support."""
    parts = []
    for family in FAMILIES:
        name = family.__name__.rpartition(".")[2]
        calls = [f"{row.name}{MARKS[row.support]}" for row in rows() if row.family == name]
        text = textwrap.fill(
            "  ".join(calls),
            width=max(width, 40),
            initial_indent=INDENT,
            subsequent_indent=INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        )
        parts.append(f"{name}\n{text}\n")
    return "\n".join(parts) + f"\n{LEGEND}\n"


def page(row: type[Syscall]) -> str:
    """One call: what it does, its arguments, where it runs, how well it is supported."""
    lines = [f"{row.name}({', '.join(row.arguments)})", f"{INDENT}{row.summary}", ""]
    if row.arguments:
        names = max(map(len, row.arguments))
        kinds = max(len(argument.seen.__name__) for argument in row.arguments.values())
        for name, argument in row.arguments.items():
            seen = argument.seen.__name__
            lines.append(f"{INDENT}{name:{names}}  {seen:{kinds}}  {describe(argument)}")
        lines.append("")
    numbers = ", ".join(f"{name} {row.numbers.get(name, '-')}" for name in MACHINES)
    facts = {
        "family": row.family,
        "numbers": numbers,
        "since": f"Linux {row.since}" if row.since else "",
        "result": "a new descriptor" if row.new_fd else "",
        "waits": "it may, until something happens or a signal comes" if row.blocks else "",
        "errors": ", ".join(row.errors),
        "proxy": f"completed {RUNS_TEXT[row.runs]}",
        "handlers": HANDLED_TEXT[row.handled] if row.handled is not Handled.ANY else "",
        "support": str(row.support),
        "caveat": row.caveat,
    }
    lines += [f"{INDENT}{name:9}{text}" for name, text in facts.items() if text]
    requests = {"ioctl": REQUESTS, "fcntl": COMMANDS}.get(row.name)
    if requests:
        names_known = " ".join(request.name for request in requests.values())
        text = textwrap.fill(names_known, width=88, break_on_hyphens=False)
        lines += ["", f"{INDENT}known:", textwrap.indent(text, INDENT * 2)]
    return "\n".join(lines) + "\n"


def named(show: Show) -> str:
    """The names that a number can have, if it has names."""
    if isinstance(show, Enum):
        names, word = list(show.values), "one of"
    elif isinstance(show, Flags):
        base = list(show.base.values) if show.base else []
        names, word = base + list(show.values), "any of"
    else:
        return ""
    return f": {word} {', '.join(names[:NAMES_SHOWN])}" + (
        ", ..." if len(names) > NAMES_SHOWN else ""
    )


def describe(argument: Argument) -> str:
    """An argument in words: direction, shape and length."""
    parts = [KINDS[argument.kind] + named(argument.show)]
    if ArgFlag.PATH in argument.flags:
        parts = ["a pathname"]
    layout = argument.layout
    if layout is not None and layout.name != "bytes":
        parts.append(layout.name)
    if argument.measure is Length.FDSET:
        parts.append(f"as many bits as `{argument.length}` says")
    elif argument.measure is Length.DEREF:
        parts.append(f"as long as `*{argument.length}` says")
    elif argument.measure is Length.ARG and layout is not None:
        sizes = layout.size
        each = "/".join(str(size) for size in dict.fromkeys(sizes.values()))
        unit = "bytes" if each == "1" else f"elements of {each} bytes"
        parts.append(f"`{argument.length}` {unit}")
    elif argument.length is not None:
        parts.append(f"by `{argument.length}`")
    if ArgFlag.FILLED in argument.flags:
        parts.append("filled as far as the result says")
    if ArgFlag.ON_ERROR in argument.flags:
        parts.append("valid after an error too")
    return ", ".join(parts)

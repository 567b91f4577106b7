# SPDX-License-Identifier: Apache-2.0
"""Writes the table as C: `python3 -m lsca.codegen OUTDIR` makes calls_x86_64.c, calls_aarch64.c and plans.c there.

The Makefile runs it before it compiles anything. The first two define what native/shared/calls.h declares, the last one
what native/log/plan.h does; a file whose text would be the same is left alone, so that nothing is compiled again.
`python3 -m lsca.codegen --names` prints src/lsca/calls.py, which a test compares.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from lsca.table import COMMANDS, MACHINES, REQUESTS, rows
from lsca.table.arguments import (
    MEMORY,
    ArgFlag,
    Argument,
    Kind,
    Length,
    Request,
    show_dirfd,
)
from lsca.table.effects import Does, Names, Posts
from lsca.table.syscall import CALL_LIMIT, KNOWN_WORDS, RowError, Syscall
from lsca.table.text import ERRNO_NAMES

# What dispatch.c does itself: with the frame of the signal that has brought the call, and without.
FRAMED = frozenset(
    [
        "rt_sigreturn",
        "rt_sigsuspend",
        "rt_sigtimedwait",
        "sigaltstack",
        "exit",
        "exit_group",
        "clone",
        "clone3",
        "fork",
        "vfork",
        "execve",
        "execveat",
        "arch_prctl",
        "prctl",
        "seccomp",
    ]
)
SPECIAL = frozenset(
    [
        "rt_sigaction",
        "rt_sigprocmask",
        "rt_sigpending",
        "wait4",
        "waitid",
        "mmap",
        "mremap",
        "mprotect",
        "ptrace",
    ]
)
MESSAGES = (Kind.MSG_IN, Kind.MSG_OUT)
VECTORS = (Kind.IOV_IN, Kind.IOV_OUT, Kind.MMSG_IN, Kind.MMSG_OUT)
SOCKADDR = "struct sockaddr"
HEAD = """\
/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls of {machine}. Written by src/lsca/codegen.py from src/lsca/table/: change those. */
#include "calls.h"
"""
PLANS_HEAD = """\
/* SPDX-License-Identifier: Apache-2.0 */
/* What readers of logs know of calls. Written by src/lsca/codegen.py from src/lsca/table/: change those. */
#include "plan.h"
"""


def call_arg(row: type[Syscall], argument: Argument, machine: str) -> str:
    """One `struct call_arg`, only the members that are not zero."""
    members = {"kind": str(argument.kind)}
    if argument.kind in VECTORS:
        members |= {"length": str(Length.ARG), "size": "1"}  # pack_shape counts their elements
    elif argument.measure is not Length.CONST:
        members["length"] = str(argument.measure)
    if argument.length is not None:
        members["len_arg"] = str(row.order[machine].index(argument.length))
    flags = [str(flag) for flag in argument.flags]
    if argument.kind in MEMORY and argument.layout is not None and argument.layout.name != "bytes":
        flags.append(str(ArgFlag.WHOLE))
    if argument.kind in MEMORY and argument.layout is not None and argument.layout.name == SOCKADDR:
        flags.append(str(ArgFlag.ADDRESS))
    if flags:
        members["flags"] = " | ".join(flags)
    if argument.layout is not None:
        members["size"] = str(argument.layout.size[machine])
    return "{" + ", ".join(f".{name} = {value}" for name, value in members.items()) + "}"


def call_names(row: type[Syscall], machine: str) -> str:
    """Of what it changes the name: an `enum call_names`."""
    if row.names:
        return row.names
    does, args = (row.effect.does, row.effect.args) if row.effect else (None, ())
    if does is Does.CLOSES_RANGE:
        return Names.ALL
    replaced = args[:1] if does is Does.CLOSES else args[1:] if does is Does.DUPLICATES else ()
    return f"NAMES_OF_ARG + {row.order[machine].index(replaced[0])}" if replaced else ""


def call_posts(row: type[Syscall]) -> str:
    """What it means for posted writes: an `enum call_posts`."""
    if row.posts:
        return "" if row.posts is Posts.NOTHING else row.posts
    if row.effect and row.effect.does is Does.OPENS:
        return Posts.OPENS
    if any(ArgFlag.PATH in argument.flags for argument in row.arguments.values()):
        return Posts.ALL
    return Posts.PASSES if any(a.kind is Kind.FD for a in row.arguments.values()) else ""


def call_row(row: type[Syscall], machine: str) -> str:
    """One `struct call_row` with its designator."""
    flags = ["CALL_KNOWN"]
    flags += ["CALL_BLOCKS"] * row.blocks
    flags += ["CALL_NEW_FD"] * row.new_fd
    flags += ["CALL_TERMINAL"] * row.terminal
    flags += ["CALL_IDENTITY"] * row.identity
    flags += [row.handled.flag] * bool(row.handled.flag)
    args = [call_arg(row, row.arguments[name], machine) for name in row.order[machine]]
    text = (
        f"\t[{row.numbers[machine]}] = {{ /* {row.name} */\n"
        f"\t\t.nargs = {len(args)}, .runs = {row.runs}, .flags = {' | '.join(flags)},\n"
    )
    if row.known:
        text += f"\t\t.known = {row.known},\n"
    names = call_names(row, machine)
    if names:
        text += f"\t\t.names = {names},\n"
    if posts := call_posts(row):
        text += f"\t\t.posts = {posts},\n"
    if args:
        text += "\t\t.args = {\n" + "".join(f"\t\t\t{arg},\n" for arg in args) + "\t\t},\n"
    return text + "\t},\n"


def call_way(row: type[Syscall], machine: str) -> str:
    """How a call from a patched site is completed: an `enum call_way`."""
    kinds = {row.arguments[name].kind for name in row.order[machine]}
    if row.name in SPECIAL:
        return "WAY_SPECIAL"
    if row.name in FRAMED or kinds & {Kind.SIGMASK, Kind.SIGMASK6}:
        return "WAY_SLOW"
    if row.known in KNOWN_WORDS:
        return f"WAY_KNOWN + {row.known}"
    return "WAY_SPECIAL" if row.known or row.identity else "WAY_PLAIN"


def call_ways(table: Iterable[type[Syscall]], machine: str) -> str:
    """`call_ways`: numbers without a row need a frame."""
    ways = {row.numbers[machine]: call_way(row, machine) for row in table}
    text = "".join(
        f"\t[{number}] = {ways.get(number, 'WAY_SLOW')},\n" for number in range(CALL_LIMIT)
    )
    return f"const uint8_t call_ways[CALL_LIMIT] = {{\n{text}}};\n"


def request_rows(what: str, requests: Iterable[Request], machine: str) -> str:
    """`ioctl_rows` or `fcntl_rows`, ascending, with their count."""
    lines = []
    last = -1
    for request in sorted(requests, key=lambda request: request.number):
        if request.number == last:
            raise RowError(f"{what}: {request.name} has the number {last:#x} of another request")
        last = request.number
        runs = "RUNS_BORROW" if request.borrow else "RUNS_ANYWHERE"
        size = request.layout.size[machine] if request.layout else 0
        if not 0 <= size < 1 << 16:
            raise RowError(f"{what}: {request.name} has {size} bytes, more than a row can hold")
        kind = request.kind or Kind.VALUE
        lines.append(
            f"\t{{.request = {request.number:#x}, .kind = {kind}, .runs = {runs}, "
            f".size = {size}}}, /* {request.name} */\n"
        )
    count = f"const uint32_t {what}_count = {len(lines)};\n"
    return f"const struct ioctl_row {what}_rows[] = {{\n{''.join(lines)}}};\n{count}"


def generate(
    machine: str,
    table: Iterable[type[Syscall]],
    ioctls: Iterable[Request],
    fcntls: Iterable[Request],
) -> str:
    """The whole file for one machine."""
    own = sorted(
        (row for row in table if machine in row.numbers), key=lambda row: row.numbers[machine]
    )
    pointers = [request for request in fcntls if request.kind not in (None, Kind.VALUE)]
    return "\n".join(
        (
            HEAD.format(machine=machine),
            "const struct call_row call_rows[CALL_LIMIT] = {\n"
            + "".join(call_row(row, machine) for row in own)
            + "};\n",
            call_ways(own, machine),
            request_rows("ioctl", ioctls, machine),
            request_rows("fcntl", pointers, machine),
        )
    )


def call_plan(row: type[Syscall], machine: str) -> str:
    """One `struct call_plan` with its designator."""
    order = row.order[machine]
    arguments = [row.arguments[name] for name in order]

    def index(name: str | None) -> int:
        return -1 if name is None else order.index(name)

    def directory(places: list[int]) -> int:
        before = places[0] - 1 if places else -1
        return before if before >= 0 and arguments[before].show is show_dirfd else -1

    def first(indices: Iterable[int | str]) -> int | str:
        return next(iter(indices), -1)

    fds = [i for i, a in enumerate(arguments) if a.kind is Kind.FD and a.show is not show_dirfd]
    dirs = [i for i, a in enumerate(arguments) if a.show is show_dirfd]
    paths = [i for i, a in enumerate(arguments) if ArgFlag.PATH in a.flags]
    named = paths[1:] or [index(name) for name in (row.second,) if name]
    messages = [i for i, a in enumerate(arguments) if a.kind in MESSAGES]
    addresses = [
        i for i, a in enumerate(arguments) if a.layout and a.layout.name == "struct sockaddr"
    ]
    effect = row.effect
    members: dict[str, object] = {
        "name": quoted(row.name),
        "family": quoted(row.family),
        "text": quoted(effect.text) if effect and effect.text else "0",
        "fd": first(fds or (["PLAN_RESULT"] if row.new_fd else dirs)),
        "fd2": first(fds[1:]),
        "path": first(paths),
        "dir": directory(paths),
        "path2": first(named),
        "dir2": -1 if row.second else directory(named),
        "raw2": int(row.second is not None),
        "address": first(addresses or messages),
        "message": int(not addresses and bool(messages)),
        "argv": first(i for i, a in enumerate(arguments) if a.kind is Kind.STRINGS),
        "moves": row.moves or "MOVES_NOTHING",
        "effect": effect.does if effect else "EFFECT_NONE",
    }
    places = [index(name) for name in effect.args] if effect else []
    args = ", ".join(str(place) for place in [*places, -1, -1, -1][:3])
    values = ", ".join(f".{name} = {value}" for name, value in members.items())
    return f"\t[{row.numbers[machine]}] = {{{values}, .args = {{{args}}}}},\n"


def quoted(text: str) -> str:
    """A C string of harmless characters."""
    if not text.isascii() or not text.isprintable() or set(text) & {'"', "\\"}:
        raise RowError(f"{text!r} cannot stand in C as it is")
    return f'"{text}"'


def plans(table: Iterable[type[Syscall]]) -> str:
    """The whole of plans.c."""
    known = tuple(table)
    text = PLANS_HEAD
    for machine in MACHINES:
        own = (row for row in known if machine in row.numbers)
        text += f"\nconst struct call_plan plans_{machine}[CALL_LIMIT] = {{\n"
        text += "".join(call_plan(row, machine) for row in own) + "};\n"
    errors = sorted(ERRNO_NAMES.items())
    text += "\nconst struct error_name plan_errors[] = {\n"
    text += "".join(f'\t{{{number}, "{name}"}},\n' for number, name in errors) + "};\n"
    return f"{text}const uint32_t plan_error_count = {len(errors)};\n"


NAMES_HEAD = '''\
# SPDX-License-Identifier: Apache-2.0
"""All rows of the table by name: `from lsca import calls as c`, then `c.openat` is the row, and the type of its calls.

Printed by `python3 -m lsca.codegen --names` from src/lsca/table/: change that.
"""

# ruff: noqa: I001

'''


def names(table: Iterable[type[Syscall]]) -> str:
    """src/lsca/calls.py: type checkers want to read each name."""
    families: dict[str, list[str]] = {}
    for row in table:
        families.setdefault(row.__module__, []).append(row.__name__)
    parts = []
    for module, found in sorted(families.items()):
        lines = "".join(f"    {name} as {name},\n" for name in sorted(found))
        parts.append(f"from {module} import (\n{lines})\n")
    return NAMES_HEAD + "".join(parts)


def write_if_changed(path: Path, text: str) -> bool:
    """Write `text` unless the file holds it already; True if it was written."""
    try:
        if path.read_text() == text:
            return False
    except FileNotFoundError:
        pass
    path.write_text(text)
    return True


def main(argv: list[str] | None = None) -> int:
    """The command line: one argument, the directory to write to."""
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) != 1:
        print("usage: python3 -m lsca.codegen OUTDIR | --names", file=sys.stderr)
        return 2
    if arguments == ["--names"]:
        print(names(rows()), end="")
        return 0
    directory = Path(arguments[0])
    directory.mkdir(parents=True, exist_ok=True)
    for machine in MACHINES:
        text = generate(machine, rows(), REQUESTS.values(), COMMANDS.values())
        write_if_changed(directory / f"calls_{machine}.c", text)
    write_if_changed(directory / "plans.c", plans(rows()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

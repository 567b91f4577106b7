# SPDX-License-Identifier: Apache-2.0
"""Writes the table as C: `python3 -m lsca.codegen OUTDIR` makes calls_x86_64.c and calls_aarch64.c there.

The Makefile runs it before it compiles agent and proxy. Each file defines what native/shared/calls.h declares; a file
whose text would be the same is left alone, so that nothing is compiled again. `python3 -m lsca.codegen --names` prints
src/lsca/calls.py, which a test compares.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from lsca.table import COMMANDS, MACHINES, REQUESTS, rows
from lsca.table.arguments import MEMORY, ArgFlag, Argument, Kind, Length, Request
from lsca.table.syscall import RowError, Syscall

VECTORS = (Kind.IOV_IN, Kind.IOV_OUT, Kind.MMSG_IN, Kind.MMSG_OUT)
SOCKADDR = "struct sockaddr"
HEAD = """\
/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls of {machine}. Written by src/lsca/codegen.py from src/lsca/table/: change those. */
#include "calls.h"
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
    if args:
        text += "\t\t.args = {\n" + "".join(f"\t\t\t{arg},\n" for arg in args) + "\t\t},\n"
    return text + "\t},\n"


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
            request_rows("ioctl", ioctls, machine),
            request_rows("fcntl", pointers, machine),
        )
    )


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
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

# SPDX-License-Identifier: Apache-2.0
"""A call as one line of strace: the arguments, and the result with what belongs to it."""

from collections.abc import Mapping, Sequence

from lsca.table.syscall import Syscall
from lsca.table.text import FileOf, Hex, Piece, View, error, no_file, show_new_fd


def format_call(
    row: type[Syscall],
    machine: str,
    args: Sequence[int],
    ret: int | None,
    entry: Mapping[int, Piece],
    exit: Mapping[int, Piece],
    *,
    strings: int = 32,
    hex: Hex = "none",
    whole: bool = False,
    file: FileOf = no_file,
) -> tuple[str, str]:
    """The arguments and the result: ('3, "abc", 3', '3').

    `ret` is the kernel's result, a negative errno on failure, None if the call has not returned. `entry` and `exit`
    are what pointer arguments pointed to before and after it, by index; of a string the bytes without NUL. At most
    `strings` bytes of a buffer are shown, in hex as `hex` says; structures with all members if `whole`. What `file`
    gives for a descriptor is written after it.
    """
    order = row.order[machine]
    names = {name: index for index, name in enumerate(order)}
    view = View(machine, args, ret, entry, exit, names, strings, hex, whole, file)
    parts = []
    labels = row.labels or {}
    for name in labels or order:
        argument = row.arguments[name]
        if argument.when and not argument.when(view):
            continue
        text = argument.write(argument, view, names[name])
        parts.append(f"{labels[name]}={text}" if labels else text)
    return ", ".join(parts), _result(row, view)


def _result(row: type[Syscall], view: View) -> str:
    if view.ret is None:
        return "?"
    if view.failed:
        return error(view.ret)
    if row.new_fd:
        return show_new_fd(view.ret, view)
    text = row.returns(view.ret & 0xFFFFFFFFFFFFFFFF, view)
    note = row.note(view) if row.note else ""
    return f"{text} ({note})" if note else text

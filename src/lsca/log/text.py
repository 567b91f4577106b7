# SPDX-License-Identifier: Apache-2.0
"""Writes a record down as strace would, or as one JSON object.

How a call's arguments look is the table's knowledge; here is only the line around them: who, when, how long, by which
route. A number that the table does not have is written in hex with all its arguments.
"""

import json
import time
from dataclasses import dataclass
from typing import Any, Final, Literal

from lsca.log.record import Record
from lsca.table import Piece, by_number, format_call
from lsca.table.text import error

COLUMN: Final = 40  # where strace puts the result
SECOND: Final = 1_000_000_000

Clock = Literal["none", "seconds", "micros", "epoch", "relative"]


@dataclass(frozen=True, slots=True)
class Style:
    """What stands on a line besides the call: `pid`, the `clock` before it, `duration` and `route` after it.

    `strings` is how many bytes of a string are shown.
    """

    machine: str
    pid: bool = True
    clock: Clock = "micros"
    duration: bool = True
    route: bool = True
    strings: int = 32


def as_text(record: Record, style: Style, previous_ns: int | None = None) -> str:
    """One line without its newline. `previous_ns` is the start of the record before it, for the clock "relative"."""
    head = f"{record.tid:<5} " if style.pid else ""
    head += _clock(record.start_ns, style.clock, previous_ns)
    if record.kind != "call":
        return f"{head}+++ {_life(record)} +++"
    call, result = call_text(record, style.machine, style.strings)
    line = f"{head}{call + ' ':<{COLUMN}}= {result}"
    if style.duration and record.returns:
        line += f" <{max(0, record.end_ns - record.start_ns) / SECOND:.6f}>"
    if style.route:
        line += f" [{record.route}]"
    return line


def as_json(record: Record, style: Style) -> str:
    """One JSON object, without a newline. Bytes are text where they are UTF-8, else hex."""
    facts: dict[str, Any] = {
        "kind": record.kind,
        "pid": record.pid,
        "tid": record.tid,
        "start_ns": record.start_ns,
    }
    if record.kind == "call":
        call, result = call_text(record, style.machine, style.strings)
        facts |= {
            "end_ns": record.end_ns,
            "route": record.route,
            "trapped": record.trapped,
            "name": call_name(record),
            "nr": record.nr,
            "args": list(record.args),
            "ret": record.ret if record.returns else None,
            "text": f"{call} = {result}",
            "entry": {str(arg): _piece(piece) for arg, piece in record.entry.items()},
            "exit": {str(arg): _piece(piece) for arg, piece in record.exit.items()},
        }
    elif record.kind == "start":
        facts |= {"parent": record.args[0], "exec": bool(record.args[1])}
    return json.dumps(facts, ensure_ascii=False)


def call_name(record: Record) -> str:
    """The call's name, or its number where the table has none."""
    prefix = "i386:" if record.foreign else ""
    return prefix + (record.name or f"syscall_{record.nr:#x}")


def call_text(record: Record, machine: str, strings: int) -> tuple[str, str]:
    """The call with its arguments, and its result."""
    row = None if record.foreign else by_number(machine, record.nr)
    ret = record.ret if record.returns else None
    if row:
        args, result = format_call(
            row, machine, record.args, ret, record.entry, record.exit, strings=strings
        )
    else:
        args = ", ".join(f"{arg:#x}" for arg in record.args)
        result = "?" if ret is None else error(ret) if -4096 < ret < 0 else str(ret)
    if record.restarts:
        result = "? ERESTARTSYS (To be restarted)"
    return f"{call_name(record)}({args})", result


def _life(record: Record) -> str:
    if record.kind == "exit":
        return "exited"
    return "started a new image" if record.args[1] else f"started by {record.args[0]}"


def _clock(ns: int, clock: Clock, previous_ns: int | None) -> str:
    seconds, rest = divmod(ns, SECOND)
    micros = rest // 1000
    if clock == "none":
        return ""
    if clock == "epoch":
        return f"{seconds}.{micros:06d} "
    if clock == "relative":
        return f"{max(0, ns - (ns if previous_ns is None else previous_ns)) / SECOND:12.6f} "
    try:
        day = time.strftime("%H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):  # a damaged header gives any time at all
        day = "??:??:??"
    return f"{day} " if clock == "seconds" else f"{day}.{micros:06d} "


def _piece(piece: Piece) -> dict[str, Any]:
    try:
        shown: dict[str, Any] = {"text": piece.data.decode()}
    except UnicodeDecodeError:
        shown = {"hex": piece.data.hex()}
    return shown if piece.full == len(piece.data) else shown | {"full": piece.full}

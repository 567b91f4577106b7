# SPDX-License-Identifier: Apache-2.0
"""Writes a record down as strace would, or as one JSON object.

How a call's arguments look is the table's knowledge; here is only the line around them: who, when, how long, by which
route. A number that the table does not have is written in hex with all its arguments.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from lsca.log import rings
from lsca.log.colour import Paint
from lsca.log.record import Record
from lsca.log.touched import fds_of, named_of, readable
from lsca.table import Piece, by_number, format_call
from lsca.table.arguments import Kind
from lsca.table.text import ERRNO_NAMES, FileOf, Hex, error, no_file, signed

COLUMN: Final = 40  # where strace puts the result
SECOND: Final = 1_000_000_000

Clock = Literal["none", "seconds", "micros", "epoch", "relative"]
DIGITS: Final = {"none": 0, "seconds": 0, "micros": 6, "epoch": 6, "relative": 6}


@dataclass(frozen=True, slots=True)
class Style:
    """What stands on a line besides the call: `pid`, the `clock` before it, `duration` and `route` after it.

    `digits` of a second are shown by the clock (None: as many as it is used to), `since` the line before too. `column`
    is where the result stands, `number` asks for the call's. `strings` is how many bytes of a string are shown, `hex`
    which of them in hex; structures are `whole` or abbreviated. Calls named in `raw` show their arguments undecoded.
    """

    machine: str
    pid: bool = True
    clock: Clock = "micros"
    duration: bool = True
    route: bool = True
    strings: int = 32
    column: int = COLUMN
    digits: int | None = None
    since: bool = False
    since_digits: int = 6
    took_digits: int = 6
    number: bool = False
    hex: Hex = "none"
    whole: bool = False
    raw: frozenset[str] = frozenset()
    paint: Paint = field(default_factory=Paint)


class Lives:
    """Remembers how processes said that they would end, for the line that tells their end."""

    def __init__(self) -> None:
        self._codes: dict[int, int] = {}

    def follow(self, record: Record) -> None:
        if record.name == "exit_group":
            self._codes[record.pid] = record.args[0] & 0xFF
        elif record.kind == "start":
            self._codes.pop(record.pid, None)

    def ending(self, pid: int) -> str:
        return f"exited with {self._codes[pid]}" if pid in self._codes else "exited"


def as_text(
    record: Record,
    style: Style,
    previous_ns: int | None = None,
    file: FileOf = no_file,
    lives: Lives | None = None,
) -> str:
    """One line without its newline. `previous_ns` is the start of the record before it, for the clock "relative".

    `file` gives what stands for a descriptor, where that is to be shown; `lives` with which code a process has ended.
    """
    paint = style.paint
    head = paint.pid(record.pid, f"{record.tid:<5}") + " " if style.pid else ""
    head += paint("time", _clock(record.start_ns, style, previous_ns))
    if record.kind != "call":
        return head + paint("life", f"+++ {_life(record, style, lives)} +++")
    if style.number:
        head += f"[{record.nr:4}] "
    call, result = styled_call(record, style, file)
    space = " " * max(1, style.column - len(call))
    name, rest = call_name(record), call[len(call_name(record)) :]
    failed = record.returns and -4096 < record.ret < 0
    line = f"{head}{paint('name', name)}{rest}{space}= "
    line += paint("error", result) if failed else result
    if style.duration and record.returns:
        took = max(0, record.end_ns - record.start_ns)
        line += paint("time", f" <{_seconds(took, style.took_digits)}>")
    if style.route:
        line += paint("time", f" [{record.route}]")
    return line


def as_json(record: Record, style: Style, file: FileOf = no_file) -> str:
    """One JSON object, without a newline. Bytes are text where they are UTF-8, else hex."""
    return json.dumps(facts(record, style, file), ensure_ascii=False)


def facts(record: Record, style: Style, file: FileOf = no_file) -> dict[str, Any]:
    """What `as_json` writes: docs/log.md names the fields."""
    found: dict[str, Any] = {
        "kind": record.kind,
        "pid": record.pid,
        "tid": record.tid,
        "start_ns": record.start_ns,
    }
    if record.kind == "call":
        call, result = styled_call(record, style, file)
        found |= {
            "end_ns": record.end_ns,
            "route": record.route,
            "trapped": record.trapped,
            "name": call_name(record),
            "nr": record.nr,
            "args": list(record.args),
            "ret": record.ret if record.returns else None,
            "text": f"{call} = {result}",
            "error": errno_name(record.ret) if record.returns else None,
            "entry": {str(arg): _piece(piece) for arg, piece in record.entry.items()},
            "exit": {str(arg): _piece(piece) for arg, piece in record.exit.items()},
        }
        if file is not no_file:
            found |= _files(record, style.machine, file)
    elif record.kind == "start":
        found |= {"parent": record.args[0], "exec": bool(record.args[1])}
    elif record.kind == "fd":
        found |= {"fd": signed(record.args[0], 32)} | _told(record)
    elif record.kind == "program" and 0 in record.entry:
        found["argv"] = record.entry[0].data.decode("utf-8", "replace").split("\0")[:-1]
    elif record.kind == "status" and record.args:
        found["status"] = record.args[0]
    elif record.kind in rings.TOLD:
        found |= rings.fields(record, style.machine)
    return found


def errno_name(ret: int) -> str | None:
    """ENOENT of -2; None if that is no failure."""
    return ERRNO_NAMES.get(-ret, f"errno {-ret}") if -4096 < ret < 0 else None


def _files(record: Record, machine: str, file: FileOf) -> dict[str, Any]:
    """The paths that the call names, and what its descriptors stand for."""
    stand_for = ((fd, file(fd, True)) for fd in fds_of(record, machine))
    return {
        "paths": [readable(named.path) for named in named_of(record, machine, file)],
        "files": {str(fd): readable(text) for fd, text in stand_for if text},
    }


def _told(record: Record) -> dict[str, str]:
    """What the log itself says of a descriptor: its name, and a socket's addresses as they were, in hex."""
    found = {}
    for index, name in enumerate(("file", "local", "peer")):
        if index in record.entry:
            data = record.entry[index].data
            found[name] = data.hex() if index else data.decode("utf-8", "replace")
    return found


def call_name(record: Record) -> str:
    """The call's name, or its number where the table has none."""
    prefix = "i386:" if record.foreign else ""
    return prefix + (record.name or f"syscall_{record.nr:#x}")


def call_text(record: Record, machine: str, strings: int = 32) -> tuple[str, str]:
    """The call with its arguments, and its result."""
    return styled_call(record, Style(machine, strings=strings), no_file)


def styled_call(record: Record, style: Style, file: FileOf) -> tuple[str, str]:
    """The same, as a style wants it."""
    row = None if record.foreign else by_number(style.machine, record.nr)
    ret = record.ret if record.returns else None
    if row:
        args, result = format_call(
            row,
            style.machine,
            record.args,
            ret,
            record.entry,
            record.exit,
            strings=style.strings,
            hex=style.hex,
            whole=style.whole,
            file=file,
        )
        if row.name in style.raw:
            count = len(row.arguments)
            args = ", ".join(f"{arg:#x}" if arg else "0" for arg in record.args[:count])
            if ret is not None and not -4096 < ret < 0:
                result = f"{ret:#x}" if ret else "0"
    else:
        args = ", ".join(f"{arg:#x}" for arg in record.args)
        result = "?" if ret is None else error(ret) if -4096 < ret < 0 else str(ret)
    if record.restarts:
        result = "? ERESTARTSYS (To be restarted)"
    return f"{call_name(record)}({args})", result


def dump(record: Record, machine: str, reads: frozenset[int], writes: frozenset[int]) -> list[str]:
    """The bytes that were read from or written to these descriptors, as strace's -e read= and -e write= show them."""
    row = None if record.foreign or record.kind != "call" else by_number(machine, record.nr)
    if not row:
        return []
    kinds = [row.arguments[name].kind for name in row.order[machine]]
    if Kind.FD not in kinds:
        return []
    fd = record.args[kinds.index(Kind.FD)] & 0xFFFFFFFF
    lines: list[str] = []
    for index, kind in enumerate(kinds):
        if kind in (Kind.OUT, Kind.IOV_OUT) and fd in reads and index in record.exit:
            lines += _hex_lines(record.exit[index])
        elif kind in (Kind.IN, Kind.IOV_IN) and fd in writes and index in record.entry:
            lines += _hex_lines(record.entry[index])
    return lines


def _hex_lines(piece: Piece) -> Iterator[str]:
    data = piece.data
    for at in range(0, len(data), 16):
        part = data[at : at + 16]
        left, right = part[:8].hex(" "), part[8:].hex(" ")
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        yield f" | {at:05x}  {left:<23}  {right:<23}  {shown:<16} |"
    if len(data) < piece.full:
        yield f" | {len(data):05x}  {piece.full - len(data)} more bytes are not in the log"


def _life(record: Record, style: Style, lives: Lives | None) -> str:
    if record.kind in rings.TOLD:
        return rings.told(record, style.machine)
    if record.kind == "exit":
        return lives.ending(record.pid) if lives else "exited"
    if record.kind != "start":
        return record.kind
    return "started a new image" if record.args[1] else f"started by {record.args[0]}"


def _seconds(ns: int, digits: int) -> str:
    """Seconds with so many digits, cut as strace cuts them."""
    whole, rest = divmod(ns, SECOND)
    return f"{whole}.{rest:09d}"[: len(str(whole)) + 1 + digits] if digits else str(whole)


def _clock(ns: int, style: Style, previous_ns: int | None) -> str:
    clock = style.clock
    digits = DIGITS[clock] if style.digits is None else style.digits
    past = max(0, ns - (ns if previous_ns is None else previous_ns))
    if clock == "relative":
        return f"{_seconds(past, digits):>12} "
    since = f"(+{_seconds(past, style.since_digits):>13}) " if style.since else ""
    if clock == "none":
        return since
    if clock == "epoch":
        return f"{_seconds(ns, digits)} {since}"
    seconds, rest = divmod(ns, SECOND)
    try:
        day = time.strftime("%H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):  # a damaged header gives any time at all
        day = "??:??:??"
    parts = f".{rest:09d}"[: digits + 1] if digits else ""
    return f"{day}{parts} {since}"


def _piece(piece: Piece) -> dict[str, Any]:
    try:
        shown: dict[str, Any] = {"text": piece.data.decode()}
    except UnicodeDecodeError:
        shown = {"hex": piece.data.hex()}
    return shown if piece.full == len(piece.data) else shown | {"full": piece.full}

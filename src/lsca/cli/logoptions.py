# SPDX-License-Identifier: Apache-2.0
"""The options of `lsca log`: strace's letters and long names, and what is said about those that cannot be served.

`parse` gives a `Wish`, everything that the command line asks for, checked. UsageError.
"""

import argparse
from dataclasses import dataclass, field
from typing import Any, Final

from lsca.cli.parser import Parser
from lsca.cli.refused import REFUSED, REFUSED_KEYS, Refuse
from lsca.errors import UsageError
from lsca.log import filters
from lsca.log.colour import WHENS, When
from lsca.log.filters import Calls, Selection
from lsca.log.summary import COLUMNS, DEFAULT, check_sort
from lsca.log.summary import columns as check_columns
from lsca.log.text import COLUMN, Clock
from lsca.table.text import Hex

CLOCKS: Final[tuple[Clock, ...]] = ("micros", "seconds", "micros", "epoch")  # by number of -t
PRECISIONS: Final = {"s": 0, "ms": 3, "us": 6, "ns": 9}
HEXES: Final[dict[str, Hex]] = {
    "none": "none",
    "non-ascii-chars": "chars",
    "non-ascii": "strings",
    "all": "all",
}
KEYS: Final = {
    "t": "trace",
    "a": "abbrev",
    "v": "verbose",
    "x": "raw",
    "s": "signal",
    "signals": "signal",
    "r": "read",
    "reads": "read",
    "w": "write",
    "writes": "write",
    "q": "quiet",
    "silent": "quiet",
    "silence": "quiet",
    "decode-fd": "decode-fds",
    "decode-pid": "decode-pids",
    "fds": "fd",
    "trace-fd": "fd",
    "trace-fds": "fd",
}
# Long options whose value may be left out: strace wants it after "=" only, argparse would take the next word.
OPTIONAL: Final = {
    "--relative-timestamps": "us",
    "--absolute-timestamps": "time",
    "--timestamps": "time",
    "--syscall-times": "us",
    "--strings-in-hex": "all",
    "--decode-fds": "path",
    "--quiet": "attach",
    "--silent": "attach",
    "--silence": "attach",
}


@dataclass(slots=True)
class Wish:
    """What the command line asks for."""

    file: str = ""
    selection: Selection = field(default_factory=Selection)
    clock: Clock = "micros"
    digits: int | None = None
    since: bool = False
    since_digits: int = 6
    took_digits: int = 6
    duration: bool = True
    route: bool = True
    pids: bool = False
    apart: bool = False
    strings: int = 32
    column: int = COLUMN
    number: bool = False
    hex: Hex = "none"
    whole: bool = False
    raw: Calls = field(default_factory=lambda: Calls(others=False))
    fds: bool = False
    reads: frozenset[int] = frozenset()
    writes: frozenset[int] = frozenset()
    lives: bool = True
    summary: bool = False
    lines: bool = True
    sort: str = "time"
    columns: tuple[str, ...] = DEFAULT
    output: str | None = None
    append: bool = False
    json: bool = False
    follow: bool = False
    verify: bool = False
    colour: When = "auto"


def parse(argv: list[str]) -> Wish:
    """Reads the command line. UsageError."""
    words = [f"{word}={OPTIONAL[word]}" if word in OPTIONAL else word for word in argv]
    given = _parser().parse_args(words)
    wish = Wish(
        file=given.file or "",
        apart=given.follow > 1 or given.separately,
        pids=given.follow > 0,
        strings=given.strings,
        column=given.column,
        number=given.number,
        whole=given.whole,
        fds=given.decode > 0,
        summary=given.only_summary or given.summary,
        lines=not given.only_summary,
        output=given.output,
        append=given.append,
        json=given.json,
        follow=given.tail,
        verify=given.verify,
        colour=given.color,
        lives=given.quiet < 2,
        duration=given.duration is not None or not given.plain,
        route=not given.plain,
        hex=("none", "strings", "all")[min(given.hex, 2)],
        sort=check_sort(given.sort),
        columns=check_columns(given.columns) if given.columns else DEFAULT,
    )
    _times(wish, given)
    for value, key in ((given.hex_word, "hex"), (given.decode_word, "decode-fds")):
        if value:
            _expression(wish, key, value, f"--{key}")
    _select(wish, given)
    _check(wish, given)
    return wish


def _times(wish: Wish, given: argparse.Namespace) -> None:
    """-t, -r, -T and their long forms."""
    if given.duration:
        wish.took_digits = _precision(given.duration, "--syscall-times")
    wish.clock = CLOCKS[min(given.time, 3)]
    if given.plain and not given.time:
        wish.clock = "none"
    if given.absolute:
        wish.clock, wish.digits = _absolute(given.absolute)
    if given.relative is None:
        return
    digits = _precision(given.relative, "--relative-timestamps")
    if given.time or given.absolute:
        wish.since, wish.since_digits = True, digits
    else:
        wish.clock, wish.digits = "relative", digits


def _absolute(text: str) -> tuple[Clock, int]:
    """[format:]none|time|unix,[precision:]s|ms|us|ns"""
    clock: Clock = "seconds"
    digits = 0
    for word in text.split(","):
        plain = word.removeprefix("format:").removeprefix("precision:")
        if plain in PRECISIONS:
            digits = PRECISIONS[plain]
        elif plain == "none":
            clock = "none"
        elif plain in ("time", "unix"):
            clock = "seconds" if plain == "time" else "epoch"
        else:
            raise UsageError(f"--absolute-timestamps={text}: none, time or unix; s, ms, us or ns")
    return clock, digits


def _precision(text: str, option: str) -> int:
    if text not in PRECISIONS:
        raise UsageError(f"{option}={text}: there are {', '.join(PRECISIONS)}")
    return PRECISIONS[text]


def _select(wish: Wish, given: argparse.Namespace) -> None:
    """Everything that chooses records, and the other expressions of -e."""
    for text in given.expr:
        key, equals, value = text.partition("=")
        if not equals or (key not in KEYS and not key.replace("-", "").isalpha()):
            key, value = "trace", text  # -e open is -e trace=open
        _expression(wish, KEYS.get(key, key), value, f"-e {text}")
    for status in given.statuses:
        wish.selection = _with(wish, statuses=frozenset({status}))
    for pid in given.pid:
        wish.selection = _with(wish, pids=wish.selection.pids | filters.numbers(pid, "-p"))
    if given.path:
        wish.selection = _with(wish, paths=filters.paths(given.path))


def _with(wish: Wish, **changes: Any) -> Selection:
    from dataclasses import replace

    return replace(wish.selection, **changes)


def _expression(wish: Wish, key: str, value: str, whole: str) -> None:
    """One KEY=VALUE of -e."""
    if key in REFUSED_KEYS:
        raise UsageError(f"{whole}: {REFUSED_KEYS[key]}")
    if key == "trace":
        wish.selection = _with(wish, calls=filters.calls(value))
    elif key == "status":
        wish.selection = _with(wish, statuses=filters.statuses(value))
    elif key == "fd":
        wish.selection = _with(wish, fds=filters.numbers(value, "-e fd="))
    elif key == "raw":
        wish.raw = filters.calls(value)
    elif key == "abbrev":
        wish.whole = value == "none"
    elif key == "read":
        wish.reads = filters.numbers(value, "-e read=")
    elif key == "write":
        wish.writes = filters.numbers(value, "-e write=")
    elif key == "quiet":
        wish.lives = "exit" not in value.split(",") and value != "all"
    elif key == "decode-fds":
        wish.fds = value != "none"
    elif key == "hex":
        if value not in HEXES:
            raise UsageError(f"--strings-in-hex={value}: there are {', '.join(HEXES)}")
        wish.hex = HEXES[value]
    else:
        raise UsageError(
            f"{whole}: there is no {key!r}; there are trace, status, fd, raw, read, write, abbrev, quiet, decode-fds"
        )


def _check(wish: Wish, given: argparse.Namespace) -> None:
    """What does not go together."""
    if not wish.file:
        raise UsageError("no file is named; `lsca run -o FILE PROGRAM` writes one")
    if wish.apart and wish.output is None:
        raise UsageError("-ff writes a file for each process: it wants -o FILE")
    if wish.apart and wish.summary:
        raise UsageError(
            "-c counts all processes together; use -p PID, or `lsca tree`, for one of them"
        )
    if wish.append and wish.output is None:
        raise UsageError("-A appends to a file: it wants -o FILE")
    if wish.follow and wish.summary and not wish.lines:
        raise UsageError("--follow prints what comes, -c counts at the end; use one of them, or -C")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="lsca log",
        description="Print a log of `lsca run -o FILE`, in strace's manner and with strace's options.",
        epilog="docs/log.md shows them at work. Classes for -e trace=: %%file, %%network, %%desc, %%memory, "
        "%%process, %%signal, %%ipc, %%creds, %%clock, %%stat and strace's others, and the families of `lsca help`.",
        allow_abbrev=False,
        add_help=False,
    )
    option = parser.add_argument
    option("file", metavar="FILE", nargs="?")
    _choosing(parser.add_argument_group("which calls"))
    _looking(parser.add_argument_group("how a line looks"))
    _counting(parser.add_argument_group("counting"))
    group = parser.add_argument_group("the log itself")
    group.add_argument(
        "--follow", dest="tail", action="store_true", help="wait for more, until the run ends"
    )
    group.add_argument(
        "--verify", action="store_true", help="say whether anything is missing; 1 if so"
    )
    group.add_argument(
        "--recover",
        action="store_true",
        help="save what a killed run has left in memory; says more with --help",
    )
    group.add_argument("-h", "--help", action="help", help="this text")
    for names, (takes, words) in REFUSED.items():
        option(*names, action=Refuse, const=words, nargs=1 if takes else 0, help=argparse.SUPPRESS)
    return parser


def _choosing(group: argparse._ArgumentGroup) -> None:
    option = group.add_argument
    many: dict[str, Any] = {"action": "append", "default": []}
    option(
        "-e",
        dest="expr",
        **many,
        metavar="EXPR",
        help="trace=SET: names, %%classes, /expressions, !SET for all others; status=successful, failed, unfinished; "
        "fd=N,...; raw=SET; read=N,...; write=N,...; quiet=exit; abbrev=none; decode-fds=all",
    )
    for key in ("trace", "status", "trace-fds", "raw", "read", "write", "abbrev", "signal"):
        option(
            f"--{key}",
            dest="expr",
            action="append",
            type=f"{key}={{}}".format,
            help=argparse.SUPPRESS,
        )
    option(
        "-P",
        "--trace-path",
        dest="path",
        **many,
        metavar="PATH",
        help="calls that touch it, by name or descriptor",
    )
    option(
        "-p", "--attach", dest="pid", **many, metavar="PID", help="of these processes or threads"
    )
    one: dict[str, Any] = {"dest": "statuses", "action": "append_const", "default": []}
    option("-z", "--successful-only", **one, const="successful", help="without an error")
    option("-Z", "--failed-only", **one, const="failed", help="with an error")


def _looking(group: argparse._ArgumentGroup) -> None:
    option = group.add_argument
    option(
        "-f",
        "--follow-forks",
        dest="follow",
        action="count",
        default=0,
        help="process numbers even if there is one",
    )
    option(
        "--output-separately",
        dest="separately",
        action="store_true",
        help="with -o FILE (or -ff): FILE.PID each",
    )
    option(
        "-t",
        dest="time",
        action="count",
        default=0,
        help="time of day; -tt with microseconds (as without); -ttt since 1970",
    )
    option(
        "--absolute-timestamps",
        "--timestamps",
        dest="absolute",
        metavar="FORMAT,PRECISION",
        help="none, time, unix; s, ms, us, ns",
    )
    option(
        "-r", dest="relative", action="store_const", const="us", help="time since the line before"
    )
    option("--relative-timestamps", dest="relative", metavar="PRECISION", help=argparse.SUPPRESS)
    option(
        "-T",
        dest="duration",
        action="store_const",
        const="us",
        help="time spent in the call (with --plain)",
    )
    option("--syscall-times", dest="duration", metavar="PRECISION", help=argparse.SUPPRESS)
    option(
        "-y",
        dest="decode",
        action="count",
        default=0,
        help="what descriptors stand for (-yy says the same)",
    )
    option("--decode-fds", dest="decode_word", help=argparse.SUPPRESS)
    option(
        "-s",
        "--string-limit",
        dest="strings",
        type=_size,
        default=32,
        metavar="SIZE",
        help="bytes of a string (32)",
    )
    option(
        "-v",
        "--no-abbrev",
        dest="whole",
        action="store_true",
        help="structures with all their members",
    )
    option(
        "-x",
        dest="hex",
        action="count",
        default=0,
        help="strings that are not ASCII in hex; -xx: all strings",
    )
    option("--strings-in-hex", dest="hex_word", help=argparse.SUPPRESS)
    option(
        "-a",
        "--columns",
        dest="column",
        type=_size,
        default=COLUMN,
        metavar="COLUMN",
        help="where results stand (40)",
    )
    option(
        "-n", "--syscall-number", dest="number", action="store_true", help="the numbers of calls"
    )
    option(
        "-q", dest="quiet", action="count", default=0, help="-qq: not how processes begin and end"
    )
    option(
        "--quiet",
        "--silent",
        "--silence",
        dest="expr",
        action="append",
        type="quiet={}".format,
        help=argparse.SUPPRESS,
    )
    option("-o", "--output", dest="output", metavar="FILE", help="write to this file")
    option(
        "-A", "--output-append-mode", dest="append", action="store_true", help="with -o: at its end"
    )
    option("--plain", action="store_true", help="the calls alone: no time, duration or route")
    option("--json", action="store_true", help="one JSON object per line")
    option(
        "--color",
        "--colour",
        dest="color",
        choices=WHENS,
        default="auto",
        help="auto (default): on a terminal",
    )


def _counting(group: argparse._ArgumentGroup) -> None:
    option = group.add_argument
    option(
        "-c",
        "--summary-only",
        dest="only_summary",
        action="store_true",
        help="count calls, errors and time instead",
    )
    option("-C", "--summary", dest="summary", action="store_true", help="count as well")
    option(
        "-S",
        "--summary-sort-by",
        dest="sort",
        default="time",
        metavar="COLUMN",
        help="time, calls, errors, name, ...",
    )
    option(
        "-U",
        "--summary-columns",
        dest="columns",
        metavar="COLUMN,...",
        help=", ".join(COLUMNS),
    )
    option(
        "-w",
        "--summary-wall-clock",
        action="store_true",
        help="as always here: the time that passed in calls",
    )


def _size(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return int(text)

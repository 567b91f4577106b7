# SPDX-License-Identifier: Apache-2.0
"""`lsca plot FILE -o OUT`: a run as a picture over time, for a report."""

import argparse
import os
import sys
from collections.abc import Callable

from lsca.cli.parser import Parser
from lsca.errors import LogError

SUMMARY = "draw a run over time, as SVG"


def main(argv: list[str]) -> int:
    """Writes the picture. LogError, UsageError."""
    options = _parser().parse_args(argv)
    from lsca.plot import picture
    from lsca.tui.source import open_source

    source = open_source([options.file])
    title = options.title or os.path.basename(options.file)
    text = picture(source.rows, title=title, width=options.width, rows=options.rows)
    if options.out in (None, "-"):
        sys.stdout.write(text)
        return 0
    try:
        with open(options.out, "w", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        raise LogError(f"cannot write {options.out}: {error.strerror}") from error
    return 0


def _number(low: int, high: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{value} is not from {low} to {high}")
        return value

    return number


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="lsca plot",
        description="Draw a log of `lsca run -o FILE`: processes and threads over time, calls coloured by family, "
        "execs with their command lines, failed calls marked.",
    )
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("-o", dest="out", metavar="OUT", help="where to (default: stdout)")
    parser.add_argument("--title", help="above the picture (default: the file's name)")
    parser.add_argument(
        "--width",
        type=_number(640, 20000),
        default=1200,
        metavar="PIXELS",
        help="640 to 20000 (default: 1200)",
    )
    parser.add_argument(
        "--rows",
        type=_number(1, 2000),
        default=80,
        metavar="N",
        help="how many processes have a row of their own (default: 80); the others are drawn small",
    )
    return parser

# SPDX-License-Identifier: Apache-2.0
"""`lsca view FILE`: a log on the screen, to look around in."""

import argparse
import sys

from lsca.cli.parser import Parser
from lsca.errors import LscaError, UsageError

SUMMARY = "look around in a log, on the terminal"

# As in lsca.tui.view.TABS, which cannot be asked without Textual.
VIEWS = ("names", "processes", "files", "peers", "errors", "calls", "slowest", "timeline")


def main(argv: list[str]) -> int:
    """Shows the program until it is left."""
    options = _parser().parse_args(argv)
    terms = " ".join(options.filter)
    _check(terms)
    need_terminal("lsca view", "`lsca log FILE` prints it, `lsca sql FILE QUERY` asks it")
    show(options.file, terms, options.view)
    return 0


def show(files: list[str], terms: str, view: str) -> None:
    """The screen, on logs. LogError."""
    try:
        from lsca.tui.source import open_source
        from lsca.tui.view import ViewApp
    except ModuleNotFoundError as error:
        raise missing(error) from error
    ViewApp(open_source(files), terms, view).run()


def need_terminal(what: str, otherwise: str) -> None:
    """UsageError unless there is a terminal to draw on."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(f"{what} wants a terminal; {otherwise}")


def missing(error: ModuleNotFoundError) -> LscaError:
    """What to do about a library that is not installed."""
    return LscaError(f"{error.name} is not installed; pip install 'lsca[tui]' does that")


def _check(terms: str) -> None:
    from lsca.tui.filter import where

    where(terms)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="lsca view",
        description="Look around in logs of `lsca run -o FILE`: calls by process, file, peer and name, errors, "
        "the slowest, a timeline. `?` lists the keys.",
    )
    parser.add_argument("file", metavar="FILE", nargs="+", help="a log; several are read as one")
    parser.add_argument(
        "--filter",
        metavar="TERM",
        action="append",
        default=[],
        help="begin with this filter, as in --filter name=read --filter '>1ms'",
    )
    parser.add_argument(
        "--view", choices=VIEWS, default="names", help="begin with this (default: names)"
    )
    return parser

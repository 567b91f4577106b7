# SPDX-License-Identifier: Apache-2.0
"""`lsca top`: what runs under LSCA at this moment; on a terminal a screen, else a table."""

import argparse
import dataclasses
import importlib.util
import json
import os
import sys
import time
from typing import TYPE_CHECKING

from lsca.cli import view
from lsca.cli.parser import Parser
from lsca.daemon import default_path

if TYPE_CHECKING:
    from lsca.tui.follow import Failures

SUMMARY = "watch what runs: calls a second, by process and route"


def main(argv: list[str]) -> int:
    """Shows the screen until it is left, or prints one table. DaemonError if there is no daemon."""
    options = _parser().parse_args(argv)
    path = os.path.abspath(options.socket or default_path())
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if options.once or options.json or not terminal:
        return _once(path, options.delay, options.json)
    try:
        from lsca.tui.top import TopApp
    except ModuleNotFoundError as error:
        raise view.missing(error) from error
    from lsca.tui.rates import snapshot

    snapshot(path)  # without a daemon there is nothing to show from the start
    chosen = TopApp(path, options.delay).run()
    if chosen is not None:
        log, pid = chosen
        view.show([log], f"pid={pid}", "names")
    return 0


def _once(path: str, delay: float, as_json: bool) -> int:
    from lsca.tui.rates import compare, logs, snapshot, table

    before = snapshot(path)
    failures = _failures() if logs(before) else None
    if failures is not None:
        failures.look(logs(before))
    if before.status["sessions"]:
        time.sleep(delay)
    after = snapshot(path)
    moment = compare(before, after, failures.look(logs(after)) if failures is not None else None)
    if as_json:
        print(json.dumps(dataclasses.asdict(moment), indent=2))
    elif not moment.runs:
        print("lsca: nothing runs; `lsca run PROGRAM` starts something", file=sys.stderr)
    else:
        sys.stdout.write(table(moment))
    return 0


def _failures() -> "Failures | None":
    """Who counts failed calls in logs; None where DuckDB is not installed, and nobody can."""
    if importlib.util.find_spec("duckdb") is None:
        return None
    from lsca.tui.follow import Failures

    return Failures()


def _delay(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 3600:
        raise ValueError
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="lsca top",
        description="Show the processes of all runs that have joined the daemon, and their calls a second.",
    )
    parser.add_argument("--socket", metavar="PATH", help="where (default: $LSCA_DAEMON or yours)")
    parser.add_argument("--once", action="store_true", help="print one table and end")
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    parser.add_argument(
        "-d",
        dest="delay",
        type=_delay,
        default=1.0,
        metavar="SECONDS",
        help="between two looks (default: 1)",
    )
    return parser

# SPDX-License-Identifier: Apache-2.0
"""`lsca daemon`: the registry that runs in several terminals join, and questions to it."""

import argparse
import json
import os
import sys
import time
from typing import Any

from lsca.daemon import Daemon, ask, background, default_path

SUMMARY = "keep the registry of all runs, or ask it"


def main(argv: list[str]) -> int:
    """Serves until stopped, or asks the one that serves."""
    options = _parser().parse_args(argv)
    path = os.path.abspath(options.socket or default_path())
    if options.status:
        status = ask(path, "status")
        if options.json:
            print(json.dumps(status, indent=2))
        else:
            print("\n".join(_lines(status)))
        return 0
    if options.stop:
        answer = ask(path, "stop")
        print(f"lsca: daemon {answer['pid']} stopped", file=sys.stderr)
        return 0
    if options.background:
        background(path, _ready, options.logs)
        return 0
    daemon = Daemon(path, options.logs)
    _ready(daemon)
    daemon.serve()
    return 0


def _ready(daemon: Daemon) -> None:
    print(f"lsca: daemon ready at {daemon.path}", file=sys.stderr, flush=True)


def _lines(status: dict[str, Any]) -> list[str]:
    """The status as a person wants to read it."""
    sessions = status["sessions"]
    lines = [f"daemon {status['pid']} at {status['socket']}: {_count(len(sessions), 'run')}"]
    for session in sessions:
        age = time.time() - session["since"]
        lines.append("")
        way = "preloaded" if session["preloaded"] else f"route {session['route']}"
        lines.append(f"run {session['pid']}  {way}  {age:.0f} s  {' '.join(session['argv'])}")
        if session["log"]:
            lines.append(f"  log {session['log']}")
        for process in session["processes"]:
            if not process["alive"]:
                continue
            calls = process["calls"]
            counts = ", ".join(f"{n} {route}" for route, n in calls.items() if n) or "none"
            proxy = f"  proxy {process['proxy']}" if process["proxy"] else ""
            lines.append(f"  program {process['pid']} {process['command']}{proxy}  calls: {counts}")
        waits = session.get("waits", {})
        if any(waits.values()):
            lines.append("  waits: " + ", ".join(f"{n} {how}" for how, n in waits.items() if n))
        streams = session.get("streams", {})
        if streams.get("joined"):
            lines.append(
                f"  {_count(streams['joined'], 'connection')} through memory, {streams['bytes']} bytes; "
                f"{streams['back']} directions went back to the kernel"
            )
        posted = session.get("posted", {})
        if posted.get("writes"):
            lines.append(
                f"  {_count(posted['writes'], 'write')} to {_count(posted['files'], 'file')} posted, "
                f"{posted['bytes']} bytes; "
                f"{posted['waiting']} bytes still to be written"
            )
        if session["uncaught"]:
            lines.append(f"  {session['uncaught']} programs ran uncaught")
        if session["lost"]:
            lines.append(f"  {session['lost']} records lost")
    return lines


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lsca daemon",
        description="Keep a registry that every `lsca run` of this user joins. "
        "Without an option: serve in the foreground until Ctrl-C or SIGTERM.",
    )
    parser.add_argument("--socket", metavar="PATH", help="where (default: $LSCA_DAEMON or yours)")
    parser.add_argument(
        "-o",
        dest="logs",
        metavar="DIR",
        help="write a log for each program that is preloaded with the agent or linked to it",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--background", action="store_true", help="serve in the background")
    what.add_argument("--status", action="store_true", help="print runs, programs, proxies, calls")
    what.add_argument("--stop", action="store_true", help="stop the one that serves")
    parser.add_argument("--json", action="store_true", help="with --status: as JSON")
    return parser

# SPDX-License-Identifier: Apache-2.0
"""`lsca explore`: runs a program once for each call that may fail, with that one failing, and says what went wrong."""

import argparse
import errno
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Final

from lsca.errors import UsageError
from lsca.exploring import KINDS, Campaign, Finding, Settings
from lsca.exploring.judge import facts
from lsca.exploring.sites import Site
from lsca.table.selection import SelectionError, select

SUMMARY = "let each call of a program fail, one at a time, and see what becomes of it"
BUDGET: Final = 1000
FOUND: Final = 1  # exit code
INTERRUPTED: Final = 130


def main(argv: list[str]) -> int:
    """Prints findings as they come; 1 if there were some."""
    options = _parser().parse_args(argv)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise UsageError("no program is named; see `lsca explore --help`")
    campaign = Campaign(command, _settings(options), Path.cwd())
    progress = Progress(campaign, sys.stderr.isatty() and not options.json)
    findings: list[Finding] = []
    told: set[tuple[str, Site]] = set()
    stopped = False
    try:
        for finding in campaign.run(progress.show):
            findings.append(finding)
            progress.found = len(findings)
            alike = finding.kind, finding.fault.site
            if not options.json and alike not in told:
                told.add(alike)
                progress.clear()
                print(_told(finding, command), flush=True)
    except KeyboardInterrupt:
        stopped = True
    progress.clear()
    if options.json:
        print(json.dumps(_facts(campaign, findings, command), indent=2))
    else:
        for line in _summary(campaign, findings, len(told), stopped=stopped):
            print(line)
    return INTERRUPTED if stopped else FOUND if findings else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lsca explore",
        description=f"{SUMMARY}. The exit code is 0 if nothing was found, 1 if something was.",
        usage="lsca explore [options] [--] PROGRAM ...",
    )
    parser.add_argument(
        "-j", "--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="runs at a time"
    )
    parser.add_argument(
        "--budget", type=int, default=BUDGET, metavar="N",
        help=f"at most N runs, the most different ones first (default {BUDGET}; 0: all)",
    )  # fmt: skip
    parser.add_argument(
        "--only", metavar="CALLS", help="only these calls, as -e trace= takes them: write,%%network"
    )
    parser.add_argument("--errors", metavar="ERRNOS", help="only these errnos: ENOSPC,EIO")
    parser.add_argument(
        "--timeout", type=float, metavar="S",
        help="seconds that a run may take (default: ten times as long as without a fault, at least 5)",
    )  # fmt: skip
    parser.add_argument(
        "--in-place", action="store_true",
        help="run in the working directory itself, one run at a time, not in a copy of it for each run",
    )  # fmt: skip
    parser.add_argument(
        "--json", action="store_true", help="one JSON object at the end instead of text"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="PROGRAM ...")
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    only = errors = None
    if options.only is not None:
        try:
            only = frozenset(row.name for row in select(options.only))
        except SelectionError as error:
            raise UsageError(f"--only {options.only}: {error}") from None
    if options.errors is not None:
        errors = frozenset(options.errors.split(","))
        unknown = sorted(errors - set(errno.errorcode.values()))
        if unknown:
            raise UsageError(f"--errors {options.errors}: there is no errno {unknown[0]!r}")
    if options.jobs < 1 or options.budget < 0:
        raise UsageError("-j wants a number from 1 on, and --budget one from 0 on")
    if options.timeout is not None and not options.timeout > 0:
        raise UsageError(f"--timeout wants a number of seconds, not {options.timeout:g}")
    return Settings(
        jobs=1 if options.in_place else options.jobs,
        timeout=options.timeout,
        budget=options.budget,
        only=only,
        errors=errors,
        in_place=options.in_place,
    )


def reproduce(finding: Finding, command: list[str]) -> str:
    """The command line that does the same again."""
    return f"lsca run -e {shlex.quote(finding.fault.rule)} -- {shlex.join(command)}"


def _told(finding: Finding, command: list[str]) -> str:
    how = "" if finding.code is None else f" [{_ending(finding.code)}]"
    return (
        f"{finding.kind}: {finding.detail}{how}\n"
        f"  {finding.call or finding.fault.site.text}\n"
        f"  {reproduce(finding, command)}"
    )


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"


def _summary(campaign: Campaign, findings: list[Finding], told: int, *, stopped: bool) -> list[str]:
    lines = [f"note: {note}" for note in campaign.notes]
    counts = [f"{n} {kind}" for kind in KINDS if (n := sum(one.kind == kind for one in findings))]
    if len(findings) > told:
        lines.append(
            f"{len(findings) - told} more are of the same calls with other errnos; --json lists them"
        )
    line = f"{campaign.tried} faults tried: {', '.join(counts) or 'nothing found'}"
    if campaign.unreached:
        line += f"; in {campaign.unreached} runs the call was never made"
    if campaign.left_out:
        line += f"; {campaign.left_out} more were left out, see --budget"
    if stopped:
        line += f"; stopped before the other {campaign.total - campaign.tried}"
    return [*lines, line]


def _facts(campaign: Campaign, findings: list[Finding], command: list[str]) -> dict[str, object]:
    return {
        "command": command,
        "tried": campaign.tried,
        "unreached": campaign.unreached,
        "left_out": campaign.left_out,
        "notes": campaign.notes,
        "findings": [facts(finding, reproduce(finding, command)) for finding in findings],
    }


class Progress:
    """A line on a terminal that says how far it is."""

    def __init__(self, campaign: Campaign, is_shown: bool) -> None:
        self._campaign = campaign
        self._is_shown = is_shown
        self.found = 0

    def show(self) -> None:
        if self._is_shown:
            one = self._campaign
            text = f"{one.tried}/{one.total} faults, {self.found} found"
            sys.stderr.write(f"\r\033[K{text}")
            sys.stderr.flush()

    def clear(self) -> None:
        if self._is_shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

# SPDX-License-Identifier: Apache-2.0
"""`lsca learn`: writes a policy from what a program does, or shows what a policy would still deny it."""

import os
import sys
import tempfile
from typing import Any

from lsca.cli.parser import Parser
from lsca.errors import LscaError, UsageError
from lsca.launch import die_of
from lsca.session import Session

SUMMARY = "write a policy from what a program does"


def main(argv: list[str]) -> int:
    """The program's exit code; with --check 1 if something would be denied."""
    words, program = _split(argv)
    parser = Parser(
        prog="lsca learn",
        usage="lsca learn [-o POLICY] [--log LOG]... [--] PROGRAM [ARGS...]\n"
        "       lsca learn --check POLICY [--] PROGRAM [ARGS...]",
        description="Run a program and write a policy that allows what it did, and no more. Paths are generalised: "
        "temporary files, versions and process numbers become *, many files of a directory the directory.",
    )
    parser.add_argument(
        "-o", dest="output", metavar="POLICY", help="write it there (default: stdout)"
    )
    parser.add_argument(
        "--log",
        dest="logs",
        action="append",
        default=[],
        metavar="LOG",
        help="learn from this log of an earlier `lsca run -o LOG`, too; then no program is needed",
    )
    parser.add_argument(
        "--check", metavar="POLICY", help="deny nothing, and say what this policy would deny"
    )
    options = parser.parse_args(words)
    if options.check:
        if options.output or options.logs or not program:
            raise UsageError("--check wants a program, and neither -o nor --log")
        return _check(options.check, program)
    if not program and not options.logs:
        raise UsageError("no program is named, and no --log; see `lsca learn --help`")
    return _learn(options, program)


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """The options, and the program with its arguments: it begins at `--`, or at the first word that is no option."""
    at = 0
    while at < len(argv) and argv[at].startswith("-"):
        if argv[at] == "--":
            return argv[:at], argv[at + 1 :]
        at += 2 if argv[at] in ("-o", "--log", "--check") else 1
    return argv[:at], argv[at:]


def _learn(options: Any, program: list[str]) -> int:
    from lsca.log import open_log
    from lsca.services.policy.learning import Learned, policy

    learned = Learned()
    code = signal = 0
    with tempfile.TemporaryDirectory(prefix="lsca-learn-") as place:
        logs = list(options.logs)
        if program:
            logs.append(os.path.join(place, "run.lsca"))
            session = Session(log=logs[-1])
            try:
                code, signal = session.run([os.fsencode(word) for word in program])
            finally:
                session.close()
        for log in logs:
            learned.add(open_log(log))
    what = f"`{' '.join(program)}`" if program else ""
    if options.logs:
        what += (" and " if what else "") + ", ".join(os.path.basename(log) for log in options.logs)
    text = policy(learned, what.replace("\n", " "))
    if options.output is None:
        sys.stdout.write(text)
    else:
        try:
            with open(options.output, "w", encoding="utf-8") as f:
                f.write(text)
        except OSError as error:
            raise LscaError(f"{options.output} cannot be written: {error.strerror}") from error
        sys.stderr.write(f"lsca: {options.output}: written from {learned.calls} calls\n")
    if signal:
        die_of(signal)
    return code


def _check(path: str, program: list[str]) -> int:
    from lsca.handlers.reports import to_stderr
    from lsca.services.policy import Policy

    policy = Policy(path, enforce=False, say=None)
    session = Session(handlers=[policy], say=to_stderr)
    try:
        session.run([os.fsencode(word) for word in program])
    finally:
        session.close()
    seen: dict[tuple[str, str], int] = {}
    for denial in policy.denials.kept:
        key = (denial.subject or denial.call, denial.rule)
        seen[key] = seen.get(key, 0) + 1
    for (subject, rule), count in seen.items():
        times = f" ({count} times)" if count > 1 else ""
        sys.stderr.write(f"lsca: would be denied: {subject}{times}, by {rule}\n")
    if not seen:
        sys.stderr.write(f"lsca: {path} would deny nothing of this\n")
    return 1 if seen else 0

# SPDX-License-Identifier: Apache-2.0
"""The command line. Finds the verb, imports its module and nothing else, prints errors in one place.

Each verb is a file here with `main(argv) -> int` and SUMMARY, one line for the overview.
"""

import sys
from importlib import import_module

from lsca.errors import LscaError, UsageError

VERBS = ("run", "log", "help", "doctor", "daemon", "flags")


def main(argv: list[str] | None = None) -> int:
    """Runs one verb and gives the exit code."""
    words = sys.argv[1:] if argv is None else argv
    try:
        return _dispatch(words)
    except LscaError as error:
        _say(f"lsca: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _dispatch(words: list[str]) -> int:
    verb = words[0] if words else "--help"
    if verb in ("--help", "-h"):
        sys.stdout.write(_overview())
        return 0
    if verb in ("--version", "-V"):
        from lsca import __version__

        sys.stdout.write(f"lsca {__version__}\n")
        return 0
    if verb not in VERBS:
        raise UsageError(f"there is no verb {verb!r}; there are: {', '.join(VERBS)}")
    code: int = import_module(f"lsca.cli.{verb}").main(words[1:])
    return code


def _overview() -> str:
    lines = ["usage: lsca VERB ...", ""]
    for verb in VERBS:
        lines.append(f"  {verb:8}{import_module(f'lsca.cli.{verb}').SUMMARY}")
    return "\n".join([*lines, "", "`lsca VERB --help` says more.", ""])


def _say(text: str) -> None:
    if sys.stderr is not None:  # it may have been closed
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            pass

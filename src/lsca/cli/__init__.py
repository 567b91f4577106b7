# SPDX-License-Identifier: Apache-2.0
"""The command line. Finds the verb, imports its module and nothing else, prints errors in one place.

Each verb is a file here with `main(argv) -> int` and SUMMARY, one line for the overview.
"""

import sys

from lsca.errors import OWN_FAILURE, LscaError, UsageError

TYPE_CHECKING = False  # that of `typing` costs an import
if TYPE_CHECKING:
    from types import ModuleType
    from typing import NoReturn

VERBS = (
    "run",
    "log",
    "tree",
    "files",
    "sql",
    "view",
    "top",
    "plot",
    "export",
    "diff",
    "apply",
    "discard",
    "policy",
    "learn",
    "explore",
    "help",
    "doctor",
    "daemon",
    "flags",
)


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


def script() -> "NoReturn":
    """`lsca` as a program: does not spend the milliseconds that Python takes to tidy up before it ends."""
    code = main()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            _say(f"lsca: the output cannot be written: {error.strerror}\n")
        code = code or OWN_FAILURE
    import os

    os._exit(code)


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
    if verb != "run" and sys.flags.no_site:
        import site

        site.main()  # left out by the script for the sake of `run`, which needs none of it
    code: int = _module(verb).main(words[1:])
    return code


def _module(verb: str) -> "ModuleType":
    # importlib.import_module does the same, after an import of its own.
    return __import__(f"lsca.cli.{verb}", fromlist=["main"])


def _overview() -> str:
    lines = ["usage: lsca VERB ...", ""]
    for verb in VERBS:
        lines.append(f"  {verb:8}{_module(verb).SUMMARY}")
    return "\n".join([*lines, "", "`lsca VERB --help` says more.", ""])


def _say(text: str) -> None:
    if sys.stderr is not None:  # it may have been closed
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            pass

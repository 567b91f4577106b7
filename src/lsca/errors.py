# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, as exceptions. The command line prints them in one place and ends with their exit code.

    LscaError                  anything LSCA itself has to say; exit code 125
    ├── UsageError             the command line was not understood; 125
    ├── StartError             the program could not be started: 126 not executable, 127 not found, else 125
    ├── LogError               a log cannot be written or read; 125
    ├── RuleError              a rule about calls cannot be; 125
    │   └── HandlerError       a rule or a handler that cannot be as it is written; a ValueError too
    └── DaemonError            no daemon where one was asked for, or one is there already; 125

Errors of the programs that are run are none of these: they are the program's exit status.
"""

TYPE_CHECKING = False  # that of `typing` costs an import
if TYPE_CHECKING:
    from collections.abc import Iterable

OWN_FAILURE = 125


class LscaError(Exception):
    """Says in the user's words what happened, why, and what to do."""

    exit_code: int = OWN_FAILURE

    def __init__(self, text: str, exit_code: int | None = None) -> None:
        super().__init__(text)
        if exit_code is not None:
            self.exit_code = exit_code


class UsageError(LscaError):
    """The command line was not understood."""


class StartError(LscaError):
    """The program could not be started; `exit_code` says in the shell's manner why."""


class LogError(LscaError):
    """A log cannot be written or read."""


class RuleError(LscaError):
    """A rule about calls asks for what a call or a session does not have."""


class HandlerError(RuleError, ValueError):
    """A rule or a handler that cannot be as it is written: a wrong name, pattern or number; a file that fails."""


class DaemonError(LscaError):
    """No daemon where one was asked for, or one is there already."""


def near(word: str, names: "Iterable[str]") -> str:
    """The end of a sentence about a wrong word: names like it, if there are some."""
    import difflib  # costs `lsca run` nothing unless something is wrong

    found = difflib.get_close_matches(word, list(names), n=3)
    return f"; near to it: {', '.join(found)}" if found else ""

# SPDX-License-Identifier: Apache-2.0
"""What is to be said of a run in which one call failed, beside two in which none did."""

import re
import signal
from dataclasses import dataclass
from typing import Any, Final

from lsca.exploring.sites import Fault
from lsca.exploring.trial import CRASHES, Outcome
from lsca.table import by_name
from lsca.table.effects import Moves

KINDS: Final = {
    "crash": "a program died of a signal",
    "hang": "it did not end in time",
    "sanitizer": "a sanitizer had something to report",
    "silent": "it ended with 0 although what had to be written was not",
    "output": "it ended with 0, and its output is another",
    "leak": "it left files behind",
}
SANITIZER: Final = re.compile(
    rb"(ERROR: (?:Address|Leak|Thread|Memory)Sanitizer|WARNING: (?:Thread|Memory)Sanitizer"
    rb"|: runtime error: )[^\n]*"
)
# Calls that promise something about what was written; that they failed must be known to whoever relies on it.
PROMISES: Final = frozenset({"fsync", "fdatasync", "sync_file_range", "syncfs", "msync"})
MAKES: Final = frozenset(
    {
        "rename",
        "renameat",
        "renameat2",
        "link",
        "linkat",
        "symlink",
        "symlinkat",
        "mkdir",
        "mkdirat",
    }
    | {"truncate", "ftruncate", "fallocate"}
)
AGAIN: Final = frozenset({"EINTR", "EAGAIN"})  # nothing has happened, and it can be tried again
SHOWN: Final = 3  # files that are named


@dataclass(frozen=True, slots=True)
class Finding:
    """`kind` is one of KINDS; `detail` says what was seen."""

    kind: str
    fault: Fault
    detail: str
    call: str
    code: int | None


class Judge:
    """Knows how the program behaves when nothing fails: from two runs, so that what differs by itself is not held
    against it."""

    def __init__(self, first: Outcome, second: Outcome) -> None:
        self.normal = first
        self.same_output = first.stdout == second.stdout
        self.same_files = changes(first) == changes(second)
        self.usual = set(first.after) | set(second.after)
        self.usual_temporary = {_shape(path) for path in (*first.temporary, *second.temporary)}

    def findings(self, fault: Fault, outcome: Outcome) -> list[Finding]:
        found: list[tuple[str, str]] = []
        crash = self._crash(outcome)
        report = SANITIZER.search(outcome.stderr)
        if crash:
            found.append(("crash", crash))
        if outcome.code is None:
            found.append(("hang", f"it was ended after {outcome.seconds:.1f} s"))
        if report:
            found.append(("sanitizer", report[0].decode(errors="replace").strip()[:120]))
        if outcome.code == 0 == self.normal.code:
            found += self._succeeded(fault, outcome)
        left = self._left(outcome)
        if left:
            more = f" and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
            found.append(("leak", f"left behind: {', '.join(left[:SHOWN])}{more}"))
        return [Finding(kind, fault, detail, outcome.hit, outcome.code) for kind, detail in found]

    def _crash(self, outcome: Outcome) -> str:
        code = outcome.code or 0
        if code < 0 and (-code in CRASHES or not outcome.crashed):
            return f"it died of {signal.Signals(-code).name}"
        new = [one for one in outcome.crashed if one not in self.normal.crashed]
        return f"{new[0][0]} died of {new[0][1]}" if new else ""

    def _succeeded(self, fault: Fault, outcome: Outcome) -> list[tuple[str, str]]:
        differs = []
        if self.same_output and outcome.stdout != self.normal.stdout:
            differs.append("stdout")
        if self.same_files:
            ours, theirs = changes(outcome), changes(self.normal)
            wrong = sorted(path for path in theirs if ours.get(path) != theirs[path])
            differs += wrong
        name, error = fault.site.name, fault.error
        if differs:
            what = ", ".join(differs[:SHOWN])
            if error not in AGAIN and is_needed(name):
                return [("silent", f"exit code 0, but not what it should be: {what}")]
            return [("output", f"exit code 0, but different: {what}")]
        if name in PROMISES and error not in AGAIN:
            return [("silent", f"exit code 0, and {name} had failed")]
        return []

    def _left(self, outcome: Outcome) -> list[str]:
        known = self.usual | set(outcome.before)
        shapes = {_shape(path) for path in known}
        left = [path for path in outcome.after if path not in known and _shape(path) not in shapes]
        temporary = [path for path in outcome.temporary if _shape(path) not in self.usual_temporary]
        return sorted(left) + [f"$TMPDIR/{path}" for path in temporary]


def is_needed(name: str) -> bool:
    """Whether the call is one that brings something about which is to stay."""
    row = by_name(name)
    return name in MAKES or name in PROMISES or (row is not None and row.moves is Moves.OUT)


def changes(outcome: Outcome) -> dict[str, str]:
    """What a run has made, changed or (empty) taken away."""
    found = {path: what for path, what in outcome.after.items() if outcome.before.get(path) != what}
    return found | {path: "" for path in outcome.before if path not in outcome.after}


def _shape(path: str) -> str:
    """A path without what chance has given it: tmpa1b2c3 and tmpx9y8z7 are alike."""
    return re.sub(r"(?<=[._-])[A-Za-z0-9_]{6,}|(?<=tmp)[A-Za-z0-9_]+|[0-9]+", "*", path)


def facts(finding: Finding, reproduce: str) -> dict[str, Any]:
    """One finding for --json: docs/explore.md names the fields."""
    return {
        "kind": finding.kind,
        "call": finding.fault.site.name,
        "error": finding.fault.error,
        "when": finding.fault.site.number,
        "site": finding.fault.site.text,
        "failed": finding.call,
        "detail": finding.detail,
        "exit_code": finding.code,
        "reproduce": reproduce,
    }

# SPDX-License-Identifier: Apache-2.0
"""A case: a real program at work, as a shell script whose output, status and files must be the same everywhere.

The cases stand in cases_*.py; test_programs.py runs each in each route, table.py makes a table of them. A case names
the row of the table that it belongs to, the commands that it needs, and what of it differs from run to run even
without LSCA, with the reason.
"""

import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from differential import Outcome, compare

PYTHON = str(Path(sys.executable).resolve())
# `port` finds a port of 127.0.0.1 where nobody listens, below those that the kernel gives to clients;
# `ready PID COMMAND` waits until the command succeeds, as long as that process lives.
PRELUDE = r"""
port() { while PORT=$((20000 + RANDOM % 12000)); listens; do :; done; }
listens() { (exec 3<>/dev/tcp/127.0.0.1/$PORT) 2> /dev/null; }
ready() {
    local pid=$1; shift
    until "$@" > /dev/null 2>&1; do kill -0 $pid || return 1; sleep 0.05; done
}
"""


def nothing(where: Path) -> None:
    """No files to begin with."""


@dataclass(frozen=True)
class Case:
    """One script for bash. `prepare` fills the directory in which it starts."""

    program: str
    name: str
    script: str
    needs: tuple[str, ...] = ()
    prepare: Callable[[Path], None] = nothing
    env: Mapping[str, str] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    vary: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    status: int | None = 0
    timeout: float = 60

    def missing(self) -> list[str]:
        """The commands that this machine lacks; "a|b" is content with either."""
        return [
            name for name in self.needs if not any(shutil.which(one) for one in name.split("|"))
        ]

    def run(self, route: str) -> Outcome:
        """AssertionError unless that route is as the kernel is."""
        with TemporaryDirectory() as there:
            files = Path(there) / "files"
            files.mkdir()
            self.prepare(files)
            return compare(
                ["bash", "-c", PRELUDE + textwrap.dedent(self.script)],
                routes=(route,),
                env={"PYTHON": PYTHON, **self.env},
                files=files,
                ignore=self.ignore,
                vary=self.vary,
                user=self.user,
                status=self.status,
                timeout=self.timeout,
            )

# SPDX-License-Identifier: Apache-2.0
"""strace's options that `lsca log` cannot serve, and what it says instead: why, and what to do."""

import argparse
from collections.abc import Sequence
from typing import Any, Final

from lsca.errors import UsageError

NOT_RECORDED: Final = "a log does not have that"
RUN: Final = "that belongs to the run: `lsca run --help`"
# strace's options that have no meaning here, with what to do instead. True: a value follows.
REFUSED: Final[dict[tuple[str, ...], tuple[bool, str]]] = {
    ("-k", "--stack-traces"): (
        False,
        "stacks are not in a log; run the program under `strace -k` or a debugger for them",
    ),
    ("-i", "--instruction-pointer"): (False, f"{NOT_RECORDED}: the addresses calls came from"),
    ("-E", "--env"): (True, f"{RUN}; or `env VAR=VALUE lsca run ...`"),
    ("-u", "--user"): (True, f"{RUN}; or `setpriv --reuid USER lsca run ...`"),
    ("-b", "--detach-on"): (
        True,
        "everything that a program starts is in the log; -p chooses of it",
    ),
    ("-D", "--daemonize"): (False, f"{RUN}, whose program is always its own child"),
    ("-I", "--interruptible"): (True, f"{RUN}, which leaves signals to the program"),
    ("-O", "--summary-syscall-overhead"): (
        True,
        "times in a log have no tracer's overhead in them",
    ),
    ("-d", "--debug"): (False, "`lsca doctor` says what works on this machine"),
    ("-Y", "--decode-pids"): (False, "`lsca tree` shows which command each process ran"),
    ("--pidns-translation",): (False, "process numbers are those that the program saw"),
    ("-X", "--const-print-style"): (
        True,
        "use -e raw=CALL,... to see a call's arguments as numbers",
    ),
    ("--seccomp-bpf",): (False, "there is no tracer to be spared; --help lists the options"),
    ("--inject", "--fault"): (True, f"{RUN}; a log shows what has happened"),
    ("--kvm",): (True, NOT_RECORDED),
    ("--tips",): (False, "docs/log.md has some"),
}
REFUSED_KEYS: Final = {
    "inject": f"{RUN}; a log shows what has happened",
    "fault": f"{RUN}; a log shows what has happened",
    "kvm": NOT_RECORDED,
    "signal": "signals are not in a log, but for calls that sent them: -e trace=%signal",
    "decode-pids": "`lsca tree` shows which command each process ran",
    "verbose": "structures are always read; -e raw=CALL,... shows arguments as numbers",
}


class Refuse(argparse.Action):
    """Says why an option of strace's is not one here."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        raise UsageError(f"{option_string}: {self.const}")

# SPDX-License-Identifier: Apache-2.0
"""LSCA runs an unmodified Linux program with its system calls served in user space.

`lsca run PROGRAM` starts one from the shell; `lsca.run` does it from Python and returns what subprocess.run returns.
Handlers decide about its calls: `@lsca.on(calls.openat)`, see docs/handlers.md. Importing this package does nothing:
no third-party package, no side effect, and the names below are fetched when they are first used.
"""

TYPE_CHECKING = False  # that of `typing` costs an import
if TYPE_CHECKING:
    from lsca.handlers import Report, Rule, Verdict, fail, file, go_on, kill, on, ret, sleep
    from lsca.live.address import Address
    from lsca.log.reader import Log, open_log
    from lsca.running import Completed, run
    from lsca.session import PostOptions, Session
    from lsca.table.syscall import Syscall

__version__ = "0.1.0"

__all__ = [
    "Address",
    "Completed",
    "Log",
    "PostOptions",
    "Report",
    "Rule",
    "Session",
    "Syscall",
    "Verdict",
    "__version__",
    "fail",
    "file",
    "go_on",
    "kill",
    "on",
    "open_log",
    "ret",
    "run",
    "sleep",
]

_HOMES = {
    "lsca.handlers": "Report Rule Verdict fail file go_on kill on ret sleep",
    "lsca.live.address": "Address",
    "lsca.log.reader": "Log open_log",
    "lsca.running": "Completed run",
    "lsca.session": "PostOptions Session",
    "lsca.table.syscall": "Syscall",
}


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        for home, names in _HOMES.items():
            if name in names.split():
                value = getattr(__import__(home, fromlist=[name]), name)
                globals()[name] = value
                return value
        raise AttributeError(f"module 'lsca' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted(__all__)

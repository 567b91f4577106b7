# SPDX-License-Identifier: Apache-2.0
"""LSCA runs an unmodified Linux program with its system calls served in user space.

`lsca run PROGRAM` starts one from the shell; `lsca.session.Session` does it from Python. `lsca.open_log(FILE)` opens
the log of a run. Importing this package does nothing but that: no third-party package, no side effect.
"""

TYPE_CHECKING = False  # that of `typing` costs an import
if TYPE_CHECKING:
    from typing import Any

    from lsca.log.reader import open_log

__version__ = "0.1.0"

__all__ = ["__version__", "open_log"]


def __getattr__(name: str) -> "Any":
    """The reader of logs is loaded when it is asked for: `lsca run` has no use for it."""
    if name == "open_log":
        from lsca.log.reader import open_log

        return open_log
    raise AttributeError(f"module 'lsca' has no attribute {name!r}")

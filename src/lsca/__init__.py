# SPDX-License-Identifier: Apache-2.0
"""LSCA runs an unmodified Linux program with its system calls served in user space.

`lsca run PROGRAM` starts one from the shell; `lsca.session.Session` does it from Python. Importing this package does
nothing but that: no third-party package, no side effect.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]

# SPDX-License-Identifier: Apache-2.0
"""`lsca` as a command, for tests of services."""

import os
import subprocess
import sys
from pathlib import Path


def lsca(*argv: str | Path, cwd: Path | None = None, code: int = 0, **env: str) -> str:
    """What `lsca ...` writes; a test fails here if it says anything else, or ends otherwise."""
    done = subprocess.run(
        [sys.executable, "-m", "lsca", *map(str, argv)],
        cwd=cwd,
        env=os.environ | {"LC_ALL": "C", "TZ": "UTC"} | env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, "lsca:" in done.stderr) == (code, False), done.stdout + done.stderr
    return done.stdout + done.stderr


def refused(*argv: str | Path, cwd: Path | None = None, **env: str) -> str:
    """What it says when it does not do it."""
    done = subprocess.run(
        [sys.executable, "-m", "lsca", *map(str, argv)],
        cwd=cwd,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (125, "") and "Traceback" not in done.stderr, (
        done.stderr
    )
    return done.stderr

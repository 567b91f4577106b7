# SPDX-License-Identifier: Apache-2.0
"""A directory for tests of overlays, what is in one, and commands that are run in two: natively and in an overlay."""

import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from lsca.services.changes import apply, changes
from lsca.services.overlay import State

Picture = dict[str, tuple[str, ...]]


def make(place: Path) -> Path:
    (place / "dir" / "sub" / "deep").mkdir(parents=True)
    (place / "outside").write_text("outside\n")
    directory = place / "dir"
    for name, text in {
        "a": "one\n",
        "sub/b": "two\n",
        "sub/deep/c": "three\n",
        "h1": "h\n",
        "secret": "s\n",
    }.items():
        (directory / name).write_text(text)
        os.utime(directory / name, (1_000_000_000, 1_000_000_000))
    (directory / "tool").write_text("#!/bin/sh\necho tool $1 in ${PWD##*/}\n")
    (directory / "tool").chmod(0o755)
    (directory / "secret").chmod(0o400)
    os.link(directory / "h1", directory / "h2")
    (directory / "ln").symlink_to("sub/b")
    (directory / "abs").symlink_to(directory / "a")
    (directory / "out").symlink_to("../outside")
    return directory


def picture(directory: Path) -> Picture:
    """All that is in a directory, but for times."""
    found = {}
    for path in [directory, *sorted(directory.rglob("*"))]:
        status = path.lstat()
        mode = f"{status.st_mode:o}"
        for name in sorted(os.listxattr(path, follow_symlinks=False)):
            mode += f" {name}={os.getxattr(path, name, follow_symlinks=False).hex()}"
        if stat.S_ISLNK(status.st_mode):
            found[str(path.relative_to(directory))] = (
                mode,
                os.readlink(path).replace(str(directory.parent), ""),
            )
        elif stat.S_ISREG(status.st_mode):
            found[str(path.relative_to(directory))] = (
                mode,
                hashlib.sha256(path.read_bytes()).hexdigest(),
            )
        else:
            found[str(path.relative_to(directory))] = (mode,)
    return found


def script(text: str, directory: Path, command: list[str]) -> tuple[int, str, str]:
    done = subprocess.run(
        [*command, "sh", "-c", text],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(directory.parent)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    where = str(directory.parent)
    return done.returncode, done.stdout.replace(where, "@"), done.stderr.replace(where, "@")


def compared(
    text: str, route: str, place: Path, prepare: Callable[[Path], object] = lambda directory: None
) -> list[str]:
    """Runs commands in a directory and in an overlay over another one: they say the same, and after `apply` both
    directories are the same. What `lsca diff` says before that."""
    state = place / "state"
    native, real = make(place / "native"), make(place / "real")
    for directory in (native, real):
        prepare(directory)
    before = picture(real)
    wanted = script(text, native, [])
    command = [sys.executable, "-m", "lsca", "run", "--no-daemon", "--route", route]
    options = ["--overlay", ".", "--state", str(state), "--"]
    assert script(text, real, [*command, *options]) == wanted
    assert picture(real) == before
    said = [str(change) for change in changes(State(str(state)))]
    assert bool(said) == (picture(native) != before)
    apply(State(str(state)))
    assert picture(real) == picture(native)
    assert not (state / "overlay.json").exists()
    return said

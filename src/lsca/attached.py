# SPDX-License-Identifier: Apache-2.0
"""Programs that bring their agent along, preloaded or linked: each gets a session of its own from the daemon.

The agent asks on the daemon's socket, gets the session's memory, and hangs up; from then on only the keeper
(`drainer/keep.c`) knows when the last of the program's processes has ended. An image that such a process has
started by exec asks again and belongs to the session that its process is in.
"""

import contextlib
import os
import re
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from lsca import _native

SUFFIX = ".lsca"


@dataclass
class Attached:
    """One program, with all that it starts."""

    fd: int
    area_fd: int
    log_fd: int
    pid: int
    about: dict[str, Any]
    keeper: int = 0
    pidfd: int = -1
    since: float = field(default_factory=time.time)

    def keep(self) -> None:
        """Starts its keeper, which has the log from now on. Not before the program has its answer: a fork takes long.
        OSError."""
        try:
            self.keeper = _native.session_keep(
                self.fd, self.area_fd, self.log_fd, os.fsencode(self.about["log"] or "")
            )
            self.pidfd = os.pidfd_open(self.keeper)
        finally:
            self._close_log()

    def close(self) -> None:
        """Forgets it; the keeper and the program go on."""
        self._close_log()
        for fd in (self.fd, self.area_fd, self.pidfd):
            if fd >= 0:
                os.close(fd)

    def _close_log(self) -> None:
        if self.log_fd >= 0:
            os.close(self.log_fd)
            self.log_fd = -1


def find(sessions: Iterable[Attached], pid: int) -> Attached | None:
    """The session that has a process of this number."""
    for attached in sessions:
        if _native.session_has(attached.fd, pid):
            return attached
    return None


def check(request: dict[str, Any], pid: int) -> None:
    """ValueError for what must not be answered."""
    # One of another build is not given memory that it would misread.
    if request["version"] != _native.ABI_VERSION:
        raise ValueError("an agent of another version")
    if request["pid"] != pid:
        raise ValueError("processes are numbered differently there")


def create(pid: int, directory: str | None) -> Attached:
    """A session for a program, with a log in `directory`. OSError."""
    name, log = "", -1
    if directory is not None:
        name, log = _open_log(directory, pid)
    try:
        place = os.fsencode(os.path.abspath(name)) if log >= 0 else None
        fd, area = _native.session_create(False, place, pid)
    except OSError:
        if log >= 0:
            os.close(log)
        raise
    about = {"argv": _arguments(pid), "route": "kernel", "log": name or None, "preloaded": True}
    return Attached(fd, area, log, pid, about)


def hand_over(client: socket.socket, attached: Attached) -> None:
    """The answer: one line, and with it the session and the log's memory. OSError."""
    fds = [fd for fd in (attached.fd, attached.area_fd) if fd >= 0]
    socket.send_fds(client, [b'{"op": "attached"}\n'], fds, socket.MSG_DONTWAIT)


def _open_log(directory: str, pid: int) -> tuple[str, int]:
    """A new file, named for the program: `grep-1234.lsca`. Only its owner may read what the program read."""
    stem = os.path.join(directory, f"{_file_name(command(pid)) or 'program'}-{pid}")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    for number in range(1, 10000):
        path = f"{stem}{f'-{number}' if number > 1 else ''}{SUFFIX}"
        with contextlib.suppress(FileExistsError):
            return path, os.open(path, flags, 0o600)
    raise FileExistsError(f"{stem} is there many times already")


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.+-]", "_", text).lstrip(".")


def command(pid: int) -> str:
    """What ps calls the process; empty if it is gone."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as f:
            return f.read().strip()
    except OSError:
        return ""


def _arguments(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            words = f.read(65536).split(b"\0")
    except OSError:
        return []
    return [word.decode(errors="replace") for word in words[:-1]]

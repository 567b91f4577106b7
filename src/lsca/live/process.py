# SPDX-License-Identifier: Apache-2.0
"""The process behind a call, by what /proc says of it at the moment, and the notes that handlers keep about it.

`Processes` has one `Process` for each pid that a handler has asked about, until the process ends: a thread waits for
that on a pidfd, so that a pid that is used again never inherits anything.
"""

import os
import select
import threading
from typing import Any

from lsca.live.threads import without_signals


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError:
        return b""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


class Process:
    """A program's process. `state` is the handlers' own; it ends with the process, and a child begins with none.

    What is asked of a process that has just ended is empty: "", [] or 0.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.state: dict[Any, Any] = {}
        self.holder: int | None = None  # of its descriptors, once somebody has asked
        self.counts: dict[Any, int] = {}  # of rules that count by process or thread

    @property
    def parent(self) -> int:
        """The parent's pid."""
        return int(self.status("PPid") or 0)

    @property
    def argv(self) -> list[str]:
        data = _read(f"/proc/{self.pid}/cmdline")
        return [part.decode("utf-8", "surrogateescape") for part in data.split(b"\0")[:-1]]

    @property
    def cwd(self) -> str:
        return _link(f"/proc/{self.pid}/cwd")

    @property
    def exe(self) -> str:
        """The path of the program; an interpreter's for a script."""
        return _link(f"/proc/{self.pid}/exe")

    @property
    def name(self) -> str:
        """The last part of `exe`."""
        return self.exe.rpartition("/")[2]

    @property
    def environ(self) -> dict[str, str]:
        """The environment that the program was started with."""
        data = _read(f"/proc/{self.pid}/environ").decode("utf-8", "surrogateescape")
        return dict(entry.split("=", 1) for entry in data.split("\0") if "=" in entry)

    def status(self, name: str) -> str:
        """One line of /proc/PID/status: `status("Uid")`; "" if there is none."""
        for line in _read(f"/proc/{self.pid}/status").decode("utf-8", "replace").splitlines():
            key, _, value = line.partition(":")
            if key == name:
                return value.strip()
        return ""

    def signal(self, number: int) -> None:
        """Sends a signal, as kill(2) does; nothing happens if the process has ended."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def __repr__(self) -> str:
        return f"<process {self.pid} {self.name}>"


class Thread:
    """The thread that makes a call."""

    def __init__(self, tid: int, pid: int) -> None:
        self.tid = tid
        self.pid = pid

    @property
    def name(self) -> str:
        data = _read(f"/proc/{self.pid}/task/{self.tid}/comm")
        return data.decode("utf-8", "surrogateescape").rstrip("\n")

    def __repr__(self) -> str:
        return f"<thread {self.tid} of {self.pid}>"


class Processes:
    """The processes that handlers have asked about. Any thread may ask."""

    def __init__(self) -> None:
        self._known: dict[int, Process] = {}
        self._pidfds: dict[int, int] = {}
        self._lock = threading.Lock()
        self._epoll: select.epoll | None = None
        self._wake = -1
        self._thread: threading.Thread | None = None

    def get(self, pid: int) -> Process:
        """The process of that pid, the same object as long as it lives."""
        known = self._known.get(pid)
        if known is not None:
            return known
        with self._lock:
            known = self._known.get(pid)
            if known is None:
                known = Process(pid)
                if self._watch(pid):
                    self._known[pid] = known
        return known

    def __len__(self) -> int:
        return len(self._known)

    def close(self) -> None:
        """Forgets all and ends the thread."""
        with self._lock:
            thread, self._thread = self._thread, None
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)
        if thread is not None:
            thread.join()

    def _watch(self, pid: int) -> bool:
        try:
            pidfd = os.pidfd_open(pid)
        except (
            OSError
        ):  # it has ended, or descriptors have: notes that nobody could remove are not kept
            return False
        if self._epoll is None:
            self._epoll = select.epoll()
            self._wake = os.eventfd(0, os.EFD_CLOEXEC)
            self._epoll.register(self._wake, select.EPOLLIN)
        if self._thread is None:
            self._thread = threading.Thread(target=self._reap, name="lsca-processes", daemon=True)
            with without_signals():
                self._thread.start()
        self._pidfds[pidfd] = pid
        self._epoll.register(pidfd, select.EPOLLIN)
        return True

    def _reap(self) -> None:
        assert self._epoll is not None
        while True:
            ended = [fd for fd, _ in self._epoll.poll()]
            with self._lock:
                for fd in ended:
                    if fd != self._wake:
                        self._known.pop(self._pidfds.pop(fd), None)
                        os.close(fd)
                if self._thread is not threading.current_thread():
                    self._forget()
                    return

    def _forget(self) -> None:
        for fd in self._pidfds:
            os.close(fd)
        self._pidfds.clear()
        self._known.clear()
        if self._epoll is not None:
            self._epoll.close()
            os.close(self._wake)
        self._epoll, self._wake = None, -1

# SPDX-License-Identifier: Apache-2.0
"""A session that programs join, instead of one that begins with a program: for tests, whose programs are many.

A launcher process serves it (native/hosts, launcher/host.c). It starts by itself meanwhile: a program that joins
before it is there waits for it. Nobody waits for its end but who asks for that.
"""

import contextlib
import os
import select
import socket
import subprocess
import tempfile
from typing import TYPE_CHECKING, Any

from lsca import _native, joining, launch
from lsca.errors import LscaError
from lsca.session import LogOptions, Session

if TYPE_CHECKING:  # most tests have no rules, and these know every call
    from lsca.handlers.dispatch import OnError
    from lsca.handlers.rule import Rule

SYNC, END = b"s", b"q"  # native/daemon/launcher/host.c
PATIENCE = 10.0  # seconds for a launcher to write down what it has


class Launchers:
    """A process that has a launcher ready for each session: one for many of them, which learn from each other."""

    def __init__(self) -> None:
        # Messages keep their bounds, and descriptors travel with them.
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # What it says before it is gone: its own output is nobody's, so this is all there is.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        with theirs:
            self._process = subprocess.Popen(
                launch.command_for_hosts(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
            )

    def start(self, session: Session, status: int, host: int) -> None:
        """Has a launcher serve a session. LscaError if nobody is there to do it."""
        text = f"{session.flags()}\0{session.log or ''}".encode("utf-8", "surrogateescape")
        fds = [session.fd, status, host, *(fd for fd in (session.log_fd, session.area) if fd >= 0)]
        try:
            socket.send_fds(self._line, [text], fds)
        except OSError as error:
            raise LscaError(
                f"the process that starts launchers is gone: {self.problem() or error.strerror}"
            ) from error
        session.is_used = True

    def problem(self) -> str:
        """The last line that this process or one of its launchers has written."""
        fd = self._errors.fileno()
        text = os.pread(fd, os.fstat(fd).st_size, 0)
        return text.decode(errors="replace").rstrip().rpartition("\n")[2]

    def close(self) -> None:
        """Launchers that are at work go on."""
        self._line.close()
        self._process.wait()
        self._errors.close()


class Host:
    """The session, its launcher, and the rules that are in force. `sync`: as in LogOptions."""

    def __init__(
        self,
        log: str,
        *,
        launchers: Launchers | None = None,
        strict: bool = False,
        on_error: "OnError" = "go_on",
        sync: str = "close",
    ) -> None:
        self.log = log
        self.session = Session(
            log=log, strict=strict, open_to_handlers=True, log_options=LogOptions(sync=sync)
        )
        self._on_error: OnError = on_error
        self._stack = contextlib.ExitStack()
        self._is_served = False
        ours, theirs = socket.socketpair()
        ours.settimeout(PATIENCE)
        self._line = ours
        self._status, writer = os.pipe()
        self._said = b""
        try:
            if launchers is None:
                launchers = Launchers()
                self._stack.callback(launchers.close)
            launchers.start(self.session, writer, theirs.fileno())
            if on_error != "go_on":
                self.use([])  # before the first rule: to be told of what it does not know
        except BaseException:
            os.close(self._status)
            ours.close()
            self._stack.close()
            self.session.close()
            raise
        finally:
            os.close(writer)
            theirs.close()

    def joined(self) -> "contextlib.AbstractContextManager[None]":
        """As long as this lasts, what this process starts is caught."""
        return joining.joined(self.session.fd, self.session.area, strict=self.session.strict)

    def use(self, rules: "list[Rule[Any]]") -> None:
        """Puts these rules in force, in their order. HandlerError if they cannot be, and the old ones stay."""
        self.session.handle(rules, on_error=self._on_error)
        if rules and not self._is_served:
            self._stack.enter_context(self.session.served())
            self._is_served = True

    def sync(self) -> None:
        """Brings the log's file up to date: all calls that have ended by now. LscaError if nobody is there to do it."""
        try:
            self._line.sendall(SYNC)
            answer = self._line.recv(1)
        except OSError:
            answer = b""
        if not answer:
            raise LscaError(
                f"the launcher of this session is gone: {self.problem() or 'it was killed'}; see `lsca doctor`"
            )

    def problem(self) -> str:
        """What the launcher has said of its own failure, once it has ended."""
        self.ended(wait=True)
        return self._said.decode(errors="replace").partition(" ")[2].strip()

    @property
    def missed(self) -> int:
        """How many programs ran uncaught so far."""
        return _native.session_snapshot(self.session.fd)["uncaught"]

    def end(self) -> None:
        """Lets the session end with its last program. Nobody waits for it here: `ended` says whether it has."""
        self._stack.close()
        with contextlib.suppress(OSError):
            self._line.sendall(END)
        self._line.close()
        self.session.close()

    def ended(self, *, wait: bool = False) -> bool:
        """Whether the launcher has written all; those whose programs go on leave somebody to do that."""
        while self._status >= 0:
            if not select.select([self._status], [], [], PATIENCE if wait else 0)[0]:
                return False
            said = os.read(self._status, 4096)
            self._said += said
            if not said:
                os.close(self._status)
                self._status = -1
        return True

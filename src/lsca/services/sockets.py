# SPDX-License-Identifier: Apache-2.0
"""Paths of Unix sockets below a mount of a Backing: led to where the files really lie, and shown as programs call them.

The agent moves the paths of files; an address is no path to it, and has room for 107 bytes. So Python is asked, and a
directory that lies too deep gets a short name, a link in a directory of this object's own.
"""

import os
import shutil
import socket
import tempfile
import weakref
from collections.abc import Callable
from typing import Any, Final, Protocol

import lsca
from lsca import calls as c
from lsca.handlers.reports import to_stderr
from lsca.live.address import Address
from lsca.services import messages

FAMILY_SIZE: Final = 2
SHORT: Final = "/tmp"  # whatever TMPDIR says
PATH_MOST: Final = 107  # bytes of a path in a struct sockaddr_un


class Places(Protocol):
    """What is asked of a Backing."""

    def prepare(self, path: str) -> str: ...
    def seen(self, path: str) -> str: ...
    def socket_of(self, path: str) -> str: ...


class SocketPaths:
    """The rules for calls with addresses. `given` remembers how programs have written what was moved."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._given: dict[str, str] = {}
        self._short: dict[str, str] = {}
        self._root = ""

    def rules(self) -> "list[lsca.Rule[Any]]":
        found: list[lsca.Rule[Any]] = []

        def add(rule: "lsca.Rule[Any]", handler: Callable[[Any], lsca.Verdict]) -> None:
            rule(lambda call: handler(call))
            found.append(rule)

        add(lsca.on(c.bind), lambda call: self._lead(call, "addr"))
        add(lsca.on(c.connect), lambda call: self._lead(call, "addr"))
        add(lsca.on(c.sendto, given="dest_addr"), lambda call: self._lead(call, "dest_addr"))
        add(lsca.on(c.sendmsg, given="msg"), lambda call: self._send(call, 1))
        add(lsca.on(c.sendmmsg), lambda call: self._send(call, call.vlen))
        names = "getsockname,getpeername,accept,accept4"
        add(lsca.on(names, given="addr"), lambda call: self._show(call, 1))
        add(lsca.on(c.recvfrom, given="src_addr"), lambda call: self._show(call, 4))
        add(lsca.on(c.recvmsg, given="msg"), lambda call: self._receive(call, 1))
        add(lsca.on(c.recvmmsg), lambda call: self._receive(call, call.vlen))
        return found

    # ---- to where the files are ----

    def _moved(self, call: Any, address: Address, room: int = 0) -> Address | lsca.Verdict | None:
        """Another address for a path below a mount, of `room` bytes if that is given; or a failure."""
        given = address.path
        if address.family != socket.AF_UNIX or not given or given.startswith("@"):
            return None
        whole = given
        if not given.startswith("/"):
            here = call.process.cwd
            if self._places.seen(here) != here:
                return None  # the kernel begins in the right place
            whole = os.path.join(here, given)
        whole = os.path.normpath(whole)
        path = self._places.prepare(whole)
        if path == whole:
            return None
        if call.row_name() != "bind":
            path = self._places.socket_of(path)
        size = room or PATH_MOST
        path = self._shortened(path, size)
        if len(os.fsencode(path)) > size:
            to_stderr(f"the socket {given} is at {path}, and that is more than {size} bytes")
            return lsca.fail("ENAMETOOLONG")
        self._given[path] = given
        return Address(socket.AF_UNIX, path=path)

    def _shortened(self, path: str, size: int) -> str:
        if len(os.fsencode(path)) <= size:
            return path
        directory, name = os.path.split(path)
        if directory not in self._short:
            if not self._root:
                self._root = tempfile.mkdtemp(prefix="l", dir=SHORT)
                os.chmod(self._root, 0o711)  # programs of other users go through it
                weakref.finalize(self, shutil.rmtree, self._root, ignore_errors=True)
            link = f"{self._root}/{len(self._short)}"
            os.symlink(directory, link)
            self._short[directory] = link
        return f"{self._short[directory]}/{name}"

    def _lead(self, call: Any, argument: str) -> lsca.Verdict:
        if call.result is not None:
            return lsca.go_on
        moved = self._moved(call, getattr(call, argument))
        if isinstance(moved, lsca.Verdict):
            return moved
        if moved is not None:
            call.replace(**{argument: moved})
        return lsca.go_on

    def _send(self, call: Any, count: int) -> lsca.Verdict:
        if call.result is not None:
            return lsca.go_on
        changed = []
        for name in messages.names(call, call.args[1], count):
            moved = self._moved(call, name.address, len(name.address.raw) - FAMILY_SIZE)
            if isinstance(moved, lsca.Verdict):
                return moved
            if moved is not None:
                changed.append((name, moved))
        return messages.send_renamed(call, changed)

    # ---- as programs call it ----

    def _show(self, call: Any, argument: int) -> lsca.Verdict:
        at, length_at = call.args[argument : argument + 2]
        room = messages.length(call, length_at)
        if messages.made(call) >= 0:
            messages.show(call, at, length_at, room, self._as_given)
        return lsca.go_on

    def _receive(self, call: Any, count: int) -> lsca.Verdict:
        messages.show_received(call, count, self._as_given)
        return lsca.go_on

    def _as_given(self, address: Address) -> Address | None:
        if address.family != socket.AF_UNIX or address.path not in self._given:
            return None
        return Address(socket.AF_UNIX, path=self._given[address.path])

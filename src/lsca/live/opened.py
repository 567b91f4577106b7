# SPDX-License-Identifier: Apache-2.0
"""What a descriptor stands for: the file behind it, and of a socket its two addresses.

Asked of /proc, through the process that holds the descriptor: the program's own, or its proxy. Nothing is opened there.
"""

import _socket as socket  # as in lsca.live.address
import errno
import os
import re
import stat
from collections.abc import Iterator

from lsca.live.address import Address

_INODE = re.compile(r"socket:\[(\d+)\]")
_PIDFD_GETFD = 438  # of both machines
_DELETED = " (deleted)"
_TABLES = {
    "tcp": socket.AF_INET,
    "tcp6": socket.AF_INET6,
    "udp": socket.AF_INET,
    "udp6": socket.AF_INET6,
}
_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFLNK: "link",
}


class File:
    """What descriptor `fd` stands for in the process that makes the call.

    `path` is what /proc calls it: a path, "pipe:[123]", "socket:[123]", "anon_inode:[eventpoll]", "/memfd:name"; "" if
    the descriptor is not open. `deleted` says that the path leads there no more.
    """

    def __init__(self, fd: int, pid: int) -> None:
        self.fd = fd
        self._where = f"/proc/{pid}"
        try:
            path = os.readlink(f"{self._where}/fd/{fd}") if fd >= 0 else ""
        except OSError:
            path = ""
        self.deleted = path.endswith(_DELETED)
        self.path = path.removesuffix(_DELETED)

    @property
    def kind(self) -> str:
        """One of file, directory, device, pipe, socket, link, anonymous; "" if the descriptor is not open."""
        if self.path.startswith("anon_inode:"):
            return "anonymous"
        try:
            mode = os.stat(f"{self._where}/fd/{self.fd}").st_mode
        except OSError:
            return ""
        return _KINDS.get(stat.S_IFMT(mode), "anonymous")

    @property
    def size(self) -> int:
        """Its size in bytes; 0 if it has none."""
        try:
            return os.stat(f"{self._where}/fd/{self.fd}").st_size
        except OSError:
            return 0

    @property
    def protocol(self) -> str:
        """A socket's protocol as the kernel calls it: TCP, TCPv6, UDP, UNIX-STREAM, NETLINK; "" if it is no socket."""
        try:
            name = os.getxattr(f"{self._where}/fd/{self.fd}", "system.sockprotoname")
        except OSError:
            return ""
        return name.rstrip(b"\0").decode("ascii", "replace")

    @property
    def is_nonblocking(self) -> bool:
        """Calls on it do not wait (O_NONBLOCK)."""
        try:
            with open(f"{self._where}/fdinfo/{self.fd}", encoding="ascii", errors="replace") as f:
                found = re.search(r"^flags:\s*([0-7]+)", f.read(), re.MULTILINE)
        except OSError:
            return False
        return bool(found and int(found[1], 8) & os.O_NONBLOCK)

    def duplicate(self) -> int:
        """A descriptor of this process for the same open file; OSError if that may not be, or is another one by now."""
        import ctypes  # takes longer to import than all of this

        pid = int(self._where.rpartition("/")[2])
        pidfd = os.pidfd_open(pid)
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            fd = libc.syscall(_PIDFD_GETFD, pidfd, self.fd, 0)
            if fd < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        finally:
            os.close(pidfd)
        if os.readlink(f"/proc/self/fd/{fd}").removesuffix(_DELETED) != self.path:
            os.close(fd)
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return int(fd)

    @property
    def local(self) -> Address | None:
        """A socket's own address; None if it has none."""
        return self._addresses()[0]

    @property
    def peer(self) -> Address | None:
        """The address that a socket is connected to; None if it is not. Of Unix sockets it is not known."""
        return self._addresses()[1]

    def _addresses(self) -> tuple[Address | None, Address | None]:
        found = _INODE.match(self.path)
        return find_socket(found[1], self._where) if found else (None, None)

    def __repr__(self) -> str:
        return f"<descriptor {self.fd}: {self.path or 'not open'}>"


def find_socket(inode: str, where: str = "/proc/self") -> tuple[Address | None, Address | None]:
    """The own and the peer's address of a socket, by the tables in `where`/net."""
    for name, family in _TABLES.items():
        for words in _lines(f"{where}/net/{name}"):
            if len(words) > 9 and words[9] == inode:
                return _address(family, words[1]), _connected(_address(family, words[2]))
    for words in _lines(f"{where}/net/unix"):
        if len(words) > 6 and words[6] == inode:
            path = words[7] if len(words) > 7 else ""
            return Address(socket.AF_UNIX, path=path), None
    return None, None


def _lines(path: str) -> Iterator[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as f:
            next(f, None)
            for line in f:
                yield line.split()
    except OSError:
        return


def _connected(address: Address) -> Address | None:
    return address if address.port else None


def _address(family: int, text: str) -> Address:
    """0100007F:1F90: words of four bytes as the machine has them, and the port in hex."""
    host, _, port = text.partition(":")
    words = [int(host[at : at + 8], 16).to_bytes(4, "little") for at in range(0, len(host), 8)]
    return Address(family, socket.inet_ntop(family, b"".join(words)), int(port, 16))

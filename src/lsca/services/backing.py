# SPDX-License-Identifier: Apache-2.0
"""A private directory in which files lie that programs are to see elsewhere, and the rules that lead them there.

Paths are moved in the program by rules of the agent, so that the kernel does all the rest truthfully: descriptors,
modes, renames, links, mappings. Python is asked only where a program is told a path (getcwd, readlink), where it makes
a link, and at the first use of what has yet to be filled. What `files` and `overlay` have in common; they say what is
there.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import struct
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import lsca
from lsca import calls as c
from lsca.services.attributes import CAPABILITY
from lsca.services.sockets import SocketPaths

FICLONE: Final = 0x40049409
COPY_MOST: Final = 1 << 30
SURROUNDING_MOST: Final = 4096  # names beside a directory that ".." in a link may lead to
# Whatever needs the content, or would hide that it is missing by another size or time.
OPENS: Final = "open,openat,openat2,creat,truncate,execve,execveat,utime,utimes,futimesat,utimensat"
DIRENT: Final = struct.Struct("<QqHB")
LAST: Final = (1 << 63) - 1  # where a listing goes on behind its end
DELETED: Final = " (deleted)"
Key = tuple[int, int]  # device and inode
Content = Callable[[int], None]  # writes a file's content to a descriptor


def literal(path: str) -> str:
    """A pattern that fits this path alone."""
    return "".join("\\" + char if char in "*?[\\" else char for char in path)


def below(path: str, directory: str) -> bool:
    """Whether a path is `directory`, or below it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def copy_file(source: str, target: int) -> None:
    """Copies a file's content to a descriptor; the blocks are shared where the file system can."""
    with open(source, "rb", buffering=0) as f:
        try:
            fcntl.ioctl(target, FICLONE, f.fileno())
            return
        except OSError:
            pass
        try:
            while os.copy_file_range(f.fileno(), target, COPY_MOST):
                pass
            return
        except OSError:
            f.seek(0)
            os.lseek(target, 0, os.SEEK_SET)
        with os.fdopen(os.dup(target), "wb") as out:
            shutil.copyfileobj(f, out, 1 << 20)


@dataclass(frozen=True, slots=True)
class Pending:
    """A file without its content. Another one may get its inode some day, but not its size and time and no data."""

    size: int
    mtime_ns: int
    content: Content

    def is_it(self, path: str, status: os.stat_result) -> bool:
        if (status.st_size, status.st_mtime_ns) != (self.size, self.mtime_ns):
            return False
        return not status.st_blocks or _has_no_data(path)  # attributes may have a block, too


class Backing:
    """Where files really lie. `root`: a directory to keep them in; None: one that goes away with this object.

    `mounts` says which paths of the program's lead where. `unfilled`: files that have their size and times, but not yet
    their content. `look`, if given, is told of every path below a mount before a call with it is made, and whether all
    that is below the path is to be there, since it may move. `stands_for`: sockets that stand for real ones.
    """

    def __init__(self, root: str | None = None) -> None:
        self._own = root is None
        self.root = os.path.realpath(root or tempfile.mkdtemp(prefix="lsca-files-"))
        self.mounts: dict[str, str] = {}
        self.unfilled: dict[Key, Pending] = {}
        self.stands_for: dict[Key, tuple[int, str]] = {}  # its time, and which one
        self.lock = threading.RLock()
        self.look: Callable[[str, bool], None] | None = None
        self._end = weakref.finalize(self, _remove, self.root, os.getpid()) if self._own else None

    def close(self) -> None:
        """Removes the directory, if it is this object's own."""
        if self._end is not None:
            self._end()

    def inside(self, path: str) -> str:
        """Where a path of the program's has its place in `root`."""
        return self.root + path

    def mount(self, path: str, place: str | None = None) -> None:
        """Has `path` and all below it lead to `place`, or to its place in `root`."""
        self.mounts[path] = place or self.inside(path)

    # ---- between the two views ----

    def real(self, path: str) -> str:
        """Where a path of the program's leads."""
        for mount, place in self.mounts.items():
            if below(path, mount):
                return place + path[len(mount) :]
        return path

    def seen(self, path: str) -> str:
        """What the program calls a path."""
        for mount, place in self.mounts.items():
            if below(path, place):
                return mount + path[len(place) :]
        if below(path, self.root):
            return path[len(self.root) :] or "/"
        return path

    # ---- content ----

    def expect(self, path: str, size: int, mtime_ns: int, content: Content) -> None:
        """Makes an empty file that has its size and time already, to be filled when it is first opened."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, size)
            os.utime(fd, ns=(mtime_ns, mtime_ns))
            status = os.fstat(fd)
        finally:
            os.close(fd)
        if size:
            pending = Pending(size, status.st_mtime_ns, content)
            self.unfilled[status.st_dev, status.st_ino] = pending

    def is_unfilled(self, path: str, status: os.stat_result) -> bool:
        """Whether this is a file that has yet to be filled."""
        pending = self.unfilled.get((status.st_dev, status.st_ino))
        return pending is not None and pending.is_it(path, status)

    def fill(self, path: str) -> None:
        """Gives the file that `path` leads to its content, if it lacks it. OSError."""
        try:
            status = os.stat(path)
        except OSError:
            return  # the kernel will tell the program
        key = status.st_dev, status.st_ino
        if key not in self.unfilled:
            return
        with self.lock:
            status = os.stat(path)
            if (status.st_dev, status.st_ino) != key or not self.is_unfilled(path, status):
                return
            with _writable(path, status) as fd:
                if os.fstat(fd).st_ino != status.st_ino:
                    return  # another one took its name meanwhile; the program may see either
                with _privileged(fd, status):
                    self.unfilled[key].content(fd)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
            del self.unfilled[key]

    def socket_of(self, path: str) -> str:
        """The socket that is meant by one that `path` leads to; mostly this one."""
        if self.stands_for:
            with contextlib.suppress(OSError):
                return self.real_socket(os.stat(path)) or path
        return path

    def real_socket(self, status: os.stat_result) -> str | None:
        """What a socket stands for, if it still does: another one may have got its inode."""
        mtime_ns, path = self.stands_for.get((status.st_dev, status.st_ino), (0, ""))
        return path if path and mtime_ns == status.st_mtime_ns else None

    def prepare(self, path: str) -> str:
        """Makes a file ready whose path comes from elsewhere than a call; where it really is. OSError."""
        if self.look is not None and any(below(path, mount) for mount in self.mounts):
            self.look(path, False)
        real = self.real(path)
        self.fill(real)
        return real

    # ---- rules ----

    def rules(self, *, sockets: bool = True) -> "list[lsca.Rule[Any]]":
        """What leads programs here. The rules that need no Python come first. `sockets`: they may lie here, too."""
        places = [place for place in self.mounts.values() if below(place, self.root)]
        found = [lsca.on("%file").move(place, place) for place in places]
        if places:
            found.append(lsca.on("%file").move(self.root, "/"))  # the way up and out
        found += [lsca.on("%file").move(mount, place) for mount, place in self.mounts.items()]
        if self.look is not None:
            found += self._asking("%file", self._looked)
        found += self._asking(OPENS, self._opened)
        found += self._asking("symlink,symlinkat", self._linked)
        found += self._asking("readlink,readlinkat", self._read, "/proc/**")
        found += self._listings()
        rule: lsca.Rule[Any] = lsca.on(c.getcwd)
        rule(self._where)
        return [*found, rule, *(SocketPaths(self).rules() if sockets else ())]

    def _asking(
        self, calls: str, handler: Callable[[Any], lsca.Verdict], *more: str
    ) -> "list[lsca.Rule[Any]]":
        """A handler for calls with a path below a mount, under either of its names."""
        patterns = {
            pattern
            for path in (*self.mounts, *self.mounts.values())
            for pattern in (literal(path), literal(path.rstrip("/")) + "/**")
        }
        rules = []
        for pattern in sorted(patterns | set(more)):
            rule: lsca.Rule[Any] = lsca.on(calls, path=pattern)
            rule(lambda call: handler(call))
            rules.append(rule)
        return rules

    def _listings(self) -> "list[lsca.Rule[Any]]":
        """Real directories that are to show a name which is not there."""
        added: dict[str, list[str]] = {}
        for mount in self.mounts:
            if not os.path.lexists(mount):
                added.setdefault(os.path.dirname(mount), []).append(mount)
        rules = []
        for directory, mounts in added.items():
            rule: lsca.Rule[Any] = lsca.on(c.getdents64, path=literal(directory))
            rule(_Listing([(mount, self.mounts[mount]) for mount in mounts]))
            rules.append(rule)
        return rules

    # ---- handlers ----

    def _looked(self, call: Any) -> lsca.Verdict:
        assert self.look is not None
        for name in call.path_names():
            path = self.seen(call.absolute(name))
            if any(below(path, mount) for mount in self.mounts):
                with self.lock:
                    self.look(path, call.row_name().startswith("rename"))
        return lsca.go_on

    def _opened(self, call: Any) -> lsca.Verdict:
        for name in call.path_names():
            try:
                self.fill(self.real(call.absolute(name)))
            except OSError as error:
                return lsca.fail(error.errno or "EIO")
        return lsca.go_on

    def _linked(self, call: Any) -> lsca.Verdict:
        """The kernel follows a link, so it must lead to where the file is."""
        target = self.real(call.target)
        if target != call.target:
            call.replace(target=target)
        return lsca.go_on

    def _read(self, call: Any) -> lsca.Verdict:
        """What a link says, in the program's words."""
        size = call.proceed()
        if size <= 0:
            return lsca.go_on
        target = os.fsdecode(bytes(call.buf)[:size])
        if size == call.bufsiz:  # it may be longer
            with contextlib.suppress(OSError):
                path = self.real(call.absolute())
                target = os.readlink(path.replace("/proc/self/", f"/proc/{call.process.pid}/"))
        seen = self.seen(target)
        if seen == target:
            return lsca.go_on
        return lsca.ret(call.fill(buf=os.fsencode(seen)[: call.bufsiz]))

    def _where(self, call: Any) -> lsca.Verdict:
        directory = call.process.cwd
        seen = self.seen(directory)
        if seen == directory or directory.endswith(DELETED):
            return lsca.go_on
        data = os.fsencode(seen) + b"\0"
        return lsca.fail("ERANGE") if len(data) > call.size else lsca.ret(call.fill(buf=data))


class _Listing:
    """Adds names at the end of a directory's listing; whoever reads it again from the beginning finds them again."""

    def __init__(self, mounts: list[tuple[str, str]]) -> None:
        self.mounts = mounts
        self.ended: set[tuple[int, int]] = set()  # process and descriptor

    def __call__(self, call: Any) -> lsca.Verdict:
        key = call.process.pid, call.args[0]
        result = (
            call.proceed() if call.result is None else call.result
        )  # another listing may have asked
        if result != 0:
            self.ended.discard(key)
            return lsca.go_on
        if key in self.ended:
            return lsca.go_on
        data = b"".join(_dirent(mount, place) for mount, place in self.mounts)
        if len(data) > call.args[2]:
            return lsca.go_on
        self.ended.add(key)
        return lsca.ret(call.fill(dirp=data))


def _dirent(mount: str, place: str) -> bytes:
    """A struct linux_dirent64."""
    name = os.fsencode(os.path.basename(mount)) + b"\0"
    try:
        status = os.lstat(place)
        inode, kind = status.st_ino, stat.S_IFMT(status.st_mode) >> 12
    except OSError:  # not made yet
        inode, kind = 1, 0
    size = DIRENT.size + len(name)
    padding = -size % 8
    return DIRENT.pack(inode, LAST, size + padding, kind) + name + bytes(padding)


def _has_no_data(path: str) -> bool:
    """Whether a file is one hole. What may not be read has not been filled: its original may not be read either."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return True
    try:
        os.lseek(fd, 0, os.SEEK_DATA)
    except OSError as error:
        return error.errno == errno.ENXIO
    else:
        return False
    finally:
        os.close(fd)


@contextlib.contextmanager
def _writable(path: str, status: os.stat_result) -> Iterator[int]:
    """A descriptor to write to a file, whatever its mode says."""
    if status.st_mode & stat.S_IWUSR:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    else:
        os.chmod(path, status.st_mode | stat.S_IWUSR)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        finally:
            os.chmod(path, stat.S_IMODE(status.st_mode))
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _privileged(fd: int, status: os.stat_result) -> Iterator[None]:
    """What a program gains from being executed stays, though writing takes it away."""
    try:
        capability = os.getxattr(fd, CAPABILITY)
    except OSError:
        capability = b""
    yield
    if capability:
        os.setxattr(fd, CAPABILITY, capability)
    if status.st_mode & (stat.S_ISUID | stat.S_ISGID):
        os.chmod(fd, stat.S_IMODE(status.st_mode))


def _remove(root: str, pid: int) -> None:
    if os.getpid() == pid:  # and not a child that ends
        shutil.rmtree(root, ignore_errors=True)

# SPDX-License-Identifier: Apache-2.0
"""Virtual files: what programs find at a path comes from Python, another directory, or any fsspec file system.

    files.file("/etc/motd", "Hello\n")
    files.tree("/data", {"a.txt": b"1", "sub": {"b.txt": make_b}})
    files.tree("/lib/x", Path("build/x"))
    files.tree("/bucket", fsspec.filesystem("s3"), "my-bucket/reports")

Dynamic and static programs and all their children see them. What they write is kept as long as the tree is, and never
sent back; only a tree that is a directory elsewhere is that directory. A tree is handed to `lsca.run(handlers=[...])`,
or made at the top level of a file of handlers.
"""

import importlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from lsca.errors import HandlerError, UsageError
from lsca.handlers.rule import noted
from lsca.services.backing import Backing, below

Data = bytes | str
Node = Data | Callable[[], Data] | Mapping[str, Any]
NS: Final = 1_000_000_000
FILE_MODE: Final = 0o644
DIRECTORY_MODE: Final = 0o755


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or directory as a source describes it. `read` gives the content; `size` None: known once it is read."""

    is_directory: bool = False
    size: int | None = None
    mode: int = 0
    mtime: float = field(default_factory=time.time)
    read: Callable[[], Data] = bytes


class Source(Protocol):
    """Where a tree comes from. Names are relative to it; "" is the tree itself."""

    def find(self, name: str) -> Entry | None:
        """What is there; None: nothing. OSError where that cannot be said."""

    def names(self, name: str) -> list[str]:
        """What a directory holds, as far as it is known beforehand."""


class Names:
    """A tree of Python values: a mapping is a directory; bytes, text, and functions that return them are files."""

    def __init__(self, root: Node) -> None:
        self.root = root

    def _node(self, name: str) -> Node | None:
        node: Node | None = self.root
        for part in filter(None, name.split("/")):
            node = node.get(part) if isinstance(node, Mapping) else None
        return node

    def find(self, name: str) -> Entry | None:
        node = self._node(name)
        if node is None or isinstance(node, Mapping):
            return None if node is None else Entry(is_directory=True)
        if callable(node):
            return Entry(read=node)
        data = _bytes(node)
        return Entry(size=len(data), read=lambda: data)

    def names(self, name: str) -> list[str]:
        node = self._node(name)
        return list(node) if isinstance(node, Mapping) else []


class Function:
    """A function that is asked for each path: what it returns are the content, or None; a directory is never listed."""

    def __init__(self, function: Callable[[str], Data | None]) -> None:
        self.function = function

    def find(self, name: str) -> Entry | None:
        if not name:
            return Entry(is_directory=True)
        data = self.function(name)
        if data is None:
            return None
        content = _bytes(data)
        return Entry(size=len(content), read=lambda: content)

    def names(self, name: str) -> list[str]:
        return []


class Remote:
    """A file system of fsspec's, or one that has its `info`, `ls` and `cat_file`; read when a program asks."""

    def __init__(self, system: Any, base: str = "") -> None:
        self.system = system
        self.base = base.rstrip("/")

    def _path(self, name: str) -> str:
        return f"{self.base}/{name}".rstrip("/") if name else self.base or "/"

    def find(self, name: str) -> Entry | None:
        path = self._path(name)
        try:
            info = self.system.info(path)
        except FileNotFoundError:
            return None if name else Entry(is_directory=True)
        if info.get("type") == "directory":
            return Entry(is_directory=True)
        return Entry(size=info.get("size"), read=lambda: bytes(self.system.cat_file(path)))

    def names(self, name: str) -> list[str]:
        entries = self.system.ls(self._path(name), detail=False)
        return [str(entry).rstrip("/").rpartition("/")[2] for entry in entries]


class Tree:
    """A path and all below it, as programs see it. What they have written can be read with `read`, or in `place`."""

    def __init__(self, path: str, source: Source | str) -> None:
        self.path = _absolute(path)
        self.backing = Backing()
        self._source = source if not isinstance(source, str) else None
        self._known: set[str] = set()
        if isinstance(source, str):
            self.backing.mount(self.path, source)
        else:
            self._begin(source)
        is_file = not isinstance(source, str) and not _is_directory(source)
        self.__lsca_rules__ = self.backing.rules(sockets=not is_file)

    @property
    def place(self) -> Path:
        """Where the files are really."""
        return Path(self.backing.real(self.path))

    def read(self, name: str = "") -> bytes:
        """What programs would read now at `name` below the tree. OSError."""
        path = os.path.normpath(os.path.join(self.path, name))
        return Path(self.backing.prepare(path)).read_bytes()

    def close(self) -> None:
        """Removes what was kept of it; otherwise that happens when nobody refers to the tree any more."""
        self.backing.close()

    def _begin(self, source: Source) -> None:
        # A program may look for the path of which only the beginning is there: all that is missing is made.
        mount = self.path
        while not os.path.lexists(os.path.dirname(mount)):
            mount = os.path.dirname(mount)
        self.backing.mount(mount)
        os.makedirs(os.path.dirname(self.backing.inside(self.path)), exist_ok=True)
        if isinstance(source, Names) and not _has_functions(source.root):
            self._make("", deep=True)
        else:
            self.backing.look = self._look

    # ---- as far as somebody looks ----

    def _look(self, path: str, deep: bool) -> None:
        """Makes what a call with this path could find: all on the way to it, and what it holds, or all below it."""
        if not below(path, self.path):
            return
        name = ""
        self._make(name)
        for part in filter(None, path[len(self.path) :].split("/")):
            name = f"{name}/{part}".lstrip("/")
            self._make(name)
        if deep and self._source is not None:
            self._make_below(name)

    def _make_below(self, name: str) -> None:
        assert self._source is not None
        if os.path.isdir(self._place(name)):
            for child in self._source.names(name):
                whole = f"{name}/{child}".lstrip("/")
                self._make(whole)
                self._make_below(whole)

    def _make(self, name: str, *, deep: bool = False) -> None:
        if name in self._known:
            return
        assert self._source is not None
        entry = self._source.find(name)
        if entry is None:
            return  # and asked for again: it may come to be
        self._known.add(name)
        place = self._place(name)
        if os.path.lexists(place):
            pass
        elif entry.is_directory:
            os.makedirs(place, entry.mode or DIRECTORY_MODE, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(place), DIRECTORY_MODE, exist_ok=True)
            self._make_file(place, entry)
        if entry.is_directory:
            for child in self._source.names(name):
                if not child or "/" in child or child in (".", ".."):
                    raise HandlerError(f"{self.path}: {child!r} is no name of a file")
                whole = f"{name}/{child}".lstrip("/")
                self._make(whole, deep=deep) if deep else self._announce(whole)

    def _announce(self, name: str) -> None:
        """What a listing shows: a file with its size, a directory that is filled when somebody looks."""
        assert self._source is not None
        place = self._place(name)
        entry = None if name in self._known or os.path.lexists(place) else self._source.find(name)
        if entry is None:
            return
        if entry.is_directory:
            os.mkdir(place, entry.mode or DIRECTORY_MODE)
        else:
            self._known.add(name)
            self._make_file(place, entry)

    def _make_file(self, place: str, entry: Entry) -> None:
        mtime_ns = int(entry.mtime * NS)
        if entry.size is None:
            data = _bytes(entry.read())
            Path(place).write_bytes(data)
        else:
            read = entry.read
            self.backing.expect(place, entry.size, mtime_ns, lambda fd: _write(fd, _bytes(read())))
        os.chmod(place, entry.mode or FILE_MODE)
        os.utime(place, ns=(mtime_ns, mtime_ns))

    def _place(self, name: str) -> str:
        return self.backing.inside(os.path.join(self.path, name).rstrip("/"))


def file(path: str, content: Data | Callable[[], Data]) -> Tree:
    """One file: bytes, text, or a function that is called when a program first looks."""
    if isinstance(content, Mapping):
        raise HandlerError(f"{path}: a file's content is bytes, text or a function; use files.tree")
    return _noted(Tree(path, Names(content)))


def tree(path: str, source: object, base: str = "") -> Tree:
    """A directory and all below it. HandlerError.

    `source`: a mapping of names, a path of a directory, a function of a relative path that returns the content or None,
    or a file system of fsspec's, of which `base` is shown.
    """
    return _noted(Tree(path, _source(path, source, base)))


def option(name: str, value: str, state: str | None = None) -> Tree:
    """`--file PATH=TEXT`, `--file PATH=@FILE` and `--tree PATH=DIR` of the command line. UsageError."""
    path, equals, rest = value.partition("=")
    form = "PATH=DIR" if name == "--tree" else "PATH=TEXT or PATH=@FILE"
    if not equals or not path:
        raise UsageError(f"{name} {value}: what is wanted is {form}")
    path = os.path.abspath(path)
    if name == "--tree":
        if "://" in rest:
            return Tree(path, _by_address(rest))
        return Tree(path, _directory(rest))
    if not rest.startswith("@"):
        return Tree(path, Names(rest + ("" if rest.endswith("\n") or not rest else "\n")))
    try:
        return Tree(path, Names(Path(rest[1:]).read_bytes()))
    except OSError as error:
        raise UsageError(f"{name} {value}: {rest[1:]} cannot be read: {error.strerror}") from None


def _noted(made: Tree) -> Tree:
    noted(made.__lsca_rules__, depth=2)
    return made


def _source(path: str, source: object, base: str) -> Source | str:
    if isinstance(source, Mapping):
        return Names(source)
    if isinstance(source, str | os.PathLike):
        text = os.fspath(source)
        return _by_address(text) if isinstance(text, str) and "://" in text else _directory(text)
    if hasattr(source, "ls") and hasattr(source, "cat_file"):
        return Remote(source, base)
    if callable(source):
        return Function(source)
    raise HandlerError(
        f"{path}: a tree is made of a mapping, a directory, a function or an fsspec file system, not of {source!r}"
    )


def _by_address(address: str) -> Remote:
    try:
        url_to_fs = importlib.import_module("fsspec.core").url_to_fs
    except ImportError:
        raise HandlerError(f"{address}: needs fsspec; pip install 'lsca[fs]'") from None
    system, base = url_to_fs(address)
    return Remote(system, base)


def _directory(path: str | bytes) -> str:
    place = os.path.realpath(os.fsdecode(path))
    if not os.path.isdir(place):
        raise HandlerError(f"{os.fsdecode(path)} is not a directory, so it cannot be shown as one")
    return place


def _is_directory(source: Source) -> bool:
    found = source.find("")
    return found is None or found.is_directory


def _absolute(path: str) -> str:
    if not path.startswith("/") or os.path.normpath(path) == "/":
        raise HandlerError(
            f"{path!r}: a virtual file has an absolute path, and is not the root itself"
        )
    return os.path.normpath(path)


def _has_functions(node: Node) -> bool:
    if isinstance(node, Mapping):
        return any(_has_functions(one) for one in node.values())
    return callable(node)


def _bytes(data: object) -> bytes:
    if isinstance(data, str):
        return data.encode("utf-8", "surrogateescape")
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise HandlerError(f"a virtual file's content is bytes or text, not {type(data).__name__}")


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    os.ftruncate(fd, len(data))
    while view:
        view = view[os.write(fd, view) :]


def walk(place: str) -> Iterator[tuple[str, os.stat_result]]:
    """All below a directory, as relative names, without following links; a directory before what it holds."""
    pending = [""]
    while pending:
        name = pending.pop()
        with os.scandir(os.path.join(place, name)) as entries:
            for entry in sorted(entries, key=lambda one: one.name):
                status = entry.stat(follow_symlinks=False)
                whole = os.path.join(name, entry.name)
                yield whole, status
                if stat.S_ISDIR(status.st_mode):
                    pending.append(whole)

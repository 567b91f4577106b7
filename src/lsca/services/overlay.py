# SPDX-License-Identifier: Apache-2.0
"""Copy-on-write over a real directory: programs see it and change it, and the directory itself stays as it is.

The copy has everything from the beginning but the content of files, which comes when one of them is first opened. So
listings, renames, links, modes and deletions are the kernel's own work. What the directory held is written down in
`overlay.json` beside the copy; `changes` compares. A state serves one directory, and is kept until it is applied or
discarded.
"""

import base64
import fcntl
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, field
from typing import Final

from lsca.errors import LscaError
from lsca.handlers.reports import to_stderr
from lsca.handlers.rule import noted
from lsca.services.attributes import Attributes, attributes, give_possible
from lsca.services.backing import SURROUNDING_MOST, Backing, Pending, below, copy_file
from lsca.services.files import walk

VERSION: Final = 2
READ: Final = (1, VERSION)  # 1: without attributes, which were not copied then
MANIFEST: Final = "overlay.json"
LOCK: Final = "lock"
NAMED: Final = 3  # of what is left out, in a message


class OverlayError(LscaError):
    """An overlay that cannot be made, found or used."""


@dataclass(frozen=True, slots=True)
class Base:
    """What was there in the beginning: the file's mode with its type, size and time, and the inode of its copy."""

    mode: int
    size: int
    mtime_ns: int
    inode: int
    target: str = ""  # a symbolic link's
    attributes: dict[str, str] = field(
        default_factory=dict
    )  # in base64; those that its copy has got

    @property
    def had(self) -> Attributes:
        return {name: base64.b64decode(value) for name, value in self.attributes.items()}


def default_state(directory: str) -> str:
    """Where the state of a directory's overlay is kept if nobody says otherwise."""
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    name = directory.strip("/").replace("%", "%25").replace("/", "%2F")
    return os.path.join(home, "lsca", "overlays", name)


class State:
    """The directory in which an overlay is kept: the copy, and what its original was when it was made."""

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path)
        try:
            with open(os.path.join(self.path, MANIFEST), encoding="utf-8") as f:
                data = json.load(f)
            if data["version"] not in READ:
                raise OverlayError(f"{path} was written by another version of lsca")
            self.directory = str(data["directory"])
            self.base = {os.fsdecode(os.fsencode(k)): Base(*row) for k, row in data["base"].items()}
        except OSError as error:
            raise OverlayError(f"{path} holds no overlay: {error.strerror}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise OverlayError(f"{path}/{MANIFEST} is damaged: {error}") from None
        self.backing = Backing(os.path.join(self.path, "root"))
        self.backing.mount(self.directory)
        self.place = self.backing.inside(self.directory)
        self._lock = -1
        self._find_copied()

    def lock(self) -> None:
        """Makes sure that nobody else uses it. OverlayError."""
        self._lock = _locked(self.path)

    def discard(self) -> None:
        """Removes all of it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def original(self, name: str) -> str:
        """The path of the real file."""
        return os.path.join(self.directory, name) if name else self.directory

    def copy(self, name: str) -> str:
        """The path of what programs see in its stead."""
        return os.path.join(self.place, name) if name else self.place

    def _find_copied(self) -> None:
        """Files without content are known by having no blocks, and size and time as in the beginning: to fill such a
        file again is no harm. A socket is its original's as long as it is the same."""
        waiting = {row.inode: (name, row) for name, row in self.base.items() if row.inode}
        for copied, status in walk(self.place):
            name, row = waiting.get(status.st_ino, ("", None))
            if row is None or stat.S_IFMT(row.mode) != stat.S_IFMT(status.st_mode):
                continue
            if stat.S_ISSOCK(row.mode):
                meant = row.mtime_ns, self.original(name)
                self.backing.stands_for[status.st_dev, status.st_ino] = meant
            if not row.size:
                continue
            pending = Pending(row.size, row.mtime_ns, _content(self.original(name)))
            if pending.is_it(self.copy(copied), status):
                self.backing.unfilled[status.st_dev, status.st_ino] = pending


class Overlay:
    """A directory whose changes are kept apart; handed to `lsca.run(handlers=[...])`.

    `state` is where they are kept, by default in XDG_STATE_HOME. An overlay that is there already is used again.
    `left_out` names what could not be shown: devices; `without` files whose attributes or ACLs the copy has not got.
    OverlayError for what cannot be.
    """

    must_be_asked = True  # a file that has not been filled is none to be read

    def __init__(self, directory: str | os.PathLike[str], state: str | None = None) -> None:
        given = os.path.abspath(directory)
        self.directory = os.path.realpath(given)
        self.left_out: list[str] = []
        self.without: list[str] = []
        _check(self.directory, given)
        path = os.path.realpath(state or default_state(self.directory))
        if below(path, self.directory):
            raise OverlayError(
                f"the state cannot be kept in {path}, within what it is about; name another place with --state"
            )
        os.makedirs(path, 0o700, exist_ok=True)
        self._lock = _locked(path)
        if not os.path.exists(os.path.join(path, MANIFEST)):
            self._make(path)
        self.state = State(path)
        if self.state.directory != self.directory:
            raise OverlayError(
                f"{path} holds the overlay of {self.state.directory}; name another place with --state"
            )
        self.backing = self.state.backing
        if given != self.directory:
            self.backing.mount(given, self.state.place)
        self.__lsca_rules__ = self.backing.rules()

    def go_on_without(self) -> None:
        """Programs run on when we end: all that they may open is filled now."""
        for name, status in list(walk(self.state.place)):
            if self.backing.is_unfilled(self.state.copy(name), status):
                self.backing.fill(self.state.copy(name))

    def close(self) -> None:
        """The end of a run; the state may be used by others now."""
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    def _make(self, path: str) -> None:
        """Copies all but the content of files. OverlayError."""
        root = os.path.join(path, "root")
        shutil.rmtree(root, ignore_errors=True)
        backing = Backing(root)
        backing.mount(self.directory)
        try:
            os.makedirs(os.path.dirname(backing.inside(self.directory)), 0o755)
            base = dict(self._copied(backing))
        except OSError as error:
            shutil.rmtree(root, ignore_errors=True)
            raise OverlayError(
                f"{error.filename or path}: {error.strerror}, so {self.directory} gets no overlay"
            ) from None
        _surround(self.directory, backing)
        rows = {name: astuple(row) for name, row in base.items()}
        data = {"version": VERSION, "directory": self.directory, "base": rows}
        temporary = os.path.join(path, MANIFEST + ".new")
        with open(temporary, "w", encoding="utf-8") as f:
            json.dump(data, f)
        os.replace(temporary, os.path.join(path, MANIFEST))

    def _copied(self, backing: Backing) -> Iterator[tuple[str, Base]]:
        place = backing.inside(self.directory)
        known: dict[tuple[int, int], str] = {}
        directories = [("", os.stat(self.directory))]
        os.mkdir(place)
        for name, status in walk(self.directory):
            original, copy = os.path.join(self.directory, name), os.path.join(place, name)
            target, key = "", (status.st_dev, status.st_ino)
            if stat.S_ISDIR(status.st_mode):
                os.mkdir(copy)
                directories.append((name, status))
                continue
            elif stat.S_ISLNK(status.st_mode):
                target = os.readlink(original)
                os.symlink(backing.real(target), copy)
            elif stat.S_ISREG(status.st_mode) and key in known:
                os.link(known[key], copy)
            elif stat.S_ISREG(status.st_mode):
                backing.expect(copy, status.st_size, status.st_mtime_ns, _content(original))
            elif stat.S_ISFIFO(status.st_mode):
                os.mkfifo(copy)
            elif stat.S_ISSOCK(status.st_mode):
                os.mknod(
                    copy, stat.S_IFSOCK
                )  # nobody listens there: whoever connects means the original
            else:
                self.left_out.append(name)
                continue
            if status.st_nlink > 1:
                known[key] = copy
            yield name, self._row(name, copy, status, target)
        for name, status in reversed(directories):  # so late that nothing inherits an ACL of theirs
            yield name, self._row(name, os.path.join(place, name) if name else place, status)

    def _row(self, name: str, copy: str, status: os.stat_result, target: str = "") -> Base:
        """Gives a copy all that is not content, and says what it has."""
        give_status(copy, status)
        wanted = attributes(os.path.join(self.directory, name))
        given = give_possible(copy, wanted)
        if given.keys() != wanted.keys():
            self.without.append(name or ".")
        size = status.st_size if stat.S_ISREG(status.st_mode) else 0
        inode = os.lstat(copy).st_ino
        text = {key: base64.b64encode(value).decode() for key, value in given.items()}
        return Base(status.st_mode, size, status.st_mtime_ns, inode, target, text)


def overlay(directory: str | os.PathLike[str], state: str | None = None) -> Overlay:
    """An overlay over `directory`; at the top level of a file of handlers it is in force from there on."""
    made = Overlay(directory, state)
    noted(made.__lsca_rules__)
    return made


def option(name: str, value: str, state: str | None) -> Overlay:
    """`--overlay DIR` of the command line."""
    made = Overlay(value, state)
    for what, names in (
        ("devices are not shown", made.left_out),
        (f"attributes have no room in {made.state.path}, those of", made.without),
    ):
        if names:
            to_stderr(f"{name} {value}: {what}: {', '.join(names[:NAMED])}")
    return made


def find(directory: str | None, state: str | None) -> State:
    """The overlay that was made of a directory, by default of the working directory or one above it. OverlayError."""
    if state is not None:
        return State(state)
    start = os.path.realpath(directory or ".")
    at = start
    while True:
        path = default_state(at)
        if os.path.exists(os.path.join(path, MANIFEST)):
            return State(path)
        if directory is not None or at == "/":
            where = start if directory is not None else f"{start} and the directories above it"
            raise OverlayError(
                f"there is no overlay of {where}; `lsca run --overlay DIR -- PROGRAM` makes one"
            )
        at = os.path.dirname(at)


def give_status(path: str, status: os.stat_result) -> None:
    """Owner, mode and times of another file."""
    if (os.geteuid(), os.getegid()) != (status.st_uid, status.st_gid):
        try:
            os.lchown(path, status.st_uid, status.st_gid)
        except OSError:  # as with cp -p, only root can
            pass
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(path, stat.S_IMODE(status.st_mode))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def _content(original: str) -> Callable[[int], None]:
    return lambda fd: copy_file(original, fd)


def _check(directory: str, given: str) -> None:
    if not os.path.isdir(directory):
        raise OverlayError(f"{given} is not a directory, so there is nothing to lay over")
    if directory == "/":
        raise OverlayError(
            "an overlay over / would have to hold itself; name the directory that is to stay as it is"
        )


def _locked(path: str) -> int:
    fd = os.open(os.path.join(path, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise OverlayError(f"the overlay in {path} is in use by another run") from None
    return fd


def _surround(directory: str, backing: Backing) -> None:
    """So that a relative link, or ".." behind one, that leads out of the directory leads where it led before."""
    child = directory
    while child != "/":
        parent = os.path.dirname(child)
        try:
            names = os.listdir(parent)[:SURROUNDING_MOST]
        except OSError:
            names = []
        for name in names:
            path = os.path.join(backing.root + parent, name)
            if not os.path.lexists(path):
                os.symlink(os.path.join(parent, name), path)
        child = parent

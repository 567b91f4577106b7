# SPDX-License-Identifier: Apache-2.0
"""What programs have changed in an overlay, as a list and as a patch; and how that is done to the real directory."""

import difflib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lsca.services.attributes import Attributes, attributes, changed, give, is_conflict, merged
from lsca.services.backing import copy_file
from lsca.services.files import walk
from lsca.services.overlay import Base, OverlayError, State, give_status

BLOCK: Final = 1 << 20
CONFLICTS_SHOWN: Final = 5
HERE: Final = "."  # the directory itself
NOT_MADE: Final = "not made by apply"  # a socket is nothing without its program
TYPES: Final = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One path: `kind` is added, changed or deleted; `what` says what is different.

    `conflict`: the real one has changed as well since the overlay was made.
    """

    kind: str
    path: str
    what: str = ""
    conflict: bool = False

    def __str__(self) -> str:
        more = f" ({self.what})" if self.what else ""
        return f"{self.kind:8} {self.path}{more}{'; the real one has changed, too' if self.conflict else ''}"


def changes(state: State) -> list[Change]:
    """All changes, by path."""
    now = {HERE: os.stat(state.place), **dict(walk(state.place))}
    found = []
    for name in sorted(now.keys() | {name or HERE for name in state.base}):
        row, status = _base(state, name), now.get(name)
        if status is None:
            assert row is not None
            found.append(Change("deleted", name, "", _moved_on(state, name, row)))
        elif row is None:
            what = _now(status.st_mode)
            conflict = os.path.lexists(state.original(name))
            found.append(Change("added", name, "" if what == "file" else what, conflict))
        else:
            what = _difference(state, name, row, status)
            if what:
                found.append(Change("changed", name, what, _moved_on(state, name, row)))
    return found


def _type(mode: int) -> str:
    return TYPES.get(stat.S_IFMT(mode), "device")


def _now(mode: int) -> str:
    """What a program has made, in words."""
    return _type(mode) + (f", {NOT_MADE}" if stat.S_ISSOCK(mode) else "")


def _base(state: State, name: str) -> Base | None:
    return state.base.get("" if name == HERE else name)


def _difference(state: State, name: str, row: Base, status: os.stat_result) -> str:
    """What is not as it was, in words; "" if nothing is."""
    if stat.S_IFMT(row.mode) != stat.S_IFMT(status.st_mode):
        return f"{_type(row.mode)} -> {_now(status.st_mode)}"
    if stat.S_ISSOCK(row.mode) and not _is_stand_in(state, name, status):
        return f"another socket, {NOT_MADE}"
    words = []
    if stat.S_ISREG(row.mode) and not _same_content(state, name, row, status):
        words.append("content")
    if stat.S_ISLNK(row.mode):
        target = state.backing.seen(os.readlink(state.copy(name)))
        if target != row.target:
            words.append(f"{row.target} -> {target}")
    elif stat.S_IMODE(row.mode) != stat.S_IMODE(status.st_mode):
        words.append(f"mode {stat.S_IMODE(row.mode):04o} -> {stat.S_IMODE(status.st_mode):04o}")
    return ", ".join(words + changed(row.had, attributes(state.copy(name))))


def _is_stand_in(state: State, name: str, status: os.stat_result) -> bool:
    """Whether a socket of the overlay is still that of the directory."""
    return state.backing.real_socket(status) == state.original(name)


def _same_content(state: State, name: str, row: Base, status: os.stat_result) -> bool:
    if row.inode == status.st_ino and state.backing.is_unfilled(state.copy(name), status):
        return True
    if status.st_size != row.size:
        return False
    state.backing.fill(state.copy(name))  # another file's content may have been moved here
    try:
        with open(state.original(name), "rb") as one, open(state.copy(name), "rb") as other:
            while True:
                block = one.read(BLOCK)
                if block != other.read(BLOCK):
                    return False
                if not block:
                    return True
    except OSError:  # the real one is gone
        return row.inode == status.st_ino and row.mtime_ns == status.st_mtime_ns


def _moved_on(state: State, name: str, row: Base) -> bool:
    """Whether the real file is not what it was when the overlay was made."""
    try:
        status = os.lstat(state.original(name))
    except OSError:
        return True
    names = row.had.keys() | attributes(state.copy(name)).keys()
    if status.st_mode != row.mode or is_conflict(attributes(state.original(name)), row.had, names):
        return True
    is_file = stat.S_ISREG(row.mode)
    return is_file and (status.st_size, status.st_mtime_ns) != (row.size, row.mtime_ns)


# ---- a patch --------------------------------------------------------------------------------------------------------


def patch(state: State, found: list[Change]) -> Iterator[str]:
    """The changes of text files as `patch -p1` takes them; of others a line that says so."""
    for change in found:
        old = _lines(state, change, new=False)
        new = _lines(state, change, new=True)
        if old is None or new is None:
            yield f"Binary files a/{change.path} and b/{change.path} differ\n"
            continue
        before = "/dev/null" if change.kind == "added" else f"a/{change.path}"
        after = "/dev/null" if change.kind == "deleted" else f"b/{change.path}"
        for line in difflib.unified_diff(old, new, before, after):
            yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _lines(state: State, change: Change, *, new: bool) -> list[str] | None:
    """A file's lines; None if it is no text."""
    path = state.copy(change.path) if new else state.original(change.path)
    if change.kind == ("deleted" if new else "added") or not _is_file(path):
        return []
    if new:
        state.backing.fill(path)
    with open(path, "rb") as f:
        data = f.read()
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8").splitlines(keepends=True)
    except UnicodeDecodeError:
        return None


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


# ---- doing it -------------------------------------------------------------------------------------------------------


def apply(state: State, *, force: bool = False) -> list[Change]:
    """Makes the real directory what programs saw, and ends the overlay.

    OverlayError, before anything is touched, if the real one has changed where they have, unless `force`.
    """
    found = changes(state)
    conflicts = [change.path for change in found if change.conflict]
    if conflicts and not force:
        more = (
            f" and {len(conflicts) - CONFLICTS_SHOWN} more"
            if len(conflicts) > CONFLICTS_SHOWN
            else ""
        )
        raise OverlayError(
            f"{', '.join(conflicts[:CONFLICTS_SHOWN])}{more}: changed in {state.directory} since the overlay was made; "
            "`lsca diff --patch` shows the differences, --force takes the overlay's"
        )
    try:
        for change in found:  # what was moved has its content under a name that may go away now
            if change.kind != "deleted" and _is_file(state.copy(change.path)):
                state.backing.fill(state.copy(change.path))
        for change in reversed(found):
            if change.kind == "deleted" or _has_other_type(state, change):
                _remove(state.original(change.path))
        for change in found:
            if change.kind != "deleted":
                _put(state, change)
        for change in reversed(found):
            copy = state.copy(change.path)
            if change.kind != "deleted" and os.path.isdir(copy) and not os.path.islink(copy):
                path = state.original(change.path)
                wanted = _wanted(state, change)
                give_status(path, os.lstat(copy))
                give(path, wanted)
    except OSError as error:
        raise OverlayError(
            f"{error.filename}: {error.strerror}; what came before it is done, the rest is still in the overlay"
        ) from None
    state.discard()
    return found


def _has_other_type(state: State, change: Change) -> bool:
    if change.kind != "changed":
        return False
    row = _base(state, change.path)
    mode = os.lstat(state.copy(change.path)).st_mode
    return row is not None and stat.S_IFMT(row.mode) != stat.S_IFMT(mode)


def _wanted(state: State, change: Change) -> Attributes:
    """The attributes that the real file is to have: a difference is made to those that it has."""
    path, now = state.original(change.path), attributes(state.copy(change.path))
    row = _base(state, change.path)
    if change.kind == "added" or row is None or not os.path.lexists(path):
        return now
    same = not _has_other_type(state, change)
    return merged(attributes(path), row.had, now) if same else now


def _remove(path: str) -> None:
    if not os.path.lexists(path):
        return
    if stat.S_ISDIR(os.lstat(path).st_mode):
        try:
            os.rmdir(path)
        except OSError:
            pass  # something has come into it meanwhile, and is nobody's to delete
    else:
        os.unlink(path)


def _put(state: State, change: Change) -> None:
    path, copy = state.original(change.path), state.copy(change.path)
    status = os.lstat(copy)
    if stat.S_ISDIR(status.st_mode):
        if not os.path.isdir(path):
            os.mkdir(path)
        return
    if stat.S_ISLNK(status.st_mode):
        wanted = _wanted(state, change)
        if os.path.lexists(path):
            os.unlink(path)
        os.symlink(state.backing.seen(os.readlink(copy)), path)
        give(path, wanted)
        return
    wanted = _wanted(state, change)
    if stat.S_ISFIFO(status.st_mode):
        if not os.path.lexists(path):
            os.mkfifo(path)
    elif not stat.S_ISREG(status.st_mode):
        if not _is_stand_in(state, change.path, status):
            return
    elif os.path.lexists(path) and os.lstat(path).st_nlink > 1:
        with open(path, "wb") as f:  # under all of its names
            copy_file(copy, f.fileno())
    else:
        temporary = f"{path}.lsca-new"
        try:
            with open(temporary, "xb") as f:
                copy_file(copy, f.fileno())
            give_status(temporary, status)
            give(temporary, wanted)
            os.replace(temporary, path)
        except OSError:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise
        return
    give_status(path, status)
    give(path, wanted)

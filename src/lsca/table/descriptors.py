# SPDX-License-Identifier: Apache-2.0
"""Descriptors themselves: copies of them, their flags and locks, pipes, and requests to devices."""

from typing import Final

from lsca.table.arguments import Chooses, Chosen, Chosen_by, Fd, Kind, NewFd, Out, Request
from lsca.table.constants import Enum, Flags
from lsca.table.effects import Does, Posts, by
from lsca.table.files import OPEN_FLAGS, SEEK
from lsca.table.ioctls import REQUESTS, show_request
from lsca.table.layouts import Code, Struct, fixed, number, numbers, one
from lsca.table.signals import SIGNALS
from lsca.table.syscall import Support, Syscall
from lsca.table.text import Show, View, show_hex, show_int, show_long, show_new_fd, show_size

NEW_FLAGS: Final = Flags("O_CLOEXEC=0o2000000")
FD_FLAGS: Final = Flags("FD_CLOEXEC=1")
LOCKS: Final = Enum("F_RDLCK F_WRLCK F_UNLCK", bits=16)
LEASES: Final = Enum("F_RDLCK F_WRLCK F_UNLCK")
FLOCK: Final = Flags(
    "LOCK_SH=1 LOCK_EX=2 LOCK_NB=4 LOCK_UN=8 LOCK_MAND=0x20 LOCK_READ=0x40 LOCK_WRITE=0x80"
)
OWNERS: Final = Enum("F_OWNER_TID F_OWNER_PID F_OWNER_PGRP")
SEALS: Final = Flags(
    "F_SEAL_SEAL=1 F_SEAL_SHRINK F_SEAL_GROW F_SEAL_WRITE F_SEAL_FUTURE_WRITE F_SEAL_EXEC"
)
NOTIFY: Final = Flags(
    "DN_ACCESS=1 DN_MODIFY DN_CREATE DN_DELETE DN_RENAME DN_ATTRIB DN_MULTISHOT=0x80000000"
)
PIPE_FLAGS: Final = Flags(
    "O_NONBLOCK=0o4000 O_DIRECT=0o40000 O_NOTIFICATION_PIPE=0o200 O_CLOEXEC=0o2000000",
    others={"aarch64": "O_NONBLOCK=0o4000 O_DIRECT=0o200000 O_CLOEXEC=0o2000000"},
)
PAIR: Final = fixed(numbers("int", "i", show_new_fd), 2)
HINT: Final = number("uint64_t", "Q", show_size)

_FLOCK: Final[dict[str, Code]] = {
    "l_type": ("h", LOCKS),
    "l_whence": ("h", lambda value, view: SEEK(value & 0xFFFF, view)),
    "l_start": "q",
    "l_len": "q",
}
LOCK: Final = one(Struct("flock", {**_FLOCK, "_pid": "i"}))
LOCK_FOUND: Final = one(Struct("flock", {**_FLOCK, "l_pid": "i"}))
OWNER: Final = one(Struct("f_owner_ex", {"type": ("i", OWNERS), "pid": "i"}))


def _commands() -> dict[int, Request]:
    def value(name: str, number: int, show: Show = show_int) -> Request:
        return Request(name, number, Kind.VALUE, show=show)

    lock, found, owner, hint = LOCK, LOCK_FOUND, OWNER, HINT
    all_commands = (
        value("F_DUPFD", 0),
        Request("F_GETFD", 1),
        value("F_SETFD", 2, FD_FLAGS),
        Request("F_GETFL", 3),
        value("F_SETFL", 4, OPEN_FLAGS),
        Request("F_GETLK", 5, Kind.INOUT, found),
        Request("F_SETLK", 6, Kind.IN, lock),
        Request("F_SETLKW", 7, Kind.IN, lock),
        value("F_SETOWN", 8),
        Request("F_GETOWN", 9),
        value("F_SETSIG", 10, SIGNALS),
        Request("F_GETSIG", 11),
        Request("F_SETOWN_EX", 15, Kind.IN, owner),
        Request("F_GETOWN_EX", 16, Kind.OUT, owner),
        Request("F_GETOWNER_UIDS", 17, Kind.OUT, fixed(numbers("uid_t", "I", show_size), 2)),
        Request("F_OFD_GETLK", 36, Kind.INOUT, found),
        Request("F_OFD_SETLK", 37, Kind.IN, lock),
        Request("F_OFD_SETLKW", 38, Kind.IN, lock),
        value("F_SETLEASE", 1024, LEASES),
        Request("F_GETLEASE", 1025),
        value("F_NOTIFY", 1026, NOTIFY),
        value("F_DUPFD_QUERY", 1027),
        Request("F_CREATED_QUERY", 1028),
        value("F_CANCELLK", 1029),
        value("F_DUPFD_CLOEXEC", 1030),
        value("F_SETPIPE_SZ", 1031),
        Request("F_GETPIPE_SZ", 1032),
        value("F_ADD_SEALS", 1033, SEALS),
        Request("F_GET_SEALS", 1034),
        Request("F_GET_RW_HINT", 1035, Kind.OUT, hint),
        Request("F_SET_RW_HINT", 1036, Kind.IN, hint),
        Request("F_GET_FILE_RW_HINT", 1037, Kind.OUT, hint),
        Request("F_SET_FILE_RW_HINT", 1038, Kind.IN, hint),
    )
    return {command.number: command for command in all_commands}


COMMANDS: Final = _commands()
_RESULTS: Final[dict[str, Show]] = {
    "F_GETFD": FD_FLAGS,
    "F_GETFL": OPEN_FLAGS,
    "F_GETSIG": SIGNALS,
    "F_GETLEASE": LEASES,
    "F_GET_SEALS": SEALS,
}


def _command(view: View) -> str:
    request = COMMANDS.get(view.value("cmd") & 0xFFFFFFFF)
    return request.name if request else ""


def show_fcntl(value: int, view: View) -> str:
    """fcntl's result: hex where it is a set of flags."""
    command = _command(view)
    if command in ("F_DUPFD", "F_DUPFD_CLOEXEC"):
        return show_new_fd(value, view)
    flags = command in ("F_GETFD", "F_GETFL", "F_GET_SEALS")
    return show_hex(value, view) if flags else show_int(value, view)


def note_fcntl(view: View) -> str:
    """What a number that fcntl returned means."""
    command = _command(view)
    show = _RESULTS.get(command)
    if not show or view.ret is None or (not view.ret and command in ("F_GETFD", "F_GET_SEALS")):
        return ""
    kind = {"F_GETSIG": "", "F_GETLEASE": "", "F_GET_SEALS": "seals "}.get(command, "flags ")
    return f"{kind}{show(view.ret, view)}"


class dup(
    Syscall,
    x86_64=32,
    generic=23,
    new_fd=True,
    effect=by(Does.DUPLICATES, "oldfd"),
    errors="EMFILE",
):
    """duplicate a file descriptor"""

    oldfd = Fd()


class dup2(
    Syscall,
    x86_64=33,
    new_fd=True,
    effect=by(Does.DUPLICATES, "oldfd", "newfd"),
    errors="EMFILE EINTR",
):
    """duplicate a file descriptor to a given number"""

    oldfd = Fd()
    newfd = NewFd()


class dup3(
    Syscall,
    x86_64=292,
    generic=24,
    since="2.6.27",
    new_fd=True,
    effect=by(Does.DUPLICATES, "oldfd", "newfd"),
    errors="EMFILE EINTR",
):
    """duplicate a file descriptor to a given number, with flags"""

    oldfd = Fd()
    newfd = NewFd()
    flags = Chosen(NEW_FLAGS)


class fcntl(
    Syscall,
    x86_64=72,
    generic=25,
    blocks=True,
    returns=show_fcntl,
    note=note_fcntl,
    support=Support.PARTIAL,
    caveat="under the route `proxy` F_GETLK and F_OFD_GETLK name the proxy's process as the owner "
    "of a lock that a captured program holds",
    effect=by(Does.FCNTL, "fd", "cmd"),
    errors="EAGAIN EINTR ENOLCK EMFILE",
    posts=Posts.FCNTL,
):
    """manipulate file descriptor"""

    fd = Fd()
    cmd = Chooses(COMMANDS, show_hex)
    arg = Chosen_by(Kind.FCNTL, "cmd", COMMANDS)


class flock(
    Syscall, x86_64=73, generic=32, blocks=True, errors="EINTR EAGAIN ENOLCK", posts=Posts.LOOKS
):
    """apply or remove an advisory lock on an open file"""

    fd = Fd()
    operation = Chosen(FLOCK)


class ioctl(
    Syscall,
    x86_64=16,
    generic=29,
    blocks=True,
    terminal=True,
    returns=show_long,
    support=Support.PARTIAL,
    caveat="requests that the table does not know are made by the program on a borrowed descriptor",
    posts=Posts.MOVES,
):
    """control device"""

    fd = Fd()
    request = Chooses(REQUESTS, show_request)
    argp = Chosen_by(Kind.IOCTL, "request", REQUESTS)


class pipe(Syscall, x86_64=22, effect=by(Does.PIPE, "pipefd"), errors="EMFILE ENFILE"):
    """create pipe"""

    pipefd = Out(PAIR)


class pipe2(
    Syscall,
    x86_64=293,
    generic=59,
    since="2.6.27",
    effect=by(Does.PIPE, "pipefd"),
    errors="EMFILE ENFILE",
):
    """create pipe, with flags"""

    pipefd = Out(PAIR)
    flags = Chosen(PIPE_FLAGS)

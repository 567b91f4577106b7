# SPDX-License-Identifier: Apache-2.0
"""Waiting for descriptors, and descriptors that are made to be waited for."""

from typing import Final

from lsca.table.arguments import (
    Chosen,
    DirFd,
    Fd,
    FdSet,
    In,
    InOut,
    Int,
    Out,
    Path,
    Sigmask,
    Sigmask6,
    Size,
    Unsigned,
)
from lsca.table.clocks import CLOCKS, ITIMERSPEC, TIMESPEC, TIMESPEC_STRUCT, TIMEVAL, TIMEVAL_STRUCT
from lsca.table.constants import Enum, Flags
from lsca.table.effects import new
from lsca.table.files import OPEN_FLAGS
from lsca.table.layouts import SIZE_1, Layout, Struct, array, one
from lsca.table.signals import SIGSET
from lsca.table.syscall import Runs, Support, Syscall
from lsca.table.text import Piece, View, show_fd, signed

POLL: Final = Flags(
    "POLLIN=1 POLLPRI POLLOUT POLLERR POLLHUP POLLNVAL POLLRDNORM POLLRDBAND POLLWRNORM POLLWRBAND "
    "POLLMSG POLLREMOVE=0x1000 POLLRDHUP=0x2000"
)
EPOLL: Final = Flags(
    "EPOLLIN=1 EPOLLPRI EPOLLOUT EPOLLERR EPOLLHUP EPOLLNVAL EPOLLRDNORM EPOLLRDBAND EPOLLWRNORM "
    "EPOLLWRBAND EPOLLMSG EPOLLRDHUP=0x2000 EPOLLEXCLUSIVE=0x10000000 EPOLLWAKEUP EPOLLONESHOT "
    "EPOLLET"
)
EPOLL_CTL: Final = Enum("EPOLL_CTL_ADD=1 EPOLL_CTL_DEL EPOLL_CTL_MOD")
EPOLL_CREATE: Final = Flags("EPOLL_CLOEXEC=0o2000000")
EVENTFD: Final = Flags("EFD_SEMAPHORE=1 EFD_CLOEXEC=0o2000000 EFD_NONBLOCK=0o4000")
TIMERFD: Final = Flags("TFD_CLOEXEC=0o2000000 TFD_NONBLOCK=0o4000")
TIMERFD_SET: Final = Flags("TFD_TIMER_ABSTIME=1 TFD_TIMER_CANCEL_ON_SET")
SIGNALFD: Final = Flags("SFD_CLOEXEC=0o2000000 SFD_NONBLOCK=0o4000")
INOTIFY: Final = Flags("IN_NONBLOCK=0o4000 IN_CLOEXEC=0o2000000")
INOTIFY_MASK: Final = Flags(
    "IN_ALL_EVENTS=0xfff IN_MOVE=0xc0 IN_ACCESS=1 IN_MODIFY IN_ATTRIB IN_CLOSE_WRITE "
    "IN_CLOSE_NOWRITE IN_OPEN IN_MOVED_FROM IN_MOVED_TO IN_CREATE IN_DELETE IN_DELETE_SELF "
    "IN_MOVE_SELF IN_UNMOUNT=0x2000 IN_Q_OVERFLOW IN_IGNORED IN_ONLYDIR=0x1000000 IN_DONT_FOLLOW "
    "IN_EXCL_UNLINK IN_MASK_CREATE=0x10000000 IN_MASK_ADD IN_ISDIR IN_ONESHOT"
)
FANOTIFY_INIT: Final = Flags(
    "FAN_CLOEXEC=1 FAN_NONBLOCK FAN_CLASS_CONTENT FAN_CLASS_PRE_CONTENT FAN_UNLIMITED_QUEUE=0x10 "
    "FAN_UNLIMITED_MARKS FAN_ENABLE_AUDIT FAN_REPORT_PIDFD FAN_REPORT_TID FAN_REPORT_FID "
    "FAN_REPORT_DIR_FID FAN_REPORT_NAME FAN_REPORT_TARGET_FID FAN_REPORT_FD_ERROR FAN_REPORT_MNT"
)
FANOTIFY_MARK: Final = Flags(
    "FAN_MARK_ADD=1 FAN_MARK_REMOVE FAN_MARK_DONT_FOLLOW FAN_MARK_ONLYDIR FAN_MARK_MOUNT=0x10 "
    "FAN_MARK_IGNORED_MASK FAN_MARK_IGNORED_SURV_MODIFY FAN_MARK_FLUSH FAN_MARK_FILESYSTEM "
    "FAN_MARK_EVICTABLE FAN_MARK_IGNORE"
)
FANOTIFY_MASK: Final = Flags(
    "FAN_ACCESS=1 FAN_MODIFY FAN_ATTRIB FAN_CLOSE_WRITE FAN_CLOSE_NOWRITE FAN_OPEN FAN_MOVED_FROM "
    "FAN_MOVED_TO FAN_CREATE FAN_DELETE FAN_DELETE_SELF FAN_MOVE_SELF FAN_OPEN_EXEC FAN_Q_OVERFLOW "
    "FAN_FS_ERROR=0x8000 FAN_OPEN_PERM FAN_ACCESS_PERM FAN_OPEN_EXEC_PERM FAN_PRE_ACCESS=0x100000 "
    "FAN_EVENT_ON_CHILD=0x8000000 FAN_RENAME=0x10000000 FAN_ONDIR=0x40000000"
)
SIGNALFD_CAVEAT: Final = "a signalfd gives the signals of its reader: it is read in the program"


def show_data(value: int, view: View) -> str:
    """What epoll gives back, as the two numbers that programs put there."""
    return f"{{u32={value & 0xFFFFFFFF}, u64={value}}}"


POLLFD_STRUCT: Final = Struct("pollfd", {"fd": "i", "events": ("H", POLL), "revents": ("H", POLL)})
EPOLL_EVENT: Final = Struct(
    "epoll_event", {"events": ("I", EPOLL), "data": ("Q", show_data)}, packed=("x86_64",)
)


def _pollfds(data: bytes, view: View) -> list[dict[str, int]]:
    size = POLLFD_STRUCT.size[view.machine]
    return [
        {name: int(value) for name, value in POLLFD_STRUCT.values(part, view.machine).items()}
        for part in (data[at : at + size] for at in range(0, len(data) - size + 1, size))
    ]


def _show_pollfds(piece: Piece, view: View) -> str:
    """What is waited for: [{fd=3, events=POLLIN}]."""
    texts = [
        f"{{fd={item['fd']}}}"
        if item["fd"] < 0
        else f"{{fd={show_fd(item['fd'], view)}, events={POLL(item['events'], view)}}}"
        for item in _pollfds(piece.data, view)
    ]
    if len(piece.data) < piece.full:
        texts.append("...")
    return "[" + ", ".join(texts) + "]"


def note_poll(view: View) -> str:
    """What has come, and the time that is left: [{fd=3, revents=POLLIN}], left {...}."""
    if view.ret == 0:
        return "Timeout"
    parts = []
    fds = view.exit.get(view.names["fds"])
    if fds and view.ret is not None:
        came = [item for item in _pollfds(fds.data, view) if item["revents"]]
        texts = [
            f"{{fd={show_fd(item['fd'], view)}, revents={POLL(item['revents'], view)}}}"
            for item in came
        ]
        if len(texts) < view.ret:
            texts.append("...")
        parts.append("[" + ", ".join(texts) + "]")
    left = view.exit.get(view.names["tmo_p"]) if "tmo_p" in view.names else None
    if left:
        parts.append(f"left {TIMESPEC_STRUCT(left, view)}")
    return ", ".join(parts)


def _show_fdset(piece: Piece, view: View) -> str:
    """The descriptors in a set: [0 3]."""
    bits = int.from_bytes(piece.data, "little")
    count = min(max(signed(view.value("nfds"), 32), 0), len(piece.data) * 8)
    inside = [show_fd(fd, view) for fd in range(count) if bits >> fd & 1]
    return "[" + " ".join(inside) + "]"


def note_select(view: View) -> str:
    """What has come, and the time that is left: in [3], left {...}."""
    if view.ret == 0:
        return "Timeout"
    parts = []
    for name, word in (("readfds", "in"), ("writefds", "out"), ("exceptfds", "except")):
        piece = view.exit.get(view.names[name])
        if piece and any(piece.data):
            parts.append(f"{word} {_show_fdset(piece, view)}")
    left = view.exit.get(view.names["timeout"])
    if left:
        shape = TIMEVAL_STRUCT if "sigmask" not in view.names else TIMESPEC_STRUCT
        parts.append(f"left {shape(left, view)}")
    return ", ".join(parts)


POLLFDS: Final = Layout("struct pollfd[]", POLLFD_STRUCT.size, _show_pollfds, shape=POLLFD_STRUCT)
FD_SET: Final = Layout("fd_set", SIZE_1, _show_fdset)
EVENTS: Final = array(EPOLL_EVENT)
EVENT: Final = one(EPOLL_EVENT)


class poll(Syscall, x86_64=7, blocks=True, note=note_poll, errors="EINTR ENOMEM"):
    """wait for some event on a file descriptor"""

    fds = InOut(POLLFDS, length="nfds", before_only=True)
    nfds = Unsigned()
    timeout = Int()


class ppoll(
    Syscall,
    x86_64=271,
    generic=73,
    since="2.6.16",
    blocks=True,
    note=note_poll,
    errors="EINTR ENOMEM",
):
    """wait for some event on a file descriptor, with a signal mask"""

    fds = InOut(POLLFDS, length="nfds", before_only=True)
    nfds = Unsigned()
    tmo_p = InOut(TIMESPEC, on_error=True, before_only=True)
    sigmask = Sigmask(SIGSET)
    sigsetsize = Size()


class select(Syscall, x86_64=23, blocks=True, note=note_select, errors="EINTR ENOMEM"):
    """synchronous I/O multiplexing"""

    nfds = Int()
    readfds = FdSet(FD_SET, nfds="nfds")
    writefds = FdSet(FD_SET, nfds="nfds")
    exceptfds = FdSet(FD_SET, nfds="nfds")
    timeout = InOut(TIMEVAL, on_error=True, before_only=True)


class pselect6(
    Syscall,
    x86_64=270,
    generic=72,
    since="2.6.16",
    blocks=True,
    note=note_select,
    errors="EINTR ENOMEM",
):
    """synchronous I/O multiplexing, with a signal mask"""

    nfds = Int()
    readfds = FdSet(FD_SET, nfds="nfds")
    writefds = FdSet(FD_SET, nfds="nfds")
    exceptfds = FdSet(FD_SET, nfds="nfds")
    timeout = InOut(TIMESPEC, on_error=True, before_only=True)
    sigmask = Sigmask6()


class epoll_create(
    Syscall, x86_64=213, new_fd=True, effect=new("anon_inode:[eventpoll]"), errors="EMFILE ENOMEM"
):
    """open an epoll file descriptor"""

    size = Int()


class epoll_create1(
    Syscall,
    x86_64=291,
    generic=20,
    since="2.6.27",
    new_fd=True,
    effect=new("anon_inode:[eventpoll]"),
    errors="EMFILE ENOMEM",
):
    """open an epoll file descriptor, with flags"""

    flags = Chosen(EPOLL_CREATE)


class epoll_ctl(Syscall, x86_64=233, generic=21, errors="ENOMEM ENOSPC"):
    """control interface for an epoll file descriptor"""

    epfd = Fd()
    op = Chosen(EPOLL_CTL)
    fd = Fd()
    event = In(EVENT)


class epoll_wait(Syscall, x86_64=232, blocks=True, errors="EINTR"):
    """wait for an I/O event on an epoll file descriptor"""

    epfd = Fd()
    events = Out(EVENTS, length="maxevents", filled=True)
    maxevents = Int()
    timeout = Int()


class epoll_pwait(Syscall, x86_64=281, generic=22, since="2.6.19", blocks=True, errors="EINTR"):
    """wait for an I/O event on an epoll file descriptor, with a signal mask"""

    epfd = Fd()
    events = Out(EVENTS, length="maxevents", filled=True)
    maxevents = Int()
    timeout = Int()
    sigmask = Sigmask(SIGSET)
    sigsetsize = Size()


class epoll_pwait2(Syscall, x86_64=441, generic=441, since="5.11", blocks=True, errors="EINTR"):
    """wait for an I/O event on an epoll file descriptor, with nanoseconds"""

    epfd = Fd()
    events = Out(EVENTS, length="maxevents", filled=True)
    maxevents = Int()
    timeout = In(TIMESPEC)
    sigmask = Sigmask(SIGSET)
    sigsetsize = Size()


class eventfd(
    Syscall,
    x86_64=284,
    since="2.6.22",
    new_fd=True,
    effect=new("anon_inode:[eventfd]"),
    errors="EMFILE ENFILE",
):
    """create a file descriptor for event notification"""

    initval = Unsigned()


class eventfd2(
    Syscall,
    x86_64=290,
    generic=19,
    since="2.6.27",
    new_fd=True,
    effect=new("anon_inode:[eventfd]"),
    errors="EMFILE ENFILE",
):
    """create a file descriptor for event notification, with flags"""

    initval = Unsigned()
    flags = Chosen(EVENTFD)


class timerfd_create(
    Syscall,
    x86_64=283,
    generic=85,
    since="2.6.25",
    new_fd=True,
    effect=new("anon_inode:[timerfd]"),
    errors="EMFILE ENFILE",
):
    """create a timer that notifies via a file descriptor"""

    clockid = Chosen(CLOCKS)
    flags = Chosen(TIMERFD)


class timerfd_settime(Syscall, x86_64=286, generic=86, since="2.6.25"):
    """arm or disarm a timer that notifies via a file descriptor"""

    fd = Fd()
    flags = Chosen(TIMERFD_SET)
    new_value = In(ITIMERSPEC)
    old_value = Out(ITIMERSPEC)


class timerfd_gettime(Syscall, x86_64=287, generic=87, since="2.6.25"):
    """get the setting of a timer that notifies via a file descriptor"""

    fd = Fd()
    curr_value = Out(ITIMERSPEC)


class signalfd(
    Syscall,
    x86_64=282,
    since="2.6.22",
    runs=Runs.HANDOVER,
    new_fd=True,
    support=Support.PARTIAL,
    caveat=SIGNALFD_CAVEAT,
    effect=new("anon_inode:[signalfd]"),
    classes=("signal",),
    errors="EMFILE ENFILE",
):
    """create a file descriptor for accepting signals"""

    fd = Fd()
    mask = In(SIGSET)
    sizemask = Size()


class signalfd4(
    Syscall,
    x86_64=289,
    generic=74,
    since="2.6.27",
    runs=Runs.HANDOVER,
    new_fd=True,
    support=Support.PARTIAL,
    caveat=SIGNALFD_CAVEAT,
    effect=new("anon_inode:[signalfd]"),
    classes=("signal",),
    errors="EMFILE ENFILE",
):
    """create a file descriptor for accepting signals, with flags"""

    fd = Fd()
    mask = In(SIGSET)
    sizemask = Size()
    flags = Chosen(SIGNALFD)


class inotify_init(
    Syscall, x86_64=253, since="2.6.13", new_fd=True, effect=new("anon_inode:inotify")
):
    """initialize an inotify instance"""


class inotify_init1(
    Syscall,
    x86_64=294,
    generic=26,
    since="2.6.27",
    new_fd=True,
    effect=new("anon_inode:inotify"),
    errors="EMFILE ENFILE",
):
    """initialize an inotify instance, with flags"""

    flags = Chosen(INOTIFY)


class inotify_add_watch(
    Syscall, x86_64=254, generic=27, since="2.6.13", errors="ENOSPC EACCES ENOENT"
):
    """add a watch to an initialized inotify instance"""

    fd = Fd()
    pathname = Path()
    mask = Chosen(INOTIFY_MASK)


class inotify_rm_watch(Syscall, x86_64=255, generic=28, since="2.6.13"):
    """remove an existing watch from an inotify instance"""

    fd = Fd()
    wd = Int()


class fanotify_init(
    Syscall,
    x86_64=300,
    generic=262,
    since="2.6.37",
    new_fd=True,
    support=Support.PARTIAL,
    caveat="under the route `proxy` events that a program causes itself carry its proxy's process id",
    effect=new("anon_inode:[fanotify]"),
):
    """create and initialize fanotify group"""

    flags = Chosen(FANOTIFY_INIT)
    event_f_flags = Chosen(OPEN_FLAGS)


class fanotify_mark(Syscall, x86_64=301, generic=263, since="2.6.37"):
    """add, remove, or modify an fanotify mark on a filesystem object"""

    fanotify_fd = Fd()
    flags = Chosen(FANOTIFY_MARK)
    mask = Chosen(FANOTIFY_MASK)
    dirfd = DirFd()
    pathname = Path()

# SPDX-License-Identifier: Apache-2.0
"""Moving bytes: read and write in all their forms, and from one descriptor to another."""

from typing import Final

from lsca.table.arguments import (
    Chosen,
    Fd,
    In,
    InOut,
    IovIn,
    IovOut,
    Offset,
    Out,
    Pointer,
    Size,
    Value,
)
from lsca.table.constants import Flags
from lsca.table.effects import Moves, Posts
from lsca.table.layouts import number
from lsca.table.syscall import Runs, Support, Syscall
from lsca.table.text import show_long, show_size

RW_FLAGS: Final = Flags(
    "RWF_HIPRI=1 RWF_DSYNC RWF_SYNC RWF_NOWAIT RWF_APPEND RWF_NOAPPEND RWF_ATOMIC RWF_DONTCACHE "
    "RWF_NOSIGNAL"
)
SPLICE: Final = Flags("SPLICE_F_MOVE=1 SPLICE_F_NONBLOCK SPLICE_F_MORE SPLICE_F_GIFT")
OFFSET: Final = number("loff_t", "q", show_long)


class read(
    Syscall,
    x86_64=0,
    generic=63,
    blocks=True,
    terminal=True,
    returns=show_long,
    moves=Moves.IN,
    errors="EIO EINTR EAGAIN",
    posts=Posts.MOVES,
):
    """read from a file descriptor"""

    fd = Fd()
    buf = Out(length="count", filled=True)
    count = Size()


class write(
    Syscall,
    x86_64=1,
    generic=64,
    blocks=True,
    terminal=True,
    returns=show_long,
    moves=Moves.OUT,
    errors="ENOSPC EIO EINTR EAGAIN EPIPE EDQUOT EFBIG",
    posts=Posts.WRITES,
):
    """write to a file descriptor"""

    fd = Fd()
    buf = In(length="count")
    count = Size()


class pread64(
    Syscall,
    x86_64=17,
    generic=67,
    blocks=True,
    returns=show_long,
    moves=Moves.IN,
    errors="EIO EINTR",
    posts=Posts.LOOKS,
):
    """read from a file descriptor at a given offset"""

    fd = Fd()
    buf = Out(length="count", filled=True)
    count = Size()
    offset = Offset()


class pwrite64(
    Syscall,
    x86_64=18,
    generic=68,
    blocks=True,
    returns=show_long,
    moves=Moves.OUT,
    errors="ENOSPC EIO EINTR EDQUOT EFBIG",
    posts=Posts.LOOKS,
):
    """write to a file descriptor at a given offset"""

    fd = Fd()
    buf = In(length="count")
    count = Size()
    offset = Offset()


class readv(
    Syscall,
    x86_64=19,
    generic=65,
    blocks=True,
    terminal=True,
    returns=show_long,
    moves=Moves.IN,
    errors="EIO EINTR EAGAIN",
    posts=Posts.MOVES,
):
    """read data into multiple buffers"""

    fd = Fd()
    iov = IovOut(count="iovcnt")
    iovcnt = Size()


class writev(
    Syscall,
    x86_64=20,
    generic=66,
    blocks=True,
    terminal=True,
    returns=show_long,
    moves=Moves.OUT,
    errors="ENOSPC EIO EINTR EAGAIN EPIPE EDQUOT EFBIG",
    posts=Posts.GATHERS,
):
    """write data from multiple buffers"""

    fd = Fd()
    iov = IovIn(count="iovcnt")
    iovcnt = Size()


class preadv(
    Syscall,
    x86_64=295,
    generic=69,
    since="2.6.30",
    blocks=True,
    returns=show_long,
    moves=Moves.IN,
    errors="EIO EINTR",
    posts=Posts.LOOKS,
):
    """read data into multiple buffers at a given offset"""

    fd = Fd()
    iov = IovOut(count="iovcnt")
    iovcnt = Size()
    offset = Offset()
    offset_high = Value(show_long, when=lambda view: False)


class pwritev(
    Syscall,
    x86_64=296,
    generic=70,
    since="2.6.30",
    blocks=True,
    returns=show_long,
    moves=Moves.OUT,
    errors="ENOSPC EIO EINTR EDQUOT EFBIG",
    posts=Posts.LOOKS,
):
    """write data from multiple buffers at a given offset"""

    fd = Fd()
    iov = IovIn(count="iovcnt")
    iovcnt = Size()
    offset = Offset()
    offset_high = Value(show_long, when=lambda view: False)


class preadv2(
    Syscall,
    x86_64=327,
    generic=286,
    since="4.6",
    blocks=True,
    terminal=True,
    returns=show_long,
    moves=Moves.IN,
    errors="EIO EINTR",
    posts=Posts.MOVES,
):
    """read data into multiple buffers, with flags"""

    fd = Fd()
    iov = IovOut(count="iovcnt")
    iovcnt = Size()
    offset = Offset()
    offset_high = Value(show_long, when=lambda view: False)
    flags = Chosen(RW_FLAGS)


class pwritev2(
    Syscall,
    x86_64=328,
    generic=287,
    since="4.7",
    blocks=True,
    terminal=True,
    returns=show_long,
    moves=Moves.OUT,
    errors="ENOSPC EIO EINTR EDQUOT EFBIG",
    posts=Posts.MOVES,
):
    """write data from multiple buffers, with flags"""

    fd = Fd()
    iov = IovIn(count="iovcnt")
    iovcnt = Size()
    offset = Offset()
    offset_high = Value(show_long, when=lambda view: False)
    flags = Chosen(RW_FLAGS)


class sendfile(
    Syscall,
    x86_64=40,
    generic=71,
    blocks=True,
    returns=show_long,
    moves=Moves.OUT,
    classes=("network",),
    errors="EIO EAGAIN ENOMEM EINVAL",
):
    """transfer data between file descriptors"""

    out_fd = Fd()
    in_fd = Fd()
    offset = InOut(OFFSET)
    count = Size()


class splice(
    Syscall,
    x86_64=275,
    generic=76,
    since="2.6.17",
    blocks=True,
    returns=show_long,
    moves=Moves.IN,
    errors="EAGAIN ENOMEM EINVAL",
):
    """splice data to/from a pipe"""

    fd_in = Fd()
    off_in = InOut(OFFSET, before_only=True)
    fd_out = Fd()
    off_out = InOut(OFFSET, before_only=True)
    len = Size()
    flags = Chosen(SPLICE)


class tee(
    Syscall,
    x86_64=276,
    generic=77,
    since="2.6.17",
    blocks=True,
    returns=show_long,
    moves=Moves.IN,
    errors="EAGAIN ENOMEM",
):
    """duplicate pipe content"""

    fd_in = Fd()
    fd_out = Fd()
    len = Size()
    flags = Chosen(SPLICE)


class vmsplice(
    Syscall,
    x86_64=278,
    generic=75,
    since="2.6.17",
    runs=Runs.BORROW,
    blocks=True,
    support=Support.PARTIAL,
    caveat="made by the program on a borrowed descriptor, because its pages go into the pipe",
    returns=show_long,
    moves=Moves.OUT,
):
    """splice user pages to/from a pipe"""

    fd = Fd()
    iov = Pointer()
    nr_segs = Size()
    flags = Chosen(SPLICE)


class copy_file_range(
    Syscall,
    x86_64=326,
    generic=285,
    since="4.5",
    blocks=True,
    returns=show_long,
    moves=Moves.IN,
    errors="EIO ENOSPC EXDEV ENOMEM EINVAL",
):
    """copy a range of data from one file to another"""

    fd_in = Fd()
    off_in = InOut(OFFSET, before_only=True)
    fd_out = Fd()
    off_out = InOut(OFFSET, before_only=True)
    size = Size()
    flags = Value(show_size)

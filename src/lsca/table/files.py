# SPDX-License-Identifier: Apache-2.0
"""Opening, closing, sizing and syncing files."""

from typing import Final

from lsca.table.arguments import Chosen, DirFd, Fd, In, Mode, Offset, Path, Size, String, Unsigned
from lsca.table.constants import Enum, Flags
from lsca.table.effects import OPENS, Does, Posts, by, new
from lsca.table.layouts import Layout, Struct, whole
from lsca.table.syscall import Support, Syscall
from lsca.table.text import Piece, View, show_long, show_octal

ACCESS_MODES: Final = Enum("O_RDONLY O_WRONLY O_RDWR O_ACCMODE")
_OPEN_HEAD: Final = (
    "O_CREAT=0o100 O_EXCL=0o200 O_NOCTTY=0o400 O_TRUNC=0o1000 O_APPEND=0o2000 O_NONBLOCK=0o4000 "
    "O_SYNC=0o4010000 O_DSYNC=0o10000 FASYNC=0o20000 "
)
_OPEN_TAIL: Final = " O_NOATIME=0o1000000 O_CLOEXEC=0o2000000 O_PATH=0o10000000 "
OPEN_FLAGS: Final = Flags(
    f"{_OPEN_HEAD}O_DIRECT=0o40000 O_LARGEFILE=0o100000 O_NOFOLLOW=0o400000{_OPEN_TAIL}"
    "O_TMPFILE=0o20200000 O_DIRECTORY=0o200000",
    base=ACCESS_MODES,
    mask=3,
    others={
        "aarch64": f"{_OPEN_HEAD}O_DIRECT=0o200000 O_LARGEFILE=0o400000 O_NOFOLLOW=0o100000"
        f"{_OPEN_TAIL}O_TMPFILE=0o20040000 O_DIRECTORY=0o40000"
    },
)
RESOLVE: Final = Flags(
    "RESOLVE_NO_XDEV=1 RESOLVE_NO_MAGICLINKS RESOLVE_NO_SYMLINKS RESOLVE_BENEATH "
    "RESOLVE_IN_ROOT RESOLVE_CACHED"
)
SEEK: Final = Enum("SEEK_SET SEEK_CUR SEEK_END SEEK_DATA SEEK_HOLE", unknown="SEEK_???")
FALLOC: Final = Flags(
    "FALLOC_FL_KEEP_SIZE=1 FALLOC_FL_PUNCH_HOLE FALLOC_FL_NO_HIDE_STALE FALLOC_FL_COLLAPSE_RANGE "
    "FALLOC_FL_ZERO_RANGE FALLOC_FL_INSERT_RANGE FALLOC_FL_UNSHARE_RANGE FALLOC_FL_WRITE_ZEROES"
)
ADVICE: Final = Enum(
    "POSIX_FADV_NORMAL POSIX_FADV_RANDOM POSIX_FADV_SEQUENTIAL POSIX_FADV_WILLNEED "
    "POSIX_FADV_DONTNEED POSIX_FADV_NOREUSE",
    unknown="POSIX_FADV_???",
)
SYNC_RANGE: Final = Flags(
    "SYNC_FILE_RANGE_WAIT_BEFORE=1 SYNC_FILE_RANGE_WRITE SYNC_FILE_RANGE_WAIT_AFTER"
)
CLOSE_RANGE: Final = Flags("CLOSE_RANGE_UNSHARE=2 CLOSE_RANGE_CLOEXEC=4")
MEMFD: Final = Flags("MFD_CLOEXEC=1 MFD_ALLOW_SEALING MFD_HUGETLB MFD_NOEXEC_SEAL=8 MFD_EXEC=0x10")
MEMFD_SECRET: Final = Flags("FD_CLOEXEC=0o2000000")
O_TMPFILE_BIT: Final = 0o20000000

_OPEN_HOW: Final = Struct(
    "open_how",
    {"flags": ("Q", OPEN_FLAGS), "mode": ("Q", show_octal), "resolve": ("Q", RESOLVE)},
)


def _show_open_how(piece: Piece, view: View) -> str:
    """The mode only where there is one, or a file may be made with it."""
    values = _OPEN_HOW.values(piece.data, view.machine)
    creating = int(values.get("flags", 0)) & (OPEN_FLAGS["O_CREAT"] | O_TMPFILE_BIT)
    text = _OPEN_HOW(piece, view)
    return text if creating or values.get("mode") else text.replace(", mode=000", "")


OPEN_HOW: Final = Layout("struct open_how", whole(_OPEN_HOW).size, _show_open_how)


def creates(view: View) -> bool:
    """Whether open's mode counts."""
    return bool(view.value("flags") & (OPEN_FLAGS["O_CREAT"] | O_TMPFILE_BIT))


class open(
    Syscall,
    x86_64=2,
    blocks=True,
    new_fd=True,
    effect=OPENS,
    errors="EACCES ENOENT EMFILE ENFILE ENOSPC EROFS EIO EINTR",
):
    """open and possibly create a file"""

    pathname = Path()
    flags = Chosen(OPEN_FLAGS)
    mode = Mode(when=creates)


class openat(
    Syscall,
    x86_64=257,
    generic=56,
    since="2.6.16",
    blocks=True,
    new_fd=True,
    effect=OPENS,
    errors="EACCES ENOENT EMFILE ENFILE ENOSPC EROFS EIO EINTR",
):
    """open and possibly create a file"""

    dirfd = DirFd()
    pathname = Path()
    flags = Chosen(OPEN_FLAGS)
    mode = Mode(when=creates)


class openat2(
    Syscall,
    x86_64=437,
    generic=437,
    since="5.6",
    blocks=True,
    new_fd=True,
    effect=OPENS,
    errors="EACCES ENOENT EMFILE ENFILE ENOSPC EROFS EIO EINTR",
    posts=Posts.OPENS,
):
    """open and possibly create a file (extended)"""

    dirfd = DirFd()
    pathname = Path()
    how = In(OPEN_HOW, length="size")
    size = Size()


class creat(
    Syscall,
    x86_64=85,
    blocks=True,
    new_fd=True,
    effect=OPENS,
    errors="EACCES ENOENT EMFILE ENFILE ENOSPC EROFS EIO EINTR",
    posts=Posts.OPENS,
):
    """create a file or rewrite an existing one"""

    pathname = Path()
    mode = Mode()


class close(
    Syscall,
    x86_64=3,
    generic=57,
    blocks=True,
    effect=by(Does.CLOSES, "fd"),
    errors="EIO EINTR ENOSPC",
    posts=Posts.CLOSES,
):
    """close a file descriptor"""

    fd = Fd()


class close_range(
    Syscall,
    x86_64=436,
    generic=436,
    since="5.9",
    effect=by(Does.CLOSES_RANGE, "first", "last", "flags"),
    posts=Posts.RANGES,
):
    """close all file descriptors in a given range"""

    first = Unsigned()
    last = Unsigned()
    flags = Chosen(CLOSE_RANGE)


class lseek(
    Syscall, x86_64=8, generic=62, returns=show_long, errors="ESPIPE EINVAL", posts=Posts.MOVES
):
    """reposition read/write file offset"""

    fd = Fd()
    offset = Offset()
    whence = Chosen(SEEK)


class truncate(Syscall, x86_64=76, generic=45, blocks=True, errors="EIO EACCES EFBIG ENOSPC"):
    """truncate a file to a specified length"""

    path = Path()
    length = Offset()


class ftruncate(
    Syscall, x86_64=77, generic=46, blocks=True, errors="EIO EFBIG EINTR ENOSPC", posts=Posts.LOOKS
):
    """truncate a file to a specified length"""

    fd = Fd()
    length = Offset()


class fallocate(
    Syscall,
    x86_64=285,
    generic=47,
    since="2.6.23",
    blocks=True,
    errors="ENOSPC EIO EOPNOTSUPP EINTR",
    posts=Posts.LOOKS,
):
    """manipulate file space"""

    fd = Fd()
    mode = Chosen(FALLOC)
    offset = Offset()
    len = Offset()


class fadvise64(Syscall, x86_64=221, generic=223, posts=Posts.LOOKS):
    """predeclare an access pattern for file data"""

    fd = Fd()
    offset = Offset()
    len = Size()
    advice = Chosen(ADVICE)


class readahead(Syscall, x86_64=187, generic=213, posts=Posts.LOOKS):
    """initiate file readahead into page cache"""

    fd = Fd()
    offset = Offset()
    count = Size()


class sync(Syscall, x86_64=162, generic=81, blocks=True, posts=Posts.ALL):
    """commit filesystem caches to disk"""


class syncfs(
    Syscall,
    x86_64=306,
    generic=267,
    since="2.6.39",
    blocks=True,
    errors="EIO ENOSPC",
    posts=Posts.ALL,
):
    """commit the filesystem that contains an open file to disk"""

    fd = Fd()


class fsync(
    Syscall, x86_64=74, generic=82, blocks=True, errors="EIO ENOSPC EDQUOT EINTR", posts=Posts.SYNCS
):
    """synchronize a file's in-core state with storage device"""

    fd = Fd()


class fdatasync(
    Syscall, x86_64=75, generic=83, blocks=True, errors="EIO ENOSPC EDQUOT EINTR", posts=Posts.SYNCS
):
    """synchronize a file's in-core data with storage device"""

    fd = Fd()


class sync_file_range(
    Syscall,
    x86_64=277,
    generic=84,
    since="2.6.17",
    blocks=True,
    errors="EIO ENOSPC",
    posts=Posts.SYNCS,
):
    """sync a file segment with disk"""

    fd = Fd()
    offset = Offset()
    nbytes = Offset()
    flags = Chosen(SYNC_RANGE)


class memfd_create(
    Syscall,
    x86_64=319,
    generic=279,
    since="3.17",
    new_fd=True,
    effect=new("/memfd:{} (deleted)", "uname"),
    errors="EMFILE ENFILE ENOMEM",
):
    """create an anonymous file"""

    uname = String()
    flags = Chosen(MEMFD)


class memfd_secret(
    Syscall,
    x86_64=447,
    generic=447,
    since="5.14",
    new_fd=True,
    support=Support.PARTIAL,
    caveat="the pages are secret from everyone but those who map the descriptor, the proxy included",
    effect=new("/secretmem (deleted)"),
):
    """create an anonymous RAM-based file to access secret memory regions"""

    flags = Chosen(MEMFD_SECRET)

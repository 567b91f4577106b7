# SPDX-License-Identifier: Apache-2.0
"""Names in the file system: links, directories, the working and the root directory."""

from typing import Final

from lsca.table.arguments import (
    Chosen,
    DirFd,
    Fd,
    In,
    Int,
    Mode,
    Out,
    Path,
    Pointer,
    Size,
    String,
    Unsigned,
    Value,
)
from lsca.table.constants import Enum, Flags
from lsca.table.effects import CHDIR, UNKNOWN, Does, Names, Posts, by
from lsca.table.files import OPEN_FLAGS
from lsca.table.layouts import BYTES, Layout, number, opaque
from lsca.table.syscall import Runs, Support, Syscall
from lsca.table.text import Piece, View, quote, show_address, show_device, show_int, show_octal

ACCESS: Final = Flags("R_OK=4 W_OK=2 X_OK=1", zero="F_OK")
FILE_TYPES: Final = Enum(
    "S_IFIFO=0o10000 S_IFCHR=0o20000 S_IFDIR=0o40000 S_IFBLK=0o60000 S_IFREG=0o100000 "
    "S_IFLNK=0o120000 S_IFSOCK=0o140000"
)
TYPE_MASK: Final = 0o170000
AT_FLAGS: Final = Flags(
    "AT_SYMLINK_NOFOLLOW=0x100 AT_REMOVEDIR=0x200 AT_SYMLINK_FOLLOW=0x400 AT_NO_AUTOMOUNT=0x800 "
    "AT_EMPTY_PATH=0x1000 AT_STATX_FORCE_SYNC=0x2000 AT_STATX_DONT_SYNC=0x4000 AT_RECURSIVE=0x8000"
)
ACCESS_AT: Final = Flags("AT_SYMLINK_NOFOLLOW=0x100 AT_EACCESS=0x200 AT_EMPTY_PATH=0x1000")
HANDLE_AT: Final = Flags(
    "AT_HANDLE_MNT_ID_UNIQUE=1 AT_HANDLE_CONNECTABLE=2 AT_HANDLE_FID=0x200 "
    "AT_SYMLINK_FOLLOW=0x400 AT_EMPTY_PATH=0x1000"
)
RENAME: Final = Flags("RENAME_NOREPLACE=1 RENAME_EXCHANGE RENAME_WHITEOUT")
MOUNT_ID: Final = number("int", "i", show_int)


def show_mode(value: int, view: View) -> str:
    """A mode with its type: S_IFREG|0644."""
    kind = FILE_TYPES.name(value & TYPE_MASK)
    rest = show_octal(value & ~TYPE_MASK, view)
    return f"{kind}|{rest}" if kind else show_octal(value, view)


def _show_entries(piece: Piece, view: View) -> str:
    """How many entries a buffer of getdents64 holds, or of how many bytes where not all of them were kept."""
    data, at, count = piece.data, 0, 0
    address = show_address(view.args[1], view)
    if len(data) < piece.full:
        return f"{address} /* {piece.full} bytes of entries */"
    while at + 18 <= len(data):
        size = int.from_bytes(data[at + 16 : at + 18], "little")
        if not size:
            break
        at += size
        count += 1
    return f"{address} /* {count} entr{'y' if count == 1 else 'ies'} */"


def _show_target(piece: Piece, view: View) -> str:
    return quote(piece.data, piece.full, view.strings, view.hex)


def _show_directory(piece: Piece, view: View) -> str:
    text = piece.data.split(b"\0")[0]
    cut = piece.full > len(piece.data)
    return quote(text, len(text) + cut, None, view.hex)


ENTRIES: Final = Layout("struct linux_dirent[]", BYTES.size, _show_entries)
TARGET: Final = Layout("char[]", BYTES.size, _show_target)
DIRECTORY: Final = Layout("char[]", BYTES.size, _show_directory)


class access(Syscall, x86_64=21, errors="EACCES ENOENT"):
    """check user's permissions for a file"""

    pathname = Path()
    mode = Chosen(ACCESS)


class faccessat(Syscall, x86_64=269, generic=48, since="2.6.16", errors="EACCES ENOENT"):
    """check user's permissions for a file"""

    dirfd = DirFd()
    pathname = Path()
    mode = Chosen(ACCESS)


class faccessat2(Syscall, x86_64=439, generic=439, since="5.8", errors="EACCES ENOENT"):
    """check user's permissions for a file, with flags"""

    dirfd = DirFd()
    pathname = Path()
    mode = Chosen(ACCESS)
    flags = Chosen(ACCESS_AT)


class readlink(Syscall, x86_64=89, errors="EACCES ENOENT EIO ENOMEM"):
    """read value of a symbolic link"""

    pathname = Path()
    buf = Out(TARGET, length="bufsiz", filled=True)
    bufsiz = Int()


class readlinkat(
    Syscall, x86_64=267, generic=78, since="2.6.16", errors="EACCES ENOENT EIO ENOMEM"
):
    """read value of a symbolic link"""

    dirfd = DirFd()
    pathname = Path()
    buf = Out(TARGET, length="bufsiz", filled=True)
    bufsiz = Int()


class symlink(Syscall, x86_64=88, second="target", errors="EACCES EEXIST ENOSPC EIO EROFS"):
    """make a new name for a file"""

    target = String()
    linkpath = Path()


class symlinkat(
    Syscall,
    x86_64=266,
    generic=36,
    since="2.6.16",
    second="target",
    errors="EACCES EEXIST ENOSPC EIO EROFS",
):
    """make a new name for a file"""

    target = String()
    newdirfd = DirFd()
    linkpath = Path()


class link(Syscall, x86_64=86, errors="EACCES EEXIST EXDEV EMLINK ENOSPC EIO", names=Names.ALL):
    """make a new name for a file"""

    oldpath = Path()
    newpath = Path()


class linkat(
    Syscall,
    x86_64=265,
    generic=37,
    since="2.6.16",
    errors="EACCES EEXIST EXDEV EMLINK ENOSPC EIO",
    names=Names.ALL,
):
    """make a new name for a file"""

    olddirfd = DirFd()
    oldpath = Path()
    newdirfd = DirFd()
    newpath = Path()
    flags = Chosen(AT_FLAGS)


class unlink(Syscall, x86_64=87, errors="EACCES ENOENT EIO EROFS", names=Names.ALL):
    """delete a name and possibly the file it refers to"""

    pathname = Path()


class unlinkat(
    Syscall,
    x86_64=263,
    generic=35,
    since="2.6.16",
    errors="EACCES ENOENT EIO EROFS",
    names=Names.ALL,
):
    """delete a name and possibly the file it refers to"""

    dirfd = DirFd()
    pathname = Path()
    flags = Chosen(AT_FLAGS)


class rename(Syscall, x86_64=82, errors="EACCES ENOENT ENOSPC EXDEV EIO", names=Names.ALL):
    """change the name or location of a file"""

    oldpath = Path()
    newpath = Path()


class renameat(
    Syscall,
    x86_64=264,
    generic=38,
    since="2.6.16",
    errors="EACCES ENOENT ENOSPC EXDEV EIO",
    names=Names.ALL,
):
    """change the name or location of a file"""

    olddirfd = DirFd()
    oldpath = Path()
    newdirfd = DirFd()
    newpath = Path()


class renameat2(
    Syscall,
    x86_64=316,
    generic=276,
    since="3.15",
    errors="EACCES ENOENT ENOSPC EXDEV EIO",
    names=Names.ALL,
):
    """change the name or location of a file, with flags"""

    olddirfd = DirFd()
    oldpath = Path()
    newdirfd = DirFd()
    newpath = Path()
    flags = Chosen(RENAME)


class mkdir(Syscall, x86_64=83, errors="EACCES EEXIST ENOENT ENOSPC EROFS"):
    """create a directory"""

    pathname = Path()
    mode = Mode()


class mkdirat(
    Syscall, x86_64=258, generic=34, since="2.6.16", errors="EACCES EEXIST ENOENT ENOSPC EROFS"
):
    """create a directory"""

    dirfd = DirFd()
    pathname = Path()
    mode = Mode()


class rmdir(Syscall, x86_64=84, errors="EACCES ENOENT ENOTEMPTY EIO", names=Names.ALL):
    """delete a directory"""

    pathname = Path()


class mknod(Syscall, x86_64=133):
    """create a special or ordinary file"""

    pathname = Path()
    mode = Value(show_mode)
    dev = Value(show_device, when=lambda view: is_device(view))


class mknodat(Syscall, x86_64=259, generic=33, since="2.6.16"):
    """create a special or ordinary file"""

    dirfd = DirFd()
    pathname = Path()
    mode = Value(show_mode)
    dev = Value(show_device, when=lambda view: is_device(view))


def is_device(view: View) -> bool:
    """Whether mknod's device number counts."""
    kind = view.value("mode") & TYPE_MASK
    return kind in (FILE_TYPES["S_IFCHR"], FILE_TYPES["S_IFBLK"])


class chdir(
    Syscall, x86_64=80, generic=49, runs=Runs.BOTH, effect=CHDIR, errors="EACCES ENOENT EIO"
):
    """change working directory"""

    path = Path()


class fchdir(
    Syscall,
    x86_64=81,
    generic=50,
    runs=Runs.BOTH,
    effect=by(Does.FCHDIR, "fd"),
    errors="EACCES",
    posts=Posts.LOOKS,
):
    """change working directory"""

    fd = Fd()


class chroot(Syscall, x86_64=161, generic=51, runs=Runs.BOTH, names=Names.ALL):
    """change root directory"""

    path = Path()


class getcwd(Syscall, x86_64=79, generic=17, classes=("file",), errors="ENOENT ENOMEM"):
    """get current working directory"""

    buf = Out(DIRECTORY, length="size", filled=True)
    size = Size()


class getdents(Syscall, x86_64=78, errors="EIO ENOENT", posts=Posts.MOVES):
    """get directory entries (old form)"""

    fd = Fd()
    dirp = Out(ENTRIES, length="count", filled=True)
    count = Unsigned()


class getdents64(Syscall, x86_64=217, generic=61, errors="EIO ENOENT", posts=Posts.MOVES):
    """get directory entries"""

    fd = Fd()
    dirp = Out(ENTRIES, length="count", filled=True)
    count = Unsigned()


class name_to_handle_at(
    Syscall,
    x86_64=303,
    generic=264,
    since="2.6.39",
    runs=Runs.BORROW,
    support=Support.PARTIAL,
    caveat="made by the program on a borrowed directory; the handle is logged as an address",
):
    """obtain handle for a pathname"""

    dirfd = DirFd()
    pathname = Path()
    handle = Pointer()
    mount_id = Out(MOUNT_ID)
    flags = Chosen(HANDLE_AT)


class open_by_handle_at(
    Syscall,
    x86_64=304,
    generic=265,
    since="2.6.39",
    blocks=True,
    new_fd=True,
    support=Support.PARTIAL,
    caveat="reads as many bytes as the largest handle has, 136; the log shows them as they are",
    effect=UNKNOWN,
    posts=Posts.OPENS,
):
    """open file via a handle"""

    mount_fd = DirFd()
    handle = In(opaque("file_handle", 136))
    flags = Chosen(OPEN_FLAGS)

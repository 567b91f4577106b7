# SPDX-License-Identifier: Apache-2.0
"""What is known of a file besides its contents: type, size, owner, permissions, times, and its file system."""

from collections.abc import Mapping
from typing import Final

from lsca.table.arguments import (
    Chosen,
    DirFd,
    Fd,
    Id,
    In,
    Mask,
    Mode,
    Out,
    Path,
    Size,
    Unsigned,
    Value,
)
from lsca.table.clocks import TIMESPEC, TIMESPEC_STRUCT, TIMEVAL_STRUCT
from lsca.table.constants import Flags
from lsca.table.effects import Posts
from lsca.table.layouts import Layout, Struct, array, fixed, one, opaque, whole
from lsca.table.paths import AT_FLAGS, FILE_TYPES, TYPE_MASK, show_mode
from lsca.table.syscall import Runs, Support, Syscall
from lsca.table.text import (
    Piece,
    View,
    show_bit_octal,
    show_device,
    show_hex,
    signed,
)

STATX_MASK: Final = Flags(
    "STATX_ALL=0xfff STATX_BASIC_STATS=0x7ff STATX_TYPE=1 STATX_MODE STATX_NLINK STATX_UID "
    "STATX_GID STATX_ATIME STATX_MTIME STATX_CTIME STATX_INO STATX_SIZE STATX_BLOCKS STATX_BTIME "
    "STATX_MNT_ID STATX_DIOALIGN STATX_MNT_ID_UNIQUE STATX_SUBVOL STATX_WRITE_ATOMIC "
    "STATX_DIO_READ_ALIGN"
)
STATX_ATTRIBUTES: Final = Flags(
    "STATX_ATTR_COMPRESSED=0x4 STATX_ATTR_IMMUTABLE=0x10 STATX_ATTR_APPEND=0x20 "
    "STATX_ATTR_NODUMP=0x40 STATX_ATTR_ENCRYPTED=0x800 STATX_ATTR_AUTOMOUNT=0x1000 "
    "STATX_ATTR_MOUNT_ROOT=0x2000 STATX_ATTR_VERITY=0x100000 STATX_ATTR_DAX=0x200000"
)
STATFS_FLAGS: Final = Flags(
    "ST_VALID=0x20 ST_RDONLY=1 ST_NOSUID=2 ST_NODEV=4 ST_NOEXEC=8 ST_SYNCHRONOUS=0x10 "
    "ST_MANDLOCK=0x40 ST_NOATIME=0x400 ST_NODIRATIME=0x800 ST_RELATIME=0x1000 ST_NOSYMFOLLOW=0x2000"
)
FILE_SYSTEMS: Final = {
    0xEF53: "EXT2_SUPER_MAGIC",
    0x58465342: "XFS_SUPER_MAGIC",
    0x9123683E: "BTRFS_SUPER_MAGIC",
    0x01021994: "TMPFS_MAGIC",
    0x9FA0: "PROC_SUPER_MAGIC",
    0x62656572: "SYSFS_MAGIC",
    0x794C7630: "OVERLAYFS_SUPER_MAGIC",
    0x1CD1: "DEVPTS_SUPER_MAGIC",
    0x27E0EB: "CGROUP_SUPER_MAGIC",
    0x63677270: "CGROUP2_SUPER_MAGIC",
    0x6969: "NFS_SUPER_MAGIC",
    0x65735546: "FUSE_SUPER_MAGIC",
    0x50495045: "PIPEFS_MAGIC",
    0x534F434B: "SOCKFS_MAGIC",
    0x73717368: "SQUASHFS_MAGIC",
    0x4D44: "MSDOS_SUPER_MAGIC",
    0x01021997: "V9FS_MAGIC",
    0x2FC12FC1: "ZFS_SUPER_MAGIC",
    0x858458F6: "RAMFS_MAGIC",
}
UTIME_NOW: Final = 0x3FFFFFFF
UTIME_OMIT: Final = 0x3FFFFFFE

_TIMES: Final = {"st_atim": TIMESPEC_STRUCT, "st_mtim": TIMESPEC_STRUCT, "st_ctim": TIMESPEC_STRUCT}
_STAT: Final = Struct(
    "stat",
    {
        "st_dev": "Q",
        "st_ino": "Q",
        "st_nlink": "Q",
        "st_mode": "I",
        "st_uid": "I",
        "st_gid": "I",
        "_pad": "I",
        "st_rdev": "Q",
        "st_size": "q",
        "st_blksize": "q",
        "st_blocks": "q",
        **_TIMES,
        "_unused": "24s",
    },
    machines={
        "aarch64": {
            "st_dev": "Q",
            "st_ino": "Q",
            "st_mode": "I",
            "st_nlink": "I",
            "st_uid": "I",
            "st_gid": "I",
            "st_rdev": "Q",
            "_pad1": "Q",
            "st_size": "q",
            "st_blksize": "i",
            "_pad2": "i",
            "st_blocks": "q",
            **_TIMES,
            "_unused": "8s",
        }
    },
)
_STATX_TIME: Final = Struct("statx_timestamp", {"tv_sec": "q", "tv_nsec": "I", "_pad": "i"})


def _show_stat(piece: Piece, view: View) -> str:
    """As strace does: {st_mode=S_IFREG|0644, st_size=12, ...}."""
    values = _STAT.values(piece.data, view.machine)
    mode, size, device = (values.get(name) for name in ("st_mode", "st_size", "st_rdev"))
    if not isinstance(mode, int) or not isinstance(size, int) or not isinstance(device, int):
        return "{...}"
    if view.whole:
        return _show_whole_stat(values, view)
    if mode & TYPE_MASK in (FILE_TYPES["S_IFCHR"], FILE_TYPES["S_IFBLK"]):
        detail = f"st_rdev={show_device(device, view)}"
    else:
        detail = f"st_size={size}"
    return f"{{st_mode={show_mode(mode, view)}, {detail}, ...}}"


def _show_whole_stat(values: Mapping[str, int | bytes], view: View) -> str:
    """All members, in strace's order."""
    names = ("st_ino", "st_mode", "st_nlink", "st_uid", "st_gid", "st_blksize", "st_blocks")
    parts = [f"st_dev={show_device(int(values['st_dev']), view)}"]
    for name in names:
        value = int(values[name])
        parts.append(f"{name}={show_mode(value, view) if name == 'st_mode' else value}")
    if int(values["st_mode"]) & TYPE_MASK in (FILE_TYPES["S_IFCHR"], FILE_TYPES["S_IFBLK"]):
        parts.append(f"st_rdev={show_device(int(values['st_rdev']), view)}")
    else:
        parts.append(f"st_size={values['st_size']!s}")
    for name in ("atime", "mtime", "ctime"):
        moment = values[f"st_{name[:-1]}"]
        assert isinstance(moment, bytes)
        time = TIMESPEC_STRUCT.values(moment, view.machine)
        parts.append(f"st_{name}={time['tv_sec']!s}, st_{name}_nsec={time['tv_nsec']!s}")
    return "{" + ", ".join(parts) + "}"


def _show_magic(value: int, view: View) -> str:
    return FILE_SYSTEMS.get(value) or show_hex(value, view)


def _show_moment(value: int, view: View) -> str:
    names = {UTIME_NOW: "UTIME_NOW", UTIME_OMIT: "UTIME_OMIT"}
    return names.get(value) or str(signed(value, 64))


def _show_times(piece: Piece, view: View) -> str:
    """utimensat's two moments; UTIME_NOW and UTIME_OMIT stand alone."""
    texts = []
    for at in (0, 16):
        values = TIMESPEC_STRUCT.values(piece.data[at : at + 16], view.machine)
        moment = values.get("tv_nsec")
        if moment in (UTIME_NOW, UTIME_OMIT):
            texts.append(_show_moment(int(moment), view))
        else:
            texts.append(TIMESPEC_STRUCT(Piece(piece.data[at : at + 16], 16), view))
    return "[" + ", ".join(texts) + "]"


STAT: Final = Layout("struct stat", _STAT.size, _show_stat, shape=_STAT)
STATX: Final = one(
    Struct(
        "statx",
        {
            "stx_mask": ("I", STATX_MASK),
            "stx_blksize": "I",
            "stx_attributes": ("Q", STATX_ATTRIBUTES),
            "stx_nlink": "I",
            "stx_uid": "I",
            "stx_gid": "I",
            "stx_mode": ("H", show_mode),
            "_spare0": "H",
            "stx_ino": "Q",
            "stx_size": "Q",
            "stx_blocks": "Q",
            "stx_attributes_mask": "Q",
            "stx_atime": _STATX_TIME,
            "stx_btime": _STATX_TIME,
            "stx_ctime": _STATX_TIME,
            "stx_mtime": _STATX_TIME,
            "_rest": "128s",
        },
        brief=("stx_mask", "stx_attributes", "stx_mode", "stx_size"),
    )
)
STATFS: Final = one(
    Struct(
        "statfs",
        {
            "f_type": ("Q", _show_magic),
            "f_bsize": "q",
            "f_blocks": "Q",
            "f_bfree": "Q",
            "f_bavail": "Q",
            "f_files": "Q",
            "f_ffree": "Q",
            "f_fsid": (
                "Q",
                lambda value, view: f"{{val=[{value & 0xFFFFFFFF:#x}, {value >> 32:#x}]}}",
            ),
            "f_namelen": "q",
            "f_frsize": "q",
            "f_flags": ("q", STATFS_FLAGS),
            "_spare": "32s",
        },
    )
)
USTAT: Final = opaque("ustat", 32)
UTIMBUF: Final = one(Struct("utimbuf", {"actime": "q", "modtime": "q"}))
TIMES: Final = Layout("struct timespec[2]", fixed(TIMESPEC, 2).size, _show_times)
TIMEVALS: Final = fixed(array(TIMEVAL_STRUCT), 2)
CACHESTAT_RANGE: Final = one(Struct("cachestat_range", {"off": "Q", "len": "Q"}))
CACHESTAT: Final = one(
    Struct(
        "cachestat",
        {
            "nr_cache": "Q",
            "nr_dirty": "Q",
            "nr_writeback": "Q",
            "nr_evicted": "Q",
            "nr_recently_evicted": "Q",
        },
    )
)
FILE_ATTR: Final = whole(
    Struct(
        "file_attr",
        {
            "fa_xflags": ("Q", show_hex),
            "fa_extsize": "I",
            "fa_nextents": "I",
            "fa_projid": "I",
            "fa_cowextsize": "I",
        },
    )
)


class stat(Syscall, x86_64=4, errors="EACCES ENOENT EIO ENOMEM"):
    """get file status"""

    pathname = Path()
    statbuf = Out(STAT)


class fstat(Syscall, x86_64=5, generic=80, errors="EIO ENOMEM", posts=Posts.LOOKS):
    """get file status"""

    fd = Fd()
    statbuf = Out(STAT)


class lstat(Syscall, x86_64=6, errors="EACCES ENOENT EIO ENOMEM"):
    """get file status"""

    pathname = Path()
    statbuf = Out(STAT)


class newfstatat(
    Syscall, x86_64=262, generic=79, since="2.6.16", errors="EACCES ENOENT EIO ENOMEM"
):
    """get file status"""

    dirfd = DirFd()
    pathname = Path()
    statbuf = Out(STAT)
    flags = Chosen(AT_FLAGS)


class statx(Syscall, x86_64=332, generic=291, since="4.11", errors="EACCES ENOENT EIO ENOMEM"):
    """get file status (extended)"""

    dirfd = DirFd()
    pathname = Path()
    flags = Value(lambda value, view: show_statx_flags(value, view))
    mask = Chosen(STATX_MASK)
    statxbuf = Out(STATX)


def show_statx_flags(value: int, view: View) -> str:
    """statx's flags, whose default has a name of its own."""
    if value & 0x6000:
        return AT_FLAGS(value, view)
    rest = AT_FLAGS(value, view)
    return "AT_STATX_SYNC_AS_STAT" + ("" if rest == "0" else f"|{rest}")


class statfs(Syscall, x86_64=137, generic=43, errors="EACCES ENOENT EIO ENOMEM"):
    """get filesystem statistics"""

    path = Path()
    buf = Out(STATFS)


class fstatfs(Syscall, x86_64=138, generic=44, errors="EIO ENOMEM", posts=Posts.LOOKS):
    """get filesystem statistics"""

    fd = Fd()
    buf = Out(STATFS)


class ustat(
    Syscall,
    x86_64=136,
    support=Support.PARTIAL,
    caveat="deprecated; the structure's bytes are logged as they are",
):
    """get filesystem statistics (deprecated)"""

    dev = Value(show_device)
    ubuf = Out(USTAT)


class chmod(Syscall, x86_64=90, errors="EPERM EIO EROFS"):
    """change permissions of a file"""

    pathname = Path()
    mode = Mode()


class fchmod(Syscall, x86_64=91, generic=52, errors="EPERM EIO EROFS", posts=Posts.LOOKS):
    """change permissions of a file"""

    fd = Fd()
    mode = Mode()


class fchmodat(Syscall, x86_64=268, generic=53, since="2.6.16", errors="EPERM EIO EROFS"):
    """change permissions of a file"""

    dirfd = DirFd()
    pathname = Path()
    mode = Mode()


class fchmodat2(Syscall, x86_64=452, generic=452, since="6.6"):
    """change permissions of a file, with flags"""

    dirfd = DirFd()
    pathname = Path()
    mode = Mode()
    flags = Chosen(AT_FLAGS)


class chown(Syscall, x86_64=92, errors="EPERM EIO"):
    """change ownership of a file"""

    pathname = Path()
    owner = Id()
    group = Id()


class fchown(Syscall, x86_64=93, generic=55, errors="EPERM EIO", posts=Posts.LOOKS):
    """change ownership of a file"""

    fd = Fd()
    owner = Id()
    group = Id()


class lchown(Syscall, x86_64=94, errors="EPERM EIO"):
    """change ownership of a file"""

    pathname = Path()
    owner = Id()
    group = Id()


class fchownat(Syscall, x86_64=260, generic=54, since="2.6.16", errors="EPERM EIO"):
    """change ownership of a file"""

    dirfd = DirFd()
    pathname = Path()
    owner = Id()
    group = Id()
    flags = Chosen(AT_FLAGS)


class umask(Syscall, x86_64=95, generic=166, runs=Runs.BOTH, returns=show_bit_octal):
    """set file mode creation mask"""

    mask = Mask()


class utime(Syscall, x86_64=132):
    """change file last access and modification times"""

    filename = Path()
    times = In(UTIMBUF)


class utimes(Syscall, x86_64=235):
    """change file last access and modification times"""

    filename = Path()
    times = In(TIMEVALS)


class futimesat(Syscall, x86_64=261, since="2.6.16"):
    """change timestamps of a file relative to a directory file descriptor"""

    dirfd = DirFd()
    pathname = Path()
    times = In(TIMEVALS)


class utimensat(Syscall, x86_64=280, generic=88, since="2.6.22", errors="EPERM EACCES EROFS"):
    """change file timestamps with nanosecond precision"""

    dirfd = DirFd()
    pathname = Path()
    times = In(TIMES)
    flags = Chosen(AT_FLAGS)


class cachestat(Syscall, x86_64=451, generic=451, since="6.5", posts=Posts.LOOKS):
    """query the page cache statistics of a file"""

    fd = Fd()
    range = In(CACHESTAT_RANGE)
    cachestat = Out(CACHESTAT)
    flags = Unsigned()


class file_getattr(Syscall, x86_64=468, generic=468, since="6.17"):
    """get a file's inode attributes"""

    dirfd = DirFd()
    pathname = Path()
    attr = Out(FILE_ATTR, length="size")
    size = Size()
    at_flags = Chosen(AT_FLAGS)


class file_setattr(Syscall, x86_64=469, generic=469, since="6.17"):
    """set a file's inode attributes"""

    dirfd = DirFd()
    pathname = Path()
    attr = In(FILE_ATTR, length="size")
    size = Size()
    at_flags = Chosen(AT_FLAGS)

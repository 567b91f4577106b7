# SPDX-License-Identifier: Apache-2.0
"""Mounting file systems, in the old way and with descriptors; quotas and swap."""

from typing import Final

from lsca.table.arguments import Chosen, DirFd, Fd, Hex, In, Int, Out, Path, Pointer, Size, String
from lsca.table.constants import Enum, Flags
from lsca.table.effects import OPENS, UNKNOWN, Names, new
from lsca.table.layouts import Struct, numbers, whole
from lsca.table.paths import AT_FLAGS
from lsca.table.syscall import Runs, Support, Syscall
from lsca.table.text import show_hex

MOUNT: Final = Flags(
    "MS_RDONLY=1 MS_NOSUID MS_NODEV MS_NOEXEC MS_SYNCHRONOUS MS_REMOUNT MS_MANDLOCK MS_DIRSYNC "
    "MS_NOSYMFOLLOW MS_NOATIME=0x400 MS_NODIRATIME MS_BIND MS_MOVE MS_REC MS_SILENT MS_POSIXACL "
    "MS_UNBINDABLE MS_PRIVATE MS_SLAVE MS_SHARED MS_RELATIME MS_KERNMOUNT MS_I_VERSION "
    "MS_STRICTATIME MS_LAZYTIME"
)
UMOUNT: Final = Flags("MNT_FORCE=1 MNT_DETACH MNT_EXPIRE UMOUNT_NOFOLLOW")
SWAP: Final = Flags("SWAP_FLAG_PREFER=0x8000 SWAP_FLAG_DISCARD=0x10000")
FSOPEN: Final = Flags("FSOPEN_CLOEXEC=1")
FSMOUNT: Final = Flags("FSMOUNT_CLOEXEC=1")
FSPICK: Final = Flags(
    "FSPICK_CLOEXEC=1 FSPICK_SYMLINK_NOFOLLOW FSPICK_NO_AUTOMOUNT FSPICK_EMPTY_PATH"
)
FSCONFIG: Final = Enum(
    "FSCONFIG_SET_FLAG FSCONFIG_SET_STRING FSCONFIG_SET_BINARY FSCONFIG_SET_PATH "
    "FSCONFIG_SET_PATH_EMPTY FSCONFIG_SET_FD FSCONFIG_CMD_CREATE FSCONFIG_CMD_RECONFIGURE "
    "FSCONFIG_CMD_CREATE_EXCL"
)
OPEN_TREE: Final = Flags(
    "OPEN_TREE_CLONE=1 OPEN_TREE_NAMESPACE=2 OPEN_TREE_CLOEXEC=0o2000000 AT_SYMLINK_NOFOLLOW=0x100 "
    "AT_NO_AUTOMOUNT=0x800 AT_EMPTY_PATH=0x1000 AT_RECURSIVE=0x8000"
)
MOVE_MOUNT: Final = Flags(
    "MOVE_MOUNT_F_SYMLINKS=1 MOVE_MOUNT_F_AUTOMOUNTS MOVE_MOUNT_F_EMPTY_PATH "
    "MOVE_MOUNT_T_SYMLINKS=0x10 MOVE_MOUNT_T_AUTOMOUNTS MOVE_MOUNT_T_EMPTY_PATH "
    "MOVE_MOUNT_SET_GROUP=0x100 MOVE_MOUNT_BENEATH"
)
MOUNT_ATTR: Final = Flags(
    "MOUNT_ATTR_RDONLY=1 MOUNT_ATTR_NOSUID MOUNT_ATTR_NODEV MOUNT_ATTR_NOEXEC MOUNT_ATTR_NOATIME "
    "MOUNT_ATTR_STRICTATIME MOUNT_ATTR_NODIRATIME=0x80 MOUNT_ATTR_IDMAP=0x100000 "
    "MOUNT_ATTR_NOSYMFOLLOW=0x200000"
)
QUOTA_CAVEAT: Final = "made by the program; its last argument is logged as an address"
ATTR: Final = whole(
    Struct(
        "mount_attr",
        {
            "attr_set": ("Q", MOUNT_ATTR),
            "attr_clr": ("Q", MOUNT_ATTR),
            "propagation": ("Q", MOUNT),
            "userns_fd": "Q",
        },
    )
)
MOUNT_IDS: Final = numbers("uint64_t", "Q", show_hex)


class mount(
    Syscall,
    x86_64=165,
    generic=40,
    runs=Runs.PROGRAM,
    support=Support.PARTIAL,
    caveat="made by the program, in the namespace that it shares with its proxy",
    second="source",
    names=Names.ALL,
):
    """mount filesystem"""

    source = String()
    target = Path()
    filesystemtype = String()
    mountflags = Chosen(MOUNT)
    data = Pointer()


class umount2(Syscall, x86_64=166, generic=39, blocks=True, names=Names.ALL):
    """unmount filesystem"""

    target = Path()
    flags = Chosen(UMOUNT)


class pivot_root(Syscall, x86_64=155, generic=41, runs=Runs.BOTH, names=Names.ALL):
    """change the root mount"""

    new_root = Path()
    put_old = Path()


class fsopen(
    Syscall, x86_64=430, generic=430, since="5.2", new_fd=True, effect=new("anon_inode:[fscontext]")
):
    """open a filesystem context"""

    fsname = String()
    flags = Chosen(FSOPEN)


class fsconfig(
    Syscall,
    x86_64=431,
    generic=431,
    since="5.2",
    runs=Runs.BORROW,
    blocks=True,
    support=Support.PARTIAL,
    caveat="made by the program on a borrowed descriptor; FSCONFIG_SET_FD and paths relative to a "
    "descriptor need one that the program itself has",
    classes=("file",),
):
    """configure a filesystem context"""

    fd = Fd()
    cmd = Chosen(FSCONFIG)
    key = String()
    value = Pointer()
    aux = Int()


class fsmount(Syscall, x86_64=432, generic=432, since="5.2", new_fd=True, effect=UNKNOWN):
    """create a mount from a filesystem context"""

    fsfd = Fd()
    flags = Chosen(FSMOUNT)
    attr_flags = Chosen(MOUNT_ATTR)


class fspick(
    Syscall, x86_64=433, generic=433, since="5.2", new_fd=True, effect=new("anon_inode:[fscontext]")
):
    """select a filesystem for reconfiguration"""

    dirfd = DirFd()
    path = Path()
    flags = Chosen(FSPICK)


class open_tree(Syscall, x86_64=428, generic=428, since="5.2", new_fd=True, effect=OPENS):
    """open path or create detached mount object and attach to fd"""

    dirfd = DirFd()
    path = Path()
    flags = Chosen(OPEN_TREE)


class open_tree_attr(Syscall, x86_64=467, generic=467, since="6.15", new_fd=True, effect=OPENS):
    """create a detached mount object with changed properties"""

    dirfd = DirFd()
    path = Path()
    flags = Chosen(OPEN_TREE)
    attr = In(ATTR, length="size")
    size = Size()


class move_mount(Syscall, x86_64=429, generic=429, since="5.2", names=Names.ALL):
    """move or attach mount object to filesystem"""

    from_dirfd = DirFd()
    from_path = Path()
    to_dirfd = DirFd()
    to_path = Path()
    flags = Chosen(MOVE_MOUNT)


class mount_setattr(
    Syscall,
    x86_64=442,
    generic=442,
    since="5.12",
    support=Support.PARTIAL,
    caveat="the user namespace's descriptor in the structure is the proxy's, as every descriptor is",
):
    """change properties of a mount or mount tree"""

    dirfd = DirFd()
    path = Path()
    flags = Chosen(AT_FLAGS)
    attr = In(ATTR, length="size")
    size = Size()


class statmount(
    Syscall,
    x86_64=457,
    generic=457,
    since="6.8",
    runs=Runs.PROGRAM,
    support=Support.PLAIN,
    caveat="request and answer are logged as addresses",
):
    """get mount information"""

    req = Pointer()
    buf = Pointer()
    bufsize = Size()
    flags = Hex()


class listmount(
    Syscall,
    x86_64=458,
    generic=458,
    since="6.8",
    runs=Runs.PROGRAM,
    support=Support.PLAIN,
    caveat="the request is logged as an address",
):
    """list mounts"""

    req = Pointer()
    mnt_ids = Out(MOUNT_IDS, length="nr_mnt_ids", filled=True)
    nr_mnt_ids = Size()
    flags = Hex()


class quotactl(
    Syscall,
    x86_64=179,
    generic=60,
    runs=Runs.PROGRAM,
    support=Support.PLAIN,
    caveat=QUOTA_CAVEAT,
):
    """manipulate disk quotas"""

    op = Hex()
    special = Path()
    id = Int()
    addr = Pointer()


class quotactl_fd(
    Syscall,
    x86_64=443,
    generic=443,
    since="5.14",
    runs=Runs.BORROW,
    support=Support.PLAIN,
    caveat=QUOTA_CAVEAT,
):
    """manipulate disk quotas of the filesystem that contains an open file"""

    fd = Fd()
    cmd = Hex()
    id = Int()
    addr = Pointer()


class swapon(Syscall, x86_64=167, generic=224, blocks=True):
    """start swapping to file/device"""

    path = Path()
    swapflags = Chosen(SWAP)


class swapoff(Syscall, x86_64=168, generic=225, blocks=True):
    """stop swapping to file/device"""

    path = Path()

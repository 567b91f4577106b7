# SPDX-License-Identifier: Apache-2.0
"""Extended attributes of files."""

from typing import Final

from lsca.table.arguments import Chosen, DirFd, Fd, In, Out, Path, Pointer, Size, String
from lsca.table.constants import Flags
from lsca.table.effects import Posts
from lsca.table.paths import AT_FLAGS
from lsca.table.syscall import Runs, Support, Syscall
from lsca.table.text import show_long

XATTR: Final = Flags("XATTR_CREATE=1 XATTR_REPLACE")
ARGS_CAVEAT: Final = (
    "made by the program, because the value's address stands in a structure; a path is looked up "
    "there too"
)


class setxattr(Syscall, x86_64=188, generic=5, errors="ENOSPC EOPNOTSUPP EACCES"):
    """set an extended attribute value"""

    path = Path()
    name = String()
    value = In(length="size")
    size = Size()
    flags = Chosen(XATTR)


class lsetxattr(Syscall, x86_64=189, generic=6, errors="ENOSPC EOPNOTSUPP"):
    """set an extended attribute value, of a link itself"""

    path = Path()
    name = String()
    value = In(length="size")
    size = Size()
    flags = Chosen(XATTR)


class fsetxattr(Syscall, x86_64=190, generic=7, errors="ENOSPC EOPNOTSUPP", posts=Posts.LOOKS):
    """set an extended attribute value"""

    fd = Fd()
    name = String()
    value = In(length="size")
    size = Size()
    flags = Chosen(XATTR)


class getxattr(Syscall, x86_64=191, generic=8, returns=show_long, errors="ENODATA EOPNOTSUPP"):
    """retrieve an extended attribute value"""

    path = Path()
    name = String()
    value = Out(length="size", filled=True)
    size = Size()


class lgetxattr(Syscall, x86_64=192, generic=9, returns=show_long):
    """retrieve an extended attribute value, of a link itself"""

    path = Path()
    name = String()
    value = Out(length="size", filled=True)
    size = Size()


class fgetxattr(Syscall, x86_64=193, generic=10, returns=show_long, posts=Posts.LOOKS):
    """retrieve an extended attribute value"""

    fd = Fd()
    name = String()
    value = Out(length="size", filled=True)
    size = Size()


class listxattr(Syscall, x86_64=194, generic=11, returns=show_long):
    """list extended attribute names"""

    path = Path()
    list = Out(length="size", filled=True)
    size = Size()


class llistxattr(Syscall, x86_64=195, generic=12, returns=show_long):
    """list extended attribute names, of a link itself"""

    path = Path()
    list = Out(length="size", filled=True)
    size = Size()


class flistxattr(Syscall, x86_64=196, generic=13, returns=show_long, posts=Posts.LOOKS):
    """list extended attribute names"""

    fd = Fd()
    list = Out(length="size", filled=True)
    size = Size()


class removexattr(Syscall, x86_64=197, generic=14):
    """remove an extended attribute"""

    path = Path()
    name = String()


class lremovexattr(Syscall, x86_64=198, generic=15):
    """remove an extended attribute, of a link itself"""

    path = Path()
    name = String()


class fremovexattr(Syscall, x86_64=199, generic=16, posts=Posts.LOOKS):
    """remove an extended attribute"""

    fd = Fd()
    name = String()


class setxattrat(
    Syscall,
    x86_64=463,
    generic=463,
    since="6.13",
    runs=Runs.BORROW,
    support=Support.PARTIAL,
    caveat=ARGS_CAVEAT,
):
    """set an extended attribute value relative to a directory"""

    dirfd = DirFd()
    path = Path()
    at_flags = Chosen(AT_FLAGS)
    name = String()
    args: int = Pointer()  # type: ignore[assignment] # hides the registers
    size = Size()


class getxattrat(
    Syscall,
    x86_64=464,
    generic=464,
    since="6.13",
    runs=Runs.BORROW,
    support=Support.PARTIAL,
    caveat=ARGS_CAVEAT,
    returns=show_long,
):
    """retrieve an extended attribute value relative to a directory"""

    dirfd = DirFd()
    path = Path()
    at_flags = Chosen(AT_FLAGS)
    name = String()
    args: int = Pointer()  # type: ignore[assignment] # hides the registers
    size = Size()


class listxattrat(Syscall, x86_64=465, generic=465, since="6.13", returns=show_long):
    """list extended attribute names relative to a directory"""

    dirfd = DirFd()
    path = Path()
    at_flags = Chosen(AT_FLAGS)
    list = Out(length="size", filled=True)
    size = Size()


class removexattrat(Syscall, x86_64=466, generic=466, since="6.13"):
    """remove an extended attribute relative to a directory"""

    dirfd = DirFd()
    path = Path()
    at_flags = Chosen(AT_FLAGS)
    name = String()

# SPDX-License-Identifier: Apache-2.0
"""Numbers that are taken, for calls that Linux no longer has on these machines, or never had: they answer ENOSYS."""

from typing import Final

from lsca.table.arguments import Hex, Int, Pointer, Size
from lsca.table.syscall import Runs, Support, Syscall

CAVEAT: Final = "Linux answers ENOSYS on this machine, or has done so since the call was removed"


class uselib(
    Syscall,
    x86_64=134,
    runs=Runs.PROGRAM,
    support=Support.GONE,
    caveat=CAVEAT,
    classes=("file",),
):
    """load shared library"""

    library = Pointer()


class _sysctl(
    Syscall,
    x86_64=156,
    runs=Runs.PROGRAM,
    support=Support.GONE,
    caveat=CAVEAT,
):
    """read/write system parameters"""

    args: int = Pointer()  # type: ignore[assignment] # hides the registers


class create_module(
    Syscall,
    x86_64=174,
    runs=Runs.PROGRAM,
    support=Support.GONE,
    caveat=CAVEAT,
):
    """create a loadable module entry"""

    name = Pointer()
    size = Size()


class get_kernel_syms(
    Syscall,
    x86_64=177,
    runs=Runs.PROGRAM,
    support=Support.GONE,
    caveat=CAVEAT,
):
    """retrieve exported kernel and module symbols"""

    table = Pointer()


class query_module(
    Syscall,
    x86_64=178,
    runs=Runs.PROGRAM,
    support=Support.GONE,
    caveat=CAVEAT,
):
    """query the kernel for various bits pertaining to modules"""

    name = Pointer()
    which = Int()
    buf = Pointer()
    bufsize = Size()
    ret = Pointer()


class nfsservctl(
    Syscall,
    x86_64=180,
    generic=42,
    runs=Runs.PROGRAM,
    support=Support.GONE,
    caveat=CAVEAT,
):
    """interface to the kernel NFS daemon"""

    cmd = Int()
    argp = Pointer()
    resp = Pointer()


class getpmsg(
    Syscall,
    x86_64=181,
    runs=Runs.PROGRAM,
    support=Support.GONE,
    caveat=CAVEAT,
    classes=("network",),
):
    """receive a STREAMS message"""


class putpmsg(
    Syscall,
    x86_64=182,
    runs=Runs.PROGRAM,
    support=Support.GONE,
    caveat=CAVEAT,
    classes=("network",),
):
    """send a STREAMS message"""


class afs_syscall(
    Syscall,
    x86_64=183,
    runs=Runs.PROGRAM,
    support=Support.GONE,
    caveat=CAVEAT,
):
    """call of the Andrew file system"""


class tuxcall(
    Syscall,
    x86_64=184,
    runs=Runs.PROGRAM,
    support=Support.GONE,
    caveat=CAVEAT,
):
    """call of the TUX web server"""


class security(
    Syscall,
    x86_64=185,
    runs=Runs.PROGRAM,
    support=Support.GONE,
    caveat=CAVEAT,
):
    """call of early security modules"""


class set_thread_area(
    Syscall,
    x86_64=205,
    runs=Runs.PROGRAM,
    support=Support.GONE,
    caveat=CAVEAT,
):
    """set a GDT entry for thread-local storage"""

    u_info = Pointer()


class get_thread_area(
    Syscall,
    x86_64=211,
    runs=Runs.PROGRAM,
    support=Support.GONE,
    caveat=CAVEAT,
):
    """get a GDT entry for thread-local storage"""

    u_info = Pointer()


class lookup_dcookie(
    Syscall,
    x86_64=212,
    generic=18,
    runs=Runs.PROGRAM,
    support=Support.GONE,
    caveat=CAVEAT,
):
    """return a directory entry's path"""

    cookie = Hex()
    buffer = Pointer()
    len = Size()


class epoll_ctl_old(
    Syscall,
    x86_64=214,
    runs=Runs.PROGRAM,
    support=Support.GONE,
    caveat=CAVEAT,
):
    """early form of epoll_ctl"""


class epoll_wait_old(
    Syscall,
    x86_64=215,
    runs=Runs.PROGRAM,
    support=Support.GONE,
    caveat=CAVEAT,
):
    """early form of epoll_wait"""


class vserver(
    Syscall,
    x86_64=236,
    runs=Runs.PROGRAM,
    support=Support.GONE,
    caveat=CAVEAT,
):
    """call of Linux-VServer"""

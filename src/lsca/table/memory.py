# SPDX-License-Identifier: Apache-2.0
"""The address space, which is the program's own in every route."""

from typing import Final

from lsca.table.arguments import Address, Chosen, Fd, Hex, Int, Out, Pid, Pointer, Size, Value
from lsca.table.constants import Enum, Flags
from lsca.table.effects import Posts, new
from lsca.table.layouts import number
from lsca.table.syscall import Runs, Support, Syscall
from lsca.table.text import View, show_address, show_hex, show_int, show_long

PROT: Final = Flags(
    "PROT_READ=1 PROT_WRITE PROT_EXEC PROT_SEM PROT_BTI=0x10 PROT_MTE PROT_GROWSDOWN=0x1000000 "
    "PROT_GROWSUP",
    zero="PROT_NONE",
)
MAP: Final = Flags(
    "MAP_FIXED=0x10 MAP_ANONYMOUS=0x20 MAP_32BIT=0x40 MAP_ABOVE4G=0x80 MAP_NORESERVE=0x4000 "
    "MAP_POPULATE=0x8000 MAP_NONBLOCK=0x10000 MAP_GROWSDOWN=0x100 MAP_DENYWRITE=0x800 "
    "MAP_EXECUTABLE=0x1000 MAP_LOCKED=0x2000 MAP_STACK=0x20000 MAP_HUGETLB=0x40000 MAP_SYNC=0x80000 "
    "MAP_FIXED_NOREPLACE=0x100000",
    base=Enum("MAP_FILE MAP_SHARED MAP_PRIVATE MAP_SHARED_VALIDATE MAP_DROPPABLE=8"),
    mask=0xF,
)
MREMAP: Final = Flags("MREMAP_MAYMOVE=1 MREMAP_FIXED MREMAP_DONTUNMAP")
MSYNC: Final = Flags("MS_SYNC=4 MS_ASYNC=1 MS_INVALIDATE")
ADVICE: Final = Enum(
    "MADV_NORMAL MADV_RANDOM MADV_SEQUENTIAL MADV_WILLNEED MADV_DONTNEED MADV_FREE=8 MADV_REMOVE "
    "MADV_DONTFORK MADV_DOFORK MADV_MERGEABLE MADV_UNMERGEABLE MADV_HUGEPAGE MADV_NOHUGEPAGE "
    "MADV_DONTDUMP MADV_DODUMP MADV_WIPEONFORK MADV_KEEPONFORK MADV_COLD MADV_PAGEOUT "
    "MADV_POPULATE_READ MADV_POPULATE_WRITE MADV_DONTNEED_LOCKED MADV_COLLAPSE "
    "MADV_HWPOISON=100 MADV_SOFT_OFFLINE MADV_GUARD_INSTALL MADV_GUARD_REMOVE"
)
LOCK_ALL: Final = Flags("MCL_CURRENT=1 MCL_FUTURE MCL_ONFAULT")
LOCK_2: Final = Flags("MLOCK_ONFAULT=1")
POLICY: Final = Flags(
    "MPOL_F_STATIC_NODES=0x8000 MPOL_F_RELATIVE_NODES=0x4000 MPOL_F_NUMA_BALANCING=0x2000",
    base=Enum(
        "MPOL_DEFAULT MPOL_PREFERRED MPOL_BIND MPOL_INTERLEAVE MPOL_LOCAL MPOL_PREFERRED_MANY "
        "MPOL_WEIGHTED_INTERLEAVE"
    ),
    mask=0xFF,
)
POLICY_MOVE: Final = Flags("MPOL_MF_STRICT=1 MPOL_MF_MOVE MPOL_MF_MOVE_ALL")
POLICY_GET: Final = Flags("MPOL_F_NODE=1 MPOL_F_ADDR MPOL_F_MEMS_ALLOWED")
USERFAULT: Final = Flags("UFFD_USER_MODE_ONLY=1 O_NONBLOCK=0o4000 O_CLOEXEC=0o2000000")
PKEY_RIGHTS: Final = Flags("PKEY_DISABLE_ACCESS=1 PKEY_DISABLE_WRITE PKEY_DISABLE_EXECUTE")
MODE: Final = number("int", "i", show_int)
MASK_CAVEAT: Final = "node masks and page lists are logged as addresses"


def show_map_flags(value: int, view: View) -> str:
    """mmap's flags; the size of huge pages stands in the top bits."""
    size = value >> 26 & 0x3F
    text = MAP(value & ~(0x3F << 26), view)
    return f"{text}|{size}<<MAP_HUGE_SHIFT" if size else text


class brk(Syscall, x86_64=12, generic=214, runs=Runs.PROGRAM, returns=show_hex):
    """change data segment size"""

    addr = Address()


class mmap(
    Syscall,
    x86_64=9,
    generic=222,
    runs=Runs.BORROW,
    returns=show_hex,
    errors="ENOMEM EAGAIN",
    posts=Posts.MAPS,
):
    """map files or devices into memory"""

    addr = Address()
    length = Size()
    prot = Chosen(PROT)
    flags = Value(show_map_flags)
    fd = Fd()
    offset = Hex()


class munmap(Syscall, x86_64=11, generic=215, runs=Runs.PROGRAM, errors="ENOMEM"):
    """unmap files or devices from memory"""

    addr = Address()
    length = Size()


class mremap(Syscall, x86_64=25, generic=216, runs=Runs.PROGRAM, returns=show_hex, errors="ENOMEM"):
    """remap a virtual memory address"""

    old_address = Address()
    old_size = Size()
    new_size = Size()
    flags = Chosen(MREMAP)
    new_address = Value(
        show_address, when=lambda view: bool(view.value("flags") & MREMAP["MREMAP_FIXED"])
    )


class mprotect(Syscall, x86_64=10, generic=226, runs=Runs.PROGRAM, errors="ENOMEM EACCES"):
    """set protection on a region of memory"""

    addr = Address()
    len = Size()
    prot = Chosen(PROT)


class madvise(Syscall, x86_64=28, generic=233, runs=Runs.PROGRAM):
    """give advice about use of memory"""

    addr = Address()
    length = Size()
    advice = Chosen(ADVICE)


class msync(Syscall, x86_64=26, generic=227, runs=Runs.PROGRAM, blocks=True, errors="EIO ENOMEM"):
    """synchronize a file with a memory map"""

    addr = Address()
    length = Size()
    flags = Chosen(MSYNC)


class mincore(
    Syscall,
    x86_64=27,
    generic=232,
    runs=Runs.PROGRAM,
    support=Support.PLAIN,
    caveat="the residency vector is logged as an address",
):
    """determine whether pages are resident in memory"""

    addr = Address()
    length = Size()
    vec = Pointer()


class mlock(Syscall, x86_64=149, generic=228, runs=Runs.PROGRAM, errors="ENOMEM EPERM"):
    """lock memory"""

    addr = Address()
    len = Size()


class mlock2(Syscall, x86_64=325, generic=284, since="4.4", runs=Runs.PROGRAM):
    """lock memory, with flags"""

    addr = Address()
    len = Size()
    flags = Chosen(LOCK_2)


class munlock(Syscall, x86_64=150, generic=229, runs=Runs.PROGRAM):
    """unlock memory"""

    addr = Address()
    len = Size()


class mlockall(Syscall, x86_64=151, generic=230, runs=Runs.PROGRAM):
    """lock the whole address space"""

    flags = Chosen(LOCK_ALL)


class munlockall(Syscall, x86_64=152, generic=231, runs=Runs.PROGRAM):
    """unlock the whole address space"""


class mseal(Syscall, x86_64=462, generic=462, since="6.10", runs=Runs.PROGRAM):
    """seal a range of the address space against changes"""

    addr = Address()
    len = Size()
    flags = Hex()


class remap_file_pages(Syscall, x86_64=216, generic=234, runs=Runs.PROGRAM):
    """create a nonlinear file mapping (deprecated)"""

    addr = Address()
    size = Size()
    prot = Chosen(PROT)
    pgoff = Size()
    flags = Value(show_map_flags)


class pkey_alloc(Syscall, x86_64=330, generic=289, since="4.9", runs=Runs.PROGRAM, classes=()):
    """allocate a protection key"""

    flags = Hex()
    access_rights = Chosen(PKEY_RIGHTS)


class pkey_free(Syscall, x86_64=331, generic=290, since="4.9", runs=Runs.PROGRAM, classes=()):
    """free a protection key"""

    pkey = Int()


class pkey_mprotect(Syscall, x86_64=329, generic=288, since="4.9", runs=Runs.PROGRAM):
    """set protection and key on a region of memory"""

    addr = Address()
    len = Size()
    prot = Chosen(PROT)
    pkey = Int()


class map_shadow_stack(
    Syscall, x86_64=453, generic=453, since="6.6", runs=Runs.PROGRAM, returns=show_hex
):
    """map a shadow stack"""

    addr = Address()
    size = Size()
    flags = Hex()


class mbind(
    Syscall,
    x86_64=237,
    generic=235,
    runs=Runs.PROGRAM,
    support=Support.PLAIN,
    caveat=MASK_CAVEAT,
):
    """set memory policy for a memory range"""

    addr = Address()
    len = Size()
    mode = Chosen(POLICY)
    nodemask = Pointer()
    maxnode = Size()
    flags = Chosen(POLICY_MOVE)


class set_mempolicy(
    Syscall,
    x86_64=238,
    generic=237,
    runs=Runs.PROGRAM,
    support=Support.PLAIN,
    caveat=MASK_CAVEAT,
):
    """set default NUMA memory policy for a thread and its children"""

    mode = Chosen(POLICY)
    nodemask = Pointer()
    maxnode = Size()


class get_mempolicy(
    Syscall,
    x86_64=239,
    generic=236,
    runs=Runs.PROGRAM,
    support=Support.PLAIN,
    caveat=MASK_CAVEAT,
):
    """retrieve NUMA memory policy for a thread"""

    mode = Out(MODE)
    nodemask = Pointer()
    maxnode = Size()
    addr = Address()
    flags = Chosen(POLICY_GET)


class set_mempolicy_home_node(Syscall, x86_64=450, generic=450, since="5.17", runs=Runs.PROGRAM):
    """set the home node of a memory range's policy"""

    addr = Address()
    len = Size()
    home_node = Size()
    flags = Hex()


class migrate_pages(
    Syscall,
    x86_64=256,
    generic=238,
    since="2.6.16",
    runs=Runs.PROGRAM,
    support=Support.PLAIN,
    caveat=MASK_CAVEAT,
    returns=show_long,
):
    """move all pages in a process to another set of nodes"""

    pid = Pid()
    maxnode = Size()
    old_nodes = Pointer()
    new_nodes = Pointer()


class move_pages(
    Syscall,
    x86_64=279,
    generic=239,
    since="2.6.18",
    runs=Runs.PROGRAM,
    support=Support.PLAIN,
    caveat=MASK_CAVEAT,
    returns=show_long,
):
    """move individual pages of a process to another node"""

    pid = Pid()
    count = Size()
    pages = Pointer()
    nodes = Pointer()
    status = Pointer()
    flags = Chosen(POLICY_MOVE)


class userfaultfd(
    Syscall,
    x86_64=323,
    generic=282,
    since="4.3",
    runs=Runs.HANDOVER,
    new_fd=True,
    support=Support.PARTIAL,
    caveat="belongs to the memory of the program that made it; its requests are made there",
    effect=new("anon_inode:[userfaultfd]"),
    classes=(),
):
    """create a file descriptor for handling page faults in user space"""

    flags = Chosen(USERFAULT)

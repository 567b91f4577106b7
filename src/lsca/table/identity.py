# SPDX-License-Identifier: Apache-2.0
"""Who a process is: its ids, its users and groups, its session, its capabilities."""

from typing import Final

from lsca.table.arguments import Id, In, InOut, Int, Out, Pid
from lsca.table.constants import Enum
from lsca.table.layouts import Struct, array, fixed, number, numbers, one
from lsca.table.syscall import Known, Runs, Support, Syscall
from lsca.table.text import show_hex, show_id, show_unsigned

ID: Final = number("uid_t", "I", show_unsigned)
GROUPS: Final = numbers("gid_t", "I", show_id)
CAPABILITY_VERSIONS: Final = Enum(
    "_LINUX_CAPABILITY_VERSION_1=0x19980330 _LINUX_CAPABILITY_VERSION_2=0x20071026 "
    "_LINUX_CAPABILITY_VERSION_3=0x20080522"
)
CAPABILITY_HEAD: Final = one(
    Struct("__user_cap_header_struct", {"version": ("I", CAPABILITY_VERSIONS), "pid": "i"})
)
CAPABILITY_SETS: Final = fixed(
    array(
        Struct(
            "__user_cap_data_struct",
            {
                "effective": ("I", show_hex),
                "permitted": ("I", show_hex),
                "inheritable": ("I", show_hex),
            },
        )
    ),
    2,
)


class getpid(
    Syscall, x86_64=39, generic=172, runs=Runs.PROGRAM, known=Known.PID, classes=("pure",)
):
    """get process identification"""


class getppid(Syscall, x86_64=110, generic=173, runs=Runs.PROGRAM, classes=("pure",)):
    """get process identification of the parent"""


class gettid(
    Syscall, x86_64=186, generic=178, runs=Runs.PROGRAM, known=Known.TID, classes=("pure",)
):
    """get thread identification"""


class getuid(
    Syscall, x86_64=102, generic=174, runs=Runs.PROGRAM, known=Known.UID, classes=("creds", "pure")
):
    """get user identity"""


class geteuid(
    Syscall, x86_64=107, generic=175, runs=Runs.PROGRAM, known=Known.EUID, classes=("creds", "pure")
):
    """get effective user identity"""


class getgid(
    Syscall, x86_64=104, generic=176, runs=Runs.PROGRAM, known=Known.GID, classes=("creds", "pure")
):
    """get group identity"""


class getegid(
    Syscall, x86_64=108, generic=177, runs=Runs.PROGRAM, known=Known.EGID, classes=("creds", "pure")
):
    """get effective group identity"""


class getresuid(Syscall, x86_64=118, generic=148, runs=Runs.PROGRAM, known=Known.RESUID):
    """get real, effective, and saved user IDs"""

    ruid = Out(ID)
    euid = Out(ID)
    suid = Out(ID)


class getresgid(Syscall, x86_64=120, generic=150, runs=Runs.PROGRAM, known=Known.RESGID):
    """get real, effective, and saved group IDs"""

    rgid = Out(ID)
    egid = Out(ID)
    sgid = Out(ID)


class getgroups(Syscall, x86_64=115, generic=158, runs=Runs.PROGRAM):
    """get list of supplementary group IDs"""

    size = Int()
    list = Out(GROUPS, length="size", filled=True)


class setuid(
    Syscall, x86_64=105, generic=146, runs=Runs.BOTH, identity=True, errors="EAGAIN EPERM"
):
    """set user identity"""

    uid = Id()


class setgid(Syscall, x86_64=106, generic=144, runs=Runs.BOTH, identity=True, errors="EPERM"):
    """set group identity"""

    gid = Id()


class setreuid(Syscall, x86_64=113, generic=145, runs=Runs.BOTH, identity=True):
    """set real and/or effective user ID"""

    ruid = Id()
    euid = Id()


class setregid(Syscall, x86_64=114, generic=143, runs=Runs.BOTH, identity=True):
    """set real and/or effective group ID"""

    rgid = Id()
    egid = Id()


class setresuid(Syscall, x86_64=117, generic=147, runs=Runs.BOTH, identity=True):
    """set real, effective, and saved user ID"""

    ruid = Id()
    euid = Id()
    suid = Id()


class setresgid(Syscall, x86_64=119, generic=149, runs=Runs.BOTH, identity=True):
    """set real, effective, and saved group ID"""

    rgid = Id()
    egid = Id()
    sgid = Id()


class setfsuid(Syscall, x86_64=122, generic=151, runs=Runs.BOTH):
    """set user identity used for filesystem checks"""

    fsuid = Id()


class setfsgid(Syscall, x86_64=123, generic=152, runs=Runs.BOTH):
    """set group identity used for filesystem checks"""

    fsgid = Id()


class setgroups(Syscall, x86_64=116, generic=159, runs=Runs.BOTH, errors="EPERM ENOMEM"):
    """set list of supplementary group IDs"""

    size = Int()
    list = In(GROUPS, length="size")


class getpgrp(Syscall, x86_64=111, runs=Runs.PROGRAM, classes=("pure",)):
    """get process group"""


class getpgid(Syscall, x86_64=121, generic=155, runs=Runs.PROGRAM, classes=()):
    """get process group"""

    pid = Pid()


class setpgid(Syscall, x86_64=109, generic=154, runs=Runs.BOTH, classes=()):
    """set process group"""

    pid = Pid()
    pgid = Pid()


class getsid(Syscall, x86_64=124, generic=156, runs=Runs.PROGRAM, classes=()):
    """get session ID"""

    pid = Pid()


class setsid(Syscall, x86_64=112, generic=157, runs=Runs.BOTH, classes=()):
    """create a session and set the process group ID"""


class capget(
    Syscall,
    x86_64=125,
    generic=90,
    runs=Runs.PROGRAM,
    support=Support.PARTIAL,
    caveat="the sets of the old version 1 are logged with one set too many",
):
    """get capabilities of a thread"""

    hdrp = InOut(CAPABILITY_HEAD, on_error=True)
    datap = Out(CAPABILITY_SETS)


class capset(Syscall, x86_64=126, generic=91, runs=Runs.BOTH):
    """set capabilities of a thread"""

    hdrp = In(CAPABILITY_HEAD)
    datap = In(CAPABILITY_SETS)

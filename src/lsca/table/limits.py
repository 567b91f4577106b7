# SPDX-License-Identifier: Apache-2.0
"""What a process may use, and what it has used."""

from typing import Final

from lsca.table.arguments import Chosen, In, Int, Out, Pid
from lsca.table.clocks import TIMEVAL_STRUCT
from lsca.table.constants import Enum
from lsca.table.effects import Posts
from lsca.table.layouts import Struct, one
from lsca.table.syscall import Runs, Syscall
from lsca.table.text import View, show_long

RESOURCES: Final = Enum(
    "RLIMIT_CPU RLIMIT_FSIZE RLIMIT_DATA RLIMIT_STACK RLIMIT_CORE RLIMIT_RSS RLIMIT_NPROC "
    "RLIMIT_NOFILE RLIMIT_MEMLOCK RLIMIT_AS RLIMIT_LOCKS RLIMIT_SIGPENDING RLIMIT_MSGQUEUE "
    "RLIMIT_NICE RLIMIT_RTPRIO RLIMIT_RTTIME"
)
USAGES: Final = Enum("RUSAGE_SELF=0 RUSAGE_THREAD=1 RUSAGE_CHILDREN=-1")
PRIORITIES: Final = Enum("PRIO_PROCESS PRIO_PGRP PRIO_USER")
UNLIMITED: Final = (1 << 64) - 1


def show_limit(value: int, view: View) -> str:
    """A limit as strace has it: RLIM64_INFINITY, or 8192*1024."""
    if value == UNLIMITED:
        return "RLIM64_INFINITY"
    if value > 1024 and value % 1024 == 0:
        return f"{value // 1024}*1024"
    return str(value)


RLIMIT: Final = one(
    Struct("rlimit64", {"rlim_cur": ("Q", show_limit), "rlim_max": ("Q", show_limit)})
)
RUSAGE_STRUCT: Final = Struct(
    "rusage",
    {
        "ru_utime": TIMEVAL_STRUCT,
        "ru_stime": TIMEVAL_STRUCT,
        "ru_maxrss": "q",
        "ru_ixrss": "q",
        "ru_idrss": "q",
        "ru_isrss": "q",
        "ru_minflt": "q",
        "ru_majflt": "q",
        "ru_nswap": "q",
        "ru_inblock": "q",
        "ru_oublock": "q",
        "ru_msgsnd": "q",
        "ru_msgrcv": "q",
        "ru_nsignals": "q",
        "ru_nvcsw": "q",
        "ru_nivcsw": "q",
    },
    brief=("ru_utime", "ru_stime"),
)
RUSAGE: Final = one(RUSAGE_STRUCT)
TMS: Final = one(
    Struct("tms", {"tms_utime": "q", "tms_stime": "q", "tms_cutime": "q", "tms_cstime": "q"})
)


class getrlimit(Syscall, x86_64=97, generic=163, runs=Runs.PROGRAM):
    """get resource limits"""

    resource = Chosen(RESOURCES)
    rlim = Out(RLIMIT)


class setrlimit(Syscall, x86_64=160, generic=164, runs=Runs.BOTH, posts=Posts.LIMITS):
    """set resource limits"""

    resource = Chosen(RESOURCES)
    rlim = In(RLIMIT)


class prlimit64(
    Syscall, x86_64=302, generic=261, since="2.6.36", runs=Runs.BOTH, posts=Posts.LIMITS
):
    """get/set resource limits of a process"""

    pid = Pid()
    resource = Chosen(RESOURCES)
    new_limit = In(RLIMIT)
    old_limit = Out(RLIMIT)


class getrusage(Syscall, x86_64=98, generic=165, runs=Runs.PROGRAM):
    """get resource usage"""

    who = Chosen(USAGES)
    usage = Out(RUSAGE)


class times(Syscall, x86_64=100, generic=153, runs=Runs.PROGRAM, returns=show_long):
    """get process times"""

    buf = Out(TMS)


class getpriority(Syscall, x86_64=140, generic=141, runs=Runs.PROGRAM):
    """get program scheduling priority"""

    which = Chosen(PRIORITIES)
    who = Int()


class setpriority(Syscall, x86_64=141, generic=140, runs=Runs.PROGRAM):
    """set program scheduling priority"""

    which = Chosen(PRIORITIES)
    who = Int()
    prio = Int()

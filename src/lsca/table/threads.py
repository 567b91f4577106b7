# SPDX-License-Identifier: Apache-2.0
"""Threads: futexes, scheduling, and what the kernel is told about a thread."""

from typing import Final

from lsca.table.arguments import (
    Address,
    Argument,
    Chosen,
    Hex,
    In,
    Int,
    Out,
    Pid,
    Size,
    Unsigned,
    Value,
)
from lsca.table.clocks import CLOCKS, TIMESPEC, TIMESPEC_STRUCT
from lsca.table.constants import Enum, Flags
from lsca.table.layouts import BYTES, Layout, Struct, array, fixed, number, one, whole
from lsca.table.syscall import Known, Runs, Syscall
from lsca.table.text import (
    Piece,
    View,
    show_address,
    show_hex,
    show_int,
    show_size,
    show_unsigned,
)

FUTEX_NAMES: Final = Enum(
    "FUTEX_WAIT FUTEX_WAKE FUTEX_FD FUTEX_REQUEUE FUTEX_CMP_REQUEUE FUTEX_WAKE_OP FUTEX_LOCK_PI "
    "FUTEX_UNLOCK_PI FUTEX_TRYLOCK_PI FUTEX_WAIT_BITSET FUTEX_WAKE_BITSET FUTEX_WAIT_REQUEUE_PI "
    "FUTEX_CMP_REQUEUE_PI FUTEX_LOCK_PI2",
    unknown="FUTEX_???",
)
PRIVATE: Final = 0x80
CLOCK_REALTIME: Final = 0x100
WAITS: Final = (0, 6, 9, 11, 13)  # those with a timeout
SECOND_WORD: Final = (3, 4, 5, 11, 12)  # those with uaddr2
SECOND_VALUE: Final = (3, 4, 5, 12)  # those whose fourth argument is a number
THIRD_VALUE: Final = (4, 5, 9, 10, 12)
ANY_BITS: Final = 0xFFFFFFFF
FUTEX2: Final = Flags(
    "FUTEX2_NUMA=4 FUTEX2_MPOL=8 FUTEX2_PRIVATE=0x80",
    base=Enum("FUTEX2_SIZE_U8 FUTEX2_SIZE_U16 FUTEX2_SIZE_U32 FUTEX2_SIZE_U64"),
    mask=3,
)
POLICIES: Final = Flags(
    "SCHED_RESET_ON_FORK=0x40000000",
    base=Enum(
        "SCHED_OTHER SCHED_FIFO SCHED_RR SCHED_BATCH SCHED_ISO SCHED_IDLE SCHED_DEADLINE SCHED_EXT"
    ),
    mask=0xFFFF,
)
SCHED_FLAGS: Final = Flags(
    "SCHED_FLAG_RESET_ON_FORK=1 SCHED_FLAG_RECLAIM SCHED_FLAG_DL_OVERRUN SCHED_FLAG_KEEP_POLICY "
    "SCHED_FLAG_KEEP_PARAMS SCHED_FLAG_UTIL_CLAMP_MIN SCHED_FLAG_UTIL_CLAMP_MAX"
)
_BARRIERS: Final = (
    "MEMBARRIER_CMD_GLOBAL=1 MEMBARRIER_CMD_GLOBAL_EXPEDITED=2 "
    "MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED=4 MEMBARRIER_CMD_PRIVATE_EXPEDITED=8 "
    "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED=0x10 "
    "MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE=0x20 "
    "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE=0x40 "
    "MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ=0x80 "
    "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ=0x100 "
    "MEMBARRIER_CMD_GET_REGISTRATIONS=0x200"
)
MEMBARRIER: Final = Enum(f"MEMBARRIER_CMD_QUERY=0 {_BARRIERS}")
BARRIERS: Final = Flags(_BARRIERS)
IO_WHO: Final = Enum("IOPRIO_WHO_PROCESS=1 IOPRIO_WHO_PGRP IOPRIO_WHO_USER")
IO_CLASSES: Final = Enum("IOPRIO_CLASS_NONE IOPRIO_CLASS_RT IOPRIO_CLASS_BE IOPRIO_CLASS_IDLE")
CPU: Final = number("unsigned int", "I", show_unsigned)
PARAM: Final = number("struct sched_param", "i", show_int)
HEAD: Final = number("struct robust_list_head *", "Q", show_address)
LENGTH: Final = number("size_t", "Q", show_size)
SCHED_ATTR: Final = whole(
    Struct(
        "sched_attr",
        {
            "size": "I",
            "sched_policy": ("I", POLICIES),
            "sched_flags": ("Q", SCHED_FLAGS),
            "sched_nice": "i",
            "sched_priority": "I",
            "sched_runtime": "Q",
            "sched_deadline": "Q",
            "sched_period": "Q",
            "sched_util_min": "I",
            "sched_util_max": "I",
        },
    )
)
SCHED_ATTR_GIVEN: Final = one(
    Struct(
        "sched_attr",
        {
            "size": "I",
            "sched_policy": ("I", POLICIES),
            "sched_flags": ("Q", SCHED_FLAGS),
            "sched_nice": "i",
            "sched_priority": "I",
            "sched_runtime": "Q",
            "sched_deadline": "Q",
            "sched_period": "Q",
        },
    )
)
WAITERS: Final = array(
    Struct(
        "futex_waitv",
        {
            "val": ("Q", show_hex),
            "uaddr": ("Q", show_address),
            "flags": ("I", FUTEX2),
            "_reserved": "I",
        },
    )
)


def show_futex_op(value: int, view: View) -> str:
    """An operation with its flags: FUTEX_WAIT_PRIVATE|FUTEX_CLOCK_REALTIME."""
    text = FUTEX_NAMES(value & 0x7F, view)
    text += "_PRIVATE" if value & PRIVATE else ""
    return f"{text}|FUTEX_CLOCK_REALTIME" if value & CLOCK_REALTIME else text


def note_policy(view: View) -> str:
    return POLICIES(view.ret or 0, view)


def note_io_priority(view: View) -> str:
    return show_io_priority(view.ret or 0, view)


def show_barriers(value: int, view: View) -> str:
    """What a query of membarrier found: a set of commands."""
    return show_hex(value, view) if view.value("cmd") == 0 else show_int(value, view)


def note_barriers(view: View) -> str:
    return BARRIERS(view.ret or 0, view) if view.value("cmd") == 0 and view.ret else ""


def _operation(view: View) -> int:
    return view.value("futex_op") & 0x7F


def _wakes(view: View) -> bool:
    return _operation(view) not in (7, 8)  # FUTEX_UNLOCK_PI, FUTEX_TRYLOCK_PI have one argument


def _has_fourth(view: View) -> bool:
    return _operation(view) in (*WAITS, *SECOND_VALUE)


def _has_second_word(view: View) -> bool:
    return _operation(view) in SECOND_WORD


def _has_third(view: View) -> bool:
    return _operation(view) in THIRD_VALUE


def _write_fourth(argument: Argument, view: View, index: int) -> str:
    """futex's fourth argument: a time to wait, or a second number."""
    if _operation(view) in SECOND_VALUE:
        return show_unsigned(view.args[index], view)
    piece = view.entry.get(index)
    return TIMESPEC_STRUCT(piece, view) if piece else show_address(view.args[index], view)


def show_third(value: int, view: View) -> str:
    """The bit set of a bitset operation, or the value that a requeue compares."""
    bits = value & 0xFFFFFFFF
    if _operation(view) in (9, 10):
        return "FUTEX_BITSET_MATCH_ANY" if bits == ANY_BITS else f"{bits:#x}"
    return f"{bits:#x}" if _operation(view) == 5 else str(bits)


def show_cpus(piece: Piece, view: View) -> str:
    """The CPUs in a mask: [0 1]."""
    bits = int.from_bytes(piece.data, "little")
    inside = [str(cpu) for cpu in range(len(piece.data) * 8) if bits >> cpu & 1]
    return "[" + " ".join(inside) + "]"


def show_io_priority(value: int, view: View) -> str:
    """A class and a level of I/O priority."""
    return f"IOPRIO_PRIO_VALUE({IO_CLASSES(value >> 13 & 7, view)}, {value & 0x1FFF})"


CPUS: Final = Layout("cpu_set_t", BYTES.size, show_cpus)


class futex(Syscall, x86_64=202, generic=98, runs=Runs.PROGRAM, blocks=True):
    """fast user-space locking"""

    uaddr = Address()
    futex_op = Value(show_futex_op)
    val = Value(show_unsigned, when=_wakes)
    timeout = In(TIMESPEC, when=_has_fourth, write=_write_fourth)
    uaddr2 = Value(show_address, when=_has_second_word)
    val3 = Value(show_third, when=_has_third)


class futex_waitv(Syscall, x86_64=449, generic=449, since="5.16", runs=Runs.PROGRAM, blocks=True):
    """wait on several futexes"""

    waiters = In(WAITERS, length="nr_futexes")
    nr_futexes = Unsigned()
    flags = Hex()
    timeout = In(TIMESPEC)
    clockid = Chosen(CLOCKS)


class futex_wake(Syscall, x86_64=454, generic=454, since="6.7", runs=Runs.PROGRAM):
    """wake waiters on a futex"""

    uaddr = Address()
    mask = Hex()
    nr = Int()
    flags = Chosen(FUTEX2)


class futex_wait(Syscall, x86_64=455, generic=455, since="6.7", runs=Runs.PROGRAM, blocks=True):
    """wait on a futex"""

    uaddr = Address()
    val = Hex()
    mask = Hex()
    flags = Chosen(FUTEX2)
    timeout = In(TIMESPEC)
    clockid = Chosen(CLOCKS)


class futex_requeue(Syscall, x86_64=456, generic=456, since="6.7", runs=Runs.PROGRAM):
    """wake waiters on a futex and move others to a second one"""

    waiters = In(fixed(WAITERS, 2))
    flags = Hex()
    nr_wake = Int()
    nr_requeue = Int()


class set_robust_list(Syscall, x86_64=273, generic=99, since="2.6.17", runs=Runs.PROGRAM):
    """set list of robust futexes"""

    head = Address()
    len = Size()


class get_robust_list(Syscall, x86_64=274, generic=100, since="2.6.17", runs=Runs.PROGRAM):
    """get list of robust futexes"""

    pid = Pid()
    head_ptr = Out(HEAD)
    len_ptr = Out(LENGTH)


class rseq(Syscall, x86_64=334, generic=293, since="4.18", runs=Runs.PROGRAM):
    """register restartable sequences"""

    rseq = Address()
    rseq_len = Hex()
    flags = Hex()
    sig = Hex()


class membarrier(
    Syscall,
    x86_64=324,
    generic=283,
    since="4.3",
    runs=Runs.PROGRAM,
    returns=show_barriers,
    note=note_barriers,
):
    """issue memory barriers on a set of threads"""

    cmd = Chosen(MEMBARRIER)
    flags = Hex()
    cpu_id = Value(show_int, when=lambda view: bool(view.value("flags") & 1))


class getcpu(Syscall, x86_64=309, generic=168, since="2.6.19", runs=Runs.PROGRAM):
    """determine CPU and NUMA node on which the calling thread is running"""

    cpu = Out(CPU)
    node = Out(CPU)
    unused = Address()


class sched_yield(Syscall, x86_64=24, generic=124, runs=Runs.PROGRAM):
    """yield the processor"""


class sched_setparam(Syscall, x86_64=142, generic=118, runs=Runs.PROGRAM):
    """set scheduling parameters"""

    pid = Pid()
    param = In(PARAM)


class sched_getparam(Syscall, x86_64=143, generic=121, runs=Runs.PROGRAM):
    """get scheduling parameters"""

    pid = Pid()
    param = Out(PARAM)


class sched_setscheduler(Syscall, x86_64=144, generic=119, runs=Runs.PROGRAM):
    """set scheduling policy/parameters"""

    pid = Pid()
    policy = Chosen(POLICIES)
    param = In(PARAM)


class sched_getscheduler(Syscall, x86_64=145, generic=120, runs=Runs.PROGRAM, note=note_policy):
    """get scheduling policy"""

    pid = Pid()


class sched_get_priority_max(
    Syscall, x86_64=146, generic=125, runs=Runs.PROGRAM, known=Known.PRIORITY_MAX
):
    """get static priority range"""

    policy = Chosen(POLICIES)


class sched_get_priority_min(
    Syscall, x86_64=147, generic=126, runs=Runs.PROGRAM, known=Known.PRIORITY_MIN
):
    """get static priority range"""

    policy = Chosen(POLICIES)


class sched_rr_get_interval(Syscall, x86_64=148, generic=127, runs=Runs.PROGRAM):
    """get the SCHED_RR interval for the named process"""

    pid = Pid()
    tp = Out(TIMESPEC)


class sched_setaffinity(Syscall, x86_64=203, generic=122, runs=Runs.PROGRAM):
    """set a thread's CPU affinity mask"""

    pid = Pid()
    cpusetsize = Unsigned()
    mask = In(CPUS, length="cpusetsize")


class sched_getaffinity(Syscall, x86_64=204, generic=123, runs=Runs.PROGRAM):
    """get a thread's CPU affinity mask"""

    pid = Pid()
    cpusetsize = Unsigned()
    mask = Out(CPUS, length="cpusetsize", filled=True)


class sched_setattr(Syscall, x86_64=314, generic=274, since="3.14", runs=Runs.PROGRAM):
    """set scheduling policy and attributes"""

    pid = Pid()
    attr = In(SCHED_ATTR_GIVEN)
    flags = Hex()


class sched_getattr(Syscall, x86_64=315, generic=275, since="3.14", runs=Runs.PROGRAM):
    """get scheduling policy and attributes"""

    pid = Pid()
    attr = Out(SCHED_ATTR, length="size")
    size = Unsigned()
    flags = Hex()


class ioprio_set(Syscall, x86_64=251, generic=30, since="2.6.13", runs=Runs.PROGRAM):
    """set I/O scheduling class and priority"""

    which = Chosen(IO_WHO)
    who = Int()
    ioprio = Value(show_io_priority)


class ioprio_get(
    Syscall,
    x86_64=252,
    generic=31,
    since="2.6.13",
    runs=Runs.PROGRAM,
    returns=show_hex,
    note=note_io_priority,
):
    """get I/O scheduling class and priority"""

    which = Chosen(IO_WHO)
    who = Int()

# SPDX-License-Identifier: Apache-2.0
"""Clocks, sleeps and timers; their structures, which other families use too."""

from typing import Final

from lsca.table.arguments import Chosen, In, Int, Out, Unsigned, Value
from lsca.table.constants import Enum, Flags
from lsca.table.layouts import Struct, number, one, opaque
from lsca.table.syscall import Known, Runs, Support, Syscall
from lsca.table.text import View, show_hex, show_int, show_long, signed

CLOCKS: Final = Enum(
    "CLOCK_REALTIME CLOCK_MONOTONIC CLOCK_PROCESS_CPUTIME_ID CLOCK_THREAD_CPUTIME_ID "
    "CLOCK_MONOTONIC_RAW CLOCK_REALTIME_COARSE CLOCK_MONOTONIC_COARSE CLOCK_BOOTTIME "
    "CLOCK_REALTIME_ALARM CLOCK_BOOTTIME_ALARM CLOCK_SGI_CYCLE CLOCK_TAI"
)
TIMER_FLAGS: Final = Flags("TIMER_ABSTIME=1")
ITIMERS: Final = Enum("ITIMER_REAL ITIMER_VIRTUAL ITIMER_PROF", unknown="ITIMER_???")

TIMESPEC_STRUCT: Final = Struct("timespec", {"tv_sec": "q", "tv_nsec": "q"})
TIMEVAL_STRUCT: Final = Struct("timeval", {"tv_sec": "q", "tv_usec": "q"})
TIMESPEC: Final = one(TIMESPEC_STRUCT)
TIMEVAL: Final = one(TIMEVAL_STRUCT)
TIMEZONE: Final = one(Struct("timezone", {"tz_minuteswest": "i", "tz_dsttime": "i"}))
ITIMERSPEC: Final = one(
    Struct("itimerspec", {"it_interval": TIMESPEC_STRUCT, "it_value": TIMESPEC_STRUCT})
)
ITIMERVAL: Final = one(
    Struct("itimerval", {"it_interval": TIMEVAL_STRUCT, "it_value": TIMEVAL_STRUCT})
)
TIMEX: Final = opaque("timex", 208)
SIGEVENT: Final = opaque("sigevent", 64)
TIME: Final = number("time_t", "q", show_long)
TIMER: Final = number("timer_t", "i", show_int)

CLOCK_CAVEAT: Final = "the structure's bytes are logged as they are"


def show_clock(value: int, view: View) -> str:
    """A clock by name; a negative one is a process's or a device's."""
    clock = signed(value, 32)
    return show_hex(value & 0xFFFFFFFF, view) if clock < 0 else CLOCKS(value, view)


def Clock() -> int:
    return Value(show_clock)


class time(Syscall, x86_64=201, runs=Runs.PROGRAM):
    """get time in seconds"""

    tloc = Out(TIME)


class gettimeofday(Syscall, x86_64=96, generic=169, runs=Runs.PROGRAM):
    """get the time of day"""

    tv = Out(TIMEVAL)
    tz = Out(TIMEZONE)


class settimeofday(Syscall, x86_64=164, generic=170, runs=Runs.PROGRAM):
    """set the time of day"""

    tv = In(TIMEVAL)
    tz = In(TIMEZONE)


class clock_gettime(Syscall, x86_64=228, generic=113, runs=Runs.PROGRAM):
    """retrieve the time of a clock"""

    clockid = Clock()
    tp = Out(TIMESPEC)


class clock_settime(Syscall, x86_64=227, generic=112, runs=Runs.PROGRAM):
    """set the time of a clock"""

    clockid = Clock()
    tp = In(TIMESPEC)


class clock_getres(Syscall, x86_64=229, generic=114, runs=Runs.PROGRAM, known=Known.RESOLUTION):
    """get the resolution of a clock"""

    clockid = Clock()
    res = Out(TIMESPEC)


class adjtimex(
    Syscall,
    x86_64=159,
    generic=171,
    runs=Runs.PROGRAM,
    support=Support.PARTIAL,
    caveat=CLOCK_CAVEAT,
):
    """tune the kernel clock"""

    buf = Out(TIMEX)


class clock_adjtime(
    Syscall,
    x86_64=305,
    generic=266,
    since="2.6.39",
    runs=Runs.PROGRAM,
    support=Support.PARTIAL,
    caveat=CLOCK_CAVEAT,
):
    """tune a clock"""

    clk_id = Clock()
    buf = Out(TIMEX)


class nanosleep(
    Syscall, x86_64=35, generic=101, runs=Runs.PROGRAM, blocks=True, classes=(), errors="EINTR"
):
    """high-resolution sleep"""

    duration = In(TIMESPEC)
    rem = Out(TIMESPEC, interrupted=True)


class clock_nanosleep(
    Syscall, x86_64=230, generic=115, runs=Runs.PROGRAM, blocks=True, classes=(), errors="EINTR"
):
    """high-resolution sleep with specifiable clock"""

    clockid = Clock()
    flags = Chosen(TIMER_FLAGS)
    t = In(TIMESPEC)
    remain = Out(TIMESPEC, interrupted=True)


class alarm(Syscall, x86_64=37, runs=Runs.PROGRAM, classes=()):
    """set an alarm clock for delivery of a signal"""

    seconds = Unsigned()


class getitimer(Syscall, x86_64=36, generic=102, runs=Runs.PROGRAM, classes=()):
    """get value of an interval timer"""

    which = Chosen(ITIMERS)
    curr_value = Out(ITIMERVAL)


class setitimer(Syscall, x86_64=38, generic=103, runs=Runs.PROGRAM, classes=()):
    """set value of an interval timer"""

    which = Chosen(ITIMERS)
    new_value = In(ITIMERVAL)
    old_value = Out(ITIMERVAL)


class timer_create(
    Syscall,
    x86_64=222,
    generic=107,
    runs=Runs.PROGRAM,
    support=Support.PARTIAL,
    caveat=CLOCK_CAVEAT,
    classes=(),
):
    """create a POSIX per-process timer"""

    clockid = Clock()
    sevp = In(SIGEVENT)
    timerid = Out(TIMER)


class timer_settime(Syscall, x86_64=223, generic=110, runs=Runs.PROGRAM, classes=()):
    """arm or disarm a POSIX per-process timer"""

    timerid = Int()
    flags = Chosen(TIMER_FLAGS)
    new_value = In(ITIMERSPEC)
    old_value = Out(ITIMERSPEC)


class timer_gettime(Syscall, x86_64=224, generic=108, runs=Runs.PROGRAM, classes=()):
    """fetch the state of a POSIX per-process timer"""

    timerid = Int()
    curr_value = Out(ITIMERSPEC)


class timer_getoverrun(Syscall, x86_64=225, generic=109, runs=Runs.PROGRAM, classes=()):
    """get overrun count for a POSIX per-process timer"""

    timerid = Int()


class timer_delete(Syscall, x86_64=226, generic=111, runs=Runs.PROGRAM, classes=()):
    """delete a POSIX per-process timer"""

    timerid = Int()

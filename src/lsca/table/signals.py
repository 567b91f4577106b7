# SPDX-License-Identifier: Apache-2.0
"""Signals: what they are called, how sets and actions of them are written, and the calls that deal in them.

All of them belong to the program: the agent keeps its own SIGSYS out of what the program sees.
"""

from typing import Final

from lsca.table.arguments import Chosen, In, Out, Pid, Size
from lsca.table.clocks import TIMESPEC
from lsca.table.constants import Enum, Flags
from lsca.table.layouts import Layout, Struct, one
from lsca.table.syscall import Handled, Runs, Syscall
from lsca.table.text import MACHINES, Piece, View, show_address, show_size

SIGNALS: Final = Enum(
    "SIG_0=0 SIGHUP=1 SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV "
    "SIGUSR2 SIGPIPE SIGALRM SIGTERM SIGSTKFLT SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU "
    "SIGURG SIGXCPU SIGXFSZ SIGVTALRM SIGPROF SIGWINCH SIGIO SIGPWR SIGSYS SIGRTMIN "
    + " ".join(f"SIGRT_{number}" for number in range(1, 33)),
    decimal=True,
)
SIGNALS.names[0] = "0"
REAL_TIME_FIRST: Final = 32
SIGNALS_TOTAL: Final = 64

SA_FLAGS: Final = Flags(
    "SA_RESTORER=0x4000000 SA_ONSTACK=0x8000000 SA_RESTART=0x10000000 SA_INTERRUPT=0x20000000 "
    "SA_NODEFER=0x40000000 SA_RESETHAND=0x80000000 SA_NOCLDSTOP=1 SA_NOCLDWAIT=2 SA_SIGINFO=4 "
    "SA_UNSUPPORTED=0x400 SA_EXPOSE_TAGBITS=0x800"
)
SIGPROCMASK: Final = Enum("SIG_BLOCK SIG_UNBLOCK SIG_SETMASK", unknown="SIG_???")
STACK_FLAGS: Final = Flags("SS_ONSTACK=1 SS_DISABLE=2 SS_AUTODISARM=0x80000000")
HANDLERS: Final = {0: "SIG_DFL", 1: "SIG_IGN"}
SI_CODES: Final = Enum(
    "SI_USER=0 SI_KERNEL=0x80 SI_QUEUE=-1 SI_TIMER=-2 SI_MESGQ=-3 SI_ASYNCIO=-4 SI_SIGIO=-5 "
    "SI_TKILL=-6 SI_DETHREAD=-7"
)
CHILD_CODES: Final = Enum(
    "SI_USER=0 CLD_EXITED=1 CLD_KILLED CLD_DUMPED CLD_TRAPPED CLD_STOPPED CLD_CONTINUED"
)
SIGINFO_SIZE: Final = 128


def signal_set(mask: int) -> str:
    """A set as strace writes it: [INT TERM], or ~[KILL] when most signals are in it."""
    inside = [number for number in range(1, SIGNALS_TOTAL + 1) if mask >> (number - 1) & 1]
    if len(inside) >= SIGNALS_TOTAL * 2 // 3:
        missing = [n for n in range(1, SIGNALS_TOTAL + 1) if n not in inside]
        return "~[" + " ".join(map(_short, missing)) + "]"
    return "[" + " ".join(map(_short, inside)) + "]"


def _short(number: int) -> str:
    return (SIGNALS.name(number) or str(number)).removeprefix("SIG")


def show_set(value: int, view: View) -> str:
    return signal_set(value)


def show_handler(value: int, view: View) -> str:
    return HANDLERS.get(value) or show_address(value, view)


def _show_set_bytes(piece: Piece, view: View) -> str:
    return signal_set(int.from_bytes(piece.data[:8], "little"))


def _show_action(piece: Piece, view: View) -> str:
    members = _ACTION.values(piece.data, view.machine)
    flags = int(members.get("sa_flags", 0))
    shown = {name: int(value) for name, value in members.items() if name != "sa_restorer"}
    text = (
        f"{{sa_handler={show_handler(shown.get('sa_handler', 0), view)}, "
        f"sa_mask={signal_set(shown.get('sa_mask', 0))}, sa_flags={SA_FLAGS(flags, view)}"
    )
    if flags & SA_FLAGS["SA_RESTORER"]:
        text += f", sa_restorer={show_address(int(members.get('sa_restorer', 0)), view)}"
    return text + "}"


def show_siginfo(piece: Piece, view: View) -> str:
    """The members every signal has, and those of a signal from a process or a child."""
    members = _SIGINFO.values(piece.data, view.machine)
    if len(members) < len(_SIGINFO.fields[view.machine]):
        return "{...}"
    facts = {name: int(value) for name, value in members.items()}
    number, code = facts["si_signo"], facts["si_code"]
    codes = CHILD_CODES if number == SIGNALS["SIGCHLD"] and code > 0 else SI_CODES
    text = f"{{si_signo={SIGNALS(number, view)}, si_code={codes(code & 0xFFFFFFFF, view)}"
    if facts["si_errno"]:
        text += f", si_errno={facts['si_errno']}"
    if code <= 0 or codes is CHILD_CODES:
        text += f", si_pid={facts['si_pid']}, si_uid={facts['si_uid']}"
    if codes is CHILD_CODES:
        status = facts["si_status"]
        exited = code == CHILD_CODES["CLD_EXITED"]
        text += f", si_status={status if exited else SIGNALS(status, view)}"
        text += f", si_utime={facts['si_utime']}, si_stime={facts['si_stime']}"
    elif number and code == SI_CODES["SI_QUEUE"]:
        value = facts["si_status"] & 0xFFFFFFFF | facts["_pad2"] << 32
        text += f", si_int={facts['si_status']}, si_ptr={value:#x}" if value else ""
    return text + "}"


_ACTION: Final = Struct(
    "sigaction",
    {
        "sa_handler": ("Q", show_handler),
        "sa_flags": ("Q", SA_FLAGS),
        "sa_restorer": ("Q", show_address),
        "sa_mask": ("Q", show_set),
    },
)
_SIGINFO: Final = Struct(
    "siginfo",
    {
        "si_signo": "i",
        "si_errno": "i",
        "si_code": "i",
        "_pad": "i",
        "si_pid": "i",
        "si_uid": "I",
        "si_status": "i",
        "_pad2": "i",
        "si_utime": "q",
        "si_stime": "q",
    },
)
SIGSET: Final = Layout("sigset_t", dict.fromkeys(MACHINES, 8), _show_set_bytes)
SIGACTION: Final = Layout("struct sigaction", _ACTION.size, _show_action, shape=_ACTION)
SIGINFO: Final = Layout("siginfo_t", dict.fromkeys(MACHINES, SIGINFO_SIZE), show_siginfo)
STACK: Final = one(
    Struct(
        "stack_t",
        {"ss_sp": ("Q", show_address), "ss_flags": ("i", STACK_FLAGS), "ss_size": ("Q", show_size)},
    )
)


def note_signal(view: View) -> str:
    """Which one a wait has taken."""
    return SIGNALS(view.ret or 0, view)


def Signal() -> int:
    return Chosen(SIGNALS)


class rt_sigaction(Syscall, x86_64=13, generic=134, runs=Runs.PROGRAM):
    """examine and change a signal action"""

    signum = Signal()
    act = In(SIGACTION)
    oldact = Out(SIGACTION)
    sigsetsize = Size()


class rt_sigprocmask(Syscall, x86_64=14, generic=135, runs=Runs.PROGRAM):
    """examine and change blocked signals"""

    how = Chosen(SIGPROCMASK)
    set = In(SIGSET)
    oldset = Out(SIGSET)
    sigsetsize = Size()


class rt_sigreturn(Syscall, x86_64=15, generic=139, runs=Runs.PROGRAM, handled=Handled.WATCHED):
    """return from signal handler and clean up its stack frame"""


class rt_sigpending(Syscall, x86_64=127, generic=136, runs=Runs.PROGRAM):
    """examine pending signals"""

    set = Out(SIGSET)
    sigsetsize = Size()


class rt_sigtimedwait(
    Syscall, x86_64=128, generic=137, runs=Runs.PROGRAM, blocks=True, note=note_signal
):
    """synchronously wait for queued signals"""

    set = In(SIGSET)
    info = Out(SIGINFO)
    timeout = In(TIMESPEC)
    sigsetsize = Size()


class rt_sigqueueinfo(
    Syscall, x86_64=129, generic=138, runs=Runs.PROGRAM, classes=("signal", "process")
):
    """queue a signal and data to a process"""

    tgid = Pid()
    sig = Signal()
    info = In(SIGINFO)


class rt_tgsigqueueinfo(
    Syscall,
    x86_64=297,
    generic=240,
    since="2.6.31",
    runs=Runs.PROGRAM,
    classes=("signal", "process"),
):
    """queue a signal and data to a thread"""

    tgid = Pid()
    tid = Pid()
    sig = Signal()
    info = In(SIGINFO)


class rt_sigsuspend(Syscall, x86_64=130, generic=133, runs=Runs.PROGRAM, blocks=True):
    """wait for a signal with another mask"""

    mask = In(SIGSET)
    sigsetsize = Size()


class sigaltstack(Syscall, x86_64=131, generic=132, runs=Runs.PROGRAM):
    """set and/or get signal stack context"""

    ss = In(STACK)
    old_ss = Out(STACK)


class pause(Syscall, x86_64=34, runs=Runs.PROGRAM, blocks=True):
    """wait for signal"""


class kill(
    Syscall,
    x86_64=62,
    generic=129,
    runs=Runs.PROGRAM,
    classes=("signal", "process"),
    errors="EPERM ESRCH",
):
    """send signal to a process"""

    pid = Pid()
    sig = Signal()


class tkill(Syscall, x86_64=200, generic=130, runs=Runs.PROGRAM, classes=("signal", "process")):
    """send a signal to a thread (obsolete)"""

    tid = Pid()
    sig = Signal()


class tgkill(Syscall, x86_64=234, generic=131, runs=Runs.PROGRAM, classes=("signal", "process")):
    """send a signal to a thread"""

    tgid = Pid()
    tid = Pid()
    sig = Signal()


class restart_syscall(Syscall, x86_64=219, generic=128, runs=Runs.PROGRAM, blocks=True, classes=()):
    """restart a system call after interruption by a stop signal"""

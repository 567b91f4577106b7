# SPDX-License-Identifier: Apache-2.0
"""Calls on other processes: tracing them, their memory, and descriptors that stand for them."""

from typing import Final

from lsca.table.arguments import (
    Chosen,
    Fd,
    Hex,
    In,
    Int,
    Pid,
    Pointer,
    Size,
    Unsigned,
)
from lsca.table.constants import Enum, Flags
from lsca.table.effects import UNKNOWN, Names, Posts, new
from lsca.table.signals import SIGINFO, SIGNALS
from lsca.table.syscall import Runs, Support, Syscall
from lsca.table.text import show_long

PIDFD_FLAGS: Final = Flags("PIDFD_NONBLOCK=0o4000 PIDFD_THREAD=0o200")
PIDFD_SIGNAL: Final = Flags(
    "PIDFD_SIGNAL_THREAD=1 PIDFD_SIGNAL_THREAD_GROUP PIDFD_SIGNAL_PROCESS_GROUP"
)
KCMP: Final = Enum(
    "KCMP_FILE KCMP_VM KCMP_FILES KCMP_FS KCMP_SIGHAND KCMP_IO KCMP_SYSVSEM KCMP_EPOLL_TFD"
)
PTRACE: Final = Enum(
    "PTRACE_TRACEME PTRACE_PEEKTEXT PTRACE_PEEKDATA PTRACE_PEEKUSER PTRACE_POKETEXT PTRACE_POKEDATA "
    "PTRACE_POKEUSER PTRACE_CONT PTRACE_KILL PTRACE_SINGLESTEP PTRACE_GETREGS=12 PTRACE_SETREGS "
    "PTRACE_GETFPREGS PTRACE_SETFPREGS PTRACE_ATTACH PTRACE_DETACH PTRACE_SYSCALL=24 "
    "PTRACE_ARCH_PRCTL=30 PTRACE_SETOPTIONS=0x4200 PTRACE_GETEVENTMSG PTRACE_GETSIGINFO "
    "PTRACE_SETSIGINFO PTRACE_GETREGSET PTRACE_SETREGSET PTRACE_SEIZE PTRACE_INTERRUPT "
    "PTRACE_LISTEN PTRACE_PEEKSIGINFO PTRACE_GETSIGMASK PTRACE_SETSIGMASK "
    "PTRACE_SECCOMP_GET_FILTER PTRACE_SECCOMP_GET_METADATA PTRACE_GET_SYSCALL_INFO "
    "PTRACE_GET_RSEQ_CONFIGURATION PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG "
    "PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG PTRACE_SET_SYSCALL_INFO"
)
VECTOR_CAVEAT: Final = "the vectors are logged as addresses"


class ptrace(
    Syscall,
    x86_64=101,
    generic=117,
    runs=Runs.PROGRAM,
    blocks=True,
    support=Support.PLAIN,
    caveat="the last two arguments are logged as addresses; a tracee shows the agent's own calls too",
    returns=show_long,
    names=Names.UNKNOWN,
):
    """process trace"""

    request = Chosen(PTRACE)
    pid = Pid()
    addr = Pointer()
    data = Pointer()


class kcmp(
    Syscall,
    x86_64=312,
    generic=272,
    since="3.5",
    runs=Runs.PROGRAM,
    support=Support.PARTIAL,
    caveat="under the route `proxy` the program's process has no descriptors to compare",
):
    """compare two processes to determine if they share a kernel resource"""

    pid1 = Pid()
    pid2 = Pid()
    type = Chosen(KCMP)
    idx1 = Hex()
    idx2 = Hex()


class process_vm_readv(
    Syscall,
    x86_64=310,
    generic=270,
    since="3.2",
    runs=Runs.PROGRAM,
    support=Support.PLAIN,
    caveat=VECTOR_CAVEAT,
    returns=show_long,
):
    """transfer data from another process's address space"""

    pid = Pid()
    local_iov = Pointer()
    liovcnt = Size()
    remote_iov = Pointer()
    riovcnt = Size()
    flags = Hex()


class process_vm_writev(
    Syscall,
    x86_64=311,
    generic=271,
    since="3.2",
    runs=Runs.PROGRAM,
    support=Support.PLAIN,
    caveat=VECTOR_CAVEAT,
    returns=show_long,
):
    """transfer data to another process's address space"""

    pid = Pid()
    local_iov = Pointer()
    liovcnt = Size()
    remote_iov = Pointer()
    riovcnt = Size()
    flags = Hex()


class pidfd_open(
    Syscall, x86_64=434, generic=434, since="5.3", new_fd=True, effect=new("anon_inode:[pidfd]")
):
    """obtain a file descriptor that refers to a process"""

    pid = Pid()
    flags = Chosen(PIDFD_FLAGS)


class pidfd_getfd(
    Syscall,
    x86_64=438,
    generic=438,
    since="5.6",
    runs=Runs.BORROW,
    new_fd=True,
    support=Support.PARTIAL,
    caveat="under the route `proxy` a captured process has no descriptors that could be taken, and "
    "the copy stays in the program",
    effect=UNKNOWN,
    posts=Posts.ENDS,
):
    """obtain a duplicate of another process's file descriptor"""

    pidfd = Fd()
    targetfd = Int()
    flags = Unsigned()


class pidfd_send_signal(
    Syscall, x86_64=424, generic=424, since="5.1", runs=Runs.BORROW, classes=("signal", "process")
):
    """send a signal to a process specified by a file descriptor"""

    pidfd = Fd()
    sig = Chosen(SIGNALS)
    info = In(SIGINFO)
    flags = Chosen(PIDFD_SIGNAL)


class process_madvise(
    Syscall,
    x86_64=440,
    generic=440,
    since="5.10",
    runs=Runs.BORROW,
    support=Support.PARTIAL,
    caveat=VECTOR_CAVEAT,
    returns=show_long,
):
    """give advice about use of memory to a process"""

    pidfd = Fd()
    iovec = Pointer()
    vlen = Size()
    advice = Int()
    flags = Unsigned()


class process_mrelease(Syscall, x86_64=448, generic=448, since="5.15", runs=Runs.BORROW):
    """release the memory of a dying process"""

    pidfd = Fd()
    flags = Unsigned()

# SPDX-License-Identifier: Apache-2.0
"""System V shared memory, semaphores and messages, and POSIX message queues."""

from typing import Final

from lsca.table.arguments import (
    Address,
    Chosen,
    Fd,
    Hex,
    In,
    Int,
    Long,
    Mode,
    Out,
    Pointer,
    Size,
    String,
    Unsigned,
    Value,
)
from lsca.table.clocks import SIGEVENT, TIMESPEC
from lsca.table.constants import Enum, Flags
from lsca.table.effects import new
from lsca.table.files import OPEN_FLAGS, creates
from lsca.table.layouts import Struct, array, number, one
from lsca.table.syscall import Runs, Support, Syscall
from lsca.table.text import View, show_hex, show_long, show_octal, show_unsigned

IPC_FLAGS: Final = Flags("IPC_CREAT=0o1000 IPC_EXCL=0o2000 IPC_NOWAIT=0o4000")
SHM_FLAGS: Final = Flags(
    "IPC_CREAT=0o1000 IPC_EXCL=0o2000 SHM_HUGETLB=0o4000 SHM_NORESERVE=0o10000"
)
SHMAT_FLAGS: Final = Flags("SHM_RDONLY=0o10000 SHM_RND=0o20000 SHM_REMAP=0o40000 SHM_EXEC=0o100000")
MESSAGE_FLAGS: Final = Flags(
    "IPC_NOWAIT=0o4000 MSG_NOERROR=0o10000 MSG_EXCEPT=0o20000 MSG_COPY=0o40000"
)
COMMANDS: Final = Enum("IPC_RMID IPC_SET IPC_STAT IPC_INFO")
SHM_COMMANDS: Final = Enum(
    "IPC_RMID IPC_SET IPC_STAT IPC_INFO SHM_LOCK=11 SHM_UNLOCK SHM_STAT SHM_INFO SHM_STAT_ANY"
)
SEM_COMMANDS: Final = Enum(
    "IPC_RMID IPC_SET IPC_STAT IPC_INFO GETPID=11 GETVAL GETALL GETNCNT GETZCNT SETVAL SETALL "
    "SEM_STAT SEM_INFO SEM_STAT_ANY"
)
MSG_COMMANDS: Final = Enum("IPC_RMID IPC_SET IPC_STAT IPC_INFO MSG_STAT=11 MSG_INFO MSG_STAT_ANY")
SEM_OPERATION: Final = Flags("IPC_NOWAIT=0o4000 SEM_UNDO=0x1000")
BUFFER_CAVEAT: Final = "the structure is logged as an address"

SEMBUF: Final = array(
    Struct("sembuf", {"sem_num": "H", "sem_op": "h", "sem_flg": ("h", SEM_OPERATION)})
)
MQ_ATTR: Final = one(
    Struct(
        "mq_attr",
        {
            "mq_flags": ("q", OPEN_FLAGS),
            "mq_maxmsg": "q",
            "mq_msgsize": "q",
            "mq_curmsgs": "q",
            "_reserved": "32s",
        },
    )
)
PRIORITY: Final = number("unsigned int", "I", show_unsigned)


def show_key(value: int, view: View) -> str:
    key = value & 0xFFFFFFFF
    return f"{key:#x}" if key else "IPC_PRIVATE"


def show_get_flags(value: int, view: View) -> str:
    """Flags and permissions: IPC_CREAT|0600."""
    flags, mode = IPC_FLAGS(value & ~0o777, view), value & 0o777
    return f"{flags}|{mode:#05o}".replace("0o", "0") if flags != "0" else show_octal(mode, view)


def show_shm_flags(value: int, view: View) -> str:
    flags, mode = SHM_FLAGS(value & ~0o777, view), value & 0o777
    return f"{flags}|{mode:#05o}".replace("0o", "0") if flags != "0" else show_octal(mode, view)


class shmget(Syscall, x86_64=29, generic=194, runs=Runs.PROGRAM, errors="ENOSPC ENOMEM EACCES"):
    """allocate a System V shared memory segment"""

    key = Value(show_key)
    size = Size()
    shmflg = Value(show_shm_flags)


class shmat(
    Syscall, x86_64=30, generic=196, runs=Runs.PROGRAM, returns=show_hex, classes=("ipc", "memory")
):
    """attach a System V shared memory segment"""

    shmid = Int()
    shmaddr = Address()
    shmflg = Chosen(SHMAT_FLAGS)


class shmdt(Syscall, x86_64=67, generic=197, runs=Runs.PROGRAM, classes=("ipc", "memory")):
    """detach a System V shared memory segment"""

    shmaddr = Address()


class shmctl(
    Syscall,
    x86_64=31,
    generic=195,
    runs=Runs.PROGRAM,
    support=Support.PLAIN,
    caveat=BUFFER_CAVEAT,
):
    """System V shared memory control"""

    shmid = Int()
    cmd = Chosen(SHM_COMMANDS)
    buf = Pointer()


class semget(Syscall, x86_64=64, generic=190, runs=Runs.PROGRAM, errors="ENOSPC ENOMEM EACCES"):
    """get a System V semaphore set identifier"""

    key = Value(show_key)
    nsems = Int()
    semflg = Value(show_get_flags)


class semop(Syscall, x86_64=65, generic=193, runs=Runs.PROGRAM, blocks=True):
    """System V semaphore operations"""

    semid = Int()
    sops = In(SEMBUF, length="nsops")
    nsops = Unsigned()


class semtimedop(Syscall, x86_64=220, generic=192, runs=Runs.PROGRAM, blocks=True):
    """System V semaphore operations, with a timeout"""

    semid = Int()
    sops = In(SEMBUF, length="nsops")
    nsops = Unsigned()
    timeout = In(TIMESPEC)


class semctl(
    Syscall,
    x86_64=66,
    generic=191,
    runs=Runs.PROGRAM,
    support=Support.PLAIN,
    caveat="the last argument is logged as a number",
):
    """System V semaphore control operations"""

    semid = Int()
    semnum = Int()
    cmd = Chosen(SEM_COMMANDS)
    arg = Hex()


class msgget(Syscall, x86_64=68, generic=186, runs=Runs.PROGRAM):
    """get a System V message queue identifier"""

    key = Value(show_key)
    msgflg = Value(show_get_flags)


class msgsnd(
    Syscall,
    x86_64=69,
    generic=189,
    runs=Runs.PROGRAM,
    blocks=True,
    support=Support.PLAIN,
    caveat="the message is logged as an address",
):
    """send a message to a System V message queue"""

    msqid = Int()
    msgp = Pointer()
    msgsz = Size()
    msgflg = Chosen(MESSAGE_FLAGS)


class msgrcv(
    Syscall,
    x86_64=70,
    generic=188,
    runs=Runs.PROGRAM,
    blocks=True,
    support=Support.PLAIN,
    caveat="the message is logged as an address",
    returns=show_long,
):
    """receive a message from a System V message queue"""

    msqid = Int()
    msgp = Pointer()
    msgsz = Size()
    msgtyp = Long()
    msgflg = Chosen(MESSAGE_FLAGS)


class msgctl(
    Syscall,
    x86_64=71,
    generic=187,
    runs=Runs.PROGRAM,
    support=Support.PLAIN,
    caveat=BUFFER_CAVEAT,
):
    """System V message control operations"""

    msqid = Int()
    cmd = Chosen(MSG_COMMANDS)
    buf = Pointer()


class mq_open(Syscall, x86_64=240, generic=180, new_fd=True, effect=new("/{}", "name"), classes=()):
    """open a message queue"""

    name = String()
    flags = Chosen(OPEN_FLAGS)
    mode = Mode(when=creates)
    attr = In(MQ_ATTR, when=creates)


class mq_unlink(Syscall, x86_64=241, generic=181, classes=()):
    """remove a message queue"""

    name = String()


class mq_timedsend(Syscall, x86_64=242, generic=182, blocks=True, classes=()):
    """send a message to a message queue"""

    mqdes = Fd()
    msg_ptr = In(length="msg_len")
    msg_len = Size()
    msg_prio = Unsigned()
    abs_timeout = In(TIMESPEC)


class mq_timedreceive(Syscall, x86_64=243, generic=183, blocks=True, returns=show_long, classes=()):
    """receive a message from a message queue"""

    mqdes = Fd()
    msg_ptr = Out(length="msg_len", filled=True)
    msg_len = Size()
    msg_prio = Out(PRIORITY)
    abs_timeout = In(TIMESPEC)


class mq_notify(
    Syscall,
    x86_64=244,
    generic=184,
    runs=Runs.BORROW,
    support=Support.PARTIAL,
    caveat="the structure's bytes are logged as they are",
    classes=(),
):
    """register for notification when a message is available"""

    mqdes = Fd()
    sevp = In(SIGEVENT)


class mq_getsetattr(Syscall, x86_64=245, generic=185, classes=()):
    """get/set message queue attributes"""

    mqdes = Fd()
    newattr = In(MQ_ATTR)
    oldattr = Out(MQ_ATTR)

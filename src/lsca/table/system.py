# SPDX-License-Identifier: Apache-2.0
"""The machine and the kernel: names, memory, modules, random numbers, turning it off."""

from typing import Final

from lsca.table.arguments import Chosen, Fd, Hex, In, Int, Out, Path, Pointer, Size, String
from lsca.table.constants import Enum, Flags
from lsca.table.effects import Posts
from lsca.table.layouts import RANDOM, Struct, one
from lsca.table.syscall import Runs, Support, Syscall
from lsca.table.text import show_long

RANDOM_FLAGS: Final = Flags("GRND_NONBLOCK=1 GRND_RANDOM GRND_INSECURE")
SYSLOG: Final = Enum(
    "SYSLOG_ACTION_CLOSE SYSLOG_ACTION_OPEN SYSLOG_ACTION_READ SYSLOG_ACTION_READ_ALL "
    "SYSLOG_ACTION_READ_CLEAR SYSLOG_ACTION_CLEAR SYSLOG_ACTION_CONSOLE_OFF "
    "SYSLOG_ACTION_CONSOLE_ON SYSLOG_ACTION_CONSOLE_LEVEL SYSLOG_ACTION_SIZE_UNREAD "
    "SYSLOG_ACTION_SIZE_BUFFER"
)
REBOOT_MAGIC: Final = Enum("LINUX_REBOOT_MAGIC1=0xfee1dead")
REBOOT_MAGIC2: Final = Enum(
    "LINUX_REBOOT_MAGIC2=672274793 LINUX_REBOOT_MAGIC2A=85072278 LINUX_REBOOT_MAGIC2B=369367448 "
    "LINUX_REBOOT_MAGIC2C=537993216"
)
REBOOT: Final = Enum(
    "LINUX_REBOOT_CMD_CAD_OFF=0 LINUX_REBOOT_CMD_RESTART=0x01234567 "
    "LINUX_REBOOT_CMD_HALT=0xcdef0123 LINUX_REBOOT_CMD_CAD_ON=0x89abcdef "
    "LINUX_REBOOT_CMD_POWER_OFF=0x4321fedc LINUX_REBOOT_CMD_RESTART2=0xa1b2c3d4 "
    "LINUX_REBOOT_CMD_SW_SUSPEND=0xd000fce2 LINUX_REBOOT_CMD_KEXEC=0x45584543"
)
DELETE_MODULE: Final = Flags("O_NONBLOCK=0o4000 O_TRUNC=0o1000")
FINIT_MODULE: Final = Flags(
    "MODULE_INIT_IGNORE_MODVERSIONS=1 MODULE_INIT_IGNORE_VERMAGIC MODULE_INIT_COMPRESSED_FILE"
)
PORTS_CAVEAT: Final = "the program's own process gets the right to use I/O ports"

UTSNAME: Final = one(
    Struct(
        "utsname",
        {
            "sysname": "65s",
            "nodename": "65s",
            "release": "65s",
            "version": "65s",
            "machine": "65s",
            "domainname": "65s",
        },
        brief=("sysname", "nodename"),
    )
)
SYSINFO: Final = one(
    Struct(
        "sysinfo",
        {
            "uptime": "q",
            "_loads": "24s",
            "totalram": "Q",
            "freeram": "Q",
            "sharedram": "Q",
            "bufferram": "Q",
            "totalswap": "Q",
            "freeswap": "Q",
            "procs": "H",
            "_pad": "H",
            "totalhigh": "Q",
            "freehigh": "Q",
            "mem_unit": "I",
        },
    )
)


class uname(Syscall, x86_64=63, generic=160, runs=Runs.PROGRAM):
    """get name and information about current kernel"""

    buf = Out(UTSNAME)


class sysinfo(Syscall, x86_64=99, generic=179, runs=Runs.PROGRAM):
    """return system information"""

    info = Out(SYSINFO)


class getrandom(
    Syscall,
    x86_64=318,
    generic=278,
    since="3.17",
    runs=Runs.PROGRAM,
    blocks=True,
    returns=show_long,
    errors="EAGAIN EINTR",
):
    """obtain a series of random bytes"""

    buf = Out(RANDOM, length="buflen", filled=True)
    buflen = Size()
    flags = Chosen(RANDOM_FLAGS)


class sethostname(Syscall, x86_64=170, generic=161):
    """set hostname"""

    name = In(length="len")
    len = Int()


class setdomainname(Syscall, x86_64=171, generic=162):
    """set NIS domain name"""

    name = In(length="len")
    len = Int()


class syslog(Syscall, x86_64=103, generic=116, blocks=True):
    """read and/or clear kernel message ring buffer; set console_loglevel"""

    type = Chosen(SYSLOG)
    bufp = Out(length="len", filled=True)
    len = Int()


class acct(Syscall, x86_64=163, generic=89):
    """switch process accounting on or off"""

    filename = Path()


class vhangup(
    Syscall,
    x86_64=153,
    generic=58,
    runs=Runs.PROGRAM,
):
    """virtually hangup the current terminal"""


class reboot(
    Syscall,
    x86_64=169,
    generic=142,
    runs=Runs.PROGRAM,
    support=Support.PLAIN,
    caveat="the last argument is logged as an address",
    posts=Posts.ALL,
):
    """reboot or enable/disable Ctrl-Alt-Del"""

    magic = Chosen(REBOOT_MAGIC)
    magic2 = Chosen(REBOOT_MAGIC2)
    op = Chosen(REBOOT)
    arg = Pointer()


class init_module(
    Syscall,
    x86_64=175,
    generic=105,
    runs=Runs.PROGRAM,
    support=Support.PLAIN,
    caveat="the image is logged as an address",
):
    """load a kernel module"""

    module_image = Pointer()
    len = Size()
    param_values = String()


class finit_module(Syscall, x86_64=313, generic=273, since="3.8", blocks=True):
    """load a kernel module from a file"""

    fd = Fd()
    param_values = String()
    flags = Chosen(FINIT_MODULE)


class delete_module(Syscall, x86_64=176, generic=106, blocks=True):
    """unload a kernel module"""

    name = String()
    flags = Chosen(DELETE_MODULE)


class kexec_load(
    Syscall,
    x86_64=246,
    generic=104,
    since="2.6.13",
    runs=Runs.PROGRAM,
    support=Support.PLAIN,
    caveat="the segments are logged as an address",
):
    """load a new kernel for later execution"""

    entry = Hex()
    nr_segments = Size()
    segments = Pointer()
    flags = Hex()


class kexec_file_load(Syscall, x86_64=320, generic=294, since="3.17", blocks=True):
    """load a new kernel from files for later execution"""

    kernel_fd = Fd()
    initrd_fd = Fd()
    cmdline_len = Size()
    cmdline = In(length="cmdline_len")
    flags = Hex()


class iopl(Syscall, x86_64=172, runs=Runs.PROGRAM, support=Support.PARTIAL, caveat=PORTS_CAVEAT):
    """change I/O privilege level"""

    level = Int()


class ioperm(Syscall, x86_64=173, runs=Runs.PROGRAM, support=Support.PARTIAL, caveat=PORTS_CAVEAT):
    """set port input/output permissions"""

    from_port = Hex()
    num = Size()
    turn_on = Int()


class modify_ldt(
    Syscall,
    x86_64=154,
    runs=Runs.PROGRAM,
    support=Support.PLAIN,
    caveat="the entries are logged as an address",
):
    """get or set a per-process LDT entry"""

    func = Int()
    ptr = Pointer()
    bytecount = Size()


class sysfs(
    Syscall,
    x86_64=139,
    runs=Runs.PROGRAM,
    support=Support.PLAIN,
    caveat="obsolete; the arguments are logged as numbers",
):
    """get filesystem type information (obsolete)"""

    option = Int()
    arg1 = Hex()
    arg2 = Hex()


class uretprobe(
    Syscall,
    x86_64=335,
    since="6.11",
    runs=Runs.PROGRAM,
    support=Support.PLAIN,
    caveat="only the kernel's own trampoline may make it",
):
    """execute pending return uprobes"""


class uprobe(
    Syscall,
    x86_64=336,
    since="6.18",
    runs=Runs.PROGRAM,
    support=Support.PLAIN,
    caveat="only the kernel's own trampoline may make it",
):
    """execute pending entry uprobes"""

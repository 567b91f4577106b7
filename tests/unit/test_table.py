# SPDX-License-Identifier: Apache-2.0
"""Proves the table against the kernel: its headers for numbers, its tracepoints for argument counts; and that a row
which cannot be true is refused with words that say where and why.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lsca.table import (
    COMMANDS,
    MACHINES,
    REQUESTS,
    RowError,
    Runs,
    Support,
    Syscall,
    by_name,
    by_number,
    rows,
)
from lsca.table.arguments import Fd, In, Int, Kind, Length, Out, Size
from lsca.table.clocks import TIMESPEC
from lsca.table.effects import Does, by
from lsca.table.layouts import Struct, array, opaque
from lsca.table.syscall import Table
from lsca.table.waiting import EPOLL_EVENT

X86_HEADER = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
GENERIC_HEADER = Path("/usr/include/asm-generic/unistd.h")
TRACEPOINTS = Path("/sys/kernel/tracing/events/syscalls")
DEFINE = re.compile(r"^#define __NR_(\w+) (\d+)$", re.MULTILINE)
# What arm64 defines before it includes the generic list.
ARM64 = (
    "__ARCH_WANT_RENAMEAT",
    "__ARCH_WANT_NEW_STAT",
    "__ARCH_WANT_SET_GET_RLIMIT",
    "__ARCH_WANT_SYS_CLONE3",
    "__ARCH_WANT_MEMFD_SECRET",
)
NOT_CALLS = {"syscalls", "arch_specific_syscall"}
# Names that tracepoints take from the C function, where that differs.
TRACED = {
    "newstat": "stat",
    "newfstat": "fstat",
    "newlstat": "lstat",
    "newuname": "uname",
    "sendfile64": "sendfile",
    "umount": "umount2",
}
NUMBERS_6_18 = {
    "uretprobe": 335,
    "uprobe": 336,
    "cachestat": 451,
    "fchmodat2": 452,
    "map_shadow_stack": 453,
    "futex_wake": 454,
    "futex_wait": 455,
    "futex_requeue": 456,
    "statmount": 457,
    "listmount": 458,
    "lsm_get_self_attr": 459,
    "lsm_set_self_attr": 460,
    "lsm_list_modules": 461,
    "mseal": 462,
    "setxattrat": 463,
    "getxattrat": 464,
    "listxattrat": 465,
    "removexattrat": 466,
    "open_tree_attr": 467,
    "file_getattr": 468,
    "file_setattr": 469,
}


def refused(message: str) -> pytest.RaisesExc[RowError]:
    return pytest.raises(RowError, match=re.escape(message))


# ---- against the kernel ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(not X86_HEADER.exists(), reason="the x86-64 kernel headers are not installed")
def test_numbers_of_x86_64() -> None:
    theirs = {name: int(number) for name, number in DEFINE.findall(X86_HEADER.read_text())}
    ours = {row.name: row.numbers["x86_64"] for row in rows() if "x86_64" in row.numbers}
    assert theirs.items() <= ours.items()
    newest = max(theirs.values())
    extra = {name: nr for name, nr in ours.items() if nr <= newest and name not in theirs}
    assert extra.items() <= NUMBERS_6_18.items()


@pytest.mark.skipif(not GENERIC_HEADER.exists(), reason="the generic kernel headers are not there")
@pytest.mark.skipif(not shutil.which("gcc"), reason="needs a C preprocessor")
def test_numbers_of_the_generic_list() -> None:
    command = ["gcc", "-E", "-dM", *(f"-D{name}" for name in ARM64)]
    command += ["-include", str(GENERIC_HEADER), "-xc", "-"]
    text = subprocess.run(command, input="", capture_output=True, text=True, check=True).stdout
    defines = dict(re.findall(r"^#define __NR_(\w+) (\w+)$", text, re.MULTILINE))
    values = dict(re.findall(r"^#define (__NR3264_\w+) (\d+)$", text, re.MULTILINE))
    theirs = {
        name: int(values.get(value) or value)
        for name, value in defines.items()
        if name not in NOT_CALLS and name != "sync_file_range2"
    }
    ours = {row.name: row.numbers["aarch64"] for row in rows() if "aarch64" in row.numbers}
    assert theirs.items() <= ours.items()
    newest = max(theirs.values())
    assert not {name for name, nr in ours.items() if nr <= newest} - theirs.keys()


def test_numbers_newer_than_the_headers() -> None:
    for name, number in NUMBERS_6_18.items():
        row = by_name(name)
        assert row and row.numbers["x86_64"] == number
        assert row.numbers.get("aarch64", number) == number


def test_no_number_is_left_out() -> None:
    """x86-64 has no gaps up to 336 and none from 424 on; the list both machines share begins there."""
    for number in (*range(337), *range(424, 470)):
        assert by_number("x86_64", number), number
    for number in (*range(244), *range(260, 295), *range(424, 470)):
        assert by_number("aarch64", number), number


def traced() -> list[Path]:
    try:
        return sorted(TRACEPOINTS.glob("sys_enter_*/format"))
    except PermissionError:
        return []


@pytest.mark.skipif(not traced(), reason="tracefs is not mounted, or not for this user")
def test_argument_counts_of_tracepoints() -> None:
    compared = 0
    for path in traced():
        name = path.parent.name.removeprefix("sys_enter_")
        row = by_name(TRACED.get(name, name))
        assert row, f"the kernel has {name}"
        text = path.read_text()
        fields = re.findall(r"field:.*?(\w+);\toffset", text)
        expected = [field for field in fields if not field.startswith(("common_", "__syscall_nr"))]
        assert len(row.arguments) == len(expected), f"{name}: {expected}"
        compared += 1
    assert compared > 300


# ---- every row ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_row(row: type[Syscall]) -> None:
    assert row.summary and not row.summary.endswith(".")
    assert (row.support is Support.FULL) == (not row.caveat)
    assert (row.runs is Runs.NOWHERE) == (row.support is Support.NONE)
    assert by_name(row.name) is row
    for machine, number in row.numbers.items():
        assert by_number(machine, number) is row
    pointers = [name for name, a in row.arguments.items() if a.kind is Kind.POINTER]
    if row.runs in (Runs.ANYWHERE, Runs.BOTH):
        assert not pointers, "the proxy cannot follow a pointer without a shape"
    if row.runs is Runs.BORROW:
        kinds = {a.kind for a in row.arguments.values()}
        assert Kind.FD in kinds, "there is nothing to borrow"
    for argument in row.arguments.values():
        if argument.layout is not None:
            assert set(argument.layout.size) == set(MACHINES)
        if argument.measure is Length.ARG:
            assert argument.length is not None


def test_sizes_that_differ() -> None:
    assert EPOLL_EVENT.size == {"x86_64": 12, "aarch64": 16}
    fstat = by_name("fstat")
    assert fstat
    layout = fstat.arguments["statbuf"].layout
    assert layout and layout.size == {"x86_64": 144, "aarch64": 128}


SIZES = {
    "struct timespec": ("time.h", 16),
    "struct itimerspec": ("time.h", 32),
    "struct itimerval": ("sys/time.h", 32),
    "struct timex": ("sys/timex.h", 208),
    "struct statfs": ("sys/vfs.h", 120),
    "struct statx": ("linux/stat.h", 256),
    "struct rusage": ("sys/resource.h", 144),
    "struct sysinfo": ("linux/sysinfo.h", 112),
    "struct utsname": ("sys/utsname.h", 390),
    "struct winsize": ("asm/termios.h", 8),
    "struct flock": ("fcntl.h", 32),
    "struct pollfd": ("poll.h", 8),
    "struct termios2": ("asm/termbits.h", 44),
    "struct ifreq": ("net/if.h", 40),
    "struct fsxattr": ("linux/fs.h", 28),
    "struct file_clone_range": ("linux/fs.h", 32),
    "struct fstrim_range": ("linux/fs.h", 24),
    "struct loop_info64": ("linux/loop.h", 232),
    "struct loop_config": ("linux/loop.h", 304),
    "struct rtc_time": ("linux/rtc.h", 36),
    "struct sigevent": ("signal.h", 64),
    "struct mq_attr": ("mqueue.h", 64),
    "struct clone_args": ("linux/sched.h", 88),
    "struct open_how": ("linux/openat2.h", 24),
    "struct mount_attr": ("linux/mount.h", 32),
    "struct sembuf": ("sys/sem.h", 6),
    "struct futex_waitv": ("linux/futex.h", 24),
    "struct tms": ("sys/times.h", 32),
    "struct utimbuf": ("utime.h", 16),
    "struct ustat": ("linux/types.h", 32),
}


def sizes_of_the_table() -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    layouts = [a.layout for row in rows() for a in row.arguments.values() if a.layout]
    layouts += [r.layout for r in (*REQUESTS.values(), *COMMANDS.values()) if r.layout]
    for layout in layouts:
        found.setdefault(layout.name.removesuffix("[]"), set()).add(layout.size["x86_64"])
    return found


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs a C compiler")
@pytest.mark.parametrize("name", SIZES)
def test_size_by_the_c_compiler(name: str, tmp_path: Path) -> None:
    header, expected = SIZES[name]
    if name != "struct ustat":
        source = f'#include <{header}>\n_Static_assert(sizeof({name}) == {expected}, "");\n'
        command = ["gcc", "-D_GNU_SOURCE", "-fsyntax-only", "-xc", "-"]
        done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
        if "No such file" in done.stderr or "incomplete type" in done.stderr:
            pytest.skip(f"{header} is not installed here")
        assert done.returncode == 0, done.stderr
    ours = sizes_of_the_table().get(name, {expected})
    assert ours <= {expected, 1}  # 1: counted in bytes by an argument


REQUEST_HEADERS = """
    sys/ioctl.h asm/termbits.h linux/fs.h linux/sockios.h linux/loop.h linux/random.h linux/rtc.h
    linux/if_tun.h linux/nsfs.h linux/vt.h linux/kd.h linux/hdreg.h linux/input.h linux/fcntl.h
"""


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs a C preprocessor")
def test_request_numbers_by_the_c_compiler() -> None:
    """Every request and fcntl command that the headers here know has their number."""
    lines = [f"#include <{header}>" for header in REQUEST_HEADERS.split()]
    for request in (*REQUESTS.values(), *COMMANDS.values()):
        lines += [
            f"#ifdef {request.name}",
            f'_Static_assert((unsigned int){request.name} == {request.number}, "{request.name}");',
            "#endif",
        ]
    command = ["gcc", "-D_GNU_SOURCE", "-fsyntax-only", "-xc", "-"]
    text = "\n".join(lines) + "\n"
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if "No such file" in done.stderr:
        pytest.skip("some kernel headers are not installed here")
    assert done.returncode == 0, done.stderr


def test_job_control_is_asked_by_the_program() -> None:
    borrowed = {request.name for request in REQUESTS.values() if request.borrow}
    assert {"TIOCSCTTY", "TIOCNOTTY", "TIOCSPGRP", "TIOCGPGRP", "TIOCGSID"} <= borrowed


# ---- rows that cannot be true ---------------------------------------------------------------------------------------


def test_refuses_an_unknown_length() -> None:
    with refused("bad: argument 'buf': its length is 'cout', and there is no such argument"):

        class bad(Syscall, x86_64=500, table=Table()):
            """a call"""

            buf = Out(length="cout")
            count = Size()


def test_refuses_a_number_that_is_taken() -> None:
    table = Table()

    class first(Syscall, x86_64=500, table=table):
        """a call"""

    with refused("second: x86_64 number 500 is first's"):

        class second(Syscall, x86_64=500, generic=7, table=table):
            """a call"""

    assert table.rows() == (first,)


def test_refuses_a_name_that_is_taken() -> None:
    table = Table()
    make = "class same(Syscall, x86_64={}, table=table):\n    'a call'\n"
    exec(make.format(1), {"Syscall": Syscall, "table": table})
    with refused("same: there is a row of this name already"):
        exec(make.format(2), {"Syscall": Syscall, "table": table})


def test_refuses_more_than_six_arguments() -> None:
    with refused("bad: 7 arguments; a system call has at most 6"):

        class bad(Syscall, x86_64=500, table=Table()):
            """a call"""

            a, b, c, d, e, f, g = (Int(), Int(), Int(), Int(), Int(), Int(), Int())


def test_refuses_a_row_without_words() -> None:
    with refused("bad: a row has a docstring of one line"):

        class bad(Syscall, x86_64=500, table=Table()):
            pass


def test_refuses_a_row_without_a_number() -> None:
    with refused("bad: a row has a number on at least one machine"):

        class bad(Syscall, table=Table()):
            """a call"""


def test_refuses_a_number_that_is_too_large() -> None:
    with refused("bad: x86_64 number 512 is not below 512"):

        class bad(Syscall, x86_64=512, table=Table()):
            """a call"""


def test_refuses_support_without_a_caveat() -> None:
    with refused("bad: a caveat belongs to every support level but FULL, and only there"):

        class bad(Syscall, x86_64=500, support=Support.PARTIAL, table=Table()):
            """a call"""


def test_refuses_a_length_that_is_not_a_number() -> None:
    with refused("bad: argument 'buf': its length is 'fd', which is not a number"):

        class bad(Syscall, x86_64=500, table=Table()):
            """a call"""

            fd = Fd()
            buf = Out(length="fd")


def test_refuses_a_length_behind_something_that_is_not_read() -> None:
    with refused("bad: argument 'addr': its length is read at 'len', which is not memory"):

        class bad(Syscall, x86_64=500, table=Table()):
            """a call"""

            addr = Out(length_at="len")
            len = Size()


def test_refuses_bytes_without_a_length() -> None:
    with refused("bad: argument 'buf': bytes without a length"):

        class bad(Syscall, x86_64=500, table=Table()):
            """a call"""

            buf = In()


def test_refuses_filled_without_room() -> None:
    with refused("bad: argument 'ts': filled, but no argument gives its room"):

        class bad(Syscall, x86_64=500, table=Table()):
            """a call"""

            ts = Out(TIMESPEC, filled=True)


def test_refuses_a_structure_without_a_size() -> None:
    with refused("bad: argument 'it': struct nothing has no size that a row can hold"):

        class bad(Syscall, x86_64=500, table=Table()):
            """a call"""

            it = In(opaque("nothing", 0))


def test_refuses_an_order_that_is_not_the_arguments() -> None:
    with refused("bad: generic_order does not name the arguments"):

        class bad(Syscall, x86_64=500, generic=500, generic_order=("a", "c"), table=Table()):
            """a call"""

            a = Int()
            b = Int()


def test_struct_follows_the_rules_of_c() -> None:
    inner = Struct("inner", {"a": "B", "b": "Q"})
    outer = Struct("outer", {"x": "H", "in": inner, "y": "B"})
    assert inner.size["x86_64"] == 16
    assert outer.size["x86_64"] == 32
    assert array(outer).size["aarch64"] == 32


def test_refuses_an_effect_on_nothing() -> None:
    with refused("bad: its effect names 'fd', and there is no such argument"):

        class bad(Syscall, x86_64=500, effect=by(Does.CLOSES, "fd"), table=Table()):
            """a call"""

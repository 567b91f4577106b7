# SPDX-License-Identifier: Apache-2.0
"""Proves the text of the log: fixed lines as strace writes them, and a program that makes calls under strace and
reports what was in its memory, so that both texts can be compared.
"""

import errno
import struct
from collections.abc import Mapping

import pytest

from lsca.table import MACHINES, Piece, Syscall, by_name, format_call, rows

AT_FDCWD = (1 << 64) - 100
ADDRESS = 0x7F0000001000


def row_of(name: str) -> type[Syscall]:
    row = by_name(name)
    assert row, name
    return row


def full(data: bytes) -> Piece:
    return Piece(data, len(data))


def line(
    name: str,
    args: tuple[int, ...],
    ret: int | None = 0,
    entry: Mapping[int, bytes | Piece] | None = None,
    exit: Mapping[int, bytes | Piece] | None = None,
    machine: str = "x86_64",
    strings: int = 32,
) -> str:
    """One line. Missing arguments are 0, as the record has them."""
    pieces = [
        {index: full(data) if isinstance(data, bytes) else data for index, data in given.items()}
        for given in (entry or {}, exit or {})
    ]
    padded = (*args, 0, 0, 0, 0, 0, 0)[:6]
    shown, result = format_call(
        row_of(name), machine, padded, ret, pieces[0], pieces[1], strings=strings
    )
    return f"{name}({shown}) = {result}"


STAT = struct.pack("<QQQIIIIQqqq48s24s", 8, 9, 1, 0o100644, 0, 0, 0, 0, 1234, 4096, 8, b"", b"")
CHARACTER = struct.pack(
    "<QQQIIIIQqqq48s24s", 8, 9, 1, 0o020666, 0, 0, 0, 0x103, 0, 4096, 0, b"", b""
)
STAT_ARM = struct.pack(
    "<QQIIIIQQqiiq48s8s", 8, 9, 0o100644, 1, 0, 0, 0, 0, 1234, 4096, 0, 8, b"", b""
)
INET = bytes.fromhex("02001f907f0000010000000000000000")
INET6 = struct.pack("<H", 10) + struct.pack("!HI", 80, 0) + bytes(15) + b"\1" + bytes(4)
UNIX = b"\1\0/run/x.sock\0"
ABSTRACT = b"\1\0\0name"
RIGHTS = struct.pack("<Qiii", 20, 1, 1, 5) + bytes(4)
MESSAGE = struct.pack("<8I", 0, len(RIGHTS), 3, 0, 0, 1, 0, 0) + RIGHTS + b"abc"
RECEIVED = struct.pack("<8I", 16, 0, 3, 0x20, 1, 0, 0, 0) + INET + b"abc"
TWO_MESSAGES = (
    struct.pack("<8I", 0, 0, 2, 0, 0, 0, 2, 0)
    + b"hi"
    + struct.pack("<8I", 0, 0, 1, 0, 0, 0, 1, 0)
    + b"x"
)
ACTION = struct.pack("<QQQQ", 0x401000, 0x14000000, 0x402000, 1 << 1)

LINES = {
    "write": (
        line("write", (3, ADDRESS, 3), 3, {1: b"abc"}),
        'write(3, "abc", 3) = 3',
    ),
    "write, cut": (
        line("write", (3, ADDRESS, 100), 100, {1: Piece(b"a" * 32, 100)}),
        'write(3, "' + "a" * 32 + '"..., 100) = 100',
    ),
    "write, shorter": (
        line("write", (3, ADDRESS, 8), 8, {1: b"abcdefgh"}, strings=4),
        'write(3, "abcd"..., 8) = 8',
    ),
    "write, fault": (
        line("write", (3, ADDRESS, 3), -errno.EFAULT),
        "write(3, 0x7f0000001000, 3) = -1 EFAULT (Bad address)",
    ),
    "read": (
        line("read", (0, ADDRESS, 4096), 6, exit={1: b"\x1b\x00\x001\n\xff"}),
        r'read(0, "\33\0\0001\n\377", 4096) = 6',
    ),
    "read, end of file": (line("read", (0, ADDRESS, 9), 0), 'read(0, "", 9) = 0'),
    "read, unknown": (line("read", (0, ADDRESS, 9), 4), "read(0, 0x7f0000001000, 9) = 4"),
    "read, interrupted": (
        line("read", (0, ADDRESS, 9), -512),
        "read(0, 0x7f0000001000, 9) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)",
    ),
    "openat": (
        line("openat", (AT_FDCWD, ADDRESS, 0o2000000), -errno.ENOENT, {1: b"/etc/ld.so.preload"}),
        'openat(AT_FDCWD, "/etc/ld.so.preload", O_RDONLY|O_CLOEXEC) = '
        "-1 ENOENT (No such file or directory)",
    ),
    "openat, creating": (
        line("openat", (AT_FDCWD, ADDRESS, 0o1101, 0o644), 3, {1: b"a"}),
        'openat(AT_FDCWD, "a", O_WRONLY|O_CREAT|O_TRUNC, 0644) = 3',
    ),
    "openat, a directory": (
        line("openat", (AT_FDCWD, ADDRESS, 0o2204000), 3, {1: b"."}),
        'openat(AT_FDCWD, ".", O_RDONLY|O_NONBLOCK|O_CLOEXEC|O_DIRECTORY) = 3',
    ),
    "openat, a directory on aarch64": (
        line("openat", (AT_FDCWD, ADDRESS, 0o2044000), 3, {1: b"."}, machine="aarch64"),
        'openat(AT_FDCWD, ".", O_RDONLY|O_NONBLOCK|O_CLOEXEC|O_DIRECTORY) = 3',
    ),
    "openat, a temporary file": (
        line("openat", (AT_FDCWD, ADDRESS, 0o20200002, 0o600), 3, {1: b"/tmp"}),
        'openat(AT_FDCWD, "/tmp", O_RDWR|O_TMPFILE, 0600) = 3',
    ),
    "close": (
        line("close", (3,), -errno.EBADF),
        "close(3) = -1 EBADF (Bad file descriptor)",
    ),
    "exit_group": (line("exit_group", (0,), None), "exit_group(0) = ?"),
    "fstat": (
        line("fstat", (3, ADDRESS), 0, exit={1: STAT}),
        "fstat(3, {st_mode=S_IFREG|0644, st_size=1234, ...}) = 0",
    ),
    "fstat on aarch64": (
        line("fstat", (3, ADDRESS), 0, exit={1: STAT_ARM}, machine="aarch64"),
        "fstat(3, {st_mode=S_IFREG|0644, st_size=1234, ...}) = 0",
    ),
    "fstat, a device": (
        line("fstat", (3, ADDRESS), 0, exit={1: CHARACTER}),
        "fstat(3, {st_mode=S_IFCHR|0666, st_rdev=makedev(0x1, 0x3), ...}) = 0",
    ),
    "mmap": (
        line("mmap", (0, 8192, 3, 0x22, (1 << 64) - 1, 0), 0x7F1234560000),
        "mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f1234560000",
    ),
    "mmap of a file": (
        line("mmap", (0x7F1234562000, 4096, 5, 0x812, 3, 0x28000), 0x7F1234562000),
        "mmap(0x7f1234562000, 4096, PROT_READ|PROT_EXEC, MAP_PRIVATE|MAP_FIXED|MAP_DENYWRITE, 3, "
        "0x28000) = 0x7f1234562000",
    ),
    "brk": (line("brk", (0,), 0x55550000), "brk(NULL) = 0x55550000"),
    "pipe2": (
        line("pipe2", (ADDRESS, 0o2000000), 0, exit={0: struct.pack("<ii", 3, 4)}),
        "pipe2([3, 4], O_CLOEXEC) = 0",
    ),
    "lseek": (
        line("lseek", (3, (1 << 64) - 1, 2), 5 << 32),
        "lseek(3, -1, SEEK_END) = 21474836480",
    ),
    "fcntl": (line("fcntl", (3, 1), 1), "fcntl(3, F_GETFD) = 0x1 (flags FD_CLOEXEC)"),
    "fcntl, flags": (
        line("fcntl", (3, 3), 0o100002),
        "fcntl(3, F_GETFL) = 0x8002 (flags O_RDWR|O_LARGEFILE)",
    ),
    "fcntl, a lock": (
        line("fcntl", (3, 6, ADDRESS), 0, {2: struct.pack("<hhiqqii", 1, 0, 0, 0, 10, 0, 0)}),
        "fcntl(3, F_SETLK, {l_type=F_WRLCK, l_whence=SEEK_SET, l_start=0, l_len=10}) = 0",
    ),
    "ioctl": (
        line("ioctl", (1, 0x5413, ADDRESS), 0, exit={2: struct.pack("<HHHH", 24, 80, 0, 0)}),
        "ioctl(1, TIOCGWINSZ, {ws_row=24, ws_col=80, ws_xpixel=0, ws_ypixel=0}) = 0",
    ),
    "ioctl, no terminal": (
        line("ioctl", (1, 0x5401, ADDRESS), -errno.ENOTTY),
        "ioctl(1, TCGETS, 0x7f0000001000) = -1 ENOTTY (Inappropriate ioctl for device)",
    ),
    "ioctl, a number": (
        line("ioctl", (1, 0x541B, ADDRESS), 0, exit={2: struct.pack("<i", 7)}),
        "ioctl(1, FIONREAD, [7]) = 0",
    ),
    "ioctl, unknown": (
        line("ioctl", (1, 0xC0045877, 0), -errno.EINVAL),
        "ioctl(1, _IOC(_IOC_READ|_IOC_WRITE, 0x58, 0x77, 0x4), 0) = -1 EINVAL (Invalid argument)",
    ),
    "socket": (
        line("socket", (2, 0o2000001, 0), 3),
        "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_IP) = 3",
    ),
    "connect": (
        line("connect", (3, ADDRESS, 16), -errno.ECONNREFUSED, {1: INET}),
        'connect(3, {sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr("127.0.0.1")}, 16) '
        "= -1 ECONNREFUSED (Connection refused)",
    ),
    "bind, IPv6": (
        line("bind", (3, ADDRESS, 28), 0, {1: INET6}),
        "bind(3, {sa_family=AF_INET6, sin6_port=htons(80), sin6_flowinfo=htonl(0), "
        'inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}, 28) = 0',
    ),
    "bind, Unix": (
        line("bind", (3, ADDRESS, 14), 0, {1: UNIX}),
        'bind(3, {sa_family=AF_UNIX, sun_path="/run/x.sock"}, 14) = 0',
    ),
    "connect, cut": (
        line("connect", (3, ADDRESS, 60), 0, {1: Piece(b"\1\0/run/lo", 60)}),
        'connect(3, {sa_family=AF_UNIX, sun_path="/run/lo"...}, 60) = 0',
    ),
    "getdents64": (
        line("getdents64", (3, ADDRESS, 4096), 48, exit={1: (bytes(16) + b"\x18" + bytes(7)) * 2}),
        "getdents64(3, 0x7f0000001000 /* 2 entries */, 4096) = 48",
    ),
    "bind, abstract": (
        line("bind", (3, ADDRESS, 7), 0, {1: ABSTRACT}),
        'bind(3, {sa_family=AF_UNIX, sun_path=@"name"}, 7) = 0',
    ),
    "accept": (
        line(
            "accept",
            (3, ADDRESS, ADDRESS),
            4,
            {2: struct.pack("<i", 128)},
            {1: INET, 2: struct.pack("<i", 16)},
        ),
        'accept(3, {sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr("127.0.0.1")}, '
        "[128 => 16]) = 4",
    ),
    "recvfrom": (
        line("recvfrom", (4, ADDRESS, 64), 3, exit={1: b"abc"}),
        'recvfrom(4, "abc", 64, 0, NULL, NULL) = 3',
    ),
    "sendmsg": (
        line("sendmsg", (4, ADDRESS, 0x4000), 3, {1: MESSAGE}),
        'sendmsg(4, {msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base="abc", iov_len=3}], '
        "msg_iovlen=1, msg_control=[{cmsg_len=20, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, "
        "cmsg_data=[5]}], msg_controllen=24, msg_flags=0}, MSG_NOSIGNAL) = 3",
    ),
    "recvmsg": (
        line("recvmsg", (4, ADDRESS, 0), 3, exit={1: RECEIVED}),
        "recvmsg(4, {msg_name={sa_family=AF_INET, sin_port=htons(8080), "
        'sin_addr=inet_addr("127.0.0.1")}, msg_namelen=16, '
        'msg_iov=[{iov_base="abc", iov_len=3}], msg_iovlen=1, msg_controllen=0, '
        "msg_flags=MSG_TRUNC}, 0) = 3",
    ),
    "sendmmsg": (
        line("sendmmsg", (4, ADDRESS, 2, 0), 2, {1: TWO_MESSAGES}),
        'sendmmsg(4, [{msg_hdr={msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base="hi", iov_len=2}], '
        "msg_iovlen=1, msg_controllen=0, msg_flags=0}, msg_len=2}, {msg_hdr={msg_name=NULL, "
        'msg_namelen=0, msg_iov=[{iov_base="x", iov_len=1}], msg_iovlen=1, msg_controllen=0, '
        "msg_flags=0}, msg_len=1}], 2, 0) = 2",
    ),
    "getsockopt": (
        line(
            "getsockopt",
            (3, 1, 4, ADDRESS, ADDRESS),
            0,
            {4: struct.pack("<i", 4)},
            {3: struct.pack("<i", 111), 4: struct.pack("<i", 4)},
        ),
        "getsockopt(3, SOL_SOCKET, SO_ERROR, [111], [4]) = 0",
    ),
    "setsockopt": (
        line("setsockopt", (3, 6, 1, ADDRESS, 4), 0, {3: struct.pack("<i", 1)}),
        "setsockopt(3, SOL_TCP, TCP_NODELAY, [1], 4) = 0",
    ),
    "poll": (
        line(
            "poll",
            (ADDRESS, 2, 1000),
            1,
            {0: struct.pack("<ihhihh", 3, 1, 0, 4, 4, 0)},
            {0: struct.pack("<ihhihh", 3, 1, 1, 4, 4, 0)},
        ),
        "poll([{fd=3, events=POLLIN}, {fd=4, events=POLLOUT}], 2, 1000) = "
        "1 ([{fd=3, revents=POLLIN}])",
    ),
    "poll, timeout": (
        line("poll", (ADDRESS, 1, 10), 0, {0: struct.pack("<ihh", 3, 1, 0)}),
        "poll([{fd=3, events=POLLIN}], 1, 10) = 0 (Timeout)",
    ),
    "select": (
        line(
            "select",
            (6, ADDRESS, 0, 0, ADDRESS),
            1,
            {1: b"\x28" + bytes(7), 4: struct.pack("<qq", 5, 0)},
            {1: b"\x08" + bytes(7), 4: struct.pack("<qq", 4, 999)},
        ),
        "select(6, [3 5], NULL, NULL, {tv_sec=5, tv_usec=0}) = "
        "1 (in [3], left {tv_sec=4, tv_usec=999})",
    ),
    "epoll_wait": (
        line("epoll_wait", (4, ADDRESS, 8, -1), 1, exit={1: struct.pack("<IQ", 1, 5)}),
        "epoll_wait(4, [{events=EPOLLIN, data={u32=5, u64=5}}], 8, -1) = 1",
    ),
    "epoll_pwait on aarch64": (
        line(
            "epoll_pwait",
            (4, ADDRESS, 8, -1, 0, 8),
            1,
            exit={1: struct.pack("<IIQ", 1, 0, 5)},
            machine="aarch64",
        ),
        "epoll_pwait(4, [{events=EPOLLIN, data={u32=5, u64=5}}], 8, -1, NULL, 8) = 1",
    ),
    "rt_sigaction": (
        line("rt_sigaction", (2, ADDRESS, 0, 8), 0, {1: ACTION}),
        "rt_sigaction(SIGINT, {sa_handler=0x401000, sa_mask=[INT], "
        "sa_flags=SA_RESTORER|SA_RESTART, sa_restorer=0x402000}, NULL, 8) = 0",
    ),
    "rt_sigprocmask": (
        line("rt_sigprocmask", (0, ADDRESS, 0, 8), 0, {1: b"\xff" * 8}),
        "rt_sigprocmask(SIG_BLOCK, ~[], NULL, 8) = 0",
    ),
    "kill": (line("kill", (1234, 15), 0), "kill(1234, SIGTERM) = 0"),
    "wait4": (
        line("wait4", ((1 << 64) - 1, ADDRESS, 1, 0), 77, exit={1: struct.pack("<i", 0x100)}),
        "wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 1}], WNOHANG, NULL) = 77",
    ),
    "wait4, killed": (
        line("wait4", (77, ADDRESS, 0, 0), 77, exit={1: struct.pack("<i", 0x8B)}),
        "wait4(77, [{WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV && WCOREDUMP(s)}], 0, NULL) = 77",
    ),
    "clone": (
        line("clone", (0x1200011, 0, 0, ADDRESS, 0), 99),
        "clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, "
        "child_tidptr=0x7f0000001000) = 99",
    ),
    "clone on aarch64": (
        line("clone", (0x1200011, 0, 0, 0, ADDRESS), 99, machine="aarch64"),
        "clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, "
        "child_tidptr=0x7f0000001000) = 99",
    ),
    "execve": (
        line(
            "execve",
            (ADDRESS, ADDRESS, ADDRESS),
            None,
            {0: b"/bin/echo", 1: b"echo\0hi\0", 2: b"A=1\0B=2\0"},
        ),
        'execve("/bin/echo", ["echo", "hi"], 0x7f0000001000 /* 2 vars */) = ?',
    ),
    "futex": (
        line("futex", (ADDRESS, 0x80, 2, 0), -errno.EAGAIN),
        "futex(0x7f0000001000, FUTEX_WAIT_PRIVATE, 2, NULL) = "
        "-1 EAGAIN (Resource temporarily unavailable)",
    ),
    "futex, wake": (
        line("futex", (ADDRESS, 0x81, 1), 1),
        "futex(0x7f0000001000, FUTEX_WAKE_PRIVATE, 1) = 1",
    ),
    "nanosleep": (
        line("nanosleep", (ADDRESS, 0), 0, {0: struct.pack("<qq", 1, 500)}),
        "nanosleep({tv_sec=1, tv_nsec=500}, NULL) = 0",
    ),
    "prlimit64": (
        line(
            "prlimit64",
            (0, 3, 0, ADDRESS),
            0,
            exit={3: struct.pack("<QQ", 8192 * 1024, (1 << 64) - 1)},
        ),
        "prlimit64(0, RLIMIT_STACK, NULL, {rlim_cur=8192*1024, rlim_max=RLIM64_INFINITY}) = 0",
    ),
    "umask": (line("umask", (0o22,), 0o2), "umask(022) = 002"),
    "access": (line("access", (ADDRESS, 0), 0, {0: b"/"}), 'access("/", F_OK) = 0'),
    "readlink": (
        line("readlink", (ADDRESS, ADDRESS, 64), 3, {0: b"/l"}, {1: b"dir"}),
        'readlink("/l", "dir", 64) = 3',
    ),
    "getcwd": (line("getcwd", (ADDRESS, 64), 5, exit={0: b"/tmp\0"}), 'getcwd("/tmp", 64) = 5'),
    "uname": (
        line(
            "uname", (ADDRESS,), 0, exit={0: b"Linux".ljust(65, b"\0") + b"host".ljust(325, b"\0")}
        ),
        'uname({sysname="Linux", nodename="host", ...}) = 0',
    ),
    "writev": (
        line("writev", (1, ADDRESS, 1), 3, {1: b"abc"}),
        'writev(1, [{iov_base="abc", iov_len=3}], 1) = 3',
    ),
    "writev, several": (
        line("writev", (1, ADDRESS, 2), 6, {1: b"abcdef"}),
        'writev(1, [{iov_base="abcdef", iov_len=6} /* gathered from 2 */], 2) = 6',
    ),
    "splice": (
        line(
            "splice",
            (3, ADDRESS, 4, 0, 10, 1),
            5,
            {1: struct.pack("<q", 0)},
            {1: struct.pack("<q", 5)},
        ),
        "splice(3, [0], 4, NULL, 10, SPLICE_F_MOVE) = 5",
    ),
    "utimensat": (
        line(
            "utimensat",
            (AT_FDCWD, ADDRESS, ADDRESS, 0),
            0,
            {1: b"f", 2: struct.pack("<qqqq", 0, 0x3FFFFFFF, 1, 2)},
        ),
        'utimensat(AT_FDCWD, "f", [UTIME_NOW, {tv_sec=1, tv_nsec=2}], 0) = 0',
    ),
    "a result that is an address": (
        line("shmat", (5, 0, 0), 0x7F0000000000),
        "shmat(5, NULL, 0) = 0x7f0000000000",
    ),
    "membarrier": (
        line("membarrier", (0, 0, 0), 9),
        "membarrier(MEMBARRIER_CMD_QUERY, 0) = "
        "0x9 (MEMBARRIER_CMD_GLOBAL|MEMBARRIER_CMD_PRIVATE_EXPEDITED)",
    ),
    "an errno without a name": (line("close", (1,), -4000), "close(1) = -1 (errno 4000)"),
}


@pytest.mark.parametrize("case", LINES)
def test_line(case: str) -> None:
    ours, expected = LINES[case]
    assert ours == expected


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("fill", [b"", b"\0", b"\xff", bytes(range(256))])
def test_any_bytes_can_be_written(machine: str, fill: bytes) -> None:
    """A damaged log or a lying program must not stop the reader: every row, arbitrary values and contents."""
    for row in rows():
        for value in (0, 3, 0x5401, (1 << 64) - 1):
            for ret in (None, 0, -1, 1 << 40):
                data = fill * 3
                pieces = {index: Piece(data, len(data) + 9) for index in range(6)}
                shown, result = format_call(row, machine, [value] * 6, ret, pieces, pieces)
                assert isinstance(shown, str) and isinstance(result, str)

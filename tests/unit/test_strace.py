# SPDX-License-Identifier: Apache-2.0
"""Compares with strace: a program makes calls under it and reports what was in its memory, from which our text is
made. Each call is found in strace's output by the close of an impossible descriptor before it.
"""

import json
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from lsca.table import Piece, Syscall, by_name, format_call
from lsca.table.arguments import ArgFlag, Kind, Length

INET = bytes.fromhex("02001f907f0000010000000000000000")
INET6 = struct.pack("<H", 10) + struct.pack("!HI", 80, 0) + bytes(15) + b"\1" + bytes(4)
UNIX = b"\1\0/run/x.sock\0"
ABSTRACT = b"\1\0\0name"


def row_of(name: str) -> type[Syscall]:
    row = by_name(name)
    assert row, name
    return row


def whole(data: bytes) -> Piece:
    return Piece(data, len(data))


MARK = 900_000
PROGRAM = """
import ctypes, json, os, select, socket, sys, tempfile
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
here = tempfile.mkdtemp()
os.chdir(here)
with open("file", "wb") as file:
    file.write(b"0123456789" * 10)
os.symlink("file", "link")
def place(fd, number):
    os.dup2(fd, number)
place(os.open("file", os.O_RDWR), 100)
r, w = os.pipe(); place(r, 101); place(w, 102)
a, b = socket.socketpair(); place(a.fileno(), 103); place(b.fileno(), 104)
t = socket.socket(); t.bind(("127.0.0.1", 0)); t.listen(); place(t.fileno(), 105)
e = select.epoll(); place(e.fileno(), 106)
os.write(102, b"in the pipe")
b.send(b"in the socket")
e.register(101, select.EPOLLIN)
done = []
for index, (number, given) in enumerate(json.loads(sys.argv[1])):
    buffers, args = {}, []
    for at, one in enumerate(given):
        if isinstance(one, int):
            args.append(ctypes.c_long(one))
        else:
            data = bytes.fromhex(one)
            buffers[at] = ctypes.create_string_buffer(data, len(data))
            args.append(buffers[at])
    libc.syscall(3, ctypes.c_long(int(sys.argv[2]) + index))
    ctypes.set_errno(0)
    ret = libc.syscall(number, *args)
    ret = -ctypes.get_errno() if ret == -1 and ctypes.get_errno() else ret
    done.append({
        "ret": ret,
        "args": [ctypes.addressof(buffers[at]) if at in buffers else one for at, one in enumerate(given)],
        "after": {at: bytes(buffer).hex() for at, buffer in buffers.items()},
    })
print(json.dumps(done))
"""

Given = int | bytes
CALLS: tuple[tuple[str, tuple[Given, ...]], ...] = (
    ("read", (101, bytes(64), 64)),
    ("write", (102, b"some more\n\0\x01" + bytes(40), 50)),
    ("pread64", (100, bytes(20), 20, 5)),
    ("pwrite64", (999, b"x", 1, 0)),
    ("lseek", (100, -3, 2)),
    ("openat", (-100, b"file\0", 0)),
    ("openat", (-100, b"missing\0", 0o2000000)),
    ("openat", (-100, b"new\0", 0o102, 0o640)),
    ("openat", (-100, b".\0", 0o2204000)),
    ("access", (b"file\0", 5)),
    ("faccessat", (-100, b"missing\0", 0)),
    ("readlink", (b"link\0", bytes(64), 64)),
    ("readlinkat", (-100, b"file\0", bytes(8), 8)),
    ("symlink", (b"a\0", b"link\0")),
    ("rename", (b"missing\0", b"other\0")),
    ("renameat2", (-100, b"missing\0", -100, b"other\0", 1)),
    ("mkdir", (b"file\0", 0o755)),
    ("mkdirat", (-100, b"dir\0", 0o700)),
    ("unlinkat", (-100, b"dir\0", 0x200)),
    ("linkat", (-100, b"missing\0", -100, b"x\0", 0x400)),
    ("chmod", (b"file\0", 0o600)),
    ("fchmodat", (-100, b"file\0", 0o644)),
    ("chown", (b"missing\0", -1, 5)),
    ("stat", (b"file\0", bytes(144))),
    ("lstat", (b"link\0", bytes(144))),
    ("fstat", (101, bytes(144))),
    ("stat", (b"/dev/null\0", bytes(144))),
    ("newfstatat", (-100, b"missing\0", bytes(144), 0x100)),
    ("umask", (0o27,)),
    ("truncate", (b"file\0", 50)),
    ("ftruncate", (100, 40)),
    ("fallocate", (100, 1, 0, 64)),
    ("getdents64", (100, bytes(256), 256)),
    ("chdir", (b"missing\0",)),
    ("utimensat", (-100, b"file\0", struct.pack("<qqqq", 5, 6, 0, 0x3FFFFFFE), 0)),
    ("getxattr", (b"file\0", b"user.x\0", bytes(16), 16)),
    ("dup", (100,)),
    ("dup3", (100, 120, 0o2000000)),
    ("pipe2", (bytes(8), 0o2004000)),
    ("fcntl", (100, 1, 0)),
    ("fcntl", (100, 3, 0)),
    ("fcntl", (100, 2, 1)),
    ("fcntl", (100, 1, 0)),
    ("fcntl", (100, 4, 0o4000)),
    ("fcntl", (100, 1030, 130)),
    ("fcntl", (100, 6, struct.pack("<hhiqqii", 1, 0, 0, 0, 10, 0, 0))),
    ("flock", (100, 6)),
    ("ioctl", (101, 0x541B, bytes(4))),
    ("ioctl", (100, 0x5401, bytes(60))),
    ("ioctl", (101, 0x5421, struct.pack("<i", 0))),
    ("ioctl", (100, 0x5451, 0)),
    ("socket", (1, 0o2000001, 0)),
    ("socket", (2, 2, 17)),
    ("socket", (10, 0o4001, 6)),
    ("socket", (16, 3, 0)),
    ("socketpair", (1, 5, 0, bytes(8))),
    ("getsockname", (105, bytes(16), struct.pack("<i", 16))),
    ("getpeername", (105, bytes(16), struct.pack("<i", 16))),
    ("connect", (999, INET, 16)),
    ("connect", (103, UNIX, len(UNIX))),
    ("bind", (999, INET6, 28)),
    ("bind", (999, ABSTRACT, 7)),
    ("listen", (999, 128)),
    ("shutdown", (999, 2)),
    ("recvfrom", (103, bytes(40), 40, 2, 0, 0)),
    ("recvfrom", (103, bytes(40), 40, 0x40, 0, 0)),
    ("recvfrom", (103, bytes(40), 40, 0x40, 0, 0)),
    ("sendto", (103, b"hello", 5, 0x4000, 0, 0)),
    ("sendto", (999, b"hello", 5, 0, INET, 16)),
    ("setsockopt", (105, 1, 2, struct.pack("<i", 1), 4)),
    ("setsockopt", (105, 6, 1, struct.pack("<i", 1), 4)),
    ("setsockopt", (105, 1, 13, struct.pack("<ii", 1, 5), 8)),
    ("getsockopt", (105, 1, 4, bytes(4), struct.pack("<i", 4))),
    ("getsockopt", (105, 1, 3, bytes(4), struct.pack("<i", 4))),
    ("poll", (struct.pack("<ihhihh", 104, 1, 0, 102, 4, 0), 2, 100)),
    ("poll", (struct.pack("<ihh", 105, 1, 0), 1, 1)),
    ("poll", (struct.pack("<ihh", 999, 1, 0), 1, 1)),
    ("ppoll", (struct.pack("<ihh", 105, 1, 0), 1, struct.pack("<qq", 0, 1000), 0, 8)),
    ("select", (106, (1 << 105).to_bytes(16, "little"), 0, 0, struct.pack("<qq", 0, 10))),
    ("epoll_wait", (106, bytes(48), 4, 10)),
    ("epoll_ctl", (106, 1, 101, struct.pack("<IQ", 1, 101))),
    ("epoll_ctl", (106, 3, 101, struct.pack("<IQ", 0x80000005, 0x77))),
    ("epoll_create1", (0o2000000,)),
    ("eventfd2", (5, 0o2004000)),
    ("timerfd_create", (1, 0o2000000)),
    ("inotify_init1", (0o4000,)),
    ("signalfd4", (-1, struct.pack("<Q", 0x4002), 8, 0o2000000)),
    ("kill", (999_999, 0)),
    ("tgkill", (999_999, 999_999, 15)),
    ("rt_sigaction", (34, struct.pack("<QQQQ", 1, 0x10000000, 0, 2), 0, 8)),
    ("rt_sigprocmask", (1, struct.pack("<Q", 0x4002), 0, 8)),
    ("rt_sigprocmask", (9, struct.pack("<Q", 0x4002), 0, 8)),
    ("sigaltstack", (0, bytes(24))),
    ("wait4", (-1, bytes(4), 1, 0)),
    ("getuid", ()),
    ("getppid", ()),
    ("getresuid", (bytes(4), bytes(4), bytes(4))),
    ("getgroups", (0, 0)),
    ("getpgid", (0,)),
    ("setpgid", (999_999, 0)),
    ("getrlimit", (7, bytes(16))),
    ("prlimit64", (0, 3, 0, bytes(16))),
    ("getpriority", (0, 0)),
    ("nanosleep", (struct.pack("<qq", 0, 100), 0)),
    ("clock_nanosleep", (1, 0, struct.pack("<qq", 0, 100), 0)),
    ("clock_getres", (4, bytes(16))),
    ("timerfd_settime", (999, 1, struct.pack("<qqqq", 0, 0, 1, 2), 0)),
    ("setitimer", (0, struct.pack("<qqqq", 0, 0, 0, 0), bytes(32))),
    ("mmap", (0, 8192, 3, 0x22, -1, 0)),
    ("mmap", (0, 4096, 1, 2, 100, 0)),
    ("munmap", (1, 4096)),
    ("mprotect", (1, 4096, 5)),
    ("madvise", (1, 4096, 4)),
    ("msync", (1, 4096, 4)),
    ("futex", (struct.pack("<i", 5), 0x80, 6, 0, 0, 0)),
    ("futex", (struct.pack("<i", 5), 0x81, 1, 0, 0, 0)),
    ("futex", (struct.pack("<i", 5), 0x89, 6, 0, 0, 0xFFFFFFFF)),
    ("sched_yield", ()),
    ("sched_getscheduler", (0,)),
    ("sched_getparam", (0, bytes(4))),
    ("shmget", (0, 4096, 0o1600)),
    ("semget", (0x1234, 0, 0o600)),
    ("memfd_create", (b"name\0", 3)),
    ("copy_file_range", (100, struct.pack("<q", 0), 100, struct.pack("<q", 20), 5, 0)),
    ("sendfile", (999, 100, struct.pack("<q", 0), 5)),
    ("fadvise64", (100, 0, 0, 3)),
    ("sync_file_range", (100, 0, 0, 2)),
    ("mount", (b"none\0", b"missing\0", b"tmpfs\0", 0xE, 0)),
    ("umount2", (b"missing\0", 2)),
    ("unshare", (0,)),
    ("getrandom", (bytes(4), 4, 1)),
    ("close", (100,)),
    ("close_range", (200, 300, 4)),
    ("uname", (bytes(390),)),
    ("statfs", (b"missing\0", bytes(120))),
    ("statx", (-100, b"missing\0", 0, 0x7FF, bytes(256))),
    ("preadv2", (999, 0, 0, 7, 0, 1)),
    ("splice", (101, 0, 999, 0, 10, 1)),
    ("tee", (101, 999, 10, 2)),
    ("capget", (struct.pack("<Ii", 0x20080522, 0), 0)),
    ("personality", (0xFFFFFFFF,)),
    ("setns", (999, 0x20000)),
    ("pidfd_open", (999_999, 0)),
    ("pidfd_send_signal", (999, 15, 0, 0)),
    ("ioprio_get", (1, 0)),
    ("accept4", (999, 0, 0, 0o2004000)),
)


def pieces_of(
    row: type[Syscall], given: tuple[Given, ...], report: Mapping[str, object]
) -> tuple[list[int], int, dict[int, Piece], dict[int, Piece]]:
    """What the agent would have put on record for this call."""
    args, ret, after = report["args"], report["ret"], report["after"]
    assert isinstance(args, list) and isinstance(ret, int) and isinstance(after, dict)
    entry: dict[int, Piece] = {}
    exit: dict[int, Piece] = {}
    for index, (name, argument) in enumerate(row.arguments.items()):
        if index >= len(given) or not isinstance(given[index], bytes):
            continue
        before = given[index]
        assert isinstance(before, bytes)
        now = bytes.fromhex(after[str(index)])
        kind = argument.kind
        if kind is Kind.STRING:
            entry[index] = whole(before.rstrip(b"\0"))
        elif kind in (Kind.SIGMASK, Kind.IOV_IN):
            entry[index] = whole(before)
        elif kind in (Kind.FCNTL, Kind.IOCTL):
            entry[index], exit[index] = whole(before), whole(now)
        elif kind in (Kind.IN, Kind.OUT, Kind.INOUT):
            length = len(before)
            if argument.measure is Length.DEREF:
                assert argument.length
                at = list(row.arguments).index(argument.length)
                length = struct.unpack("<i", bytes.fromhex(after[str(at)]))[0]
            size = argument.layout.size["x86_64"] if argument.layout else 1
            if ArgFlag.FILLED in argument.flags and ret >= 0:
                length = min(length, ret * size)
            if kind is not Kind.OUT:
                entry[index] = whole(before)
            if kind is not Kind.IN and length and (ret >= 0 or ArgFlag.ON_ERROR in argument.flags):
                exit[index] = Piece(now[:length][:512], length)
        assert name
    return [value & (1 << 64) - 1 for value in args], ret, entry, exit


def strace_works() -> bool:
    if not shutil.which("strace") or sys.platform != "linux":
        return False
    try:
        done = subprocess.run(
            ["strace", "-o", "/dev/null", "true"], capture_output=True, check=False
        )
    except OSError:
        return False
    return done.returncode == 0


def normal(text: str) -> str:
    """strace pads before the result, and writes dates as comments."""
    text = re.sub(r" /\* \d{4}-.*? \*/", "", text)
    call, _, result = text.rpartition(" = ")
    return f"{call.rstrip()} = {result}"


@pytest.mark.skipif(not strace_works(), reason="strace is not installed, or may not trace")
@pytest.mark.skipif("x86_64" not in str(sys.implementation._multiarch), reason="x86-64 only")
def test_same_as_strace(tmp_path: Path) -> None:
    work = [
        (
            row_of(name).numbers["x86_64"],
            [one.hex() if isinstance(one, bytes) else one for one in given],
        )
        for name, given in CALLS
    ]
    out = tmp_path / "strace"
    command = [
        "strace",
        "-o",
        str(out),
        sys.executable,
        "-I",
        "-c",
        PROGRAM,
        json.dumps(work),
        str(MARK),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    reports = json.loads(done.stdout)
    theirs = out.read_text(errors="replace").splitlines()
    different = []
    for index, (name, given) in enumerate(CALLS):
        mark = next(
            at for at, text in enumerate(theirs) if text.startswith(f"close({MARK + index})")
        )
        expected = next(text for text in theirs[mark + 1 :] if text.startswith(f"{name}("))
        args, ret, entry, exit = pieces_of(row_of(name), given, reports[index])
        shown, result = format_call(row_of(name), "x86_64", args, ret, entry, exit)
        ours = f"{name}({shown}) = {result}"
        if ours != normal(expected):
            different.append(f"\n  ours   {ours}\n  strace {normal(expected)}")
    assert not different, "".join(different)

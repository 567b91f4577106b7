# SPDX-License-Identifier: Apache-2.0
"""Proves what a live call shows and does: values by name and type, what its descriptors stand for, its process."""

import errno
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import lsca.calls
from lsca import calls as c
from lsca import codegen
from lsca.live.address import Address
from lsca.live.process import Processes
from lsca.live.request import Surroundings
from lsca.table import rows
from waiting import Room, Waiting

ROOT = Path(__file__).parents[2]
SIN = struct.pack("<H", socket.AF_INET) + struct.pack("!H4s8x", 80, bytes([127, 0, 0, 1]))


def test_names_are_those_of_the_table() -> None:
    assert codegen.names(rows()) == (ROOT / "src/lsca/calls.py").read_text()
    assert all(getattr(lsca.calls, row.__name__) is row for row in rows())


def test_arguments_by_name() -> None:
    call = c.openat(Waiting(c.openat, -100, "/etc/caf\udce9", os.O_CREAT | os.O_WRONLY, 0o644))
    assert call.dirfd == -100
    assert call.pathname == call.path == "/etc/caf\udce9"
    assert call.flags & os.O_CREAT
    assert str(call.flags) == "O_WRONLY|O_CREAT"
    assert call.mode == 0o644
    assert (call.nr, call.name, len(call.args)) == (c.openat.numbers["x86_64"], "openat", 6)


def test_arguments_are_read_once_and_only_if_asked_for() -> None:
    waiting = Waiting(c.openat, -100, "/a", 0, 0)
    call = c.openat(waiting)
    assert waiting.reads == 0
    assert call.path == call.path == "/a"
    assert waiting.reads == 1


def test_buffers() -> None:
    call = c.write(Waiting(c.write, 1, b"hello, all", 5))
    assert (call.buf, call.count, call.fd) == (b"hello", 5, 1)
    call2 = c.writev(Waiting(c.writev, 1, [b"ab", b"cde"], 2))
    assert call2.iov == b"abcde"


def test_an_output_is_empty_until_the_call_is_made() -> None:
    def make(waiting: Waiting, args: tuple[int, ...], replace: object) -> int:
        return waiting.fill(1, b"data")

    call = c.read(Waiting(c.read, 0, Room(10), 10, make=make))
    assert (call.buf, call.result) == (b"", None)
    assert call.proceed() == 4
    assert (call.buf, call.result) == (b"data", 4)
    with pytest.raises(RuntimeError, match=r"read has been made already: it returned 4"):
        call.proceed()


def test_vectors_are_gathered_after_the_call() -> None:
    def make(waiting: Waiting, args: tuple[int, ...], replace: object) -> int:
        return waiting.fill(1, b"abcde")

    call = c.readv(Waiting(c.readv, 0, [Room(2), Room(10)], 2, make=make))
    call.proceed()
    assert call.iov == b"abcde"


def test_a_failed_call_has_filled_nothing() -> None:
    call = c.read(Waiting(c.read, 0, Room(4), 4, make=lambda *_: -errno.EIO))
    assert call.proceed() == -errno.EIO
    assert call.failed
    assert call.buf == b""


def test_structures_are_bytes_with_members() -> None:
    call = c.nanosleep(Waiting(c.nanosleep, struct.pack("<qq", 3, 5), 0))
    assert call.duration == struct.pack("<qq", 3, 5)
    assert call.duration.fields == {"tv_sec": 3, "tv_nsec": 5}
    assert call.rem.fields == {}


def test_addresses_are_values() -> None:
    call = c.connect(Waiting(c.connect, 3, SIN, 16))
    assert call.addr == Address(socket.AF_INET, "127.0.0.1", 80)
    assert str(call.addr) == "127.0.0.1:80"
    assert call.peer == call.addr
    call.replace(addr="127.0.0.1:8080")
    assert call.addr.port == 8080
    call.proceed()
    request = call._request
    assert isinstance(request, Waiting)
    assert Address.parse(request.made[0][1][1]) == Address.of("127.0.0.1:8080")


@pytest.mark.parametrize("text", ["127.0.0.1:80", "[::1]:53", "/run/x", "@abstract"])
def test_addresses_there_and_back(text: str) -> None:
    assert str(Address.parse(Address.of(text).pack())) == text


@pytest.mark.parametrize("text", ["localhost", "1.2.3:80", "example.org:80", "1.2.3.4:70000"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        Address.of(text)


def test_replace_takes_the_length_along() -> None:
    waiting = Waiting(c.write, 1, b"secret", 6, make=lambda waiting, args, _: args[2])
    call = c.write(waiting)
    call.replace(buf=b"***")
    assert (call.buf, call.count) == (b"***", 3)
    assert call.proceed() == 6, "the program must not write the rest of what it has written"
    assert waiting.made == [((1, waiting.args[1], 3, 0, 0, 0), {1: b"***"})]


def test_replace_by_role() -> None:
    waiting = Waiting(c.openat, -100, "/a", 0, 0)
    call = c.openat(waiting)
    call.replace(path="/b", flags=os.O_RDWR)
    assert (call.path, call.flags) == ("/b", os.O_RDWR)
    call.proceed()
    assert waiting.made[0][1] == {1: b"/b"}
    other = c.read(Waiting(c.read, 0, Room(1), 1))
    other.replace(fd=7)
    assert other.fd == 7


def test_what_cannot_be_replaced_is_said() -> None:
    call = c.openat(Waiting(c.openat, -100, "/a", 0, 0))
    with pytest.raises(TypeError, match="openat has no argument 'buf'; it has dirfd, pathname"):
        call.replace(buf=b"")
    with pytest.raises(TypeError, match="flags: int is wanted, not str"):
        call.replace(flags="O_RDWR")
    with pytest.raises(TypeError, match="pathname: str is wanted, not list"):
        call.replace(path=["/a"])
    with pytest.raises(ValueError, match="pathname: a string ends at its first NUL"):
        call.replace(path="/a\0b")
    with pytest.raises(TypeError, match="buf: read does not read it; use `fill`"):
        c.read(Waiting(c.read, 0, Room(1), 1)).replace(buf=b"")
    with pytest.raises(TypeError, match="buf: write does not write it; use `replace`"):
        c.write(Waiting(c.write, 0, b"", 1)).fill(buf=b"")


def test_fill() -> None:
    waiting = Waiting(c.getrandom, Room(8), 8, 0)
    call = c.getrandom(waiting)
    assert call.fill(buf=b"\x07" * 8) == 8
    assert waiting.read(waiting.args[0], 8) == b"\x07" * 8
    assert call.buf == b"\x07" * 8


def test_fill_members_of_a_structure() -> None:
    waiting = Waiting(c.fstat, 3, Room(144))
    call = c.fstat(waiting)
    call.proceed()
    call.fill(statbuf={"st_size": 12345})
    assert call.statbuf.fields["st_size"] == 12345
    with pytest.raises(ValueError, match="stat has no member 'size'; it has st_dev"):
        call.fill(statbuf={"size": 1})


def test_fill_an_address_with_its_length() -> None:
    waiting = Waiting(c.getpeername, 3, Room(128), struct.pack("<i", 128))
    call = c.getpeername(waiting)
    call.fill(addr="10.0.0.1:99")
    assert Address.parse(waiting.read(waiting.args[1], 16)) == Address.of("10.0.0.1:99")
    assert waiting.read(waiting.args[2], 4) == struct.pack("<i", 16)


def test_memory_by_address() -> None:
    waiting = Waiting(c.write, 1, b"abc", 3)
    call = c.write(waiting)
    call.poke(waiting.args[1] + 1, b"X")
    assert call.peek(waiting.args[1], 3) == b"aXc"
    with pytest.raises(OSError, match="Bad address"):
        call.peek(8, 1)


def test_an_argument_named_like_an_attribute_is_the_argument() -> None:
    call = c.mq_open(Waiting(c.mq_open, "mine", 0, 0, 0))
    assert call.name == "mine"
    assert c.mq_open.name == call.row_name() == "mq_open"


def test_a_wrong_name_says_what_there_is() -> None:
    call = c.read(Waiting(c.read, 0, Room(1), 1))
    with pytest.raises(AttributeError, match="read has no argument 'size'; it has fd, buf, count"):
        call.size  # type: ignore[attr-defined]  # noqa: B018


def test_execve_has_its_words() -> None:
    waiting = Waiting(c.execve, "/bin/true", 0, 0)
    words = [waiting._place(text) for text in ("true", "-x")]
    array = waiting._place(struct.pack("<QQQ", *words, 0))
    waiting.args = (waiting.args[0], array, 0, 0, 0, 0)
    call = c.execve(waiting)
    assert call.argv == ["true", "-x"]
    assert call.envp == []


def test_file(tmp_path: Path) -> None:
    with open(tmp_path / "f", "w+") as f:
        f.write("abc")
        f.flush()
        file = c.read(Waiting(c.read, f.fileno(), Room(1), 1)).file
        assert (file.path, file.kind, file.size, file.fd) == (f.name, "file", 3, f.fileno())
        os.unlink(f.name)
        assert c.read(Waiting(c.read, f.fileno(), Room(1), 1)).file.deleted
    assert c.read(Waiting(c.read, 99, Room(1), 1)).file.path == ""
    reader, writer = os.pipe()
    assert c.read(Waiting(c.read, reader, Room(1), 1)).file.kind == "pipe"
    os.close(reader)
    os.close(writer)


def test_file_is_asked_of_who_holds_it() -> None:
    child = subprocess.Popen(["sleep", "60"], stdin=subprocess.DEVNULL)
    try:
        around = Surroundings(lambda pid: child.pid)
        assert c.read(Waiting(c.read, 0, Room(1), 1), around).file.path == "/dev/null"
    finally:
        child.kill()
        child.wait()


def test_peer_of_a_connected_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as client:
            call = c.write(Waiting(c.write, client.fileno(), b"x", 1))
            assert call.peer == Address(socket.AF_INET, *server.getsockname())
            assert call.file.local == Address(socket.AF_INET, *client.getsockname())
            assert call.file.kind == "socket"


def test_absolute_paths(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        call = c.openat(Waiting(c.openat, directory, "a/../b", 0, 0))
        assert call.absolute() == f"{tmp_path}/b"
    finally:
        os.close(directory)
    assert c.openat(Waiting(c.openat, -100, "x", 0, 0)).absolute() == f"{os.getcwd()}/x"
    assert c.write(Waiting(c.write, 99, b"", 0)).absolute() == ""


def test_process() -> None:
    call = c.read(Waiting(c.read, 0, Room(1), 1))
    process = call.process
    assert process.pid == os.getpid()
    assert process.parent == os.getppid()
    assert process.cwd == os.getcwd()
    assert process.exe == os.readlink("/proc/self/exe")
    assert process.argv[0]
    assert call.thread.tid == os.getpid()


def test_notes_about_a_process_end_with_it() -> None:
    processes = Processes()
    child = subprocess.Popen(["sleep", "60"])
    first = processes.get(child.pid)
    first.state["opens"] = 3
    assert processes.get(child.pid) is first
    child.kill()
    child.wait()
    deadline = time.monotonic() + 10
    while len(processes) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert processes.get(child.pid).state == {}
    processes.close()
    assert len(processes) == 0


def test_the_thread_that_waits_for_ends_takes_no_signals() -> None:
    processes = Processes()
    processes.get(os.getpid())
    thread = next(thread for thread in threading.enumerate() if thread.name == "lsca-processes")
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    blocked = int(
        next(line for line in status.splitlines() if line.startswith("SigBlk")).split()[1], 16
    )
    assert blocked & 1 << (signal.SIGCHLD - 1)
    assert signal.SIGCHLD not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    processes.close()


def test_a_call_as_text() -> None:
    call = c.openat(Waiting(c.openat, -100, "/etc/passwd", 0, 0))
    assert str(call) == 'openat(AT_FDCWD, "/etc/passwd", O_RDONLY)'
    made = c.write(Waiting(c.write, 1, b"abc", 3, make=lambda *_: 3))
    made.proceed()
    assert str(made) == 'write(1, "abc", 3) = 3'


def test_the_package_loads_nothing_until_it_is_used() -> None:
    program = "import sys, lsca; print([name for name in sys.modules if name.startswith('lsca.')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_nothing_of_this_is_needed_by_run() -> None:
    program = "import sys, lsca.cli.run; print('lsca.table' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False\n"

# SPDX-License-Identifier: Apache-2.0
"""What descriptors stood for: proves it for each effect that a row of the table can have, over forks, threads and exec.

Each test writes a log by hand, says which question it is asked, and knows the answer from the kernel's rules.
"""

import socket
import struct
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from lsca.log import Log, open_log
from lsca.table import by_name, rows
from lsca.table.effects import Does
from segments import (
    AT_FDCWD,
    FD,
    NO_RETURN,
    OUT,
    START,
    Call,
    Stretch,
    Writer,
    end,
    header,
    segment,
    text,
)

CLONE_FS, CLONE_FILES, CLONE_THREAD = 0x200, 0x400, 0x10000


class Story:
    """Calls one after the other, ten ticks each; `then` gives the time at which the next one begins."""

    def __init__(self, tmp_path: Path) -> None:
        self.path = tmp_path / "a.lsca"
        self.calls: list[Call] = []
        self.clock: Iterator[int] = count(2000, 20)
        self.now = 2000
        self.pid = 10

    def call(self, name: str, *args: int, ret: int = 0, pieces: list[object] | None = None) -> int:
        row = by_name(name)
        assert row
        self.now = next(self.clock)
        one = Call(row.numbers["x86_64"], args, ret, self.now, self.now + 10, tid=self.pid)
        one.pieces = pieces or []  # type: ignore[assignment]
        self.calls.append(one)
        return self.now

    def event(self, kind: int, *args: int, pieces: list[object] | None = None) -> int:
        self.now = next(self.clock)
        self.calls.append(Call(0, args, 0, self.now, self.now, tid=self.pid, kind=kind))
        self.calls[-1].pieces = pieces or []  # type: ignore[assignment]
        return self.now

    def open(self, path: str, fd: int, dirfd: int = AT_FDCWD) -> int:
        return self.call("openat", dirfd, 1, 0, 0, ret=fd, pieces=[text(1, path.encode())])

    def cwd(self, path: str = "/home/u") -> None:
        self.event(FD, AT_FDCWD, pieces=[text(0, path.encode())])

    def log(self) -> Log:
        self.path.write_bytes(segment([self.calls]))
        return open_log(self.path)

    def file(self, fd: int, at: int | None = None, pid: int | None = None) -> str | None:
        """What it stood for at the end, or at a time."""
        when = self.now + 15 if at is None else at
        found = self.log()._log.file(0, self.pid if pid is None else pid, fd, when)
        return None if found is None else found.decode()

    def column(self, name: str) -> list[object]:
        log = self.log()
        result = log.sql(f"SELECT {name} FROM calls ORDER BY start")
        assert result is not None
        return [one for (one,) in result.fetchall()]


@pytest.fixture
def story(tmp_path: Path) -> Story:
    pytest.importorskip("duckdb", reason="DuckDB is not installed")
    return Story(tmp_path)


def inet(port: int) -> bytes:
    return struct.pack("<HH4s8x", socket.AF_INET, socket.htons(port), bytes([127, 0, 0, 1]))


# ---- paths ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/etc/passwd", "/etc/passwd"),
        ("notes", "/home/u/notes"),
        ("./a//b/./c/", "/home/u/a/b/c"),
        ("../x", "/home/x"),
        ("/a/../../b", "/b"),
        ("..", "/home"),
        ("/..", "/"),
        (".", "/home/u"),
        ("/", "/"),
        ("", "/home/u"),
    ],
)
def test_paths_start_from_the_working_directory(story: Story, path: str, expected: str) -> None:
    story.cwd()
    story.open(path, 3)
    assert story.file(3) == expected
    assert story.column("path") == [expected]


def test_without_a_directory_a_path_stays_relative(story: Story) -> None:
    story.open("a/../b//c", 3)
    story.open("../../x", 4)
    story.open(".", 5)
    assert [story.file(fd) for fd in (3, 4, 5)] == ["b/c", "../../x", "."]


def test_paths_start_from_a_descriptor(story: Story) -> None:
    story.open("/srv/data", 3)
    story.open("sub/file", 4, dirfd=3)
    story.call("newfstatat", 4, 1, 2, 0x1000, pieces=[text(1, b"")])
    story.call("renameat", 3, 1, AT_FDCWD, 2, pieces=[text(1, b"a"), text(3, b"/tmp/b")])
    assert story.file(4) == "/srv/data/sub/file"
    assert story.column("path")[1:] == ["/srv/data/sub/file", "/srv/data/sub/file", "/srv/data/a"]
    assert story.column("path2")[3] == "/tmp/b"


def test_the_working_directory_changes(story: Story) -> None:
    story.cwd()
    story.call("chdir", 1, pieces=[text(0, b"src")])
    story.open("x", 3)
    story.open("/usr", 4)
    story.call("fchdir", 4)
    story.open("bin", 5)
    assert story.file(3) == "/home/u/src/x" and story.file(5) == "/usr/bin"
    assert story.file(-100) == "/usr"


def test_names_that_are_no_pathnames(story: Story) -> None:
    story.cwd()
    story.call("symlink", 1, 2, pieces=[text(0, b"../target"), text(1, b"link")])
    assert story.column("path") == ["/home/u/link"] and story.column("path2") == ["../target"]


def test_bytes_that_are_no_utf8(story: Story) -> None:
    story.open("/tmp/x", 3)
    story.calls[0].pieces = [text(1, b"/tmp/\xff\xc3\xa9\xed\xa0\x80")]
    assert story.column("path") == ["/tmp/\\xffé\\xed\\xa0\\x80"]


# ---- descriptors ----------------------------------------------------------------------------------------------------


def test_opens_take_effect_at_their_end_and_closes_at_their_beginning(story: Story) -> None:
    opened = story.open("/a", 3)
    read = story.call("read", 3, 1, 9, ret=9)
    closed = story.call("close", 3)
    story.call("read", 3, 1, 9, ret=-9)
    assert story.file(3, opened) is None and story.file(3, read) == "/a"
    assert story.file(3, closed) == "/a" and story.file(3, closed + 1) is None
    assert story.column("file") == ["/a", "/a", "/a", None]
    assert story.column("fd") == [3, 3, 3, 3]


def test_what_fails_changes_nothing(story: Story) -> None:
    story.open("/a", 3)
    story.open("/b", -2)
    story.call("dup2", 9, 3, ret=-9)
    story.call("close", 3, ret=-9)
    assert story.file(3) == "/a"
    story.call("close", 3, ret=-4)  # EINTR: it is closed nevertheless
    assert story.file(3) is None


def test_copies(story: Story) -> None:
    story.open("/a", 3)
    story.call("dup", 3, ret=4)
    story.call("dup2", 3, 7, ret=7)
    story.call("dup3", 3, 8, 0, ret=8)
    story.call("fcntl", 3, 0, 10, ret=10)
    story.call("fcntl", 3, 1030, 10, ret=11)
    story.call("fcntl", 3, 1, ret=1)  # F_GETFD
    story.call("close", 3)
    assert [story.file(fd) for fd in (4, 7, 8, 10, 11, 1, 3)] == ["/a"] * 5 + [None, None]


def test_ranges_are_closed(story: Story) -> None:
    for fd in (3, 4, 5, 6):
        story.open(f"/{fd}", fd)
    story.call("close_range", 4, 5, 0)
    story.call("close_range", 6, 0xFFFFFFFF, 4)  # CLOSE_RANGE_CLOEXEC
    assert [story.file(fd) for fd in (3, 4, 5, 6)] == ["/3", None, None, "/6"]
    story.open("/again", 4)
    assert story.file(4) == "/again"


def test_what_calls_make(story: Story) -> None:
    made = {
        "eventfd2": "anon_inode:[eventfd]",
        "epoll_create1": "anon_inode:[eventpoll]",
        "inotify_init1": "anon_inode:inotify",
        "timerfd_create": "anon_inode:[timerfd]",
    }
    for fd, name in enumerate(made, 5):
        story.call(name, ret=fd)
    story.call("memfd_create", 1, 0, ret=20, pieces=[text(0, b"jit")])
    assert [story.file(fd) for fd in range(5, 9)] == list(made.values())
    assert story.file(20) == "/memfd:jit (deleted)"


def test_pipes_have_two_ends(story: Story) -> None:
    for fds in ((3, 4), (5, 6)):
        story.call("pipe2", 1, 0, pieces=[(0, OUT, struct.pack("<ii", *fds), 8)])
    first, second = story.file(3), story.file(5)
    assert first and first.startswith("pipe:[#") and story.file(4) == first
    assert second == story.file(6) != first


def test_sockets_get_their_addresses(story: Story) -> None:
    story.call("socket", 2, 0o2000001, 0, ret=3)
    bare = story.now + 15
    story.call("dup", 3, ret=9)
    story.call("bind", 3, 1, 16, pieces=[text(1, inet(80))])
    listening = story.now + 15
    accepted = (1, OUT, inet(4000), 16)
    story.call("accept4", 3, 1, 2, 0, ret=4, pieces=[accepted])
    story.call("socket", 2, 2, 0, ret=5)
    story.call("connect", 5, 1, 16, ret=-115, pieces=[text(1, inet(53))])
    story.call("getsockname", 5, 1, 2, pieces=[(1, OUT, inet(5000), 16)])
    unix = struct.pack("<H", socket.AF_UNIX) + b"/run/x\0"
    story.call("socket", 1, 1, 0, ret=6)
    story.call("bind", 6, 1, 9, pieces=[text(1, unix)])
    assert story.file(3, bare) == "socket:[#1]"
    assert story.file(3, listening) == story.file(9, listening) == "TCP:127.0.0.1:80"
    assert story.file(4) == "TCP:127.0.0.1:80->127.0.0.1:4000"
    assert story.file(5) == "UDP:127.0.0.1:5000->127.0.0.1:53"
    assert story.file(6) == "UNIX:/run/x"
    words = ["127.0.0.1:80", "127.0.0.1:4000", "127.0.0.1:53", "127.0.0.1:5000", "unix:/run/x"]
    assert [one for one in story.column("address") if one] == words


def test_what_the_agent_saw_completes_what_is_known(story: Story) -> None:
    story.call("socket", 2, 1, 0, ret=3)
    story.call("dup", 3, ret=4)
    pieces = [text(0, b"socket:[77]"), text(1, inet(1)), text(2, inet(2))]
    story.event(FD, 3, pieces=[*pieces])
    story.event(FD, 5, pieces=[text(0, b"/var/log/x")])  # came with a message
    assert story.file(3) == story.file(4) == "TCP:127.0.0.1:1->127.0.0.1:2"
    assert story.file(5) == "/var/log/x"
    story.event(FD, 3, pieces=[text(0, b"socket:[78]")])  # another one
    assert story.file(3) == "socket:[78]" and story.file(4) == "TCP:127.0.0.1:1->127.0.0.1:2"


# ---- processes ------------------------------------------------------------------------------------------------------


def test_children_inherit_what_was_open(story: Story) -> None:
    story.cwd()
    story.open("/a", 3)
    story.open("/b", 4)
    story.call("fork", ret=11)
    story.call("close", 3)  # before the child has begun
    story.pid = 11
    story.event(START, 10, 0)
    story.call("close", 4)
    story.open("child", 5)
    assert [story.file(fd, pid=11) for fd in (3, 4, 5)] == ["/a", None, "/home/u/child"]
    assert [story.file(fd, pid=10) for fd in (3, 4, 5)] == [None, "/b", None]


def test_a_child_of_which_no_fork_is_known(story: Story) -> None:
    story.open("/a", 3)
    story.pid = 11
    story.event(START, 10, 0)
    assert story.file(3) == "/a"


def test_threads_share(story: Story) -> None:
    story.call("clone", CLONE_THREAD | CLONE_FILES | CLONE_FS, ret=11)
    writer = Writer()
    other = Call(257, (AT_FDCWD, 1, 0, 0), 3, 3000, 3010, tid=11, pid=10, pieces=[text(1, b"/t")])
    blocks = writer.block(Stretch(story.calls), Stretch([other], thread=12))
    story.path.write_bytes(header() + blocks + end())
    assert open_log(story.path)._log.file(0, 10, 3, 4000) == b"/t"


def test_processes_that_share_part_at_exec(story: Story) -> None:
    story.cwd("/one")
    story.call("clone", CLONE_FILES, ret=11)
    story.pid = 11
    story.event(START, 10, 0)
    story.call("chdir", 1, pieces=[text(0, b"/two")])
    story.open("x", 3)
    assert story.file(3, pid=10) == "/two/x" and story.file(-100, pid=10) == "/one"
    story.event(START, 10, 1)
    story.open("y", 4)
    assert story.file(4, pid=10) is None and story.file(3, pid=11) == "/two/x"


def test_a_process_number_is_used_again(story: Story) -> None:
    story.open("/a", 3)
    for path in (b"/first", b"/second"):
        story.pid = 10
        story.call("vfork", ret=11)
        story.pid = 11
        story.event(START, 10, 0)
        seen = story.file(4), story.file(3)
        assert seen == (None, "/a")
        story.call("open", 1, ret=4, pieces=[text(0, path)])
        assert story.file(4) == path.decode()


def test_calls_that_do_not_return_open_nothing(story: Story) -> None:
    story.open("/a", 3)
    story.calls[0].flags = NO_RETURN
    assert story.file(3) is None


# ---- the table ------------------------------------------------------------------------------------------------------


def test_every_new_descriptor_has_an_effect() -> None:
    silent = [row.name for row in rows() if row.new_fd and row.effect is None]
    assert not silent
    makers = {
        Does.OPENS,
        Does.MAKES,
        Does.SOCKET,
        Does.ACCEPTS,
        Does.DUPLICATES,
    }
    for row in rows():
        if row.effect and row.effect.does in makers:
            assert row.new_fd, row.name
        if row.effect and row.effect.does in (Does.OPENS, Does.CHDIR):
            assert any("ARG_PATH" in map(str, a.flags) for a in row.arguments.values()), row.name


def test_moved_bytes_belong_to_a_descriptor() -> None:
    for row in rows():
        if row.moves:
            assert any(str(a.kind) == "ARG_FD" for a in row.arguments.values()), row.name

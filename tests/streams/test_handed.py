# SPDX-License-Identifier: Apache-2.0
"""Descriptors in messages, to one who waits for them by a connection that is in memory."""

import sys
from pathlib import Path

from playing import captured

from differential import run_in

# Each round has a connection of its own, since a descriptor in a message makes it the kernel's.
HANDS = """
import array, os, select, socket, sys, time
from socket import MSG_PEEK, MSG_WAITALL, SCM_RIGHTS, SOL_SOCKET

def rings():
    with open("/proc/self/maps") as maps:
        return sum("/lsca-stream-" in line for line in maps)

def take(end, n, flags=0, room=socket.CMSG_SPACE(8)):
    data, came, said, _ = end.recvmsg(n, room, flags | socket.MSG_CMSG_CLOEXEC)
    texts = []
    for level, kind, what in came:
        assert (level, kind) == (SOL_SOCKET, SCM_RIGHTS)
        for fd in array.array("i", what[: len(what) // 4 * 4]):
            texts.append(os.pread(fd, 100, 0))
            os.close(fd)
    print(data, texts, said & ~socket.MSG_CMSG_CLOEXEC)

def hand(end, data, fd):
    end.sendmsg([data], [(SOL_SOCKET, SCM_RIGHTS, array.array("i", [fd]))])

def sends(how, end, fd):
    if how != "at once":
        time.sleep(0.02)  # the other end waits by now
    if how == "behind bytes":
        end.sendall(b"four")
        time.sleep(0.02)
    hand(end, b"with", fd)
    if how in ("all of it", "two"):
        hand(end, b"more", fd)
    end.recv(1)

def takes(how, end):
    if how == "ready":
        print(select.select([end], [], [], 5)[0] == [end])
    if how == "looks":
        take(end, 4, MSG_PEEK)
    if how == "no room":
        take(end, 4, room=0)
    elif how in ("all of it", "behind bytes"):
        take(end, 8, MSG_WAITALL)
    else:
        take(end, 100)
    if how in ("all of it", "two"):  # the first one was the end of its call
        take(end, 100)

def round_of(how, fd):
    one, other = socket.socketpair()
    pid = os.fork()
    if not pid:
        one.close()
        for _ in range(20):
            other.sendall(b"x" * 10)
            assert len(other.recv(100)) == 10
        sends(how, other, fd)
        os._exit(0)
    other.close()
    for _ in range(20):
        assert len(one.recv(100)) == 10
        one.sendall(b"y" * 10)
    had = rings()
    takes(how, one)
    one.sendall(b"!")
    assert os.waitpid(pid, 0)[1] == 0
    return had > 0

fd = os.memfd_create("text")
os.write(fd, b"text of a file")
had = 0
for how in sys.argv[1:]:
    for _ in range(3):
        print(how, end=" ")
        had += round_of(how, fd)
print(had, file=sys.stderr)
"""
HOWS = ("waits", "at once", "ready", "looks", "no room", "all of it", "behind bytes", "two")


def test_a_descriptor_in_a_message_arrives(tmp_path: Path) -> None:
    argv = [sys.executable, "-S", "-c", HANDS]
    natively = run_in(tmp_path, [*argv, *HOWS[:1]])
    assert natively.stdout == b"waits b'with' [b'text of a file'] 0\n" * 3, natively.stderr
    for how in HOWS:
        natively, done = run_in(tmp_path, [*argv, how]), run_in(tmp_path, captured([*argv, how]))
        assert (done.returncode, done.stdout) == (natively.returncode, natively.stdout), done.stderr
        assert int(done.stderr.split()[-1]), "there was no ring"

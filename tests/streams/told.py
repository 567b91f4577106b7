# SPDX-License-Identifier: Apache-2.0
"""What test_told.py runs: connections of a kind that move some bytes and come to an end in a way. Prints what it knows.

    told.py tcp|unix|pipe HOW

A line for each process: its number, the bytes that it has sent and received.
"""

import array
import fcntl
import os
import signal
import socket
import sys
import termios

ROUNDS, SIZE = 60, 100
FULL = 120_000


def pair(kind):
    if kind == "unix":
        one, two = socket.socketpair()
    else:
        server = socket.create_server(("127.0.0.1", 0))
        one = socket.create_connection(server.getsockname())
        two, _ = server.accept()
        server.close()
    return one.detach(), two.detach()


def whole(fd, size):
    data = b""
    while len(data) < size and (more := os.read(fd, size - len(data))):
        data += more
    return len(data)


def say(sent, received):
    os.write(1, f"{os.getpid()} {sent} {received}\n".encode())


def pipes():
    """There and back."""
    ours, theirs = os.pipe(), os.pipe()
    if os.fork() == 0:
        os.close(ours[1])
        os.close(theirs[0])
        moved = plays(ours[0], first=True, out=theirs[1])
        os.close(ours[0])
        os.close(theirs[1])
        say(ROUNDS * SIZE, moved)
        os._exit(0)
    os.close(ours[0])
    os.close(theirs[1])
    moved = plays(theirs[0], first=False, out=ours[1])
    os.wait()
    say(ROUNDS * SIZE, moved)
    os.close(ours[1])
    os.close(theirs[0])


def plays(fd, first, out=-1):
    moved = 0
    for _ in range(ROUNDS):
        for sends in (first, not first):
            if sends:
                os.write(fd if out < 0 else out, b"x" * SIZE)
            else:
                moved += whole(fd, SIZE)
    assert moved == ROUNDS * SIZE
    return moved


def ends(fd, how):
    if how == "close":
        os.close(fd)
    elif how == "exec":
        os.execv("/bin/true", ["true"])
    elif how == "kept":
        os.set_inheritable(fd, True)
        os.execv("/bin/true", ["true"])
    elif how == "fails":
        for _ in range(3):
            try:
                os.execv("/none", ["none"])
            except OSError:
                pass
        os.close(fd)
    elif how == "exits":
        os._exit(0)
    elif how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        goes_back(fd, how)
        os.close(fd)


def goes_back(fd, how):
    end = socket.socket(fileno=os.dup(fd))
    if how == "shutdown":
        end.shutdown(socket.SHUT_WR)
    elif how == "setsockopt":
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    elif how == "ioctl":
        fcntl.ioctl(fd, termios.FIOASYNC, array.array("i", [0]))
    elif how == "sendmsg":
        one, two = socket.socketpair()
        socket.send_fds(one, [b"x"], [fd])
        one.close()
        two.close()
    elif how == "fcntl":
        fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
    else:
        raise ValueError(how)
    end.close()


def both(kind, how):
    one, two = pair(kind)
    if os.fork() == 0:
        os.close(one)
        say(plays(two, first=True), ROUNDS * SIZE)
        ends(two, how)
        os._exit(0)
    os.close(two)
    moved = plays(one, first=False)
    os.wait()
    if how == "killed":  # who writes notices
        for _ in range(1000):
            try:
                moved += os.write(one, b"x" * SIZE)
            except OSError:
                break
    say(moved, ROUNDS * SIZE)
    os.close(one)


def forked(kind):
    """Two processes have one end, one after the other."""
    one, two = pair(kind)
    if os.fork() == 0:
        os.close(one)
        say(plays(two, first=True), ROUNDS * SIZE)
        if os.fork() == 0:
            if os.fork() == 0:
                os._exit(0)  # and this one has never used it
            os.wait()
            say(plays(two, first=True), ROUNDS * SIZE)
            os._exit(0)
        os.wait()
        os._exit(0)
    os.close(two)
    moved = plays(one, first=False) + plays(one, first=False)
    os.wait()
    say(moved, 2 * ROUNDS * SIZE)
    os.close(one)


def many(kind):
    """All of them closed by one call."""
    pairs = [pair(kind) for _ in range(150)]
    child = os.fork()
    for one, two in pairs:
        os.close(one if child else two)
    for one, two in pairs:
        plays(two if child else one, first=bool(child))
    if not child:
        os.closerange(3, 1000)
        os._exit(0)
    os.closerange(3, 1000)
    os.wait()


def full(kind):
    """More than a ring holds, and nobody reads before all of it is sent."""
    one, two = pair(kind)
    if os.fork() == 0:
        os.close(one)
        moved = plays(two, first=True)
        left = FULL
        while left:
            left -= os.write(two, b"x" * min(left, 1000))
        say(ROUNDS * SIZE + FULL, moved)
        os._exit(0)
    os.close(two)
    moved = plays(one, first=False)
    os.wait()
    say(moved, ROUNDS * SIZE + whole(one, FULL))
    os.close(one)


def stays(kind):
    """Until nobody wants to look any more."""
    one, two = pair(kind)
    child = os.fork()
    os.close(one if child else two)
    for _ in range(10):  # threads tell now and then what they have moved
        plays(two if child else one, first=bool(child))
    if child:
        say(10 * ROUNDS * SIZE, 10 * ROUNDS * SIZE)
        os.read(0, 1)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    kind, how = sys.argv[1:]
    if how == "forked":
        forked(kind)
    elif how == "full":
        full(kind)
    elif how == "stays":
        stays(kind)
    elif how == "many":
        many(kind)
    elif kind == "pipe":
        pipes()
    else:
        both(kind, how)

# SPDX-License-Identifier: Apache-2.0
"""The agent as a library, and no daemon: none, a dead, stopped or foreign one, something else; one that goes away.

The program must run as it would without the agent, and soon. Whatever is answered is tried on a true session first, so
that each of the lies fails for its own reason.
"""

import contextlib
import fcntl
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lsca import _native
from lsca.log import read_log
from preloading import IS_CAUGHT, NOBODY, USERS, Place, caught, wait_for

# ---- with what is not a daemon ---------------------------------------------------------------------------------------


def plainly(place: Place, limit: float = 10) -> None:
    """The program runs, is not caught, and does not wait for long."""
    began = time.monotonic()
    done = place.run("sh", "-c", f"{IS_CAUGHT}; exit 3")
    assert (done.returncode, done.stderr) == (3, "")
    assert not caught(done.stdout)
    assert time.monotonic() - began < limit


def test_no_daemon(place: Place) -> None:
    plainly(place)
    place.socket = ""
    plainly(place)
    place.socket = "/" + "x" * 200
    plainly(place)


def test_killed_daemon_leaves_a_stale_socket(place: Place) -> None:
    place.start()
    assert place.daemon is not None
    place.daemon.kill()
    place.daemon.wait()
    assert os.path.exists(place.socket)
    plainly(place)


def test_a_file_that_is_no_socket(place: Place) -> None:
    Path(place.socket).write_text("precious")
    plainly(place)
    assert Path(place.socket).read_text() == "precious"


def test_stopped_daemon(place: Place) -> None:
    place.start()
    assert place.daemon is not None
    place.daemon.send_signal(signal.SIGSTOP)
    plainly(place)
    place.daemon.send_signal(signal.SIGCONT)
    assert place.run("sh", "-c", IS_CAUGHT).returncode == 0


def test_daemon_of_somebody_else() -> None:
    """Its memory is not to be trusted, nor are our calls its business."""
    if len(USERS) < 2:
        pytest.skip("only root can be two users")
    with contextlib.closing(Place("nobody")) as place:
        place.start()
        os.chmod(place.socket, 0o777)
        place.user = []  # root's program, nobody's daemon
        plainly(place)
        place.user = NOBODY
        assert caught(place.run("sh", "-c", IS_CAUGHT).stdout)


@contextlib.contextmanager
def served(place: Place, serve: Callable[[socket.socket], None] | None) -> Iterator[None]:
    """Something that listens where the daemon should. Without `serve` it never takes a client."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place.socket)
    listener.listen(0 if serve is None else 16)
    os.chmod(place.socket, 0o777)
    waiting = []

    def loop() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                assert serve is not None
                client.settimeout(5)
                serve(client)

    if serve is None:
        for _ in range(2):  # the queue is full
            one = socket.socket(socket.AF_UNIX)
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(place.socket)
            waiting.append(one)
    thread = threading.Thread(target=loop)
    if serve is not None:
        thread.start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        if serve is not None:
            thread.join()
        for one in waiting:
            one.close()


def silence(client: socket.socket) -> None:
    """Reads the question, and waits until the other one has gone."""
    while client.recv(100):
        pass


def garbage(client: socket.socket) -> None:
    client.sendall(b"\xff" * 100000)


def hang_up(client: socket.socket) -> None:
    client.recv(100)


def drip(client: socket.socket) -> None:
    """Never ends, one byte at a time."""
    client.recv(100)
    while True:
        client.sendall(b"x")
        time.sleep(0.1)


def gives(*make: Callable[[], int]) -> Callable[[socket.socket], None]:
    def serve(client: socket.socket) -> None:
        client.recv(100)
        fds = [one() for one in make]
        socket.send_fds(client, [b"{}\n"], fds)
        for fd in fds:
            os.close(fd)
        silence(client)

    return serve


def null() -> int:
    return os.open("/dev/null", os.O_RDWR)


def pipe() -> int:
    r, w = os.pipe()
    os.close(w)
    return r


def memory(size: int, seal: bool, content: bytes = b"") -> Callable[[], int]:
    def make() -> int:
        fd = os.memfd_create("test", os.MFD_ALLOW_SEALING)
        os.truncate(fd, size)
        os.pwrite(fd, content, 0)
        if seal:
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        return fd

    return make


def session(flags_word: bool, changed: bytes = b"", at: int = 0) -> Callable[[], int]:
    """A true session's memory, with or without the mark of one that has no launcher, and with a lie in it."""

    def make() -> int:
        fd = _native.session_create(False, None, os.getpid() if flags_word else 0)[0]
        os.pwrite(fd, changed, at)
        return fd

    return make


HOSTILE: dict[str, Callable[[socket.socket], None]] = {
    "silence": silence,
    "garbage": garbage,
    "hangs up": hang_up,
    "drips": drip,
    "a device": gives(null),
    "a pipe": gives(pipe),
    "two descriptors": gives(pipe, null),
    "thirty descriptors": gives(*[null] * 30),
    "small memory": gives(memory(4096, True)),
    "no memory": gives(memory(0, True)),
    "large empty memory": gives(memory(600 << 10, True)),
    "huge memory": gives(memory(1 << 40, True)),
    "memory that may shrink": gives(memory(600 << 10, False)),
    "a launcher's session": gives(session(False)),
    "another version": gives(session(True, b"\xfe", 4)),
    "another magic": gives(session(True, b"\x00", 0)),
    "another size": gives(session(True, b"\xff" * 8, 8)),
}


@pytest.mark.parametrize("serve", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_answers_is_no_daemon(here: Place, serve: Callable[[socket.socket], None]) -> None:
    with served(here, serve):
        plainly(here)


def test_a_true_answer_is_taken(here: Place) -> None:
    """What makes the others fail is what they changed."""
    with served(here, gives(session(True))):
        assert caught(here.run("sh", "-c", IS_CAUGHT).stdout)


def test_full_queue(here: Place) -> None:
    with served(here, None):
        plainly(here)


def test_no_descriptor_left(here: Place) -> None:
    here.start()
    script = f"ulimit -n 3; exec env LD_PRELOAD={here.agent} sh -c 'exit 3'"
    assert here.run("sh", "-c", script, preload=False).returncode in (3, 127)
    native = here.run("sh", "-c", "ulimit -n 3; exec env sh -c 'exit 3'", preload=False)
    assert here.run("sh", "-c", script, preload=False).returncode == native.returncode


# ---- a daemon that goes away -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
def test_the_daemon_goes_and_the_log_stays(place: Place, number: signal.Signals) -> None:
    place.start("-o", str(place.logs))
    assert place.daemon is not None
    program = place.begin("sh", "-c", "echo up; read x; cat /etc/hostname; exit 3")
    assert program.stdout is not None and program.stdin is not None
    assert program.stdout.readline() == "up\n"
    wait_for(lambda: next(place.logs.iterdir()).stat().st_size)  # it has its keeper
    place.daemon.send_signal(number)
    program.stdin.write("\n")
    program.stdin.close()
    assert program.stdout.read() == Path("/etc/hostname").read_text()
    assert program.wait(timeout=30) == 3
    log = place.log()
    assert sum(1 for record in read_log(log) if record.name == "exit_group") >= 1


BUSY = r"""
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void)
{
	puts("up");
	fflush(stdout);
	if (getchar() == EOF)
		return 1;
	for (int i = 0; i < 4000000; i++)
		syscall(SYS_getppid);
	return 3;
}
"""


def state(pid: int) -> str:
    """Z for one that is gone, too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_the_keeper_goes_and_the_program_goes_on(here: Place, number: signal.Signals) -> None:
    """More records than there is room for, and nobody who takes them away: they are lost, and time is not."""
    here.start("-o", str(here.logs))
    program = here.begin(here.compiled("busy", BUSY))
    assert program.stdout is not None and program.stdin is not None
    assert program.stdout.readline() == "up\n"
    assert here.daemon is not None
    path = next(here.logs.iterdir())
    wait_for(lambda: path.stat().st_size)
    children = Path(f"/proc/{here.daemon.pid}/task/{here.daemon.pid}/children").read_text().split()
    (keeper,) = map(int, children)
    os.kill(keeper, number)
    wait_for(lambda: state(keeper) in "TZ")
    try:
        program.stdin.write("\n")
        program.stdin.close()
        assert program.wait(timeout=60) == 3
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(keeper, signal.SIGCONT)
    if number == signal.SIGSTOP:
        wait_for(lambda: state(keeper) == "Z")  # it has written the end of the log
        assert read_log(path).lost > 10000

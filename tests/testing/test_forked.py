# SPDX-License-Identifier: Apache-2.0
"""Proves that children by os.fork, multiprocessing's too, are caught and are what they would be without."""

import concurrent.futures
import faulthandler
import json
import multiprocessing as mp
import os
import pty
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lsca
from lsca.testing import Fixture

FORK = mp.get_context("fork")
MARK = "/etc/hostname"  # what every child opens, so that its calls can be found

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Fixture]:
    with Fixture(tmp_path / "test.lsca") as fixture:
        yield fixture


def mark() -> None:
    os.close(os.open(MARK, os.O_RDONLY))


def forked(child: Callable[[], object], fork: Callable[[], int] = os.fork) -> tuple[int, object]:
    """The wait status of a child that marks itself and runs this, and what that returned."""
    with tempfile.TemporaryFile() as told:
        pid = fork()
        if not pid:
            try:
                mark()
                os.write(told.fileno(), json.dumps(child()).encode())
                os._exit(0)
            finally:
                os._exit(9)
        status = os.waitpid(pid, 0)[1]
        told.seek(0)
        return status, json.loads(told.read() or "null")


# ---- what a child may find, and how it may end: the same natively and caught ----


def exits() -> object:
    return forked(lambda: os._exit(7))


def raises() -> object:
    def child() -> None:
        raise ValueError

    return forked(child)


def kills_itself() -> object:
    return [
        forked(lambda number=number: os.kill(os.getpid(), number))  # type: ignore[misc]
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGALRM, signal.SIGUSR2)
    ]


def given() -> object:
    """What a process is given by its parent, apart from numbers that differ by chance."""
    parent = os.getpid()

    def child() -> object:
        status = Path("/proc/self/status").read_text().splitlines()
        names = ("SigBlk", "SigIgn", "ShdPnd", "SigPnd", "Threads", "Umask", "Name", "Seccomp")
        return [
            [line for line in status if line.startswith(names)],
            len(os.listdir("/proc/self/fd")),
            os.getppid() == parent,
            os.getpgrp() == os.getpgid(parent),
            os.getsid(0) == os.getsid(parent),
            os.getcwd(),
            signal.getitimer(signal.ITIMER_REAL),
            threading.active_count(),
            [str(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
        ]

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGCHLD})
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 1000)
    try:
        return forked(child)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1, signal.SIGCHLD})


def handles_signals() -> object:
    """Handlers from before the fork, one of a signal that is blocked meanwhile, and those that it sets itself."""
    seen: list[int] = []

    def child() -> object:
        os.kill(os.getpid(), signal.SIGUSR1)
        first = list(seen)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        signal.signal(signal.SIGALRM, lambda number, _: seen.append(number))
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        while len(seen) < 2:
            signal.pause()
        return [first, seen]

    before = signal.signal(signal.SIGUSR1, lambda number, _: seen.append(number))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        return forked(child), seen
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        signal.signal(signal.SIGUSR1, before)


def interrupted() -> object:
    """A blocking call that a handler's exception ends."""

    def late(number: int, _: object) -> None:
        raise TimeoutError(number)

    def child() -> object:
        reader, _writer = os.pipe()
        signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        try:
            return os.read(reader, 1).hex()
        except TimeoutError as error:
            return error.args

    return forked(child)


def faults() -> object:
    """faulthandler has an alternate stack of its own and a handler of SIGSEGV, which pytest turns on."""

    def child() -> None:
        faulthandler.enable(said)
        faulthandler._sigsegv()  # type: ignore[attr-defined]

    with tempfile.TemporaryFile("w+") as said:
        status = forked(child)
        said.seek(0)
        return status, said.readline()


def among_threads() -> object:
    """Others run, and hold locks, when it is forked; it starts one of its own."""
    end = threading.Event()

    def busy() -> None:
        while not end.is_set():
            time.sleep(0.0001)
            os.listdir("/proc/self/fd")

    def child() -> object:
        found: list[int] = []
        threads = [
            threading.Thread(target=lambda: found.append(len(os.listdir("/")))) for _ in "ab"
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(found)

    threads = [threading.Thread(target=busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        return [forked(child) for _ in range(5)]
    finally:
        end.set()
        for thread in threads:
            thread.join()


def by_a_thread() -> object:
    """It is not the first thread that is left in the child."""
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(forked(os.getcwd)))
    thread.start()
    thread.join()
    return found


def forks_again() -> object:
    return forked(lambda: forked(lambda: forked(lambda: os._exit(3))))


def starts_programs() -> object:
    def child() -> object:
        done = subprocess.run(["sh", "-c", "cat /etc/hosts | wc -c"], capture_output=True)
        missing: object = None
        try:
            subprocess.run(["/nowhere"])
        except OSError as error:
            missing = error.errno
        return done.returncode, done.stdout.decode(), os.system("exit 4"), missing

    return forked(child)


def becomes_a_program() -> object:
    return forked(lambda: os.execv("/bin/sh", ["sh", "-c", "exit 5"]))


def has_a_terminal() -> object:
    ours: list[int] = []

    def fork() -> int:
        pid, fd = pty.fork()
        ours.append(fd)
        return pid

    status = forked(lambda: [os.isatty(0), os.getsid(0) == os.getpid()], fork)
    os.close(ours[0])
    return status


def square(n: int) -> int:
    mark()
    if n < 0:
        raise ValueError(n)
    return n * n


def has_processes() -> object:
    queue = FORK.SimpleQueue()

    def child(n: int) -> None:
        queue.put(square(n))
        sys.exit(n)

    processes = [FORK.Process(target=child, args=(n,)) for n in (0, 3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes], sorted(queue.get() for _ in processes)


def loses_processes() -> object:
    """One that is killed, one that raises, and one that is told to end."""

    def wait() -> None:
        mark()
        threading.Event().wait()

    found: list[object] = []
    for end in (FORK.Process.terminate, FORK.Process.kill):
        process = FORK.Process(target=wait)
        process.start()
        end(process)
        process.join()
        found.append(process.exitcode)
    return found


def has_a_pool() -> object:
    with FORK.Pool(3) as pool:
        found: list[object] = [pool.map(square, range(10))]
        try:
            pool.apply(square, (-1,))
        except ValueError as error:
            found.append(error.args)
    return found


def has_an_executor() -> object:
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=FORK) as pool:
        found: list[object] = list(pool.map(square, range(6)))
        found.append(repr(pool.submit(square, -1).exception()))
    return found


def shares() -> object:
    """Locks, values and arrays in memory that both have, and a manager."""
    value, lock = FORK.Value("i", 0), FORK.Lock()

    def add(lists: Any) -> None:
        mark()
        for _ in range(50):
            with lock:
                value.value += 1
        lists.append(1)

    with FORK.Manager() as manager:
        lists = manager.list()
        processes = [FORK.Process(target=add, args=(lists,)) for _ in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        return value.value, list(lists)


SCENES: dict[str, tuple[Callable[[], object], int]] = {  # and how many children mark themselves
    "exits": (exits, 1),
    "raises": (raises, 1),
    "kills itself": (kills_itself, 4),
    "given": (given, 1),
    "handles signals": (handles_signals, 1),
    "interrupted": (interrupted, 1),
    "faults": (faults, 1),
    "among threads": (among_threads, 5),
    "by a thread": (by_a_thread, 1),
    "forks again": (forks_again, 3),
    "starts programs": (starts_programs, 1),
    "becomes a program": (becomes_a_program, 1),
    "has a terminal": (has_a_terminal, 1),
    "has processes": (has_processes, 2),
    "loses processes": (loses_processes, 0),  # they may be gone before they mark themselves
    "has a pool": (has_a_pool, 11),
    "has an executor": (has_an_executor, 7),
    "shares": (shares, 2),
}


def surroundings() -> object:
    """What a scene could leave behind in this process."""
    maps = Path("/proc/self/maps").read_text()
    return (
        signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        [signal.getsignal(number) for number in signal.valid_signals()],
        "lsca-agent" in maps,
        threading.active_count(),
    )


@pytest.mark.parametrize("name", SCENES)
def test_a_child_is_what_it_would_be(name: str, session: Fixture) -> None:
    scene, marks = SCENES[name]
    native = scene()
    before = surroundings()
    with session.joined():
        assert scene() == native
    assert surroundings() == before
    assert session.host.missed == 0
    assert len(session.calls("openat", path=MARK)) >= marks
    assert os.getpid() not in {call.pid for call in session.calls()}


def test_what_it_starts_is_caught(session: Fixture) -> None:
    with session.joined():
        starts_programs()
        becomes_a_program()
    assert "/etc/hosts" in session.files_read()
    rows = session.sql("select parent, argv, exit_code from processes order by started").rows()
    command = Path("/proc/self/cmdline").read_bytes().split(b"\0")[0].decode()
    assert rows[0][0] == os.getpid()
    assert rows[0][1].startswith(command)
    assert {"sh -c 'exit 5'", "cat /etc/hosts", "wc -c"} <= {row[1] for row in rows}
    assert {0, 4, 5} <= {row[2] for row in rows}


def test_rules_and_handlers_are_asked_about_it(session: Fixture) -> None:
    seen = []

    @session.on("openat", path="/etc/hosts")
    def look(call: Any) -> lsca.Verdict:
        seen.append(call.process.pid)
        return lsca.file("elsewhere\n")

    session.on("mkdir").fail("ENOSPC")

    def child() -> object:
        with pytest.raises(OSError) as raised:
            os.mkdir("/tmp/never")
        return os.getpid(), Path("/etc/hosts").read_text(), raised.value.errno

    with session.joined():
        status, told = forked(child)
    assert isinstance(told, list)
    assert (status, told[1], told[2]) == (0, "elsewhere\n", 28)
    assert seen == [told[0]]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_other_ways_to_start_a_process(method: str, session: Fixture) -> None:
    """In a program of their own: a server that forks outlives the session that it was started in."""
    script = f"""if __name__ == "__main__":
        import multiprocessing as mp, os
        from concurrent.futures import ProcessPoolExecutor
        from pathlib import Path
        from lsca.testing import Fixture
        with Fixture({os.fspath(session.log_path.with_suffix(".inner"))!r}) as fixture:
            with fixture.joined():
                process = mp.get_context("{method}").Process(target=os.listdir, args=("/etc",))
                process.start()
                process.join()
                with ProcessPoolExecutor(2, mp_context=mp.get_context("{method}")) as pool:
                    found = list(pool.map(abs, range(-3, 0)))
            listed = [call for call in fixture.calls("openat", path="/etc") if not call.error]
            print(process.exitcode, found, fixture.host.missed, len(listed))
            from multiprocessing import forkserver
            forkserver._forkserver._stop()
    """
    path = session.log_path.with_suffix(".py")
    path.write_text(script)
    done = subprocess.run([sys.executable, path], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("0 [3, 2, 1] 0 1\n", "")


def test_one_that_is_caught_already_is_counted(session: Fixture) -> None:
    """By the session that this process itself belongs to: an agent there is, but none of ours."""
    script = f"""if True:
        import os
        from lsca.testing import Fixture
        for strict in (False, True):
            with Fixture({os.fspath(session.log_path.with_suffix(".inner"))!r}, strict=strict) as fixture:
                with fixture.joined():
                    pid = os.fork()
                    if not pid:
                        os._exit(3)
                    print(os.waitpid(pid, 0)[1] >> 8, fixture.host.missed, fixture.calls())
    """
    done = session.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("3 1 []\n126 1 []\n", "")


@pytest.mark.parametrize("strict", [False, True])
def test_one_whose_launcher_was_killed(strict: bool, tmp_path: Path) -> None:
    with Fixture(tmp_path / "test.lsca", strict=strict) as session, session.joined():
        assert forked(os.getcwd) == (0, os.getcwd())
        session.host.sync()
        os.kill(lsca._native.session_snapshot(session.host.session.fd)["launcher"], signal.SIGKILL)
        session.host.ended(wait=True)
        assert forked(os.getcwd) == ((126 << 8, None) if strict else (0, os.getcwd()))


def test_what_runs_before_an_exec_is_not_caught_for_itself(session: Fixture) -> None:
    with session.joined():
        subprocess.run(["true"], preexec_fn=mark, check=True)
    assert session.host.missed == 0
    assert not session.calls("openat", path=MARK)
    assert session.calls("exit_group")

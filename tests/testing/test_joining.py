# SPDX-License-Identifier: Apache-2.0
"""Proves that a program that joins a session is what it would be without: given the same, ending the same, caught."""

import asyncio
import contextlib
import errno
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lsca
from lsca import joining
from lsca.errors import LscaError
from lsca.hosting import Launchers
from lsca.testing import Fixture

PROBE = [sys.executable, "-I", str(Path(__file__).with_name("probe.py"))]
CAT = "/bin/cat"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Fixture]:
    with Fixture(tmp_path / "test.lsca") as fixture:
        yield fixture


def probe(**options: Any) -> dict[str, Any]:
    done = subprocess.run([*PROBE, "a b", ""], stdout=subprocess.PIPE, check=True, **options)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def children(pid: int) -> list[int]:
    lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return sorted(int(word) for words in lists for word in words.split())


WAYS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "plain": lambda _: {},
    "directory": lambda place: {"cwd": place},
    "environment": lambda _: {"env": {"A": "1"}},
    "inherited": lambda _: {"close_fds": False},
    "group": lambda _: {"process_group": 0},
    "session": lambda _: {"start_new_session": True},
    "umask": lambda _: {"umask": 0o077},
    "signals": lambda _: {"restore_signals": False},
    "before": lambda _: {"preexec_fn": lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN)},
    "name": lambda _: {"executable": sys.executable},
    "closed": lambda _: {"stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT},
    "existing group": lambda _: {"process_group": os.getpgid(0)},
    "bytes and paths": lambda place: {"cwd": os.fsencode(place), "env": {b"A": b"\xff"}},
    "user": lambda _: {"user": os.getuid(), "group": os.getgid(), "extra_groups": os.getgroups()},
    "no vfork": lambda _: {},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_program_is_given_the_same(
    way: str, session: Fixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = WAYS[way](tmp_path)
    monkeypatch.setattr(subprocess, "_USE_VFORK", way != "no vfork")
    native = probe(**options)
    with session.joined():
        assert probe(**options) == native
    assert session.calls("exit_group")


def test_signals_that_the_parent_blocks_and_ignores(session: Fixture) -> None:
    was = signal.signal(signal.SIGUSR1, signal.SIG_IGN), signal.signal(signal.SIGUSR2, print)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGALRM})
    try:
        native = probe()
        with session.joined():
            assert probe() == native
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGUSR1, was[0])
        signal.signal(signal.SIGUSR2, was[1])
    assert native["blocked"] != native["ignored"] != "0" * 16


def test_standard_descriptors_that_were_closed(tmp_path: Path) -> None:
    script = Path(__file__).with_name("standard.py")
    done = subprocess.run([sys.executable, script, tmp_path], stdout=subprocess.PIPE, check=True)
    cases, differ, missed, programs = json.loads(done.stdout)
    assert (cases, differ, missed, programs) == (64, 0, 0, 64)


def test_passed_descriptors(session: Fixture) -> None:
    reader, writer = os.pipe()
    try:
        native = probe(pass_fds=[writer])
        with session.joined():
            assert probe(pass_fds=[writer]) == native
        assert writer in native["fds"]
    finally:
        os.close(reader)
        os.close(writer)


def failure(argv: list[str], **options: Any) -> tuple[type[BaseException], int | None, object, str]:
    with pytest.raises(OSError) as raised:
        subprocess.run(argv, **options)
    return type(raised.value), raised.value.errno, raised.value.filename, str(raised.value)


def test_errors_are_the_same(session: Fixture, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("x")
    script, empty = tmp_path / "script", tmp_path / "empty"
    script.write_text("#!/nowhere/at/all\n")
    empty.write_text("no program\n")
    for path in (script, empty):
        path.chmod(0o755)
    cases: list[tuple[list[str], dict[str, Any]]] = [
        (["/nowhere"], {}),
        (["no-such-program-anywhere"], {}),
        ([str(plain)], {}),
        ([str(tmp_path)], {}),
        ([str(script)], {}),
        ([str(empty)], {}),
        ([f"{plain}/x"], {}),
        (["true"], {"cwd": "/nowhere"}),
        (["true"], {"env": {"PATH": "/nowhere"}}),
    ]
    native = [failure(argv, **options) for argv, options in cases]
    with session.joined():
        assert [failure(argv, **options) for argv, options in cases] == native
    assert [one[1] for one in native[:2]] == [errno.ENOENT] * 2


@pytest.mark.parametrize("how", ["exit 7", "kill -9 $$", "kill -SEGV $$", "exit 255"])
def test_endings(how: str, session: Fixture) -> None:
    native = subprocess.run(["sh", "-c", how]).returncode, os.system(how)
    with session.joined():
        assert (subprocess.run(["sh", "-c", how]).returncode, os.system(how)) == native


def test_signals_reach_the_program_itself(session: Fixture) -> None:
    with session.joined():
        process = subprocess.Popen(["sleep", "100"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == -signal.SIGTERM
        process = subprocess.Popen([CAT], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert Path(f"/proc/{process.pid}/comm").read_text() == "cat\n"
        assert process.communicate(b"hello", timeout=20)[0] == b"hello"


def by_exec() -> None:
    pid = os.fork()
    if not pid:
        try:
            os.execvp("cat", ["cat", "/etc/hostname"])
        finally:
            os._exit(9)
    assert os.waitpid(pid, 0)[1] == 0


def by_spawn(spawn: Callable[..., int]) -> None:
    path = CAT if spawn is os.posix_spawn else "cat"
    actions = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]
    pid = spawn(path, ["cat", "/etc/hostname"], os.environ, file_actions=actions)
    assert os.waitpid(pid, 0)[1] == 0


def by_asyncio() -> None:
    async def run() -> int:
        process = await asyncio.create_subprocess_exec("cat", "/etc/hostname", stdout=-3)
        return await process.wait()

    assert asyncio.run(run()) == 0


def by_popen() -> None:
    with os.popen("cat /etc/hostname") as stream:
        assert stream.read()


STARTS: dict[str, Callable[[], object]] = {
    "run": lambda: subprocess.run(["cat", "/etc/hostname"], stdout=subprocess.DEVNULL),
    "shell": lambda: subprocess.run("cat /etc/hostname >/dev/null", shell=True),
    "system": lambda: os.system("cat /etc/hostname >/dev/null"),
    "popen": by_popen,
    "posix_spawn": lambda: by_spawn(os.posix_spawn),
    "posix_spawnp": lambda: by_spawn(os.posix_spawnp),
    "spawnlp": lambda: os.spawnlp(os.P_WAIT, "cat", "cat", "/etc/hostname"),
    "asyncio": by_asyncio,
    "fork and exec": by_exec,
    "terminal": lambda: pty.spawn(["cat", "/etc/hostname"], lambda fd: os.read(fd, 100)),
}


@pytest.mark.parametrize("way", STARTS)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_every_way_to_start_a_program_is_caught(way: str, session: Fixture) -> None:
    with session.joined():
        STARTS[way]()
    assert session.host.missed == 0
    assert "/etc/hostname" in session.files_read()


def test_descendants_are_caught_and_known(session: Fixture) -> None:
    with session.joined():
        subprocess.run(["sh", "-c", "sh -c 'cat /etc/hostname >/dev/null; exit 3'; exit 0"])
    rows = session.sql("select parent, argv, exit_code from processes order by started").rows()
    assert rows[0][0] == os.getpid()
    assert [row[2] for row in rows] == [0, 3, 0]
    assert rows[2][1] == "cat /etc/hostname"


def test_nothing_is_left_in_place(session: Fixture) -> None:
    before = subprocess._fork_exec, os.system, os.execve  # type: ignore[attr-defined]
    with session.joined():
        assert os.system is not before[1]
    assert (subprocess._fork_exec, os.system, os.execve) == before  # type: ignore[attr-defined]
    subprocess.run(["true"], check=True)
    assert session.calls() == []


def test_rules_begin_and_end_while_programs_run(session: Fixture, tmp_path: Path) -> None:
    script = (
        "while :; do cat /etc/hostname >/dev/null 2>&1 && echo yes || echo no; sleep 0.02; done"
    )
    with session.joined():
        process = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "yes\n"
        session.on("openat", path="/etc/hostname").fail("EACCES")
        while process.stdout.readline() != "no\n":
            pass
        session.clear()
        while process.stdout.readline() != "yes\n":
            pass
        process.kill()
        process.communicate()


def test_a_handler_in_this_process(session: Fixture) -> None:
    seen = []

    @session.on("openat", path="/etc/hostname")
    def look(call: Any) -> lsca.Verdict:
        seen.append(call.process.name)
        return lsca.file("elsewhere\n")

    done = session.run(["cat", "/etc/hostname"], capture_output=True, text=True)
    assert (done.stdout, seen) == ("elsewhere\n", ["cat"])
    assert done.log is not None and len(done.log)


def test_a_timeout_kills_all(session: Fixture) -> None:
    began = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        session.run(["sh", "-c", "sleep 50 & sleep 50; true"], timeout=0.5)
    assert time.monotonic() - began < 20


def test_connections(session: Fixture) -> None:
    script = (
        "import socket; s = socket.socket(); s.connect_ex(('127.0.0.1', 1)); "
        "u = socket.socket(socket.AF_UNIX); u.connect_ex('/run/nobody')"
    )
    session.run([sys.executable, "-c", script])
    assert session.connections() == ["127.0.0.1:1", "/run/nobody"]
    assert [call.error for call in session.calls("connect")] == ["ECONNREFUSED", "ENOENT"]


def test_a_launcher_that_was_killed(session: Fixture) -> None:
    session.host.sync()
    launcher = lsca._native.session_snapshot(session.host.session.fd)["launcher"]
    os.kill(launcher, signal.SIGKILL)
    session.host.ended(wait=True)
    with session.joined():
        assert subprocess.run(["true"]).returncode == 0
    assert session.host.ended()
    with pytest.raises(LscaError, match="the launcher of this session is gone"):
        session.calls()


@pytest.mark.parametrize("then", [signal.SIGCONT, signal.SIGKILL])
def test_a_launcher_that_is_stopped_holds_one_thread(
    session: Fixture, then: signal.Signals
) -> None:
    """And no other one: whoever waits for it has let go of the interpreter."""
    session.host.sync()
    launcher = lsca._native.session_snapshot(session.host.session.fd)["launcher"]
    os.kill(launcher, signal.SIGSTOP)
    while Path(f"/proc/{launcher}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        pass
    with session.joined():
        ended: list[int] = []
        before = children(os.getpid())
        thread = threading.Thread(target=lambda: ended.append(subprocess.call(["true"])))
        thread.start()
        while children(os.getpid()) == before:
            pass
        assert not ended
        os.kill(launcher, then)
        thread.join(60)
    assert ended == [0]
    assert session.host.missed == (then == signal.SIGKILL)


def test_threads_start_programs_at_the_same_time(session: Fixture) -> None:
    failed: list[object] = []

    def work(number: int) -> None:
        for count in range(10):
            done = subprocess.run(["echo", f"{number} {count}"], stdout=subprocess.PIPE, text=True)
            if done.stdout != f"{number} {count}\n":
                failed.append(done)
            with pytest.raises(FileNotFoundError):
                subprocess.run(["/nowhere"])

    with session.joined():
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failed
    assert session.host.missed == 0
    assert len(session.calls("exit_group")) == 60


def test_arguments_that_are_none(session: Fixture) -> None:
    wrong: list[tuple[Any, dict[str, Any]]] = [
        (["true", "a\0b"], {}),
        (["true", 1], {}),
        (["true"], {"cwd": "a\0b"}),
        (["true"], {"env": {"A": "a\0b"}}),
        (["true"], {"pass_fds": [999]}),
        (["true"], {"process_group": 999999999}),
    ]

    def failures() -> list[tuple[type[BaseException], str]]:
        found = []
        for argv, options in wrong:
            with pytest.raises((ValueError, TypeError, OSError)) as raised:
                subprocess.run(argv, **options)
            found.append((raised.type, str(raised.value)))
        return found

    native = failures()
    with session.joined():
        assert failures() == native


def test_a_session_that_nobody_serves_does_not_hold_a_program() -> None:
    command = joining.command(10**6, joining.NO_ERRORS, [CAT], ["cat", "/etc/hostname"])
    done = subprocess.run(command, executable=joining.JOIN, capture_output=True)
    assert done.returncode == 0 and done.stdout
    assert subprocess.run([joining.JOIN], stderr=subprocess.DEVNULL).returncode == 125


def test_a_launcher_that_is_killed_before_it_is_wanted(tmp_path: Path) -> None:
    launchers = Launchers()
    try:
        for number in range(3):
            while not (ready := children(launchers._process.pid)):
                pass
            os.kill(ready[0], signal.SIGKILL)
            while ready[0] in children(launchers._process.pid):
                pass  # it could still take a message along
            with Fixture(tmp_path / f"{number}.lsca", launchers=launchers) as session:
                with session.joined():
                    subprocess.run(["true"], check=True)
                assert session.host.missed == 0 and session.calls("exit_group")
    finally:
        launchers.close()


def test_sessions_at_the_same_time(tmp_path: Path) -> None:
    launchers = Launchers()
    try:
        with contextlib.ExitStack() as stack:
            all_of_them = [
                stack.enter_context(Fixture(tmp_path / f"{n}.lsca", launchers=launchers))
                for n in range(5)
            ]
            for session in all_of_them:
                session.run(["true"], check=True)
            for session in all_of_them:
                assert session.host.missed == 0 and len(session.calls("exit_group")) == 1
    finally:
        launchers.close()


def test_a_session_begins_with_the_call_sites_that_others_have_found(tmp_path: Path) -> None:
    """A call site costs signals until it is known."""
    launchers, signals = Launchers(), []
    try:
        for number in range(2):
            with Fixture(tmp_path / f"{number}.lsca", launchers=launchers) as session:
                for _ in range(2):
                    session.run(["true"], check=True)
                rows = session.sql("select sum(trapped::int) from calls group by pid order by pid")
            session.ended(wait=True)
            signals += rows.column()
    finally:
        launchers.close()
    first, second, later, _ = signals
    assert later <= second
    assert second < first or lsca._native.probe()["keys"]  # or this machine cannot

# SPDX-License-Identifier: Apache-2.0
"""Runs programs with handlers in Python: what they see and decide is what happens, in both routes.

`lsca.run` is held against subprocess.run.
"""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import lsca
from lsca import calls as c
from lsca.errors import HandlerError, StartError
from lsca.log import read_log

SHELL_OPENS = "cat /etc/hostname 2>&1; cat /etc/debian_version"


def out(command: str, *handlers: object, route: str = "kernel", **more: Any) -> str:
    """What a shell command writes, when nothing goes wrong in the handlers."""
    words = ["sh", "-c", command]
    done = lsca.run(
        words,
        handlers=list(handlers),
        route=route,
        capture_output=True,
        text=True,
        timeout=60,
        **more,
    )
    assert done.reports == [], done.reports
    return done.stdout


# ---- handlers -------------------------------------------------------------------------------------------------------


def test_an_error_for_one_path_and_no_other(route: str) -> None:
    asked = []

    @lsca.on(c.openat, path="/etc/hostname")
    def hidden(call: c.openat) -> lsca.Verdict:
        asked.append((call.path, call.process.name, call.process.argv, str(call.flags)))
        return lsca.fail("ENOENT")

    version = Path("/etc/debian_version").read_text()
    expected = f"cat: /etc/hostname: No such file or directory\n{version}"
    assert out(SHELL_OPENS, hidden, route=route) == expected
    assert asked == [("/etc/hostname", "cat", ["cat", "/etc/hostname"], "O_RDONLY")]


def test_contents_and_results(route: str) -> None:
    @lsca.on(c.openat, path="/etc/hostname")
    def fake(call: c.openat) -> lsca.Verdict:
        return lsca.file(b"x" * 100_000)

    @lsca.on(c.write, fd=1)
    def longer(call: c.write) -> lsca.Verdict:
        call.replace(buf=b"<" + call.buf.upper() + b">")
        return lsca.go_on

    assert out("cat /etc/hostname | wc -c", fake, route=route) == "100000\n"
    assert out("printf abc; printf d", longer, route=route) == "<ABC><D>"


def test_another_path_and_a_prettier_file(route: str, tmp_path: Path) -> None:
    (tmp_path / "real").write_text("really\n")

    @lsca.on(c.openat, path="/nowhere/**")
    def elsewhere(call: c.openat) -> lsca.Verdict:
        call.replace(path=call.path.replace("/nowhere", str(tmp_path)))
        return lsca.go_on

    @lsca.on(c.newfstatat, c.fstat, c.statx, path=f"{tmp_path}/real")
    def large(call: c.newfstatat | c.fstat | c.statx) -> lsca.Verdict:
        call.proceed()
        if isinstance(call, c.statx):
            call.fill(statxbuf={"stx_size": 4711})
        else:
            call.fill(statbuf={"st_size": 4711})
        return lsca.go_on

    assert out("cat /nowhere/real", elsewhere, route=route) == "really\n"
    assert out(f"stat -c %s {tmp_path}/real", large, route=route) == "4711\n"


def test_what_a_descriptor_stands_for(route: str, tmp_path: Path) -> None:
    files = []

    @lsca.on(c.write, path=f"{tmp_path}/**")
    def watch(call: c.write) -> lsca.Verdict:
        files.append((call.file.path, call.file.kind, call.buf))
        return lsca.go_on

    out(f"echo hello > {tmp_path}/f; echo other", watch, route=route)
    assert files == [(f"{tmp_path}/f", "file", b"hello\n")]


def test_result_is_seen(route: str) -> None:
    results = []

    @lsca.on(c.read)
    def watch(call: c.read) -> lsca.Verdict:
        if call.proceed() > 0 and b"seen" in call.buf:
            results.append((call.result, bytes(call.buf)))
        return lsca.go_on

    assert out("echo seen | cat", watch, route=route) == "seen\n"
    assert results == [(5, b"seen\n")]


def test_notes_are_a_process_s_own(route: str) -> None:
    counts = []

    @lsca.on(c.write, fd=1)
    def count(call: c.write) -> lsca.Verdict:
        notes = call.process.state
        notes["writes"] = notes.get("writes", 0) + 1
        counts.append((call.process.pid, notes["writes"]))
        return lsca.go_on

    out("echo a; echo b; sh -c 'echo c; echo d'; true", count, route=route)
    assert [number for _, number in counts] == [1, 2, 1, 2]
    assert counts[0][0] == counts[1][0] != counts[2][0] == counts[3][0]


def test_async_handlers(route: str) -> None:
    import asyncio

    @lsca.on(c.write, fd=1)
    async def slow(call: c.write) -> lsca.Verdict:
        await asyncio.sleep(0.3)
        return lsca.go_on

    start = time.monotonic()
    out("(echo a & echo b & echo c & echo d & wait)", slow, route=route)
    assert 0.3 <= time.monotonic() - start < 1.1


def test_an_empty_handler_sees_every_call_of_every_child(route: str) -> None:
    seen = []

    @lsca.on(c.execve)
    def execs(call: c.execve) -> lsca.Verdict:
        seen.append(call.argv[0])
        return lsca.go_on

    out("/bin/true; /bin/echo x | /bin/cat; env /bin/true", execs, route=route)
    assert {"/bin/true", "/bin/echo", "/bin/cat", "env"} <= set(seen)


def test_a_handler_that_raises_stops_nothing(route: str) -> None:
    @lsca.on(c.openat, path="/etc/hostname")
    def broken(call: c.openat) -> lsca.Verdict:
        raise RuntimeError("on purpose")

    words = ["cat", "/etc/hostname"]
    done = lsca.run(words, handlers=[broken], route=route, capture_output=True, timeout=60)
    assert done.stdout == Path("/etc/hostname").read_bytes()
    assert len(done.reports) == 1
    assert 'RuntimeError: on purpose; in openat(AT_FDCWD, "/etc/hostname"' in str(done.reports[0])
    assert __file__ in done.reports[0].where
    denied = lsca.run(
        words, handlers=[broken], route=route, on_error="deny", capture_output=True, timeout=60
    )
    assert denied.stderr == b"cat: /etc/hostname: Operation not permitted\n"
    assert denied.reports[0].became == "was denied (EPERM)"


def test_kill() -> None:
    @lsca.on(c.write, fd=1)
    def deadly(call: c.write) -> lsca.Verdict:
        return lsca.kill("SIGTERM")

    done = lsca.run([sys.executable, "-c", "print(1)"], handlers=[deadly], timeout=60)
    assert done.returncode == -signal.SIGTERM


def test_the_log_says_who_decided(tmp_path: Path) -> None:
    log = tmp_path / "x.lsca"
    rule = lsca.on("openat", path="/etc/hostname").fail("ENOENT")
    out("cat /etc/hostname || true", rule, log=log)
    records = [record for record in read_log(log) if record.name == "openat"]
    routes = {record.route for record in records if record.ret == -2}
    assert "handler" in routes


# ---- rules that need no Python --------------------------------------------------------------------------------------


def test_rules(route: str, tmp_path: Path) -> None:
    big = tmp_path / "big"
    full = lsca.on("write", path=f"{tmp_path}/**").fail("ENOSPC", after_bytes=1000)
    text = out(f"dd if=/dev/zero of={big} bs=300 count=9 2>&1", full, route=route)
    assert "No space left on device" in text
    assert big.stat().st_size == 1000
    third = lsca.on("getppid,write", fd=1, count=3).fail("EIO")
    assert out("echo a; echo b; echo c; echo d", third, route=route) == "a\nb\nc\nd\n".replace(
        "c\n", ""
    )
    start = time.monotonic()
    out("echo a", lsca.on("write", fd=1).sleep(0.2, after=0.2), route=route)
    assert time.monotonic() - start > 0.4
    assert out("head -c 9 /dev/zero | wc -c", lsca.on("read").cut(2), route=route) == "9\n"


def test_a_rule_after_a_handler(route: str) -> None:
    @lsca.on(c.write, fd=1)
    def first(call: c.write) -> lsca.Verdict:
        return lsca.ret(call.count) if call.buf == b"b\n" else lsca.go_on

    second = lsca.on("write", fd=1, count=2).fail("EIO")
    assert out("echo a; echo b; echo c; echo d", first, second, route=route) == "a\nd\n"


def test_by_process_address_and_flags(route: str, tmp_path: Path) -> None:
    rule = lsca.on("openat", process="cat", path="/etc/hostname").fail("ENOENT")
    hostname = Path("/etc/hostname").read_text()
    command = "cat /etc/hostname 2>&1; head -1 /etc/hostname"
    assert out(command, rule, route=route).endswith(hostname)
    flags = lsca.on("openat", flags="O_CREAT", path=f"{tmp_path}/**").fail("EROFS")
    command = f"echo x > {tmp_path}/new; cat {tmp_path}/old"
    (tmp_path / "old").write_text("old\n")
    done = lsca.run(
        ["sh", "-c", command], handlers=flags, route=route, capture_output=True, text=True
    )
    assert done.stdout == "old\n"
    assert "Read-only file system" in done.stderr
    refused = lsca.on("connect", address="192.0.2.0/24:1-99").fail("ECONNREFUSED")
    program = (
        f"{sys.executable} -c \"import socket; socket.create_connection(('192.0.2.1', 80))\" 2>&1"
    )
    assert "Connection refused" in out(program, refused, route=route)


def test_what_cannot_be_is_said_before_anything_runs() -> None:
    with pytest.raises(HandlerError, match="exit_group does not return to its caller"):
        lsca.run(["true"], handlers=[lsca.on("exit_group").fail("EIO")])
    with pytest.raises(HandlerError, match=r"write @lsca\.on"):
        lsca.run(["true"], handlers=[lambda call: lsca.go_on])


# ---- lsca.run is subprocess.run -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "options"),
    [
        (["sh", "-c", "echo out; echo err >&2; exit 3"], {"capture_output": True}),
        (["cat"], {"input": b"through", "stdout": subprocess.PIPE}),
        (["cat"], {"input": "caf\u00e9", "stdout": subprocess.PIPE, "text": True}),
        ("echo $0 $X", {"shell": True, "capture_output": True, "env": {"X": "1", "PATH": "/bin"}}),
        (["pwd"], {"cwd": "/usr", "capture_output": True, "text": True}),
        (["sh", "-c", "kill -9 $$"], {}),
        (["sh", "-c", "echo x >&2"], {"stderr": subprocess.STDOUT, "stdout": subprocess.PIPE}),
    ],
)
def test_like_subprocess(args: Any, options: dict[str, Any]) -> None:
    ours, theirs = lsca.run(args, **options), subprocess.run(args, **options)
    assert (ours.returncode, ours.stdout, ours.stderr) == (
        theirs.returncode,
        theirs.stdout,
        theirs.stderr,
    )
    assert isinstance(ours, subprocess.CompletedProcess)
    assert (ours.args, ours.log, ours.reports) == (theirs.args, None, [])


def test_check_and_timeout() -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        lsca.run(["sh", "-c", "echo x; exit 5"], check=True, capture_output=True)
    assert (failed.value.returncode, failed.value.stdout) == (5, b"x\n")
    start = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired) as late:
        lsca.run(["sh", "-c", "echo x; sleep 60 & sleep 60"], timeout=0.5, capture_output=True)
    assert time.monotonic() - start < 10
    assert late.value.stdout == b"x\n"


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(StartError, match="nothing-of-that-name") as missing:
        lsca.run(["nothing-of-that-name"])
    assert missing.value.exit_code == 127


def test_runs_at_the_same_time() -> None:
    """Each has its own handlers; threads of the caller are no matter."""
    texts: dict[int, str] = {}

    def one(number: int) -> None:
        @lsca.on(c.write, fd=1)
        def mine(call: c.write) -> lsca.Verdict:
            call.replace(buf=f"{number}\n".encode())
            return lsca.go_on

        texts[number] = out("echo x", mine)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == {n: f"{n}\n" for n in range(6)}


def test_nothing_is_left_behind() -> None:
    before = set(os.listdir("/proc/self/fd"))
    names = {thread.name for thread in threading.enumerate()}

    @lsca.on(c.write, fd=1)
    async def handler(call: c.write) -> lsca.Verdict:
        call.process.state["x"] = 1
        return lsca.go_on

    out("echo x", handler)
    assert set(os.listdir("/proc/self/fd")) == before
    assert {thread.name for thread in threading.enumerate()} == names


def test_a_session_that_is_over_before_it_is_served() -> None:
    from lsca.session import Session

    session = Session(handlers=[lsca.on("getppid").ret(1)])
    fcntl.fcntl(session.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    with session.served():
        pass
    session.close()

# SPDX-License-Identifier: Apache-2.0
"""Manners of `lsca run`: exit status, signals, terminal, environment, descriptors; execs of every kind, many at once.

Each is what the shell sees without LSCA, too. What the agent makes of calls is proven elsewhere.
"""

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from lsca.log import read_log

LSCA = [sys.executable, "-m", "lsca", "run", "--no-daemon"]
SOURCES = Path(__file__).parents[2] / "src"

THREADS = r"""
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
static char **args;
static void *run(void *a) { (void)a; execv(args[1], args + 1); return 0; }
static void *busy(void *a) { (void)a; for (;;) usleep(100); }
int main(int argc, char **argv)
{
	pthread_t t;
	(void)argc;
	args = argv;
	for (int i = 0; i < 4; i++)
		pthread_create(&t, 0, busy, 0);
	for (int i = 0; i < atoi(getenv("EXECS")); i++)
		pthread_create(&t, 0, run, 0);
	pause();
}
"""

FAILING = r"""
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
static void *run(void *a)
{
	char *v[] = {"x", 0};
	for (int i = 0; i < 50; i++)
		if (execv("/etc/passwd", v) != -1 || errno != EACCES)
			exit(9);
	return a;
}
int main(void)
{
	pthread_t t[8];
	for (int i = 0; i < 8; i++)
		pthread_create(&t[i], 0, run, 0);
	for (int i = 0; i < 8; i++)
		pthread_join(t[i], 0);
	return 0;
}
"""


FOREIGN = r"""
void _start(void) { __asm__ volatile("int $0x80" : : "a"(1), "b"(12)); for (;;) ; }
"""


def run(
    *words: str, options: Sequence[str] = (), **more: object
) -> subprocess.CompletedProcess[str]:
    command = [*LSCA, *options, "--", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **more)  # type: ignore[call-overload, no-any-return]


def compiled(directory: Path, source: str, *flags: str) -> str:
    cc = shutil.which("gcc")
    if cc is None:
        pytest.skip("gcc is not installed")
    (directory / "program.c").write_text(source)
    target = str(directory / "program")
    subprocess.run([cc, "-O1", "-pthread", *flags, "-o", target, f"{target}.c"], check=True)
    return target


def test_exit_code_and_output() -> None:
    done = run("sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGINT])
def test_death_by_signal(number: signal.Signals) -> None:
    done = run("sh", "-c", f"kill -{int(number)} $$")
    assert (done.returncode, done.stderr) == (-number, "")


def test_not_found() -> None:
    done = run("no-such-program-anywhere")
    assert done.returncode == 127
    assert done.stderr == "lsca: no-such-program-anywhere: command not found\n"
    assert run("/no/such/program").returncode == 127


def test_not_executable(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("echo no interpreter is named\n")
    plain.chmod(0o644)
    assert run(str(plain)).returncode == 126 or os.geteuid() == 0
    plain.chmod(0o755)
    done = run(str(plain))
    assert done.returncode == 126
    assert done.stderr.startswith(f"lsca: {plain}: ")
    assert run(str(tmp_path)).returncode == 126


def test_interpreter_line(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text('#!/bin/sh\necho "$0" "$1"\n')
    script.chmod(0o755)
    done = run("script", "x", env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.stdout == f"{script} x\n"


def test_environment_is_untouched() -> None:
    done = run("/usr/bin/env", env={"A": "1", "PYTHONPATH": os.environ.get("PYTHONPATH", "")})
    assert sorted(done.stdout.splitlines()) == sorted(
        ["A=1", f"PYTHONPATH={os.environ.get('PYTHONPATH', '')}"]
    )


def test_signals_are_as_they_were() -> None:
    """Python ignores SIGPIPE for itself, and the launcher blocks and handles some."""
    script = "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status"
    native = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    captured = run("sh", "-c", script).stdout
    # The agent's own handler is the one thing that differs, and only in what is caught.
    assert captured.splitlines()[:2] == native.stdout.splitlines()[:2]


def test_descriptors_are_as_they_were() -> None:
    r, w = os.pipe()
    script = "ls /proc/self/fd"
    native = subprocess.run(["sh", "-c", script], capture_output=True, text=True, pass_fds=[r, w])
    captured = run("sh", "-c", script, pass_fds=[r, w])
    os.close(r)
    os.close(w)
    assert captured.stdout == native.stdout


def test_closed_standard_descriptors() -> None:
    command = " ".join([*LSCA, "sh", "-c", "'exit 4'", "<&-", ">&-", "2>&-"])
    assert subprocess.run(["sh", "-c", command], timeout=30).returncode == 4


def test_end_of_file_comes_when_the_program_closes() -> None:
    """We keep nothing open that was handed to the program."""
    process = subprocess.Popen(
        [*LSCA, "sh", "-c", "exec >&-; sleep 30"], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 10)[0]
    assert process.stdout.read() == b""
    process.stdout.close()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT])
def test_signals_are_passed_on(number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    process = subprocess.Popen(
        [
            *LSCA,
            "sh",
            "-c",
            f"trap 'echo got; exit 5' {name}; echo up; while :; do sleep 0.05; done",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(number)
    assert process.stdout.readline() == "got\n"
    assert process.wait(timeout=10) == 5
    process.stdout.close()


def test_background_children_do_not_hold_the_shell(tmp_path: Path) -> None:
    began = time.monotonic()
    mark = tmp_path / "mark"
    done = run("sh", "-c", f"(sleep 3; /bin/echo late > {mark}) >/dev/null 2>&1 & exit 6")
    assert done.returncode == 6
    assert time.monotonic() - began < 2.9
    for _ in range(100):
        if mark.exists() and mark.read_text() == "late\n":
            return
        time.sleep(0.05)
    pytest.fail("the child in the background did not get through its exec")


def test_log_of_background_children(tmp_path: Path) -> None:
    log = tmp_path / "log"
    run("sh", "-c", "(sleep 0.3; /bin/true) >/dev/null 2>&1 &", options=["-o", str(log)])
    for _ in range(100):
        if read_log(log).complete:
            break
        time.sleep(0.05)
    assert read_log(log).complete
    assert len({record.pid for record in read_log(log)}) >= 3


def test_log_is_complete_at_the_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert run("sh", "-c", "ls / >/dev/null; exit 2", options=["-o", str(log)]).returncode == 2
    read = read_log(log)
    assert read.complete
    assert (read.lost, read.gaps, read.uncaught) == (0, 0, 0)
    assert sum(1 for record in read if record.name == "exit_group") == 2


def test_log_that_cannot_be_written() -> None:
    done = run("echo", "ran", options=["-o", "/no/such/directory/log"])
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("lsca: the log /no/such/directory/log cannot be written")


def test_full_disk_harms_the_log_only() -> None:
    done = run("sh", "-c", "ls / >/dev/null; exit 3", options=["-o", "/dev/full"])
    assert done.returncode in (3, 125)
    assert "No space left on device" in done.stderr


def test_log_to_a_pipe_nobody_reads() -> None:
    r, w = os.pipe()
    os.close(r)
    done = run("sh", "-c", "exit 3", options=["-o", f"/dev/fd/{w}"], pass_fds=[w])
    os.close(w)
    assert done.returncode in (3, 125)
    assert done.stderr.count("lsca:") == 1


def test_empty_environment_and_static_programs(tmp_path: Path) -> None:
    static = compiled(tmp_path, "int main(void) { return 11; }", "-static")
    log = tmp_path / "log"
    script = f"env -i {static}; exit $?"
    assert run("sh", "-c", script, options=["-o", str(log)]).returncode == 11
    assert read_log(log).uncaught == 0


@pytest.mark.parametrize("execs", [1, 2, 5])
def test_exec_of_a_thread_that_does_not_lead(tmp_path: Path, execs: int) -> None:
    program = compiled(tmp_path, THREADS)
    done = run(program, "/bin/echo", "through", env={**os.environ, "EXECS": str(execs)})
    assert (done.returncode, done.stdout, done.stderr) == (0, "through\n", "")


def test_execs_that_fail(tmp_path: Path) -> None:
    done = run(compiled(tmp_path, FAILING))
    assert (done.returncode, done.stderr) == (0, "")


def test_more_execs_at_once_than_there_are_requests() -> None:
    done = run("bash", "-c", "for i in {1..200}; do /bin/true & done; wait; echo all")
    assert (done.returncode, done.stdout, done.stderr) == (0, "all\n", "")


def test_programs_of_another_machine_run_uncaught(tmp_path: Path) -> None:
    program = compiled(tmp_path, FOREIGN, "-m32", "-nostdlib", "-static", "-ffreestanding")
    done = run("sh", "-c", f"{program}; exit $?")
    assert done.returncode == 12
    assert done.stderr.startswith("lsca: 1 program ran uncaught (first: ")


def test_killed_launcher_leaves_nothing(tmp_path: Path) -> None:
    """Whoever is killed: the program ends by itself, and no process of ours stays."""
    process = subprocess.Popen([*LSCA, "sleep", "1"], stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    process.kill()
    process.wait()
    for _ in range(100):
        if not processes_with(str(process.args[-1]), "lsca"):  # type: ignore[index]
            return
        time.sleep(0.05)
    pytest.fail("something stayed")


def processes_with(*words: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if all(word in line for word in ("run --no-daemon sleep", *words)):
                found.append(line)
    return found


def test_job_control() -> None:
    """Ctrl-Z, jobs, fg, Ctrl-C of an interactive shell."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
    seen = ""

    def wait_for(text: str) -> None:
        nonlocal seen
        end = time.monotonic() + 15
        while text not in seen:
            if time.monotonic() > end:
                pytest.fail(f"no {text!r} in {seen!r}")
            if select.select([terminal], [], [], 0.1)[0]:
                seen += os.read(terminal, 65536).decode(errors="replace")
        seen = seen[seen.index(text) + len(text) :]

    def say(text: bytes) -> None:
        os.write(terminal, text)

    try:
        say(b"PS1='ready '; bind 'set enable-bracketed-paste off'\n")
        wait_for("ready ")
        say(" ".join([*LSCA, "cat"]).encode() + b"; echo code $?\n")
        wait_for("\n")
        time.sleep(1)
        say(b"hello\n")
        wait_for("hello\r\nhello")
        say(b"\x1a")
        wait_for("Stopped")
        say(b"fg\n")
        time.sleep(0.5)
        say(b"again\n")
        wait_for("again\r\nagain")
        say(b"\x03")
        time.sleep(0.5)
        say(b"echo code $?\n")
        wait_for("code 130")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def test_session_from_python() -> None:
    code = (
        "from lsca.session import Session; s = Session();"
        "print(s.run([b'sh', b'-c', b'exit 9']), flush=True); s.close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert json.loads(done.stdout.replace("(", "[").replace(")", "]")) == [9, 0]


def readable_python() -> str:
    """A Python that an ordinary user can run lsca with, or nothing."""
    python = "/usr/bin/python3"
    command = [python, "-c", "import lsca._native, sys; sys.exit(sys.version_info < (3, 11))"]
    if os.geteuid() or not os.path.exists(python):
        return ""
    env = {"PYTHONPATH": str(SOURCES)}
    done = subprocess.run(command, user=65534, group=65534, extra_groups=[], env=env)
    return python if done.returncode == 0 else ""


@pytest.mark.parametrize("route", ["kernel", "proxy"])
def test_program_that_its_user_may_not_read(route: str, tmp_path: Path) -> None:
    """The kernel keeps its memory from tracers: it runs uncaught, or is ended and its parent told so."""
    python = readable_python()
    if not python:
        pytest.skip("no Python 3.11 in /usr/bin with which an ordinary user could run lsca")
    with tempfile.TemporaryDirectory(prefix="lsca-unreadable-") as where:
        os.chmod(where, 0o755)
        secret = shutil.copy("/bin/true", where)
        os.chmod(secret, 0o711)
        code = f"{secret}; echo $?"
        command = [
            python,
            "-B",
            "-m",
            "lsca",
            "run",
            "--no-daemon",
            "--route",
            route,
            "sh",
            "-c",
            code,
        ]
        env = {"PYTHONPATH": str(SOURCES), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            command,
            user=65534,
            group=65534,
            extra_groups=[],
            env=env,
            cwd=where,
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert done.stdout == ("0\n" if route == "kernel" else "137\n")
    assert "1 program" in done.stderr and "memory cannot be opened" in done.stderr


def test_the_package_may_lie_anywhere(tmp_path: Path) -> None:
    place = tmp_path / 'main, serve_hosts \'n \\ "x"'
    shutil.copytree(SOURCES / "lsca", place / "lsca", ignore=shutil.ignore_patterns("__pycache__"))
    text = """if True:
        import subprocess, sys
        sys.path.insert(0, sys.argv[1])
        import lsca
        from lsca.testing import Fixture
        assert lsca.__file__.startswith(sys.argv[1])
        assert lsca.run(["true"]).returncode == 0
        with Fixture(sys.argv[2]) as session:
            with session.joined():
                subprocess.run(["true"], check=True)
            assert session.calls("exit_group")
    """
    log = str(tmp_path / "log.lsca")
    subprocess.run([sys.executable, "-c", text, str(place), log], check=True, timeout=60)

# SPDX-License-Identifier: Apache-2.0
"""Proves `lsca run` with handlers and faults: files that are loaded anew, what is said of errors, strace's meaning."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import pytest

LSCA = [sys.executable, "-m", "lsca", "run", "--no-daemon"]
WRITES = "for i in 1 2 3 4 5 6 7; do echo $i; done 2>/dev/null"
HANDLER = """
import lsca
from lsca import calls as c

@lsca.on(c.write, fd=1)
def handler(call):
    call.replace(buf=b"%s\\n")
    return lsca.go_on
"""


def run(*argv: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LSCA, *argv], capture_output=True, text=True, timeout=timeout)


def until(stream: IO[str], wanted: str, seconds: float = 20) -> list[str]:
    """Lines up to one with `wanted` in it."""
    lines = []
    deadline = time.monotonic() + seconds
    for line in stream:
        lines.append(line)
        if wanted in line:
            return lines
        assert time.monotonic() < deadline, lines
    raise AssertionError(lines)


def test_a_file_of_handlers(route: str, tmp_path: Path) -> None:
    (tmp_path / "h.py").write_text(HANDLER % "one")
    done = run("--route", route, "-s", str(tmp_path / "h.py"), "--", "sh", "-c", "echo x; exit 3")
    assert (done.stdout, done.stderr, done.returncode) == ("one\n", "", 3)


def test_several_files_are_asked_in_their_order(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(
            HANDLER.replace("lsca.go_on", "lsca.ret(call.proceed())") % name
        )
    files = [str(tmp_path / "two.py"), str(tmp_path / "one.py")]
    assert run("-s", files[0], "-s", files[1], "echo", "x").stdout == "two\n"
    assert run("-s", files[1], "-s", files[0], "echo", "x").stdout == "one\n"


def test_handlers_may_import_what_lies_beside_them(tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text("WORD = b'beside\\n'\n")
    text = HANDLER.replace('b"%s\\n"', "words.WORD").replace(
        "import lsca\n", "import lsca, words\n", 1
    )
    (tmp_path / "h.py").write_text(text)
    assert run("-s", str(tmp_path / "h.py"), "echo", "x").stdout == "beside\n"


def test_saving_a_file_changes_what_happens(tmp_path: Path) -> None:
    """A new version is in force from then on; one that does not load leaves the old one, and is said with its place."""
    file = tmp_path / "h.py"
    file.write_text(HANDLER % "one")
    program = (
        f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        "while True: print('x', flush=True); time.sleep(0.02)"
    )
    command = [*LSCA, "-s", str(file), sys.executable, "-c", program]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stderr
        try:
            until(process.stdout, "one")
            file.write_text(HANDLER % "two")
            until(process.stderr, "is in force")
            until(process.stdout, "two")
            file.write_text((HANDLER % "three") + "\nlsca.on('opnat').fail('EIO')\n")
            said = until(process.stderr, "stay in force")
            assert f"{file}:10: there is no system call 'opnat'; near to it: openat" in said[-1]
            for text, words in (
                ("def broken(:\n", f"{file}:1: invalid syntax"),
                ("import lsca\n1 / 0\n", f"{file}:2: ZeroDivisionError: division by zero"),
                ("x = 1\n", f"{file} has no handlers: nothing in it says lsca.on"),
            ):
                file.write_text(text)
                assert words in until(process.stderr, "stay in force")[-1]
            until(process.stdout, "two")
            replacement = tmp_path / "new.py"
            replacement.write_text(HANDLER % "four")
            os.replace(replacement, file)  # as most editors do
            until(process.stdout, "four")
        finally:
            process.kill()
            os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-s", "/nothing.py"], "/nothing.py cannot be read: No such file or directory"),
        (["-e", "inject=opnat:error=EIO"], "no system call 'opnat'; near to it: openat"),
        (["-e", "trace=open"], "`lsca log -e trace=open FILE` selects"),
        (["-e", "inject=exit_group:error=EIO"], "exit_group does not return to its caller"),
        (["--seed", "x"], "--seed wants a number, not 'x'"),
        (["--on-error", "no"], "there are: go_on, deny"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_runs(words: list[str], message: str) -> None:
    done = run(*words, "echo", "ran")
    assert (done.returncode, done.stdout) == (125, "")
    assert message in done.stderr


def test_a_handler_that_raises(tmp_path: Path) -> None:
    file = tmp_path / "h.py"
    file.write_text(HANDLER.replace("call.replace", "call.repalce") % "x")
    done = run("-s", str(file), "echo", "fine")
    assert done.stdout == "fine\n"
    assert done.stderr == (
        f"lsca: {file}:7: AttributeError: write has no argument 'repalce'; it has fd, buf, count; "
        'in write(1, "fine\\n", 5), which went on\n'
    )
    denied = run("-s", str(file), "--on-error", "deny", "cat", "/proc/version")
    assert "Operation not permitted" in denied.stderr


def test_death_and_interruption_of_a_program_that_waits_for_a_handler(tmp_path: Path) -> None:
    (tmp_path / "h.py").write_text(
        "import lsca\n@lsca.on('write', fd=1)\ndef slow(call):\n    lsca.sleep(60)\n    return lsca.go_on\n"
    )
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        program = "import os; os.write(2, b'%d\\n' % os.getpid()); os.write(1, b'x')"
        command = [*LSCA, "-s", str(tmp_path / "h.py"), sys.executable, "-c", program]
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(
                signal.SIGINT, signal.SIG_DFL
            ),  # a shell's `&` ignores it
        ) as process:
            assert process.stderr
            pid = int(process.stderr.readline())
            time.sleep(0.3)  # let it come to the handler; earlier would be another test
            os.kill(pid, number)
            assert process.wait(20) == -number


# ---- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        "inject=write:error=EIO:when=3",
        "inject=write:error=EIO:when=2..4",
        "inject=write:error=EIO:when=3+",
        "inject=write:error=EIO:when=2+3",
        "inject=write:error=EIO:when=1..6+2",
        "inject=write:retval=2",
        "inject=write:retval=2:when=2",
        "fault=write:when=2",
        "inject=!execve,exit_group,rt_sigprocmask,brk,mmap:delay_enter=1",
        "inject=write:signal=SIGTERM:when=3",
        "inject=write:signal=SIGUSR1:error=EINTR:when=3",
        "inject=openat:error=ENOENT:when=99",
        "inject=write:poke_enter=@arg2=58:when=2",
        "inject=write:error=ENOSPC:syscall=getpid:when=2",
    ],
)
def test_as_strace_does_it(fault: str) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    program = ["sh", "-c", WRITES]
    command = ["strace", "-f", "-o", "/dev/null", "-e", fault, *program]
    theirs = subprocess.run(command, capture_output=True, text=True, timeout=60)
    ours = run("-e", fault, *program)
    assert (ours.stdout, ours.returncode) == (theirs.stdout, theirs.returncode)
    assert "lsca:" not in ours.stderr


THREADS = """
import os, threading
def work(n):
    for i in range(4):
        try:
            os.write(1, b"%d.%d\\n" % (n, i))
        except OSError as error:
            os.write(2, b"%d.%d %d\\n" % (n, i, error.errno))
for n in range(3):
    thread = threading.Thread(target=work, args=(n,))
    thread.start()
    thread.join()
if not os.fork():
    work(3)
    os._exit(0)
os.wait()
os.execlp("sh", "sh", "-c", "echo 4.0; echo 4.1; echo 4.2; echo 4.3; echo 4.4")
"""


@pytest.mark.parametrize("when", ["1", "2", "4", "2+2", "3+"])
def test_when_counts_in_each_thread_and_across_exec(when: str) -> None:
    """As strace counts: anew in a thread and in a child, on in the next program of the same process."""
    fault = f"inject=write:error=EIO:when={when}"
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    program = [sys.executable, "-c", THREADS]
    command = ["strace", "-f", "-o", "/dev/null", "-e", fault, *program]
    theirs = subprocess.run(command, capture_output=True, text=True, timeout=60)
    ours = run("-e", fault, *program)
    assert (ours.stdout, ours.stderr) == (theirs.stdout, theirs.stderr)
    assert theirs.stdout.count(".") > 3


def test_who_is_just_born_is_not_forgotten_at_the_end(tmp_path: Path) -> None:
    """The first program ends while its child is on its way: the launcher goes on for it, or its exec would fail."""
    program = "import os\nif not os.fork() and not os.fork(): os.execlp('touch', 'touch', %r)\nos._exit(0)"
    for number in range(20):
        words = ["--strict", "-e", "inject=getppid:retval=7", sys.executable, "-S", "-c"]
        assert run(*words, program % str(tmp_path / str(number))).returncode == 0
    end = time.monotonic() + 20
    while len(list(tmp_path.iterdir())) < 20 and time.monotonic() < end:
        time.sleep(0.05)
    assert len(list(tmp_path.iterdir())) == 20


def faulty(faults: Sequence[str], program: str, *more: str) -> subprocess.CompletedProcess[str]:
    words = [word for fault in faults for word in ("-e", fault)]
    return run(*more, *words, "sh", "-c", program)


def test_faults_by_path_expression_and_bytes(route: str, tmp_path: Path) -> None:
    where = ["--route", route]
    (tmp_path / "a.wal").write_text("log\n")
    (tmp_path / "a.txt").write_text("text\n")
    done = faulty([f"inject=openat:error=EIO:path={tmp_path}/*.wal"], f"cat {tmp_path}/a.*", *where)
    assert (done.stdout, done.stderr.count("Input/output error")) == ("text\n", 1)
    done = faulty(
        ["inject=write:error=EIO:if=fd == 1 and 'two' in buf"], "echo one; echo two", *where
    )
    assert done.stdout == "one\n"
    big = tmp_path / "big"
    faulty(
        [f"inject=write:error=ENOSPC:after_bytes=1k:path={big}"],
        f"head -c 5000 /dev/zero > {big}",
        *where,
    )
    assert big.stat().st_size == 1024


def test_strace_s_long_forms() -> None:
    assert run("--inject=write:error=EIO:when=1", "sh", "-c", "echo a; echo b").stdout == "b\n"
    assert run("--fault", "write:error=EIO:when=2", "sh", "-c", "echo a; echo b").stdout == "a\n"


def test_a_seed_repeats_a_run() -> None:
    fault = ["inject=write:error=EIO:p=0.4:fd=1"]
    first = faulty(fault, WRITES)
    found = re.search(r"--seed (\d+) makes the same choices again", first.stderr)
    assert found
    again = faulty(fault, WRITES, "--seed", found[1])
    assert again.stdout == first.stdout
    assert "--seed" not in again.stderr
    assert len({faulty(fault, WRITES, "--seed", str(n)).stdout for n in range(8)}) > 1

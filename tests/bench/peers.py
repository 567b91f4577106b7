# SPDX-License-Identifier: Apache-2.0
"""A handler that does nothing, for every getppid, beside what others offer: `python tests/bench/peers.py [ROUNDS]`.

Medians in ns of handled.c's line `getppid`. Natively; under rules and handlers of LSCA's, decided in the agent or in
Python; under strace's -e inject; under a seccomp notification answered in Python, written here; and, if they are
installed (`pip install python-ptrace sandlock`), by those. What is missing is said. Nothing fails because of a time.
"""

import ctypes
import fcntl
import importlib.util
import os
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import lsca
from lsca import calls as c

HERE = Path(__file__).resolve().parent
SECONDS = "0.2"
GETPPID = c.getppid.numbers[os.uname().machine]
SECCOMP = {"x86_64": 317, "aarch64": 277}[os.uname().machine]
NO_NEW_PRIVS, MODE_FILTER, NEW_LISTENER = 38, 1, 8
NOTIF_RECV, NOTIF_SEND = (
    0xC0502100,
    0xC0182101,
)  # of linux/seccomp.h, with the sizes of their structures
NOTIF_SIZE, ID, ANSWER = 80, struct.Struct("<Q"), struct.Struct("<QqiI")
CONTINUE = 1
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ASK, ALLOW = 0x7FC00000, 0x7FFF0000
PATIENCE = 120


class Missing(Exception):
    """A peer that is not here, or does not work here."""


def getppid(text: str) -> float:
    """What the program says of its first line."""
    for line in text.splitlines():
        if line.startswith("getppid "):
            return float(line.split()[1])
    raise Missing(f"it did not measure: {text[-200:]!r}")


def native(program: str, *prefix: str) -> float:
    done = subprocess.run(
        [*prefix, program, SECONDS], capture_output=True, text=True, timeout=PATIENCE
    )
    return getppid(done.stdout)


def rule(program: str) -> float:
    done = lsca.run(
        [program, SECONDS], handlers=lsca.on(c.getppid).ret(1), capture_output=True, text=True
    )
    return getppid(done.stdout)


def handler(program: str) -> float:
    @lsca.on(c.getppid)
    def empty(call: c.getppid) -> lsca.Verdict:
        return lsca.go_on

    done = lsca.run([program, SECONDS], handlers=empty, capture_output=True, text=True)
    return getppid(done.stdout)


def strace(program: str) -> float:
    if not shutil.which("strace"):
        raise Missing("it is not installed")
    inject = ("-e", "trace=getppid", "-e", "inject=getppid:retval=1")
    return native(program, "strace", "-f", "--seccomp-bpf", "-o", "/dev/null", *inject)


# ---- a seccomp notification, with what Python brings along ----------------------------------------------------------


def _listen(give: socket.socket) -> None:
    """In the child: every getppid from now on asks whoever has the descriptor."""
    libc = ctypes.CDLL(None, use_errno=True)
    filters = (
        (LOAD, 0, 0, 0),
        (EQUAL, 0, 1, GETPPID),
        (RETURN, 0, 0, ASK),
        (RETURN, 0, 0, ALLOW),
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *one) for one in filters))
    program = struct.pack("<H6xQ", len(filters), ctypes.addressof(code))
    libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0)
    fd = libc.syscall(SECCOMP, MODE_FILTER, NEW_LISTENER, program)
    if fd < 0:
        os._exit(99)
    socket.send_fds(give, [b"x"], [fd])
    os.close(fd)


def _answer(listener: int) -> None:
    question = bytearray(NOTIF_SIZE)
    try:
        while True:
            question[:] = bytes(NOTIF_SIZE)
            fcntl.ioctl(listener, NOTIF_RECV, question)
            number = ID.unpack_from(question)[0]
            fcntl.ioctl(listener, NOTIF_SEND, ANSWER.pack(number, 0, 0, CONTINUE))
    except OSError:  # there is nobody left who could ask
        pass


def notification(program: str) -> float:
    take, give = socket.socketpair()
    with tempfile.TemporaryFile() as out:
        child = os.fork()
        if not child:
            take.close()
            os.dup2(out.fileno(), 1)
            _listen(give)
            os.execv(program, [program, SECONDS])
        give.close()
        _, found, _, _ = socket.recv_fds(take, 1, 1)
        if not found:
            os.waitpid(child, 0)
            raise Missing("the kernel does not let us")
        threading.Thread(target=_answer, args=(found[0],), daemon=True).start()
        os.waitpid(child, 0)
        take.close()
        out.seek(0)
        return getppid(out.read().decode())


# ---- what can be installed ------------------------------------------------------------------------------------------

PTRACE = """
import os, sys
from ptrace.debugger import PtraceDebugger, ProcessExit, ProcessSignal
from ptrace.debugger.child import createChild
pid = createChild(sys.argv[1:], False)
debugger = PtraceDebugger()
process = debugger.addProcess(pid, True)
process.syscall()
try:
    while True:
        event = debugger.waitSyscall()
        event.process.syscall()
except ProcessExit:
    pass
"""
SANDLOCK = """
import sys, sandlock
from sandlock.handler import Handler, NotifAction
class Empty(Handler):
    def handle(self, ctx):
        return NotifAction.continue_()
box = sandlock.Sandbox(fs_readable=["/"], fs_writable=["/tmp", "/dev"])
result = box.run_with_handlers(sys.argv[2:], [(int(sys.argv[1]), Empty())])
sys.stdout.write((result.stdout or b"").decode())
"""


def by_script(module: str, script: str, program: str, *words: str) -> float:
    if importlib.util.find_spec(module) is None:
        raise Missing("it is not installed")
    command = [sys.executable, "-c", script, *words, program, SECONDS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode or not done.stdout:
        raise Missing((done.stderr.strip().splitlines() or ["it wrote nothing"])[-1])
    return getppid(done.stdout)


WAYS: dict[str, Callable[[str], float]] = {
    "native": native,
    "LSCA, a rule": rule,
    "LSCA, an empty handler": handler,
    "seccomp notification in Python": notification,
    "strace -e inject": strace,
    "python-ptrace": lambda program: by_script("ptrace", PTRACE, program),
    "sandlock, an empty handler": lambda program: by_script(
        "sandlock", SANDLOCK, program, str(GETPPID)
    ),
}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as directory:
        program = f"{directory}/handled"
        subprocess.run(["gcc", "-O2", "-o", program, str(HERE / "handled.c")], check=True)
        found: dict[str, list[float]] = {}
        missing: dict[str, str] = {}
        for _ in range(rounds):
            for way, measure in WAYS.items():
                if way in missing:
                    continue
                try:
                    found.setdefault(way, []).append(measure(program))
                except (Missing, subprocess.TimeoutExpired) as error:
                    missing[way] = str(error)
        print("one getppid that is answered".ljust(36) + "ns".rjust(9))
        for way in WAYS:
            if way in missing:
                print(f"{way:<36}        - left out: {missing[way]}")
            else:
                print(f"{way:<36}{statistics.median(found[way]):9.0f}")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""`lsca doctor`: what this machine allows, what will be used, and why not. Everything is tried, nothing is guessed.

The exit code is 0 if `lsca run` will work.
"""

import argparse
import errno
import json
import mmap
import os
import platform
import socket
import struct
import tempfile
from dataclasses import asdict, dataclass

from lsca import _native
from lsca.daemon import ask, default_path
from lsca.errors import DaemonError
from lsca.session import AGENT, PROXY

SUMMARY = "say what this machine allows, and which way of capturing is used"


@dataclass(frozen=True)
class Finding:
    """One line: a thing, whether it is there, and what follows from that."""

    name: str
    ok: bool
    needed: bool
    text: str


MASK = 0xFFFFFFFF
DIAG_PROTOCOL, DIAG_BY_FAMILY, DIAG_SHOW_PEER, DIAG_PEER = 4, 20, 4, 2  # linux/unix_diag.h

LOG_MEMORY = 64  # MiB that may wait to be written

# name: (label, needed, if it works, if it does not)
PROBES = {
    "sud": (
        "syscall user dispatch",
        True,
        "calls are caught by it",
        "calls cannot be caught: Linux 5.11 or newer on x86-64 is needed",
    ),
    "ptrace": (
        "ptrace",
        True,
        "the agent is put in at every exec, then the tracer lets go",
        "the agent cannot be put in; a debugger, a seccomp filter or the Yama module forbids it",
    ),
    "executable_memory": (
        "executable memory",
        True,
        "the agent can be mapped",
        "the agent cannot be mapped: a security policy forbids it",
    ),
    "memfd_sealing": (
        "memfd and seals",
        True,
        "shared memory without a name",
        "there is no safe shared memory: Linux 3.17 or newer is needed",
    ),
    "process_vm_readv": (
        "process_vm_readv",
        True,
        "the agent reads arguments without faults",
        "the agent cannot read arguments safely: a seccomp filter forbids it",
    ),
    "pidfd_getfd": (
        "pidfd_getfd",
        False,
        "programs that may not see /proc get the session through it",
        "programs that may not see /proc of lsca run uncaught: Linux 5.6 or newer is needed",
    ),
    "keys": (
        "fs base and BMI2",
        False,
        "call sites that run often are patched, and cost no signal",
        "each call costs a signal: x86-64 with BMI2 and Linux 5.9 is needed",
    ),
    "code_write": (
        "writing to own code",
        False,
        "call sites are patched through /proc/self/mem",
        "each call costs a signal: the kernel forbids it, by proc_mem.force_override=",
    ),
    "seccomp_unotify": (
        "seccomp notification",
        False,
        "there, not used yet",
        "not there, and not used yet",
    ),
    "io_uring": ("io_uring", False, "there, not used yet", "not there, and not used yet"),
}


def main(argv: list[str]) -> int:
    """Prints one line per finding, or JSON."""
    parser = argparse.ArgumentParser(prog="lsca doctor", description=__doc__.split("\n\n")[0])
    parser.add_argument("--json", action="store_true", help="as JSON")
    options = parser.parse_args(argv)
    found = findings()
    works = all(finding.ok for finding in found if finding.needed)
    if options.json:
        print(json.dumps({"works": works, "findings": [asdict(f) for f in found]}, indent=2))
    else:
        for finding in found:
            mark = "ok" if finding.ok else "NO" if finding.needed else "no"
            print(f"{mark:3} {finding.name:24} {finding.text}")
        print()
        print("`lsca run` will work here." if works else "`lsca run` will not work here.")
    return 0 if works else 1


def findings() -> list[Finding]:
    """Everything, in the order of importance."""
    found = [_machine(), _kernel()]
    results = _native.probe()
    for key, (label, needed, good, bad) in PROBES.items():
        code = results[key]
        text = good if not code else f"{bad} ({errno.errorcode.get(code, code)})"
        found.append(Finding(label, not code, needed, text))
    found += [
        _yama(),
        _part("agent", AGENT),
        _part("proxy", PROXY),
        _cpus(),
        _clock(),
        _log_memory(),
        _posted(),
        _streams(),
        _streams_now(),
    ]
    return found


def _machine() -> Finding:
    machine = platform.machine()
    ok = machine == "x86_64"
    return Finding(
        "machine", ok, True, f"{machine}{'' if ok else ': only x86_64 is captured so far'}"
    )


def _kernel() -> Finding:
    release = platform.release()
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    return Finding("kernel", numbers >= (5, 11), True, f"Linux {release}")


def _yama() -> Finding:
    value = _read("/proc/sys/kernel/yama/ptrace_scope")
    meaning = {
        "": "no Yama module: no further rule",
        "0": "0: no further rule",
        "1": "1: only descendants may be traced, and that is all that is needed",
        "2": "2: only root may trace",
        "3": "3: nobody may trace, until the next boot",
    }.get(value, value)
    return Finding(
        "yama.ptrace_scope", value in ("", "0", "1") or os.geteuid() == 0, False, meaning
    )


def _part(name: str, path: str) -> Finding:
    ok = os.path.exists(path)
    return Finding(name, ok, True, path if ok else f"{path} is missing; `make native` builds it")


def _cpus() -> Finding:
    count = len(os.sched_getaffinity(0))
    text = f"{count}; waiting spins on a spare one" if count > 1 else "1; waiting never spins"
    return Finding("CPUs", count > 1, False, text)


def _clock() -> Finding:
    source = _read("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    ok = source in ("tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page")
    text = "clock calls stay in the program (vDSO) unless --no-vdso is given"
    return Finding("vDSO clock", ok, False, f"{source or 'unknown'}: {text}")


def _log_memory() -> Finding:
    where = _native.AREA_DIRECTORY
    if not os.access(where, os.W_OK | os.X_OK):
        text = f"{where} cannot be written to: what is not yet in a log is lost with a launcher that is killed"
        return Finding("memory for logs", False, False, text)
    space = os.statvfs(where)
    free = space.f_bavail * space.f_frsize >> 20
    text = f"{where}, {free} MiB: records survive whoever is killed"
    if free < LOG_MEMORY:
        text += f"; with less than {LOG_MEMORY} MiB, busy programs wait for the disk sooner"
    return Finding("memory for logs", True, False, text)


def _posted() -> Finding:
    has = os.access(_native.AREA_DIRECTORY, os.W_OK | os.X_OK) and hasattr(os, "pidfd_open")
    if not has:
        return Finding(
            "posted writes", False, False, "not to be had: they need /dev/shm and Linux 5.3"
        )
    text = "small writes to files can be posted (--post)"
    mine = f"lsca-post-{os.getuid()}-"
    left = [name for name in os.listdir(_native.AREA_DIRECTORY) if name.startswith(mine)]
    if left:
        text += f"; {len(left)} runs have some now, or have left them: `lsca log --recover`"
    return Finding("posted writes", True, False, text)


def _streams() -> Finding:
    where = _native.AREA_DIRECTORY
    if not os.access(where, os.W_OK | os.X_OK):
        return Finding(
            "memory for streams",
            False,
            False,
            f"{where} cannot be written to: --streams does nothing",
        )
    if not _peers_are_told():
        text = "the kernel does not tell who is at the other end of a Unix socket (unix_diag): only TCP and pairs"
        return Finding("memory for streams", False, False, text)
    if not _is_shared(where):
        text = f"{where} cannot be mapped by two programs: --streams does nothing"
        return Finding("memory for streams", False, False, text)
    text = f"{where}: TCP within a run goes through it (auto, the default), with --streams=on all connections"
    if len(os.sched_getaffinity(0)) == 1:
        text += "; on one CPU both ends take turns, and gain less"
    return Finding("memory for streams", True, False, text)


def _is_shared(where: str) -> bool:
    """Whether what is written to one mapping of a file stands in another one."""
    try:
        with tempfile.TemporaryFile(dir=where) as file:
            os.posix_fallocate(file.fileno(), 0, mmap.PAGESIZE)
            with mmap.mmap(file.fileno(), 0) as one, mmap.mmap(file.fileno(), 0) as two:
                one[:1] = b"x"
                return two[:1] == b"x"
    except (OSError, ValueError):
        return False


def _streams_now() -> Finding:
    """What the daemon knows of the runs that have some."""
    name = "streams now"
    try:
        sessions = ask(default_path(), "status")["sessions"]
    except DaemonError:
        return Finding(name, False, False, "not known: there is no daemon (`lsca daemon`)")
    runs = [one for one in sessions if one.get("streams", {}).get("joined")]
    words = [
        f"run {one['pid']}: connections {one['streams']['joined']}, bytes by memory {one['streams']['bytes']}, "
        f"ways back to the kernel {one['streams']['back']}"
        for one in runs
    ]
    return Finding(name, True, False, "; ".join(words) or "no run has any")


def _peers_are_told() -> bool:
    """Asks sock_diag(7) for the other end of a socket."""
    one, two = socket.socketpair()
    with one, two:
        inode, expected = (os.fstat(end.fileno()).st_ino for end in (one, two))
        request = struct.pack(
            "=BBHIIIII", socket.AF_UNIX, 0, 0, MASK, inode, DIAG_SHOW_PEER, MASK, MASK
        )
        head = struct.pack("=IHHII", 16 + len(request), DIAG_BY_FAMILY, 1, 1, 0)
        try:
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, DIAG_PROTOCOL) as diag:
                diag.settimeout(1)
                diag.send(head + request)
                answer = diag.recv(4096)
        except OSError:
            return False
    return struct.pack("=HHI", 8, DIAG_PEER, expected) in answer


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as f:
            return f.read().strip()
    except OSError:
        return ""

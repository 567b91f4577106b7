# SPDX-License-Identifier: Apache-2.0
"""Says what a program was given at its beginning, as one JSON object; tests start it natively and within a session."""

import fcntl
import json
import os
import resource
import signal
import stat
import sys


def status(name: str) -> str:
    with open("/proc/self/status") as file:
        return next(line.split()[1] for line in file if line.startswith(f"{name}:"))


def main() -> None:
    with open("/proc/self/cmdline", "rb") as file:
        argv = file.read().decode().split("\0")[:-1]
    fds, kinds = [], []
    for fd in range(256):
        try:
            kind = stat.S_IFMT(os.fstat(fd).st_mode)
        except OSError:
            continue
        fds.append(fd)
        kinds.append((kind, fcntl.fcntl(fd, fcntl.F_GETFL), fcntl.fcntl(fd, fcntl.F_GETFD)))
    told = {
        "argv": argv,
        "name": status("Name"),
        "cwd": os.getcwd(),
        "environ": dict(os.environ),
        "fds": fds,
        "kinds": kinds,
        "leads": os.getpgid(0) == os.getpid(),
        "session": os.getsid(0) == os.getpid(),
        "parent": os.getppid(),
        "blocked": status("SigBlk"),
        "ignored": status("SigIgn"),
        "umask": status("Umask"),
        "limit": resource.getrlimit(resource.RLIMIT_NOFILE),
        "uid": [os.getuid(), os.geteuid(), os.getgid()],
        "pending": sorted(signal.sigpending()),
        "words": sys.argv[1:],
    }
    print(json.dumps(told))


main()

# SPDX-License-Identifier: Apache-2.0
"""Says what a program was given at its beginning, as one JSON object; tests start it natively and within a session."""

import json
import os
import resource
import signal
import sys


def status(name: str) -> str:
    with open("/proc/self/status") as file:
        return next(line.split()[1] for line in file if line.startswith(f"{name}:"))


def main() -> None:
    with open("/proc/self/cmdline", "rb") as file:
        argv = file.read().decode().split("\0")[:-1]
    fds = []
    for fd in range(256):
        try:
            os.fstat(fd)
        except OSError:
            continue
        fds.append(fd)
    told = {
        "argv": argv,
        "name": status("Name"),
        "cwd": os.getcwd(),
        "environ": dict(os.environ),
        "fds": fds,
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

# SPDX-License-Identifier: Apache-2.0
"""Runs a program in a session whose descriptor was inherited: launch.py FD AREA ROUTE LOG PROGRAM [ARGUMENT...].

So that a test can be the handler of a program whose launcher is another process, and kill any of the three.
"""

import os
import signal
import sys

from lsca import _native
from lsca.session import AGENT, PROXY


def main() -> None:
    fd, area, route, log, *argv = sys.argv[1:]
    for one in (int(fd), int(area)):
        if one >= 0:
            os.set_inheritable(one, False)
    log_fd = os.open(log, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600) if log else -1
    code, number, text = _native.run(
        int(fd),
        [os.fsencode(one) for one in argv],
        [os.fsencode(f"{key}={value}") for key, value in os.environ.items()],
        os.fsencode(AGENT),
        os.fsencode(PROXY),
        log=log_fd,
        area=int(area),
        log_path=os.fsencode(log),
        is_proxy=route == "proxy",
    )
    if text:
        print(text, file=sys.stderr)
    if number:
        signal.signal(number, signal.SIG_DFL) if number not in (9, 19) else None
        os.kill(os.getpid(), number)
    os._exit(code)


main()

# SPDX-License-Identifier: Apache-2.0
"""The launcher of `lsca.run`, as a process of its own: runs a program in a session that somebody else has made.

So the caller keeps its threads, its descriptors and its signals to itself. Started with the numbers of four inherited
descriptors (session, log or -1, the log's memory or -1, a pipe for what went wrong), and ends as the program ended.
"""

import os
import sys

from lsca import _native
from lsca.session import AGENT, LIBRARY, PROXY, original_environment

TYPE_CHECKING = False  # that of `typing` costs an import
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

SOURCES = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
IMPORT = f"import sys; sys.path.insert(0, {SOURCES!r}); from lsca import launch"
SCRIPT = f"{IMPORT}; launch.main(sys.argv[1:])"
HOSTS = os.path.join(LIBRARY, "lsca-hosts")  # native/hosts


def command(fds: tuple[int, int, int, int], log: str, flags: str, program: list[str]) -> list[str]:
    """What to execute; `log` is the log's path, `flags` are words of `main`, joined by commas.

    `post=FD` among them: the memory of posted writes.
    """
    return [sys.executable, "-IS", "-c", SCRIPT, *map(str, fds), log, flags, *program]


def main(argv: list[str]) -> "NoReturn":
    """Runs the program; never returns."""
    session, log, area, status = (int(word) for word in argv[:4])
    flags = argv[5].split(",")
    post = next((int(flag[5:]) for flag in flags if flag.startswith("post=")), -1)
    program = [os.fsencode(word) for word in argv[6:]]
    for fd in (session, log, area, status, post):
        if fd >= 0:
            os.set_inheritable(fd, False)
    code, signal, text = _native.run(
        session,
        program,
        original_environment(),
        os.fsencode(AGENT),
        os.fsencode(PROXY),
        log=log,
        area=area,
        log_path=os.fsencode(argv[4]),
        is_proxy="proxy" in flags,
        hide_vdso="hide_vdso" in flags,
        drop=False,
        strict="strict" in flags,
        unpatched="unpatched" in flags,
        post=post,
    )
    if text:
        os.write(status, f"{code} {text}".encode("utf-8", "surrogateescape"))
    os.close(status)
    if signal:
        die_of(signal)
    os._exit(code & 0xFF)


def is_own(words: "Sequence[object]") -> bool:
    """Whether this is a command of `command` or `command_for_hosts`."""
    return SCRIPT in words or HOSTS in words


def command_for_hosts(line: int) -> list[str]:
    """What to execute to have launchers without a program; `line` is its inherited end of a socket."""
    return [HOSTS, str(line), AGENT]


def die_of(signal: int) -> None:
    """Ends this process by a signal; whoever waits sees what it would have seen of the program."""
    import resource

    # The program has left its core where the system wants it; ours would be in its place.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    import signal as signals

    if signal not in (signals.SIGKILL, signals.SIGSTOP):
        signals.signal(signal, signals.SIG_DFL)
        signals.pthread_sigmask(signals.SIG_UNBLOCK, {signal})
    os.kill(os.getpid(), signal)

# SPDX-License-Identifier: Apache-2.0
"""The launcher of `lsca.run`, as a process of its own: runs a program in a session that somebody else has made.

So the caller keeps its threads, its descriptors and its signals to itself. Started with the numbers of four inherited
descriptors (session, log or -1, the log's memory or -1, a pipe for what went wrong), and ends as the program ended.
"""

import os
import sys

from lsca import _native
from lsca.session import AGENT, PROXY, original_environment

TYPE_CHECKING = False  # that of `typing` costs an import
if TYPE_CHECKING:
    from collections.abc import Sequence
    from socket import socket as Socket
    from typing import NoReturn

HOST_MESSAGE = 1 << 16  # bytes
HOST_FDS = 5
DEATHS = 10  # one after the other
PAUSE = 0.005  # seconds
SOURCES = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
IMPORT = f"import sys; sys.path.insert(0, {SOURCES!r}); from lsca import launch"
SCRIPT = f"{IMPORT}; launch.main(sys.argv[1:])"
HOSTS_SCRIPT = f"{IMPORT}; launch.serve_hosts(sys.argv[1:])"


def command(fds: tuple[int, int, int, int], log: str, flags: str, program: list[str]) -> list[str]:
    """What to execute; `log` is the log's path, `flags` are words of `main`, joined by commas.

    `host=FD` among them: there is no program, and the launcher serves those that join; see launcher/host.c.
    `post=FD`: the memory of posted writes.
    """
    return [sys.executable, "-IS", "-c", SCRIPT, *map(str, fds), log, flags, *program]


def main(argv: list[str]) -> "NoReturn":
    """Runs the program; never returns."""
    session, log, area, status = (int(word) for word in argv[:4])
    flags = argv[5].split(",")
    host = next((int(flag[5:]) for flag in flags if flag.startswith("host=")), -1)
    post = next((int(flag[5:]) for flag in flags if flag.startswith("post=")), -1)
    program = [os.fsencode(word) for word in argv[6:]]
    for fd in (session, log, area, status, host, post):
        if fd >= 0:
            os.set_inheritable(fd, fd == status and host >= 0)
    code, signal, text = _native.run(
        session,
        program,
        original_environment() if host < 0 else [],
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
        host=host,
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
    return SCRIPT in words or HOSTS_SCRIPT in words


def command_for_hosts(line: int) -> list[str]:
    """What to execute for `serve_hosts`; `line` is its inherited end of a socket."""
    return [sys.executable, "-IS", "-c", HOSTS_SCRIPT, str(line)]


def serve_hosts(argv: list[str]) -> "NoReturn":
    """Forks a launcher without a program for each message on a socket: that is cheaper than to start one.

    A message is the session's switches and the path of its log, with the descriptors that `main` wants and the host's.
    One launcher is always there ahead of its message.
    """
    import select
    import signal
    import socket

    line = socket.socket(fileno=int(argv[0]))
    line.set_inheritable(False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's, and meant for the tests
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        _native.host_prepare(os.fsencode(AGENT))
    except ValueError as error:
        sys.exit(f"lsca: {error}")
    deaths = 0
    while deaths < DEATHS:
        taken, used = os.pipe()
        if not os.fork():
            os.close(taken)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _host(line, used)
        os.close(used)
        if os.read(taken, 1):
            deaths = 0
            # It has work to do, and the next one is hardly wanted yet.
            select.select([line], [], [], PAUSE)
        elif _is_over(line):
            os._exit(0)
        else:
            deaths += 1
        os.close(taken)
    sys.exit("lsca: launchers are killed before they are used")


def _is_over(line: "Socket") -> bool:
    import socket

    try:
        return not line.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False


def _host(line: "Socket", used: int) -> "NoReturn":
    """A launcher that waits for its session; on `used` it says that it has one."""
    import socket

    text, fds, _, _ = socket.recv_fds(line, HOST_MESSAGE, HOST_FDS)
    if not text:
        os._exit(0)
    os.write(used, b"!")
    os.close(used)
    line.close()
    flags, _, path = text.decode("utf-8", "surrogateescape").partition("\0")
    session, status, host, *more = fds
    log, area = more or (-1, -1)
    # The pipe is the front's alone: whoever goes on in the background closes what is inheritable.
    main([str(session), str(log), str(area), str(status), path, f"{flags},host={host}"])


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

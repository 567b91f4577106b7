# SPDX-License-Identifier: Apache-2.0
"""Programs that this process starts join a session: `subprocess` and all that rests on it, `os.system`, `os.exec*`.

While `joined` lasts, a child of `subprocess` asks the session's launcher to be there at its exec
(launcher/start.c). All others execute lsca-join (native/join), which does that and becomes the program. Either way
process id, descriptors, directory, environment, signals, exit status and errors are the program's own. A child by
`os.fork` goes on with the code that it has, so the agent is put into it (launcher/enter.c) before `os.fork` is
over there.
"""

import _posixsubprocess
import contextlib
import errno
import functools
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from lsca import _native, launch
from lsca.session import AGENT, LIBRARY

JOIN = os.path.join(LIBRARY, "lsca-join")
NO_ERRORS = -1
NOT_EXECUTABLE = 126
# Places in the arguments of _posixsubprocess.fork_exec.
ARGS, PATHS, CLOSE_FDS, KEEP, DIRECTORY, ENVIRONMENT, ERRORS, GROUP = 0, 1, 2, 3, 4, 5, 13, 16
OTHER_USERS, UMASK, BEFORE, VFORK, COUNT = slice(17, 20), 20, 21, 22, 23
Word = str | bytes | os.PathLike[Any]


class _Original(NamedTuple):
    """What stands in the places that are patched, when they are not."""

    fork_exec: Callable[..., int]
    posix_spawn: Callable[..., int]
    posix_spawnp: Callable[..., int]
    execv: Callable[..., Any]
    execve: Callable[..., Any]
    system: Callable[..., int]


class _ForkExec:
    """Stands in the place of `_posixsubprocess.fork_exec`, and knows what is to be done in a child by `os.fork`."""

    def __init__(self, start: Callable[..., int], forked: Callable[[], None]) -> None:
        self._start = start
        self.forked = forked

    def __call__(self, *args: Any) -> int:
        return self._start(*args)


@functools.cache
def _watch_forks() -> None:
    """Once for all: what is registered stays for good."""
    os.register_at_fork(after_in_child=_forked)


def _forked() -> None:
    now = _posixsubprocess.fork_exec
    if isinstance(now, _ForkExec):
        now.forked()


def command(session: int, errors: int, paths: Sequence[Word], argv: Sequence[Word]) -> list[bytes]:
    """The words of lsca-join. `errors`: a descriptor to say on why nothing could be executed, or NO_ERRORS."""
    where = (os.getpid(), session, errors, len(paths))
    return [
        b"lsca-join",
        *(b"%d" % number for number in where),
        *map(os.fsencode, paths),
        b"--",
        *map(os.fsencode, argv),
    ]


def start(session: int, args: Sequence[Any]) -> int | None:
    """A child with these arguments of fork_exec that joins the session by itself. None: it cannot, lsca-join has to.

    That is a child with another user or a function to call, and one of a Python whose fork_exec has other arguments.
    """
    if len(args) != COUNT or args[BEFORE] is not None or not args[VFORK]:
        return None
    if any(one is not None for one in args[OTHER_USERS]) or args[ERRORS] < 3:
        return None
    where, env = args[DIRECTORY], args[ENVIRONMENT]
    given = [
        session,
        list(map(os.fsencode, args[ARGS])),
        list(map(os.fsencode, args[PATHS])),
        *args[CLOSE_FDS:DIRECTORY],
        None if where is None else os.fsencode(where),
        None if env is None else list(env),
        *args[ENVIRONMENT + 1 : GROUP + 1],
        args[UMASK],
    ]
    try:
        return _native.start(*given)
    except OSError:
        return None


@contextlib.contextmanager
def joined(session: int, area: int = -1, *, strict: bool = False) -> Iterator[None]:
    """As long as this lasts, what this process starts joins the session of this descriptor, and forked children do.

    `area`: the log's memory. `strict`: a child that cannot be caught ends at once, with exit code 126.
    """
    was = _Original(
        _posixsubprocess.fork_exec,
        os.posix_spawn,
        os.posix_spawnp,
        os.execv,
        os.execve,
        os.system,
    )
    owner = os.getpid()
    # Threads whose next child executes lsca-join, whatever it runs before.
    starting: set[int] = set()

    def here(errors: int, paths: Sequence[Word], argv: Sequence[Word]) -> list[bytes]:
        words = command(session, errors, paths, argv)
        words[1] = b"%d" % owner  # a forked child may have closed its descriptors
        return words

    def fork_exec(*args: Any) -> int:
        if launch.is_own(args[ARGS]):
            return was.fork_exec(*args)  # a launcher of ours, whose programs have a session already
        pid = start(session, args)
        if pid is not None:
            return pid
        words = list(args)
        errors = _above(args[ERRORS])
        try:
            words[ARGS] = here(errors, args[PATHS], args[ARGS])
            words[PATHS] = [os.fsencode(JOIN)]
            words[KEEP] = tuple(sorted({*args[KEEP], errors}))
            starting.add(threading.get_ident())
            return was.fork_exec(*words)
        finally:
            starting.discard(threading.get_ident())
            os.close(errors)

    def forked() -> None:
        if threading.get_ident() in starting:
            return
        if _native.session_enter(session, area, os.fsencode(AGENT)):
            _put(was)  # the agent sees to what it starts
        elif strict:
            os._exit(NOT_EXECUTABLE)

    def posix_spawn(path: Word, argv: Sequence[Word], env: Any, /, **options: Any) -> int:
        if not can_be_executed(path):
            return was.posix_spawn(path, argv, env, **options)  # which says why not
        return was.posix_spawn(JOIN, here(NO_ERRORS, [path], argv), env, **options)

    def posix_spawnp(path: Word, argv: Sequence[Word], env: Any, /, **options: Any) -> int:
        name = os.fsencode(path)
        places = [b""] if b"/" in name else map(os.fsencode, os.get_exec_path())
        paths = [found for place in places if can_be_executed(found := os.path.join(place, name))]
        if not paths:
            return was.posix_spawnp(path, argv, env, **options)
        return was.posix_spawn(JOIN, here(NO_ERRORS, paths, argv), env, **options)

    def execv(path: Word, argv: Sequence[Word], /) -> None:
        _check(path)
        was.execv(JOIN, here(NO_ERRORS, [path], list(argv)))

    def execve(path: Any, argv: Sequence[Word], env: Any) -> None:
        if isinstance(path, int):
            was.execve(path, argv, env)
        _check(path)
        was.execve(JOIN, here(NO_ERRORS, [path], list(argv)), env)

    def system(command: Word) -> int:
        return _system(posix_spawn, command)

    _watch_forks()
    now = _Original(_ForkExec(fork_exec, forked), posix_spawn, posix_spawnp, execv, execve, system)
    _put(now)
    try:
        yield
    finally:
        _put(was)
        _native.starts_over()


def can_be_executed(path: Word) -> bool:
    """Whether the kernel would try to: otherwise the error is its own business."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode) and os.access(path, os.X_OK)
    except (OSError, ValueError):
        return False


def _put(what: _Original) -> None:
    _posixsubprocess.fork_exec = what.fork_exec  # multiprocessing asks there
    subprocess._fork_exec = what.fork_exec  # type: ignore[attr-defined]
    for name in ("posix_spawn", "posix_spawnp", "execv", "execve", "system"):
        setattr(os, name, getattr(what, name))


def _above(fd: int) -> int:
    """A copy that the child inherits: the other one is closed when lsca-join is executed."""
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)


def _check(path: Word) -> None:
    if not can_be_executed(path):
        number = errno.EACCES if os.path.exists(path) else errno.ENOENT
        raise OSError(number, os.strerror(number), path)


def _system(spawn: Callable[..., int], command: Word) -> int:
    """As system(3): SIGINT and SIGQUIT are the command's alone, and SIGCHLD waits."""
    sys.audit("os.system", command)
    ended = (signal.SIGINT, signal.SIGQUIT)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, *ended})
    try:
        pid = spawn(
            b"/bin/sh", [b"sh", b"-c", b"--", os.fsencode(command)], os.environ, setsigmask=mask
        )
        status = os.waitpid(pid, 0)[1]
        while signal.sigtimedwait({one for one in ended if one not in mask}, 0):
            pass  # they were meant for the command
        return status
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

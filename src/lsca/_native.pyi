# SPDX-License-Identifier: Apache-2.0
"""The launcher's C extension: native/daemon/module.c, and request.c for handlers."""

from collections.abc import Callable, Sequence
from typing import TypedDict, final

class Process(TypedDict):
    """One program process of a session. `calls`: completed by kernel, proxy, local, handler."""

    pid: int
    proxy: int
    parent: int
    calls: tuple[int, int, int, int]
    alive: bool

class Snapshot(TypedDict):
    """A session at one moment; `launcher` is 0 before it has started.

    `streams_joined`: connections that went through memory, `streams_back`: directions of such that are the kernel's
    again, `stream_bytes`: that went through memory. `waits`: for another side, that ended
    while they spun, after they gave way, asleep in the kernel; and sleepers that were woken.
    """

    launcher: int
    proxy: bool
    log: bool
    uncaught: int
    lost: int
    streams_joined: int
    streams_back: int
    stream_bytes: int
    waits: tuple[int, int, int, int]
    processes: list[Process]

class Area(TypedDict):
    """What an area says of its run: process ids, the log's file (may be empty), calls kept by a flight recorder."""

    launcher: int
    program: int
    output: str
    flight: int

ABI_VERSION: int
AREA_DIRECTORY: str
KEEP_MOST: int
KEEP_FDS: int

@final
class Request:
    """A call of a program's that waits for its handler; valid until that returns, then RuntimeError.

    `args`: as the registers have them, unsigned. `rule`: the `id` of the rule that brought it here; `asked`: the call's
    number and the rule in one. Arguments are counted from 0. Whatever asks the program for something raises
    ProcessLookupError when it is gone.
    """

    nr: int
    args: tuple[int, int, int, int, int, int]
    pid: int
    tid: int
    rule: int
    asked: int
    interrupted: bool  # a signal waits in the program, or nobody waits for an answer any more

    def string(self, argument: int, /) -> bytes:
        """The string that an argument points to; b"" for NULL. OSError."""

    def memory(self, argument: int, /) -> bytes:
        """What the call reads there: one buffer, or those of a vector or message one after the other. OSError.

        Of what the call fills: nothing, and after `proceed` what it has left there.
        """

    def read(self, address: int, count: int, /) -> bytes:
        """The program's memory, as far as it is there. OSError (EFAULT) if nothing is."""

    def write(self, address: int, data: bytes, /) -> int:
        """Bytes written to the program's memory. OSError (EFAULT) if there was no room at all."""

    def fill(self, argument: int, data: bytes, /) -> int:
        """Put data where the call would: one buffer, or several. How many bytes found room. ValueError, OSError."""

    def proceed(
        self,
        args: Sequence[int] | None = None,
        replace: dict[int, bytes] | None = None,
        signal: int = 0,
    ) -> int:
        """Have the call made by its normal route, perhaps with other arguments; its result or negative errno.

        `replace`: other strings, buffers or contents of vectors and messages; the argument that says how long they are
        follows. ValueError if an argument is not of that kind, NotImplementedError if the call is made in the
        program's own context (fork) or does not return. A signal may end it: -EINTR. `signal` comes to the calling
        thread while the call is made.
        """

    def open(self, descriptor: int, flags: int, /) -> int:
        """Open a file or memfd of this process anew in the program; the descriptor there. OSError."""

    def wait(self, seconds: float, /) -> bool:
        """Sleep; True as soon as a signal waits in the program, or it is gone."""

@final
class Server:
    """The handlers of a session, at work until `stop`."""

    def stop(self) -> None:
        """Answer no more; calls that wait go on, or fail with EPERM if the rules say so."""

def session_create(
    is_proxy: bool,
    log_path: bytes | None,
    preloaded: int = 0,
    *,
    keep: int = 0,
    keep_read: Sequence[int] = (),
    keep_write: Sequence[int] = (),
    sync: int = 0,
    lossy: bool = False,
    rotate_size: int = 0,
    rotate_age: int = 0,
    flight: int = 0,
    handlers: bool = False,
    streams: int = 0,
) -> tuple[int, int]:
    """A new session's memory, and that of its log (-1 if there is none), as descriptors (close-on-exec). OSError.

    `preloaded` is the id of a program that has its agent already, so that nobody will launch it. `log_path` is
    absolute, empty for what is no file, None without a log. `keep` bytes of plain buffers are kept, all of what goes
    through the descriptors `keep_read` and `keep_write`. `sync`: 0 at the end, 1 at each segment's, 2 every second,
    3 never.
    `handlers`: there may be rules, and somebody who serves.
    """

def post_create(patterns: bytes, sync: bool, after: int, /) -> int:
    """Memory for posted writes, as a descriptor (close-on-exec). Each pattern ends with a NUL. OSError."""

def post_remove(fd: int, /) -> None:
    """Its name: nobody is to find it any more."""

def post_stats(fd: int, /) -> dict[str, int]:
    """Of writes, bytes, files: how many were posted so far; `waiting` bytes are not in their files yet. Of files that
    are posted no more, calls that have written them; bytes lost and recovered; the poster's process. OSError."""

def post_recover() -> list[tuple[str, int, int]]:
    """Finishes what runs have left of which nobody is left: the memory's name, bytes written, bytes lost."""

def rules_set(fd: int, rules: bytes, /) -> None:
    """Puts the rules of `lsca.rules.compile_rules` into force, from the next call of every program on. ValueError."""

def serve(
    fd: int,
    callback: Callable[[Request], tuple[int, int]],
    *,
    threads: int = 64,
    on_error: Callable[[Request, BaseException], object] | None = None,
) -> Server:
    """Answers the calls that rules ask about. OSError: EBUSY, somebody does; EOPNOTSUPP, a session without handlers.

    `callback` runs in threads, as many at once as there are calls, at most `threads`. It returns (0, 0): the call goes
    on, or what `proceed` has given is its result; (1, n): its result is n, a negative errno is a failure; (2, n): the
    process gets signal n. If it raises, `on_error` is told (else sys.unraisablehook), and the call goes on, or fails
    with EPERM if the rules say so. Not to be started before a process that uses the session was forked from this one.
    """

def area_list() -> list[str]:
    """The names of all areas of this user."""

def area_remove(fd: int, /) -> None:
    """Takes away the name of an area that will not be used."""

def area_about(name: str, /) -> Area:
    """What its first page says. OSError; ValueError if it says nothing that makes sense."""

def area_recover(name: str, output: bytes | None = None, /) -> tuple[str, int, str, str]:
    """Brings what is left in an area into its log, or into `output`: "done", "alive" (programs still write), "owned"
    (somebody is responsible for it) or "failed"; records brought; the log's file; a text."""

def area_dump(name: str, fd: int, /) -> int:
    """Writes what an area has in memory as a log of its own; how many records. OSError."""

def session_enter(fd: int, area: int, agent: bytes, /) -> bool:
    """Has the calls of this process caught, from now on: a child that was forked a moment ago, with one thread.

    False if they cannot be; the session then counts it as uncaught, and the process is as it was.
    """

def session_has(fd: int, pid: int, /) -> bool:
    """Whether a process of this number is in a session."""

def session_keep(fd: int, area: int, log: int, log_path: bytes, /) -> int:
    """Starts a process that stays with a session until its last program has ended; its id. OSError.

    It writes the log, if `log` is a descriptor and not -1, whatever becomes of the process that calls.
    """

def session_snapshot(fd: int, /) -> Snapshot:
    """What is going on in a session. OSError if the descriptor is not one's memory."""

def run(
    session: int,
    argv: list[bytes],
    env: list[bytes],
    agent: bytes,
    proxy: bytes,
    *,
    log: int = -1,
    area: int = -1,
    log_path: bytes = b"",
    is_proxy: bool = False,
    hide_vdso: bool = False,
    drop: bool = False,
    strict: bool = False,
    unpatched: bool = False,
    serve: Callable[[Request], tuple[int, int]] | None = None,
    threads: int = 64,
    on_error: Callable[[Request, BaseException], object] | None = None,
    post: int = -1,
    post_tells: bool = False,
) -> tuple[int, int, str]:
    """Runs a program to its end: exit code or -1, signal or 0, and a text if it is LSCA's own failure.

    `drop` lets go of this process's standard input and output and of its inheritable descriptors once the program has
    them; only for a process that has nothing else to do. `log` is closed by the launcher, not here. `strict` refuses
    programs that cannot be captured; if there was one, the run has failed. `unpatched` leaves call sites as they are.
    `serve`, `threads`, `on_error`: a handler for the length of the run, see `serve()`. `post`: the memory of posted
    writes; with `post_tells` a line on stderr says at the end how many there were.
    """

def start(
    session: int,
    argv: list[bytes],
    paths: list[bytes],
    close_fds: bool,
    pass_fds: tuple[int, ...],
    cwd: bytes | None,
    env: list[bytes] | None,
    p2cread: int,
    p2cwrite: int,
    c2pread: int,
    c2pwrite: int,
    errread: int,
    errwrite: int,
    errpipe_read: int,
    errpipe_write: int,
    restore_signals: bool,
    start_new_session: bool,
    process_group: int,
    umask: int,
    /,
) -> int:
    """A child that executes a program within a session, as _posixsubprocess.fork_exec would; its process id.

    OSError: no child could be started, or not this way.
    """

def starts_over() -> None:
    """No further program is started within the session that the last one was: its memory is let go."""

def probe() -> dict[str, int]:
    """What this machine allows: 0 or the errno of the attempt, by name."""

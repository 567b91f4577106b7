# SPDX-License-Identifier: Apache-2.0
"""One run of a program: its shared memory, its log, its place at the daemon. `lsca run` is a thin face of this.

On the path of `lsca run`, so it imports next to nothing. The extension does the work; nothing here looks into the
shared memory.
"""

import os

from lsca import _native
from lsca.errors import LogError, LscaError, StartError

TYPE_CHECKING = False  # that of `typing` costs an import
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

    from lsca.handlers.dispatch import Handlers, OnError
    from lsca.handlers.reports import Report
    from lsca.handlers.rule import Rule

LIBRARY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib")
AGENT = os.path.join(LIBRARY, "lsca-agent.so")
PROXY = os.path.join(LIBRARY, "lsca-proxy")
ROUTES = ("kernel", "proxy")
STREAMS = ("off", "auto", "on")  # in the order of native/daemon/launcher/launch.h


def original_environment() -> list[bytes]:
    """The environment as it was given to this process: Python may have added to its own (LC_CTYPE)."""
    try:
        with open("/proc/self/environ", "rb") as f:
            return [entry for entry in f.read().split(b"\0") if entry]
    except OSError:
        return [key + b"=" + value for key, value in os.environb.items()]


SYNCS = ("close", "segment", "interval", "never")


class LogOptions:
    """How a log is written.

    `keep`: bytes of a plain buffer's contents, `keep_read` and `keep_write`: descriptors whose contents are kept as
    far as can be. `sync`: when the file is made safe against a power cut, one of SYNCS. `lossy`: rather lose records,
    and count them, than let the program wait. A new segment begins after `rotate_size` bytes or `rotate_age` seconds;
    0: never. `flight`: the last calls only, written at the end; 0: all.
    """

    def __init__(
        self,
        *,
        keep: int = 0,
        keep_read: tuple[int, ...] = (),
        keep_write: tuple[int, ...] = (),
        sync: str = "close",
        lossy: bool = False,
        rotate_size: int = 0,
        rotate_age: int = 0,
        flight: int = 0,
    ) -> None:
        if sync not in SYNCS:
            raise LscaError(f"a log is synced at {', '.join(SYNCS)}, not {sync!r}")
        if not 0 <= keep <= _native.KEEP_MOST:
            raise LscaError(
                f"at most {_native.KEEP_MOST} bytes of a buffer can be kept, not {keep}"
            )
        for fd in (*keep_read, *keep_write):
            if not 0 <= fd < _native.KEEP_FDS:
                raise LscaError(
                    f"descriptors from 0 to {_native.KEEP_FDS - 1} can be named, not {fd}"
                )
        if min(rotate_size, rotate_age, flight) < 0:
            raise LscaError("a size, an age or a number of calls cannot be negative")
        if max(rotate_size, rotate_age, flight) >= 1 << 62:
            raise LscaError("a size, an age or a number of calls is too large")
        self.keep = keep
        self.keep_read = keep_read
        self.keep_write = keep_write
        self.sync = sync
        self.lossy = lossy
        self.rotate_size = rotate_size
        self.rotate_age = rotate_age
        self.flight = flight


POST_AFTER = 256  # writes
POST_AFTER_MOST = 65535
POST_TEXT = 15872  # bytes: native/shared/posts.h


class PostOptions:
    """Which files' small writes are posted: docs/post.md.

    `patterns` are for absolute paths, as in rules; one that does not begin at the root may begin anywhere. `sync`:
    what was posted is also made safe against a power cut, soon. A file is posted once it has been written to `after`
    times. `tells`: a line on stderr says at the end how many writes were posted.
    """

    def __init__(
        self,
        patterns: "Sequence[str]",
        *,
        sync: bool = False,
        after: int = POST_AFTER,
        tells: bool = False,
    ) -> None:
        if any(not pattern or "\0" in pattern for pattern in patterns):
            raise LscaError("an empty pattern names no file to post")
        if not 1 <= after <= POST_AFTER_MOST:
            raise LscaError(f"a file is posted after 1 to {POST_AFTER_MOST} writes, not {after}")
        self.patterns = tuple(
            one if one.startswith(("/", "**")) else f"**/{one}" for one in patterns
        )
        self.sync = sync
        self.after = after
        self.tells = tells

    def create(self) -> int:
        """Their memory, as a descriptor. OSError; LscaError for too many patterns."""
        text = b"".join(os.fsencode(pattern) + b"\0" for pattern in self.patterns)
        if len(text) > POST_TEXT:
            raise LscaError(f"patterns of {len(text)} bytes; there is room for {POST_TEXT}")
        return _native.post_create(text, self.sync, self.after)


class Session:
    """The memory that agent, proxy, launcher and daemon share for one run, and the means to run it.

    `log` is the path of a file to write, `log_options` says how. `hide_vdso` makes clock calls visible at the price of
    their speed; so do rules that are about nothing else. `strict`: a program that cannot be captured does not run, and
    `run` raises StartError if there was one. `patch`: whether call sites may become jumps once they have run, which
    changes nothing but their price. `streams`, one of STREAMS: whether the bytes of connections between its programs go
    through shared memory, in the route `kernel`. "auto": TCP within the run; "on": Unix sockets and pipes, too, and
    with other runs of the user that have "on".

    `handlers` are functions and rules made with `lsca.on`, in order, or a module of them; None: a session that has
    none, and never will unless it is `open_to_handlers`: then `handle` brings the first ones. `on_error`: a call whose
    handler raises goes on ("go_on") or fails with EPERM ("deny"). `say` is told of such errors when they happen; all
    are in `reports`.

    `post` are the options of posted writes; None: there are none. With handlers, rules that say `post` name files, too.
    """

    def __init__(
        self,
        *,
        route: str = "kernel",
        log: str | None = None,
        hide_vdso: bool = False,
        strict: bool = False,
        patch: bool = True,
        log_options: LogOptions | None = None,
        handlers: object = None,
        on_error: "OnError" = "go_on",
        say: "Callable[[str], None] | None" = None,
        open_to_handlers: bool = False,
        post: "PostOptions | None" = None,
        streams: str = "auto",
    ) -> None:
        if route not in ROUTES:
            raise LscaError(f"there is no route {route!r}; there are: {', '.join(ROUTES)}")
        if streams not in STREAMS:
            raise LscaError(f"streams are {', '.join(STREAMS)}, not {streams!r}")
        if streams == "on" and route == "proxy":
            raise LscaError(
                "streams are between programs that hold their own sockets: not in the route proxy"
            )
        needed = (AGENT, PROXY) if route == "proxy" else (AGENT,)
        for path in needed:
            if not os.path.exists(path):
                raise LscaError(f"{path} is missing; `make native` builds it")
        self.route = route
        self.log = log
        self.strict = strict
        self.patch = patch
        self.handlers = None if handlers is None else _handlers(handlers, on_error, say)
        self.hide_vdso = hide_vdso or (self.handlers is not None and self.handlers.want_clocks())
        self.post = self._posting(post)
        self.fd = self.post_fd = -1
        self.log_fd = self.area = -1
        self.is_used = False
        place = None
        if log is not None:
            self.log_fd = _open_log(log)
            place = _place(self.log_fd, log)
        how = log_options or LogOptions()
        try:
            self.fd, self.area = _native.session_create(
                route == "proxy",
                place,
                keep=how.keep,
                keep_read=how.keep_read,
                keep_write=how.keep_write,
                sync=SYNCS.index(how.sync),
                lossy=how.lossy,
                rotate_size=how.rotate_size,
                rotate_age=how.rotate_age,
                flight=how.flight,
                handlers=self.handlers is not None or open_to_handlers,
                streams=STREAMS.index(streams),
            )
            if self.post is not None:
                self.post_fd = self.post.create()
        except OSError as error:
            self.close()
            raise LscaError(f"no shared memory for a session: {error.strerror}") from error
        if self.handlers is not None:
            try:
                self._install(self.handlers)
            except BaseException:
                self.close()
                raise

    def _posting(self, post: "PostOptions | None") -> "PostOptions | None":
        named = [] if self.handlers is None else self.handlers.posted()
        if named:
            post = post or PostOptions(())
            post = PostOptions((*post.patterns, *named), sync=post.sync, after=post.after)
        if post is not None and self.route == "proxy":
            raise LscaError(
                "writes are posted by the program itself, which has no files under the route proxy"
            )
        return post

    def _install(self, handlers: "Handlers") -> None:
        from lsca.handlers.serving import install

        install(handlers, self.fd)

    def handle(self, rules: "list[Rule[Any]]", *, on_error: "OnError" = "go_on") -> None:
        """Puts these rules in force, from the next call of every program on. HandlerError, and the old ones stay."""
        if self.handlers is not None:
            self.handlers.replace(rules)
            return
        handlers = _handlers(rules, on_error, None)
        self._install(handlers)
        self.handlers = handlers

    def run(
        self, argv: list[bytes], env: list[bytes] | None = None, *, drop: bool = False
    ) -> tuple[int, int]:
        """Runs a program to its end. Its exit code and 0, or -1 and the signal that it died of. StartError, LscaError.

        `drop`: see `_native.run`.
        """
        self.is_used = True
        code, signal, text = _native.run(
            self.fd,
            argv,
            original_environment() if env is None else env,
            os.fsencode(AGENT),
            os.fsencode(PROXY),
            log=self.log_fd,
            area=self.area,
            log_path=os.fsencode(self.log or ""),
            is_proxy=self.route == "proxy",
            hide_vdso=self.hide_vdso,
            drop=drop,
            strict=self.strict,
            unpatched=not self.patch,
            serve=None if self.handlers is None else self.handlers.answer,
            post=self.post_fd,
            post_tells=self.post is not None and self.post.tells,
        )
        if text:
            raise StartError(text, code)
        return code, signal

    def served(self) -> "AbstractContextManager[None]":
        """Answers the calls that handlers are for, as long as the context lasts. For a launcher in another process."""
        import contextlib

        if self.handlers is None:
            return contextlib.nullcontext()
        from lsca.handlers.serving import served

        return served(self.handlers, self.fd)

    def flags(self) -> str:
        """The session's switches as words for `launch.command`."""
        words = {
            "proxy": self.route == "proxy",
            "hide_vdso": self.hide_vdso,
            "strict": self.strict,
            "unpatched": not self.patch,
        }
        words[f"post={self.post_fd}"] = self.post_fd >= 0
        return ",".join(word for word, on in words.items() if on)

    @property
    def reports(self) -> "list[Report]":
        """What went wrong in handlers so far."""
        return [] if self.handlers is None else self.handlers.reports

    def close(self) -> None:
        """Lets go of the memory; programs that still run keep theirs."""
        if self.area >= 0 and not self.is_used:
            _native.area_remove(self.area)
        if self.post_fd >= 0 and not self.is_used:
            _native.post_remove(self.post_fd)
        for fd in (self.fd, self.log_fd, self.area, self.post_fd):
            if fd >= 0:
                os.close(fd)
        self.fd = self.log_fd = self.area = self.post_fd = -1


def _place(fd: int, path: str) -> bytes:
    """Where the log is to be found when this run is no more; empty if it is not a file."""
    import stat

    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return b""
    where = os.fsencode(path)
    return where if where.startswith(b"/") else os.path.join(os.getcwdb(), where)


def _handlers(
    handlers: object, on_error: "OnError", say: "Callable[[str], None] | None"
) -> "Handlers":
    from lsca.handlers import Handlers  # most runs have none

    return Handlers(handlers, on_error=on_error, say=say)


def _open_log(path: str) -> int:
    """To be written; and read, too, if it is a file: who goes on with it looks at what is there."""
    import stat

    flags = os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    try:
        try:
            is_file = stat.S_ISREG(os.stat(path).st_mode)
        except FileNotFoundError:
            is_file = True
        try:
            fd = os.open(path, flags | (os.O_RDWR if is_file else os.O_WRONLY), 0o666)
        except PermissionError:
            fd = os.open(path, flags | os.O_WRONLY, 0o666)
    except OSError as error:
        raise LogError(f"the log {path} cannot be written: {error.strerror}") from error
    if fd > 2:
        return fd
    # The standard descriptors were closed; they are not ours to fill.
    import fcntl

    above = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return above

# SPDX-License-Identifier: Apache-2.0
"""The daemon: one place that knows of all runs of a user, and the few lines with which a run joins it.

A run connects to a Unix socket, says who it is in one line of JSON and hands over its session's memory. The connection
stays open as long as any of its programs lives, and its end is the end of the run. The daemon only looks: its death
harms no run. `lsca daemon --status` asks in the same way. Programs that bring their agent along get their session here:
attached.py.
"""

import array
import contextlib
import errno
import json
import os
import resource
import selectors
import signal
import socket
import stat
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lsca import _native, attached
from lsca.errors import DaemonError

PATIENCE = 0.5  # seconds that a run waits for a daemon that does not answer
LINE_LIMIT = 1 << 20
Json = dict[str, Any]


def default_path() -> str:
    """Where the daemon's socket is if nothing else is said."""
    given = os.environ.get("LSCA_DAEMON")
    if given:
        return given
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return f"{runtime}/lsca.sock" if runtime else f"/tmp/lsca-{os.getuid()}/daemon.sock"


def join(path: str, session: int, about: Json, *, must: bool) -> socket.socket | None:
    """Makes a run known; keep the connection open. None if there is no daemon, DaemonError if one `must` be."""
    try:
        connection = _connect(path)
        try:
            line = json.dumps({"op": "join", **about}).encode() + b"\n"
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [session]))]
            sent = connection.sendmsg([line], rights)
            connection.sendall(line[sent:])
        except OSError:
            connection.close()
            raise
    except (OSError, DaemonError) as error:
        if must:
            raise DaemonError(f"no daemon at {path}: {_words(error)}") from error
        return None
    return connection


def ask(path: str, op: str) -> Json:
    """One question, one answer. DaemonError if nobody answers."""
    try:
        with _connect(path, patience=5) as connection:
            connection.sendall(json.dumps({"op": op}).encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n"):
                part = connection.recv(65536)
                if not part:
                    raise DaemonError("it hung up")
                answer += part
        result: Json = json.loads(answer)
    except (OSError, ValueError, DaemonError) as error:
        raise DaemonError(
            f"no daemon at {path}: {_words(error)}; `lsca daemon` starts one"
        ) from error
    return result


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _connect(path: str, patience: float = PATIENCE) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(patience)
        connection.connect(path)
        # Not to be told what runs here, nor to be handed memory: only we ourselves, and root.
        if _peer(connection)[1] not in (os.getuid(), 0):
            raise DaemonError("it belongs to somebody else")
    except BaseException:
        connection.close()
        raise
    return connection


def _peer(connection: socket.socket) -> tuple[int, int]:
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", raw)
    return pid, uid


@dataclass
class Connection:
    """Somebody at the socket; a run once it has joined."""

    socket: socket.socket
    pid: int
    since: float
    received: bytes = b""
    fd: int = -1
    about: Json = field(default_factory=dict)


class Daemon:
    """The registry. `serve` runs until `stop`; nothing that a client does can end it.

    `logs` is a directory for the logs of programs that bring their agent along; without one they write none.
    """

    def __init__(self, path: str, logs: str | None = None) -> None:
        self.path = path
        self.logs = logs and _log_directory(logs)
        self._connections: dict[int, Connection] = {}
        self._attached: list[attached.Attached] = []
        self._unkept: list[attached.Attached] = []
        self._stopping = False
        self._identity = (0, 0)
        self._selector = selectors.DefaultSelector()
        # Whoever sees the socket, or the line that says so, may end us at once, and the socket is to go then too.
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        self._listener = self._listen()
        with contextlib.suppress(
            OSError, ValueError
        ):  # two descriptors for each program that is attached
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

    def serve(self) -> None:
        """Answers until told to stop, then removes its socket."""
        _recover()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        try:
            while not self._stopping:
                events = self._selector.select(0 if self._unkept else None)
                for key, _ in events:
                    self._on_event(key.fileobj)
                if not events and self._unkept:
                    self._keep(self._unkept.pop(0))
        finally:
            signal.set_wakeup_fd(-1)
            self._remove()
            self._wake.close()
            self._woken.close()

    def status(self) -> Json:
        """All runs, with what their memory says at this moment."""
        return {
            "pid": os.getpid(),
            "socket": self.path,
            "logs": self.logs,
            "sessions": [
                *(s for c in self._connections.values() if c.fd >= 0 for s in _session(c)),
                *(s for a in self._attached for s in _session(a)),
            ],
        }

    def _on_signal(self, number: int, frame: object) -> None:
        self._stopping = True

    def _on_event(self, where: object) -> None:
        if where is self._listener:
            self._accept()
        elif isinstance(where, socket.socket):
            connection = self._connections.get(where.fileno())
            if connection is not None:
                self._receive(connection)
        elif isinstance(where, int):
            self._detach(where)

    def _listen(self) -> socket.socket:
        directory = os.path.dirname(os.path.abspath(self.path))
        if "LSCA_DAEMON" not in os.environ and directory == f"/tmp/lsca-{os.getuid()}":
            _private_directory(directory)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._bind(listener)
            status = os.stat(self.path)
            self._identity = (status.st_dev, status.st_ino)
            listener.listen(1024)
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            raise DaemonError(f"{self.path}: {_words(error)}") from error
        except BaseException:
            listener.close()
            raise
        return listener

    def _bind(self, listener: socket.socket) -> None:
        before = os.umask(0o177)
        try:
            try:
                listener.bind(self.path)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                self._clear_stale()
                listener.bind(self.path)
        finally:
            os.umask(before)

    def _clear_stale(self) -> None:
        """A socket that nobody listens on is what a killed daemon leaves. Anything else is not ours to remove."""
        if not stat.S_ISSOCK(os.lstat(self.path).st_mode):
            raise DaemonError(f"{self.path} is there and is not a socket")
        try:
            _connect(self.path).close()
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:
                os.unlink(self.path)
                return
            raise
        raise DaemonError(f"a daemon serves {self.path} already")

    def _remove(self) -> None:
        for connection in list(self._connections.values()):
            self._drop(connection)
        for one in self._unkept:
            self._keep(one)
        for one in self._attached:  # the keepers go on
            one.close()
        self._listener.close()
        with contextlib.suppress(OSError):
            now = os.stat(self.path)
            if (now.st_dev, now.st_ino) == self._identity:
                os.unlink(self.path)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            time.sleep(0.01)  # no descriptors left: it will be better when somebody has gone
            return
        pid, uid = _peer(client)
        if uid not in (os.getuid(), 0):
            client.close()
            return
        client.setblocking(False)
        self._connections[client.fileno()] = Connection(client, pid, time.time())
        self._selector.register(client, selectors.EVENT_READ)

    def _receive(self, connection: Connection) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(connection.socket, 65536, 4, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            self._drop(connection)
            return
        for fd in fds:
            if connection.fd < 0:
                connection.fd = fd
            else:
                os.close(fd)
        connection.received += data
        if not data or len(connection.received) > LINE_LIMIT:
            self._drop(connection)
            return
        while b"\n" in connection.received:
            line, _, connection.received = connection.received.partition(b"\n")
            try:
                self._obey(connection, json.loads(line))
            except (ValueError, KeyError, TypeError, OSError):
                self._drop(connection)
                return

    def _obey(self, connection: Connection, request: Json) -> None:
        op = request["op"]
        if op == "join":
            _native.session_snapshot(connection.fd)  # OSError unless it is a session's memory
            connection.about = request
        elif op == "attach":
            self._attach(connection, request)
        elif op == "status":
            self._answer(connection, self.status())
        elif op == "stop":
            self._answer(connection, {"pid": os.getpid()})
            self._stopping = True

    def _attach(self, connection: Connection, request: Json) -> None:
        attached.check(request, connection.pid)
        known = attached.find(self._attached, connection.pid)
        if known is None:
            try:
                known = attached.create(connection.pid, self.logs)
            except OSError as error:
                print(f"lsca: program {connection.pid} runs uncaught: {error}", file=sys.stderr)
                raise
            self._attached.append(known)
            self._unkept.append(known)
        attached.hand_over(connection.socket, known)

    def _keep(self, one: attached.Attached) -> None:
        try:
            one.keep()
        except OSError as error:
            print(f"lsca: nobody keeps program {one.pid}: {error}", file=sys.stderr)
            self._attached.remove(one)
            one.close()
        else:
            self._selector.register(one.pidfd, selectors.EVENT_READ)

    def _detach(self, pidfd: int) -> None:
        over = next(one for one in self._attached if one.pidfd == pidfd)
        self._attached.remove(over)
        self._selector.unregister(pidfd)
        status = 0
        with contextlib.suppress(ChildProcessError):
            _, status = os.waitpid(over.keeper, 0)
        over.close()
        if os.WIFSIGNALED(status):
            _recover()

    def _answer(self, connection: Connection, answer: Json) -> None:
        connection.socket.settimeout(PATIENCE)
        connection.socket.sendall(json.dumps(answer).encode() + b"\n")
        connection.socket.setblocking(False)

    def _drop(self, connection: Connection) -> None:
        self._connections.pop(connection.socket.fileno(), None)
        self._selector.unregister(connection.socket)
        connection.socket.close()
        if connection.fd >= 0:
            os.close(connection.fd)
            connection.fd = -1


def _session(connection: Connection | attached.Attached) -> list[Json]:
    try:
        snapshot = _native.session_snapshot(connection.fd)
    except OSError:
        return []
    about = connection.about
    return [
        {
            "pid": connection.pid,
            "since": connection.since,
            "argv": about.get("argv", []),
            "route": about.get("route", "?"),
            "log": about.get("log"),
            "preloaded": about.get("preloaded", False),
            "launcher": snapshot["launcher"],
            "uncaught": snapshot["uncaught"],
            "lost": snapshot["lost"],
            "waits": dict(
                zip(("spun", "yielded", "slept", "woke"), snapshot["waits"], strict=True)
            ),
            "streams": {
                "joined": snapshot["streams_joined"],
                "back": snapshot["streams_back"],
                "bytes": snapshot["stream_bytes"],
            },
            "posted": _posted(about.get("post")),
            "processes": [_process(process) for process in snapshot["processes"]],
        }
    ]


def _posted(path: str | None) -> Json:
    """What a run has posted (docs/post.md). By its name: a copy of its descriptor would keep the memory's lock."""
    mine = os.path.join(_native.AREA_DIRECTORY, f"lsca-post-{os.getuid()}-")
    if not path or not path.startswith(mine):
        return {}
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return {}
    try:
        found = _native.post_stats(fd)
    except OSError:
        return {}
    finally:
        os.close(fd)
    return {name: found[name] for name in ("writes", "bytes", "files", "waiting", "lost")}


def _process(process: "_native.Process") -> Json:
    kernel, proxy, local, handler = process["calls"]
    return {
        "pid": process["pid"],
        "parent": process["parent"],
        "proxy": process["proxy"] or None,
        "alive": process["alive"],
        "command": attached.command(process["pid"]),
        "calls": {"kernel": kernel, "proxy": proxy, "local": local, "handler": handler},
    }


def _recover() -> None:
    """Logs and posted writes that nobody is left to bring to their end."""
    from lsca.log.recover import recover, recover_posted

    for one in (*recover_posted(), *recover()):
        print(f"lsca: {one}", file=sys.stderr)


def _log_directory(path: str) -> str:
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise DaemonError(f"no logs can be kept in {path}: {_words(error)}") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise DaemonError(f"no logs can be kept in {path}: it may not be written to")
    return os.path.abspath(path)


def _private_directory(path: str) -> None:
    """A directory below /tmp that only we can have put there."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise DaemonError(f"{path} is not a directory of yours; name another socket in LSCA_DAEMON")
    os.chmod(path, 0o700)


def background(path: str, ready: Callable[[Daemon], None], logs: str | None = None) -> None:
    """Starts a daemon that stays when this process is gone; returns when it can be joined."""
    daemon = Daemon(path, logs)
    pid = os.fork()
    if pid:
        ready(daemon)
        return
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.chdir("/")
    code = 1
    try:
        daemon.path = os.path.abspath(path) if os.path.isabs(path) else daemon.path
        daemon.serve()
        code = 0
    finally:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        os._exit(code)

# SPDX-License-Identifier: Apache-2.0
"""`lsca run [options] PROGRAM ARGS`: the program, unchanged, with its own exit code, terminal and signals.

Has to feel instant: options are read by hand, and what only some runs need is imported where it is needed.
"""

import os
import sys

from lsca._native import KEEP_FDS, KEEP_MOST
from lsca.errors import UsageError
from lsca.launch import die_of
from lsca.session import (
    POST_AFTER_MOST,
    ROUTES,
    STREAMS,
    SYNCS,
    LogOptions,
    PostOptions,
    Session,
)

TYPE_CHECKING = False  # that of `typing` costs an import
if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket
    from typing import Any

    Words = dict[str, Any]

SUMMARY = "run a program with its system calls caught"

USAGE = """\
usage: lsca run [options] [--] PROGRAM [ARGS...]

  --route kernel|proxy   who executes the calls: the kernel for the program itself (default), or a
                         proxy process that holds the program's descriptors
  --streams auto|off|on  move the bytes of connections between captured programs through shared memory (auto:
                         TCP within the run)
  -s FILE                have the handlers in this Python file decide about calls, and load it anew when it is
                         saved; may be given several times
  -e inject=CALLS:...    change calls as strace does: error=, retval=, signal=, delay_enter=, delay_exit=,
                         poke_enter=, poke_exit=, syscall=, when=; and here also path=, fd=, if=, p=,
                         after_bytes=, address=, process=; may be given several times
  -e fault=CALLS[:...]   the same with error=ENOSYS
  --seed N               makes p= decide as in an earlier run, and random numbers come out the same
  --on-error go_on|deny  what becomes of a call whose handler raises, or cannot be asked: it goes on (default), or fails
                         with EPERM (default with --overlay)
  --file PATH=TEXT|@FILE programs find this text, or a copy of this file, at PATH; like all that follow, for the
                         program and all that it starts
  --tree PATH=DIR        they find this directory at PATH; a URL of a file system of fsspec's does as well
  --overlay DIR          what they change below DIR is kept apart: `lsca diff` shows it, `lsca apply`, `lsca discard`
  --state DIR            where an overlay is kept (default: in $XDG_STATE_HOME)
  --time +3d|TIME|...    what time they think it is: '+3d', '-2h', 2030-01-01T00:00:00 (it runs on from there),
                         '@2030-01-01T00:00:00' (it stands still), 'x10' (it runs faster; after a comma with others)
  --hostname NAME        what they think the machine is called
  --user NAME[:UID[:GID]]
                         who they think they are
  --net none|loopback|RULES
                         what may be connected to: allow:WHAT or deny:WHAT, with commas between, where WHAT is
                         HOST:PORT, NETWORK/BITS, *.NAME, :PORT, /PATH, unix ...; deny:bind:WHAT for servers
  --reroute WHAT=TARGET  connections and datagrams to HOST:PORT lead to another address or Unix socket
  --resolve NAME=ADDR    a name's address, several with commas, or NXDOMAIN; *.NAME and * are patterns
  --latency T            what is sent takes so long in each direction, over TCP and UDP: 50ms
  --bandwidth N[kM]      bytes a second of a connection or a socket for UDP in each direction; 8Mbit
  --loss N%              so many datagrams of a hundred get lost, the same ones for the same --seed
  --tape FILE            record what goes over each connection, and datagrams
  --replay FILE          play a tape in place of the network; whatever is not on it fails
  --policy FILE          what the program may do, in TOML; see `lsca policy --help` and `lsca learn --help`
  -o FILE                write a log of all calls; `lsca log FILE` prints it
  -s N                   keep up to N bytes of the contents of buffers in it (otherwise: none)
  -e read=FDS            keep all that is read from these descriptors, 3,5-7 or all, as far as a record can hold it
  -e write=FDS           the same for what is written to them
  --flight N             keep the last N calls in memory, and write them when the run ends
  --rotate-size N[kMG]   go on in FILE.1, FILE.2 ... when a file has so many bytes
  --rotate-age S         the same after so many seconds
  --sync close|segment|interval|never
                         make the log safe against a power cut when it is complete (default), at the end of each
                         of its files, every second, or not at all
  --lossy                rather lose records, and count them, than let the program wait for a slow disk
  --post PATTERN         post small writes to files with such a path, opened by the program or inherited: they are done
                         once the bytes are in memory, and written soon after, whoever is killed; may be given several
                         times; see docs/post.md
  --post-sync            and made safe against a power cut a moment later
  --post-after N         post a file from its N-th write on (default 256)
  --strict               no call may go uncaught: a program that cannot be captured (setuid, 32-bit, one
                         that may not be traced) does not run, and the exit code is 125 if there was one
  --no-vdso              make clock calls real calls, so that they are caught too
  --no-patch             leave the program's code as it is: each call then costs a signal
  --daemon PATH          join the daemon at this socket; an error if there is none
  --no-daemon            do not look for a daemon
  --help                 this text

Options end at the program's name. The exit code is the program's; 125: lsca itself failed,
126: the program cannot be executed, 127: it was not found.
"""


SEGMENT_LEAST = 64 << 10  # bytes
FLIGHT_MOST = 2_000_000  # calls: their memory is there while the program runs
CONTENTS = ("read=", "write=")  # -e of a log; all else is a fault
# Services with a value, and the modules of lsca.services that make handlers of them.
SERVICES = {
    "--file": "files",
    "--tree": "files",
    "--overlay": "overlay",
    "--time": "time",
    "--hostname": "identity",
    "--user": "identity",
}
# One network and one policy are made of all of these together.
NETWORK = (
    "--net",
    "--reroute",
    "--resolve",
    "--latency",
    "--bandwidth",
    "--loss",
    "--tape",
    "--replay",
    "--policy",
)
VALUED = (
    *SERVICES,
    *NETWORK,
    "--state",
    "--route",
    "--streams",
    "-o",
    "-s",
    "-e",
    "--inject",
    "--fault",
    "--seed",
    "--on-error",
    "--daemon",
    "--post",
    "--post-after",
)


class Options:
    """What the command line says."""

    def __init__(self) -> None:
        self.route = "kernel"
        self.streams = "auto"
        self.log: str | None = None
        self.log_words: Words = {}  # what LogOptions is to be told
        self.hide_vdso = False
        self.strict = False
        self.patch = True
        self.sources: list[tuple[str, str]] = []  # ("-s", FILE) and ("-e", FAULT), in their order
        self.services: list[tuple[str, str]] = []  # of NETWORK, in their order
        self.post: list[str] = []  # patterns
        self.post_words: Words = {}  # what PostOptions is to be told
        self.seed: int | None = None
        self.state: str | None = None
        self.on_error: str | None = None
        self.daemon: str | None = None
        self.use_daemon = True
        self.help = False
        self.program: list[str] = []


def parse(argv: list[str]) -> Options:
    """Reads options up to the program's name. UsageError."""
    options = Options()
    words = list(argv)
    while words:
        word = words[0]
        if not word.startswith("-") or word == "-":
            break
        words.pop(0)
        if word == "--":
            break
        name, equals, value = word.partition("=") if word.startswith("--") else (word[:2], "", "")
        if not word.startswith("--") and len(word) > 2:
            equals, value = "=", word[2:]
        if name in VALUED or name in LOG_VALUES:
            if not equals:
                if not words:
                    raise UsageError(f"{name} wants a value; see `lsca run --help`")
                value = words.pop(0)
            _set(options, name, value)
        elif equals or not _switch(options, name):
            raise UsageError(f"unknown option {word!r}; see `lsca run --help`")
    options.program = words
    if not words and not options.help:
        raise UsageError("no program is named; see `lsca run --help`")
    if options.state is not None and "--overlay" not in dict(options.sources):
        raise UsageError("--state says where an overlay is kept, but there is no --overlay")
    if options.post_words and not options.post:
        raise UsageError("there are options for posted writes, but no --post: name the files")
    if options.log_words and options.log is None:
        raise UsageError("there are options for a log, but no log: name its file with -o")
    return options


def _set(options: Options, name: str, value: str) -> None:
    if name == "--route":
        if value not in ROUTES:
            raise UsageError(f"there is no route {value!r}; there are: {', '.join(ROUTES)}")
        options.route = value
    elif name == "--streams":
        if value not in STREAMS:
            raise UsageError(f"there is no --streams {value}; there are: {', '.join(STREAMS)}")
        options.streams = value
    elif name == "-o":
        options.log = value
    elif name == "-s" and not value.isdigit():
        options.sources.append((name, value))
    elif name == "-e" and not value.startswith(CONTENTS):
        options.sources.append((name, _fault(value)))
    elif name in SERVICES:
        options.sources.append((name, value))
    elif name == "--state":
        options.state = value
    elif name in LOG_VALUES:
        LOG_VALUES[name](options.log_words, name, value)
    elif name in ("--inject", "--fault"):  # strace's long forms
        options.sources.append(("-e", f"{name[2:]}={value}"))
    elif name in NETWORK:
        options.services.append((name, value))
    elif name == "--post":
        if not value:
            raise UsageError("--post wants a pattern for paths, such as '/var/log/**'")
        options.post.append(value)
    elif name == "--post-after":
        options.post_words["after"] = _number(name, value, 1, POST_AFTER_MOST)
    elif name == "--seed":
        if not value.isdigit():
            raise UsageError(f"--seed wants a number, not {value!r}")
        options.seed = int(value)
    elif name == "--on-error":
        if value not in ("go_on", "deny"):
            raise UsageError(f"there is no --on-error {value}; there are: go_on, deny")
        options.on_error = value
    else:
        options.daemon = value


def _fault(value: str) -> str:
    if value.partition("=")[0] in ("trace", "t", "status", "signal", "read", "write", "abbrev"):
        raise UsageError(
            f"-e {value}: a run records every call; `-o FILE` keeps them, `lsca log -e {value} FILE` selects"
        )
    return value


def _switch(options: Options, name: str) -> bool:
    if name in ("--help", "-h"):
        options.help = True
    elif name == "--no-daemon":
        options.use_daemon = False
    elif name == "--no-vdso":
        options.hide_vdso = True
    elif name == "--no-patch":
        options.patch = False
    elif name == "--strict":
        options.strict = True
    elif name == "--post-sync":
        options.post_words["sync"] = True
    elif name == "--lossy":
        options.log_words["lossy"] = True
    else:
        return False
    return True


def _number(name: str, value: str, least: int, most: int) -> int:
    if not (value.isascii() and value.isdigit() and least <= int(value) <= most):
        raise UsageError(f"{name} wants a number from {least} to {most}, not {value!r}")
    return int(value)


def _keep(words: "Words", name: str, value: str) -> None:
    words["keep"] = _number(name, value, 0, KEEP_MOST)


def _size(words: "Words", name: str, value: str) -> None:
    factor = {"k": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(value[-1:], 1)
    digits = value[:-1] if factor > 1 else value
    size = int(digits) * factor if digits.isascii() and digits.isdigit() and len(digits) < 19 else 0
    if not SEGMENT_LEAST <= size < 1 << 62:
        raise UsageError(f"{name} wants a size of 64k or more, such as 100M or 2G, not {value!r}")
    words["rotate_size"] = size


def _age(words: "Words", name: str, value: str) -> None:
    words["rotate_age"] = _number(name, value, 1, 10**9)


def _flight(words: "Words", name: str, value: str) -> None:
    words["flight"] = _number(name, value, 1, FLIGHT_MOST)


def _sync(words: "Words", name: str, value: str) -> None:
    if value not in SYNCS:
        raise UsageError(f"{name} is one of {', '.join(SYNCS)}, not {value!r}")
    words["sync"] = value


def _contents(words: "Words", name: str, value: str) -> None:
    """`read=0,3-5`, as strace has it."""
    which, equals, sets = value.partition("=")
    if which not in ("read", "write") or not equals:
        raise UsageError(
            f"{name} {value!r}: what can be asked for here is read=FDS and write=FDS; "
            "the calls that are shown are chosen by `lsca log -e`"
        )
    fds: set[int] = set()
    for part in sets.split(","):
        first, dash, last = part.partition("-")
        if part == "all":
            fds.update(range(KEEP_FDS))
            continue
        begin = _number(f"{name} {which}=", first, 0, KEEP_FDS - 1)
        end = _number(f"{name} {which}=", last, begin, KEEP_FDS - 1) if dash else begin
        fds.update(range(begin, end + 1))
    key = f"keep_{which}"
    words[key] = tuple(sorted(fds.union(words.get(key, ()))))


# Options with a value that are about the log: each writes down what LogOptions is to be told.
LOG_VALUES = {
    "-s": _keep,
    "-e": _contents,
    "--flight": _flight,
    "--rotate-size": _size,
    "--rotate-age": _age,
    "--sync": _sync,
}


def main(argv: list[str]) -> int:
    """Runs the program."""
    options = parse(argv)
    if options.help:
        sys.stdout.write(USAGE)
        return 0
    if options.post:
        from lsca import _native

        if left := _native.post_recover():
            from lsca.log.recover import recover_posted

            for line in recover_posted(left):
                print(f"lsca: {line}", file=sys.stderr)
    if options.sources or options.services or options.seed is not None:
        return _with_handlers(options)
    return finish(session_of(options), options, drop=True)


def _with_handlers(options: Options) -> int:
    import gc

    # What is imported stays; looking through it again and again for what could go costs a tenth of the start.
    gc.disable()
    from lsca.cli import handled

    gc.freeze()
    gc.enable()
    return handled.run(options)


def session_of(options: Options, **handling: "Any") -> Session:
    """The session that the command line asks for."""
    return Session(
        route=options.route,
        log=options.log,
        hide_vdso=options.hide_vdso,
        strict=options.strict,
        patch=options.patch,
        streams=options.streams,
        log_options=LogOptions(**options.log_words) if options.log_words else None,
        post=PostOptions(options.post, tells=True, **options.post_words) if options.post else None,
        **handling,
    )


def finish(
    session: Session, options: Options, *, drop: bool, end: "Callable[[], None] | None" = None
) -> int:
    """Runs the program in a session; dies of the signal that it died of, after `end`."""
    try:
        connection = _join(session, options) if options.use_daemon else None
    except BaseException:
        session.close()
        raise
    code, signal = session.run([os.fsencode(word) for word in options.program], drop=drop)
    if end is not None:
        end()
    if signal:
        die_of(signal)
    if connection is not None:
        connection.close()
    return code


def _join(session: Session, options: Options) -> "socket | None":
    path = options.daemon or os.environ.get("LSCA_DAEMON")
    if path is None:
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        path = f"{runtime}/lsca.sock" if runtime else f"/tmp/lsca-{os.getuid()}/daemon.sock"
    if options.daemon is None and not os.path.exists(path):
        return None
    from lsca import daemon

    return daemon.join(
        path,
        session.fd,
        {
            "pid": os.getpid(),
            "argv": options.program,
            "route": options.route,
            "log": options.log and os.path.abspath(options.log),
            "post": os.readlink(f"/proc/self/fd/{session.post_fd}")
            if session.post_fd >= 0
            else None,
        },
        must=options.daemon is not None,
    )

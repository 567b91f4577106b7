# SPDX-License-Identifier: Apache-2.0
"""`lsca run [options] PROGRAM ARGS`: the program, unchanged, with its own exit code, terminal and signals.

Has to feel instant: options are read by hand, and what only some runs need is imported where it is needed.
"""

import os
import sys

from lsca.errors import UsageError
from lsca.launch import die_of
from lsca.session import ROUTES, Session

TYPE_CHECKING = False  # that of `typing` costs an import
if TYPE_CHECKING:
    from socket import socket
    from typing import Any

SUMMARY = "run a program with its system calls caught"

USAGE = """\
usage: lsca run [options] [--] PROGRAM [ARGS...]

  --route kernel|proxy   who executes the calls: the kernel for the program itself (default), or a
                         proxy process that holds the program's descriptors
  -s FILE                have the handlers in this Python file decide about calls, and load it anew when it is
                         saved; may be given several times
  -e inject=CALLS:...    change calls as strace does: error=, retval=, signal=, delay_enter=, delay_exit=,
                         poke_enter=, poke_exit=, syscall=, when=; and here also path=, fd=, if=, p=,
                         after_bytes=, address=, process=; may be given several times
  -e fault=CALLS[:...]   the same with error=ENOSYS
  --seed N               makes p= decide as in an earlier run
  --on-error go_on|deny  what becomes of a call whose handler raises: it goes on (default), or fails with EPERM
  -o FILE                write a log of all calls; `lsca log FILE` prints it
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


VALUED = ("--route", "-o", "-s", "-e", "--inject", "--fault", "--seed", "--on-error", "--daemon")


class Options:
    """What the command line says."""

    def __init__(self) -> None:
        self.route = "kernel"
        self.log: str | None = None
        self.hide_vdso = False
        self.strict = False
        self.patch = True
        self.sources: list[tuple[str, str]] = []  # ("-s", FILE) and ("-e", FAULT), in their order
        self.seed: int | None = None
        self.on_error = "go_on"
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
        if name in VALUED:
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
    return options


def _set(options: Options, name: str, value: str) -> None:
    if name == "--route":
        if value not in ROUTES:
            raise UsageError(f"there is no route {value!r}; there are: {', '.join(ROUTES)}")
        options.route = value
    elif name == "-o":
        options.log = value
    elif name == "-s":
        options.sources.append((name, value))
    elif name == "-e":
        options.sources.append((name, _fault(value)))
    elif name in ("--inject", "--fault"):  # strace's long forms
        options.sources.append(("-e", f"{name[2:]}={value}"))
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
    else:
        return False
    return True


def main(argv: list[str]) -> int:
    """Runs the program."""
    options = parse(argv)
    if options.help:
        sys.stdout.write(USAGE)
        return 0
    if options.sources:
        from lsca.cli import handled

        return handled.run(options)
    return finish(session_of(options), options, drop=True)


def session_of(options: Options, **handling: "Any") -> Session:
    """The session that the command line asks for."""
    return Session(
        route=options.route,
        log=options.log,
        hide_vdso=options.hide_vdso,
        strict=options.strict,
        patch=options.patch,
        **handling,
    )


def finish(session: Session, options: Options, *, drop: bool) -> int:
    """Runs the program in a session; dies of the signal that it died of."""
    connection = _join(session, options) if options.use_daemon else None
    code, signal = session.run([os.fsencode(word) for word in options.program], drop=drop)
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
        },
        must=options.daemon is not None,
    )

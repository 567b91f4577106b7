# SPDX-License-Identifier: Apache-2.0
"""One run of the program, with a fault or without: in a copy of the directory, with a log, and what it left behind."""

import contextlib
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import lsca
from lsca.errors import LscaError
from lsca.exploring.sites import Fault, failed, shortened
from lsca.log import Style, as_text
from lsca.log.descriptors import Descriptors
from lsca.log.views import lives
from lsca.services import faults

COPY_BYTES: Final = 1 << 30
COPY_FILES: Final = 50_000
CRASHES: Final = frozenset(
    {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSYS}
)
HERE: Final = b"."

Tree = Mapping[str, str]  # path below the directory: what is there, in short


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. `code` is subprocess's (negative: a signal), None after a timeout.

    `hit`: the call that failed, "" if the run never came to it. `crashed`: programs that died of a crash, and how.
    `before`, `after`: the directory; `temporary`: what was left in $TMPDIR.
    """

    code: int | None
    stdout: bytes
    stderr: bytes
    hit: str
    crashed: tuple[tuple[str, str], ...]
    before: Tree
    after: Tree
    temporary: tuple[str, ...]
    seconds: float


class Trials:
    """Where and how the program is run. `in_place`: in the directory itself."""

    def __init__(
        self,
        command: list[str],
        *,
        in_place: bool,
        timeout: float | None,
        scratch: Path,
        source: Path,
    ) -> None:
        self.command = command
        self.in_place = in_place
        self.timeout = timeout
        self.scratch = scratch
        self.source = source

    def run(self, fault: Fault | None, log: Path | None = None) -> Outcome:
        """Runs the program to its end. LscaError if it cannot be started."""
        import time

        place = Path(tempfile.mkdtemp(dir=self.scratch))
        try:
            directory = self.source if self.in_place else place / "work"
            if not self.in_place:
                shutil.copytree(self.source, directory, symlinks=True)
            temporary = place / "tmp"
            temporary.mkdir()
            path = log or place / "log.lsca"
            before = tree(directory)
            began = time.monotonic()
            code, out, err = self._run(fault, directory, temporary, path)
            seconds = time.monotonic() - began
            hit, crashed = _look(path, fault)
            return Outcome(
                code,
                _tidy(out, directory, temporary),
                _tidy(err, directory, temporary),
                hit,
                crashed,
                before,
                tree(directory),
                tuple(sorted(tree(temporary))),
                seconds,
            )
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _run(
        self, fault: Fault | None, directory: Path, temporary: Path, log: Path
    ) -> tuple[int | None, bytes, bytes]:
        rules = [] if fault is None else faults.rules(fault.rule)
        environment = {**os.environ, "TMPDIR": str(temporary)}
        try:
            result = lsca.run(
                self.command,
                handlers=rules,
                log=log,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                timeout=self.timeout,
            )
        except subprocess.TimeoutExpired as expired:
            return None, expired.output or b"", expired.stderr or b""
        return result.returncode, result.stdout, result.stderr


def check_size(directory: Path) -> None:
    """LscaError for a directory that is too large to be copied for each run."""
    total = 0
    for count, path in enumerate(_walk(directory), 1):
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
        if total > COPY_BYTES or count > COPY_FILES:
            raise LscaError(
                f"{directory} is too large to be copied for each run (more than {COPY_BYTES >> 30} GiB or "
                f"{COPY_FILES} files); begin in a smaller directory, or use --in-place"
            )


def tree(directory: Path) -> dict[str, str]:
    """What is in a directory: for each path its kind, and of a file the hash of its contents."""
    return {str(path.relative_to(directory)): _about(path) for path in _walk(directory)}


def _walk(directory: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(directory):
        folders.sort()
        for name in (*folders, *sorted(files)):
            yield Path(parent, name)


def _about(path: Path) -> str:
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            return f"link {os.readlink(path)}"
        if stat.S_ISREG(mode):
            with path.open("rb") as file:
                return hashlib.file_digest(file, "blake2b").hexdigest()
    except OSError as error:
        return f"unreadable {error.strerror}"
    return stat.filemode(mode)[0]


def _tidy(text: bytes, directory: Path, temporary: Path) -> bytes:
    """Output in which the copy is called as the directory would be from within."""
    for path in (directory, temporary):
        text = text.replace(os.fsencode(path), HERE)
    return text


def _look(path: Path, fault: Fault | None) -> tuple[str, tuple[tuple[str, str], ...]]:
    """What the log says: the call that failed, and which programs crashed."""
    log = lsca.open_log(path)
    hit = ""
    if fault is not None:
        style = Style(
            log.header.machine, pid=False, clock="none", duration=False, route=False, strings=60
        )
        file = Descriptors(log)
        for record in failed(log, fault):
            hit = shortened(as_text(record, style, file=file.of(record)))
    crashed = []
    for life in lives(log):
        if life.signal in CRASHES:
            name = signal.Signals(life.signal or 0).name
            crashed.append((life.program or f"process {life.pid}", name))
    return hit, tuple(crashed)

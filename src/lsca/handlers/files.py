# SPDX-License-Identifier: Apache-2.0
"""Files of handlers: loaded by path, and loaded anew when they are saved, while programs run.

An error in a new version leaves the old one in force and is said with its place. `lsca run -s` is made of this.
"""

import os
import sys
import threading
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Final

from lsca.errors import HandlerError, RuleError
from lsca.handlers.dispatch import Handlers
from lsca.handlers.rule import Rule, rules_of
from lsca.live.threads import without_signals

POLL: Final = 0.2  # seconds between two looks at the files
Stamp = tuple[int, int, int]


def load(path: str) -> list[Rule[Any]]:
    """The rules of a file, in their order. HandlerError, with FILE:LINE, if it does not load or has none."""
    try:
        with open(path, "rb") as f:
            source = f.read()
    except OSError as error:
        raise HandlerError(f"{path} cannot be read: {error.strerror}") from error
    name = "lsca_file_" + os.path.splitext(os.path.basename(path))[0]
    module = ModuleType(name)
    module.__file__ = os.path.abspath(path)
    directory = os.path.dirname(module.__file__)
    if directory not in sys.path:
        sys.path.insert(0, directory)
    before = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses and pickle look their module up
    try:
        exec(compile(source, module.__file__, "exec"), module.__dict__)
    except Exception as error:
        if before is not None:
            sys.modules[name] = before
        raise HandlerError(_place(error, module.__file__, path)) from error
    try:
        return rules_of(module)
    except HandlerError:
        raise HandlerError(f"{path} has no handlers: nothing in it says lsca.on") from None


def _place(error: Exception, file: str, path: str) -> str:
    """FILE:LINE and what is wrong there."""
    import traceback  # only for those who err

    if isinstance(error, SyntaxError) and error.filename == file:
        return f"{path}:{error.lineno}: {error.msg}"
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == file
    ]
    where = f"{path}:{lines[-1]}" if lines else path
    words = str(error)
    if isinstance(error, HandlerError):
        return f"{where}: {words}"
    return f"{where}: {type(error).__name__}{': ' if words else ''}{words}"


def _stamp(path: str) -> Stamp | None:
    try:
        status = os.stat(path)
    except OSError:  # an editor may be about to put another one in its place
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


class Files:
    """Sources of rules in their order, of which the paths are watched: `start`, and `stop` in the end.

    A source is the path of a file, or a list of rules. HandlerError if a file does not load at first.
    """

    def __init__(
        self, sources: Sequence[str | list[Rule[Any]]], say: Callable[[str], None]
    ) -> None:
        self._say = say
        self._sources = list(sources)
        paths = [source for source in sources if isinstance(source, str)]
        self._stamps = {path: _stamp(path) for path in paths}
        self._loaded = {path: load(path) for path in paths}
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def rules(self) -> list[Rule[Any]]:
        """All rules as they are at the moment."""
        parts = [self._loaded[one] if isinstance(one, str) else one for one in self._sources]
        return [rule for part in parts for rule in part]

    def start(self, handlers: Handlers) -> None:
        """Looks at the files from time to time, and puts what they say now into force."""
        if self._stamps:
            self._thread = threading.Thread(
                target=self._watch, args=(handlers,), name="lsca-files", daemon=True
            )
            with without_signals():
                self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def check(self, handlers: Handlers) -> None:
        """One look."""
        for path, known in self._stamps.items():
            stamp = _stamp(path)
            if stamp is None or stamp == known:
                continue
            self._stamps[path] = stamp
            before = self._loaded[path]
            try:
                self._loaded[path] = load(path)
                handlers.replace(self.rules())
            except RuleError as error:
                self._loaded[path] = before
                self._say(f"{error}; the handlers before it stay in force")
            else:
                self._say(f"{path} is in force as it is now")

    def _watch(self, handlers: Handlers) -> None:
        while not self._over.wait(POLL):
            self.check(handlers)

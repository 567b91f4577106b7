# SPDX-License-Identifier: Apache-2.0
"""All runs of `lsca explore`: two without a fault, then one for each fault, several at a time, in a fixed order."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import lsca
from lsca.errors import LscaError
from lsca.exploring.judge import Finding, Judge
from lsca.exploring.sites import Fault, faults, sites
from lsca.exploring.trial import Outcome, Trials, check_size
from lsca.table import by_name

FIRST_TIMEOUT: Final = 300.0  # seconds for a run in which nothing fails
TIMES: Final = 10  # so many times as long may one with a fault take
LEAST: Final = 5.0  # seconds, but not fewer
ENDING: Final = 500  # bytes of stderr that are shown of a program that fails by itself


@dataclass(frozen=True, slots=True)
class Settings:
    """`jobs` runs at a time; `timeout` in seconds, None: by how long the program takes. `budget`: how many faults, 0:
    all. `only`: these calls, `errors`: these errnos; None: whatever the table lists."""

    jobs: int = 1
    timeout: float | None = None
    budget: int = 0
    only: frozenset[str] | None = None
    errors: frozenset[str] | None = None
    in_place: bool = False


class Campaign:
    """`tried` and `unreached` count as it goes on: of the latter, the run never came to the call that was to fail."""

    def __init__(self, command: list[str], settings: Settings, directory: Path) -> None:
        self.command = command
        self.settings = settings
        self.directory = directory
        self.tried = 0
        self.unreached = 0
        self.left_out = 0
        self.total = 0
        self.notes: list[str] = []
        self.seconds = 0.0

    def run(self, progress: Callable[[], None] = lambda: None) -> Iterator[Finding]:
        """Findings in the order of their faults. LscaError if the program fails by itself."""
        if not self.settings.in_place:
            check_size(self.directory)
        scratch = Path(tempfile.mkdtemp(prefix="lsca-explore-"))
        try:
            yield from self._run(scratch, progress)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _run(self, scratch: Path, progress: Callable[[], None]) -> Iterator[Finding]:
        trials = Trials(
            self.command,
            in_place=self.settings.in_place,
            timeout=self.settings.timeout or FIRST_TIMEOUT,
            scratch=scratch,
            source=self.directory,
        )
        log = scratch / "first.lsca"
        first = self._plain(trials, log)
        second = self._plain(trials, None)
        judge = Judge(first, second)
        self._note(judge)
        todo = self._faults(lsca.open_log(log))
        self.seconds = max(first.seconds, second.seconds)
        if self.settings.timeout is None:
            trials.timeout = max(LEAST, TIMES * self.seconds)
        with ThreadPoolExecutor(self.settings.jobs) as pool:
            waiting: list[tuple[Fault, Future[Outcome]]] = []
            try:
                waiting = [(fault, pool.submit(trials.run, fault)) for fault in todo]
                progress()
                for fault, future in waiting:
                    outcome = future.result()
                    self.tried += 1
                    if outcome.hit:
                        yield from judge.findings(fault, outcome)
                    else:
                        self.unreached += 1
                    progress()
            finally:
                for _, future in waiting:
                    future.cancel()

    def _plain(self, trials: Trials, log: Path | None) -> Outcome:
        outcome = trials.run(None, log)
        if outcome.code is None:
            raise LscaError(
                f"{self.command[0]} did not end within {trials.timeout:g} s although nothing failed; --timeout S"
            )
        if outcome.code:
            how = f"exit code {outcome.code}" if outcome.code > 0 else f"signal {-outcome.code}"
            said = outcome.stderr[-ENDING:].decode(errors="replace").strip()
            raise LscaError(
                f"{self.command[0]} fails by itself ({how}), so there is nothing to compare with"
                + (f"; it says: {said}" if said else "")
            )
        return outcome

    def _note(self, judge: Judge) -> None:
        if not judge.same_output:
            self.notes.append("its output differs from run to run, and is not compared")
        if not judge.same_files:
            self.notes.append(
                "the files that it makes differ from run to run, and are not compared"
            )

    def _faults(self, log: lsca.Log) -> list[Fault]:
        found = sites(log, self.settings.only)
        errors = {}
        for site in found:
            row = by_name(site.name)
            wanted = self.settings.errors
            listed = row.errors if row else ()
            errors[site.name] = tuple(e for e in listed if wanted is None or e in wanted)
        every = faults(found, errors)
        budget = self.settings.budget or len(every)
        self.left_out = max(0, len(every) - budget)
        self.total = min(len(every), budget)
        return every[:budget]

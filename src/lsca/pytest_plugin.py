# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin: a fixture `lsca` that reaches every program that a test starts. docs/pytest.md shows its use.

Loaded by pytest for everybody who has LSCA installed, so it imports nothing of it before a test asks for the fixture;
testing.py has all that the fixture can do. A session of its own for each test that uses it, so it does not matter how
many workers (xdist) there are.
"""

import contextlib
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lsca.hosting import Launchers
    from lsca.testing import Fixture

ROUTES = ("kernel", "proxy")
MARKER = (
    "lsca(route=..., strict=..., on_error=...): how the fixture `lsca` catches the programs of this test; "
    "see docs/pytest.md"
)
SETTINGS = ("route", "strict", "on_error")
TITLE = "calls of the programs (lsca)"
NAME_LENGTH = 150


class LscaWarning(UserWarning):
    """Programs of a test were not caught."""


FIXTURE = pytest.StashKey["Fixture"]()
ENDING = pytest.StashKey["Ending"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("lsca", "programs that tests start (lsca)")
    group.addoption(
        "--lsca-log",
        metavar="DIR",
        help="keep the log of every test that uses the fixture, as DIR/TEST.lsca",
    )
    group.addoption(
        "--lsca-route",
        choices=ROUTES,
        default="kernel",
        help="who completes the calls of programs that `lsca.run` starts (default: kernel)",
    )
    group.addoption(
        "--lsca-strict",
        action="store_true",
        help="programs that cannot be caught do not run, and their test fails",
    )
    group.addoption(
        "--lsca-calls",
        type=int,
        default=20,
        metavar="N",
        help="how many calls are shown of a test that fails (default: 20; 0: none)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


def pytest_unconfigure(config: pytest.Config) -> None:
    ending = config.stash.get(ENDING, None)
    if ending is not None:
        ending.finish()


@pytest.fixture
def lsca(request: pytest.FixtureRequest) -> "Iterator[Fixture]":
    """The programs that this test starts: rules about their calls, and questions about what they did."""
    from lsca.errors import LscaError

    config = request.config
    if ENDING not in config.stash:
        config.stash[ENDING] = Ending(config.getoption("--lsca-log"), _options(config))
    ending = config.stash[ENDING]
    try:
        fixture = ending.fixture(request.node.nodeid, _settings(request))
    except LscaError as error:
        pytest.fail(f"lsca: {error}", pytrace=False)
    request.node.stash[FIXTURE] = fixture
    try:
        with fixture.joined():
            yield fixture
    finally:
        missed, reports, strays = fixture.host.missed, fixture.problems(), 0
        problem = (fixture.host.problem() or "it was killed") if fixture.ended() else ""
        with contextlib.suppress(LscaError):  # the launcher was killed just now
            strays = fixture.strays()
        fixture.end()
        ending.add(fixture)
    if problem:
        pytest.fail(
            f"lsca: the launcher is gone, and programs ran uncaught: {problem}", pytrace=False
        )
    _complain(fixture, missed, reports, strays)


def _options(config: pytest.Config) -> dict[str, Any]:
    found: dict[str, Any] = {"route": config.getoption("--lsca-route")}
    if config.getoption("--lsca-strict"):
        found["strict"] = True
    return found


def _settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What options say, and the markers of the module, the class and the test after them."""
    found = _options(request.config)
    for mark in reversed(list(request.node.iter_markers("lsca"))):
        unknown = set(mark.kwargs) - set(SETTINGS)
        if unknown or mark.args:
            what = sorted(unknown)[0] if unknown else repr(mark.args[0])
            pytest.fail(
                f"@pytest.mark.lsca does not know {what}; it takes {', '.join(f'{s}=' for s in SETTINGS)}",
                pytrace=False,
            )
        found |= mark.kwargs
    return found


def _complain(fixture: "Fixture", missed: int, reports: list[Any], strays: int) -> None:
    if reports and not fixture.has_looked:
        texts = "\n".join(map(str, reports))
        pytest.fail(f"lsca: {len(reports)} handlers went wrong:\n{texts}", pytrace=False)
    if missed and fixture.strict:
        pytest.fail(f"lsca: {missed} programs could not be caught", pytrace=False)
    if strays:
        text = f"{strays} processes stayed with the kernel: only `lsca.run` starts them by route {fixture.route}"
        if fixture.strict:
            pytest.fail(f"lsca: {text}", pytrace=False)
        warnings.warn(text, LscaWarning, stacklevel=2)
    if missed:
        warnings.warn(
            f"{missed} programs ran uncaught, so nothing is known of them; `lsca doctor` may say why",
            LscaWarning,
            stacklevel=2,
        )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome: Any = yield
    fixture = item.stash.get(FIXTURE, None)
    count = item.config.getoption("--lsca-calls")
    if fixture is None or call.when != "call" or not count:
        return
    report: pytest.TestReport = outcome.get_result()
    if report.failed:
        from lsca.errors import LscaError

        try:
            text = fixture.last_calls(count)
        except LscaError as error:
            text = str(error)
        report.sections.append((TITLE, text))


class Ending:
    """Sessions whose test is over: nobody waits for them before the next test, only before pytest ends.

    And the next one, ahead of its test unless its log is to have that one's name: its launcher starts while pytest is
    between the two. `usual`: the settings of tests without a marker.
    """

    def __init__(self, directory: str | None, usual: dict[str, Any]) -> None:
        self._kept = Path(directory).absolute() if directory else None
        self._directory: Path | None = None
        self._open: list[Fixture] = []
        self._usual = usual
        self._next: Fixture | None = None
        self._made = 0
        self._launchers: Launchers | None = None

    def fixture(self, nodeid: str, settings: dict[str, Any]) -> "Fixture":
        """For this test. LscaError."""
        if self._kept is not None:
            return self._new(settings, nodeid)
        ready, self._next = self._next, None
        if ready is None:
            return self._new(settings)
        if settings == self._usual and not ready.ended():  # else somebody has killed its launcher
            return ready
        ready.end()
        self._open.append(ready)
        return self._new(settings)

    def _new(self, settings: dict[str, Any], nodeid: str = "") -> "Fixture":
        if self._launchers is None:
            from lsca.hosting import Launchers

            self._launchers = Launchers()
        from lsca.testing import Fixture

        return Fixture(
            self._path(nodeid),
            launchers=self._launchers,
            sync="close" if self._kept else "never",
            **settings,
        )

    def _path(self, nodeid: str) -> Path:
        """Where the log of a test is written."""
        if self._directory is None:
            self._directory = self._kept or Path(tempfile.mkdtemp(prefix="lsca-"))
            self._directory.mkdir(parents=True, exist_ok=True)
        if self._kept is None:
            self._made += 1
            return self._directory / f"{self._made}.lsca"
        stem = re.sub(r"[^\w.+-]+", "-", nodeid.replace("::", "-")).strip("-")[-NAME_LENGTH:]
        worker = os.environ.get("PYTEST_XDIST_WORKER", "")
        for number in range(1, 10000):
            name = f"{stem}{f'-{number}' if number > 1 else ''}.lsca"
            path = self._directory / name
            if not worker or not path.exists():
                return path
        return self._directory / f"{stem}-{worker}.lsca"

    def add(self, fixture: "Fixture") -> None:
        """One that has just ended; where there was one, there will be another."""
        from lsca.errors import LscaError

        if self._kept is None:
            with contextlib.suppress(LscaError):  # the test that wants it will hear
                self._next = self._new(self._usual)
        self._open.append(fixture)
        self._open = [one for one in self._open if not self._is_over(one)]

    def _is_over(self, fixture: "Fixture", *, wait: bool = False) -> bool:
        over = fixture.ended(wait=wait)
        if over and self._kept is None:
            for path in fixture.log_files():
                path.unlink(missing_ok=True)
        return over

    def finish(self) -> None:
        if self._next is not None:
            self._next.end()
            self._open.append(self._next)
        for fixture in self._open:
            self._is_over(fixture, wait=True)
        if self._launchers is not None:
            self._launchers.close()
        if self._kept is None and self._directory is not None:
            import shutil

            shutil.rmtree(self._directory, ignore_errors=True)

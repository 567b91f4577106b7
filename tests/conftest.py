# SPDX-License-Identifier: Apache-2.0
"""The rule about skipped tests, and a daemon for those that want one.

A test whose tool is missing is skipped, and the reason is printed. Where everything is installed (CI=true) a skip would
hide a loss, so it fails the run there, unless tests/allowed_skips.txt names the test and says why.
"""

import os
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from differential import environment, lsca

ALLOWED = Path(__file__).with_name("allowed_skips.txt")

_forbidden: list[str] = []


def _allowed() -> Iterator[str]:
    for line in ALLOWED.read_text().splitlines():
        pattern = line.partition("#")[0].strip()
        if pattern:
            yield pattern


def _note(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not report.skipped or hasattr(report, "wasxfail") or os.environ.get("CI") != "true":
        return
    if not any(fnmatchcase(report.nodeid, pattern) for pattern in _allowed()):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        _forbidden.append(f"{report.nodeid}: {reason}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note(report)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _forbidden:
        terminalreporter.section("skipped, but not listed in tests/allowed_skips.txt")
        for line in _forbidden:
            terminalreporter.line(line, red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _forbidden and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[str]:
    """The socket of a daemon of the test's own."""
    path = str(tmp_path / "d.sock")
    argv = [*lsca(), "daemon", "--socket", path]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, env=environment(tmp_path)) as started:
        assert started.stderr and b"ready" in started.stderr.readline()
        yield path
        started.kill()

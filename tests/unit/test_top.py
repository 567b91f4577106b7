# SPDX-License-Identifier: Apache-2.0
"""`lsca top`: rates from two answers of the daemon, the table for pipes, and the screen, on real runs where it matters.

Proves that the numbers are differences over the time between, that new and ended processes are handled, and that what
is missing (daemon, runs, terminal) is said.
"""

import asyncio
import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lsca.errors import DaemonError
from lsca.tui import rates
from lsca.tui.rates import Snapshot, compare, headline, table

LSCA = [sys.executable, "-m", "lsca"]


def process(pid: int, calls: int, **more: Any) -> dict[str, Any]:
    by_route = {"kernel": calls, "proxy": 0, "local": 2 * calls, "handler": 0}
    return {"pid": pid, "command": f"p{pid}", "alive": True, "calls": by_route, **more}


def answer(at: float, *processes: dict[str, Any], log: str | None = None) -> Snapshot:
    session = {
        "pid": 1,
        "since": time.time() - 10,
        "argv": ["x"],
        "route": "kernel",
        "log": log,
        "preloaded": False,
        "uncaught": 0,
        "lost": 0,
        "processes": list(processes),
    }
    return Snapshot(at, {"sessions": [session]})


def test_rates_are_differences() -> None:
    moment = compare(answer(100, process(5, 1000)), answer(102, process(5, 1500)))
    (one,) = moment.processes
    assert one.rates == (250, 0, 500, 0)
    assert one.calls == 4500
    assert one.failed is None


def test_a_new_process_and_one_that_ended() -> None:
    before = answer(100, process(5, 1000), process(6, 10))
    after = answer(101, process(5, 900, alive=False), process(6, 10), process(7, 40))
    moment = compare(before, after, {7: 3.0})
    assert [(p.pid, round(p.rate)) for p in moment.processes] == [(7, 120), (6, 0)]
    assert moment.processes[0].failed == 3.0


def test_without_an_earlier_answer_rates_are_those_of_its_life() -> None:
    (one,) = compare(None, answer(100, process(5, 1000))).processes
    assert 290 < one.rate <= 300


def test_a_number_used_again_is_no_negative_rate() -> None:
    (one,) = compare(answer(1, process(5, 1000)), answer(2, process(5, 10))).processes
    assert one.rate == 0


def test_table_and_headline() -> None:
    moment = compare(answer(1, process(5, 0)), answer(2, process(5, 12345)))
    assert headline(moment) == (
        "1 run, 1 process, 37,035 calls/s (kernel 12,345, proxy 0, local 24,690, handler 0)"
    )
    lines = table(moment).splitlines()
    assert lines[1].split() == [
        "run",
        "pid",
        "calls/s",
        *rates.ROUTES,
        "failed/s",
        "calls",
        "command",
    ]
    assert lines[2].split() == [
        "1",
        "5",
        "37,035",
        "12,345",
        "0",
        "24,690",
        "0",
        "-",
        "37,035",
        "p5",
    ]


def test_what_goes_without_the_kernel() -> None:
    """Of all runs together; nothing is said where there is nothing."""
    one, two = answer(2, process(5, 0)), answer(2, process(6, 0))
    (first,), (second,) = one.status["sessions"], two.status["sessions"]
    first |= {"streams": {"joined": 2, "back": 1, "bytes": 4096}, "posted": {}}
    second |= {"streams": {"joined": 0, "back": 0, "bytes": 0}}
    second |= {"posted": {"bytes": 2048, "waiting": 10, "writes": 7}}
    both = compare(None, Snapshot(2, {"sessions": [first, second]}))
    assert (both.streams, both.posted) == ((2, 4096), (2048, 10))
    assert headline(both).endswith(
        "; 2 connections by memory, 4.00KB; 2.00KB posted, 10B to be written"
    )
    assert "posted" not in headline(compare(None, answer(2, process(5, 0))))


# ---- with a daemon


@pytest.fixture
def socket_path(tmp_path: Path) -> Iterator[Path]:
    """A daemon of the test's own."""
    path = tmp_path / "d.sock"
    command = [*LSCA, "daemon", "--socket", str(path)]
    daemon = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert daemon.stderr is not None
    daemon.stderr.readline()
    yield path
    daemon.kill()
    daemon.wait()
    daemon.stderr.close()


@pytest.fixture
def busy(socket_path: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run that makes calls all the time, and writes a log of them."""
    command = ["dd", "if=/dev/zero", "of=/dev/null", "bs=1"]
    run = subprocess.Popen(
        [*LSCA, "run", "--daemon", str(socket_path), *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(200):
        found = rates.snapshot(str(socket_path)).status["sessions"]
        if found and any(sum(p["calls"].values()) > 1000 for p in found[0]["processes"]):
            break
        time.sleep(0.05)
    yield run
    run.terminate()
    run.wait()


def top(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LSCA, "top", *words], capture_output=True, text=True, timeout=60)


def test_once(socket_path: Path, busy: subprocess.Popen[bytes]) -> None:
    """No terminal, so no screen: one table, with what dd does at this moment."""
    done = top("--socket", str(socket_path), "-d", "0.3")
    assert done.returncode == 0, done.stderr
    head, titles, row = done.stdout.splitlines()
    assert head.startswith("1 run, 1 process, ")
    fields = dict(zip(titles.split(), row.split(), strict=True))
    assert fields["command"] == "dd" and fields["run"] == str(busy.pid)
    assert float(fields["kernel"].rstrip("M").replace(",", "")) > 1
    assert fields["failed/s"] == "-"


def test_once_as_json(socket_path: Path, busy: subprocess.Popen[bytes]) -> None:
    done = top("--json", "--socket", str(socket_path), "-d", "0.2")
    (one,) = json.loads(done.stdout)["processes"]
    assert one["command"] == "dd" and one["rates"][0] > 0


def test_nothing_runs(socket_path: Path) -> None:
    done = top("--once", "--socket", str(socket_path))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "lsca: nothing runs; `lsca run PROGRAM` starts something\n"


def test_no_daemon(tmp_path: Path) -> None:
    done = top("--once", "--socket", str(tmp_path / "none"))
    assert done.returncode == 125
    assert "no daemon at" in done.stderr and "`lsca daemon` starts one" in done.stderr


@pytest.mark.parametrize("words", [["-d", "x"], ["-d", "0"], ["--fast"], ["file"]])
def test_not_understood(words: list[str]) -> None:
    done = top(*words)
    assert done.returncode == 125
    assert done.stderr.startswith("lsca: ") and "`lsca top --help`" in done.stderr


def test_once_needs_no_library(socket_path: Path) -> None:
    code = (
        "import sys; from lsca.cli import main; "
        f"main(['top', '--once', '--socket', {str(socket_path)!r}]); "
        "print([m for m in sys.modules if m.split('.')[0] in ('textual', 'rich', 'duckdb')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


# ---- the screen


def play(socket: Path, act: Callable[[Any, Any], Awaitable[None]]) -> Any:
    """Runs the screen with `act` at the keys; its result."""
    pytest.importorskip("textual")
    from lsca.tui.top import TopApp

    app = TopApp(str(socket), delay=0.2)

    async def run() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await act(app, pilot)

    asyncio.run(run())
    return app.return_value


def lines(app: Any) -> list[str]:
    strips = app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in strip).rstrip() for strip in strips]


async def until(pilot: Any, true: Callable[[], bool]) -> None:
    for _ in range(200):
        await pilot.pause(0.05)
        if true():
            return
    raise AssertionError("it did not come to pass")


def test_screen(socket_path: Path, busy: subprocess.Popen[bytes]) -> None:
    """Shows dd, follows its rate, sorts, explains, and sees it end."""

    async def act(app: Any, pilot: Any) -> None:
        await until(pilot, lambda: "1 run, 1 process" in lines(app)[0])
        before = app._moment
        assert lines(app)[1].split()[:3] == ["pid", "command", "calls/s▼"]
        assert lines(app)[2].split()[2] == "dd"
        await until(pilot, lambda: app._moment.processes[0].calls > before.processes[0].calls)
        await pilot.press("greater_than_sign")
        assert "kernel▼" in lines(app)[1]
        await pilot.press("r", "less_than_sign", "less_than_sign")
        assert "command▲" in lines(app)[1]
        await pilot.press("enter")
        await pilot.pause()
        assert "writes no log" in lines(app)[-2]
        await pilot.press("question_mark")
        await pilot.pause()
        assert "lsca top: keys" in lines(app)[0]
        await pilot.press("escape", "space")
        await pilot.pause()
        assert "held" in lines(app)[-2]
        await pilot.press("space")
        busy.terminate()
        await until(pilot, lambda: "Nothing runs." in "\n".join(lines(app)))
        await pilot.press("q")

    assert play(socket_path, act) is None


def test_enter_leads_to_the_log(socket_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("textual")
    from lsca.tui import top as module

    monkeypatch.setattr(
        module, "snapshot", lambda path: answer(time.monotonic(), process(5, 7), log="/l.lsca")
    )
    monkeypatch.setattr(module.Failures, "look", lambda self, paths: {5: 2.5})

    async def act(app: Any, pilot: Any) -> None:
        await until(pilot, lambda: bool(app._moment.processes))
        assert " 2.5 " in lines(app)[2]
        await pilot.press("enter")
        await pilot.pause()

    assert play(socket_path, act) == ("/l.lsca", 5)


def test_the_daemon_may_come_and_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("textual")
    from lsca.tui import top as module

    there = [True]

    def snapshot(path: str) -> Snapshot:
        if not there[0]:
            raise DaemonError("no daemon at all")
        return answer(time.monotonic(), process(5, 7))

    monkeypatch.setattr(module, "snapshot", snapshot)

    async def act(app: Any, pilot: Any) -> None:
        for is_there, words in ((True, "1 run"), (False, "no daemon at all"), (True, "1 run")):
            there[0] = is_there
            await until(pilot, lambda words=words: words in "\n".join(lines(app)))  # type: ignore[misc]

    play(tmp_path / "none", act)


def test_on_a_real_terminal(socket_path: Path, busy: subprocess.Popen[bytes]) -> None:
    """The whole command in a terminal: draws, takes a key, leaves the terminal as it was."""
    pytest.importorskip("textual")
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, [*LSCA, "top", "--socket", str(socket_path), "-d", "0.2"])
    seen = b""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and b"dd" not in seen:
        seen += os.read(terminal, 65536)
    assert b"dd" in seen and b"calls/s" in seen
    os.write(terminal, b"q")
    try:
        while part := os.read(terminal, 65536):
            seen += part
    except OSError:
        pass  # its end closes the terminal
    assert os.waitpid(pid, 0)[1] == 0
    assert b"\x1b[?1049l" in seen
    os.close(terminal)


# ---- failed calls


def test_failures_are_counted_as_a_log_grows() -> None:
    pytest.importorskip("duckdb")
    from logtables import sample
    from lsca.tui.follow import Failures
    from lsca.tui.source import Source

    log = sample()
    failures = Failures(lambda path: Source(log, path))
    assert failures.look(["a"]) == {}
    failures._logs["a"].at -= 2
    failures._logs["a"].not_before = 0
    assert log.sql("SELECT 1")
    log.connection.execute(
        "INSERT INTO calls BY NAME SELECT 12 AS pid, 'EIO' AS error FROM range(20)"
    )
    found = failures.look(["a"])
    assert 8 < found[12] <= 10 and found[10] == 0
    assert failures.look(["a"]) == found, "not read again so soon"
    assert failures.look([]) == {}


def test_a_log_that_cannot_be_read_says_nothing() -> None:
    pytest.importorskip("duckdb")
    from lsca.errors import LogError
    from lsca.tui.follow import Failures

    def broken(path: str) -> Any:
        raise LogError("not a log")

    failures = Failures(broken)
    assert failures.look(["a"]) == failures.look(["a"]) == {}

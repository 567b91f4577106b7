# SPDX-License-Identifier: Apache-2.0
"""`lsca view` as its users meet it: keys pressed in a terminal of a given size, and what then stands on the screen.

Textual's pilot presses the keys without a terminal; the log is made up (logtables.py).
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from logtables import Fake, sample
from lsca.errors import LogError
from lsca.tui.grid import Grid
from lsca.tui.pages import Page
from lsca.tui.source import Source
from lsca.tui.timeline import Timeline
from lsca.tui.view import TABS, ViewApp

pytest.importorskip("textual")

SIZE = (80, 24)
NAMES = {
    " ": "space",
    "=": "equals_sign",
    "/": "slash",
    ">": "greater_than_sign",
    "!": "exclamation_mark",
}
NAMES |= {
    "<": "less_than_sign",
    "?": "question_mark",
    "*": "asterisk",
    "+": "plus",
    "-": "minus",
    ".": "full_stop",
}


class Screen:
    """The program and the pilot at its keys."""

    def __init__(self, app: ViewApp, pilot: Any) -> None:
        self.app, self.pilot = app, pilot

    async def settle(self) -> None:
        """Until no question is open and all is drawn."""
        await self.pilot.pause()
        while any(not worker.is_finished for worker in self.app.workers):
            await self.app.workers.wait_for_complete()
            await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.pilot.press(NAMES.get(key, key))
            await self.settle()

    async def type(self, text: str) -> None:
        await self.press("/")
        await self.pilot.press(*[NAMES.get(char, char) for char in text])
        await self.pilot.pause(0.25)
        await self.settle()

    @property
    def lines(self) -> list[str]:
        strips = self.app.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip).rstrip() for strip in strips]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def rows(self) -> list[str]:
        """What is below the titles of a table."""
        return [line for line in self.lines[4:-2] if line.strip(" ▁▂▃▄▅▆▇█")]

    @property
    def status(self) -> str:
        return self.lines[-2].strip()


def play(
    act: Callable[[Screen], Awaitable[None]],
    log: Fake | None = None,
    size: tuple[int, int] = SIZE,
    **more: Any,
) -> None:
    """Runs the program with `act` at the keys."""

    async def run() -> None:
        app = ViewApp(Source(log or sample(), "build.lsca"), **more)
        async with app.run_test(size=size) as pilot:
            screen = Screen(app, pilot)
            await screen.settle()
            await act(screen)

    asyncio.run(run())


def test_first_screen() -> None:
    async def act(screen: Screen) -> None:
        assert "lsca view build.lsca: 332 calls, 21 failed, 3 processes, 960 ms" in screen.lines[0]
        assert "1 names 2 processes 3 files 4 peers" in screen.lines[1]
        assert screen.lines[3].split()[:3] == ["name", "calls", "failed"]
        assert screen.rows[0].split()[:3] == [">", "wait4", "2"]
        assert screen.status.startswith("1 of 10, by time")
        assert "q quit" in screen.lines[-1]

    play(act)


@pytest.mark.parametrize("size", [(80, 24), (40, 10), (200, 60)])
def test_every_view_fits(size: tuple[int, int]) -> None:
    async def act(screen: Screen) -> None:
        for number, name in enumerate(TABS, 1):
            await screen.press(str(number))
            assert screen.app.place.view == name
            assert len(screen.lines) == size[1]
            assert all(len(line) <= size[0] for line in screen.lines)
            assert any(line.startswith(">") for line in screen.lines), name
            assert screen.status

    play(act, size=size)


def test_processes() -> None:
    async def act(screen: Screen) -> None:
        await screen.press("2")
        assert "sh build.sh" in screen.rows[0] and "cc -c 'a b.c'" in screen.rows[1]
        assert "curl x" in screen.rows[2]

    play(act)


def test_ends_of_processes_where_there_is_room() -> None:
    async def act(screen: Screen) -> None:
        await screen.press("2")
        assert screen.rows[1].rstrip(" ▁▂▃▄▅▆▇█").endswith(" 1")
        assert screen.rows[2].rstrip(" ▁▂▃▄▅▆▇█").endswith("signal 9")

    play(act, size=(120, 24))


def test_files_peers_errors() -> None:
    async def act(screen: Screen) -> None:
        await screen.press("3")
        assert screen.rows[0].split()[1:3] == ["/out.o", "301"]
        assert "2.93K" in screen.rows[0]
        await screen.press("4")
        assert screen.rows[0].split()[1:4] == ["127.0.0.1:80", "3", "1"]
        await screen.press("5")
        assert screen.rows[0].split()[1:4] == ["ENOENT", "openat", "20"]
        assert screen.rows[1].split()[:3] == ["ECONNRESET", "recvfrom", "1"]

    play(act)


def test_slowest() -> None:
    async def act(screen: Screen) -> None:
        await screen.press("7")
        assert "wait4" in screen.rows[0] and "450 ms" in screen.rows[0]
        assert "recvfrom" in screen.rows[2] and "ECONNRESET" in screen.rows[2]

    play(act)


def test_enter_and_the_way_back() -> None:
    """From a process to its calls, to one of them, and back by the same way."""

    async def act(screen: Screen) -> None:
        await screen.press("2", "down", "down", "enter")
        assert screen.app.place.view == "calls"
        assert screen.app.place.terms == "pid=12"
        assert len(screen.rows) == 4
        await screen.press("down", "down", "enter")
        assert isinstance(screen.app.screen, Page)
        assert "sendto, call 2 of thread 12" in screen.lines[0]
        await screen.press("escape")
        assert screen.rows[2].startswith(">")
        await screen.press("escape")
        assert screen.app.place.view == "processes"
        assert screen.app.place.terms == ""
        assert screen.rows[2].startswith(">")
        await screen.press("escape", "escape")
        assert screen.app.place.view == "names"

    play(act)


@pytest.mark.parametrize(
    ("key", "terms"),
    [
        ("1", "name=wait4"),
        ("2", "pid=10"),
        ("3", "path=/out.o"),
        ("4", "peer=127.0.0.1:80"),
        ("5", "error=ENOENT name=openat"),
    ],
)
def test_links(key: str, terms: str) -> None:
    async def act(screen: Screen) -> None:
        await screen.press(key, "enter")
        assert (screen.app.place.view, screen.app.place.terms) == ("calls", terms)
        assert screen.rows

    play(act)


def test_one_call_in_full() -> None:
    async def act(screen: Screen) -> None:
        await screen.type("path=/src/a.h name=openat")
        await screen.press("enter", "6", "enter")
        text = screen.text
        assert 'openat(0, "/src/a.h", O_RDONLY) = 3' in text
        for line in (
            "took        20.0 us (20,000 ns)",
            "process     10",
            "descriptor  3",
            "its file    /src/a.h",
            "sequence    21 in its thread",
            "(+0.050000000 s)",
            "1  0x0000000000001234  4660",
        ):
            assert line in text, text
        await screen.press("p")
        assert (screen.app.place.view, screen.app.place.terms) == ("processes", "pid=10")
        await screen.press("escape", "f")
        assert screen.app.place.terms == "path=/src/a.h"

    play(act)


def test_a_call_that_does_not_return() -> None:
    async def act(screen: Screen) -> None:
        await screen.press("6", "end", "enter")
        assert "it did not return" in screen.text

    play(act)


def test_parent() -> None:
    async def act(screen: Screen) -> None:
        await screen.press("2", "down", "p")
        assert screen.app.place.terms == "pid=10"
        await screen.press("p")
        assert screen.app.place.terms == "pid=1"
        assert "nothing is left" in screen.status

    play(act)


def test_filter_as_you_type() -> None:
    async def act(screen: Screen) -> None:
        await screen.type("name=write")
        assert [row.split()[1] for row in screen.rows] == ["write"]
        assert screen.app.place.terms == "name=write"
        await screen.press("enter", "6")
        assert screen.status.startswith("1 of 300")
        await screen.type(" >1s")
        assert "nothing is left by this filter" in screen.status

    play(act)


def test_keys_are_text_in_the_filter() -> None:
    async def act(screen: Screen) -> None:
        await screen.type("q12rp?")
        assert screen.app.place.terms == "q12rp?"
        assert screen.app.place.view == "names"
        await screen.press("escape", "2")
        assert screen.app.place.view == "processes"

    play(act)


def test_a_wrong_term_is_explained() -> None:
    async def act(screen: Screen) -> None:
        await screen.type("nmae=read")
        assert "there is no column 'nmae'; did you mean name?" in screen.status
        assert len(screen.rows) == 10, "what was there stays"
        await screen.press("enter", "2")
        assert screen.app.place.view == "processes"
        assert len(screen.rows) == 3

    play(act)


def test_sorting() -> None:
    async def act(screen: Screen) -> None:
        assert "time▼" in screen.lines[3]
        await screen.press("<")
        assert "failed▼" in screen.lines[3]
        await screen.press("<")
        assert "calls▼" in screen.lines[3]
        assert screen.rows[0].split()[1] == "write"
        await screen.press("r")
        assert "calls▲" in screen.lines[3]
        assert screen.rows[-1].split()[0] == "write"
        await screen.press("<", "<")
        assert "by name" in screen.status or "by per s" in screen.status
        await screen.pilot.click(Grid, offset=(28, 0))
        await screen.settle()
        assert "calls▼" in screen.lines[3]

    play(act)


def test_sql_is_shown_and_copied() -> None:
    async def act(screen: Screen) -> None:
        await screen.type("name=write")
        await screen.press("enter", "y")
        page = screen.app.screen
        assert isinstance(page, Page)
        assert page.text == screen.app.clipboard
        rows = screen.app.source.rows(page.text)
        assert [row[0] for row in rows] == ["write"]
        await screen.press("y", "escape")
        await screen.press("8", "y")
        assert isinstance(screen.app.screen, Page)
        assert screen.app.source.rows(screen.app.screen.text)

    play(act)


def test_help_fits() -> None:
    async def act(screen: Screen) -> None:
        await screen.press("?")
        assert isinstance(screen.app.screen, Page)
        assert all(len(line) < 78 for line in screen.app.screen.text.splitlines())
        await screen.press("down", "up", "q")
        assert not isinstance(screen.app.screen, Page)
        await screen.press("f1")
        assert isinstance(screen.app.screen, Page)

    play(act)


def test_q_quits() -> None:
    async def act(screen: Screen) -> None:
        await screen.pilot.press("q")
        await screen.pilot.pause(0.1)
        assert not screen.app.is_running

    play(act)


def test_timeline() -> None:
    async def act(screen: Screen) -> None:
        await screen.press("8")
        lines = screen.app.query_one(Timeline)
        assert "by process" in screen.lines[3] and "0.960000 s" in screen.lines[3]
        assert screen.lines[5].startswith("> all calls")
        assert "cc 11" in screen.lines[6]
        assert "all calls: " in screen.status
        await screen.press("down", *["right"] * 12)
        assert screen.status.endswith("/s") and "cc 11: " in screen.status
        before = lines.bounds()
        await screen.press("+")
        assert lines.high - lines.low < 960_000_000
        assert lines.bounds()[0] <= before[1] and lines.bounds()[1] >= before[0]
        await screen.press("enter")
        assert screen.app.place.view == "calls"
        assert "pid=11" in screen.app.place.terms and "after=" in screen.app.place.terms
        await screen.press("escape", "-", "-")
        assert (lines.low, lines.high) == lines.whole
        for name in ("name", "family", "error", "process"):
            await screen.press("g")
            assert f"by {name}" in screen.lines[3]

    play(act)


def test_timeline_by_error_leads_to_calls() -> None:
    async def act(screen: Screen) -> None:
        await screen.press("8", "g", "g", "g", "down")
        assert "(no error)" in screen.lines[6]
        await screen.press("enter")
        assert "!error=*" in screen.app.place.terms

    play(act)


def test_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cursor and what fails can be told apart by characters alone."""
    monkeypatch.setitem(os.environ, "NO_COLOR", "1")

    async def act(screen: Screen) -> None:
        assert screen.rows[0].startswith(">")
        await screen.press("8")
        assert "!" in screen.lines[5]

    play(act)


def test_many_pages() -> None:
    """A log of many pages: only what is looked at is fetched, and the end is the end."""
    log = Fake()
    for i in range(5000):
        log.call(i / 1000, "read", ret=i)
    log.process(10, 1, 0, 5)

    async def act(screen: Screen) -> None:
        await screen.press("6", "end")
        assert screen.rows[-1].split()[4] == "4999"
        assert screen.status.startswith("5,000 of 5,000")
        await screen.press("pageup", "home", "space", "r", "end")
        assert screen.rows[-1].split()[4] == "0"
        grid = screen.app.query_one(Grid)
        assert len(grid._pages) <= 4

    play(act, log)


def test_mouse_and_tabs() -> None:
    async def act(screen: Screen) -> None:
        await screen.press("tab")
        assert screen.app.place.view == "processes"
        await screen.press("shift+tab")
        await screen.pilot.click(Grid, offset=(5, 2))
        await screen.settle()
        assert screen.rows[1].startswith(">")
        await screen.pilot.click(Grid, offset=(5, 2))
        await screen.settle()
        assert screen.app.place.view == "calls"

    play(act)


def test_reading_again() -> None:
    log = sample()

    async def act(screen: Screen) -> None:
        log.connection.execute("DELETE FROM calls WHERE pid = 11")
        await screen.press("R")
        assert "30 calls" in screen.lines[0]

    play(act, log)


def test_empty_log() -> None:
    async def act(screen: Screen) -> None:
        for number in range(1, 9):
            await screen.press(str(number), "down", "enter", "p", "f", "r")
        assert screen.app.is_running

    play(act, Fake())


def test_control_characters_do_not_reach_the_terminal() -> None:
    log = sample()
    log.call(0.9, "openat", path="/tmp/\x1b[2Jevil\n[red]", ret=3)

    async def act(screen: Screen) -> None:
        await screen.press("3")
        assert "\x1b" not in screen.text
        assert "\\x1b[2Jevil\\n[red]" in screen.text
        await screen.type("evil")
        await screen.press("enter", "6", "enter")
        assert "\x1b" not in screen.text

    play(act, log, size=(120, 30))


def test_errors_of_the_log_are_said() -> None:
    class Broken(Fake):
        def sql(self, query: str) -> Any:
            if "longest_ns" in query:
                raise LogError("the disk is gone")
            return super().sql(query)

    log = Broken()
    log.call(0, "read")

    async def act(screen: Screen) -> None:
        assert "the disk is gone" in screen.status

    play(act, log)


def test_begins_where_it_is_told() -> None:
    async def act(screen: Screen) -> None:
        assert screen.status.startswith("1 of 300")

    play(act, terms="name=write", view="calls")

# SPDX-License-Identifier: Apache-2.0
"""Pages of text over `lsca view`: help, the SQL of what is shown, one call in full. Escape leads back."""

import time
from typing import Any, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from lsca.log.units import duration, number
from lsca.tui.grid import printable
from lsca.tui.source import Call

HELP: Final = """\
WHERE YOU ARE
  1 names    2 processes   3 files    4 peers
  5 errors   6 calls       7 slowest  8 timeline
  Tab  Shift-Tab   the next of them, the one before
  Enter            what is behind the row: its calls; of a call, all of it
  p  f             of a call: its process, its file; of a process: its parent
  Escape           back to where you came from

ROWS
  Up Down PageUp PageDown Home End, or j k Space
  <  >  r          sort by the next column to the left, right; turn around
  y                show the SQL of what you see, and copy it

FILTER
  /                type, and see; Enter or Escape when done; Ctrl-U empties
  passwd           a word, anywhere in names, paths, addresses, commands
  name=read,write  either; so do error= family= route= path= file= peer=
                   argv= program=
  path=*.so        * and ? stand for anything; path~lib has it somewhere
  pid=12  fd<3     numbers: pid tid fd ret bytes (64k) nr run thread seq arg0
  >1ms             took longer; duration<10us
  after=1.2s       and before=: since the log begins
  error=*          failed; !error=* did not; trapped=yes
  !name=read       turned around. Terms side by side must all hold; "quotes"
                   keep spaces

TIMELINE
  arrows           a cell; the line at the bottom says what it counts
  +  -  g          zoom in, out; group by process, name, family, error
  Enter            the calls of that cell

OTHER
  R  read the log anew (while it grows)    ?  this page    q  quit
"""


class Page(Screen[str]):
    """A text to scroll through. Left with Escape or q, or by a key that the opener asked for, which is the result."""

    DEFAULT_CSS = """
    Page > .page--title { height: 1; text-style: bold reverse; }
    Page > VerticalScroll { height: 1fr; scrollbar-size-vertical: 1; }
    Page > VerticalScroll > Static { padding: 0 1; }
    Page > .page--keys { height: 1; color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,backspace", "dismiss('')", show=False),
        Binding("p", "leave('p')", show=False),
        Binding("f", "leave('f')", show=False),
        Binding("y", "copy", show=False),
        Binding("down,j", "scroll(1)", show=False),
        Binding("up,k", "scroll(-1)", show=False),
    ]

    def __init__(self, title: str, text: str, keys: str = "", leave: str = "") -> None:
        super().__init__()
        self.heading, self.text = title, text
        self._keys = f"Escape back  y copy{keys}"
        self._leave = leave

    def compose(self) -> ComposeResult:
        yield Static(f" {self.heading}", classes="page--title", markup=False)
        with VerticalScroll():
            yield Static(self.text, markup=False)
        yield Static(f" {self._keys}", classes="page--keys", markup=False)

    def action_scroll(self, by: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)

    def action_leave(self, key: str) -> None:
        if key in self._leave:
            self.dismiss(key)

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self.text)
        self.notify("Copied, if your terminal allows it (OSC 52).")


def help_page() -> Page:
    return Page("lsca view: keys", HELP)


def sql_page(sql: str) -> Page:
    """Copied when it is shown, see ViewApp.action_sql."""
    return Page("the SQL of what is shown, for `lsca sql`", sql)


def call_page(call: Call, begin_ns: int) -> Page:
    """One call with everything that the log has of it."""
    columns = call.columns
    title = f"{columns['name']}, call {columns['seq']} of thread {columns['tid']}"
    return Page(
        title, call_text(call, begin_ns), "  p its process  f calls of its file", leave="pf"
    )


def call_text(call: Call, begin_ns: int) -> str:
    columns = call.columns
    took = columns["duration_ns"]
    start = columns["start_ns"]
    facts: list[tuple[str, Any]] = [
        ("start", f"{_clock(start)} (+{(start - begin_ns) / 1e9:.9f} s)"),
        ("end", "it did not return" if took is None else _clock(start + took)),
        ("took", "" if took is None else f"{duration(took)} ({number(took)} ns)"),
        ("process", columns["pid"]),
        ("thread", f"{columns['tid']}, number {columns['thread']} of the run"),
        ("sequence", f"{columns['seq']} in its thread"),
        ("run", columns["run"] or ""),
        ("path", columns["path"]),
        ("second path", columns["path2"]),
        ("descriptor", columns["fd"]),
        ("its file", columns["file"]),
        ("address", columns["address"]),
        ("command", columns["argv"]),
        ("bytes", number(columns["bytes"])),
        ("returned", "" if columns["ret"] is None else f"{columns['ret']} ({columns['ret']:#x})"),
        ("error", columns["error"]),
        ("family", columns["family"]),
        ("route", columns["route"] + (", by a signal" if columns["trapped"] else "")),
        ("number", columns["nr"]),
    ]
    lines = [f"{call.text} = {call.result}", ""]
    lines += [f"{name:12}{value}" for name, value in facts if value not in (None, "")]
    lines += ["", "raw arguments"]
    lines += [
        f"  {number_}  {value:#018x}  {value}"
        for number_ in range(6)
        if (value := columns[f"arg{number_}"]) is not None
    ]
    return "\n".join(printable(line) for line in lines)


def _clock(ns: int) -> str:
    seconds, rest = divmod(ns, 10**9)
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) + f".{rest:09d}"

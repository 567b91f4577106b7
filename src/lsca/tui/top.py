# SPDX-License-Identifier: Apache-2.0
"""`lsca top`: the processes of all runs and their calls a second, drawn anew each second.

The daemon is asked in a worker thread, and asked again as long as it is away. Enter on a process whose run writes a log
ends the program with that log and process, for `lsca view`.
"""

from typing import Any, ClassVar, Final

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from lsca.errors import LscaError
from lsca.log.units import duration, number, rate
from lsca.tui.follow import Failures
from lsca.tui.grid import Grid
from lsca.tui.pages import Page
from lsca.tui.queries import PAGE, Column
from lsca.tui.rates import Moment, Process, Snapshot, compare, headline, logs, snapshot

COLUMNS: Final = (
    Column("pid", "pid", 7),
    Column("command", "command", 15, right=False, flexible=True),
    Column("calls/s", "rate", 8, rate),
    Column("kernel", "kernel", 8, rate, rank=1),
    Column("proxy", "proxy", 8, rate, rank=1),
    Column("local", "local", 8, rate, rank=1),
    Column("handler", "handler", 7, rate, rank=3),
    Column("failed/s", "errors", 8, lambda n: "-" if n is None else rate(n)),
    Column("calls", "calls", 10, number),
    Column("route", "route", 9, right=False, rank=2),
    Column("run", "run", 7, rank=2),
    Column("since", "age", 7, lambda seconds: duration(seconds * 1e9), rank=2),
)
NAMES: Final = [column.name for column in COLUMNS]
NOBODY: Final = (
    "Nothing runs. In another terminal: lsca run PROGRAM\n"
    "Runs are seen that began after `lsca daemon`."
)
HELP: Final = """\
The processes of all runs that have joined the daemon, and how many calls each
makes a second, by who completes them.

  < >     sort by the column to the left, to the right;  r  turns it around
  Enter   look at the log of the run, if it writes one (`lsca run -o FILE`)
  Space   stop the clock, and let it go on
  q       quit

failed/s is known only for runs that write a log.
"""


class TopApp(App[tuple[str, int] | None]):
    """The program; its result is a log and a process to look at, or None."""

    ENABLE_COMMAND_PALETTE = False
    TITLE = "lsca top"
    CSS = """
    #head, #keys, #status { height: 1; }
    #head { text-style: bold; }
    #keys { color: $text-muted; }
    #nobody { padding: 1 2; height: 1fr; }
    Grid { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,escape", "quit", show=False),
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("less_than_sign", "sort(-1)", show=False),
        Binding("greater_than_sign", "sort(1)", show=False),
        Binding("r", "turn", show=False),
        Binding("space", "hold", show=False, priority=True),
        Binding("question_mark,f1", "help", show=False),
    ]

    def __init__(self, socket: str, delay: float = 1.0) -> None:
        super().__init__()
        self._socket, self._delay = socket, delay
        self._before: Snapshot | None = None
        self._failures = Failures()
        self._moment = Moment(0, (), 0, 0)
        self._shown: list[Process] = []
        self._asking = False
        self._held = False
        self._sort, self._descending = "rate", True

    def compose(self) -> ComposeResult:
        yield Static(" lsca top", id="head", markup=False)
        yield Static(NOBODY, id="nobody", markup=False)
        yield Grid(id="grid")
        yield Static("", id="status", markup=False)
        yield Static(
            " ? help  < > sort  r turn  Enter log  Space hold  q quit", id="keys", markup=False
        )

    def on_mount(self) -> None:
        self.query_one(Grid).display = False
        self.set_interval(self._delay, self.ask)
        self.ask()

    def ask(self) -> None:
        """Asks the daemon, unless the last answer is still to come."""
        if not self._asking and not self._held:
            self._asking = True
            self.run_worker(self._ask, thread=True)

    def _ask(self) -> None:
        try:
            after = snapshot(self._socket)
            failed = self._failures.look(logs(after))
        except LscaError as error:
            self.call_from_thread(self._away, str(error))
            return
        self.call_from_thread(self._show, compare(self._before, after, failed), after)

    def _away(self, words: str) -> None:
        self._asking = False
        self._before = None
        self.query_one("#head", Static).update(" lsca top: no daemon")
        self._draw(Moment(0, (), 0, 0), words)

    def _show(self, moment: Moment, after: Snapshot) -> None:
        self._asking = False
        self._before = after
        self.query_one("#head", Static).update(f" {headline(moment)}")
        self._draw(moment, NOBODY)

    def _draw(self, moment: Moment, otherwise: str) -> None:
        """The table, or a text if there is nothing for it; the cursor stays with its process."""
        grid, nobody = self.query_one(Grid), self.query_one("#nobody", Static)
        here = self._here()
        self._moment = moment
        self._shown = sorted(
            moment.processes,
            key=lambda p: (_key(_row(p)[NAMES.index(self._sort)]), p.pid),
            reverse=self._descending,
        )
        at = next((i for i, p in enumerate(self._shown) if here and p.pid == here.pid), grid.cursor)
        grid.display, nobody.display = bool(self._shown), not self._shown
        nobody.update(otherwise)
        rows = [_row(process) for process in self._shown]
        grid.show(COLUMNS, len(rows), self._sort, self._descending, at)
        for page in range(0, len(rows), PAGE):
            grid.fill(page // PAGE, rows[page : page + PAGE])
        if rows and self.focused is None:
            grid.focus()

    def _here(self) -> Process | None:
        at = self.query_one(Grid).cursor
        return self._shown[at] if at < len(self._shown) else None

    def on_grid_chosen(self) -> None:
        here = self._here()
        if here is None:
            return
        if here.log is None:
            self._say(f"run {here.run} writes no log; lsca run -o FILE does")
        else:
            self.exit((here.log, here.pid))

    def on_grid_title_chosen(self, message: Grid.TitleChosen) -> None:
        if message.column.name == self._sort:
            self.action_turn()
        else:
            self._order(message.column)

    def action_sort(self, by: int) -> None:
        grid = self.query_one(Grid)
        columns = [column for _, column, _ in grid.places(grid.size.width)]
        names = [column.name for column in columns]
        at = names.index(self._sort) if self._sort in names else 0
        if columns:
            self._order(columns[(at + by) % len(columns)])

    def action_turn(self) -> None:
        self._descending = not self._descending
        self._draw(self._moment, NOBODY)

    def action_hold(self) -> None:
        self._held = not self._held
        self._say("held; Space goes on" if self._held else "")

    def action_help(self) -> None:
        self.push_screen(Page("lsca top: keys", HELP))

    def _order(self, column: Column) -> None:
        self._sort, self._descending = column.name, column.right
        self._draw(self._moment, NOBODY)

    def _say(self, text: str) -> None:
        self.query_one("#status", Static).update(f" {text}")


def _row(process: Process) -> tuple[Any, ...]:
    return (
        process.pid,
        process.command,
        process.rate,
        *process.rates,
        process.failed,
        process.calls,
        process.route,
        process.run,
        process.age,
    )


def _key(value: Any) -> tuple[bool, Any]:
    """What is not known comes last among the large."""
    return value is not None, value if value is not None else 0

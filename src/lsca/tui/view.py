# SPDX-License-Identifier: Apache-2.0
"""`lsca view`: a log as tables and a timeline, with a filter, links from one to the other, and a way back.

What is shown is a Place: a view, a filter, an order. Each place is one question to the log, asked in a worker thread;
the answer is dropped if the user is elsewhere by then.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Input, Static

from lsca.errors import LscaError
from lsca.log.units import duration, number
from lsca.tui.filter import Context, FilterError, term, where
from lsca.tui.grid import Grid
from lsca.tui.pages import call_page, help_page, sql_page
from lsca.tui.queries import BY_NAME, MANY, PAGE, VIEWS, View, bin_width, histogram, timeline
from lsca.tui.source import Call, Interrupted, Overview, Source
from lsca.tui.timeline import Timeline

TABS: Final = (*[view.name for view in VIEWS], "timeline")
BINS: Final = 2000
DELAY: Final = 0.15  # seconds after the last key in the filter


@dataclass(frozen=True, slots=True)
class Place:
    """What is shown."""

    view: str
    terms: str = ""
    sort: str = ""
    descending: bool = False
    cursor: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The beginning of what a place shows, and where in time its rows are."""

    rows: list[tuple[Any, ...]]
    total: int
    bins: list[tuple[int, int]]


class ViewApp(App[None]):
    """The program. `source` has been opened; it is asked in worker threads only."""

    ENABLE_COMMAND_PALETTE = False
    TITLE = "lsca view"
    CSS = """
    Screen { layout: vertical; }
    #head, #tabs, #status, #keys { height: 1; }
    #head { text-style: bold; }
    #filter-line { height: 1; }
    #filter-mark { width: 9; }
    #filter { width: 1fr; }
    #status.bad { color: $text-error; text-style: bold; }
    #keys { color: $text-muted; }
    Grid, Timeline { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *[Binding(str(i + 1), f"go('{name}')", show=False) for i, name in enumerate(TABS)],
        Binding("tab", "next(1)", show=False, priority=True),
        Binding("shift+tab", "next(-1)", show=False, priority=True),
        Binding("slash", "filter", show=False),
        Binding("escape,backspace", "return", show=False),
        Binding("less_than_sign", "sort(-1)", show=False),
        Binding("greater_than_sign", "sort(1)", show=False),
        Binding("r", "turn", show=False),
        Binding("R", "again", show=False),
        Binding("p", "process", show=False),
        Binding("f", "file", show=False),
        Binding("y", "sql", show=False),
        Binding("question_mark,f1", "help", show=False),
        Binding("q", "quit", show=False),
        Binding("ctrl+c", "quit", show=False, priority=True),
    ]

    def __init__(self, source: Source, terms: str = "", view: str = "names") -> None:
        super().__init__()
        self.source = source
        self.place = _place(view, terms)
        self.history: list[Place] = []
        self.overview = Overview(0, 1, 0, 0, 0, 0)
        self.where = ""
        self._generation = 0
        self._answer = Answer([], 0, [])
        self._shown = (
            self.place
        )  # whose rows the grid has: the answer to `place` may not be here yet
        self._looked = False

    def compose(self) -> ComposeResult:
        yield Static(f" lsca view {self.source.title}", id="head", markup=False)
        yield Static(self._tabs(), id="tabs")
        with Horizontal(id="filter-line"):
            yield Static(" filter: ", id="filter-mark")
            yield Input(
                self.place.terms, placeholder="/ to type; ? for help", id="filter", compact=True
            )
        yield Grid(id="grid")
        yield Timeline(id="timeline")
        yield Static(" reading ...", id="status", markup=False)
        yield Static(
            " ? help  / filter  Enter open  Esc back  < > sort  r turn  y SQL  q quit",
            id="keys",
            markup=False,
        )

    def on_mount(self) -> None:
        self.query_one(Timeline).display = False
        self.query_one(Grid).focus()
        self.action_again()

    # ---- where we are

    @property
    def view(self) -> View | None:
        """The table that is shown; None for the timeline."""
        return BY_NAME.get(self.place.view)

    def go(self, place: Place, *, remember: bool = True) -> None:
        """Shows another place, and keeps the way back."""
        if remember:
            self.history.append(replace(self.place, cursor=self.query_one(Grid).cursor))
        self.place = place
        field = self.query_one("#filter", Input)
        if field.value != place.terms:
            with field.prevent(Input.Changed):
                field.value = place.terms
        self.ask()

    def ask(self) -> None:
        """Puts the question of the place to the log."""
        try:
            self.where = where(self.place.terms, Context(self.overview.begin_ns))
        except FilterError as error:
            self._say(str(error), bad=True)
            return
        grid, lines = self.query_one(Grid), self.query_one(Timeline)
        is_table = self.view is not None
        had_focus = self.focused in (grid, lines) or self.focused is None
        grid.display, lines.display = is_table, not is_table
        if had_focus:
            (grid if is_table else lines).focus()
        self.query_one("#tabs", Static).update(self._tabs())
        if not self._looked:
            return
        self._generation += 1
        self._say("counting ...")
        if is_table:
            self._ask_table()
        else:
            self._ask_timeline()

    def _ask_table(self) -> None:
        view, place, condition = self.view, self.place, self.where
        assert view is not None

        def question() -> Answer:
            rows = self.source.rows(self._page_sql(place, condition, 0, narrow=True))
            bins: list[tuple[int, int]] = []
            if not view.counted:
                asked = self.source.rows(histogram(condition, self.overview, BINS))
                bins = [(at, calls) for at, calls in asked]
                total = sum(calls for _, calls in bins)
            else:
                total = rows[0][-1] if rows else 0
            return Answer(rows, total, bins)

        def show(answer: Answer) -> None:
            self._answer, self._shown = answer, place
            grid = self.query_one(Grid)
            grid.show(view.columns, answer.total, place.sort, place.descending, place.cursor)
            self._fill(place, 0, answer.rows)
            self._position()

        self._work(question, show, stop=True)

    def _fill(self, place: Place, page: int, rows: list[tuple[Any, ...]]) -> None:
        """Rows that have come, and the question for what comes late."""
        view, grid = BY_NAME[place.view], self.query_one(Grid)
        grid.fill(page, rows)
        if rows and self._is_narrow(place):
            self._work(
                lambda: view.completed(rows, self.source.rows(view.rest(rows))),
                lambda complete: grid.fill(page, complete),
                stop=False,
            )

    def _is_narrow(self, place: Place) -> bool:
        view = BY_NAME[place.view]
        return bool(view.late) and self.overview.calls > MANY and place.sort != "about"

    def _ask_timeline(self) -> None:
        lines, condition, overview = self.query_one(Timeline), self.where, self.overview
        bins, window, grouping = lines.bins, (lines.low, lines.high), lines.grouping

        def question() -> list[tuple[Any, ...]]:
            return self.source.rows(timeline(condition, overview, grouping, *window, bins))

        self._work(question, lambda rows: lines.show(rows, bins), stop=True)

    def _page_sql(self, place: Place, condition: str, offset: int, narrow: bool = False) -> str:
        """The question for rows from `offset` on. Far down in the order of time, counting from there saves sorting."""
        view = BY_NAME[place.view]
        if offset and place.sort == "begin_ns" and not place.descending and not view.counted:
            before = 0
            for at, calls in self._answer.bins:
                if before + calls > offset:
                    moment = self.overview.begin_ns + at * bin_width(self.overview, BINS)
                    start = f"start >= make_timestamp_ns({moment})"
                    condition = f"{condition} AND {start}" if condition else start
                    offset -= before
                    break
                before += calls
        ask = view.narrow if narrow and self._is_narrow(place) else view.sql
        return ask(condition, self.overview, place.sort, place.descending, PAGE, offset)

    def _work(
        self, question: Callable[[], Any], show: Callable[[Any], None], *, stop: bool
    ) -> None:
        """Asks in a thread; shows the answer if nothing else has been asked meanwhile."""
        generation = self._generation
        if stop:
            self.source.interrupt()

        def run() -> None:
            if generation != self._generation:
                return
            try:
                answer = question()
            except Interrupted:
                return
            except LscaError as error:
                words = str(error).split("\n")[0]
                self.call_from_thread(self._say, words, True)
                return
            self.call_from_thread(finish, answer)

        def finish(answer: Any) -> None:
            if generation == self._generation:
                show(answer)

        self.run_worker(run, thread=True, exit_on_error=True)

    # ---- what the widgets say

    def on_grid_wanted(self, message: Grid.Wanted) -> None:
        page, place, condition = message.page, self.place, self.where

        def question() -> list[tuple[Any, ...]]:
            return self.source.rows(self._page_sql(place, condition, page * PAGE, narrow=True))

        self._work(question, lambda rows: self._fill(place, page, rows), stop=False)

    def on_grid_moved(self) -> None:
        self._position()

    def on_grid_title_chosen(self, message: Grid.TitleChosen) -> None:
        name = message.column.name
        if name == self.place.sort:
            self.action_turn()
        else:
            self._order(name)

    def on_grid_chosen(self) -> None:
        fields = self._fields()
        if fields is None:
            return
        view = BY_NAME[self._shown.view]
        if view.link is not None:
            terms = view.link(fields)
            if self.overview.runs > 1 and "run" in fields:
                terms.append(term("run", fields["run"]))
            self.go(_place("calls", _joined(self.place.terms, terms)))
            return
        run, thread, seq = fields["run"], fields["thread"], fields["seq"]

        def show(call: Call) -> None:
            self.push_screen(call_page(call, self.overview.begin_ns), leave)

        def leave(key: str | None) -> None:
            if key == "p":
                self.action_process()
            elif key == "f":
                self.action_file()

        self._work(
            lambda: self.source.call(run, thread, seq),
            show,
            stop=False,
        )

    def on_timeline_asked(self) -> None:
        self.ask()

    def on_timeline_moved(self) -> None:
        if self.view is None:
            self._say(self.query_one(Timeline).words())

    def on_timeline_chosen(self) -> None:
        terms = self.query_one(Timeline).terms()
        self.go(_place("calls", _joined(self.place.terms, terms)))

    def on_input_changed(self, message: Input.Changed) -> None:
        text = message.value
        self.set_timer(DELAY, lambda: self._typed(text))

    def on_input_submitted(self) -> None:
        self._typed(self.query_one("#filter", Input).value)
        self._focus_rows()

    def _typed(self, text: str) -> None:
        if text != self.query_one("#filter", Input).value or text == self.place.terms:
            return
        try:
            where(text, Context(self.overview.begin_ns))
        except FilterError as error:
            self._say(str(error), bad=True)
            return
        self.place = replace(self.place, terms=text, cursor=0)
        self.ask()

    # ---- keys

    def action_go(self, name: str) -> None:
        if name != self.place.view:
            self.go(_place(name, self.place.terms))

    def action_next(self, by: int) -> None:
        if len(self.screen_stack) == 1:
            self.action_go(TABS[(TABS.index(self.place.view) + by) % len(TABS)])

    def action_filter(self) -> None:
        self.query_one("#filter", Input).focus()

    def action_return(self) -> None:
        if self.focused is self.query_one("#filter", Input):
            self._focus_rows()
        elif self.history:
            self.go(self.history.pop(), remember=False)

    def action_sort(self, by: int) -> None:
        if self.view is not None:
            grid = self.query_one(Grid)
            names = [column.name for _, column, _ in grid.places(grid.size.width)]
            at = names.index(self.place.sort) if self.place.sort in names else 0
            self._order(names[(at + by) % len(names)])

    def action_turn(self) -> None:
        if self.view is not None:
            self.place = replace(self.place, descending=not self.place.descending, cursor=0)
            self.ask()

    def action_again(self) -> None:
        """Looks at the log as it is now."""

        def question() -> tuple[Overview, dict[int, str]]:
            return self.source.look(), self.source.programs()

        def show(found: tuple[Overview, dict[int, str]]) -> None:
            self.overview, names = found
            lines = self.query_one(Timeline)
            lines.names = names
            lines.cover(self.overview.end_ns - self.overview.begin_ns)
            self._looked = True
            self._head()
            self.ask()

        self._work(question, show, stop=True)

    def action_process(self) -> None:
        fields = self._fields()
        if fields is None:
            return
        pid = fields.get("pid")
        if self.place.view == "processes":
            pid = fields.get("parent")
        if pid:
            self.go(_place("processes", term("pid", pid)))

    def action_file(self) -> None:
        fields = self._fields()
        about = fields and (fields.get("about") or fields.get("path"))
        if about and about.startswith("/"):
            self.go(_place("calls", term("path", about)))
        elif fields is not None:
            self._say("no file belongs to this row", bad=True)

    def action_sql(self) -> None:
        if self.view is None:
            lines = self.query_one(Timeline)
            sql = timeline(
                self.where, self.overview, lines.grouping, lines.low, lines.high, lines.bins
            )
        else:
            sql = self._page_sql(self.place, self.where, 0)
        self.copy_to_clipboard(sql)
        self.push_screen(sql_page(sql))

    def action_help(self) -> None:
        self.push_screen(help_page())

    # ---- the lines around

    def _order(self, name: str) -> None:
        assert self.view is not None
        numeric = self.view.column(name).right
        self.place = replace(self.place, sort=name, descending=numeric, cursor=0)
        self.ask()

    def _focus_rows(self) -> None:
        (self.query_one(Grid) if self.view else self.query_one(Timeline)).focus()

    def _fields(self) -> dict[str, Any] | None:
        row = self.query_one(Grid).row()
        if row is None or self._shown.view != self.place.view:
            return None
        return BY_NAME[self._shown.view].fields(row)

    def _tabs(self) -> str:
        parts = []
        for at, name in enumerate(TABS, 1):
            text = f"{at} {name}"
            here = name == self.place.view
            parts.append(
                f"[reverse bold]{text}[/]" if here else f"[@click=app.go('{name}')]{text}[/]"
            )
        return " " + " ".join(parts)

    def _head(self) -> None:
        overview = self.overview
        failed = f", {number(overview.errors)} failed" if overview.errors else ""
        self.query_one("#head", Static).update(
            f" lsca view {self.source.title}: {number(overview.calls)} calls{failed}, "
            f"{number(overview.processes)} processes, {duration(overview.seconds * 1e9)}"
        )

    def _position(self) -> None:
        grid = self.query_one(Grid)
        if self.view is None or self._shown != replace(self.place, cursor=self._shown.cursor):
            return
        if not grid.total:
            self._say("nothing is left by this filter" if self.place.terms else "nothing here")
            return
        order = "largest first" if self.place.descending else "smallest first"
        title = next((c.title for c in self.view.columns if c.name == self.place.sort), "")
        self._say(f"{number(grid.cursor + 1)} of {number(grid.total)}, by {title}, {order}")

    def _say(self, text: str, bad: bool = False) -> None:
        status = self.query_one("#status", Static)
        status.update(f" {text}")
        status.set_class(bad, "bad")


def _place(view: str, terms: str = "") -> Place:
    table = BY_NAME.get(view)
    if table is None:
        return Place(view, terms)
    return Place(view, terms, table.sort, table.descending)


def _joined(terms: str, more: list[str]) -> str:
    """A filter with further terms; those that it has already are not said twice."""
    new = [one for one in more if f" {one} " not in f" {terms} "]
    return " ".join([*([terms.strip()] if terms.strip() else []), *new])

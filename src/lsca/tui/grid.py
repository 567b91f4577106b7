# SPDX-License-Identifier: Apache-2.0
"""A table of any number of rows, of which it holds the few that are, or lately were, on the screen.

It asks for the rows that it lacks with the message Wanted and shows dots until they come. The row of the cursor is
marked by a character too, for terminals without colours.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from rich.cells import set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from lsca.tui.queries import PAGE, Column

PAGES: Final = 40  # that are kept
MARGIN: Final = 2
GAP: Final = 1


class Grid(ScrollView, can_focus=True):
    """Rows under fixed titles, with a cursor."""

    DEFAULT_CSS = """
    Grid { overflow-x: hidden; overflow-y: scroll; scrollbar-size-vertical: 1; }
    Grid > .grid--title { text-style: bold underline; color: $text-accent; }
    Grid > .grid--cursor { text-style: bold reverse; }
    Grid > .grid--bad { color: $text-error; text-style: bold; }
    Grid > .grid--dim { color: $text-muted; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "grid--title",
        "grid--cursor",
        "grid--bad",
        "grid--dim",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown,space", "page(1)", show=False),
        Binding("home", "move_to(0)", show=False),
        Binding("end", "move_to(-1)", show=False),
        Binding("enter", "choose", show=False),
    ]

    class Wanted(Message):
        """Rows from page * PAGE on are to be shown and are not here."""

        def __init__(self, page: int) -> None:
            super().__init__()
            self.page = page

    class Moved(Message):
        """The cursor is on another row."""

    class Chosen(Message):
        """Enter, or a click on the row of the cursor."""

    class TitleChosen(Message):
        """A click on a title."""

        def __init__(self, column: Column) -> None:
            super().__init__()
            self.column = column

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.columns: Sequence[Column] = ()
        self.total = 0
        self.cursor = 0
        self.sort = ""
        self.descending = False
        self._pages: OrderedDict[int, list[tuple[Any, ...]]] = OrderedDict()
        self._asked: set[int] = set()
        self._bad: int | None = None

    def show(
        self, columns: Sequence[Column], total: int, sort: str, descending: bool, cursor: int = 0
    ) -> None:
        """Another table; its rows come by `fill`."""
        self.columns, self.total = columns, total
        self.sort, self.descending = sort, descending
        self._pages.clear()
        self._asked.clear()
        names = [column.name for column in columns]
        self._bad = names.index("errors") if "errors" in names else None
        self.cursor = min(cursor, max(total - 1, 0))
        self.virtual_size = Size(self.size.width, total + 1)
        self._reveal()
        self.refresh()

    def fill(self, page: int, rows: list[tuple[Any, ...]]) -> None:
        """The rows of a page that was wanted."""
        self._asked.discard(page)
        self._pages[page] = rows
        while len(self._pages) > PAGES:
            self._pages.popitem(last=False)
        self.refresh()
        if self.cursor // PAGE == page:
            self.post_message(self.Moved())

    def row(self, index: int | None = None) -> tuple[Any, ...] | None:
        """A row, by default that of the cursor; None if it is not here (yet)."""
        index = self.cursor if index is None else index
        rows = self._pages.get(index // PAGE, [])
        at = index % PAGE
        return rows[at] if at < len(rows) else None

    def action_move(self, by: int) -> None:
        self._go(self.cursor + by)

    def action_page(self, by: int) -> None:
        self._go(self.cursor + by * max(self.size.height - 2, 1))

    def action_move_to(self, row: int) -> None:
        self._go(self.total - 1 if row < 0 else row)

    def action_choose(self) -> None:
        if self.row() is not None:
            self.post_message(self.Chosen())

    def on_click(self, event: events.Click) -> None:
        if event.y == 0:
            column = self._column_at(event.x)
            if column is not None:
                self.post_message(self.TitleChosen(column))
            return
        row = int(self.scroll_offset.y) + event.y - 1
        if row == self.cursor:
            self.action_choose()
        elif row < self.total:
            self._go(row)

    def on_resize(self) -> None:
        self.virtual_size = Size(self.size.width, self.total + 1)
        self._reveal()

    def _want(self, page: int) -> None:
        self.post_message(self.Wanted(page))

    def _go(self, row: int) -> None:
        self.cursor = min(max(row, 0), max(self.total - 1, 0))
        self._reveal()
        self.refresh()
        self.post_message(self.Moved())

    def _reveal(self) -> None:
        shown = max(self.size.height - 1, 1)
        top = int(self.scroll_offset.y)
        if self.cursor < top:
            top = self.cursor
        elif self.cursor >= top + shown:
            top = self.cursor - shown + 1
        self.scroll_to(y=top, animate=False, force=True)

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        places = self.places(width)
        if y == 0:
            return self._line(self._titles(places), width, "grid--title", " ")
        index = int(self.scroll_offset.y) + y - 1
        if index >= self.total:
            return Strip.blank(width, self.rich_style)
        page = index // PAGE
        if page not in self._pages:
            if page not in self._asked:
                self._asked.add(page)
                # Not from here: a message made while the screen paints counts as the screen's, and does not climb.
                self.call_next(self._want, page)
            return self._line([("...", 0)], width, "grid--dim", " ")
        self._pages.move_to_end(page)
        row = self.row(index)
        if row is None:
            return Strip.blank(width, self.rich_style)
        cells = [(column.write(row[at]), at) for at, column, _ in places]
        parts = [
            (_fit(text, column, room), at)
            for (text, at), (_, column, room) in zip(cells, places, strict=True)
        ]
        if index == self.cursor:
            return self._line(parts, width, "grid--cursor", ">")
        return self._line(parts, width, "", " ", bool(self._bad is not None and row[self._bad]))

    def places(self, width: int) -> list[tuple[int, Column, int]]:
        """Which columns fit: (index in a row, column, width)."""
        room = width - MARGIN
        chosen = list(enumerate(self.columns))
        while sum(c.width + GAP for _, c in chosen) > room and any(c.rank for _, c in chosen):
            worst = max((c.rank, at) for at, c in chosen)[1]
            chosen = [(at, c) for at, c in chosen if at != worst]
        spare = room - sum(c.width + GAP for _, c in chosen)
        return [(at, c, max(c.width + (spare if c.flexible else 0), 4)) for at, c in chosen]

    def _column_at(self, x: int) -> Column | None:
        left = MARGIN
        for _, column, room in self.places(self.size.width):
            if left <= x < left + room + GAP:
                return column
            left += room + GAP
        return None

    def _titles(self, places: list[tuple[int, Column, int]]) -> list[tuple[str, int]]:
        found = []
        for at, column, room in places:
            sign = ("▼" if self.descending else "▲") if column.name == self.sort else ""
            found.append((_fit(column.title + sign, column, room), at))
        return found

    def _line(
        self, parts: list[tuple[str, int]], width: int, kind: str, mark: str, bad: bool = False
    ) -> Strip:
        plain = self.rich_style
        style = plain + self.get_component_rich_style(kind, partial=True) if kind else plain
        segments = [Segment(f"{mark:<{MARGIN}}", style)]
        for text, at in parts:
            own: Style = style
            if bad and at == self._bad:
                own = plain + self.get_component_rich_style("grid--bad", partial=True)
            segments.append(Segment(text, own))
            segments.append(Segment(" " * GAP, style))
        return Strip(segments).adjust_cell_length(width, style)


def printable(text: str) -> str:
    """Without what would move the cursor of the terminal, or end the line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _fit(text: str, column: Column, room: int) -> str:
    """A cell: cut in the middle where it is a path, since its end says most."""
    text = printable(text)
    if len(text) > room:
        if column.name in ("path", "about", "first", "peer") and room > 8:
            head = (room - 1) // 3
            text = text[:head] + "…" + text[-(room - 1 - head) :]
        else:
            text = text[: room - 1] + "…"
    return set_cell_size(text.rjust(room) if column.right else text, room)

# SPDX-License-Identifier: Apache-2.0
"""A run as a picture: `lsca plot FILE -o out.svg`.

`model` asks the log, `layout` says what goes into which row, `draw` writes the SVG. The same log gives the same bytes.
"""

from lsca.plot.draw import draw
from lsca.plot.layout import arrange
from lsca.plot.model import Query, gather

__all__ = ["Query", "picture"]


def picture(query: Query, *, title: str, width: int = 1200, rows: int = 80) -> str:
    """The SVG text. `query` runs SQL on the tables of a log; `rows` is how many processes get a row of their own."""
    return draw(arrange(gather(query, title), rows, width), query)

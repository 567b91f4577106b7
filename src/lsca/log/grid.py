# SPDX-License-Identifier: Apache-2.0
"""A result as a table of text: numbers to the right, what is wider than the terminal cut, control characters shown."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from lsca.log.colour import Paint

GAP: Final = "  "
LEAST: Final = 8  # no column is cut below this


def lines(
    columns: Sequence[str],
    numbers: Sequence[bool],
    rows: Iterable[Sequence[Any]],
    paint: Paint,
    width: int | None = None,
) -> Iterator[str]:
    """A head, a rule, and a line for each row. With `width`, wide columns are cut so that lines fit."""
    cells = [[cell(value) for value in row] for row in rows]
    widths = [max([len(name), *(len(row[at]) for row in cells)]) for at, name in enumerate(columns)]
    if width is not None:
        widths = fitted(widths, width)

    def line(texts: Sequence[str]) -> str:
        parts = (
            cut(text, size).rjust(size) if number else cut(text, size).ljust(size)
            for text, size, number in zip(texts, widths, numbers, strict=True)
        )
        return GAP.join(parts).rstrip()

    yield paint("head", line(columns))
    yield GAP.join("-" * size for size in widths)
    yield from map(line, cells)


def fitted(widths: list[int], width: int) -> list[int]:
    """Takes from the widest columns until all fit, or until every column is as narrow as one may be."""
    sizes = list(widths)
    too_much = sum(sizes) + len(GAP) * (len(sizes) - 1) - width
    while too_much > 0:
        at = max(range(len(sizes)), key=sizes.__getitem__)
        if sizes[at] <= LEAST:
            break
        others = sorted(sizes)[-2] if len(sizes) > 1 else LEAST
        take = max(1, min(too_much, sizes[at] - max(others, LEAST)))
        sizes[at] -= take
        too_much -= take
    return sizes


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def cell(value: Any) -> str:
    """NULL is empty; a line break or an escape sequence in a path must not spoil the table."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)

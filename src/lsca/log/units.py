# SPDX-License-Identifier: Apache-2.0
"""Numbers as people read them: times with a unit, sizes, counts; and back. For views, pictures and tables."""

import re
from decimal import Decimal
from typing import Final

SECOND: Final = 1_000_000_000
TIMES: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": SECOND,
    "m": 60 * SECOND,
    "min": 60 * SECOND,
    "h": 3600 * SECOND,
}
SIZES: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_NUMBER: Final = re.compile(r"(-?\d+(?:\.\d+)?|-?\.\d+)\s*([a-zA-Zµ]*)")


def duration(ns: float | None) -> str:
    """Three digits and a unit: "1.23 ms". "-" for None: it has not ended."""
    if ns is None:
        return "-"
    if abs(ns) < 999.5:
        return f"{ns:.0f} ns"
    for unit, size in (("us", 1e3), ("ms", 1e6), ("s", 1e9)):
        value = ns / size
        if abs(value) < 999.5:
            return f"{_three(value)} {unit}"
    if abs(ns) < 6000 * SECOND:
        return f"{ns / SECOND:,.0f} s"
    return f"{ns / TIMES['h']:,.1f} h"


def size(count: float | None) -> str:
    """Bytes in powers of 1024: "12.3K". Empty for None."""
    if count is None:
        return ""
    value = float(count)
    for unit in ("", "K", "M", "G", "T"):
        if abs(value) < 999.5 or unit == "T":
            break
        value /= 1024
    return f"{value:.0f}" if not unit else f"{_three(value)}{unit}"


def number(value: float | None) -> str:
    """A count with thousands set apart. Empty for None."""
    return "" if value is None else f"{value:,.0f}"


def rate(per_second: float) -> str:
    """A number per second, short: "0", "3.2", "1,250", "1.25M"."""
    if per_second >= 999_500:
        return f"{_three(per_second / 1e6)}M"
    return f"{per_second:.1f}" if 0 < per_second < 9.95 else f"{per_second:,.0f}"


def parse_duration(text: str) -> int:
    """Nanoseconds of "1.5ms". ValueError in words."""
    return _parse(text, TIMES, "a time wants a unit: ns, us, ms, s, min or h, as in 1.5ms")


def parse_size(text: str) -> int:
    """Bytes of "64k". ValueError in words."""
    return _parse(text.lower(), SIZES, "a number is wanted, with k, M or G if need be")


def _parse(text: str, units: dict[str, int], words: str) -> int:
    match = _NUMBER.fullmatch(text)
    if not match or match[2] not in units:
        raise ValueError(words)
    return int(Decimal(match[1]) * units[match[2]])


def _three(value: float) -> str:
    for digits, limit in ((2, 9.995), (1, 99.95)):
        if abs(value) < limit:
            return f"{value:.{digits}f}"
    return f"{value:.0f}"

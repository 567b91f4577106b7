# SPDX-License-Identifier: Apache-2.0
"""Times, sizes and counts as people read and type them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsca.log.units import TIMES, duration, number, parse_duration, parse_size, rate, size


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (None, "-"),
        (0, "0 ns"),
        (999, "999 ns"),
        (999.6, "1.00 us"),
        (1234, "1.23 us"),
        (99_960, "100 us"),
        (12_345_678, "12.3 ms"),
        (1_500_000_000, "1.50 s"),
        (1_234_000_000_000, "1,234 s"),
        (7_200_000_000_000, "2.0 h"),
        (-1500, "-1.50 us"),
    ],
)
def test_duration(ns: float | None, text: str) -> None:
    assert duration(ns) == text


def test_sizes_counts_and_rates() -> None:
    assert [size(n) for n in (None, 0, 999, 1000, 1536, 1 << 30)] == [
        "",
        "0",
        "999",
        "0.98K",
        "1.50K",
        "1.00G",
    ]
    assert [number(n) for n in (None, 1234567)] == ["", "1,234,567"]
    assert [rate(n) for n in (0, 0.25, 9.9, 12.3, 1250, 2.5e6)] == [
        "0",
        "0.2",
        "9.9",
        "12",
        "1,250",
        "2.50M",
    ]


def test_parsing() -> None:
    assert parse_duration("1.5ms") == 1_500_000
    assert parse_duration(".5us") == 500
    assert parse_duration("2min") == 120 * 10**9
    assert parse_size("64k") == 65536
    assert parse_size("12") == 12
    for wrong in ("", "ms", "5", "1.2.3s", "1 parsec", "nan s"):
        with pytest.raises(ValueError, match="a time wants a unit"):
            parse_duration(wrong)
    with pytest.raises(ValueError, match="a number is wanted"):
        parse_size("1q")


@given(st.integers(0, 10**18), st.sampled_from(sorted(TIMES)))
def test_whole_numbers_are_exact(count: int, unit: str) -> None:
    assert parse_duration(f"{count}{unit}") == count * TIMES[unit]

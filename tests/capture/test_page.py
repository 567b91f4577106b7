# SPDX-License-Identifier: Apache-2.0
"""docs/capture.md says what the probes show now, and a probe that fails would not be called a success."""

import platform

import page
import pytest

from differential import ROUTES, Outcome

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="written for x86-64")


def test_the_page_is_true() -> None:
    if set(ROUTES) != set(page.ROUTES):
        pytest.skip("only some routes are tested")
    text = page.PAGE.read_text()
    assert page.written(text) == text, "run `make capture-table`, and look at what has changed"


def test_every_channel_has_a_row() -> None:
    told = {channel for _, _, wanted in page.COVERAGE for channel in wanted}
    assert told == {*page.CHANNELS, page.CLOCK, page.HIDDEN_CLOCK}


@pytest.mark.parametrize(
    ("dynamic", "static", "text"),
    [(True, True, "yes"), (True, False, "dynamic only"), (False, True, "static only"), (False, False, "no")],
)  # fmt: skip
def test_a_cell(dynamic: bool, static: bool, text: str) -> None:
    shown = {"dynamic": {"a": True, "b": dynamic}, "static": {"a": True, "b": static}}
    assert page.cell(shown, ["a", "b"]) == text


def test_a_row_is_as_wide_as_its_head() -> None:
    assert {len(page.others(text)) + 1 for _, text, _ in page.COVERAGE} == {len(page.COVERAGE_HEAD)}
    assert {len(page.others(text)) + 1 for _, text, _, _ in page.PROPERTY} == {len(page.PROPERTY_HEAD)}  # fmt: skip


def test_a_part_that_crashed_is_not_like_one_that_ended() -> None:
    well = Outcome(0, b"== one\nkept: yes\nend: exit 0\n== two\nkept: yes\nend: exit 0\n", b"")
    ill = Outcome(0, b"== one\nkept: yes\nend: signal 11\n== two\nkept: yes\nend: exit 0\n", b"")
    one, two = page.parts(well), page.parts(ill)
    assert one["two"] == two["two"]
    assert one["one"] != two["one"]

# SPDX-License-Identifier: Apache-2.0
"""Every order of the steps of one sender and one receiver: no byte is lost, and nobody sleeps while there is one."""

import pytest
from model import Rules, Wrong, explore


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_every_order(count: int) -> None:
    assert explore(count) > 50 * count


@pytest.mark.parametrize(
    "rule",
    [
        "looks_before_sleeping",
        "says_that_it_sleeps",
        "rings_with_lock",
        "drops_bells_before_bytes",
        "goes_back_with_locks",
        "looks_at_the_end",
        "looks_before_napping",
        "wakes_by_ring",
        "wakes_when_back",
        "wakes_at_the_end",
        "posts_once",
    ],
)
def test_no_rule_is_idle(rule: str) -> None:
    with pytest.raises(Wrong):
        explore(4, Rules(**{rule: False}))

# SPDX-License-Identifier: Apache-2.0
"""Proves the log, call by call and argument by argument: programs that make every call of the table, most of them with
and without success, are run under strace and with a log in both routes. Who made which calls in which order must be the
same to the last one; how they look may differ where tests/proof/differences.py says why.
"""

import os
import platform
import re
import shutil
from collections import defaultdict
from pathlib import Path

import pytest
from differences import DIFFERENCES, NEVER_MADE, Difference
from same_calls import PART_OF, Call, Threads, refused, run

from lsca.table import rows

pytestmark = [
    pytest.mark.skipif(not shutil.which("strace"), reason="needs strace"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="x86-64 only"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may make all of these calls"),
]
ROUTES = ("kernel", "proxy")
TIMES = 3  # a number of a process can be another number's, too


class Proof:
    """What was found so far; each part is run once."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.theirs: dict[str, tuple[Threads, frozenset[str]]] = {}
        self.made: set[str] = set()
        self.needed: set[tuple[str, Difference]] = set()
        self.done: set[str] = set()

    def ours(self, part: str, route: str) -> Threads:
        return run(part, route, self.base, self.theirs[part][1])[0]


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Proof:
    return Proof(tmp_path_factory.mktemp("proof"))


def result(call: Call) -> object:
    """What the call returned, whatever base it is written in and whatever is said of it."""
    text = call.text.rpartition(" = ")[2]
    number = text.partition(" ")[0]
    return (
        text
        if number == "-1" or not re.fullmatch(r"-?(0x[0-9a-f]+|\d+)", number)
        else int(number, 0)
    )


def allowed(theirs: Call, ours: Call, route: str) -> list[Difference]:
    """The reasons for which these two may differ."""
    same_result = result(theirs) == result(ours)
    return [
        one
        for one in DIFFERENCES
        if theirs.name in one.calls.split()
        and one.route in (None, route)
        and (one.results or same_result)
    ]


def compared(proof: Proof, part: str, route: str) -> list[str]:
    """What differs without a reason."""
    theirs, ours = proof.theirs[part][0], proof.ours(part, route)
    wrong = []
    for their_calls, our_calls in zip(theirs, ours, strict=True):
        assert [one.name for one in our_calls] == [one.name for one in their_calls]
        for their, our in zip(their_calls, our_calls, strict=True):
            proof.made.add(our.name)
            if our.text == their.text or (route == "proxy" and refused(our.name)):
                continue
            if reasons := allowed(their, our, route):
                proof.needed.update((our.name, one) for one in reasons)
            else:
                wrong.append(f"\n  ours   {our.text}\n  strace {their.text}")
    return wrong


@pytest.mark.parametrize("part", PART_OF)
def test_every_call_is_the_same(proof: Proof, part: str) -> None:
    for _ in range(TIMES):
        proof.theirs[part] = run(part, "strace", proof.base)
        wrong = {route: compared(proof, part, route) for route in ROUTES}
        if not any(wrong.values()):
            break
    assert not any(wrong.values()), "".join(f"\n{r}:{''.join(w)}" for r, w in wrong.items() if w)
    proof.done.add(part)


def test_every_row_was_made(proof: Proof) -> None:
    """The table is the list of what is to be proven; a call that is added to it is to be added to a program."""
    if len(proof.done) < len(PART_OF):
        pytest.skip("only with all parts")
    known = {row.name for row in rows() if "x86_64" in row.numbers}
    assert known - proof.made == set(NEVER_MADE)


def test_every_family_has_a_part() -> None:
    families = defaultdict(list)
    for row in rows():
        families[row.family].append(row.name)
    assert set(families) <= set(PART_OF)


def test_every_difference_is_needed(proof: Proof) -> None:
    if len(proof.done) < len(PART_OF):
        pytest.skip("only with all parts")
    every = [(name, one) for one in DIFFERENCES for name in one.calls.split()]
    assert [(name, one.why) for name, one in every if (name, one) not in proof.needed] == []

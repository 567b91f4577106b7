# SPDX-License-Identifier: Apache-2.0
"""Proves that what was acknowledged is in the file, once and in order, whoever is killed at whatever moment.

The moments come from a seed. LSCA_POST_KILLS says how many there are: `make proof` has 1,000.
"""

import os
import random
import time
from pathlib import Path

import pytest
from posting import Posting, kill, line, memories, recover

KILLS = int(os.environ.get("LSCA_POST_KILLS", "24"))
# p the program, l the launcher, o the poster, r the front
WHO = ("p", "l", "o", "pl", "lp", "po", "op", "plo", "olp", "lop", "plor", "rlop")
KINDS = ("a", "w", "aw", "waaw")
INHERITED = ("b", "c", "bj", "djcb")  # by descriptors that a shell has opened


# The shell has it, too, and goes on when the program is dead.
THEN = '{ "$0" "$@"; echo over >&10; }'
BOTH = '{ C=$1; shift; "$0" "$C" "$@" & exec "$0" "$C.2" "$@"; }'


def survivors_end(run: Posting, who: str) -> None:
    """Whatever the killed have left alone ends, too."""
    if "p" not in who:
        time.sleep(0.01)
        kill(*run.programs)
    run.over()
    recover()


@pytest.mark.parametrize("kinds", [KINDS, INHERITED], ids=["its own", "inherited"])
@pytest.mark.parametrize("number", range(KILLS))
def test_what_was_acknowledged_is_there(
    number: int, kinds: tuple[str, ...], tmp_path: Path
) -> None:
    chance = random.Random(number)
    who = WHO[number % len(WHO)]
    options = ["--post-sync"] if chance.random() < 0.1 else []
    run = Posting(
        tmp_path, *options, kinds=chance.choice(kinds), pause=chance.choice((0, 0, 0, 50, 3000))
    )
    try:
        run.working()
        time.sleep(chance.random() ** 2 * 0.1)
        for pid in run.pids(who):
            kill(pid)
            if chance.random() < 0.2:
                time.sleep(chance.random() * 0.003)
        survivors_end(run, who)
        assert run.check() > 0
    finally:
        run.end()
    assert not memories()


@pytest.mark.parametrize("number", range(KILLS // 2))
def test_who_goes_on_writes_behind_it(number: int, tmp_path: Path) -> None:
    chance = random.Random(number)
    run = Posting(tmp_path, kinds="b", pause=chance.choice((0, 0, 50)), words=THEN)
    try:
        run.working()
        time.sleep(chance.random() ** 2 * 0.1)
        kill(*run.pids(chance.choice(("p", "p", "op", "po"))))
        run.over()
        data = run.files[0].read_bytes()
        assert data.endswith(b"over\n")
        run.files[0].write_bytes(data[: -len(b"over\n")])
        assert run.check() > 0
    finally:
        run.end()
    assert not memories()


def merged(data: bytes) -> list[int]:
    """How many lines each of two has written, who have the same to say. A kill may have torn one of them."""
    found, next_ones = [0, 0], [line(0), line(0)]
    for number, one in enumerate(data.splitlines(keepends=True)):
        if not one.endswith(b"\n"):  # its own write was torn, and is not acknowledged
            assert any(after.startswith(one) for after in next_ones)
            break
        whose = next((who for who in (0, 1) if one.endswith(next_ones[who])), None)
        assert whose is not None, f"line {number} is none that comes next: {one!r}"
        torn = one[: -len(next_ones[whose])]
        found[whose] += 1
        next_ones[whose] = line(found[whose])
        assert next_ones[1 - whose].startswith(torn)
        next_ones[1 - whose] = next_ones[1 - whose][len(torn) :]
    return sorted(found)


@pytest.mark.parametrize("number", range(KILLS // 2))
def test_two_that_share_an_opening(number: int, tmp_path: Path) -> None:
    chance = random.Random(number)
    second = tmp_path / "counters.2"
    second.write_bytes(bytes(4096))
    run = Posting(tmp_path, kinds="b", pause=chance.choice((0, 50, 3000)), words=BOTH)
    try:
        run.working(programs=2)
        time.sleep(chance.random() ** 2 * 0.1)
        killed = chance.choice((run.programs[:1], run.programs[1:], run.programs, [run.poster]))
        kill(*killed)
        time.sleep(chance.random() * 0.05)
        kill(*run.programs)
        run.over()
        recover()
        written = merged(run.files[0].read_bytes())
        said = sorted((run.acknowledged()[0], int.from_bytes(second.read_bytes()[:8], "little")))
        for had, acknowledged in zip(written, said, strict=True):
            assert acknowledged <= had <= acknowledged + 1
    finally:
        run.end()
    assert not memories()

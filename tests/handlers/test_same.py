# SPDX-License-Identifier: Apache-2.0
"""Proves that a condition means the same whether the agent decides it in C or the handlers in Python."""

import random
import subprocess
from pathlib import Path

import pytest

from differential import BUILD, ROOT
from lsca.handlers.conditions import chance, glob_expression

SHARED = ROOT / "native" / "shared"
PIECES = (
    "*",
    "**",
    "**/",
    "/",
    "?",
    "a",
    "b",
    "c",
    "[ab]",
    "[!ab]",
    "[a-c]",
    "x.wal",
    "\\*",
    "[",
    ".",
    "]",
)
TEXTS = ("/", "a", "b", "c", "x.wal", "*", "[", ".", "ab", "/a", "/b", "]")


@pytest.fixture(scope="module")
def native() -> Path:
    BUILD.mkdir(parents=True, exist_ok=True)
    path = BUILD / "same"
    source = Path(__file__).with_name("same.c")
    command = [
        "gcc",
        "-std=gnu11",
        f"-I{SHARED}",
        f"-I{SHARED / 'arch/x86_64'}",
        "-o",
        path,
        source,
    ]
    subprocess.run(command, check=True)
    return path


def answers(native: Path, lines: list[str]) -> list[str]:
    text = "\n".join(lines) + "\n"
    done = subprocess.run([native], input=text, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_patterns(native: Path) -> None:
    numbers = random.Random(1)
    pairs = [
        (
            "".join(numbers.choices(PIECES, k=numbers.randint(1, 7))),
            "".join(numbers.choices(TEXTS, k=numbers.randint(1, 7))),
        )
        for _ in range(20_000)
    ]
    found = answers(native, [f"glob {pattern} {text}" for pattern, text in pairs])
    wrong = [
        (pattern, text, is_match)
        for (pattern, text), is_match in zip(pairs, found, strict=True)
        if bool(glob_expression(pattern).fullmatch(text)) != (is_match == "1")
    ]
    assert not wrong, wrong[:20]
    assert found.count("1") > 150


def test_chance(native: Path) -> None:
    pairs = [(seed, number) for seed in (0, 1, 7, 2**64 - 1) for number in range(1, 50)]
    found = answers(native, [f"chance {seed} {number}" for seed, number in pairs])
    assert [int(word) for word in found] == [chance(seed, number) for seed, number in pairs]

# SPDX-License-Identifier: Apache-2.0
"""What a program may do and see, one program per topic: the same natively and captured, in every part.

Each program tells in its head what it checks. A part that is known to fail is left out of its program's run and has a
run of its own, marked xfail: it fails the test run once it works.
"""

import platform
from dataclasses import dataclass

import pytest

from differential import ROUTES, compare, program

x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="written for x86-64")


@dataclass(frozen=True)
class Known:
    """A part that does not work yet, in which routes, and why."""

    part: str
    reason: str
    routes: tuple[str, ...] = ("kernel", "proxy")


NEVER_WRITTEN = "an address is looked at only when something is written there"

# Program: what of it is known to fail.
PORTABLE: dict[str, tuple[Known, ...]] = {
    "properties": (),
    "pointers": (Known("never written", NEVER_WRITTEN, ("proxy",)),),
    "masks": (),
    "stacks": (),
}
MACHINE: dict[str, tuple[Known, ...]] = {
    "abi": (),
    "faults": (),
    "interrupted": (),
    "own_sigsys": (),
    "sites": (),
}
SOURCES = {f"capture/{name}.c": known for name, known in PORTABLE.items()} | {
    f"capture/{platform.machine()}/{name}.c": known
    for name, known in MACHINE.items()
    if platform.machine() == "x86_64"
}


@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
@pytest.mark.parametrize("source", SOURCES)
def test_parts(source: str, static: bool, route: str) -> None:
    left_out = [f"-{known.part}" for known in SOURCES[source] if route in known.routes]
    path = program(source, static=static)
    native = compare([path, *left_out], routes=(route,), status=0, timeout=110, ignore=["core*"])
    assert b": NO" not in native.stdout
    assert b"end: exit 0" in native.stdout


FAILING = [
    pytest.param(source, known.part, route, id=f"{source}-{known.part}-{route}",
                 marks=pytest.mark.xfail(strict=True, raises=AssertionError, reason=known.reason))
    for source, several in SOURCES.items() for known in several for route in known.routes
    if route in ROUTES
]  # fmt: skip


if FAILING:  # an empty list would be a skipped test

    @pytest.mark.parametrize(("source", "part", "way"), FAILING)
    def test_known_to_fail(source: str, part: str, way: str) -> None:
        compare([program(source), part], routes=(way,), timeout=50, ignore=["core*"])

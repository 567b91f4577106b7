# SPDX-License-Identifier: Apache-2.0
"""One program of our own per family of calls: the same lines natively and in every route.

The programs print a line per check (result, errno name, flags, what a buffer holds), so a
difference names the call. Many of their arguments end at an unmapped page.
"""

import pytest

from differential import compare, program

FAMILIES = {
    "files": 0,
    "paths": 0,
    "metadata": 0,
    "directories": 0,
    "descriptors": 0,
    "locks": 0,
    "pipes": 0,
    "sockets": 0,
    "messages": 0,
    "waiting": 0,
    "signalfd": 0,
    "identity": 0,
    "vectors": 0,
    "copying": 0,
    "large": 0,
    "mappings": 0,
    "signals": 0,
    "sigsys": 0,
    "filters": 0,
    "faults": 0,
    "storms": 0,
    "undisturbed": 0,
    "interrupted": 0,
    "threads": 6,
    "processes": 0,
    "vforks": 0,
    "both": 0,
    "births": 0,
    "execs": 0,
    "endings": 0,
    "limits": 0,
    "self": 0,
}
STATIC = ("files", "descriptors", "messages", "waiting", "signals", "threads", "processes", "execs")


@pytest.mark.parametrize("family", FAMILIES)
def test_family(family: str, route: str) -> None:
    compare([program(f"calls/{family}.c")], routes=(route,), status=FAMILIES[family])


@pytest.mark.parametrize("family", STATIC)
def test_static(family: str, route: str) -> None:
    """A static binary has no dynamic linker that could load anything into it."""
    built = program(f"calls/{family}.c", static=True)
    compare([built], routes=(route,), status=FAMILIES[family])


def test_closed_standard_descriptors(route: str) -> None:
    """Without stdin the first descriptor opened is 0, here as there."""
    shell = 'exec "$0" list <&-'
    compare(["/bin/sh", "-c", shell, program("calls/descriptors.c")], routes=(route,), status=0)

# SPDX-License-Identifier: Apache-2.0
"""The families of calls once more, with the agent preloaded: without a launcher the program must not differ either.

Those whose matter is the agent's own: signals, threads, processes, exec, the end; and what a descriptor, a mapping or a
variable too many would show.
"""

import contextlib
from collections.abc import Iterator

import pytest
from test_calls import FAMILIES

from differential import execute, program, same, scratch
from lsca.log import read_log
from preloading import Place, wait_for

PRELOADED = ("descriptors", "endings", "execs", "identity", "limits", "mappings", "processes")
PRELOADED += ("self", "signalfd", "signals", "sigsys", "storms", "threads", "waiting")


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with contextlib.closing(Place("self")) as one:
        one.start("-o", str(one.logs))
        yield one


@pytest.mark.parametrize("family", PRELOADED)
def test_family_preloaded(family: str, place: Place) -> None:
    path = program(f"calls/{family}.c")
    before = set(place.logs.iterdir())
    with scratch() as base:
        native = execute([path], base=base)
        assert native.status == FAMILIES[family]
        variables = {"LD_PRELOAD": str(place.agent), "LSCA_DAEMON": place.socket}
        same(native, execute([path], base=base, env=variables), "preloaded")
    wait_for(lambda: not place.sessions())
    paths = set(place.logs.iterdir()) - before
    assert len(paths) >= 1  # more, if it starts programs in an environment of their own
    for path in paths:
        wait_for(
            lambda path=path: read_log(path).complete
        )  # its keeper ends a little later than its program
        assert read_log(path).gaps == 0

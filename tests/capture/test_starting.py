# SPDX-License-Identifier: Apache-2.0
"""Programs that the launcher lets go before their agent is there: they begin as execve has left them, and those that
cannot do without the launcher get it back.
"""

import os
import platform
import resource

import pytest

from differential import compare, program

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="about the table of x86-64")
KERNEL = ("kernel",)


def test_masks_and_descriptors(route: str) -> None:
    compare([program("capture/begun.c"), "6"], routes=(route,), status=0)


def test_one_after_the_other(route: str) -> None:
    """The first ones teach the launcher which sites there are; the later ones begin with these patched."""
    path = program("capture/begun.c")
    compare(["sh", "-c", f"for i in 1 2 3 4 5 6; do {path} 2; done"], routes=(route,), status=0)


@X86
def test_no_place_for_the_table(route: str) -> None:
    """The program itself is where the jumps of patched sites find their target."""
    flags = ["-no-pie", "-Wl,-Ttext-segment=0x50f0000"]
    path = program("capture/begun.c", flags=flags, name="begun-there")
    other = program("capture/begun.c")
    script = f"for i in 1 2 3 4; do {path} 1; {other} 1; done"
    compare(["sh", "-c", script], routes=(route,), status=0)


@ROOT_ONLY
def test_as_somebody_else(route: str) -> None:
    """The launcher's files are closed to it, and so to its children."""
    compare([program("capture/unreachable.c"), "u"], routes=(route,))


def test_few_descriptors() -> None:
    """One is free: enough for the program, and for the agent's file and memory one after the other, but not at once."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 20:
        pytest.skip("there are too few as it is")
    path = program("capture/begun.c")
    script = f"for i in 1 2 3; do (ulimit -n 4; exec {path} 1 3>&-); done"
    compare(["sh", "-c", script], routes=KERNEL, status=0)

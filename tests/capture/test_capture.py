# SPDX-License-Identifier: Apache-2.0
"""Capturing: nothing escapes, and nothing is disturbed.

Every way of capturing must let these programs see what the kernel alone would show them. That no
call escapes is read from the log; that the program's process makes no delegated call
under the route `proxy` is proved by the kernel, which kills it if it does.
"""

import os
import platform
import signal
from pathlib import Path

import pytest
from page import CHANNELS, cover, marks

from differential import compare, execute, program, same

x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="written for x86-64")


@x86_64
@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
def test_every_channel_is_seen(static: bool, route: str, tmp_path: Path) -> None:
    path, env = cover(static)
    expected = set(CHANNELS) - ({"library loaded later"} if static else set())
    log = tmp_path / "log"
    native = execute([path], base=tmp_path, env=env)
    options = [] if route == "native" else ["-o", str(log)]
    captured = execute([path], route=route, base=tmp_path, env=env, options=options)
    same(native, captured, route)
    if log.exists():
        assert sorted(expected - marks(log)) == []


@pytest.mark.parametrize("name", ["cancel", "altstack"])
def test_threads(name: str, route: str) -> None:
    compare([program(f"capture/{name}.c")], routes=(route,), status=0)


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot and setuid are root's")
@pytest.mark.parametrize("how", ["c", "u", "cu"], ids=["chroot", "setuid", "both"])
def test_out_of_reach(how: str, route: str) -> None:
    """An image that may not see the launcher's descriptors is given its agent and its session in other ways."""
    path = program("capture/unreachable.c", static=True)
    native = compare([path, how], routes=(route,), status=20)
    assert native.stdout.endswith(b"child ended with 3\n")


@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
def test_program_makes_no_delegated_call(static: bool, tmp_path: Path) -> None:
    """A filter of the kernel kills the process at its first delegated call: only the proxy's count."""
    path = program("capture/delegated.c", static=static)
    native = execute([path], base=tmp_path)
    assert native.status == -signal.SIGSYS
    assert native.stdout == b"from now on such calls kill\n"
    captured = execute([path], route="proxy", base=tmp_path)
    assert captured.status == 0, "\n".join(captured.lines())
    assert captured.stdout.endswith(b"made them all\n")
    assert b": -1" not in captured.stdout


def test_filter_kills_in_the_route_kernel(tmp_path: Path) -> None:
    """The same filter does strike when the program's own process makes the calls."""
    captured = execute([program("capture/delegated.c")], route="kernel", base=tmp_path)
    assert captured.status == -signal.SIGSYS

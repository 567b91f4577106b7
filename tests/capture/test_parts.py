# SPDX-License-Identifier: Apache-2.0
"""What a program may do and see, one program per topic: the same natively and captured, in every part.

Each program tells in its head what it checks. A part that is known to fail is left out of its program's run and has a
run of its own, marked xfail: it fails the test run once it works.
"""

import platform
import shutil
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
SHARING = "processes that share descriptors or directory have proxies that do not"
SHARING_PARTS = ("FILES", "FS", "FS_FILES", "VM_FILES", "VM_FS", "VM_FS_FILES", "VM_FS_FILES_SIGHAND",
                 "VM_VFORK_FILES")  # fmt: skip
FILTER_PASSED = "the proxy makes the call, and the filter is the program's"
STRICT = "the agent makes calls that strict mode does not allow"
LISTENER = (
    "the filter's listener stays a descriptor of the program's process, where nothing finds it"
)
DISPATCH = "there is one Syscall User Dispatch per thread, and the agent has it"
OWN_CALLS = "a filter lets through what the agent must call for itself, whoever calls it"
FOREIGN_USERS = "int 0x80 could not tell the proxy of a new user"
USER_NAMESPACE = "a process with several threads, as a proxy is, cannot have a new user namespace"
COPIED = "a site that is patched cannot tell that its bytes have been copied to elsewhere"
PROC_MASKS = (
    "/proc tells the kernel's view: the agent's handler, and all blocked while a proxy answers"
)

# Program: what of it is known to fail.
PORTABLE: dict[str, tuple[Known, ...]] = {
    "properties": (),
    "filters": (
        Known("files", FILTER_PASSED, ("proxy",)),
        Known("strict", STRICT),
        Known("asked", LISTENER, ("proxy",)),
        Known("own dispatch", DISPATCH),
    ),
    "images": (),
    "bounds": (Known("masks in /proc", PROC_MASKS),),
    "pointers": (Known("never written", NEVER_WRITTEN, ("proxy",)),),
    "masks": (),
    "stacks": (),
}
MACHINE: dict[str, tuple[Known, ...]] = {
    "abi": (),
    "births": tuple(Known(part, SHARING, ("proxy",)) for part in SHARING_PARTS),
    "changed": (Known("copied", COPIED),),
    "faults": (),
    "interrupted": (),
    "known": (
        Known("filter of getpid", OWN_CALLS),
        Known("i386", FOREIGN_USERS, ("proxy",)),
        Known("user namespace", USER_NAMESPACE, ("proxy",)),
        Known("entered namespace", USER_NAMESPACE, ("proxy",)),
    ),
    "own_sigsys": (),
    "sites": (),
    "stress": (),
}
SOURCES = {f"capture/{name}.c": known for name, known in PORTABLE.items()} | {
    f"capture/{platform.machine()}/{name}.c": known
    for name, known in MACHINE.items()
    if platform.machine() == "x86_64"
}


BUILDS = [
    "dynamic",
    "static",
    pytest.param(
        "musl",
        marks=pytest.mark.skipif(not shutil.which("musl-gcc"), reason="musl-gcc is not installed"),
    ),
]


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("source", SOURCES)
def test_parts(source: str, build: str, route: str) -> None:
    left_out = [f"-{known.part}" for known in SOURCES[source] if route in known.routes]
    path = program(source, static=build == "static", musl=build == "musl")
    native = compare([path, *left_out], routes=(route,), status=0, timeout=110, ignore=["core*"])
    assert b": NO" not in native.stdout
    assert b"end: exit 0" in native.stdout
    assert b"end: signal" not in native.stdout


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

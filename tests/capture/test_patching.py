# SPDX-License-Identifier: Apache-2.0
"""Call sites before and after patching, byte for byte; and that a call of a patched site costs no signal.

What a site has to become stands here, not in the program. The record flag `trapped` tells how each call came: a site's
first calls cost a signal each, then none does. Sites that no shape fits keep their bytes and their signals.
"""

import collections
import platform
import re
import shutil
from pathlib import Path

import pytest

from differential import execute, program, same
from lsca.log import read_log

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="sites are patched on x86-64 only"
)

MARK = 0x7CA000
TIMES, TRAPPED = 10, 3  # calls of each site, and how many of them still come by the signal

TABLE = ("b8790000000f05", "ff2425[0-9a-f]{2}[0-9a-f]{2}0f05")
PUN_CMP = ("0f05483d01", "e905483d01")
PUN_RET = ("0f05c30f1f", "e905c30f1f")
PUN_XOR = ("31c00f0548", "e9c00f0548")
CHANGES = {
    "mov; syscall; ret": TABLE,
    "mov; syscall; cmp": TABLE,
    "first of a page: mov; syscall; ret": TABLE,
    "syscall; cmp": PUN_CMP,
    "syscall; ret": PUN_RET,
    "xor; syscall; cmp": PUN_CMP,
    "xor; syscall; cmp, occupied": PUN_XOR,
    "beside a thread: mov; syscall; cmp": PUN_CMP,
    "beside a thread: mov; syscall; ret, occupied": TABLE,
}
STAY = {
    "xor; syscall; cmp, both occupied",
    "syscall; cmp, occupied",
    "syscall; ret, occupied",
    "longer mov; syscall; ret, occupied",
    "test; syscall; ret, occupied",
    "compare; syscall; ret, occupied",
    "mov; syscall; ret, writable",
    "syscall; cmp, writable",
    "mov; syscall; ret, shared",
    "syscall; cmp, shared",
    "sigaltstack",
    "prctl",
    "arch_prctl",
    "clone",
    "clone3",
    "execve",
    "rt_sigsuspend",
    "rt_sigreturn",
    "beside a thread: syscall; ret, occupied",
}
BUILDS = [
    "dynamic",
    "static",
    pytest.param(
        "musl",
        marks=pytest.mark.skipif(not shutil.which("musl-gcc"), reason="musl-gcc is not installed"),
    ),
]
LINE = re.compile(r"(\d+) (.*): ([0-9a-f]+) ([0-9a-f]+) (\d+) around it changed, (-?\d+)")


def sites(text: str) -> list[tuple[str, ...]]:
    """(number, name, bytes before, bytes after, changed around it, result) of each site."""
    found = [LINE.fullmatch(line) for line in text.splitlines()]
    assert all(found), text
    return [match.groups() for match in found if match]


def marked(log: Path) -> dict[int, list[bool]]:
    """By a site's number, whether its calls came by the signal, in order."""
    calls: dict[int, list[bool]] = collections.defaultdict(list)
    for record in read_log(log):
        if record.name in ("getpgid", "read") and MARK <= record.args[0] < MARK + 100:
            calls[record.args[0] - MARK].append(record.trapped)
    return calls


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("option", [None, "--no-patch"], ids=["patched", "no-patch"])
def test_bytes(option: str | None, build: str, route: str, tmp_path: Path) -> None:
    path = program("capture/x86_64/shapes.c", static=build == "static", musl=build == "musl")
    log = tmp_path / "log"
    options = ["-o", str(log), *([option] if option else [])]
    native = execute([path], base=tmp_path)
    captured = execute([path], route=route, base=tmp_path, options=options)
    assert (native.status, captured.status, captured.stderr) == (0, 0, b"")
    was, now = sites(native.stdout.decode()), sites(captured.stdout.decode())
    assert {site[1] for site in was} == CHANGES.keys() | STAY
    assert len(was) == len(now)
    calls = marked(log) if route != "native" else {}
    for (_, _, before, after, *rest), (number, name, *found) in zip(was, now, strict=True):
        assert before == after, name
        assert found[0] == before and found[2:] == rest, name
        expected, is_patched = before, name in CHANGES and not option and route != "native"
        if is_patched:
            old, new = CHANGES[name]
            assert before.count(old) == 1
            expected = before.replace(old, new)
        assert re.fullmatch(expected, found[1]), f"{name}: {before} became {found[1]}"
        if int(number) in calls:
            trapped = TRAPPED if is_patched else TIMES
            assert calls[int(number)] == [True] * trapped + [False] * (TIMES - trapped), name
    if route != "native":
        numbers = {int(site[0]) for site in now if "syscall" in site[1]}
        assert calls.keys() == numbers


# ---- real programs -------------------------------------------------------------------------------

# Where a Python that has a fixed place gets its heap is chance, and it may be where the table would lie.
PLAIN = ["setarch", "-R"]
PYTHON = (
    "import os\nfor i in range(500):\n f = os.open('/etc/passwd', 0); os.read(f, 9); os.close(f)"
)
BUSY = {
    "bash": ["bash", "-c", "for ((i = 0; i < 1000; i++)); do echo $i; done"],
    "python": [*PLAIN, "/usr/bin/python3", "-S", "-c", PYTHON],
    "directories": ["find", "/usr/share/doc"],
    "cat": ["cat", *["big"] * 50],
    "git": ["git", "hash-object", *["big"] * 100],
    "dd": ["dd", "if=big", "of=/dev/null", "bs=512", "status=none"],
}
FEW = 0.2


def share(log: Path) -> tuple[float, str]:
    """The part of the calls that cost a signal, and a line for each name that has most of them."""
    made: collections.Counter[str] = collections.Counter()
    trapped: collections.Counter[str] = collections.Counter()
    for record in read_log(log):
        if record.kind == "call":
            made[str(record.name)] += 1
            trapped[str(record.name)] += record.trapped
    worst = ", ".join(f"{name} {n} of {made[name]}" for name, n in trapped.most_common(6))
    return trapped.total() / made.total(), f"{made.total()} calls, by a signal: {worst}"


@pytest.mark.parametrize("name", BUSY)
def test_busy_programs(name: str, route: str, tmp_path: Path) -> None:
    """What real programs do again and again goes by patched sites, their start included."""
    if not shutil.which(BUSY[name][0]):
        pytest.skip(f"{BUSY[name][0]} is not installed")
    if route == "native":
        return
    files, log = tmp_path / "files", tmp_path / "log"
    files.mkdir()
    (files / "big").write_bytes(bytes(1_000_000))
    options = ["-o", str(log)]
    done = execute(BUSY[name], route=route, base=tmp_path, files=files, options=options)
    assert done.status == 0, "\n".join(done.lines())
    part, told = share(log)
    print(f"{name}, {route}: {part:.1%} of {told}")
    assert part < FEW, told


def test_start_of_the_next_program(route: str, tmp_path: Path) -> None:
    """What one program's dynamic linker has called, the next one's calls without a signal."""
    if route == "native":
        return
    log = tmp_path / "log"
    script = "for i in 1 2 3 4 5 6; do /bin/true; done"
    done = execute(["sh", "-c", script], route=route, base=tmp_path, options=["-o", str(log)])
    assert done.status == 0
    programs: dict[int, list[bool]] = {}
    for record in read_log(log):
        if record.name in ("mmap", "mprotect", "munmap", "close", "pread64"):
            programs.setdefault(record.pid, []).append(record.trapped)
    last = list(programs.values())[-1]
    assert len(last) > 10 and sum(last) <= 2, last


def test_next_use_of_a_library(route: str, tmp_path: Path) -> None:
    """What a program does with a library again and again it does without a signal the next time."""
    if route == "proxy":
        return  # who maps a file there lends the descriptor
    log = tmp_path / "log"
    script = "for i in 1 2 3 4 5 6; do cat big big big big big; done >/dev/null"
    files = tmp_path / "files"
    files.mkdir()
    (files / "big").write_bytes(bytes(1000))
    done = execute(
        ["sh", "-c", script], route=route, base=tmp_path, files=files, options=["-o", str(log)]
    )
    assert done.status == 0
    if route == "native":
        return
    programs: dict[int, list[str]] = {}
    for record in read_log(log):
        if record.name in ("openat", "read", "write", "fadvise64", "newfstatat", "close"):
            programs.setdefault(record.pid, []).append(f"{record.name} {record.trapped}")
    last = list(programs.values())[-1]
    assert len(last) > 30 and sum(line.endswith("True") for line in last) <= 6, last


def test_another_library_in_its_place(route: str, tmp_path: Path) -> None:
    """Nothing is patched because of what stood in the file before, though it would look like a call."""
    path = program("capture/x86_64/replaced.c")
    flags = ["-shared", "-fPIC", "-nostdlib"]
    first, second = (
        program(
            "capture/x86_64/replaced.c",
            flags=[*flags, f"-DLIBRARY={version}"],
            name=f"v{version}.so",
        )
        for version in (1, 2)
    )
    script = f"cp {first} lib; for i in 1 2 3 4; do {path} ./lib; done; cat {second} >lib; {path} ./lib show"
    log = tmp_path / "log"
    native = execute(["sh", "-c", script], base=tmp_path)
    captured = execute(["sh", "-c", script], route=route, base=tmp_path, options=["-o", str(log)])
    assert native.stdout.count(b"right") == 5 and native.stdout.count(b"b86e0000000f05") == 8
    same(native, captured, route)
    if route == "kernel":
        programs: dict[int, list[bool]] = {}
        for record in read_log(log):
            if record.name == "getppid":
                programs.setdefault(record.pid, []).append(record.trapped)
        trapped = [sum(calls) for calls in programs.values()]
        assert trapped[1] > 16 and trapped[-1] < 8, trapped


def test_reach_of_a_jump(route: str, tmp_path: Path) -> None:
    """libc's opens of its own files: a jump that leads 4 MB up, where nothing of ours may lie."""
    if route == "native":
        return
    log = tmp_path / "log"
    code = "import os\nfor i in range(100):\n os.listdir('/proc/self/fdinfo')"
    done = execute(
        [*PLAIN, "/usr/bin/python3", "-S", "-c", code],
        route=route,
        base=tmp_path,
        options=["-o", str(log)],
    )
    assert done.status == 0
    opens = [r for r in read_log(log) if r.name == "openat"][-100:]
    assert sum(record.trapped for record in opens) < 20


# ---- answers in place ----------------------------------------------------------------------------

WHO = ("getpid", "gettid", "getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid")
MACHINES = ("clock_getres", "sched_get_priority_max", "sched_get_priority_min")


def test_answers_in_place(route: str, tmp_path: Path) -> None:
    """The agent does answer by itself, mostly, and knows of every change; with a log by other code than without."""
    if route == "native":
        return
    path, log = program("capture/x86_64/known.c"), tmp_path / "log"
    native = execute([path, "to and fro"], base=tmp_path)
    options = ["-o", str(log)]
    captured = execute([path, "to and fro"], route=route, base=tmp_path, options=options)
    assert native.status == 0 and b"NO" not in native.stdout
    same(native, captured, route)
    asked = [record for record in read_log(log) if record.name in WHO]
    assert {record.name for record in asked if record.route == "local"} == set(WHO)
    assert sum(record.route == "local" for record in asked) > 0.8 * len(asked)
    assert sum(record.trapped for record in asked) < 0.1 * len(asked)


@pytest.mark.parametrize("part", ["clocks", "priorities"])
def test_answers_of_the_machine(part: str, route: str, tmp_path: Path) -> None:
    """What never changes is answered by the agent, but for addresses that lead nowhere and what the machine has not."""
    if route == "native":
        return
    path, log = program("capture/x86_64/known.c"), tmp_path / "log"
    native = execute([path, part], base=tmp_path)
    captured = execute([path, part], route=route, base=tmp_path, options=["-o", str(log)])
    assert native.status == 0 and b"NO" not in native.stdout
    same(native, captured, route)
    asked = [record for record in read_log(log) if record.name in MACHINES]
    assert 0.05 < sum(record.route == "local" for record in asked) / len(asked) < 0.7

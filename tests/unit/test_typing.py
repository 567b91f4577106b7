# SPDX-License-Identifier: Apache-2.0
"""Proves that a type checker knows a handler: right ones pass `mypy --strict`, wrong ones are refused where they err.

No stub files: the rows are the types.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")
SOURCES = Path(__file__).parents[2] / "src"

GOOD = """
import asyncio
import errno

import lsca
from lsca import calls as c


@lsca.on(c.openat, path="/etc/shadow")
def hidden(call: c.openat) -> lsca.Verdict:
    call.replace(path="/dev/null", flags=call.flags | 1)
    return lsca.fail(errno.ENOENT)


@lsca.on(c.openat, c.open, flags="O_CREAT")
def either(call: c.openat | c.open) -> lsca.Verdict:
    print(call.path.upper(), call.mode + 1, call.process.argv[0])
    return lsca.go_on


@lsca.on(c.read, c.write)
def any_call(call: lsca.Syscall) -> lsca.Verdict:
    return lsca.ret(call.result or call.proceed())


@lsca.on("%file", c.close)
def by_name(call: lsca.Syscall) -> lsca.Verdict:
    return lsca.go_on


@lsca.on(c.write, when=lambda call: call.buf.startswith(b"x") and call.count > 3)
async def later(call: c.write) -> lsca.Verdict:
    await asyncio.sleep(0.1)
    return lsca.kill("SIGTERM") if call.file.path == "/x" else lsca.go_on


@lsca.on(c.connect)
def peer(call: c.connect) -> lsca.Verdict:
    print(call.addr.host, call.addr.port, call.peer)
    call.process.state["seen"] = True
    return lsca.go_on


@lsca.on(c.newfstatat)
def smaller(call: c.newfstatat) -> lsca.Verdict:
    call.proceed()
    call.fill(statbuf={"st_size": call.statbuf.fields["st_size"]})
    return lsca.go_on


rules = [lsca.on("write").fail("ENOSPC", after_bytes=10), hidden]
result = lsca.run(["ls"], handlers=rules, capture_output=True, text=True)
print(result.stdout.upper(), result.reports[0].where, result.log)
raw = lsca.run(["ls"], capture_output=True).stdout.hex()
"""

BAD = {
    "wrong row": (
        "@lsca.on(c.openat)\ndef f(call: c.write) -> lsca.Verdict:\n    return lsca.go_on\n",
        'Argument 1 to "__call__" of "Rule" has incompatible type "Callable[[write], Verdict]"; '
        'expected "Callable[[openat], Verdict]"',
    ),
    "one row of two": (
        "@lsca.on(c.openat, c.open)\n"
        "def f(call: c.openat) -> lsca.Verdict:\n    return lsca.go_on\n",
        'expected "Callable[[openat | open], Verdict]"',
    ),
    "no such argument": (
        "@lsca.on(c.write)\n"
        "def f(call: c.write) -> lsca.Verdict:\n    return lsca.ret(call.size)\n",
        '"write" has no attribute "size"',
    ),
    "wrong type of an argument": (
        "@lsca.on(c.write)\ndef f(call: c.write) -> lsca.Verdict:\n    return lsca.ret(call.buf)\n",
        'Argument 1 to "ret" has incompatible type "bytes"; expected "int"',
    ),
    "no path": (
        "@lsca.on(c.write)\n"
        "def f(call: c.write) -> lsca.Verdict:\n    print(call.path)\n    return lsca.go_on\n",
        'Invalid self argument "write" to attribute function "path"',
    ),
    "no descriptor": (
        "@lsca.on(c.getpid)\n"
        "def f(call: c.getpid) -> lsca.Verdict:\n    print(call.file)\n    return lsca.go_on\n",
        'Invalid self argument "getpid" to attribute function "file"',
    ),
    "no verdict": (
        "@lsca.on(c.write)\ndef f(call: c.write) -> int:\n    return 3\n",
        'Value of type variable "R" of "__call__" of "Rule" cannot be "int"',
    ),
    "nothing returned": (
        "@lsca.on(c.write)\ndef f(call: c.write) -> None:\n    print(call)\n",
        'Value of type variable "R" of "__call__" of "Rule" cannot be "None"',
    ),
    "go_on called": (
        "@lsca.on(c.write)\ndef f(call: c.write) -> lsca.Verdict:\n    return lsca.go_on()\n",
        '"Verdict" not callable',
    ),
    "wrong condition": (
        '@lsca.on(c.write, pth="/x")\n'
        "def f(call: c.write) -> lsca.Verdict:\n    return lsca.go_on\n",
        'Unexpected keyword argument "pth"',
    ),
    "wrong predicate": (
        "lsca.on(c.write, when=lambda call: call.nothing)\n",
        '"write" has no attribute "nothing"',
    ),
    "no such row": ("lsca.on(c.opnat)\n", '"opnat"'),
}


def check(path: Path, cache: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-color", f"--cache-dir={cache}", str(path)],
        env=os.environ | {"MYPYPATH": str(SOURCES)},
        cwd=path.parent,
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


def test_right_handlers(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "good.py").write_text(GOOD)
    assert "Success" in (text := check(tmp_path / "good.py", cache)), text


def test_wrong_handlers(tmp_path: Path, cache: Path) -> None:
    """One file for all: each is refused on its own lines, and nothing else is."""
    text = "import lsca\nfrom lsca import calls as c\n"
    lines = {}
    for name, (code, _) in BAD.items():
        text += f"\n\n# {name}\n"
        first = text.count("\n") + 1
        text += code.replace("def f", f"def f{first}")
        lines[name] = range(first, text.count("\n") + 1)
    (tmp_path / "bad.py").write_text(text)
    output = check(tmp_path / "bad.py", cache)
    for name, (_, message) in BAD.items():
        own = [line for line in output.splitlines() if _line(line) in lines[name]]
        assert any(message in line for line in own), f"{name}:\n" + "\n".join(own) + output
    everywhere = {line for one in lines.values() for line in one}
    assert all(_line(line) in everywhere for line in output.splitlines() if "bad.py:" in line)


def _line(text: str) -> int:
    parts = text.split(":")
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0

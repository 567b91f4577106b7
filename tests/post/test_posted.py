# SPDX-License-Identifier: Apache-2.0
"""Proves that a program whose writes are posted cannot tell: random programs of calls, and scenes of what is hard, are
run natively and with --post, and what calls return, what is read, and what is left in the files must be the same.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from posting import memories

import lsca
from differential import command, environment, execute, program
from differential import lsca as start
from lsca.errors import HandlerError, LscaError

SEEDS = int(os.environ.get("LSCA_POST_SEEDS", "16"))
TELLS = re.compile(rb"^lsca: (\d+) writes to (\d+) files? posted, written by (\d+) calls\n", re.M)
OPTIONS = ("--post", "**", "--post-after", "1")


def posted(text: bytes) -> int:
    found = TELLS.search(text)
    return int(found[1]) if found else 0


def compared(argv: list[str], base: Path, *options: str, least: int = 1) -> int:
    """Both ways; how many writes were posted."""
    expected = execute(argv, base=base)
    got = execute(argv, base=base, route="kernel", options=(*OPTIONS, *options))
    count = posted(got.stderr)
    assert got.without({TELLS.pattern.decode(): ""}).lines() == expected.without({}).lines()
    assert count >= least
    return count


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_random_program_cannot_tell(seed: int, tmp_path: Path) -> None:
    calls = (20, 60, 200)[seed % 3]
    argv = [program("post/calls_of_files.c"), str(seed), str(calls)]
    compared(argv, tmp_path, least=0)
    assert not memories()


@pytest.mark.parametrize(
    "scene", ["limit", "limit-append", "dead-child", "turns", "executed", "mapped"]
)
def test_a_scene_is_the_same(scene: str, tmp_path: Path) -> None:
    compared([program("post/scenes.c"), scene, "file"], tmp_path)


@pytest.mark.parametrize("scene", ["threads", "threads-append", "births", "alarms"])
def test_lines_stay_whole_and_in_each_threads_order(scene: str, tmp_path: Path) -> None:
    def lines(*options: str) -> tuple[bytes, dict[bytes, list[bytes]], int]:
        path = tmp_path / "file"
        path.unlink(missing_ok=True)
        argv = [program("post/scenes.c"), scene, str(path)]
        route = "kernel" if options else "native"
        done = subprocess.run(
            command(route, argv, *options), cwd=tmp_path, env=environment(tmp_path),
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True,
        )  # fmt: skip
        found: dict[bytes, list[bytes]] = {}
        for line in path.read_bytes().splitlines():
            who, _, rest = line.partition(b" ")
            if who != b"alarm":
                found.setdefault(who, []).append(rest)
        return done.stdout if scene != "alarms" else b"", found, posted(done.stderr)

    expected, got = lines(), lines(*OPTIONS)
    assert got[:2] == expected[:2]
    assert got[2] > 0 or scene == "births"  # which may leave no time for it


def test_the_log_has_every_write(tmp_path: Path) -> None:
    argv = [program("post/scenes.c"), "paused", "file"]
    log = tmp_path / "log"
    compared(argv, tmp_path, "-o", str(log))
    opened = lsca.open_log(log)
    counts = dict(
        opened.sql(
            "select route, count(*) from calls where name = 'write' group by route"
        ).fetchall()
    )
    assert counts["local"] > 400 and sum(counts.values()) >= 500


def test_outsiders_see_it_soon(tmp_path: Path) -> None:
    path = tmp_path / "file"
    argv = [program("post/scenes.c"), "paused", str(path)]
    run = subprocess.Popen(
        command("kernel", argv, *OPTIONS), cwd=tmp_path, env=environment(tmp_path),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert run.stdout is not None
    assert run.stdout.readline() == b"written\n"
    deadline = time.monotonic() + 5
    while path.read_bytes().count(b"\n") < 500 and time.monotonic() < deadline:
        time.sleep(0.002)
    assert path.read_bytes().count(b"\n") == 500
    _, said = run.communicate(b"\n", timeout=30)
    assert posted(said) > 400


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="only root may mount")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(place)], check=True)
    try:
        argv = [program("post/scenes.c"), "full", str(place / "file")]
        outputs = [
            subprocess.run(
                command(route, argv, *options), env=environment(tmp_path), stdin=subprocess.DEVNULL,
                capture_output=True, timeout=60, check=True,
            )
            for route, options in (("native", ()), ("kernel", OPTIONS))
        ]  # fmt: skip
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert outputs[0].stdout == outputs[1].stdout
    assert b"failed 1" in outputs[1].stdout


def test_a_program_that_spawns_goes_on_posting(tmp_path: Path) -> None:
    script = (
        "import os, subprocess\n"
        "fd = os.open('file', os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n"
        "for n in range(20):\n"
        "    for k in range(50): os.write(fd, b'%d %d\\n' % (n, k))\n"
        "    subprocess.run(['true'], close_fds=False)\n"
    )
    assert compared([sys.executable, "-c", script], tmp_path) > 900


def test_only_what_a_pattern_names(tmp_path: Path) -> None:
    argv = [program("post/scenes.c"), "paused", "file"]
    done = execute(argv, base=tmp_path, route="kernel", options=("--post", "*.log"))
    assert posted(done.stderr) == 0
    done = execute(
        argv, base=tmp_path, route="kernel", options=("--post", "fi*", "--post-after", "1")
    )
    assert posted(done.stderr) > 400


def test_from_python(tmp_path: Path) -> None:
    path = tmp_path / "file"
    argv = [program("post/scenes.c"), "limit", str(path)]
    rule = lsca.on("write", "writev", path=str(path)).post()
    log = tmp_path / "log"
    for options in (
        {"post": lsca.PostOptions([str(path)], after=1)},
        {"handlers": [rule], "post": lsca.PostOptions([], after=1)},
    ):
        done = lsca.run(argv, log=log, capture_output=True, **options)
        assert done.returncode == 0 and done.stderr == b""
        assert path.stat().st_size == 100000
        path.unlink()
        assert done.log is not None
        rows = done.log.sql("select count(*) from calls where route = 'local' and name = 'write'")
        assert rows.fetchall()[0][0] > 100


def test_what_cannot_be(tmp_path: Path) -> None:
    for words, said in (
        (["--route", "proxy", "--post", "x"], "route proxy"),
        (["--post-sync"], "no --post"),
        (["--post", ""], "pattern"),
        (["--post", "x", "--post-after", "0"], "number from 1"),
    ):
        done = subprocess.run(
            [*start(), "run", "--no-daemon", *words, "true"],
            capture_output=True, text=True, cwd=tmp_path, check=False,
        )  # fmt: skip
        assert done.returncode == 125 and said in done.stderr, done.stderr
    with pytest.raises(HandlerError):
        lsca.on("write").post()
    with pytest.raises(HandlerError):
        lsca.on("write", path="/x", fd=3).post()
    with pytest.raises(HandlerError):
        lsca.on("read", path="/x").post()
    with pytest.raises(LscaError):
        lsca.PostOptions([""])


def test_nothing_is_left() -> None:
    assert not memories()

# SPDX-License-Identifier: Apache-2.0
"""The benchmark runs, and writes what it promises. No time is judged: that is for people who look at the table."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).with_name("bench.py")
MEASURES = 10


def bench(output: Path, *options: str) -> tuple[list[dict[str, object]], str]:
    command = [sys.executable, str(BENCH), "--quick", "--output", str(output), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(output.read_text())
    assert len(rows) == len({row["name"] for row in rows})
    for row in rows:
        assert set(row) == {"name", "unit", "native", "value", "ratio"}
        assert row["unit"] in ("ns", "us", "ms")
        assert row["native"] > 0 and row["value"] > 0 and row["ratio"] > 0
    return rows, done.stdout


def test_calls(tmp_path: Path) -> None:
    rows, _ = bench(tmp_path / "bench.json", "--only", "calls")
    places = min(2, len(os.sched_getaffinity(0)))
    ways = 3 if shutil.which("strace") else 2
    assert len(rows) == MEASURES * places * ways


def test_cost_of_the_log(tmp_path: Path) -> None:
    rows, told = bench(tmp_path / "bench.json", "--only", "log")
    places = min(2, len(os.sched_getaffinity(0)))
    ways = {str(row["name"]).split(", ", 1)[1].rpartition(", ")[0] for row in rows}
    assert {"kernel", "kernel, log"} <= ways
    assert len(rows) == 3 * places * len(ways)
    assert "records drained" in told and "bytes per record" in told


def test_cost_of_posted_writes(tmp_path: Path) -> None:
    rows, told = bench(tmp_path / "bench.json", "--only", "post")
    assert len(rows) == 3 * 4 * min(2, len(os.sched_getaffinity(0)))
    assert "times faster" in told


def test_streams(tmp_path: Path) -> None:
    """Every row of the C programs is there; servers that are not installed are named."""
    rows, told = bench(tmp_path / "bench.json", "--only", "streams")
    names = [str(row["name"]) for row in rows]
    places = min(2, len(os.sched_getaffinity(0)))
    for title in (
        "echo of 64 bytes, TCP",
        "50 connections, epoll, 64 bytes",
        "chunks of 1 KiB, pipe",
    ):
        assert sum(name.startswith(f"{title}, streams") for name in names) == places
    for title in (
        "a peer of SCHED_IDLE",
        "eight pairs, pipes",
        "from SIGCONT to the answer",
        "spinning",
    ):
        assert sum(title in name for name in names) == places, title
    assert "memory of a connection" in told
    left_out = [line for line in told.splitlines() if " left out: " in line]
    for key in ("redis", "nginx", "memcached", "pgbench", "quota", "sockmap"):
        assert any(key in text for text in (*names, *left_out)), told


@pytest.mark.parametrize(
    ("key", "values"),
    [("make", 1), ("small", 1), ("git", 1), ("shell", 1), ("redis", 2), ("pgbench", 2)],
)
def test_program(key: str, values: int, tmp_path: Path) -> None:
    """Without and with a log; or it is said why not, and that is no failure."""
    rows, told = bench(tmp_path / "bench.json", "--only", key)
    if "left out: " in told:
        assert not rows
        assert "installed" in told
    else:
        assert len(rows) == 2 * values


def test_handlers_beside_others() -> None:
    command = [sys.executable, str(BENCH.with_name("peers.py")), "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=True)
    for way in ("native", "LSCA, a rule", "LSCA, an empty handler"):
        assert re.search(rf"^{way} +\d+$", done.stdout, re.MULTILINE), done.stdout


def test_choice_that_is_none(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCH), "--only", "spwan"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "spwan" in done.stderr and "spawn" in done.stderr


def test_log() -> None:
    pytest.importorskip("duckdb", reason="DuckDB is not installed")
    command = [sys.executable, str(BENCH.with_name("log.py")), "--calls", "100000", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=True)
    found = json.loads(done.stdout)
    assert len(found) == 11 and all(value > 0 for value in found.values())
    assert found["bytes per call"] < 20


def test_rules_and_handlers() -> None:
    command = [sys.executable, str(BENCH.with_name("handled.py")), "1", "0.01"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    ways = {"native", "captured", "no", "rules", "path", "callback", "lsca.on"}
    assert ways <= {line.split()[0] for line in done.stdout.splitlines()}


def test_a_suite_under_the_fixture() -> None:
    command = [sys.executable, str(BENCH.with_name("suite.py")), "1", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    words = [line.split()[0] for line in done.stdout.splitlines()]
    assert words == ["native", "caught", "ratio", "at"]

# SPDX-License-Identifier: Apache-2.0
"""Proves names and random numbers that a run says."""

import os
import sys
from pathlib import Path

import pytest
from commands import lsca, refused

import lsca as library
from lsca.services import identity

RANDOM = (
    "import os, uuid; print(uuid.uuid4(), os.urandom(3), hash('x'), open('/dev/urandom', 'rb', 0).read(5), "
    "open('/dev/random', 'rb', 0).read(5))"
)


def test_names(route: str) -> None:
    names = [identity.hostname("build-1"), identity.user("alice", 1234, 99)]
    text = "hostname; uname -n; cat /proc/sys/kernel/hostname; id; whoami; tail -n 1 /etc/passwd; uname -s"
    done = library.run(
        ["sh", "-c", text], handlers=names, route=route, capture_output=True, text=True
    )
    assert not done.reports
    assert done.stdout == (
        "build-1\nbuild-1\nbuild-1\nuid=1234(alice) gid=99(alice) groups=99(alice)\nalice\n"
        f"alice:x:1234:99::/home/alice:/bin/sh\n{os.uname().sysname}\n"
    )


def test_the_same_seed_gives_the_same_numbers(route: str) -> None:
    text = f'for i in 1 2; do {sys.executable} -c "$0"; done; head -c 6 /dev/urandom | od -tx1'

    def numbers(seed: int) -> str:
        return lsca(
            "run", "--no-daemon", "--route", route, "--seed", str(seed), "sh", "-c", text, RANDOM
        )

    first = numbers(7)
    lines = first.splitlines()
    assert lines[0] != lines[1]  # each process has its own
    assert numbers(7) == first
    assert numbers(8) != first


def test_large_and_small_reads(tmp_path: Path) -> None:
    program = (
        "import os; print(len(os.getrandom(200000)), len(os.getrandom(0)), len(os.urandom(100000)))"
    )
    done = library.run(
        [sys.executable, "-c", program], handlers=[identity.randomness(1)], capture_output=True
    )
    assert (done.stdout, done.reports) == (b"200000 0 100000\n", [])
    done = library.run(
        [
            "sh",
            "-c",
            "head -c 3000000 /dev/urandom | wc -c; head -c 3000000 /dev/urandom | tr -d '\\0' | wc -c",
        ],
        handlers=[identity.randomness(1)],
        capture_output=True,
    )
    whole, some = map(int, done.stdout.split())
    assert whole == 3000000 and 2970000 < some < whole


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--hostname", "a b"], "'a b' is no name of a machine"),
        (["--user", "alice:x"], "what is wanted is NAME, NAME:UID or NAME:UID:GID"),
        (["--user", "a/b"], "'a/b' is no name of a user"),
        (["--user", "alice:99999999999"], "is no number of a user"),
    ],
)
def test_what_is_wrong_is_said(words: list[str], message: str) -> None:
    assert message in refused("run", *words, "true")

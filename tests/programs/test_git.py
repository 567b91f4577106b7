# SPDX-License-Identifier: Apache-2.0
"""git: many small programs, locks, renames, pipes, mapped packs."""

import shutil
from pathlib import Path

import pytest

from differential import compare

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")

IDENTITY = {
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_AUTHOR_DATE": "@1000000000 +0000",
    "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_COMMITTER_DATE": "@1000000000 +0000", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null",
}  # fmt: skip
STORY = """
set -e
git init -q -b main here
cd here
for i in 1 2 3 4 5; do
    echo "line $i" >> file; mkdir -p d$i; seq $i 500 > d$i/numbers
    git add .; git commit -q -m "commit $i"
done
git checkout -q -b side HEAD~2
echo side > side; git add side; git commit -q -m side
git checkout -q main; git merge -q --no-edit side
git log --oneline --stat | cat
git gc -q --prune=now
git fsck --strict
git rev-parse HEAD
cd ..
git clone -q here there
git -C there log --format=%H%s | cat
git clone -q "file://$PWD/here" far
git -C far status --short --branch
git -C far diff HEAD~3 --stat | cat
git -C far grep -c 'line' -- file
git -C far archive HEAD | tar t | wc -l
echo change >> far/file; git -C far stash -q; git -C far stash pop; git -C far diff | cat
"""


def test_story(route: str, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    compare(
        ["bash", "-c", STORY],
        routes=(route,),
        files=files,
        env=IDENTITY,
        ignore=(
            "*/.git/index",
            "*.sample",
            "*.rev",
            "*.idx",
            "*.pack",
            "*/.git/logs/*",
            "*/logs/*/*",
        ),
        status=0,
        timeout=90,
    )

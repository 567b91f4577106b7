# SPDX-License-Identifier: Apache-2.0
"""Shells and the tools people put behind them: pipelines, redirection, archives, many processes."""

import shutil
from pathlib import Path

import pytest

from differential import compare

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")

PIPELINES = {
    "ls": "ls -lR --time-style=+ tree | sed 's/^total.*//'",
    "cat": "cat tree/*.txt tree/sub/*.txt | wc",
    "cp": "cp -rp tree copy && diff -r tree copy && ls copy/sub | wc -l",
    "sort": "sort -n numbers | uniq -c | sort -rn | head -5",
    "grep": "grep -rn 7 tree | sort | md5sum; grep nothing numbers; echo $?",
    "find": "find tree -type f -newermt 2000-01-01 -size -2 -print0 | sort -z | xargs -0 -n 7 echo",
    "xargs": "seq 40 | xargs -P 4 -n 1 sh -c 'echo \"line $0\" >> lines'; sort -k 2 -n lines; rm lines",
    "tar": "tar cf - tree | (mkdir out; cd out; tar xf -); diff -r tree out/tree; echo $?; rm -r out",
    "gzip": "gzip -9nc numbers | tee packed | gunzip | cmp - numbers; wc -c < packed",
    "tar and gzip": "tar --sort=name --mtime=@0 --owner=0 --group=0 -c tree | gzip -n | zcat | md5sum",
    "early end": "yes | head -3; seq 100000 | head -1; echo ${PIPESTATUS[@]}",
    "status": "(exit 3) | true | (exit 5); echo ${PIPESTATUS[@]}; false; echo $?",
    "substitution": 'x=$(cat numbers | tail -1); y=`echo $x`; echo "<$y>"; diff <(echo a) <(echo b)',
    "redirection": "exec 5>five; echo to five >&5; cat <five 2>&1 >&2; ls missing 2>&1 | wc -l",
    "here document": "cat <<end\none $((1 + 2))\nend\nread a b <<< 'x y'; echo $b",
    "background": "for i in 1 2 3 4; do (sleep 0.0$i; echo $i > done-$i) & done; wait; cat done-*",
    "trap": "trap 'echo caught' TERM; kill $$; trap 'echo leaving' EXIT; exit 3",
    "kill": "sleep 30 & kill $!; wait $!; echo $?",
    "self-killing": "kill -USR1 $$",
    "directory": "cd tree/sub; pwd | sed 's,.*/run/,,'; cd - > /dev/null; umask 077; : > private; umask",
    "limits": "ulimit -n 30; ulimit -n; "
    "(ulimit -f 1; head -c 5000 /dev/zero > big; echo $?) 2> /dev/null; wc -c < big",
    "many": "for i in $(seq 60); do /bin/true; done; echo done",
    "fifo": "mkfifo f; (seq 5 > f &) ; cat f",
    "dd": "dd if=/dev/zero of=zeros bs=64k count=80 2> /dev/null; md5sum < zeros; "
    "dd if=zeros bs=1 count=10 skip=5 2> /dev/null | wc -c",
    "links": "ln -s tree/sub link; ls link | head -2; readlink -f link | sed 's,.*/run/,,'; "
    "ln numbers hard; stat -c %h hard",
    "times": "touch -d @86400 old; stat -c '%Y %s %a' old; test old -ot numbers; echo $?",
    "environment": "env | grep -v LSCA_TEST_RUN | sort; set | wc -l",
    "which descriptors": "ls /proc/self/fd; readlink /proc/self/exe; cat < numbers | ls -l /proc/self/fd | wc -l",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Some files with known contents, modes and times."""
    top = tmp_path / "files"
    (top / "tree" / "sub").mkdir(parents=True)
    for i in range(30):
        (top / "tree" / f"{i}.txt").write_text(f"{i}\n" * i)
        (top / "tree" / "sub" / f"{i}.txt").write_text("x" * (i * 100))
    (top / "tree" / "sub" / "script").write_text("#!/bin/sh\necho from a script\n")
    (top / "tree" / "sub" / "script").chmod(0o755)
    (top / "numbers").write_text("".join(f"{i * 7919 % 101}\n" for i in range(3000)))
    return top


@pytest.mark.parametrize("name", PIPELINES)
def test_pipeline(name: str, route: str, tree: Path) -> None:
    compare(["bash", "-c", PIPELINES[name]], routes=(route,), files=tree, timeout=20)


@pytest.mark.parametrize("name", ["perl", "sqlite3", "awk", "make", "node"])
def test_others(name: str, route: str, tree: Path) -> None:
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    (tree / "Makefile").write_text(
        "all: a b c\na b c:\n\t@sleep 0.0$(words $@); echo $@ > $@.out\n"
    )
    lines = {
        "perl": ["perl", "-e", 'open F, "-|", "sort", "numbers"; my @l = <F>; print scalar(@l), $l[9]'],
        "sqlite3": ["sqlite3", "base", "create table t(a); insert into t values(1),(2); select sum(a) from t"],
        "awk": ["awk", '{s += $1; print > "/dev/stderr"} END {print s; system("pwd > /dev/null")}', "numbers"],
        "make": ["make", "-j4", "-s"],
        "node": ["node", "-e", "const fs=require('fs'); setTimeout(() => { fs.writeFileSync('f', 'x'); "
                 "console.log(require('child_process').execSync('wc -l < numbers').toString()) }, 10)"],
    }  # fmt: skip
    compare(lines[name], routes=(route,), files=tree, status=0)


def test_standard_input(route: str) -> None:
    data = bytes(range(256)) * 40_000
    compare(["bash", "-c", "head -c 1000 | md5sum; cat | md5sum"], routes=(route,), stdin=data)


def test_large_output(route: str) -> None:
    compare(["bash", "-c", "seq 1000000"], routes=(route,), status=0)


@pytest.mark.parametrize("status", [0, 1, 77, 255])
def test_exit_status(status: int, route: str) -> None:
    compare(["sh", "-c", f"exit {status}"], routes=(route,), status=status)

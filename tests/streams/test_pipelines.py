# SPDX-License-Identifier: Apache-2.0
"""Descriptors that came through an exec: what shells and their like make of pipes and sockets is the same over streams.

Each pipeline says how many of its connections are to go through memory at least, and at most. `heirs.c` hands ends of
connections on in random ways and looks at every byte.
"""

import os
import platform
import shutil
import sys
from pathlib import Path

import pytest
from pipelines import rings_of

from differential import program

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="written for x86-64")
SEEDS = int(os.environ.get("LSCA_SCRIPTS", "0")) or 12
ENDS = 4  # connections of heirs.c

# What, at least, at most.
SHELL = {
    "sort": ("seq 300000 | sort -n | uniq -c | tail -2", 2, 3),
    "long": ("head -c 20000000 /dev/zero | cat | cat | cat | md5sum", 4, 4),
    "tar": (
        "mkdir a b; seq 200000 > a/x; head -c 999999 /dev/zero > a/y; "
        "tar c a | gzip -1 | gzip -d | tar x -C b; cmp a/x b/a/x && cmp a/y b/a/y && echo same",
        1,
        3,
    ),
    "broken pipe": ("seq 10000000 | head -3; echo ${PIPESTATUS[@]}", 0, 1),
    "broken pipe later": (
        "seq 10000000 | cat | head -c 3000000 | md5sum; echo ${PIPESTATUS[@]}",
        3,
        3,
    ),
    "reader leaves": (
        "seq 3000000 | (for i in 1 2 3 4 5; do read x; done; echo $x); echo ${PIPESTATUS[@]}",
        0,
        1,
    ),
    "read line by line": (
        "seq 20000 | while read x; do y=$x; done; seq 9 | (while read x; do :; done; echo $x)",
        1,
        2,
    ),
    "both read": ("seq 300000 | { read x; read x; read x; echo $x; cat; } | md5sum", 0, 1),
    "others read in between": (
        "seq 30000 | while read x; do [ $((x % 9000)) = 0 ] && head -c 20 | md5sum; done",
        0,
        9,
    ),
    "slow reader": (
        "seq 300000 | (while read x; do [ $x = 3000 ] && break; done; "
        "for ((i = 0; i < 300000; i++)); do :; done; read y; echo $y; head -c 100; cat | md5sum)",
        0,
        2,
    ),
    "several write": (
        "(for i in $(seq 2000); do echo $i; done; seq 3000; echo end) | md5sum",
        0,
        1,
    ),
    "subshells": ("(seq 1000; (seq 300000; seq 5) | sort -n | tail -3) | (cat | md5sum)", 1, 4),
    "substitution": ("x=$(seq 500000 | cat); echo ${#x}; y=`seq 3`; echo $y", 1, 3),
    "process substitution": ("diff <(seq 100000) <(seq 100000 | cat) && echo same", 0, 3),
    "tee": (
        "seq 2000000 | tee >(cat > copy) | md5sum; while sleep 0.01; do cmp -s <(seq 2000000) copy && break; done",
        1,
        3,
    ),
    "xargs": ("seq 5000 | xargs -n 500 echo | cat | md5sum", 0, 3),
    "xargs reads nothing of it": (
        "seq 3000 | xargs -n 1000 cat /dev/stdin < /dev/null; seq 5 | xargs -I{} echo {}",
        0,
        2,
    ),
    "wrappers": ("seq 200000 | env X=1 nice sh -c 'exec cat' | md5sum", 2, 2),
    "exec": ("exec 5> >(md5sum); seq 1000 >&5; seq 100000 >&5; exec 5>&-; wait $!", 0, 1),
    "coprocess": (
        "coproc cat; seq 100 >&${COPROC[1]}; exec {COPROC[1]}>&-; cat <&${COPROC[0]} | md5sum",
        0,
        2,
    ),
    "not found": (
        "seq 100000 | /no/such/program; echo ${PIPESTATUS[@]}; seq 1000000 | (/no/such; exec cat) | md5sum",
        1,
        2,
    ),
    "fd of another": ("seq 1000000 | cat /dev/stdin | md5sum; seq 3 | cat /proc/self/fd/0", 1, 2),
    "killed writer": ("(seq 100000; kill -9 $BASHPID) | md5sum; echo ${PIPESTATUS[@]}", 0, 1),
    "killed reader": (
        "seq 3000000 | sh -c 'head -c 1000000 > /dev/null; kill -9 $$'; echo ${PIPESTATUS[@]}",
        0,
        1,
    ),
    "killed in the middle": (
        "(cat /dev/zero & echo $! > pid; wait) | head -c 5000000 | md5sum; "
        "cat /dev/zero | cat > /dev/null & sleep 0.1; kill -9 $!; wait $! ; echo $?; kill -9 %1 2> /dev/null; echo",
        0,
        3,
    ),
    "loop": (
        "for i in $(seq 20); do seq 100 | cat | tail -1; done; seq 1000000 | cat | md5sum",
        2,
        44,
    ),
    "stopped": (
        "seq 3000000 | md5sum & sleep 0.05; { kill -STOP $!; sleep 0.05; kill -CONT $!; } 2> /dev/null; wait",
        0,
        1,
    ),
}


@pytest.mark.parametrize("name", SHELL)
def test_shell(name: str, tmp_path: Path) -> None:
    script, least, most = SHELL[name]
    rings, _ = rings_of(["bash", "-c", "rm -rf a b copy pid; " + script], tmp_path)
    assert least <= rings <= most


@pytest.mark.parametrize("shell", ["dash", "busybox sh"])
def test_other_shells(shell: str, tmp_path: Path) -> None:
    words = shell.split()
    if not shutil.which(words[0]):
        pytest.skip(f"{words[0]} is missing")
    rings, _ = rings_of([*words, "-c", "seq 300000 | sort -n | cat | tail -1; echo $?"], tmp_path)
    assert rings >= 2


CHAIN = """
import subprocess as s
first = s.Popen(["seq", "200000"], stdout=s.PIPE{more})
second = s.Popen(["cat"], stdin=first.stdout, stdout=s.PIPE{more})
first.stdout.close()
print(len(second.stdout.read()), first.wait(), second.wait())
third = s.Popen(["cat"], stdin=s.PIPE, stdout=s.PIPE, bufsize=0{more})
for i in range(100):
    third.stdin.write(b"%d\\n" % i)
    assert int(third.stdout.readline()) == i
third.stdin.close()
print(third.wait())
try:
    s.run(["/no/such/program"], stdin=s.PIPE{more})
except FileNotFoundError:
    print("not found")
"""


@pytest.mark.parametrize(
    "more", ["", ", close_fds=False", ", preexec_fn=int", ", start_new_session=True"]
)
def test_python(more: str, tmp_path: Path) -> None:
    """By vfork, or by fork if there is something to do before the exec."""
    rings, out = rings_of([sys.executable, "-c", CHAIN.format(more=more)], tmp_path)
    assert out == b"1288895 0 0\n0\nnot found\n"
    assert rings >= 4


def test_python_with_threads(tmp_path: Path) -> None:
    """Of a child that starts while other threads run nobody knows what it holds."""
    code = (
        "import threading, time\nthreading.Thread(target=time.sleep, args=[0.5]).start()\n"
        + CHAIN.format(more="")
    )
    rings_of([sys.executable, "-c", code], tmp_path)


SERVER = """
import os, socket, subprocess
listener = socket.create_server(("127.0.0.1", 0))
def client():
    with socket.create_connection(listener.getsockname()) as s, s.makefile("rwb", 0) as f:
        for i in range(200):
            f.write(b"%d\\n" % i)
            assert int(f.readline()) == i
        s.shutdown(socket.SHUT_WR)
        assert not f.read()
    print("client", flush=True)
if os.fork() == 0:
    client()
    os._exit(0)
s, _ = listener.accept()
listener.close()
if os.fork() == 0:
    os.dup2(s.fileno(), 0)
    os.dup2(s.fileno(), 1)
    os.execvp("cat", ["cat", "-u"])
s.close()
print([os.wait()[1] for _ in range(2)])
one, two = socket.socketpair()
child = subprocess.Popen(["cat"], stdin=two, stdout=two)
two.close()
for i in range(200):
    one.sendall(b"%d\\n" % i)
    assert int(one.recv(100)) == i
one.close()
print(child.wait())
"""


def test_inherited_sockets(tmp_path: Path) -> None:
    """As inetd does it: a connection is a program's standard input and output."""
    rings, _ = rings_of([sys.executable, "-c", SERVER], tmp_path)
    assert rings == 2


GIVEN = """
import os, socket, subprocess
r, w = os.pipe()
one, two = socket.socketpair()
if os.fork() == 0:
    one.close()
    _, fds, _, _ = socket.recv_fds(two, 1, 1)
    os.close(r), os.close(w)
    os.dup2(fds[0], 1)
    os.execvp("seq", ["seq", "100000"])
two.close()
socket.send_fds(one, [b"x"], [w])
os.close(w)
print(len(os.fdopen(r, "rb").read()), os.wait()[1])
"""


def test_given_away(tmp_path: Path) -> None:
    """What came in a message is the kernel's, and what is inherited of that."""
    rings, out = rings_of([sys.executable, "-c", GIVEN], tmp_path)
    assert (rings, out) == (0, b"588895 0\n")


@pytest.mark.parametrize("seed", range(SEEDS))
def test_from_hand_to_hand(seed: int, tmp_path: Path) -> None:
    heirs = program("streams/heirs.c")
    script = f"for i in 0 1 2 3; do {heirs} $(({seed} * 4 + i)) {ENDS} > out 2> err; echo $?; cat err; sort out; done"
    rings_of(["bash", "-c", script], tmp_path)


KILLED = """
import os, signal
for i in range(4500):
    r, w = os.pipe()
    if (pid := os.fork()) == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(r), os.close(w)
os.execvp("sh", ["sh", "-c", "seq 300000 | sort -n | tail -1"])
"""


def test_killed_holders_are_forgotten(tmp_path: Path) -> None:
    """More than there is room for: who was killed cannot say that he holds an end no more."""
    rings, _ = rings_of([sys.executable, "-S", "-c", KILLED], tmp_path)
    assert rings >= 1

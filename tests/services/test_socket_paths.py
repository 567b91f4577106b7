# SPDX-License-Identifier: Apache-2.0
"""Unix sockets by paths in an overlay and in a tree: they are made there and found there, under the names by which
programs call them, by stat, listings, renames and removals as well. The oracle is the kernel, in a copy.
"""

import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from commands import lsca
from overlaying import compared, make

import lsca as library
from differential import program
from lsca.services import files

HEAD = """
import errno, os, socket, stat, sys
U, S, D = socket.AF_UNIX, socket.SOCK_STREAM, socket.SOCK_DGRAM
here = os.getcwd()
def said(what, *words):
    try: print(what.__name__, what(*words))
    except OSError as e: print(what.__name__, e.strerror)
"""
STREAM = (
    HEAD
    + """
s = socket.socket(U, S)
s.bind(NAME); s.listen()
print(s.getsockname(), stat.S_ISSOCK(os.stat(NAME).st_mode), sorted(os.listdir("sub")))
c = socket.socket(U, S)
c.bind(here + "/client")
c.connect(NAME)
t, who = s.accept()
print(who, t.getpeername(), t.getsockname(), c.getpeername(), c.getsockname())
t.sendmsg([b"x"]); print(c.recvmsg(10)[0])
said(socket.socket(U, S).bind, NAME)
os.rename(NAME, "sub/renamed")
said(socket.socket(U, S).connect, NAME)
said(socket.socket(U, S).connect, "sub/renamed")
os.chmod("sub/renamed", 0o600); os.unlink("client")
said(socket.socket(U, S).connect, "a")
said(socket.socket(U, S).bind, here + "/no/where")
print(sorted(os.listdir(".")), sorted(os.listdir("sub")))
os.unlink("sub/renamed")
said(socket.socket(U, S).connect, here + "/sub/renamed")
"""
)
DATAGRAMS = (
    HEAD
    + """
one, two = here + "/sub/one", here + "/two"
a, b = socket.socket(U, D), socket.socket(U, D)
a.bind(one); b.bind(two)
b.sendto(b"1", one); print(a.recvfrom(10))
b.sendmsg([b"2"], [], 0, one); print(a.recvmsg(10))
a.sendto(b"3", two); print(b.recvfrom(10, socket.MSG_PEEK), b.recvfrom(10))
b.connect(one); b.send(b"4"); print(a.recvfrom(10), b.getpeername())
said(a.sendto, b"5", here + "/none")
said(a.sendto, b"5", here + "/a")
os.unlink(one)
said(socket.socket(U, D).sendto, b"6", one)
os.unlink(two)
"""
)
SOCAT = (
    "socat UNIX-LISTEN:$PWD/s,unlink-early EXEC:'echo hello' & "
    "while ! test -S s; do sleep 0.01; done; socat -u UNIX-CONNECT:$PWD/s -; wait; ls"
)
REDIS = (
    "redis-server --port 0 --unixsocket $PWD/sub/redis.sock --unixsocketperm 700 --save '' --logfile /dev/null & "
    "while ! test -S sub/redis.sock; do sleep 0.01; done; stat -c '%A' sub/redis.sock; "
    "redis-cli -s $PWD/sub/redis.sock set k v; redis-cli -s sub/redis.sock get k; "
    "redis-cli -s $PWD/sub/redis.sock shutdown nosave; wait; ls sub"
)


def python(text: str) -> str:
    return f"python3 -S - <<'E'\n{text}\nE"


@pytest.mark.parametrize("name", ["here + '/sub/s'", "'sub/s'", "'./sub/../sub/s'"])
def test_streams(name: str, route: str, tmp_path: Path) -> None:
    assert compared(python(STREAM.replace("NAME", f"({name})")), route, tmp_path) == []


def test_datagrams(route: str, tmp_path: Path) -> None:
    assert compared(python(DATAGRAMS), route, tmp_path) == []


def test_many_messages_at_once(route: str, tmp_path: Path) -> None:
    assert compared(program("services/many.c"), route, tmp_path) == []


@pytest.mark.parametrize(("tool", "text"), [("socat", SOCAT), ("redis-server", REDIS)])
def test_real_programs(tool: str, text: str, route: str, tmp_path: Path) -> None:
    assert shutil.which(tool)
    assert compared(text, route, tmp_path) == []


def test_directories_deeper_than_an_address_has_room_for(route: str, tmp_path: Path) -> None:
    """The copy's paths are longer than 107 bytes, those of programs are not."""
    state = tmp_path / ("long" * 20)
    directory = make(tmp_path / "d")
    name = f"{directory}/sub/s"
    assert len(name) < 108
    source = STREAM.replace("NAME", repr(name))
    native = make(tmp_path / "n")
    wanted = subprocess.run(
        [sys.executable, "-c", STREAM.replace("NAME", repr(f"{native}/sub/s"))],
        cwd=native,
        capture_output=True,
        text=True,
    )
    run = ["run", "--no-daemon", "--route", route, "--overlay", directory, "--state", state, "--"]
    said = lsca(*run, sys.executable, "-c", source, cwd=directory)
    assert wanted.stderr == ""
    assert said.replace(str(directory), "@") == wanted.stdout.replace(str(native), "@")


def test_a_server_outside_is_reached_by_its_socket(route: str, tmp_path: Path) -> None:
    """A socket of the real directory is there, and leads to who listens; one that replaces it leads to its own."""
    directory, state = make(tmp_path), tmp_path / "state"
    place = str(directory / "served")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(place)
        server.listen()

        def serve() -> None:
            stream, _ = server.accept()
            stream.sendall(b"outside")
            stream.close()

        thread = threading.Thread(target=serve)
        thread.start()
        text = (
            HEAD
            + """
c = socket.socket(U, S); c.connect(NAME); print(c.recv(10), c.getpeername(), oct(os.stat(NAME).st_mode))
said(socket.socket(U, S).bind, NAME)
os.unlink(NAME)
said(socket.socket(U, S).connect, NAME)
s = socket.socket(U, S); s.bind(NAME); s.listen()
c = socket.socket(U, S); c.connect(NAME); s.accept()[0].send(b"inside"); print(c.recv(10))
""".replace("NAME", repr(place))
        )
        mode = oct(os.stat(place).st_mode)
        run = ["run", "--route", route, "--overlay", directory, "--state", state, "--"]
        said = lsca(*run, sys.executable, "-c", text)
        thread.join()
    assert said == (
        f"b'outside' {place} {mode}\nbind Address already in use\n"
        "connect No such file or directory\nb'inside'\n"
    )
    assert lsca("diff", "--state", state, code=1) == (
        "changed  served (another socket, not made by apply)\n"
    )
    lsca("apply", "--state", state)
    assert os.path.exists(place)


def test_what_becomes_of_sockets(tmp_path: Path) -> None:
    directory, state = make(tmp_path), tmp_path / "state"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(directory / "real"))
    text = f"""
import os, socket
os.chdir({str(directory)!r})
socket.socket(socket.AF_UNIX).bind("new")
os.unlink("a"); socket.socket(socket.AF_UNIX).bind({str(directory)!r} + "/a")
os.chmod("real", 0o600)
os.mkdir("run"); socket.socket(socket.AF_UNIX).bind("run/s")
"""
    lsca("run", "--overlay", directory, "--state", state, "--", sys.executable, "-c", text)
    said = (
        "changed  a (file -> socket, not made by apply)\n"
        "added    new (socket, not made by apply)\n"
        f"changed  real (mode {os.stat(directory / 'real').st_mode & 0o7777:04o} -> 0600)\n"
        "added    run (directory)\n"
        "added    run/s (socket, not made by apply)\n"
    )
    assert lsca("diff", "--state", state, code=1) == said
    assert lsca("apply", "--state", state) == said
    names = {"real", "run"}
    assert names < set(os.listdir(directory)) and not {"a", "new"} & set(os.listdir(directory))
    assert os.stat(directory / "real").st_mode & 0o7777 == 0o600
    assert os.listdir(directory / "run") == []


def test_in_a_tree(route: str) -> None:
    text = STREAM.replace("NAME", "'/made/sub/s'").replace('here + "', '"/made')
    text = text.replace('print(sorted(os.listdir(".")), ', "print(").replace('"a")', '"/made/a")')
    text = text.replace('"sub', '"/made/sub').replace('"client"', '"/made/client"')
    tree = files.tree("/made", {"a": "x", "sub": {"b": lambda: "later"}})
    done = library.run(
        [sys.executable, "-c", text], handlers=[tree], route=route, capture_output=True, text=True
    )
    assert done.stderr == "" and done.reports == []
    assert done.stdout == (
        "/made/sub/s True ['b', 's']\n"
        "/made/client /made/client /made/sub/s /made/sub/s /made/client\n"
        "b'x'\nbind Address already in use\nconnect No such file or directory\nconnect None\n"
        "connect Connection refused\nbind No such file or directory\n['b', 'renamed']\n"
        "connect No such file or directory\n"
    )

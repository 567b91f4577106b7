# SPDX-License-Identifier: Apache-2.0
"""Proves virtual files: the same commands in a virtual tree and in a real directory write the same."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, ClassVar

import pytest
from commands import lsca, refused

import lsca as library
from lsca.services import files

TREE: dict[str, Any] = {
    "a.txt": b"one\n",
    "sub": {"b.txt": lambda: "two\n", "deep": {"c": "three\n"}},
    "run": "#!/bin/sh\necho ran $*\n",
    "empty": b"",
    "big": bytes(range(256)) * 4096,
}
PATH = "/lsca-virtual/tree"  # not even its parent is there
# Everything that a command could do with a directory; AT stands for it.
SCRIPTS = {
    "read": "cat AT/a.txt AT/sub/b.txt AT/sub/deep/c; cksum < AT/big; cat AT/empty",
    "list": ("ls -R AT; find AT | sort; test -d AT/sub && echo directory; stat -c '%s %F %A' AT/*"),
    "directories": (
        "cd AT/sub; pwd; ls; cat b.txt ../a.txt; cd deep; /bin/pwd; cat ../../a.txt; "
        "cd ..; readlink /proc/self/cwd"
    ),
    "write": (
        "echo new > AT/n; echo more >> AT/a.txt; cat AT/n AT/a.txt; : > AT/sub/b.txt; "
        "wc -c < AT/sub/b.txt"
    ),
    "names": (
        "mv AT/a.txt AT/z; mv AT/sub AT/gone; rm AT/run; ls -R AT; mkdir AT/d; "
        "rmdir AT/d; rm -r AT/gone; ls AT"
    ),
    "links": (
        "ln -s AT/a.txt AT/l; readlink AT/l; cat AT/l; ln AT/a.txt AT/h; "
        "stat -c %h AT/a.txt; ln -s a.txt AT/r; cat AT/r"
    ),
    "modes": (
        "chmod 600 AT/a.txt; stat -c %a AT/a.txt; touch -d @5 AT/a.txt; "
        "stat -c %Y AT/a.txt; truncate -s 2 AT/a.txt; cat AT/a.txt"
    ),
    "execute": (
        "chmod +x AT/run; AT/run 1 2; cp /bin/echo AT/e; AT/e hello; cd AT; ./e there; "
        "PATH=AT:$PATH; run 3"
    ),
    "failures": (
        "cat AT/none; cat AT/a.txt/x; ls AT/a.txt/; rmdir AT/sub; mkdir AT/sub; "
        "cd AT/none; mv AT/none AT/x; ln AT/a.txt AT/run"
    ),
    "mapping": (
        "python3 -c 'import mmap; f=open(\"AT/a.txt\"); print(mmap.mmap(f.fileno(), 0, prot=1)[:])'"
    ),
    "descriptors": (
        "exec 5< AT/a.txt; readlink /proc/self/fd/5; cat <&5; rm AT/a.txt; readlink /proc/self/fd/5"
    ),
}


def make(place: Path, tree: dict[str, Any]) -> None:
    place.mkdir(parents=True)
    for name, node in tree.items():
        if isinstance(node, dict):
            make(place / name, node)
            continue
        data = node() if callable(node) else node
        (place / name).write_bytes(data if isinstance(data, bytes) else data.encode())


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_a_tree_is_as_a_directory_would_be(name: str, route: str, tmp_path: Path) -> None:
    make(tmp_path / "real", TREE)
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}

    def outcome(script: str, **options: Any) -> tuple[int, str, str]:
        arguments = {"capture_output": True, "text": True, "env": environment, "cwd": "/"}
        if not options:
            done = subprocess.run(["sh", "-c", script], **arguments)
        else:
            done = library.run(["sh", "-c", script], **arguments, **options)
            assert not done.reports
        return done.returncode, done.stdout, done.stderr

    real = outcome(SCRIPTS[name].replace("AT", str(tmp_path / "real")))
    tree = files.tree(PATH, TREE)
    seen = outcome(SCRIPTS[name].replace("AT", PATH), handlers=[tree], route=route)
    expected = [text.replace(str(tmp_path / "real"), PATH) for text in real[1:]]
    assert [*seen[1:]] == expected and seen[0] == real[0]


def cat(*paths: str, handlers: list[object], route: str = "kernel") -> str:
    done = library.run(
        ["cat", *paths], handlers=handlers, route=route, capture_output=True, text=True
    )
    assert not done.reports
    return done.stdout + done.stderr


def test_functions_are_asked_when_somebody_looks(route: str) -> None:
    asked: list[str] = []

    def source(name: str) -> bytes | None:
        asked.append(name)
        return f"<{name}>".encode() if name.endswith(".txt") else None

    tree = files.tree("/lsca-fn", source)
    assert asked == []
    assert cat("/lsca-fn/x/y.txt", "/lsca-fn/z", handlers=[tree], route=route) == (
        "<x/y.txt>cat: /lsca-fn/z: No such file or directory\n"
    )
    assert "x/y.txt" in asked and "z" in asked


def test_a_directory_elsewhere_is_that_directory(route: str, tmp_path: Path) -> None:
    tree = files.tree("/lsca-here", tmp_path)
    done = library.run(
        ["sh", "-c", "cd /lsca-here; echo hi > f; pwd"],
        handlers=[tree],
        route=route,
        capture_output=True,
    )
    assert done.stdout == b"/lsca-here\n" and (tmp_path / "f").read_text() == "hi\n"


def test_a_file_in_the_place_of_a_real_one(route: str) -> None:
    assert (
        cat("/etc/hostname", handlers=[files.file("/etc/hostname", "no\n")], route=route) == "no\n"
    )


def test_a_real_directory_shows_what_was_put_into_it(route: str, tmp_path: Path) -> None:
    (tmp_path / "real").touch()
    here = [files.file(f"{tmp_path}/new", "1"), files.tree(f"{tmp_path}/tree", {"x": "2"})]
    program = (
        "import os; a = sorted(os.listdir('.')); d = os.open('.', 0); b = os.listdir(d); c = os.listdir(d); "
        "print(a, sorted(b) == sorted(c) == a); os.mkdir('empty'); print(os.listdir('empty'))"
    )
    done = library.run(
        ["sh", "-c", f'{sys.executable} -c "{program}"; ls -l | wc -l; find . -type f | sort'],
        handlers=here, route=route, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "['new', 'real', 'tree'] True\n[]\n5\n./new\n./real\n./tree/x\n", (
        done.stderr
    )


def test_what_was_written_can_be_read() -> None:
    tree = files.tree("/lsca-v", {"a": "1"})
    library.run(["sh", "-c", "echo 2 > /lsca-v/b"], handlers=[tree], check=True)
    assert (tree.read("a"), tree.read("b")) == (b"1", b"2\n")
    place = tree.place
    tree.close()
    assert not place.exists()


def test_static_programs(route: str, tmp_path: Path) -> None:
    if shutil.which("go") is None:
        pytest.skip("there is no go")
    (tmp_path / "main.go").write_text(
        'package main\nimport ("fmt"; "os")\nfunc main() { d, e := os.ReadFile("/lsca-v/sub/b.txt"); '
        'fmt.Print(string(d), e, "\\n"); n, _ := os.ReadDir("/lsca-v"); fmt.Println(len(n)) }\n'
    )
    build = ["go", "build", "-o", str(tmp_path / "main"), str(tmp_path / "main.go")]
    subprocess.run(
        build, env=os.environ | {"CGO_ENABLED": "0", "GOCACHE": "/tmp/lsca-go-cache"}, check=True
    )
    done = library.run(
        [tmp_path / "main"],
        handlers=[files.tree("/lsca-v", TREE)],
        route=route,
        capture_output=True,
    )
    assert done.stdout == b"two\n<nil>\n5\n"


class Memory:
    """As much of fsspec's interface as is needed; fsspec itself is an extra."""

    FILES: ClassVar = {"/bucket/a.txt": b"alpha", "/bucket/d/b.txt": b"beta"}

    def __init__(self) -> None:
        self.read: list[str] = []

    def info(self, path: str) -> dict[str, Any]:
        if path in self.FILES:
            return {"name": path, "size": len(self.FILES[path]), "type": "file"}
        if any(name.startswith(path.rstrip("/") + "/") for name in self.FILES):
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def ls(self, path: str, detail: bool = True) -> list[str]:
        rest = [name[len(path) + 1 :] for name in self.FILES if name.startswith(path + "/")]
        return sorted({f"{path}/{name.split('/')[0]}" for name in rest})

    def cat_file(self, path: str) -> bytes:
        self.read.append(path)
        return self.FILES[path]


def test_a_file_system_is_read_as_far_as_somebody_looks(route: str) -> None:
    system = Memory()
    tree = files.tree("/lsca-s3", system, "/bucket")
    run = lambda text: library.run(  # noqa: E731
        ["sh", "-c", text], handlers=[tree], route=route, capture_output=True, text=True
    )
    assert run("ls -R /lsca-s3; stat -c %s /lsca-s3/d/b.txt").stdout == (
        "/lsca-s3:\na.txt\nd\n\n/lsca-s3/d:\nb.txt\n4\n"
    )
    assert system.read == []
    assert run("cat /lsca-s3/d/b.txt; echo; cat /lsca-s3/d/b.txt").stdout == "beta\nbeta"
    assert system.read == ["/bucket/d/b.txt"]


def test_fsspec_itself() -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/lsca/x/a.txt", b"from memory")
    assert (
        cat("/lsca-mem/x/a.txt", handlers=[files.tree("/lsca-mem", memory, "/lsca")])
        == "from memory"
    )


def test_handlers_beside_it_see_the_program_s_path(tmp_path: Path) -> None:
    """A handler that makes the call itself, or changes another argument, does not undo the move."""
    handlers = textwrap.dedent("""
        import lsca
        from lsca import calls as c
        from lsca.services import files

        files.tree("/lsca-v", {"a": "virtual\\n"})

        @lsca.on(c.openat, path="/lsca-v/*")
        def seen(call):
            assert call.absolute() == "/lsca-v/a"
            call.replace(flags=call.flags | 0o2000000)
            call.proceed()
            return lsca.go_on
    """)
    (tmp_path / "h.py").write_text(handlers)
    assert lsca("run", "-s", tmp_path / "h.py", "cat", "/lsca-v/a") == "virtual\n"


def test_the_command_line(route: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"from a file")
    (tmp_path / "tool").write_text("#!/bin/sh\necho tool in $PWD\n")
    (tmp_path / "tool").chmod(0o755)
    base = ["run", "--no-daemon", "--route", route]
    assert lsca(*base, "--file", "/etc/motd=hello", "cat", "/etc/motd") == "hello\n"
    assert lsca(*base, "--file", f"/x/y=@{tmp_path / 'text'}", "cat", "/x/y") == "from a file"
    tree = ["--tree", f"/lsca-opt={tmp_path}"]
    assert lsca(*base, *tree, "/lsca-opt/tool", cwd=Path("/")) == "tool in /\n"
    assert lsca(*base, *tree, "tool", cwd=Path("/"), PATH="/lsca-opt:/bin") == "tool in /\n"
    before = set(os.listdir("/tmp"))
    lsca(*base, "--file", "/x=1", "sh", "-c", "kill -9 $$", code=-9)
    left = {name for name in set(os.listdir("/tmp")) - before if name.startswith("lsca-files-")}
    assert not any(os.path.exists(f"/tmp/{name}/x") for name in left)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--file", "x"], "--file x: what is wanted is PATH=TEXT or PATH=@FILE"),
        (["--file", "/x=@/nothing"], "/nothing cannot be read: No such file or directory"),
        (["--tree", "/x=/nothing"], "/nothing is not a directory"),
        (["--tree", "/=/tmp"], "is not the root itself"),
        (["--state", "/tmp/x"], "there is no --overlay"),
    ],
)
def test_what_is_wrong_is_said(words: list[str], message: str) -> None:
    assert message in refused("run", *words, "true")


def test_sources_that_are_none() -> None:
    with pytest.raises(ValueError, match="a tree is made of a mapping"):
        files.tree("/x", 3)
    with pytest.raises(ValueError, match="has an absolute path"):
        files.tree("x", {})
    with pytest.raises(ValueError, match="bytes or text, not int"):
        files.tree("/x", {"a": 3})


def test_nothing_of_it_is_imported_without_need() -> None:
    program = "import sys, lsca.cli.run; print([m for m in sys.modules if 'services' in m or 'fsspec' in m])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n"

# SPDX-License-Identifier: Apache-2.0
"""Proves overlays: what programs do to one comes out as it would in the directory itself, which stays as it is.

The oracle is the kernel: the same commands run natively in a copy of the directory. What they write must be the same,
and after `lsca apply` both directories must be.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import lsca, refused
from overlaying import compared, make

import lsca as library
from lsca.services.overlay import overlay

SCRIPTS = {
    "create": "echo new > n; mkdir -p d/e; echo deep > d/e/f; mkfifo p; ls -R",
    "append": (
        "echo more >> a; cat a; echo x | tee -a sub/b; "
        "dd if=/dev/zero of=a bs=1 seek=100 count=1 conv=notrunc 2>/dev/null"
    ),
    "truncate": ": > a; truncate -s 3 sub/b; cat sub/b; wc -c < a",
    "delete": "rm a; rm -r sub; ls; cat a; echo again > a; cat a",
    "rename": (
        "mv sub other; cat other/b; ls; mv a c; cat c; mv other/deep .; ls deep; "
        "mv c other/b; cat other/b"
    ),
    "exchange": "mv a t; mv sub/b a; mv t sub/b; cat a sub/b",
    "replace": "sed -i s/one/two/ a; cat a; cp a a2; install -m 600 a2 sub/i",
    "links": (
        "cat ln abs out; ln -s a new; readlink new abs; ln -sf sub/b ln; cat ln; rm out; "
        "ln -s ../outside out; cat out"
    ),
    "absolute": (
        'ln -s "$PWD/sub/b" l; readlink l; cat l; echo y >> l; cat sub/b; cat "$PWD/a"; '
        'cd /; cat "$OLDPWD/a"'
    ),
    "modes": "chmod 755 a; chmod 700 sub; stat -c %a a sub; chmod u-w secret; cat secret",
    "times": (
        "stat -c '%Y %s' a sub/b; touch -d @7 a; stat -c %Y a; cp -p a kept; "
        "stat -c %Y kept; tar cf - sub | tar tf -"
    ),
    "hard links": (
        "stat -c %h h1; echo z >> h1; cat h2; rm h2; stat -c %h h1; ln a a3; stat -c %h a"
    ),
    "kinds": "rm a; mkdir a; echo in > a/x; rm -r sub; echo file > sub; cat a/x sub",
    "outwards": (
        'cd sub; ls ..; cat ../../outside; cd ../..; cat outside; ls "$(basename "$OLDPWD")"; pwd'
    ),
    "execute": "./tool 1; cp tool sub/t; sub/t 2; sh -c 'exec ./tool 3'",
    "git": (
        "git init -q .; git add -A; git -c user.name=a -c user.email=a@b commit -qm x; "
        "git status --short; rm -rf .git"
    ),
    "sqlite": (
        "sqlite3 db 'create table t(x); insert into t values(1);'; "
        "sqlite3 db 'select x from t'; rm db"
    ),
    "rsync": (
        "rsync -a sub/ copy/; ls copy; rsync -a --delete deepless/ sub/ 2>/dev/null; "
        "echo q > sub/q; rsync -ac sub/ copy; cat copy/q"
    ),
    "mapping": (
        'python3 -c \'import mmap; f=open("a","r+b"); m=mmap.mmap(f.fileno(),0); '
        'm[0:3]=b"ONE"; m.flush()\'; cat a'
    ),
}


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_an_overlay_is_as_the_directory_would_be(name: str, route: str, tmp_path: Path) -> None:
    for tool in ("git", "sqlite3", "rsync"):
        if name.startswith(tool[:6]) and shutil.which(tool) is None:
            pytest.skip(f"there is no {tool}")
    compared(SCRIPTS[name], route, tmp_path)


def test_what_diff_says(tmp_path: Path) -> None:
    directory = make(tmp_path)
    home = {"XDG_STATE_HOME": str(tmp_path / "home")}
    run = ["run", "--no-daemon", "--overlay", directory, "--"]
    text = "printf 'one\\nmore' > a; rm sub/b; echo new > n; chmod 755 secret; ln -sf a ln; head -c 9 /dev/zero > z"
    lsca(*run, "sh", "-c", f"cd {directory}; {text}", **home)
    assert lsca("diff", directory, code=1, **home) == (
        "changed  a (content)\nchanged  ln (sub/b -> a)\nadded    n\nchanged  secret (mode 0400 -> 0755)\n"
        "deleted  sub/b\nadded    z\n"
    )
    patch = lsca("diff", "--patch", cwd=directory / "sub", code=1, **home)
    assert "--- a/a\n+++ b/a\n@@ -1 +1,2 @@\n one\n+more\n\\ No newline at end of file\n" in patch
    assert "Binary files a/z and b/z differ\n" in patch
    assert '"kind": "deleted", "path": "sub/b"' in lsca("diff", "--json", directory, code=1, **home)
    (tmp_path / "patch").write_text("".join(part for part in patch.split("Binary")[0]))
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy, symlinks=True)
    subprocess.run(["patch", "-sp1", "-i", tmp_path / "patch"], cwd=copy, check=True)
    assert (copy / "a").read_text() == "one\nmore" and not (copy / "sub/b").exists()
    # A later run goes on where this one has ended.
    assert lsca(*run, "cat", directory / "a", directory / "n", **home) == "one\nmorenew\n"
    lsca("discard", directory, **home)
    assert "there is no overlay of" in refused("diff", directory, **home)
    assert lsca(*run, "cat", directory / "a", **home) == "one\n"


def test_conflicts(tmp_path: Path) -> None:
    directory = make(tmp_path)
    state = tmp_path / "state"
    lsca(
        "run",
        "--overlay",
        directory,
        "--state",
        state,
        "sh",
        "-c",
        f"echo x >> {directory}/a; echo y > {directory}/n",
    )
    (directory / "a").write_text("meanwhile\n")
    (directory / "mine").write_text("mine\n")
    assert "a (content); the real one has changed, too" in lsca("diff", "--state", state, code=1)
    assert "a: changed in" in refused("apply", "--state", state)
    assert (directory / "a").read_text() == "meanwhile\n" and not (directory / "n").exists()
    lsca("apply", "--force", "--state", state)
    assert (directory / "a").read_text() == "one\nx\n"
    assert (directory / "mine").read_text() == "mine\n"


def test_only_what_is_opened_is_copied(tmp_path: Path) -> None:
    directory = make(tmp_path)
    (directory / "big").write_bytes(os.urandom(1 << 20))
    made = overlay(directory, str(tmp_path / "state"))
    library.run(
        ["sh", "-c", "ls -l; cat a; wc -c < big >/dev/null; rm h1"],
        handlers=[made],
        cwd=made.state.place,
    )
    assert os.stat(made.state.copy("sub/b")).st_blocks == 0
    assert Path(made.state.copy("big")).read_bytes() == (directory / "big").read_bytes()
    made.close()


def test_what_goes_on_behind_the_run_has_its_files(tmp_path: Path) -> None:
    directory = make(tmp_path)
    text = (
        f"(sleep 1; cat {directory}/sub/deep/c > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/seen) "
        ">/dev/null 2>&1 &"
    )
    lsca("run", "--overlay", directory, "--state", tmp_path / "state", "sh", "-c", text)
    subprocess.run(
        ["sh", "-c", f"for i in $(seq 100); do test -e {tmp_path}/seen && exit; sleep 0.1; done"],
        check=True,
    )
    assert (tmp_path / "seen").read_text() == "three\n"


def test_nobody_reads_what_is_not_there_when_lsca_is_killed(tmp_path: Path) -> None:
    directory = make(tmp_path)
    text = f"echo $$; read x; sleep 0.5; cat {directory}/sub/b 2>&1; echo end"
    command = [sys.executable, "-m", "lsca", "run", "--no-daemon", "--overlay", str(directory)]
    with subprocess.Popen(
        [*command, "--state", str(tmp_path / "state"), "sh", "-c", text],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin and process.stdout
        process.stdout.readline()
        process.kill()
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.stdout.read().replace(str(directory), "@") == (
            "cat: @/sub/b: Operation not permitted\nend\n"
        )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--overlay", "/"], "would have to hold itself"),
        (["--overlay", "/nothing"], "/nothing is not a directory"),
        (["--overlay", "DIR", "--state", "DIR/s"], "name another place with --state"),
        (["--overlay", "DIR/sub", "--state", "USED"], "holds the overlay of"),
    ],
)
def test_what_is_wrong_is_said(words: list[str], message: str, tmp_path: Path) -> None:
    directory, used = make(tmp_path), tmp_path / "used"
    lsca("run", "--overlay", directory, "--state", used, "true")
    names: dict[str, Any] = {"DIR": directory, "USED": used}
    for name, value in names.items():
        words = [word.replace(name, str(value)) for word in words]
    assert message in refused("run", *words, "true")


def test_one_run_at_a_time(tmp_path: Path) -> None:
    made = overlay(make(tmp_path), str(tmp_path / "state"))
    assert "is in use by another run" in refused("discard", "--state", tmp_path / "state")
    made.close()
    lsca("discard", "--state", tmp_path / "state")

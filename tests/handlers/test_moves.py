# SPDX-License-Identifier: Apache-2.0
"""Proves rules that move paths: what is moved where, in which order, and what a handler beside them sees."""

from pathlib import Path
from typing import Any

import pytest

import lsca
from lsca import calls as c


def run(text: str, *rules: object, route: str, cwd: Path) -> str:
    done = lsca.run(
        ["sh", "-c", text],
        handlers=list(rules),
        route=route,
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert not done.reports
    return done.stdout + done.stderr


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("a/x/f", "b/x/f", "b/g", "c/x/f"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{name}\n")
    return tmp_path


def test_paths_are_moved(place: Path, route: str) -> None:
    rule = lsca.on("%file").move(f"{place}/a", f"{place}/b")
    text = f"cat a/x/f {place}/a/../a//x/./f; cd a/x; cat f ../g; ls {place}/a; cat {place}/ab"
    assert run(text, rule, route=route, cwd=place) == (
        f"b/x/f\nb/x/f\nb/x/f\nb/g\ng\nx\ncat: {place}/ab: No such file or directory\n"
    )


def test_both_paths_and_slashes(place: Path, route: str) -> None:
    rule = lsca.on("%file").move("/lsca-moved", f"{place}/b")
    text = "mv /lsca-moved/g /lsca-moved/h; ls /lsca-moved/; cat /lsca-moved/h/"
    assert run(text, rule, route=route, cwd=place) == "h\nx\ncat: /lsca-moved/h/: Not a directory\n"
    assert (place / "b" / "h").exists()


def test_an_open_file_without_a_name_is_left_alone(place: Path, route: str) -> None:
    """fstat is newfstatat with an empty path; the file's own may lead nowhere by now."""
    rules = [lsca.on("%file").move(f"{place}/b", f"{place}/a")]
    text = "exec 5< c/x/f; rm c/x/f; cat <&5"
    assert run(text, *rules, route=route, cwd=place) == "c/x/f\n"


def test_one_after_the_other(place: Path, route: str) -> None:
    first = lsca.on("%file").move(f"{place}/a", f"{place}/b")
    second = lsca.on("%file").move(f"{place}/b", f"{place}/c")
    kept = lsca.on("%file").move(f"{place}/b", f"{place}/b")
    assert run("cat a/x/f", first, second, route=route, cwd=place) == "c/x/f\n"
    assert run("cat a/x/f", second, first, route=route, cwd=place) == "b/x/f\n"
    assert run("cat a/x/f b/x/f", first, kept, second, route=route, cwd=place) == "b/x/f\nb/x/f\n"


def test_to_the_root(place: Path, route: str) -> None:
    rule = lsca.on("%file").move(f"{place}/a", "/")
    assert (
        run(f"cat {place}/a{place}/b/g; cd a; /bin/pwd", rule, route=route, cwd=place) == "b/g\n/\n"
    )


@pytest.mark.parametrize("before", [False, True])
def test_beside_a_handler(place: Path, route: str, before: bool) -> None:
    """Which sees the program's path, makes the call, and cannot undo the move, wherever it stands."""
    seen: list[str] = []

    @lsca.on(c.openat, path=f"{place}/a/**")
    def watch(call: Any) -> lsca.Verdict:
        seen.append(call.absolute())
        if len(seen) % 2:
            call.proceed()
        return lsca.go_on

    move = lsca.on("%file").move(f"{place}/a", f"{place}/b")
    rules = [watch, move] if before else [move, watch]
    assert run("cat a/x/f; cat a/x/f", *rules, route=route, cwd=place) == "b/x/f\nb/x/f\n"
    assert set(seen) == {f"{place}/a/x/f"}


def test_what_cannot_be_moved() -> None:
    for source, target in (("a", "/b"), ("/a/", "/b"), ("/a/../b", "/c"), ("/a", "b")):
        with pytest.raises(ValueError, match="moved by absolute paths"):
            lsca.on("%file").move(source, target)
    with pytest.raises(ValueError, match="needs calls that have one"):
        lsca.on(c.read).move("/a", "/b")

# SPDX-License-Identifier: Apache-2.0
"""`lsca view` and `lsca plot` from the command line: what is refused, what is written where, what need not be there."""

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lsca
from logtables import sample
from lsca.cli import main, plot, view
from lsca.errors import LogError, LscaError, UsageError

LSCA = [sys.executable, "-m", "lsca"]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was asked to be opened; each time a made-up log comes."""
    asked: list[object] = []

    def open_log(paths: object) -> object:
        asked.append(paths)
        return sample()

    monkeypatch.setattr(lsca, "open_log", open_log, raising=False)
    return asked


@pytest.mark.parametrize("verb", ["view", "plot"])
@pytest.mark.parametrize("words", [[], ["--nonsense", "x"]])
def test_not_understood(verb: str, words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main([verb, *words]) == 125
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("lsca: ") and f"`lsca {verb} --help`" in err


def test_view_wants_a_terminal() -> None:
    done = subprocess.run(
        [*LSCA, "view", "x"], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 125
    assert "wants a terminal; `lsca log FILE` prints it" in done.stderr


def test_a_wrong_filter_is_refused_before_anything_is_opened(opened: list[object]) -> None:
    with pytest.raises(UsageError, match="no column 'nmae'"):
        view.main(["--filter", "nmae=read", "x"])
    assert not opened


def test_views_are_those_of_the_program() -> None:
    pytest.importorskip("textual")
    from lsca.tui.view import TABS

    assert view.VIEWS == TABS


def test_without_textual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "textual", None)  # type: ignore[arg-type]
    for name in [name for name in sys.modules if name.startswith("lsca.tui.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(view, "need_terminal", lambda *words: None)
    with pytest.raises(LscaError, match=r"textual is not installed; pip install 'lsca\[tui\]'"):
        view.main(["x"])


def test_run_knows_nothing_of_it() -> None:
    code = (
        "import sys, lsca, lsca.cli.run, lsca.session; "
        "print([m for m in sys.modules if m.startswith(('lsca.tui', 'lsca.plot', 'textual', 'duckdb', 'rich'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_overview_loads_no_library() -> None:
    code = "import sys; from lsca.cli import main; main([]); print('textual' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")
    for verb in ("view", "top", "plot"):
        assert f"\n  {verb} " in done.stdout


def test_plot_writes_where_it_is_told(tmp_path: Path, opened: list[object]) -> None:
    out = tmp_path / "run.svg"
    assert plot.main(["some/build.lsca", "-o", str(out)]) == 0
    assert opened == ["some/build.lsca"]
    assert "<title>build.lsca</title>" in out.read_text()
    assert (
        plot.main(["x", "-o", str(out), "--title", "A <run>", "--rows", "1", "--width", "900"]) == 0
    )
    assert "<title>A &lt;run&gt;</title>" in out.read_text()
    assert 'width="900"' in out.read_text()


def test_plot_to_stdout(opened: list[object], capfd: pytest.CaptureFixture[str]) -> None:
    assert plot.main(["x"]) == 0
    assert capfd.readouterr().out.startswith("<svg ")


def test_plot_cannot_write(tmp_path: Path, opened: list[object]) -> None:
    with pytest.raises(LogError, match=r"cannot write .*: No such file or directory"):
        plot.main(["x", "-o", str(tmp_path / "no" / "such.svg")])


@pytest.mark.parametrize("words", [["--rows", "0"], ["--width", "10"], ["--width", "x"]])
def test_plot_sizes(words: list[str], opened: list[object]) -> None:
    with pytest.raises(UsageError, match="lsca plot --help"):
        plot.main(["x", *words])


def test_on_a_real_terminal() -> None:
    """In a terminal of 80x24 without colours: draws, quits with q, and leaves the terminal as it was."""
    pytest.importorskip("textual")
    pid, terminal = pty.fork()
    if pid == 0:
        _view_of_a_sample()
    seen = b""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and b"1 of 10" not in seen:
        seen += os.read(terminal, 65536)
    assert b"332 calls" in seen and b"wait4" in seen
    os.write(terminal, b"q")
    try:
        while part := os.read(terminal, 65536):
            seen += part
    except OSError:
        pass  # its end closes the terminal
    assert os.waitpid(pid, 0)[1] == 0
    assert b"\x1b[?1049l" in seen
    os.close(terminal)


def _view_of_a_sample() -> None:
    """In the child of a fork: a new Python, since threads do not survive one."""
    os.environ |= {"TERM": "vt100", "NO_COLOR": "1", "LINES": "24", "COLUMNS": "80"}
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    code = (
        "import sys, lsca; from logtables import sample; lsca.open_log = lambda path: sample(); "
        "from lsca.cli import main; sys.exit(main(['view', 'x']))"
    )
    os.execv(sys.executable, [sys.executable, "-c", code])

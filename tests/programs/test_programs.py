# SPDX-License-Identifier: Apache-2.0
"""Each case of cases_*.py in each route: what it prints, its status, its files are those of the kernel alone."""

import sys
from pathlib import Path

import pytest
from case import Case
from table import cases, main


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.program}: {case.name}")
def test_program(case: Case, route: str) -> None:
    if missing := case.missing():
        pytest.skip(f"not installed: {', '.join(missing)}")
    case.run(route)


FAKE = """#!{python}
import os, sys
line = sys.argv[sys.argv.index("--") + 1 :]
if sys.argv[sys.argv.index("--route") + 1] == "proxy":
    line[2] += "\\necho more"
os.execvp(line[0], line)
"""


def test_the_table_tells_a_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a stand-in for lsca that is true in one route, and says a word too many in the other."""
    fake = tmp_path / "lsca"
    fake.write_text(FAKE.format(python=sys.executable))
    fake.chmod(0o755)
    monkeypatch.setenv("LSCA_TEST_COMMAND", str(fake))
    monkeypatch.setattr("table.ROUTES", ("kernel", "proxy"))
    assert main(["fifo", "--write", str(tmp_path / "table.md")]) == 1
    assert "kernel: same, proxy: differs: +out| more" in capsys.readouterr().out
    written = (tmp_path / "table.md").read_text()
    assert "| same | 0 of 1 the same |" in written
    assert "fifo, proxy: differs: +out| more" in written

# SPDX-License-Identifier: Apache-2.0
"""A compiler: many programs one after the other, temporary files, large mappings."""

import shutil
from pathlib import Path

import pytest

from differential import compare

SOURCE = """
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv) { printf("%d %s\\n", argc, strrchr(argv[0], '/')); return 5; }
"""


@pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")
@pytest.mark.parametrize("pipe", ["", "-pipe"], ids=["files", "pipes"])
def test_gcc(pipe: str, route: str, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "a.c").write_text(SOURCE)
    (files / "bad.c").write_text("int main(void) { return missing; }\n")
    line = f"gcc {pipe} -O1 -o a a.c && ./a x; echo $?; gcc {pipe} -c bad.c; echo $?; ar rc lib.a a.c; nm a | wc -l"
    compare(["bash", "-c", line], routes=(route,), files=files, status=0)

# SPDX-License-Identifier: Apache-2.0
"""Says what keeps an agent from being freestanding: `python tests/freestanding.py FILE`; silent if nothing does.

The agent is put into programs that have no dynamic linker, no libc and no thread-local storage, and the launcher
applies relative relocations only. `make cross` runs this on the build for the other machine, the house tests on the
build for this one.
"""

import re
import subprocess
import sys
from pathlib import Path

# Weak symbols that may stay undefined: preloaded, the agent finds libc's; injected, it has none.
WEAK_ALLOWED = frozenset({"environ"})


def problems(agent: Path) -> list[str]:
    """What is wrong with the ELF file `agent`, one line each."""
    found = []
    for line in _readelf("-dW", agent):
        if re.search(r"\((NEEDED|RPATH|RUNPATH)\)|TEXTREL", line):
            found.append(f"dynamic section: {line.strip()}")
    for line in _readelf("-lW", agent):
        fields = line.split()
        if fields[:1] == ["TLS"]:
            found.append("it has a TLS segment")
        if fields[:1] == ["GNU_STACK"] and "E" in fields[6]:
            found.append("it wants an executable stack")
        if fields[:1] == ["LOAD"] and {"W", "E"} <= set("".join(fields[6:-1])):
            found.append("it has a segment that is writable and executable")
    for line in _readelf("--dyn-syms", "-W", agent):
        fields = line.split()
        if len(fields) < 8 or fields[6] != "UND" or not fields[0].endswith(":"):
            continue
        name = fields[7].partition("@")[0]
        if not (fields[4] == "WEAK" and name in WEAK_ALLOWED):
            found.append(f"undefined symbol {name}")
    for line in _readelf("-rW", agent):
        match = re.match(r"[0-9a-f]+\s+[0-9a-f]+\s+(R_\S+)(.*)", line)
        if match and not match[1].endswith("_RELATIVE"):
            name = match[2].split()[1].partition("@")[0] if len(match[2].split()) > 1 else ""
            if name not in WEAK_ALLOWED:
                found.append(f"relocation {match[1]} {name}")
    return found


def _readelf(*arguments: object) -> list[str]:
    command = ["readelf", *map(str, arguments)]
    done = subprocess.run(
        command,
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.splitlines()


def main(paths: list[str]) -> int:
    found = [f"{path}: {problem}" for path in paths for problem in problems(Path(path))]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

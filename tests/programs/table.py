# SPDX-License-Identifier: Apache-2.0
"""Which programs behave under LSCA as they do without it: a table of programs and routes.

    python tests/programs/table.py                  all cases, as text
    python tests/programs/table.py redis            those whose program or name contains a word
    python tests/programs/table.py --write FILE     the same as Markdown (`make programs` writes docs/programs.md)

The cases are those of cases_*.py, which test_programs.py runs too. The status is 1 when a program differs.
"""

import argparse
import importlib
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from case import Case  # noqa: E402

from differential import ROUTES  # noqa: E402

HEAD = """\
# Programs that are run both ways

Each program below does real work, natively and under LSCA, in both routes; its output, its status, the files that it
leaves behind and the processes that it leaves over are compared. Servers and their clients are all captured.
`make programs` makes this table; `tests/programs/cases_*.py` say what exactly is run, and what is left out of the
comparison because it varies by itself (times, ports, process ids, drawn keys).
"""


def cases() -> list[Case]:
    """All of them, in the order of their files."""
    names = sorted(path.stem for path in HERE.glob("cases_*.py"))
    return [case for name in names for case in importlib.import_module(name).CASES]


def verdict(case: Case, route: str) -> str:
    """ "same", or how it differs: the first line of the difference."""
    if missing := case.missing():
        return f"not run: no {', '.join(missing)}"
    try:
        case.run(route)
    except AssertionError as error:
        lines = str(error).splitlines()
        changed = [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]
        return "differs: " + next((line for line in changed if line[0] == "+"), lines[0])
    return "same"


def summary(verdicts: Sequence[str]) -> str:
    """One cell."""
    same = verdicts.count("same")
    return "same" if same == len(verdicts) else f"{same} of {len(verdicts)} the same"


def table(results: dict[str, dict[str, dict[str, str]]]) -> list[str]:
    """Markdown: a row for each program, then what differs. `results`: program, case, route, verdict."""
    lines = [
        f"| program | what it does | {' | '.join(ROUTES)} |",
        "| --- | --- |" + " --- |" * len(ROUTES),
    ]
    notes = []
    for program, rows in results.items():
        what = "; ".join(rows)
        cells = [summary([row[route] for row in rows.values()]) for route in ROUTES]
        lines.append(f"| {program} | {what} | {' | '.join(cells)} |")
        notes += [
            f"- {program}, {name}, {route}: {text}"
            for name, row in rows.items()
            for route, text in row.items()
            if text != "same"
        ]
    return [*lines, *(["", *notes] if notes else [])]


def main(argv: Sequence[str]) -> int:
    """Runs them; 1 when something differs or could not be run."""
    parser = argparse.ArgumentParser(description="programs, natively and under LSCA")
    parser.add_argument("word", nargs="?", default="", help="only those that contain it")
    parser.add_argument("--write", type=Path, metavar="FILE", help="Markdown")
    options = parser.parse_args(argv)
    results: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)
    for case in cases():
        if options.word.lower() in f"{case.program} {case.name}".lower():
            row = {route: verdict(case, route) for route in ROUTES}
            results[case.program][case.name] = row
            print(
                f"{case.program}, {case.name}: {', '.join(f'{r}: {v}' for r, v in row.items())}",
                flush=True,
            )
    if options.write:
        options.write.write_text("\n".join([HEAD, *table(results), ""]))
    every = [v for rows in results.values() for row in rows.values() for v in row.values()]
    print(f"{every.count('same')} of {len(every)} the same")
    return int(any(one != "same" for one in every))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

# SPDX-License-Identifier: Apache-2.0
"""Whether a log is whole, in words (`lsca log --verify`), and how to save what a killed run left (`--recover`)."""

from lsca.errors import LogError
from lsca.log.reader import Log


def report(log: Log) -> tuple[list[str], bool]:
    """What there is, what is missing, and whether nothing is."""
    calls = sum(record.kind == "call" for record in log)
    lines = [f"{log.path}: {len(log)} records, {calls} of them calls, of {len(log.pids)} processes"]
    problems = [
        (log.damage, f"{log.damage}"),
        (log.lost, f"{log.lost} records were lost: there was no room for them"),
        (log.gaps, f"records are missing at {log.gaps} places"),
        (log.uncaught, f"{log.uncaught} programs ran without the agent; their calls are not here"),
    ]
    lines += [words for is_so, words in problems if is_so]
    whole = log.complete and not log.damage
    if whole:
        lines.append("complete: the run ended in good order, and nothing is missing")
    return lines, whole


def recover(path: str | None) -> list[str]:
    """Brings what a killed run left in memory into its file. Says what was done, a line each. LogError."""
    raise LogError("this lsca cannot recover a log yet")

# SPDX-License-Identifier: Apache-2.0
"""`lsca sql FILE... [QUERY]`: asks logs with SQL; without a query, a prompt."""

import argparse
import csv
import json
import os
from typing import TextIO

from lsca.cli.output import output, remarks, terminal_width, write_lines
from lsca.cli.parser import Parser
from lsca.errors import LogError
from lsca.log import Log, grid, open_log
from lsca.log import query as queries
from lsca.log.colour import WHENS, Paint, wants_colour
from lsca.log.query import TABLES, Result

SUMMARY = "ask logs with SQL"


def main(argv: list[str]) -> int:
    """Prints the result of one query, or of what is typed."""
    parser = Parser(
        prog="lsca sql",
        description="Ask logs with SQL. The tables are calls, processes, files and streams; docs/sql.md describes "
        "them and has recipes. Without a query: statements from stdin, with a prompt on a terminal.",
    )
    parser.add_argument("words", metavar="FILE... [QUERY]", nargs="+")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="comma-separated values, with a head")
    form.add_argument("--json", action="store_true", help="one JSON object per row and line")
    parser.add_argument("--color", "--colour", dest="color", choices=WHENS, default="auto")
    options = parser.parse_intermixed_args(argv)
    files, query = split(options.words)
    log = open_log(files if len(files) > 1 else files[0])
    with output(None) as stream:
        if query is not None:
            answer(log, query, options, stream)
        else:
            from lsca.cli.prompt import converse

            converse(log, lambda text: answer(log, text, options, stream))
    remarks(log)
    return 0


def split(words: list[str]) -> tuple[list[str], str | None]:
    """The files, and the query if there is one: the last word, unless it is a file."""
    last = words[-1]
    is_query = len(words) > 1 and not os.path.exists(last)
    if is_query and (any(char.isspace() for char in last.strip()) or last.startswith(".")):
        return words[:-1], last
    return words, None


def answer(log: Log, text: str, options: argparse.Namespace, stream: TextIO) -> None:
    """Runs one statement or command and prints what it gives. LogError."""
    text = text.strip()
    if text.startswith("."):
        write_lines(command(log, text), stream)
        return
    result = queries.run(log, text)
    if result is None:
        return
    if options.csv:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(result.columns)
        writer.writerows(result.rows)
    elif options.json:
        for row in result.rows:
            facts = dict(zip(result.columns, row, strict=True))
            stream.write(json.dumps(facts, default=str, ensure_ascii=False) + "\n")
    else:
        write_lines(table(result, options, stream), stream)
    stream.flush()


def table(result: Result, options: argparse.Namespace, stream: TextIO) -> list[str]:
    numbers = [result.is_number(at) for at in range(len(result.columns))]
    paint = Paint(wants_colour(options.color, stream))
    width = terminal_width(stream)
    return list(grid.lines(result.columns, numbers, result.rows, paint, width))


def command(log: Log, text: str) -> list[str]:
    """What begins with a dot. LogError for what is none."""
    word, _, rest = text.partition(" ")
    if word == ".tables":
        return list(TABLES)
    if word == ".schema":
        return queries.schema(log, rest.strip() or None)
    if word == ".help":
        return [
            ".tables           the names of the tables",
            ".schema [TABLE]   their columns",
            ".quit             ends, as Ctrl-D does",
            "A statement ends with a semicolon and may have several lines.",
        ]
    raise LogError(f"there is no command {word}; there are .tables, .schema, .help and .quit")

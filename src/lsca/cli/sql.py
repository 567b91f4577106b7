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
from lsca.log import grid
from lsca.log.colour import WHENS, Paint, wants_colour
from lsca.log.query import Database, Result

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
    database = Database(files)
    with output(None) as stream:
        if query is not None:
            answer(database, query, options, stream)
        else:
            from lsca.cli.prompt import converse

            converse(database, lambda text: answer(database, text, options, stream))
    for log in database.logs:
        remarks(log)
    return 0


def split(words: list[str]) -> tuple[list[str], str | None]:
    """The files, and the query if there is one: the last word, unless it is a file."""
    last = words[-1]
    is_query = len(words) > 1 and not os.path.exists(last)
    if is_query and (any(char.isspace() for char in last.strip()) or last.startswith(".")):
        return words[:-1], last
    return words, None


def answer(database: Database, text: str, options: argparse.Namespace, stream: TextIO) -> None:
    """Runs one statement or command and prints what it gives. LogError."""
    text = text.strip()
    if text.startswith("."):
        write_lines(command(database, text), stream)
        return
    result = database.run(text)
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


def command(database: Database, text: str) -> list[str]:
    """What begins with a dot. LogError for what is none."""
    word, _, rest = text.partition(" ")
    if word == ".tables":
        return [line.split()[2] for line in database.schema()]
    if word == ".schema":
        return database.schema(rest.strip() or None)
    if word == ".help":
        return [
            ".tables           the names of the tables",
            ".schema [TABLE]   their columns",
            ".quit             ends, as Ctrl-D does",
            "A statement ends with a semicolon and may have several lines.",
        ]
    raise LogError(f"there is no command {word}; there are .tables, .schema, .help and .quit")

# SPDX-License-Identifier: Apache-2.0
"""`lsca export FILE --to FORMAT`: a log for other programs."""

from lsca.cli.output import output, remarks, write_lines
from lsca.cli.parser import Parser
from lsca.errors import UsageError
from lsca.log import export, open_log

SUMMARY = "write a log as JSON lines, strace text, Parquet, or a trace for Perfetto"


def main(argv: list[str]) -> int:
    parser = Parser(
        prog="lsca export",
        description="Write a log in another format. jsonl: one JSON object per record, with paths and descriptors "
        "resolved; strace: what `strace -f -ttt -T` would have written; parquet: the table `calls` of `lsca sql` "
        "(needs DuckDB); perfetto: for ui.perfetto.dev or chrome://tracing.",
    )
    parser.add_argument("file", metavar="FILE", nargs="+")
    parser.add_argument("--to", choices=export.FORMATS, required=True)
    parser.add_argument("-o", dest="output", metavar="OUT", help="file to write (default: stdout)")
    parser.add_argument(
        "-s", dest="strings", type=int, default=32, metavar="SIZE", help="bytes of a string (32)"
    )
    options = parser.parse_intermixed_args(argv)
    if options.to == "parquet":
        if options.output is None:
            raise UsageError("Parquet cannot go to stdout; name a file: -o OUT.parquet")
        export.parquet(open_log(options.file), options.output)
        return 0
    if len(options.file) > 1:
        raise UsageError(f"--to {options.to} takes one log at a time; parquet takes several")
    log = open_log(options.file[0])
    with output(options.output) as stream:
        write_lines(export.text(log, options.to, options.strings), stream)
    remarks(log)
    return 0

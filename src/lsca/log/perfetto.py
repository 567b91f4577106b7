# SPDX-License-Identifier: Apache-2.0
"""A log as a trace for ui.perfetto.dev and chrome://tracing: JSON in the Trace Event Format.

A process is a process there, a thread a track; programs and calls are slices, a program's around its calls. An arrow
leads from who started a process to where it begins. Times count from the log's beginning, since a viewer's numbers are
too short for nanoseconds since 1970: `otherData` has that.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

from lsca.log.descriptors import Descriptors
from lsca.log.processes import Process, Processes
from lsca.log.reader import Log
from lsca.log.text import Style, call_name, errno_name, styled_call
from lsca.log.touched import named_of, readable, row_of

MICRO: Final = 1000


def events(log: Log, strings: int = 32) -> Iterator[dict[str, Any]]:
    """All events: calls as they come, then what is known of processes at the end."""
    machine = log.header.machine
    processes = Processes(log)
    descriptors = Descriptors(log)
    style = Style(machine, strings=strings)
    zero: int | None = None
    for record in log:
        zero = record.start_ns if zero is None else zero
        processes.add(record)
        if record.kind != "call":
            continue
        file = descriptors.of(record)
        row = row_of(record, machine)
        call, result = styled_call(record, style, file)
        args: dict[str, Any] = {"call": f"{call} = {result}", "route": record.route}
        paths = [named.path for named in named_of(record, machine, file)]
        if paths:
            args["path"] = readable(paths[0])
        if record.returns:
            args["ret"] = record.ret
            failure = errno_name(record.ret)
            if failure:
                args["error"] = failure
        event = {
            "name": call_name(record),
            "cat": row.family if row else "unknown",
            "pid": record.pid,
            "tid": record.tid,
            "ts": (record.start_ns - zero) / MICRO,
            "args": args,
        }
        if record.returns:
            yield event | {"ph": "X", "dur": max(0, record.end_ns - record.start_ns) / MICRO}
        else:
            yield event | {"ph": "i", "s": "t"}
    processes.finish()
    for process in processes.all:
        yield from _life(process, zero or 0)


def _life(process: Process, zero: int) -> Iterator[dict[str, Any]]:
    """Names, programs, and the arrow from the parent."""
    track = {"pid": process.pid, "tid": process.pid}
    yield _metadata("process_name", process, {"name": _short(process)})
    yield _metadata("process_labels", process, {"labels": process.ending})
    yield _metadata(
        "process_sort_index", process, {"sort_index": process.started_ns // MICRO % 2**31}
    )
    for tid in sorted(process.threads | {process.pid}):
        name = "main" if tid == process.pid else f"thread {tid}"
        yield _metadata("thread_name", process, {"name": name}) | {"tid": tid}
    ends = [image.started_ns for image in process.images[1:]] + [process.ended_ns]
    for image, end in zip(process.images, ends, strict=False):
        yield track | {
            "name": image.command[:200],
            "cat": "program",
            "ph": "X",
            "ts": (image.started_ns - zero) / MICRO,
            "dur": max(0, end - image.started_ns) / MICRO,
            "args": {"path": image.path, "argv": list(image.argv), "ended": process.ending},
        }
    if process.parent:
        arrow = {
            "name": "starts",
            "cat": "program",
            "id": process.pid,
            "ts": (process.started_ns - zero) / MICRO,
        }
        yield arrow | {"ph": "s", "pid": process.parent.pid, "tid": process.parent.pid}
        yield arrow | {"ph": "f", "bp": "e", **track}


def _metadata(name: str, process: Process, args: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "ph": "M", "pid": process.pid, "tid": process.pid, "ts": 0, "args": args}


def _short(process: Process) -> str:
    if process.images:
        return process.images[-1].path.rsplit("/", 1)[-1]
    return process.command[:60]


def lines(log: Log, strings: int = 32) -> Iterator[str]:
    """The JSON, one event a line, so that nothing has to be kept in memory."""
    header = log.header
    other = {
        "host": header.host,
        "boot_id": header.boot_id,
        "machine": header.machine,
        "realtime_ns": header.real0_ns,
    }
    yield f'{{"displayTimeUnit": "ns", "otherData": {json.dumps(other)}, "traceEvents": ['
    before: str | None = None
    for event in events(log, strings):
        if before is not None:
            yield before + ","
        before = json.dumps(event)
    if before is not None:
        yield before
    yield "]}"

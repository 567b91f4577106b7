# SPDX-License-Identifier: Apache-2.0
"""`lsca plot`: the structure of the picture, read back as XML. Nothing outside of it, no label over another, few
elements however many calls, the same bytes each time, and texts that XML and browsers can stand.
"""

import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import Any

import pytest

from logtables import ORIGIN, TYPES, Fake, sample
from lsca.errors import LogError
from lsca.plot import picture
from lsca.plot.density import LIMIT
from lsca.plot.layout import CHAR, LEFT, clip, ticks
from lsca.plot.model import command

SVG = "{http://www.w3.org/2000/svg}"
MS, SECOND = 10**6, 10**9


def draw(log: Fake, **more: Any) -> ET.Element:
    return ET.fromstring(text_of(log, **more))


def text_of(log: Fake, **more: Any) -> str:
    return picture(lambda query: log.sql(query).fetchall(), title="build.lsca", **more)


def classes(root: ET.Element, name: str) -> list[ET.Element]:
    return [element for element in root.iter() if element.get("class") == name]


def texts(root: ET.Element) -> list[str]:
    return ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]


def titles(root: ET.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}title")]


def rectangles(root: ET.Element) -> list[tuple[float, float, float, float]]:
    found = []
    for element in root.iter(f"{SVG}rect"):
        box = [float(element.get(key, "0")) for key in ("x", "y", "width", "height")]
        found.append((box[0], box[1], box[0] + box[2], box[1] + box[3]))
    return found


@pytest.fixture(scope="module")
def root() -> ET.Element:
    return draw(sample())


def test_head(root: ET.Element) -> None:
    words = texts(root)
    assert words[0] == "build.lsca"
    assert words[1] == "1.00 s, 3 processes, 332 calls, 21 of them failed"
    legend = " ".join(words)
    assert "files 323" in legend and "waiting 2" in legend and "sockets 3" in legend
    assert "memory" not in legend, "only what there is"


def test_a_row_for_each_process(root: ET.Element) -> None:
    rows = ["".join(g.itertext()).split("\n")[-1] for g in classes(root, "process")]
    assert len(rows) == 3
    assert "sh 10" in rows[0] and "cc 11" in rows[1] and "curl 12" in rows[2]
    assert "cc" in rows[1] and "2 threads, exit 1" in rows[1]
    assert float(classes(root, "life")[0].get("x", "0")) == LEFT


def test_threads_have_lanes(root: ET.Element) -> None:
    assert [label.text for label in classes(root, "small")] == ["11", "111"]


def test_execs_are_labelled(root: ET.Element) -> None:
    labels = ["".join(g.itertext()) for g in classes(root, "label")]
    assert [label for label in labels if "cc -c 'a b.c'cc -c 'a b.c'" in label]
    assert len(labels) == 3


def test_ends_that_are_no_success_are_written(root: ET.Element) -> None:
    assert [mark.text for mark in classes(root, "bad")] == ["exit 1", "SIGKILL"]


def test_failures_are_marked(root: ET.Element) -> None:
    marks = [title for title in titles(root) if title.startswith("failed: ")]
    assert "failed: recvfrom ECONNRESET" in marks
    assert sum(int((re.search(r"x(\d+)", m) or [0, 1])[1]) for m in marks if "ENOENT" in m) == 20


def test_long_calls_say_what_they_are(root: ET.Element) -> None:
    assert "wait4: 450 ms" in titles(root)
    assert "recvfrom TCP:127.0.0.1:4000->127.0.0.1:80: 200 ms, ECONNRESET" in titles(root)


def test_nothing_is_outside(root: ET.Element) -> None:
    width, height = float(root.get("width", "0")), float(root.get("height", "0"))
    for left, top, right, bottom in rectangles(root):
        assert 0 <= left < right <= width + 0.7
        assert 0 <= top < bottom <= height
    for element in root.iter(f"{SVG}text"):
        x, length = float(element.get("x", "0")), len("".join(element.itertext())) * CHAR
        anchor = element.get("anchor") or element.get("text-anchor") or "start"
        right = x + {"start": length, "middle": length / 2, "end": 0}[anchor]
        if element.get("class") not in ("title", "sub"):
            assert x >= 0 and right <= width + 1, "".join(element.itertext())
        assert 0 < float(element.get("y", "0")) <= height


def crowded() -> Fake:
    """A process that calls exec all the time, with long command lines, up to the end of the picture."""
    log = Fake()
    log.process(10, 1, 0, 1, program="/bin/x")
    for i in range(50):
        log.call(i / 50, "execve", None, argv=f"/bin/tool{i} --with --many '{'x' * (i * 3)}'")
    log.call(0.99, "execve", None, argv="/bin/last --one")
    return log


@pytest.mark.parametrize("log", [sample, crowded])
@pytest.mark.parametrize("width", [640, 1200, 3000])
def test_labels_do_not_overlap(log: Any, width: int) -> None:
    root = draw(log(), width=width)
    lines: dict[str, list[tuple[float, float]]] = {}
    for group in classes(root, "label"):
        text = group.find(f"{SVG}text")
        if text is not None and text.text:
            x = float(text.get("x", "0"))
            lines.setdefault(text.get("y", ""), []).append((x, x + len(text.text) * CHAR))
    assert lines
    for spans in lines.values():
        spans.sort()
        for (_, end), (begin, _) in pairwise(spans):
            assert end <= begin


def test_lanes_do_not_overlap() -> None:
    """In a thread calls follow each other, and so do their rectangles (to a pixel of least width)."""
    root = draw(sample())
    lanes: dict[float, list[tuple[float, float]]] = {}
    for element in root.iter(f"{SVG}rect"):
        if re.fullmatch(r"g\d", element.get("class", "")) and element.get("rx") is None:
            left, _, right, bottom = rectangles_of(element)
            lanes.setdefault(bottom, []).append((left, right))
    assert len(lanes) == 4
    for spans in lanes.values():
        spans.sort()
        for (_, end), (begin, _) in pairwise(spans):
            assert end <= begin + 0.75


def rectangles_of(element: ET.Element) -> tuple[float, float, float, float]:
    x, y, width, height = (float(element.get(key, "0")) for key in ("x", "y", "width", "height"))
    return x, y, x + width, round(y + height, 1)


def big(calls: int, processes: int) -> Fake:
    """Made by DuckDB itself: Python would take too long."""
    log = Fake()
    for i in range(processes):
        log.process(100 + i, 100, i / processes / 2, 1, program=f"/bin/p{i}")
    log.call(0, "execve", None, 100, argv="x")
    log.sql("SELECT 1")
    assert "start TIMESTAMP_NS" in TYPES["calls"]
    log.connection.execute(
        f"""INSERT INTO calls BY NAME SELECT make_timestamp_ns({ORIGIN} + i * {SECOND // calls}) AS start,
        hash(i) % {max(SECOND // calls, 1)} AS duration_ns, 100 + i % {processes} AS pid,
        100 + i % {processes} AS tid, ['read', 'futex', 'openat', 'mmap'][(hash(i) % 4)::INTEGER + 1] AS name,
        0 AS ret, CASE WHEN hash(i) % 20 = 0 THEN 'EAGAIN' END AS error,
        ['transfer', 'threads', 'files', 'memory'][(hash(i) % 4)::INTEGER + 1] AS family, 'kernel' AS route,
        false AS trapped, 0 AS nr, 100 + i % {processes} AS thread, i AS seq, 0 AS run FROM range({calls}) t(i)"""
    )
    return log


@pytest.mark.parametrize(("calls", "processes"), [(200_000, 3), (200_000, 300), (1000, 100)])
def test_many_calls_are_few_elements(calls: int, processes: int) -> None:
    text = text_of(big(calls, processes))
    root = ET.fromstring(text)
    assert len(list(root.iter(f"{SVG}rect"))) < LIMIT + 600
    assert sum(1 for _ in root.iter()) < 3 * LIMIT
    assert len(text) < 1_500_000
    assert len(classes(root, "process")) == min(processes, 80)
    if processes > 80:
        assert any(f"{processes - 80} smaller processes" in word for word in texts(root))


def test_few_rows() -> None:
    root = draw(sample(), rows=1)
    assert len(classes(root, "process")) == 1
    assert "2 smaller processes" in texts(root)
    assert len(classes(root, "failed")) == 1


def test_the_same_log_gives_the_same_bytes() -> None:
    assert text_of(sample()) == text_of(sample())
    log = big(50_000, 5)
    assert text_of(log) == text_of(log)


def test_dark_mode_print_and_nothing_to_load() -> None:
    text = text_of(sample())
    assert "@media screen and (prefers-color-scheme: dark)" in text
    assert "<script" not in text and "href" not in text and "url(" not in text
    used = set(re.findall(r'class="([a-z0-9]+)"', text)) - {"process", "label"}
    dark = text.partition("@media")[2].partition("</style>")[0]
    for name in used - {"title"}:
        assert f".{name}" in dark, f"{name} has a colour for dark mode"


def test_any_text_is_xml() -> None:
    log = Fake()
    log.process(10, 1, 0, 1, program="/bin/<a>&\x01\x1b", argv="x")
    log.call(0.5, "execve", None, argv="a '<&>' \x00\x08\ud7ff ]]> \"")
    log.call(0.6, "openat", 0.3, path="/\x01\x0b<svg>", error="ENOENT")
    assert draw(log) is not None


def test_a_process_whose_beginning_is_missing() -> None:
    log = Fake()
    log.call(0.5, "read", pid=77)
    root = draw(log)
    assert len(classes(root, "process")) == 1


def test_a_number_that_is_used_again_and_parents_in_a_ring() -> None:
    log = Fake()
    log.process(10, 11, 0, 0.2, program="/bin/a")
    log.process(11, 10, 0.1, 0.3)
    log.process(10, 11, 0.6, None, program="/bin/b")
    log.call(0.7, "read", pid=10)
    root = draw(log)
    assert len(classes(root, "process")) == 2
    assert len(classes(root, "life")) == 3


def test_many_threads_share_a_lane() -> None:
    log = Fake()
    log.process(10, 1, 0, 1)
    for i in range(30):
        for k in range(30 - i):
            log.call(k / 40, "futex", 0.01, tid=10 + i)
    names = [label.text for label in classes(draw(log), "small")]
    assert len(names) == 8 and names[-1] == "23 more" and names[0] == "10"


def test_nothing_to_draw() -> None:
    with pytest.raises(LogError, match="nothing to draw"):
        text_of(Fake())


@pytest.mark.parametrize(
    ("span", "first", "last"),
    [
        (1, "0 ns", "1 ns"),
        (950, "0 ns", "900 ns"),
        (148 * MS, "0 ms", "140 ms"),
        (1200 * MS, "0 s", "1.2 s"),
        (80 * SECOND, "0 s", "80 s"),
        (700 * SECOND, "0 min", "10 min"),
        (3 * 3600 * SECOND, "0 min", "180 min"),
        (40 * 24 * 3600 * SECOND, "0 h", "960 h"),
    ],
)
def test_ticks_are_round(span: int, first: str, last: str) -> None:
    found = ticks(span, 10)
    assert 2 <= len(found) <= 11
    assert (found[0][1], found[-1][1]) == (first, last)
    assert len({text for _, text in found}) == len(found)
    assert all(at <= span for at, _ in found)


def test_clip_and_command() -> None:
    assert clip("abcdef", 6) == "abcdef"
    assert clip("abcdef", 4) == "abc…"
    assert clip("abcdef", 1) == ""
    assert command("/usr/bin/cc -c 'a b.c'") == "cc -c 'a b.c'"
    assert command("'/opt/my tool/x' 1") == "x 1"
    assert command("/bin/sh -c 'a\n  b'") == "sh -c 'a b'"
    assert command("'") == "'"

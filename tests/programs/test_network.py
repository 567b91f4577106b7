# SPDX-License-Identifier: Apache-2.0
"""A web server and its client, each of them captured; databases that are servers."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from differential import compare

SERVER = """
import http.server, threading, subprocess, sys, functools, os
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass
    def do_POST(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200); self.end_headers(); self.wfile.write(data[::-1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
def fetch(*args):
    result = subprocess.run(["curl", "-sS", *args], capture_output=True)
    return result.returncode, len(result.stdout), result.stdout[-30:], len(result.stderr)
print(fetch(f"{url}/large"), fetch(f"{url}/missing")[0], fetch("-f", f"{url}/missing")[0])
print(fetch("--data-binary", "@large", url)[:2], fetch("-I", f"{url}/small")[0])
print(fetch("-o", "saved", f"{url}/large", "-o", "again", f"{url}/small"))
print(fetch("--parallel", *[a for i in range(10) for a in ("-o", f"got-{i}", f"{url}/small")])[0])
server.shutdown(); server.server_close()
print(fetch(url)[0])
"""
REDIS = """
redis-server --port 0 --unixsocket socket --save '' --daemonize no > log 2>&1 &
server=$!
for i in $(seq 100); do redis-cli -s socket ping > /dev/null 2>&1 && break; sleep 0.05; done
redis-cli -s socket set key value; redis-cli -s socket get key
redis-benchmark -s socket -n 2000 -c 20 -q -t set,get > /dev/null; echo $?
redis-cli -s socket dbsize; redis-cli -s socket shutdown nosave; wait $server; echo $?
"""


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl(route: str, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "large").write_bytes(bytes(range(256)) * 20_000)
    (files / "small").write_bytes(b"a small file")
    (files / "server.py").write_text(SERVER)
    python = str(Path(sys.executable).resolve())
    compare([python, "-I", "server.py"], routes=(route,), files=files, status=0)


@pytest.mark.skipif(not shutil.which("redis-server"), reason="redis is not installed")
def test_redis(route: str, tmp_path: Path) -> None:
    compare(["bash", "-c", REDIS], routes=(route,), ignore=("log",), status=0)


@pytest.mark.skipif(not shutil.which("socat"), reason="socat is not installed")
@pytest.mark.parametrize("kind", ["TCP", "UNIX"])
def test_socat(kind: str, route: str) -> None:
    where = {"TCP": ("TCP-LISTEN:34343,reuseaddr,fork", "TCP:127.0.0.1:34343"),
             "UNIX": ("UNIX-LISTEN:socket,fork", "UNIX:socket")}[kind]  # fmt: skip
    line = (
        f"socat {where[0]} EXEC:cat & server=$!; sleep 0.3; "
        f"for i in 1 2 3; do echo hello $i | socat -t 5 - {where[1]}; done; "
        "kill $server; wait $server; echo $?"
    )
    native = compare(["bash", "-c", line], routes=(route,), status=0)
    assert re.findall(rb"hello \d", native.stdout) == [b"hello 1", b"hello 2", b"hello 3"]

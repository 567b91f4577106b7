# SPDX-License-Identifier: Apache-2.0
"""Compilers and what they make: gcc, make, Node, Go, and one C program linked in every usual way."""

import shutil
from functools import partial
from pathlib import Path

from case import Case

from differential import BUILD, ROOT, program

SOURCE = """
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv) { printf("%d %s\\n", argc, strrchr(argv[0], '/')); return 5; }
"""
GCC = r"""
    gcc PIPE -O1 -o a a.c && ./a x; echo $?; gcc PIPE -c bad.c; echo $?; ar rc lib.a a.c; nm a | wc -l
"""

# A real tree with a real Makefile: this one, as far as the proxy. Two jobs at a time print in any order.
TREE = r"""
    make -j2 src/lsca/lib/lsca-proxy PYTHON=$PYTHON | sort
    src/lsca/lib/lsca-proxy; echo $?
    make src/lsca/lib/lsca-proxy PYTHON=$PYTHON; touch native/proxy/serve.c
    make -j2 src/lsca/lib/lsca-proxy PYTHON=$PYTHON
"""

NODE = """
const fs = require("fs"), http = require("http"), cp = require("child_process"), zlib = require("zlib");
const crypto = require("crypto"), { Worker, isMainThread, parentPort, workerData } = require("worker_threads");
if (!isMainThread) { parentPort.postMessage(workerData * 2); return; }
const get = (port, path) => new Promise((done) => http.get({ port, path, host: "127.0.0.1" }, (r) => {
    let n = 0; r.on("data", (d) => (n += d.length)); r.on("end", () => done([r.statusCode, n])); }));
(async () => {
    const server = http.createServer((q, r) => q.url == "/big" ? fs.createReadStream("big").pipe(r) : r.end(q.url));
    fs.writeFileSync("big", "0123456789".repeat(100000));
    await new Promise((done) => server.listen(0, "127.0.0.1", done));
    const port = server.address().port;
    console.log(await Promise.all([...Array(30).keys()].map((i) => get(port, i % 3 ? "/" + i : "/big"))));
    server.close(); server.closeAllConnections();
    console.log(await Promise.all([1, 2, 3].map((i) => new Promise((done) =>
        new Worker(__filename, { workerData: i }).on("message", done)))));
    console.log(cp.execSync("wc -c < big; exit 0").toString(), cp.spawnSync("sh", ["-c", "kill -9 $$"]).signal);
    const child = cp.spawn("cat"); child.stdin.end("through cat");
    for await (const d of child.stdout) console.log(d.toString());
    console.log(zlib.gunzipSync(zlib.gzipSync(fs.readFileSync("big"))).length);
    console.log(crypto.createHash("sha256").update(await fs.promises.readFile("big")).digest("hex"));
    const seen = new Promise((done) => process.once("SIGUSR2", done)); process.kill(process.pid, "SIGUSR2");
    const still = setInterval(() => {}, 1000);
    console.log(await seen, fs.readdirSync(".").sort(), await fs.promises.stat("missing").catch((e) => e.code));
    clearInterval(still); process.exitCode = 3;
})();
"""


def sources(where: Path) -> None:
    """One that compiles and one that does not."""
    (where / "a.c").write_text(SOURCE)
    (where / "bad.c").write_text("int main(void) { return missing; }\n")


def own_tree(where: Path) -> None:
    """What the proxy is built from."""
    for name in ("native/proxy", "native/shared", "src/lsca"):
        skipped = shutil.ignore_patterns("*.so", "__pycache__", "lib")
        shutil.copytree(ROOT / name, where / name, ignore=skipped)
    shutil.copy(ROOT / "Makefile", where)


def script(name: str, text: str, where: Path) -> None:
    """A file to be run."""
    (where / name).write_text(text)


def built(where: Path, **how: object) -> None:
    """One of our own programs, under the name `busy`."""
    shutil.copy(program("programs/busy.c", **how), where / "busy")  # type: ignore[arg-type]


def go(where: Path) -> None:
    """Built once, without cgo: nothing of it is libc's."""
    build = ("env", "CGO_ENABLED=0", "GO111MODULE=off", f"GOCACHE={BUILD / 'go'}", "go", "build")
    shutil.copy(program("programs/network.go", compiler=build), where / "network")


MUSL = ("musl-gcc", "-O1", "-pthread")
BUSY = "./busy; echo $?; ./busy storm 3"

CASES = [
    Case("gcc", "files", GCC.replace("PIPE", ""), ("gcc",), prepare=sources),
    Case("gcc", "-pipe", GCC.replace("PIPE", "-pipe"), ("gcc",), prepare=sources),
    Case("make", "-j2 of this project's proxy", TREE, ("make", "gcc"), prepare=own_tree, ignore=("__pycache__",)),
    Case("node", "http, workers, children, streams", "node s.js; echo $?", ("node",),
         prepare=partial(script, "s.js", NODE)),
    Case("Go (static)", "goroutines, net, exec, signals", "./network; echo $?", ("go",), prepare=go),
    Case("go", "go run", "GOCACHE=$PWD/cache GO111MODULE=off go run hello.go 2>&1; echo $?", ("go",), ignore=("cache",),
         prepare=partial(script, "hello.go", 'package main\n\nfunc main() { println("hello") }\n')),
    Case("glibc", "threads, signals, TCP, files, children", BUSY, ("gcc",), prepare=built),
    Case("glibc (static)", "threads, signals, TCP, files, children", BUSY, ("gcc",),
         prepare=partial(built, static=True)),
    Case("musl", "threads, signals, TCP, files, children", BUSY, ("musl-gcc",),
         prepare=partial(built, compiler=MUSL, name="busy-musl")),
    Case("musl (static)", "threads, signals, TCP, files, children", BUSY, ("musl-gcc",),
         prepare=partial(built, compiler=MUSL, name="busy-musl", static=True)),
    Case("fork and exec", "a tree of 364 processes", "./busy storm 5; ./busy storm 3", ("gcc",), prepare=built),
    Case("fork and exec", "shells and subshells", r"""
        for i in $(seq 60); do (echo $i | cat | (read x; test $x = $i && /bin/true) || echo lost $i) & done; wait
        for i in $(seq 30); do x=$(sh -c "exec sh -c 'exit $i'"; echo $?); test $x = $i || echo wrong $x; done
        echo done"""),
]  # fmt: skip

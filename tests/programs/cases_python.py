# SPDX-License-Identifier: Apache-2.0
"""Python programs: threads, children, asyncio, sockets, multiprocessing, databases."""

import textwrap
from functools import partial
from pathlib import Path

from case import Case

SCRIPTS = {
    "threads": """
        import threading, queue, tempfile, os
        q, out = queue.Queue(), []
        lock = threading.Lock()
        def worker():
            while (n := q.get()) is not None:
                with tempfile.TemporaryFile() as f:
                    f.write(b"x" * n); f.seek(0)
                    with lock: out.append(len(f.read()))
        ts = [threading.Thread(target=worker) for _ in range(16)]
        for t in ts: t.start()
        for n in range(500): q.put(n)
        for _ in ts: q.put(None)
        for t in ts: t.join()
        print(sum(out), len(out), threading.active_count())
    """,
    "subprocess": """
        import subprocess, sys
        print(subprocess.run(["sh", "-c", "cat; exit 3"], input=b"text", capture_output=True))
        p = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        print(p.communicate(b"y" * 1_000_000)[0].count(b"y"))
        try: subprocess.run(["sleep", "30"], timeout=0.2)
        except subprocess.TimeoutExpired: print("timed out")
        try: subprocess.run(["/nonexistent"])
        except OSError as e: print(e.errno)
        print(subprocess.run(["sh", "-c", "kill -9 $$"]).returncode)
        print(subprocess.run(["pwd"], cwd="/", env={}, capture_output=True).stdout)
        code = "import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:3])"
        print(subprocess.check_output([sys.executable, "-c", code]))
        print(sum(p.wait() for p in [subprocess.Popen(["sh", "-c", f"exit {i}"]) for i in range(20)]))
    """,
    "asyncio": """
        import asyncio, sys
        async def serve(reader, writer):
            while data := await reader.read(1000):
                writer.write(data[::-1]); await writer.drain()
            writer.close()
        async def client(port, n):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            total = 0
            for i in range(20):
                text = f"{n} and {i}".encode()
                writer.write(text)
                assert await reader.readexactly(len(text)) == text[::-1]
                total += len(text)
            writer.close(); await writer.wait_closed()
            return total
        async def main():
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            print(sum(await asyncio.gather(*(client(port, n) for n in range(50)))))
            p = await asyncio.create_subprocess_exec("sort", stdin=-1, stdout=-1)
            print((await p.communicate(b"b\\na\\n"))[0], p.returncode)
            print(await asyncio.to_thread(lambda: open("/etc/hostname").read() != ""))
            try: await asyncio.wait_for(asyncio.sleep(5), 0.05)
            except TimeoutError: print("timeout")
            server.close()
        asyncio.run(main())
    """,
    "sockets": """
        import socket, threading, os, array
        def serve(s):
            while True:
                c, _ = s.accept()
                with c:
                    data = c.recv(100)
                    if data == b"end": return
                    c.sendall(data.upper())
        s = socket.create_server(("127.0.0.1", 0))
        t = threading.Thread(target=serve, args=(s,)); t.start()
        for i in range(50):
            with socket.create_connection(s.getsockname()) as c:
                c.sendall(b"hello %d" % i); print(c.recv(100), c.recv(100))
        with socket.create_connection(s.getsockname()) as c: c.sendall(b"end")
        t.join(); s.close()
        a, b = socket.socketpair()
        r, w = os.pipe()
        socket.send_fds(a, [b"fds"], [r, w])
        data, fds, flags, _ = socket.recv_fds(b, 100, 4)
        os.write(fds[1], b"through"); print(data, len(fds), os.read(r, 100))
        u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("127.0.0.1", 0))
        u.sendto(b"self", u.getsockname()); print(u.recvfrom(10)[0])
        u.settimeout(0.05)
        try: u.recv(1)
        except TimeoutError: print("timeout")
        b.setblocking(False)
        try: b.recv(1)
        except BlockingIOError: print("would block")
        print(socket.getaddrinfo("localhost", 80, socket.AF_INET, socket.SOCK_STREAM)[0][4])
    """,
    "multiprocessing": """
        import multiprocessing as m, os
        def square(n): return n * n
        def put(q, e):
            e.wait(); q.put(os.getpid() != os.getppid())
        if __name__ == "__main__":
            for method in ("fork", "spawn", "forkserver"):
                c = m.get_context(method)
                with c.Pool(3) as pool: print(method, sum(pool.map(square, range(300))))
            q, e = m.Queue(), m.Event()
            p = m.Process(target=put, args=(q, e)); p.start(); e.set()
            print(q.get(timeout=10)); p.join(); print(p.exitcode)
            with m.Manager() as manager:
                d = manager.dict(); d[1] = 2; print(dict(d))
    """,
    "shared memory": """
        import mmap, os
        from multiprocessing import shared_memory
        s = shared_memory.SharedMemory(create=True, size=1000)
        if not os.fork():
            s.buf[:5] = b"child"; os._exit(0)
        os.wait(); print(bytes(s.buf[:5])); s.close(); s.unlink()
        with open("mapped", "wb+") as f:
            f.truncate(10000)
            with mmap.mmap(f.fileno(), 0) as map:
                map[5000:5005] = b"hello"; map.flush()
            f.seek(5000); print(f.read(5))
    """,
    "sqlite3": """
        import sqlite3, threading
        def writer(n):
            c = sqlite3.connect("base", timeout=30)
            for i in range(10):
                with c: c.execute("insert into t values (?, ?)", (n, i))
            c.close()
        c = sqlite3.connect("base")
        for mode in ("delete", "wal"):
            print(c.execute(f"pragma journal_mode={mode}").fetchone())
            c.execute("create table if not exists t(a, b)"); c.commit()
            ts = [threading.Thread(target=writer, args=(n,)) for n in range(4)]
            for t in ts: t.start()
            for t in ts: t.join()
            print(c.execute("select count(*), sum(a), sum(b) from t").fetchone())
        print(c.execute("pragma integrity_check").fetchone())
        c.close()
    """,
    "signals": """
        import signal, os, time
        def handler(s, f): print("caught", s)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        r, w = os.pipe()
        if not os.fork(): time.sleep(0.3); os.write(w, b"data"); os._exit(0)
        print(os.read(r, 10)); os.wait()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try: signal.setitimer(signal.ITIMER_REAL, 0); os.kill(os.getpid(), signal.SIGINT); time.sleep(5)
        except KeyboardInterrupt: print("interrupted")
        print(signal.sigtimedwait([signal.SIGUSR1], 0.01))
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]); os.kill(os.getpid(), signal.SIGUSR1)
        print(signal.sigwait([signal.SIGUSR1]))
        os.kill(os.getpid(), signal.SIGTERM)
    """,
    "files": """
        import os, pathlib, shutil, tempfile, fcntl, glob, zipfile, pickle
        p = pathlib.Path("a/b/c"); p.mkdir(parents=True)
        for i in range(50): (p / f"{i}").write_bytes(os.urandom(0) + b"x" * i)
        shutil.copytree("a", "z"); shutil.make_archive("packed", "zip", "a")
        print(len(zipfile.ZipFile("packed.zip").namelist()), sum(f.stat().st_size for f in p.iterdir()))
        os.remove("packed.zip"); shutil.rmtree("z")
        with open("locked", "w") as f: fcntl.flock(f, fcntl.LOCK_EX); fcntl.lockf(f, fcntl.LOCK_EX)
        print(sorted(glob.glob("**/1*", recursive=True))[:4])
        with tempfile.NamedTemporaryFile(dir=".") as f: print(os.path.exists(f.name))
        for n in os.scandir("a/b"): print(n.name, n.is_dir())
        print(os.readlink("/proc/self/exe") == os.path.realpath("/proc/%d/exe" % os.getpid()))
        os.sendfile(1, os.open("a/b/c/7", os.O_RDONLY), 0, 7)
    """,
}  # fmt: skip


def write(text: str, where: Path) -> None:
    """The script as a file, for multiprocessing starts it again."""
    (where / "script.py").write_text(textwrap.dedent(text))


# The order of the writers of a database is theirs.
CASES = [
    Case("python3", name, "exec $PYTHON -I script.py", prepare=partial(write, text), status=None,
         ignore=("base*", "__pycache__"))
    for name, text in SCRIPTS.items()
]  # fmt: skip

# SPDX-License-Identifier: Apache-2.0
"""The command line: what is understood, what is refused and with which code, the daemon, and doctor.

Programs are started by test_launch.py; here is what happens before and beside that.
"""

import ctypes
import errno
import json
import mmap
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lsca.cli import doctor, main, run
from lsca.errors import UsageError

LSCA = [sys.executable, "-m", "lsca"]


def lsca(*words: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LSCA, *words], capture_output=True, text=True, timeout=30, **more)  # type: ignore[call-overload, no-any-return]


def test_options_end_at_the_program() -> None:
    options = run.parse(["--route", "proxy", "-o", "x", "ls", "-l", "--route=kernel"])
    assert (options.route, options.log, options.program) == (
        "proxy",
        "x",
        ["ls", "-l", "--route=kernel"],
    )


def test_options_in_one_word() -> None:
    options = run.parse(["--route=proxy", "-ofile", "--daemon=/d", "--no-vdso", "--", "-odd"])
    assert (options.route, options.log, options.daemon) == ("proxy", "file", "/d")
    assert options.hide_vdso
    assert options.program == ["-odd"]


def test_strict() -> None:
    assert run.parse(["--strict", "true"]).strict
    assert not run.parse(["true", "--strict"]).strict


def test_no_daemon() -> None:
    assert run.parse(["true"]).use_daemon
    assert not run.parse(["--no-daemon", "true"]).use_daemon


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["--"],
        ["--nonsense", "true"],
        ["-x", "true"],
        ["--route"],
        ["--route", "moon", "true"],
        ["--no-daemon=1", "true"],
        ["--strict=yes", "true"],
        ["--streams", "true"],
        ["--streams=perhaps", "true"],
        ["-o"],
    ],
)
def test_not_understood(argv: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        run.parse(argv)
    assert caught.value.exit_code == 125


def test_streams_need_sockets_of_their_own() -> None:
    done = lsca("run", "--route", "proxy", "--streams=on", "true")
    assert done.returncode == 125 and done.stderr.count("\n") == 1
    assert "not in the route proxy" in done.stderr


def test_errors_are_printed_once(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["fly"]) == 125
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("lsca: ") and err.count("\n") == 1


def test_overview_names_every_verb(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out = capfd.readouterr().out
    for verb in ("run", "log", "help", "doctor", "daemon", "flags"):
        assert f"\n  {verb} " in out


def test_run_imports_little() -> None:
    """The instant start is a matter of what is not imported."""
    code = "import sys; import lsca.cli.run; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(run.__file__).parents[2])},
    )
    heavy = {"argparse", "dataclasses", "typing", "json", "socket", "re", "subprocess", "enum"}
    assert not (heavy | {"importlib", "warnings"}) & set(done.stdout.split())


def test_output_that_cannot_be_written() -> None:
    """The script ends without Python's help, so that it has to look itself."""
    with open("/dev/full", "w") as full:
        code = "from lsca.cli import script; script()"
        command = [sys.executable, "-E", "-c", code, "help", "write"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 125
    assert done.stderr == "lsca: the output cannot be written: No space left on device\n"


def test_doctor() -> None:
    done = lsca("doctor", "--json")
    told = json.loads(done.stdout)
    assert told["works"] == (done.returncode == 0)
    names = {finding["name"] for finding in told["findings"]}
    assert {"syscall user dispatch", "ptrace", "kernel", "agent", "proxy"} <= names
    assert {"fs base and BMI2", "writing to own code", "memory for streams"} <= names


def own_code_is_written() -> bool:
    """Whether /proc/self/mem takes a byte for a page that this process may only read and execute."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    what = mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    page = libc.mmap(None, ctypes.c_size_t(4096), *what, -1, ctypes.c_long(0))
    memory = os.open("/proc/self/mem", os.O_RDWR)
    try:
        os.pwrite(memory, b"x", page)
    except OSError:
        return False
    finally:
        os.close(memory)
    return ctypes.string_at(page, 1) == b"x"


def test_doctor_on_patching() -> None:
    """Both findings are as another source has it, and neither decides whether `lsca run` works."""
    told = json.loads(lsca("doctor", "--json").stdout)
    found = {finding["name"]: finding for finding in told["findings"]}
    keys, code = found["fs base and BMI2"], found["writing to own code"]
    flags = Path("/proc/cpuinfo").read_text()
    assert keys["ok"] == bool(re.search(r"\bfsgsbase\b", flags) and re.search(r"\bbmi2\b", flags))
    assert code["ok"] == own_code_is_written()
    assert not keys["needed"] and not code["needed"]


@pytest.mark.parametrize("probe", ["keys", "code_write"])
def test_doctor_without_patching(probe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it calls cost a signal, says the one line, and everything else stands as before."""
    real = doctor._native.probe()
    before = doctor.findings()
    monkeypatch.setattr(doctor._native, "probe", lambda: {**real, probe: errno.EPERM})
    after = doctor.findings()
    label = doctor.PROBES[probe][0]
    (line,) = [finding for finding in after if finding.name == label]
    assert not line.ok and not line.needed
    assert "each call costs a signal" in line.text and line.text.endswith("(EPERM)")
    assert [f for f in before if f.name != label] == [f for f in after if f.name != label]


class Running:
    """A daemon of this test's own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.process = subprocess.Popen(
            [*LSCA, "daemon", "--socket", str(path)], stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        self.ready = self.process.stderr.readline()

    def status(self) -> dict[str, object]:
        done = lsca("daemon", "--socket", str(self.path), "--status", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)  # type: ignore[no-any-return]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path / "d.sock")
    yield running
    running.end()


def test_daemon_lists_a_run(daemon: Running) -> None:
    program = subprocess.Popen(
        [*LSCA, "run", "--daemon", str(daemon.path), "sleep", "30"], stdout=subprocess.DEVNULL
    )
    try:
        for _ in range(100):
            sessions = daemon.status()["sessions"]
            assert isinstance(sessions, list)
            if sessions and sessions[0]["processes"]:
                break
            time.sleep(0.05)
        assert sessions[0]["argv"] == ["sleep", "30"]
        assert sessions[0]["route"] == "kernel"
        assert sessions[0]["processes"][0]["alive"]
    finally:
        program.terminate()
        assert program.wait(timeout=10) == -signal.SIGTERM
    for _ in range(100):
        if not daemon.status()["sessions"]:
            break
        time.sleep(0.05)
    assert daemon.status()["sessions"] == []


def test_daemon_cleans_up_on_sigterm(daemon: Running) -> None:
    daemon.process.terminate()
    assert daemon.process.wait(timeout=10) == 0
    assert not daemon.path.exists()


def test_daemon_stop(daemon: Running) -> None:
    assert lsca("daemon", "--socket", str(daemon.path), "--stop").returncode == 0
    assert daemon.process.wait(timeout=10) == 0
    assert not daemon.path.exists()


def test_one_daemon_per_socket(daemon: Running) -> None:
    second = lsca("daemon", "--socket", str(daemon.path))
    assert second.returncode == 125
    assert "already" in second.stderr


def test_stale_socket_is_replaced(daemon: Running) -> None:
    daemon.process.kill()
    daemon.process.wait()
    assert daemon.path.exists()
    again = Running(daemon.path)
    try:
        assert "ready" in again.ready
        assert again.status()["sessions"] == []
    finally:
        again.end()


def test_other_files_are_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("mine")
    assert lsca("daemon", "--socket", str(path)).returncode == 125
    assert path.read_text() == "mine"


def test_nonsense_does_not_end_the_daemon(daemon: Running) -> None:
    for words in (b"\n", b"{}\n", b'{"op": "join"}\n', b"[1]\n", b"\xff" * 5000 + b"\n"):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(daemon.path))
            client.sendall(words)
    assert daemon.status()["sessions"] == []


def test_run_wants_the_daemon_it_is_told(tmp_path: Path) -> None:
    done = lsca("run", "--daemon", str(tmp_path / "none"), "true")
    assert done.returncode == 125
    assert "no daemon" in done.stderr


def test_run_goes_on_without_a_daemon(tmp_path: Path) -> None:
    done = lsca("run", "true", env={**os.environ, "LSCA_DAEMON": str(tmp_path / "none")})
    assert (done.returncode, done.stderr) == (0, "")


def test_death_of_the_daemon_harms_no_run(daemon: Running) -> None:
    program = subprocess.Popen(
        [*LSCA, "run", "--daemon", str(daemon.path), "sh", "-c", "echo up; read x; ls /; exit 3"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == b"up\n"
    daemon.process.kill()
    daemon.process.wait()
    out, _ = program.communicate(b"\n", timeout=20)
    assert program.returncode == 3
    assert b"tmp" in out

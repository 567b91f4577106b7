# SPDX-License-Identifier: Apache-2.0
"""Programs that cannot be captured: counted, or with --strict refused; in both routes, first of a run and as children.

Three kinds: those that gain privileges, those of another machine, and those that may not be traced. The native run says
what each would do without us: without --strict it must do that, with --strict it must not run at all, and an exec
that fails for its own reasons must fail with its own errno. As root, most of it is tried as another user.
"""

import os
import shutil
import signal
import stat
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lsca.log import read_log
from preloading import LSCA, NOBODY, USERS

ROUTES = ["kernel", "proxy"]
AS_ROOT = pytest.mark.skipif(len(USERS) < 2, reason="only root can make such programs")
# Root that may not trace everybody, as in most containers.
WEAK = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"]

WHO = r"""
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(void)
{
	char line[256];
	FILE *f = fopen("/proc/self/status", "r");
	printf("ran %d %d\n", (int)geteuid(), (int)getegid());
	while (f && fgets(line, sizeof line, f))
		if (!strncmp(line, "CapEff", 6))
			fputs(line, stdout);
	return 5;
}
"""

# Tries each of its arguments, and says how it went.
TRIES = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv, char **env)
{
	for (int i = 1; i < argc; i++) {
		char *words[] = {argv[i], NULL};
		int status, fd;
		pid_t pid;
		if (!strcmp(argv[i], "--hidden")) {
			prctl(PR_SET_DUMPABLE, 0);
			continue;
		}
		fflush(stdout);
		pid = fork();
		if (!pid) {
			execve(argv[i], words, env);
			printf("execve: %s\n", strerrorname_np(errno));
			fd = open(argv[i], O_PATH);
			syscall(SYS_execveat, fd, "", words, env, AT_EMPTY_PATH);
			printf("execveat: %s\n", strerrorname_np(errno));
			fflush(stdout);
			_exit(99);
		}
		waitpid(pid, &status, 0);
		printf("%d: 0x%x\n", i, status);
	}
	return 3;
}
"""

# Lets no anonymous memory be executable from here on.
FILTERED = r"""
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 9, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 32),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 4, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};
	(void)argc;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, 2, &program))
		return 90;
	execv(argv[1], argv + 1);
	return 91;
}
"""


def foreign() -> bytes:
    """A 32-bit program for i386: exit(12)."""
    code = bytes.fromhex("b801000000bb0c000000cd80")
    base, head = 0x8048000, 52 + 32
    size = head + len(code)
    ident = b"\x7fELF\x01\x01\x01" + bytes(9)
    elf = ident + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, base + head, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    return elf + struct.pack("<8I", 1, 0, base, base, size, size, 5, 4096) + code


class Place:
    """A directory that everybody may enter, with the programs."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="lsca-test-"))
        self.path.chmod(0o777)
        self.who = self._compiled("who", WHO)
        self.tries = self._compiled("tries", TRIES)

    def _compiled(self, name: str, source: str, *more: str) -> str:
        cc = shutil.which("gcc")
        if cc is None:
            pytest.skip("gcc is not installed")
        target = self.path / name
        (self.path / f"{name}.c").write_text(source)
        subprocess.run([cc, "-O1", "-o", str(target), f"{target}.c", *more], check=True)
        return str(target)

    def copy(self, name: str, mode: int, owner: int = 0, group: int = 0) -> str:
        target = self.path / name
        shutil.copy(self.who, target)
        os.chown(target, owner, group)
        target.chmod(mode)
        return str(target)

    def write(self, name: str, content: bytes, mode: int = 0o755) -> str:
        target = self.path / name
        target.write_bytes(content)
        target.chmod(mode)
        return str(target)

    def filtered(self) -> tuple[str, str]:
        return self._compiled("filtered", FILTERED), self._compiled("still", WHO, "-static")


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    one = Place()
    yield one
    shutil.rmtree(one.path)


Done = subprocess.CompletedProcess[str]


def native(*words: str, user: list[str] = NOBODY) -> Done:
    return subprocess.run([*user, *words], capture_output=True, text=True, timeout=60, cwd="/")


def run(*words: str, options: list[str], user: list[str] = NOBODY) -> Done:
    command = [*user, *LSCA, "run", "--no-daemon", *options, "--", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/")


def user_of(name: str) -> list[str]:
    return [] if name == "self" else NOBODY


# ---- programs that gain privileges -----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["setuid", "setgid", "capability", "unreadable", "script"])
def gaining(request: pytest.FixtureRequest, place: Place) -> str:
    """A program that nobody gains privileges by, and its native output shows it."""
    if len(USERS) < 2:
        pytest.skip("only root can make such programs")
    match request.param:
        case "setuid":
            path = place.copy("setuid", 0o4755)
        case "setgid":
            path = place.copy("setgid", 0o2755)
        case "unreadable":
            path = place.copy("unreadable", 0o4111)
        case "capability":
            path = place.copy("capability", 0o755)
            raw = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)
            try:
                os.setxattr(path, "security.capability", raw)
            except OSError as error:
                pytest.skip(f"this file system keeps no capabilities: {error}")
        case _:
            interpreter = place.copy("interpreter", 0o4755)
            path = place.write("script", f"#! {interpreter} -x\n".encode())
    assert native(path).stdout != native(place.who).stdout
    assert native(path).returncode == 5
    return path


def test_first_program_gains_and_is_counted(gaining: str) -> None:
    done = run(gaining, options=[])
    assert (done.returncode, done.stdout) == (5, native(gaining).stdout)
    assert done.stderr.startswith(f"lsca: 1 program ran uncaught (first: {gaining}: it gains priv")


def test_child_gains_and_is_counted(gaining: str, place: Place) -> None:
    done = run(place.tries, gaining, options=[])
    assert (done.returncode, done.stdout) == (3, native(place.tries, gaining).stdout)
    assert done.stderr.startswith(f"lsca: 1 program ran uncaught (first: {gaining}: it gains priv")


@pytest.mark.parametrize(
    "options", [["--strict"], ["--strict", "--route=proxy"], ["--route=proxy"]]
)
def test_first_program_gains_and_is_refused(gaining: str, options: list[str]) -> None:
    done = run(gaining, options=options)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith(f"lsca: {gaining} cannot be captured: it gains privileges")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "options", [["--strict"], ["--strict", "--route=proxy"], ["--route=proxy"]]
)
def test_child_gains_and_is_refused(gaining: str, options: list[str], place: Place) -> None:
    done = run(place.tries, gaining, place.who, options=options)
    assert done.returncode == (125 if "--strict" in options else 3)
    assert done.stdout.startswith("execve: EPERM\nexecveat: EPERM\n1: 0x6300\nran ")
    assert done.stderr.startswith("lsca: 2 programs could not be captured and did not run (first: ")
    assert f"{gaining}: it gains privileges" in done.stderr
    assert done.stderr.count("\n") == 1


@AS_ROOT
@pytest.mark.parametrize("options", [[], ["--strict"]])
def test_a_launcher_that_may_trace_everybody(place: Place, options: list[str]) -> None:
    """Root's launcher captures a program that becomes somebody else."""
    path = place.copy("other", 0o6755, 1234, 1235)
    log = place.path / "log"
    for words in ([path], [place.tries, path]):
        done = run(*words, options=[*options, "-o", str(log)], user=[])
        before = native(*words, user=[])
        assert "ran 1234 1235\n" in before.stdout
        assert (done.returncode, done.stdout) == (before.returncode, before.stdout)
        assert done.stderr == ""
        read = read_log(log)
        assert read.complete
        assert any(record.name == "geteuid" and record.ret == 1234 for record in read)


@AS_ROOT
@pytest.mark.parametrize("options", [[], ["--strict"]])
def test_root_without_the_right_to_trace(place: Place, options: list[str]) -> None:
    path = place.copy("other", 0o4755, 1234)
    done = run(place.tries, path, options=options, user=WEAK)
    if options:
        assert done.returncode == 125
        assert "2 programs could not be captured and did not run" in done.stderr
    else:
        assert (done.returncode, done.stdout) == (3, native(place.tries, path, user=WEAK).stdout)
        assert "ran 1234 0\n" in done.stdout
        assert "1 program ran uncaught" in done.stderr


# ---- what looks like one and is not ----------------------------------------------------------------------------------


@AS_ROOT
@pytest.mark.parametrize("route", ROUTES)
def test_marks_that_mean_nothing(place: Place, route: str) -> None:
    """The kernel ignores them: a script's own, the owner's own, a group's without execution, under no_new_privs."""
    script = place.write("marked", f"#!{place.who}\n".encode(), 0o4755)
    own = place.copy("own", 0o4755, 65534, 65534)
    locks = place.copy("locks", 0o2745)
    options = ["--strict", f"--route={route}"]
    for path in (script, own, locks):
        done = run(place.tries, path, options=options)
        assert (done.returncode, done.stdout) == (3, native(place.tries, path).stdout)
        assert done.stderr == ""
    setuid = place.copy("setuid", 0o4755)
    user = [*NOBODY, "--no-new-privs"]
    for words in ([setuid], [place.tries, setuid]):
        done = run(*words, options=options, user=user)
        assert (done.returncode, done.stdout) == (done.returncode, native(*words, user=user).stdout)
        assert "ran 65534 65534\n" in done.stdout
        assert done.stderr == ""


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("user", USERS)
def test_execs_that_fail_by_themselves(place: Place, user: str, route: str) -> None:
    directory = place.path / "directory"
    directory.mkdir(exist_ok=True)
    directory.chmod(0o6777)
    fifo = place.path / "fifo"
    if not fifo.exists():
        os.mkfifo(fifo)
    fifo.chmod(stat.S_ISUID | 0o777)
    loop = place.path / "loop"
    loop.unlink(missing_ok=True)
    loop.symlink_to(loop)
    paths = [
        "",
        "/nowhere",
        "/dev/null/x",
        "x" * 5000,
        str(directory),
        str(fifo),
        str(loop),
        place.write("plain", b"no program\n", 0o4755),
        place.write("empty", b"", 0o4755),
        place.write("denied", Path(place.who).read_bytes(), 0o4644),
        place.write("lost", b"#!/nowhere/at/all\n", 0o4755),
        place.write("bare", b"#!\n", 0o4755),
        place.write("spaces", b"#!   " + b" " * 400 + b"\n"),
        place.write("turns", f"#!{place.path}/turns\n".encode()),
        place.write("short", b"\x7fELF", 0o4755),
    ]
    for who in ([], [str(place.path / "who")]):
        words = [place.tries, *paths, *who]
        before = native(*words, user=user_of(user))
        done = run(*words, options=["--strict", f"--route={route}"], user=user_of(user))
        assert done.stdout == before.stdout
        assert (done.returncode, done.stderr) == (before.returncode, "") == (3, "")


# ---- 32-bit programs -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def other(place: Place) -> str:
    path = place.write("other32", foreign())
    try:
        assert native(path, user=[]).returncode == 12
    except OSError:
        pytest.skip("this kernel runs no 32-bit programs")
    return path


@pytest.mark.parametrize("user", USERS)
def test_foreign_is_counted(other: str, place: Place, user: str) -> None:
    for words, code in (([other], 12), ([place.tries, other], 3)):
        done = run(*words, options=[], user=user_of(user))
        assert (done.returncode, done.stdout) == (code, native(*words).stdout)
        assert done.stderr.startswith(
            f"lsca: 1 program ran uncaught (first: {other}: it is not a 64"
        )


@pytest.mark.parametrize(
    "options", [["--strict"], ["--strict", "--route=proxy"], ["--route=proxy"]]
)
@pytest.mark.parametrize("user", USERS)
def test_foreign_is_refused(other: str, place: Place, options: list[str], user: str) -> None:
    done = run(other, options=options, user=user_of(user))
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith(f"lsca: {other} cannot be captured: it is not a 64-bit program")
    done = run(place.tries, other, place.who, options=options, user=user_of(user))
    assert done.returncode == (125 if "--strict" in options else 3)
    assert done.stdout.startswith("execve: EPERM\nexecveat: EPERM\n1: 0x6300\nran ")
    assert done.stderr.startswith("lsca: 2 programs could not be captured and did not run (first: ")


@pytest.mark.parametrize("route", ROUTES)
def test_foreign_interpreter(other: str, place: Place, route: str) -> None:
    script = place.write("script32", f"#!{other}\n".encode())
    done = run(place.tries, script, options=["--strict", f"--route={route}"], user=[])
    assert done.returncode == 125
    assert done.stdout.startswith("execve: EPERM\n")


# ---- programs that may not be traced ---------------------------------------------------------------------------------


@AS_ROOT
@pytest.mark.parametrize("route", ROUTES)
def test_hidden_from_its_tracer(place: Place, route: str) -> None:
    """A process that is not dumpable is not for an ordinary user's launcher to trace."""
    words = [place.tries, place.who, "--hidden", place.who]
    before = native(*words)
    assert before.stdout.count("ran ") == 2
    done = run(*words, options=[f"--route={route}"])
    assert done.returncode == 3
    if route == "kernel":
        assert done.stdout == before.stdout
        assert "1 program ran uncaught (first: started by process" in done.stderr
    else:
        assert done.stdout.count("ran ") == 1
    done = run(*words, options=["--strict", f"--route={route}"])
    assert done.returncode == 125
    assert done.stdout.count("ran ") == 1
    assert "execve: EPERM\n" in done.stdout
    assert "could not be captured and did not run" in done.stderr


@pytest.mark.parametrize("user", USERS)
def test_agent_that_cannot_be_put_in(place: Place, user: str) -> None:
    """Too late to refuse the exec: the program is ended before its first instruction."""
    words = place.filtered()
    before = native(*words, user=user_of(user))
    assert before.returncode == 5
    done = run(*words, options=[], user=user_of(user))
    assert (done.returncode, done.stdout) == (5, before.stdout)
    assert done.stderr.startswith("lsca: 1 program ran uncaught (first: ")
    done = run(*words, options=["--strict"], user=user_of(user))
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("lsca: 1 program could not be captured and did not run (first: ")
    done = run("sh", "-c", f"{' '.join(words)}; echo $?", options=["--strict"], user=user_of(user))
    assert (done.returncode, done.stdout) == (125, "137\n")


@AS_ROOT
@pytest.mark.parametrize("route", ROUTES)
def test_many_at_once(place: Place, other: str, route: str) -> None:
    """Refused, failing by themselves and ended ones, and others that run, all at the same time."""
    gains = place.copy("setuid", 0o4755)
    lines = [gains, other, "/nowhere/x", "/bin/true"]
    if route == "kernel":
        lines.append(" ".join(place.filtered()))
    script = " & ".join(f"({line}) 2>/dev/null" for line in lines * 20) + " & wait; echo all"
    done = run("bash", "-c", script, options=["--strict", f"--route={route}"])
    assert (done.returncode, done.stdout) == (125, "all\n")
    count = 60 if route == "kernel" else 40
    assert f"lsca: {count} programs could not be captured and did not run" in done.stderr


@pytest.mark.parametrize(
    ("options", "code"), [([], "0"), (["--strict"], "126"), (["--route=proxy"], "126")]
)
def test_without_a_launcher(options: list[str], code: str) -> None:
    """It is killed: a later exec runs uncaught, or fails."""
    process = subprocess.Popen(
        [*LSCA, "run", "--no-daemon", *options, "sh", "-c", "echo up; read x; /bin/true; echo $?"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.readline() == "up\n"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (launcher,) = map(int, children)
    os.kill(launcher, signal.SIGKILL)
    out, err = process.communicate("\n", timeout=60)
    assert (process.returncode, out) == (125, f"{code}\n")
    assert "the launcher was killed" in err
    assert ("Input/output error" in err) == (code == "126")


@pytest.mark.parametrize("route", ROUTES)
def test_nothing_is_missed(route: str) -> None:
    options = ["--strict", f"--route={route}"]
    done = run("sh", "-c", "env -i /bin/true; (exit 4)", options=options, user=[])
    assert (done.returncode, done.stdout, done.stderr) == (4, "", "")
    done = run("sh", "-c", "kill -TERM $$", options=options, user=[])
    assert done.returncode == -15
    assert run("no-such-program", options=options, user=[]).returncode == 127

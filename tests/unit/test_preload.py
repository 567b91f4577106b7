# SPDX-License-Identifier: Apache-2.0
"""The agent as a library, with a daemon: preloaded, linked, loaded late; listed, counted, logged; and `lsca flags`.

Each program runs natively too. What is caught is proven by the daemon's list and by the logs, what is not by the
program itself, which sees in /proc whether somebody handles its SIGSYS.
"""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from lsca.cli import flags
from lsca.errors import LscaError
from lsca.log import read_log
from lsca.session import AGENT
from preloading import IS_CAUGHT, LSCA, NOBODY, USERS, Place, caught, wait_for

# ---- with a daemon ---------------------------------------------------------------------------------------------------


def test_listed_and_counted(place: Place) -> None:
    place.start()
    program = place.begin("sh", "-c", "echo up; read x; exit 3")
    assert program.stdout is not None and program.stdin is not None
    assert program.stdout.readline() == "up\n"
    (session,) = place.sessions()
    assert session["argv"] == ["sh", "-c", "echo up; read x; exit 3"]
    assert session["preloaded"] is True
    assert session["log"] is None
    (process,) = session["processes"]  # type: ignore[misc]
    assert process["pid"] == session["pid"] and process["alive"]
    assert process["calls"]["kernel"] > 5
    program.stdin.write("\n")
    program.stdin.close()
    assert program.wait(timeout=20) == 3
    wait_for(lambda: not place.sessions())


def test_the_program_sees_no_difference(place: Place) -> None:
    """Descriptors, masks, ignored signals, children: with and without."""
    place.start("-o", str(place.logs))
    script = (
        "ls -l /proc/self/fd | sed 's/.*-> //;s/[0-9]//g;/:/d'; ulimit -n; trap '' HUP; grep -E '^Sig(Blk|Ign)' "
        "/proc/self/status; (exit 5); echo $?; kill -TERM $$"
    )
    native = place.run("sh", "-c", script, preload=False)
    preloaded = place.run("sh", "-c", script)
    assert native.returncode == preloaded.returncode == -signal.SIGTERM
    assert native.stdout == preloaded.stdout != ""
    assert native.stderr == preloaded.stderr == ""
    assert {"openat", "execve", "wait4", "kill"} <= names(place.log())


def names(log: Path) -> set[str]:
    return {record.name for record in read_log(log)}


def test_one_log_for_a_program_and_its_children(place: Place) -> None:
    place.start("-o", str(place.logs))
    script = "cat /etc/hostname; exec head -c 3 /dev/zero"
    done = place.run("sh", "-c", script)
    assert done.stdout.endswith("\0\0\0")
    path = place.log()
    assert path.name.startswith("sh-") and path.stat().st_mode & 0o777 == 0o600
    log = read_log(path)
    assert (log.lost, log.gaps, log.uncaught) == (0, 0, 0)
    lines = [record for record in log if record.name == "execve"]
    assert len(lines) == 2
    assert len({record.pid for record in log}) == 2
    # Both of the images: reads by cat, and by head in the place of the shell.
    assert {record.pid for record in log if record.name == "read"} == {r.pid for r in log}
    assert sum(1 for record in log if record.name == "exit_group") == 2


def test_children_without_the_variables_run_uncaught(place: Place) -> None:
    place.start("-o", str(place.logs))
    done = place.run("sh", "-c", f"{IS_CAUGHT}; env -i PATH=$PATH sh -c '{IS_CAUGHT}'; exit 4")
    assert done.returncode == 4
    first, second = done.stdout.splitlines()
    assert caught(first) and not caught(second)
    place.log()


def test_static_children_run_uncaught(here: Place) -> None:
    here.start("-o", str(here.logs))
    static = here.compiled("static", "int main(void) { return 11; }", "-static")
    assert here.run("sh", "-c", f"{static}; exit $?").returncode == 11
    records = list(read_log(here.log()))
    assert sum(1 for record in records if record.name == "exit_group") == 1
    assert len({record.pid for record in records}) == 2


SHOWS = r"""
#include <stdio.h>
#include <string.h>
int main(void)
{
	char line[256];
	FILE *f = fopen("/proc/self/status", "r");
	while (f && fgets(line, sizeof line, f))
		if (!strncmp(line, "SigCgt", 6))
			fputs(line, stdout);
	return 0;
}
"""


def test_more_rights_than_the_caller(here: Place) -> None:
    """A setuid program that is linked to the agent does not ask whom its caller names. Not setuid, it does."""
    if len(USERS) < 2:
        pytest.skip("only root can make a setuid program of root's")
    here.start()
    os.chmod(here.socket, 0o777)
    program = here.compiled("shows", SHOWS, *flags.link(str(here.path)).split())
    assert caught(here.run(program, preload=False).stdout)
    os.chmod(program, 0o4755)
    assert caught(here.run(program, preload=False).stdout)
    here.user = NOBODY
    assert not caught(here.run(program, preload=False).stdout)


FIRST = r"""
#include <sys/syscall.h>
#include <unistd.h>
static void first(void) { syscall(SYS_getpgid, 0); }
__attribute__((section(".preinit_array"), used)) static void (*const early)(void) = first;
__attribute__((constructor)) static void second(void) { syscall(SYS_getsid, 0); }
int main(void) { return 3; }
"""


def test_before_all_other_constructors(here: Place) -> None:
    here.start("-o", str(here.logs))
    assert here.run(here.compiled("first", FIRST)).returncode == 3
    seen = [record.name for record in read_log(here.log())]
    assert [name for name in seen if name in ("getpgid", "getsid")] == ["getpgid", "getsid"]


def test_linked(place: Place) -> None:
    place.start("-o", str(place.logs))
    source = '#include <stdio.h>\nint main(void) { puts("linked"); return 6; }\n'
    program = place.compiled("linked", source, *flags.link(str(place.path)).split())
    done = place.run(program, preload=False)
    assert (done.returncode, done.stdout) == (6, "linked\n")
    assert "write" in names(place.log())
    # Linked and preloaded: once.
    shutil.rmtree(place.logs)
    place.logs.mkdir()
    place.logs.chmod(0o777)
    assert place.run(program).returncode == 6
    assert sum(1 for record in read_log(place.log()) if record.name == "write") == 1


def test_many_at_once(here: Place) -> None:
    here.start("-o", str(here.logs))
    programs = [
        here.begin("sh", "-c", "/bin/true; (exit 3); /bin/true; exit 2") for _ in range(100)
    ]
    for program in programs:
        assert program.wait(timeout=60) == 2
    wait_for(lambda: not here.sessions())
    logs = [read_log(path) for path in here.logs.iterdir()]
    assert len(logs) == 100
    for log in logs:
        assert log.complete
        assert sum(1 for record in log if record.name == "execve") == 2


THREADS = r"""
#include <pthread.h>
#include <unistd.h>
static char **args;
static void *run(void *a) { (void)a; execv(args[1], args + 1); return 0; }
static void *busy(void *a) { (void)a; for (;;) usleep(100); }
int main(int argc, char **argv)
{
	pthread_t t;
	(void)argc;
	args = argv;
	for (int i = 0; i < 4; i++)
		pthread_create(&t, 0, busy, 0);
	pthread_create(&t, 0, run, 0);
	pthread_exit(0);
}
"""


def test_exec_of_a_thread_that_does_not_lead(place: Place) -> None:
    """The first thread has ended even; process and session stay the same."""
    place.start("-o", str(place.logs))
    program = place.compiled("threads", THREADS)
    done = place.run(program, "/bin/sh", "-c", "echo through; exit 4")
    assert (done.returncode, done.stdout, done.stderr) == (4, "through\n", "")
    log = read_log(place.log())
    assert (log.lost, log.gaps) == (0, 0)
    assert len({record.pid for record in log}) == 1
    assert [record.name for record in log if record.name == "exit_group"] == ["exit_group"]


def test_more_processes_than_entries(here: Place) -> None:
    """Entries of those that have ended are given to others."""
    here.start("-o", str(here.logs))
    script = (
        "for i in {1..4200}; do (:); done; for i in {1..100}; do /bin/true & done; wait; echo all"
    )
    done = here.run("bash", "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "all\n", "")
    log = read_log(here.log())
    assert (log.lost, log.gaps) == (0, 0)
    assert sum(1 for record in log if record.name == "execve") == 100


def test_killed_program_leaves_a_complete_log(place: Place) -> None:
    place.start("-o", str(place.logs))
    done = place.run("sh", "-c", "cat /etc/hostname >/dev/null; kill -KILL $$")
    assert done.returncode == -signal.SIGKILL
    assert {"read", "wait4"} <= names(place.log())
    wait_for(lambda: not place.sessions())


def test_under_lsca_run_it_is_caught_once(here: Place) -> None:
    here.start("-o", str(here.logs))
    log = here.path / "log"
    words = ["sh", "-c", f"{IS_CAUGHT}; cat /etc/hostname; exit 7"]
    native = subprocess.run(words, capture_output=True, text=True)
    done = subprocess.run(
        [*LSCA, "run", "-o", str(log), "env", f"LD_PRELOAD={here.agent}", *words],
        capture_output=True,
        text=True,
        env=here.environment(preload=False),
        timeout=60,
    )
    assert done.returncode == native.returncode == 7
    assert done.stdout.splitlines()[1] == native.stdout.splitlines()[1]
    assert caught(done.stdout)
    assert not list(here.logs.iterdir())
    records = list(read_log(log))
    assert sum(1 for r in records if r.name == "exit_group") == 3  # sh, grep, cat
    assert not any(r.name in ("connect", "socket") for r in records)


def test_lsca_run_itself_may_be_preloaded(here: Place) -> None:
    """A launcher that is caught launches as ever; what it launches is its own."""
    here.start("-o", str(here.logs))
    log = here.path / "log"
    done = here.run(
        *LSCA, "run", "--no-daemon", "-o", str(log), "sh", "-c", "cat /etc/hostname; exit 7"
    )
    assert (done.returncode, done.stderr) == (7, "")
    assert read_log(log).complete
    assert "ptrace" in names(here.log())


EARLY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
static volatile int usr1, usr2, sys;
static void plain(int s) { (void)s; usr1++; }
static void full(int s, siginfo_t *i, void *u) { (void)s; (void)u; usr2 += i->si_value.sival_int; }
static void own(int s) { (void)s; sys++; }
static void show(int sig)
{
	struct sigaction a;
	sigset_t mask;
	sigaction(sig, NULL, &a);
	sigprocmask(SIG_BLOCK, NULL, &mask);
	printf("%d: %d %d %d %#x %d\n", sig, a.sa_handler == plain, a.sa_sigaction == full, a.sa_handler == own,
		a.sa_flags & ~0x04000000, sigismember(&mask, sig));
}
int main(int argc, char **argv)
{
	struct sigaction a = {.sa_handler = plain, .sa_flags = SA_RESTART};
	struct sigaction b = {.sa_sigaction = full, .sa_flags = SA_SIGINFO | SA_RESETHAND};
	struct sigaction c = {.sa_handler = own};
	union sigval seven = {.sival_int = 7};
	sigset_t set;
	char byte;
	int pipes[2];
	sigaction(SIGUSR1, &a, NULL);
	sigaction(SIGUSR2, &b, NULL);
	sigaction(SIGSYS, &c, NULL);
	signal(SIGTTOU, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGSYS);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (argc > 1 && !dlopen(argv[1], RTLD_NOW))
		return 9;
	fprintf(stderr, "%ld\n", syscall(SYS_prctl, 59, 0x6c736361, 0, 0, 0));
	show(SIGUSR1), show(SIGUSR2), show(SIGSYS), show(SIGTTOU);
	sigqueue(getpid(), SIGUSR2, seven);
	raise(SIGSYS);
	printf("%d %d %d\n", usr1, usr2, sys);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	printf("%d %d %d\n", usr1, usr2, sys);
	show(SIGUSR2);
	if (pipe(pipes))
		return 8;
	if (!fork()) {
		usleep(20000);
		kill(getppid(), SIGUSR1);
		usleep(20000);
		_exit(write(pipes[1], "x", 1) != 1);
	}
	printf("%d %c %d\n", (int)read(pipes[0], &byte, 1), byte, usr1);
	return 0;
}
"""


def test_handlers_from_before(place: Place) -> None:
    """A program that has handlers, masks and waiting signals already, and loads the agent only then."""
    place.start("-o", str(place.logs))
    program = place.compiled("early", EARLY)
    native = place.run(program, preload=False)
    late = place.run(program, str(place.agent), preload=False)
    assert (
        (late.returncode, late.stdout) == (native.returncode, native.stdout) == (0, native.stdout)
    )
    assert (native.stderr, late.stderr) == ("-1\n", "1\n")
    assert {"read", "rt_sigqueueinfo", "rt_sigaction"} <= names(place.log())


# ---- the verb --------------------------------------------------------------------------------------------------------


def test_flags() -> None:
    done = subprocess.run([*LSCA, "flags", "--preload"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{AGENT}\n"
    done = subprocess.run([*LSCA, "flags"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"-L{os.path.dirname(AGENT)} ") and done.stdout.count("\n") == 1


@pytest.mark.parametrize("path", ["/a b", "/a:b", "/a,b", "/$x", "/a'b", "/a*"])
def test_flags_that_cannot_be_written(path: str) -> None:
    with pytest.raises(LscaError):
        flags.link(path)


def test_logs_where_none_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    words = ["daemon", "--socket", str(tmp_path / "s"), "-o", str(tmp_path / "file" / "logs")]
    done = subprocess.run([*LSCA, *words], capture_output=True, text=True, timeout=30)
    assert done.returncode == 125
    assert done.stderr.startswith("lsca: no logs can be kept in ")
    assert not (tmp_path / "s").exists()

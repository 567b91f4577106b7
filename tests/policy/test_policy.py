# SPDX-License-Identifier: Apache-2.0
"""What a policy says is what happens, with the errno that a kernel would give; each denial is said and is in the log;
what is wrong in a policy is said with its line.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lsca
from differential import ROOT
from differential import lsca as command
from lsca.services.policy import SCHEMA, Policy, PolicyError

SYSTEM = '["/usr/**", "/lib/**", "/lib64/**", "/etc/**", "/proc/**", "/dev/**"]'


def run(policy: str, place: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """A shell command under a policy."""
    file = place / "policy.toml"
    file.write_text(policy)
    return subprocess.run(
        [*command(), "run", "--no-daemon", *options, "--policy", str(file), "--", "sh", "-c", text],
        capture_output=True,
        text=True,
        cwd=place,
        timeout=60,
        env=os.environ | {"LC_ALL": "C"},
    )


def test_denied_files(route: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (tmp_path / "open").write_text("o")
    policy = f'[files.deny]\nread = ["{tmp_path}/sec*"]\nwrite = ["{tmp_path}/open"]\n'
    done = run(
        policy,
        tmp_path,
        "cat secret; cat open; echo x >open; mv open o; rm secret; ls",
        "--route",
        route,
    )
    assert "cat: secret: Permission denied" in done.stderr
    assert "cannot create open: Permission denied" in done.stderr
    assert re.search(r"mv: .*Permission denied", done.stderr)
    assert done.stdout == "oopen\npolicy.toml\n"
    said = [line for line in done.stderr.splitlines() if line.startswith("lsca: denied: cat[")]
    assert len(said) == 1
    assert 'openat(AT_FDCWD, "secret", O_RDONLY): EACCES, by ' in said[0]
    assert f'policy.toml:2: files.deny.read "{tmp_path}/sec*"' in said[0]


def test_nothing_but_what_is_allowed(route: str, tmp_path: Path) -> None:
    policy = f"""
[files]
read = {SYSTEM}
write = ["{tmp_path}/out/**", "/dev/null"]
"""
    (tmp_path / "out").mkdir()
    text = (
        "echo a >out/a && mkdir out/b && mv out/a out/b/c && rm out/b/c && rmdir out/b && echo fine"
    )
    text += "; echo x >y; cat policy.toml"
    done = run(policy, tmp_path, text, "--route", route)
    assert done.stdout == "fine\n"
    assert "cannot create y: Permission denied" in done.stderr
    assert "cat: policy.toml: Permission denied" in done.stderr
    assert "the default, since no files.write allows it" in done.stderr


def test_what_is_not_there_is_not_there(tmp_path: Path) -> None:
    done = run(f"[files]\nread = {SYSTEM}\n", tmp_path, "cat nothing")
    assert done.stderr == "cat: nothing: No such file or directory\n"


def test_both_names_of_a_pair_count(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    policy = f'[files]\nwrite = ["{tmp_path}/in/**", "/dev/null"]\n'
    done = run(
        policy,
        tmp_path,
        "echo a >in/a; mv in/a out; ln in/a out; ls in; ln -s out in/l && echo linked",
    )
    assert done.stdout == "a\nlinked\n"
    assert done.stderr.count("EACCES, by") >= 2


def test_programs(tmp_path: Path) -> None:
    done = run('[processes]\ndeny = ["/usr/bin/id"]\n', tmp_path, "id; echo on")
    assert done.stdout == "on\n"
    assert "Permission denied" in done.stderr
    done = run('[processes]\nallow = ["/usr/bin/cat"]\n', tmp_path, "cat policy.toml; id")
    assert done.stdout.startswith("[processes]") and "uid=" not in done.stdout


def test_calls_by_class(tmp_path: Path) -> None:
    policy = '[calls]\nallow = ["getppid"]\ndeny = ["/^getp", "sched_yield"]\n'
    program = f"{sys.executable} -S -c 'import os; print(os.getppid() > 0); os.sched_yield()'"
    done = run(policy, tmp_path, program)
    assert done.stdout == "True\n"
    assert re.search(r'sched_yield\(\): EPERM, by .*:3: calls.deny "sched_yield"', done.stderr)


def test_an_exception_of_calls_is_none_of_files(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("")
    policy = f'[calls]\nallow = ["openat"]\ndeny = ["openat", "mkdir"]\n[files.deny]\nread = ["{tmp_path}/s"]\n'
    done = run(policy, tmp_path, "cat s; mkdir d")
    assert "cat: s: Permission denied" in done.stderr
    assert "mkdir: cannot create directory 'd': Operation not permitted" in done.stderr


def test_the_network(tmp_path: Path) -> None:
    policy = '[network]\nallow = ["127.0.0.1:1"]\nbind = ["127.0.0.1"]\n'
    program = """
import socket
for port in (1, 2):
    try: socket.create_connection(("127.0.0.1", port))
    except OSError as error: print(error.strerror)
for host in ("127.0.0.1", "0.0.0.0"):
    try: socket.socket().bind((host, 38123)); print("bound")
    except OSError as error: print(error.strerror)
"""
    (tmp_path / "p.py").write_text(program)
    done = run(policy, tmp_path, f"{sys.executable} -S p.py")
    assert done.stdout.splitlines() == [
        "Connection refused",
        "Permission denied",
        "bound",
        "Permission denied",
    ]
    assert "policy.toml:1: the default of network, since no rule allows it" in done.stderr


def test_every_denial_is_in_the_log_and_few_are_said(tmp_path: Path) -> None:
    log = tmp_path / "l"
    (tmp_path / "s").write_text("")
    policy = f'[files.deny]\nread = ["{tmp_path}/s"]\n'
    done = run(policy, tmp_path, "for i in 1 2 3 4 5 6 7 8 9; do read x <s; done", "-o", str(log))
    records = [r for r in lsca.open_log(log) if r.route == "handler" and r.ret == -13]
    assert len(records) == 9
    assert done.stderr.count("lsca: denied: ") == 5
    assert "more of these are only counted" in done.stderr
    assert "denied 9 times: " in done.stderr


def test_what_is_allowed_is_decided_by_the_agent(tmp_path: Path) -> None:
    """No question leaves the program for a file that a pattern allows."""
    from lsca.handlers import Handlers
    from lsca.handlers.agent import compile_rules

    policy = Policy(text=f"[files]\nread = {SYSTEM}\n")
    asked = []
    rules = policy.rules()
    for rule in rules:
        if rule.effects.handler is not None:
            rule.effects.handler = lambda call: asked.append(call.path) or lsca.go_on  # type: ignore[func-returns-value]
    assert compile_rules(Handlers(rules).rules, deny=False)
    lsca.run(
        ["cat", "/etc/hostname", "/etc/debian_version"], handlers=rules, stdout=subprocess.DEVNULL
    )
    assert asked == []


def test_with_handlers_of_ones_own(tmp_path: Path) -> None:
    """They are asked first, and what they let through is still the policy's."""
    (tmp_path / "h.py").write_text(
        "import lsca\nfrom lsca import calls as c\n"
        "@lsca.on(c.openat, path='/etc/hostname')\n"
        "def seen(call: c.openat) -> lsca.Verdict:\n    print('seen', flush=True)\n    return lsca.go_on\n"
    )
    policy = '[files.deny]\nread = ["/etc/hostname"]\n'
    done = run(policy, tmp_path, "cat /etc/hostname", "-s", str(tmp_path / "h.py"))
    assert done.stdout == "seen\n"
    assert "Permission denied" in done.stderr


def test_from_python(tmp_path: Path) -> None:
    policy = Policy(text='[files.deny]\nread = ["/etc/hostname"]\n', say=None)
    done = lsca.run(["cat", "/etc/hostname"], handlers=[policy], capture_output=True, text=True)
    assert done.returncode == 1
    assert [(one.error, one.subject) for one in policy.denials.kept] == [
        ("EACCES", "read /etc/hostname")
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[files\n", ":1: this is no TOML"),
        ("[fils]\nread = []\n", ":1: fils: there is no such table; near to it: files"),
        ('[files]\nreed = ["/a"]\n', ":2: files.reed: there is no such key; near to it: read"),
        ('[files]\n\nread = "/a"\n', ":3: files.read: a list is wanted"),
        ("[files]\nread = [1]\n", ":2: files.read: patterns are texts, not 1"),
        ('default = "maybe"\n', ':1: default: "allow" or "deny" is wanted'),
        (
            '[network]\nallow = [\n  "127.0.0.1",\n  "1.2.3.999:80",\n]\n',
            ":4: network.allow: '1.2.3.999:80'",
        ),
        (
            '[calls]\ndeny = ["opnat"]\n',
            ":2: calls.deny: there is no system call 'opnat'; near to it: openat",
        ),
        (
            '[calls]\ndeny = ["%fil"]\n',
            ":2: calls.deny: there is no class of calls %fil; near to it: file",
        ),
        ("files = 1\n", ":1: files: this is a table, [files]"),
    ],
)
def test_mistakes(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text(text)
    with pytest.raises(PolicyError, match=re.escape(f"{file}{says}")):
        Policy(file)
    for words in (["policy", str(file)], ["run", "--policy", str(file), "true"]):
        done = subprocess.run([*command(), *words], capture_output=True, text=True)
        assert done.returncode == 125
        assert f"lsca: {file}{says}" in done.stderr and "Traceback" not in done.stderr


def test_a_policy_that_cannot_be_read() -> None:
    done = subprocess.run([*command(), "policy", "/nowhere"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        125,
        "lsca: the policy /nowhere cannot be read: No such file or directory\n",
    )


def test_the_schema_is_published() -> None:
    done = subprocess.run([*command(), "policy", "--schema"], capture_output=True, text=True)
    assert json.loads(done.stdout) == SCHEMA
    assert (ROOT / "docs" / "policy.schema.json").read_text() == done.stdout

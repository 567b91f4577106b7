# SPDX-License-Identifier: Apache-2.0
"""Proves the pytest plugin by running pytest with it: inert unless used; fixture, marker, options, report, xdist."""

from pathlib import Path

import pytest

import lsca

FAILS = """
    import subprocess

    def test_one(lsca):
        subprocess.run(["cat", "/nowhere/at/all"])
        assert False
"""


@pytest.fixture(autouse=True)
def _quiet(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makeini("[pytest]\naddopts = -p no:cacheprovider\nfilterwarnings = error\n")


def run(pytester: pytest.Pytester, text: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(text)
    return pytester.runpytest_subprocess(*options, timeout=100)


def test_it_is_inert_unless_used(pytester: pytest.Pytester) -> None:
    text = """
        import os, subprocess, sys

        def test_one():
            ours = {name for name in sys.modules if name.partition(".")[0] == "lsca"}
            assert ours == {"lsca", "lsca.pytest_plugin"}
            assert subprocess._fork_exec.__module__ == "_posixsubprocess"
            assert os.system.__module__ == "posix"
    """
    run(pytester, text).assert_outcomes(passed=1)


def test_the_fixture(pytester: pytest.Pytester) -> None:
    text = """
        import os, subprocess

        def test_disk_full(lsca, tmp_path):
            (tmp_path / "big").write_bytes(bytes(3 << 20))
            (tmp_path / "to").mkdir()
            lsca.on("write,copy_file_range", path=f"{tmp_path}/to/**").fail("ENOSPC", after_bytes=1 << 20)
            copy = ["cp", tmp_path / "big", tmp_path / "to"]
            result = lsca.run(copy, capture_output=True, text=True)
            assert result.returncode == 1
            assert "No space left" in result.stderr
            assert (tmp_path / "to" / "big").stat().st_size == 1 << 20
            assert lsca.sql("select count(*) from calls where name = 'connect'").scalar() == 0
            assert str(tmp_path / "to" / "big") in lsca.files_written()
            assert lsca.connections() == []
            assert {call.error for call in lsca.calls("write,copy_file_range", error="*")} == {"ENOSPC"}

        def test_rules_end_with_the_test(tmp_path, lsca):
            lsca.inject("openat:error=EACCES:path=/etc/hostname")
            assert subprocess.run(["cat", "/etc/hostname"], capture_output=True).returncode == 1

        def test_and_are_gone(lsca):
            assert subprocess.run(["cat", "/etc/hostname"], capture_output=True).returncode == 0
            assert lsca.files_read().count("/etc/hostname") == 1

        def test_others_are_not_caught():
            assert os.system.__module__ == "posix"
    """
    run(pytester, text).assert_outcomes(passed=4)


def test_a_session_that_was_begun_ahead_is_used_only_if_it_will_do(
    pytester: pytest.Pytester,
) -> None:
    text = """
        import os, signal, subprocess
        import pytest
        from lsca import _native
        from lsca.pytest_plugin import ENDING

        def check(lsca):
            subprocess.run(["true"], check=True)
            assert len(lsca.calls("exit_group")) == 1

        def ahead(pytestconfig):
            return pytestconfig.stash[ENDING]._next

        def test_first(lsca, pytestconfig):
            assert ahead(pytestconfig) is None
            check(lsca)

        def test_killed(pytestconfig):
            host = ahead(pytestconfig).host
            host.sync()
            os.kill(_native.session_snapshot(host.session.fd)["launcher"], signal.SIGKILL)
            assert host.ended(wait=True)

        def test_after_it(lsca):
            check(lsca)

        def test_usual(lsca):
            check(lsca)

        @pytest.mark.lsca(strict=True)
        def test_another_kind(lsca):
            assert lsca.strict
            check(lsca)
    """
    run(pytester, text).assert_outcomes(passed=5)


def test_the_last_calls_of_a_failing_test(pytester: pytest.Pytester) -> None:
    done = run(pytester, FAILS)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        [
            "*calls of the programs (lsca)*",
            "the last * that failed",
            '*openat(AT_FDCWD*, "/nowhere/at/all", O_RDONLY) = -1 ENOENT*',
            "the last 20 of * calls",
            "*exit_group(1) *",
        ]
    )
    none = run(pytester, FAILS, "--lsca-calls", "0").stdout.str()
    assert "programs (lsca)" not in none
    few = run(pytester, FAILS, "--lsca-calls", "3").stdout.str()
    assert "the last 3 of" in few


def test_logs_are_kept_if_wanted(pytester: pytest.Pytester, tmp_path: Path) -> None:
    run(pytester, FAILS, "--lsca-log", str(tmp_path / "logs")).assert_outcomes(failed=1)
    (path,) = (tmp_path / "logs").iterdir()
    assert path.name.endswith("test_one.lsca")
    log = lsca.open_log(path)
    assert log.complete and "/nowhere/at/all" in str(list(log))


def test_nothing_is_left(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    place = pytester.path / "temporary"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    run(pytester, FAILS, "--basetemp", str(pytester.path / "base")).assert_outcomes(failed=1)
    assert list(place.iterdir()) == []


def test_a_handler_that_raises_fails_the_test(pytester: pytest.Pytester) -> None:
    text = """
        import subprocess

        def test_one(lsca):
            @lsca.on("openat", path="/etc/hostname")
            def handler(call):
                raise ValueError("so not")
            subprocess.run(["cat", "/etc/hostname"], check=True)

        def test_known(lsca):
            test_one(lsca)
            assert len(lsca.reports) == 1
    """
    done = run(pytester, text)
    done.assert_outcomes(passed=2, errors=1)
    done.stdout.fnmatch_lines(["*lsca: 1 handlers went wrong*", "*so not*"])


def test_the_marker(pytester: pytest.Pytester) -> None:
    text = """
        import pytest

        @pytest.mark.lsca(route="proxy")
        def test_proxy(lsca):
            result = lsca.run(["cat", "/etc/hostname"], capture_output=True)
            assert result.stdout
            routes = lsca.sql("select distinct route from calls").column()
            assert "proxy" in routes

        @pytest.mark.lsca(strict=True)
        def test_strict(lsca):
            assert lsca.strict

        @pytest.mark.lsca(rout="proxy")
        def test_wrong(lsca):
            pass
    """
    done = run(pytester, text, "--strict-markers")
    done.assert_outcomes(passed=2, errors=1)
    done.stdout.fnmatch_lines(["*does not know rout; it takes route=, strict=, on_error=*"])
    pytester.runpytest_subprocess("--markers").stdout.fnmatch_lines(["*lsca(route=*"])


def test_who_stays_with_the_kernel_is_counted(pytester: pytest.Pytester) -> None:
    text = """
        import os, subprocess

        def test_some(lsca):
            lsca.run(["true"])
            subprocess.run(["true"])
            if not os.fork():
                os._exit(0)
            os.wait()

        def test_none(lsca):
            lsca.run(["true"])
    """
    done = run(pytester, text, "--lsca-route=proxy", "-Wdefault")
    done.assert_outcomes(passed=2, warnings=1)
    done.stdout.fnmatch_lines(["*2 processes stayed with the kernel: only `lsca.run` starts them*"])
    done = run(pytester, text, "--lsca-route=proxy", "--lsca-strict")
    done.assert_outcomes(passed=2, errors=1)


def test_workers(pytester: pytest.Pytester, tmp_path: Path) -> None:
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    text = """
        import subprocess, pytest

        @pytest.mark.parametrize("n", range(8))
        def test_one(lsca, n):
            lsca.on("openat", path="/etc/hostname").fail("EACCES", after_bytes=None)
            assert subprocess.run(["cat", "/etc/hostname"], capture_output=True).returncode == 1
            assert len(lsca.calls("execve")) == 0
            assert n != 5
    """
    done = run(pytester, text, "-n", "2", "--lsca-log", str(tmp_path / "logs"))
    done.assert_outcomes(passed=7, failed=1)
    assert "calls of the programs (lsca)" in done.stdout.str()
    assert len(list((tmp_path / "logs").iterdir())) == 8


def test_programs_that_outlive_their_test(pytester: pytest.Pytester) -> None:
    text = """
        import os, subprocess, time

        processes = []

        def test_one(lsca):
            processes.append(subprocess.Popen(["sleep", "60"]))
            assert lsca.calls("execve") == []

        def test_two(lsca):
            assert processes[0].poll() is None
            processes[0].kill()
            processes[0].wait()
    """
    run(pytester, text, "-W", "ignore::ResourceWarning").assert_outcomes(passed=2)

# SPDX-License-Identifier: Apache-2.0
"""Extended attributes and ACLs in an overlay: programs find those of the directory, change them in all ways that there
are, and `diff` and `apply` speak of them. The oracle is the kernel, in a copy of the directory.
"""

import errno
import os
import struct
from pathlib import Path

import pytest
from commands import lsca, refused
from overlaying import compared, make, picture

from lsca.services.overlay import Overlay, option

USER, GROUP, NAMED, MASK, OTHER = 0x01, 0x04, 0x02, 0x10, 0x20
NOBODY = 0xFFFFFFFF
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)  # cap_net_raw


def acl(*entries: tuple[int, int, int]) -> bytes:
    """What the kernel takes as system.posix_acl_access."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *one) for one in entries)


READABLE = acl(
    (USER, 6, NOBODY), (NAMED, 4, 1234), (GROUP, 4, NOBODY), (MASK, 4, NOBODY), (OTHER, 4, NOBODY)
)


def attributed(directory: Path) -> None:
    os.setxattr(directory, "user.top", b"t")
    os.setxattr(directory / "a", "user.colour", b"blue")
    os.setxattr(directory / "a", "user.bytes", bytes(range(256)))
    os.setxattr(directory / "sub", "user.dir", b"")
    os.setxattr(directory / "sub/deep", "system.posix_acl_default", READABLE)
    os.setxattr(directory / "sub/b", "system.posix_acl_access", READABLE)
    os.setxattr(directory / "h1", "user.names", b"two")
    if os.geteuid() == 0:
        os.setxattr(directory / "tool", "security.capability", CAPABILITY)
        os.setxattr(directory / "ln", "trusted.link", b"l", follow_symlinks=False)


def python(text: str) -> str:
    """A command that says what each of these lines of Python gives, or raises."""
    head = (
        "import os, ctypes, sys\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "class Args(ctypes.Structure):\n"
        "    _fields_ = [('value', ctypes.c_uint64), ('size', ctypes.c_uint32), ('flags', ctypes.c_uint32)]\n"
        "def at(nr, path, name, data, flags=0, more=0):\n"
        "    b = ctypes.create_string_buffer(data, 300)\n"
        "    a = Args(ctypes.addressof(b), len(data) or 300, flags)\n"
        "    d = os.open('sub', os.O_RDONLY)\n"
        "    r = libc.syscall(nr, d, path, more, name, ctypes.byref(a), 16)\n"
        "    e = ctypes.get_errno() if r < 0 else 0\n"
        "    os.close(d)\n"
        "    return r, os.strerror(e) if e else '', b.raw[:max(r, 0)] if nr == 464 else ''\n"
        "def names(path):\n"
        "    b = ctypes.create_string_buffer(300)\n"
        "    r = libc.syscall(465, -100, path, 0, b, 300)\n"
        "    return sorted(b.raw[:max(r, 0)].split(b'\\0'))\n"
        "for line in sys.stdin:\n"
        "    try: print(eval(line))\n"
        "    except OSError as e: print(e)\n"
    )
    file = "/tmp/lsca-$$.py"
    return f"cat > {file} <<'E'\n{head}E\npython3 -S {file} <<'E'\n{text}E\nrm {file}"


SCRIPTS = {
    "read": python(
        "sorted(os.listxattr('a'))\n"
        "os.getxattr('a', 'user.colour'), os.getxattr('a', 'user.bytes')\n"
        "os.getxattr('.', 'user.top'), os.getxattr('sub', 'user.dir')\n"
        "os.getxattr('a', 'user.none')\n"
        "os.getxattr('nothing', 'user.none')\n"
        "os.listxattr('ln', follow_symlinks=False), os.listxattr('ln')\n"
        "os.listxattr(os.open('h2', 0)), os.getxattr(os.open('h2', 0), 'user.names')\n"
        "os.getxattr(os.getcwd() + '/sub/b', 'system.posix_acl_access')\n"
        "os.listxattr('tool')\n"
    ),
    "write": python(
        "os.setxattr('a', 'user.colour', b'green', os.XATTR_REPLACE)\n"
        "os.setxattr('a', 'user.colour', b'red', os.XATTR_CREATE)\n"
        "os.setxattr('a', 'user.new', b'', os.XATTR_CREATE)\n"
        "os.removexattr('a', 'user.bytes')\n"
        "os.removexattr('a', 'user.bytes')\n"
        "os.setxattr(os.open('h1', 0), 'user.fd', b'f')\n"
        "os.removexattr(os.open('h2', 0), 'user.names')\n"
        "os.setxattr('ln', 'user.link', b'x', follow_symlinks=False)\n"
        "os.setxattr('ln', 'user.through', b'x')\n"
        "os.removexattr('.', 'user.top'), os.setxattr('.', 'user.other', b'o')\n"
        "os.setxattr('a', 'user.' + 'n' * 300, b'')\n"
        "os.setxattr('a', 'nonsense', b'')\n"
        "sorted(os.listxattr('a')), os.listxattr('h2'), os.listxattr('sub/b'), os.listxattr('.')\n"
    ),
    "at": python(
        "at(464, b'../a', b'user.colour', b'')\n"
        "at(463, b'b', b'user.at', b'value')\n"
        "at(463, b'b', b'user.at', b'value', 1)\n"
        "at(464, b'b', b'user.at', b'')\n"
        "at(464, b'../ln', b'user.at', b'', 0, 0x100)\n"
        "at(464, b'', b'user.dir', b'', 0, 0x1000)\n"
        "names(b'sub/b')\n"
        "libc.syscall(466, -100, b'a', 0, b'user.bytes')\n"
        "names(b'a'), names(os.getcwd().encode() + b'/a')\n"
    ),
    "read-only files": python(
        "os.chmod('a', 0o400), os.chmod('a', 0o600), os.setxattr('a', 'user.z', b'z'), os.chmod('a', 0o400)\n"
    ),
    "cp -a": "cp -a a copy; cp -a sub other; cp a plain; mv a moved; echo x > sub/deep/n; ls sub/deep",
    "content too": "echo more >> a; echo more >> sub/b; cat sub/b; sed -i s/one/1/ a; ./tool 1",
    "chmod": "chmod 666 sub/b; stat -c %a sub/b; chmod 700 .; stat -c %a .; mkdir sub/deep/d",
    "rsync": "rsync -aX --exclude=.x sub/ away/ && rsync -aAX a away/ && find away | sort",
    "tar": "tar --xattrs --acls -cf t sub a && mkdir x && tar --xattrs --acls -C x -xf t && rm t && find x | sort",
    "away": "rm a; echo other > a; rm -r sub; mkdir sub; echo again > sub/b",
}


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_as_in_the_directory(name: str, route: str, tmp_path: Path) -> None:
    compared(SCRIPTS[name], route, tmp_path, attributed)


def test_what_diff_says(tmp_path: Path) -> None:
    directory, state = make(tmp_path), tmp_path / "state"
    attributed(directory)
    text = python(
        "os.setxattr('a', 'user.colour', b'green'), os.removexattr('a', 'user.bytes')\n"
        "os.removexattr('sub/b', 'system.posix_acl_access'), os.setxattr('.', 'user.new', b'')\n"
        "os.removexattr('sub/deep', 'system.posix_acl_default')\n"
    )
    run = ["run", "--no-daemon", "--overlay", directory, "--state", state, "--"]
    lsca(*run, "sh", "-c", f"cd {directory}; {text}")
    assert lsca("diff", "--state", state, code=1) == (
        "changed  . (attribute user.new)\n"
        "changed  a (no attribute user.bytes, attribute user.colour)\n"
        "changed  sub/b (no ACL)\n"
        "changed  sub/deep (no default ACL)\n"
    )
    assert lsca("diff", "--patch", "--state", state, code=1) == ""


def test_what_the_overlay_does_not_know_stays(tmp_path: Path) -> None:
    """An attribute that came meanwhile is nobody's to remove; one that both have changed is a conflict."""
    directory, state = make(tmp_path), tmp_path / "state"
    attributed(directory)
    run = ["run", "--no-daemon", "--overlay", directory, "--state", state, "--"]
    change = python("os.setxattr('a', 'user.colour', b'green')\n")
    lsca(*run, "sh", "-c", f"cd {directory}; echo x >> a; {change}")
    os.setxattr(directory / "a", "user.mine", b"m")
    os.setxattr(directory / "a", "user.colour", b"mine")
    assert "a (content, attribute user.colour); the real one" in lsca(
        "diff", "--state", state, code=1
    )
    assert "a: changed in" in refused("apply", "--state", state)
    os.setxattr(directory / "a", "user.colour", b"blue")
    lsca("apply", "--state", state)
    found = {name: os.getxattr(directory / "a", name) for name in os.listxattr(directory / "a")}
    assert found == {
        "user.mine": b"m",
        "user.colour": b"green",
        "user.bytes": bytes(range(256)),
    }


def test_a_state_without_room_for_attributes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Programs do without, a line says so, and the directory keeps its own."""
    directory, state = make(tmp_path), tmp_path / "state"
    attributed(directory)
    before = picture(directory)

    def no_room(path: str, name: str, value: bytes, **more: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "setxattr", no_room)
        made = option("--overlay", str(directory), str(state))
        made.close()
    assert made.without[:2] == ["a", "h1"] and "." in made.without
    assert f"attributes have no room in {state}, those of: a, h1, " in capfd.readouterr().err
    run = ["run", "--no-daemon", "--overlay", directory, "--state", state, "--"]
    lsca(*run, "sh", "-c", f"echo new > {directory}/a; chmod 700 {directory}/sub")
    assert (
        lsca("apply", "--state", state)
        == "changed  a (content)\nchanged  sub (mode 0755 -> 0700)\n"
    )
    after = picture(directory)
    assert after["a"][0] == before["a"][0] and after["a"][1] != before["a"][1]
    assert {k for k in before if before[k] != after[k]} == {"a", "sub"}


def test_an_overlay_of_before_goes_on(tmp_path: Path) -> None:
    """A state that was written without attributes is used, and takes none away."""
    directory, state = make(tmp_path), tmp_path / "state"
    Overlay(directory, str(state)).close()
    text = (state / "overlay.json").read_text()
    (state / "overlay.json").write_text(
        text.replace('"version": 2', '"version": 1').replace(", {}]", "]")
    )
    attributed(directory)
    before = picture(directory)
    run = ["run", "--no-daemon", "--overlay", directory, "--state", state, "--"]
    lsca(*run, "sh", "-c", f"echo new > {directory}/a; chmod 755 {directory}/sub/deep/c")
    lsca("apply", "--state", state)
    after = picture(directory)
    assert after["a"][0] == before["a"][0] and after["a"][1] != before["a"][1]
    assert {k for k in before if before[k] != after[k]} == {"a", "sub/deep/c"}

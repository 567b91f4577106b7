# SPDX-License-Identifier: Apache-2.0
"""Extended attributes and ACLs of files, as a copy has them: read, given to another file, compared in words.

Those that a file system or a security module makes itself, as labels of SELinux, are none of a copy's business.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Mapping
from typing import Final

Attributes = dict[str, bytes]
CAPABILITY: Final = "security.capability"
ACL: Final = "system.posix_acl_access"
ACLS: Final = {ACL: "ACL", "system.posix_acl_default": "default ACL"}
OWN_SPACES: Final = ("user.", "trusted.")
UNSUPPORTED: Final = (errno.ENOTSUP, errno.EPERM, errno.EACCES)


def attributes(path: str) -> Attributes:
    """Those that a file has and that may be read; of a link its own. None if the file system knows none."""
    found: Attributes = {}
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return found
    for name in names:
        if name.startswith(OWN_SPACES) or name == CAPABILITY or name in ACLS:
            with contextlib.suppress(OSError):  # another one's, or gone meanwhile
                found[name] = os.getxattr(path, name, follow_symlinks=False)
    return found


def give(path: str, wanted: Mapping[str, bytes]) -> None:
    """Gives a file these attributes and no others. OSError."""
    now = attributes(path)
    for name in sorted(now.keys() - wanted.keys()):
        _change(path, name, None)
    for name, value in wanted.items():
        if now.get(name) != value:
            _change(path, name, value)


def give_possible(path: str, wanted: Mapping[str, bytes]) -> Attributes:
    """The same as far as the file system and the rights of this process allow; what the file has then."""
    given: Attributes = {}
    for name in attributes(path).keys() - wanted.keys():  # a directory's default ACL gives some
        with contextlib.suppress(OSError):
            _change(path, name, None)
    for name, value in wanted.items():
        try:
            _change(path, name, value)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
        else:
            given[name] = value
    return given


def changed(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[str]:
    """What is different, in words."""
    words = []
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            known = ACLS.get(name, f"attribute {name}")
            words.append(known if name in after else f"no {known}")
    return words


def merged(
    real: Mapping[str, bytes], before: Mapping[str, bytes], after: Mapping[str, bytes]
) -> Attributes:
    """What a real file is to have once the difference between `before` and `after` has been made to it."""
    gone = before.keys() - after.keys()
    new = {name: value for name, value in after.items() if before.get(name) != value}
    return {name: value for name, value in real.items() if name not in gone} | new


def is_conflict(
    real: Mapping[str, bytes], before: Mapping[str, bytes], names: Iterable[str]
) -> bool:
    """Whether a real file's attributes of these names are no longer what they were."""
    return any(real.get(name) != before.get(name) for name in names)


def _change(path: str, name: str, value: bytes | None) -> None:
    """Sets or removes one. A file that its owner may not write to is writable as long as that takes."""
    try:
        _set(path, name, value)
    except PermissionError as error:
        mode = stat.S_IMODE(os.lstat(path).st_mode)
        if error.errno != errno.EACCES or mode & stat.S_IWUSR or os.path.islink(path):
            raise
        os.chmod(path, mode | stat.S_IWUSR)
        try:
            _set(path, name, value)
        finally:
            os.chmod(path, mode)


def _set(path: str, name: str, value: bytes | None) -> None:
    if value is None:
        os.removexattr(path, name, follow_symlinks=False)
    else:
        os.setxattr(path, name, value, follow_symlinks=False)

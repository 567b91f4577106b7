# SPDX-License-Identifier: Apache-2.0
"""What a policy may say, as a JSON schema: the one description of its tables and keys. `lsca policy --schema`."""

from typing import Any, Final

DEFAULTS: Final = ("allow", "deny")
FILE_KINDS: Final = ("read", "write", "exec")


def _patterns(text: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string", "minLength": 1}, "description": text}


def _default(text: str) -> dict[str, Any]:
    return {"enum": list(DEFAULTS), "description": text}


def _table(text: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "description": text,
        "properties": properties,
    }


_FILES: Final = {
    "read": _patterns("files that may be opened for reading, and directories that may be listed"),
    "write": _patterns("files that may be written, created, removed, renamed or changed otherwise"),
    "exec": _patterns("programs that may be started"),
}
_DENIED: Final = {
    "read": _patterns("files that may not be opened for reading"),
    "write": _patterns("files that may not be changed"),
    "exec": _patterns("programs that may not be started"),
}
_UNSAID: Final = (
    "what no rule is about; if nothing is said: deny where something is allowed, else allow"
)

SCHEMA: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "LSCA policy",
    "description": "What a program run by `lsca run --policy FILE` may do. TOML; a denial goes before a permission. "
    "Not a security boundary.",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "default": _default(f"of all tables but calls: {_UNSAID}"),
        "files": _table(
            "by patterns of absolute paths: * stays within a component, ** does not, ~/ is the home",
            default=_default(_UNSAID),
            **_FILES,
            deny=_table("goes before what is allowed", **_DENIED),
        ),
        "network": _table(
            "by addresses as in --net: HOST:PORT, NETWORK/BITS, *.NAME:PORT, :PORT, /PATH, @NAME, loopback",
            default=_default(_UNSAID),
            allow=_patterns("what may be connected to, or sent to"),
            deny=_patterns("what may not be"),
            bind=_patterns("addresses that servers may have"),
        ),
        "processes": _table(
            "which programs may be started, by patterns; together with files.exec",
            default=_default(_UNSAID),
            allow=_patterns("programs that may be started"),
            deny=_patterns("programs that may not be started"),
        ),
        "calls": _table(
            "system calls by name or class, as ptrace, %clock, /^io_uring",
            deny=_patterns("calls that fail with EPERM"),
            allow=_patterns("exceptions from these"),
        ),
    },
}

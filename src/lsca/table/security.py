# SPDX-License-Identifier: Apache-2.0
"""Restricting a program, keys, and looking into the kernel."""

from typing import Final

from lsca.table.arguments import (
    Chosen,
    Fd,
    Hex,
    In,
    InOut,
    Int,
    Pid,
    Pointer,
    Size,
    String,
    Unsigned,
)
from lsca.table.constants import Enum, Flags
from lsca.table.effects import Names, Posts, new
from lsca.table.layouts import Struct, number, opaque, whole
from lsca.table.syscall import Runs, Support, Syscall
from lsca.table.text import show_hex, show_long, show_unsigned

SECCOMP: Final = Enum(
    "SECCOMP_SET_MODE_STRICT SECCOMP_SET_MODE_FILTER SECCOMP_GET_ACTION_AVAIL "
    "SECCOMP_GET_NOTIF_SIZES"
)
SECCOMP_FLAGS: Final = Flags(
    "SECCOMP_FILTER_FLAG_TSYNC=1 SECCOMP_FILTER_FLAG_LOG SECCOMP_FILTER_FLAG_SPEC_ALLOW "
    "SECCOMP_FILTER_FLAG_NEW_LISTENER SECCOMP_FILTER_FLAG_TSYNC_ESRCH "
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
)
LANDLOCK_CREATE: Final = Flags("LANDLOCK_CREATE_RULESET_VERSION=1 LANDLOCK_CREATE_RULESET_ERRATA")
LANDLOCK_RULES: Final = Enum("LANDLOCK_RULE_PATH_BENEATH=1 LANDLOCK_RULE_NET_PORT")
KEYCTL: Final = Enum(
    "KEYCTL_GET_KEYRING_ID KEYCTL_JOIN_SESSION_KEYRING KEYCTL_UPDATE KEYCTL_REVOKE KEYCTL_CHOWN "
    "KEYCTL_SETPERM KEYCTL_DESCRIBE KEYCTL_CLEAR KEYCTL_LINK KEYCTL_UNLINK KEYCTL_SEARCH "
    "KEYCTL_READ KEYCTL_INSTANTIATE KEYCTL_NEGATE KEYCTL_SET_REQKEY_KEYRING KEYCTL_SET_TIMEOUT "
    "KEYCTL_ASSUME_AUTHORITY KEYCTL_GET_SECURITY KEYCTL_SESSION_TO_PARENT KEYCTL_REJECT "
    "KEYCTL_INSTANTIATE_IOV KEYCTL_INVALIDATE KEYCTL_GET_PERSISTENT KEYCTL_DH_COMPUTE "
    "KEYCTL_PKEY_QUERY KEYCTL_PKEY_ENCRYPT KEYCTL_PKEY_DECRYPT KEYCTL_PKEY_SIGN KEYCTL_PKEY_VERIFY "
    "KEYCTL_RESTRICT_KEYRING KEYCTL_MOVE KEYCTL_CAPABILITIES KEYCTL_WATCH_KEY"
)
KEYRINGS: Final = Enum(
    "KEY_SPEC_THREAD_KEYRING=-1 KEY_SPEC_PROCESS_KEYRING=-2 KEY_SPEC_SESSION_KEYRING=-3 "
    "KEY_SPEC_USER_KEYRING=-4 KEY_SPEC_USER_SESSION_KEYRING=-5 KEY_SPEC_GROUP_KEYRING=-6"
)
BPF: Final = Enum(
    "BPF_MAP_CREATE BPF_MAP_LOOKUP_ELEM BPF_MAP_UPDATE_ELEM BPF_MAP_DELETE_ELEM "
    "BPF_MAP_GET_NEXT_KEY BPF_PROG_LOAD BPF_OBJ_PIN BPF_OBJ_GET BPF_PROG_ATTACH BPF_PROG_DETACH "
    "BPF_PROG_TEST_RUN BPF_PROG_GET_NEXT_ID BPF_MAP_GET_NEXT_ID BPF_PROG_GET_FD_BY_ID "
    "BPF_MAP_GET_FD_BY_ID BPF_OBJ_GET_INFO_BY_FD BPF_PROG_QUERY BPF_RAW_TRACEPOINT_OPEN BPF_BTF_LOAD "
    "BPF_BTF_GET_FD_BY_ID BPF_TASK_FD_QUERY BPF_MAP_LOOKUP_AND_DELETE_ELEM BPF_MAP_FREEZE "
    "BPF_BTF_GET_NEXT_ID BPF_MAP_LOOKUP_BATCH BPF_MAP_LOOKUP_AND_DELETE_BATCH BPF_MAP_UPDATE_BATCH "
    "BPF_MAP_DELETE_BATCH BPF_LINK_CREATE BPF_LINK_UPDATE BPF_LINK_GET_FD_BY_ID "
    "BPF_LINK_GET_NEXT_ID BPF_ENABLE_STATS BPF_ITER_CREATE BPF_LINK_DETACH BPF_PROG_BIND_MAP "
    "BPF_TOKEN_CREATE BPF_PROG_STREAM_READ_BY_FD"
)
PERF: Final = Flags(
    "PERF_FLAG_FD_NO_GROUP=1 PERF_FLAG_FD_OUTPUT PERF_FLAG_PID_CGROUP PERF_FLAG_FD_CLOEXEC"
)
LSM_CAVEAT: Final = "the context is logged as an address"
RULESET: Final = whole(
    Struct(
        "landlock_ruleset_attr",
        {
            "handled_access_fs": ("Q", show_hex),
            "handled_access_net": ("Q", show_hex),
            "scoped": ("Q", show_hex),
        },
    )
)
RULE: Final = opaque("landlock_rule", 16)
SIZE_32: Final = number("u32", "I", show_unsigned)


class seccomp(
    Syscall,
    x86_64=317,
    generic=277,
    since="3.17",
    runs=Runs.PROGRAM,
    support=Support.PARTIAL,
    caveat="calls that the agent needs pass every filter, and so do those that the proxy makes for the "
    "program; strict mode and SECCOMP_RET_TRAP kill the program",
    names=Names.UNKNOWN,
    posts=Posts.ENDS,
):
    """operate on Secure Computing state of the process"""

    operation = Chosen(SECCOMP)
    flags = Chosen(SECCOMP_FLAGS)
    args: int = Pointer()  # type: ignore[assignment] # hides the registers


class landlock_create_ruleset(
    Syscall,
    x86_64=444,
    generic=444,
    since="5.13",
    new_fd=True,
    effect=new("anon_inode:[landlock-ruleset]"),
):
    """create a new Landlock ruleset"""

    attr = In(RULESET, length="size")
    size = Size()
    flags = Chosen(LANDLOCK_CREATE)


class landlock_add_rule(
    Syscall,
    x86_64=445,
    generic=445,
    since="5.13",
    support=Support.PARTIAL,
    caveat="the rule's bytes are logged as they are",
):
    """add a new Landlock rule to a ruleset"""

    ruleset_fd = Fd()
    rule_type = Chosen(LANDLOCK_RULES)
    rule_attr = In(RULE)
    flags = Hex()


class landlock_restrict_self(
    Syscall,
    x86_64=446,
    generic=446,
    since="5.13",
    runs=Runs.BOTH,
    support=Support.PARTIAL,
    caveat="under the route `proxy` only the proxy's thread of the caller is restricted",
):
    """enforce a Landlock ruleset"""

    ruleset_fd = Fd()
    flags = Hex()


class lsm_get_self_attr(
    Syscall,
    x86_64=459,
    generic=459,
    since="6.8",
    runs=Runs.PROGRAM,
    support=Support.PLAIN,
    caveat=LSM_CAVEAT,
):
    """get security attributes of the calling thread"""

    attr = Unsigned()
    ctx = Pointer()
    size = InOut(SIZE_32)
    flags = Hex()


class lsm_set_self_attr(
    Syscall,
    x86_64=460,
    generic=460,
    since="6.8",
    runs=Runs.PROGRAM,
    support=Support.PARTIAL,
    caveat="not carried over to the proxy",
):
    """set security attributes of the calling thread"""

    attr = Unsigned()
    ctx = In(length="size")
    size = Unsigned()
    flags = Hex()


class lsm_list_modules(
    Syscall,
    x86_64=461,
    generic=461,
    since="6.8",
    runs=Runs.PROGRAM,
    support=Support.PLAIN,
    caveat="the list is logged as an address",
):
    """list the active security modules"""

    ids = Pointer()
    size = InOut(SIZE_32)
    flags = Hex()


class add_key(Syscall, x86_64=248, generic=217, runs=Runs.PROGRAM):
    """add a key to the kernel's key management facility"""

    type = String()
    description = String()
    payload = In(length="plen")
    plen = Size()
    keyring = Chosen(KEYRINGS)


class request_key(Syscall, x86_64=249, generic=218, runs=Runs.PROGRAM, blocks=True):
    """request a key from the kernel's key management facility"""

    type = String()
    description = String()
    callout_info = String()
    dest_keyring = Chosen(KEYRINGS)


class keyctl(
    Syscall,
    x86_64=250,
    generic=219,
    runs=Runs.PROGRAM,
    support=Support.PLAIN,
    caveat="arguments after the operation are logged as numbers",
    returns=show_long,
):
    """manipulate the kernel's key management facility"""

    operation = Chosen(KEYCTL)
    arg2 = Hex()
    arg3 = Hex()
    arg4 = Hex()
    arg5 = Hex()


class bpf(
    Syscall,
    x86_64=321,
    generic=280,
    since="3.18",
    runs=Runs.PROGRAM,
    support=Support.PLAIN,
    caveat="under the route `proxy` its descriptors stay in the program, where only bpf finds them",
    classes=("desc",),
):
    """perform a command on an extended BPF map or program"""

    cmd = Chosen(BPF)
    attr = Pointer()
    size = Unsigned()


class perf_event_open(
    Syscall,
    x86_64=298,
    generic=241,
    since="2.6.31",
    runs=Runs.HANDOVER,
    new_fd=True,
    support=Support.PARTIAL,
    caveat="the attributes are logged as an address; under the route `proxy` a group's leader must "
    "be a descriptor that the program itself has",
    effect=new("anon_inode:[perf_event]"),
):
    """set up performance monitoring"""

    attr = Pointer()
    pid = Pid()
    cpu = Int()
    group_fd = Int()
    flags = Chosen(PERF)

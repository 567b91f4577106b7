# SPDX-License-Identifier: Apache-2.0
"""Work that the kernel does later: io_uring and the older asynchronous I/O.

Both hold addresses of the program's memory for calls that come later, and the rings are written without any call: the
route `proxy` answers ENOSYS, which programs take as "do it the ordinary way".
"""

from typing import Final

from lsca.table.arguments import Fd, Hex, Long, Pointer, Size, Unsigned
from lsca.table.effects import Names, Posts, new
from lsca.table.syscall import Runs, Support, Syscall

CAVEAT: Final = "under the route `proxy` ENOSYS; otherwise what is in the rings is not on record"
AIO_CAVEAT: Final = "under the route `proxy` ENOSYS; otherwise requests are logged as addresses"


class io_uring_setup(
    Syscall,
    x86_64=425,
    generic=425,
    since="5.1",
    runs=Runs.NOWHERE,
    new_fd=True,
    support=Support.NONE,
    caveat=CAVEAT,
    effect=new("anon_inode:[io_uring]"),
    errors="ENOMEM EMFILE EPERM",
    names=Names.UNKNOWN,
    posts=Posts.ENDS,
):
    """set up a context for performing asynchronous I/O"""

    entries = Unsigned()
    params = Pointer()


class io_uring_enter(
    Syscall,
    x86_64=426,
    generic=426,
    since="5.1",
    runs=Runs.NOWHERE,
    blocks=True,
    support=Support.NONE,
    caveat=CAVEAT,
    classes=("signal",),
    names=Names.UNKNOWN,
    posts=Posts.ENDS,
):
    """initiate and/or complete asynchronous I/O"""

    fd = Fd()
    to_submit = Unsigned()
    min_complete = Unsigned()
    flags = Hex()
    sig = Pointer()
    sz = Size()


class io_uring_register(
    Syscall,
    x86_64=427,
    generic=427,
    since="5.1",
    runs=Runs.NOWHERE,
    support=Support.NONE,
    caveat=CAVEAT,
    classes=("memory",),
    names=Names.UNKNOWN,
    posts=Posts.ENDS,
):
    """register files or user buffers for asynchronous I/O"""

    fd = Fd()
    opcode = Unsigned()
    arg = Pointer()
    nr_args = Unsigned()


class io_setup(
    Syscall,
    x86_64=206,
    generic=0,
    runs=Runs.NOWHERE,
    support=Support.NONE,
    caveat=AIO_CAVEAT,
    classes=("memory",),
    posts=Posts.ENDS,
):
    """create an asynchronous I/O context"""

    nr_events = Unsigned()
    ctx_idp = Pointer()


class io_destroy(
    Syscall,
    x86_64=207,
    generic=1,
    runs=Runs.NOWHERE,
    support=Support.NONE,
    caveat=AIO_CAVEAT,
    classes=("memory",),
):
    """destroy an asynchronous I/O context"""

    ctx_id = Hex()


class io_submit(
    Syscall,
    x86_64=209,
    generic=2,
    runs=Runs.NOWHERE,
    blocks=True,
    support=Support.NONE,
    caveat=AIO_CAVEAT,
):
    """submit asynchronous I/O blocks for processing"""

    ctx_id = Hex()
    nr = Long()
    iocbpp = Pointer()


class io_cancel(
    Syscall, x86_64=210, generic=3, runs=Runs.NOWHERE, support=Support.NONE, caveat=AIO_CAVEAT
):
    """cancel an outstanding asynchronous I/O operation"""

    ctx_id = Hex()
    iocb = Pointer()
    result = Pointer()


class io_getevents(
    Syscall,
    x86_64=208,
    generic=4,
    runs=Runs.NOWHERE,
    blocks=True,
    support=Support.NONE,
    caveat=AIO_CAVEAT,
):
    """read asynchronous I/O events from the completion queue"""

    ctx_id = Hex()
    min_nr = Long()
    nr = Long()
    events = Pointer()
    timeout = Pointer()


class io_pgetevents(
    Syscall,
    x86_64=333,
    generic=292,
    since="4.18",
    runs=Runs.NOWHERE,
    blocks=True,
    support=Support.NONE,
    caveat=AIO_CAVEAT,
):
    """read asynchronous I/O events, with a signal mask"""

    ctx_id = Hex()
    min_nr = Long()
    nr = Long()
    events = Pointer()
    timeout = Pointer()
    usig = Pointer()

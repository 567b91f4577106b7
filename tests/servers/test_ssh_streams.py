# SPDX-License-Identifier: Apache-2.0
"""ssh over streams: what goes through it, or through a tunnel of it, arrives as it was.

The connection itself is the kernel's: the server's programs inherit it over an exec, and one of them is confined. What
comes and goes at the ends of a tunnel is not.
"""

import random
from pathlib import Path

from serving import serve, x86_64

pytestmark = x86_64
SIZE = 6_000_000
CONFIG = """\
HostKey HERE/host
AuthorizedKeysFile HERE/authorized
PidFile HERE/pid
UsePAM no
StrictModes no
PermitRootLogin yes
PrintMotd no
PrintLastLog no
Subsystem sftp internal-sftp
"""
CLIENT = """\
Host there
HostName 127.0.0.1
IdentityFile HERE/key
IdentitiesOnly yes
UserKnownHostsFile HERE/known
StrictHostKeyChecking accept-new
LogLevel ERROR
BatchMode yes
"""
SCRIPT = r"""
    mkdir -p /run/sshd
    ssh-keygen -q -t ed25519 -N '' -f host; ssh-keygen -q -t ed25519 -N '' -f key; cp key.pub authorized
    port; echo "ListenAddress 127.0.0.1:$PORT" >> server; echo "Port $PORT" >> client
    sed -i "s,HERE,$PWD," server client
    $(command -v sshd || echo /usr/sbin/sshd) -D -E log -f $PWD/server & server=$!; ready $server listens $PORT
    there() { ssh -F client there "$@"; }
    there "cat > $PWD/to" < data & a=$!; there "cat $PWD/data" > from & b=$!; there 'cat' < data > both & c=$!
    ended ssh $a $b $c; for name in to from both; do cmp data $name; echo "$name $?"; done
    scp -q -F client data there:$PWD/copied; cmp data copied; echo "scp $?"
    scp -q -O -F client there:$PWD/data back; cmp data back; echo "scp -O $?"
    printf "put data $PWD/up\nget $PWD/up down\n" | sftp -q -b - -F client there > /dev/null
    cmp data down; echo "sftp $?"

    # An HTTP server behind a tunnel, with which many talk at once; and the same the other way round.
    port; web=$PORT; $PYTHON $HERE/web.py asyncio $web & servers=$!; ready $! listens $web
    for how in -L -R; do
        port; ssh -F client -N $how 127.0.0.1:$PORT:127.0.0.1:$web there & tunnel=$!; ready $tunnel listens $PORT
        $PYTHON $HERE/web.py ask $PORT 1; $PYTHON $HERE/web.py ask $PORT 2
        kill $tunnel; ended tunnel $tunnel
    done
    kill $server $servers; ended server $server $servers
"""


def prepare(where: Path) -> None:
    (where / "data").write_bytes(random.Random(1).randbytes(SIZE))
    (where / "server").write_text(CONFIG)
    (where / "client").write_text(CLIENT)


def test_tunnels() -> None:
    serve(
        SCRIPT,
        needs=("sshd|/usr/sbin/sshd", "ssh", "scp", "sftp"),
        prepare=prepare,
        joined=50,
        moved=50_000_000,
    )

# SPDX-License-Identifier: Apache-2.0
"""memcached over streams: its threads give each of many connections what that one has stored."""

from serving import serve, x86_64

pytestmark = x86_64
SCRIPT = r"""
    port; [ $UID = 0 ] && user='-u root' || user=
    memcached -l 127.0.0.1 -p $PORT -U 0 -t 4 -m 512 $user & servers=$!; ready $! listens $PORT
    memcached -s $PWD/socket -t 2 -m 512 $user & servers="$servers $!"; ready $! test -S socket
    for i in 1 2; do $PYTHON $HERE/memcached_load.py $PORT $i > $i & clients="${clients-} $!"; done
    ended client $clients; cat 1 2
    $PYTHON $HERE/memcached_load.py $PWD/socket 3
    kill $servers; ended server $servers
"""


def test_values() -> None:
    serve(SCRIPT, needs=("memcached",), joined=150, moved=100_000_000)

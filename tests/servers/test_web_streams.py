# SPDX-License-Identifier: Apache-2.0
"""HTTP servers and clients in Python and node over streams: event loops, threads, forks, and across the two."""

from serving import serve, x86_64

pytestmark = x86_64
PYTHONS = r"""
    for kind in asyncio threads forks; do
        port; $PYTHON $HERE/web.py $kind $PORT & server=$!; ready $server listens $PORT
        for seed in 1 2; do $PYTHON $HERE/web.py ask $PORT $seed > $seed & clients="${clients-} $!"; done
        ended $kind $clients; clients=; cat 1 2
        kill $server; ended server $server
    done
"""
NODES = r"""
    port; node $HERE/web.js http $PORT & servers=$!; web=$PORT; ready $! listens $web
    port; node $HERE/web.js net $PORT & servers="$servers $!"; plain=$PORT; ready $! listens $plain
    node $HERE/web.js net $PWD/socket & servers="$servers $!"; ready $! test -S socket
    port; $PYTHON $HERE/web.py asyncio $PORT & servers="$servers $!"; python=$PORT; ready $! listens $python
    node $HERE/web.js ask $web 1; node $HERE/web.js echo $plain 2; node $HERE/web.js echo $PWD/socket 3
    node $HERE/web.js ask $python 4; $PYTHON $HERE/web.py ask $web 5
    kill $servers; ended server $servers
"""


def test_python() -> None:
    serve(PYTHONS, needs=(), joined=100, moved=50_000_000)


def test_node() -> None:
    serve(NODES, needs=("node",), joined=50, moved=50_000_000)

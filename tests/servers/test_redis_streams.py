# SPDX-License-Identifier: Apache-2.0
"""redis over streams: every value that was stored is read back, after restarts, too, and by replicas."""

from serving import serve, x86_64

pytestmark = x86_64
NEEDS = ("redis-server", "redis-benchmark")
COMMON = r"""
    cli() { redis-cli -p $PORT "$@"; }
    pong() { [ "$(redis-cli -p $1 ping)" = PONG ]; }
    start() {
        redis-server --port $1 --bind 127.0.0.1 --save '' --daemonize no --dir $PWD/$2 --unixsocket $PWD/$2/socket \
            --enable-debug-command local "${@:3}" >> log 2>&1 &
        server=$!; ready $server pong $1
    }
    load() { $PYTHON $HERE/redis_load.py "$@"; }
    digest() { redis-cli -p $1 debug digest; }
"""
VALUES = (
    COMMON
    + r"""
    port; mkdir one
    start $PORT one --appendonly yes --appendfsync everysec
    load fill $PORT 1 > a & a=$!; load fill $PWD/one/socket 2 > b & b=$!; load talk $PORT 3 > c & c=$!
    redis-benchmark -p $PORT -r 5000 -n 4000 -c 20 -P 4 -q -t set,get,incr,lpush,lrange_100,mset > d; echo "load $?"
    redis-benchmark -s $PWD/one/socket -r 5000 -n 3000 -c 20 -d 5000 -q -t set,get > d; echo "load $?"
    cli bgrewriteaof > /dev/null
    ended client $a $b $c; cat a b c
    rewritten() { cli info persistence | grep -q aof_rewrite_in_progress:0; }
    ready $server rewritten
    load check $PWD/one/socket 1; before=$(digest $PORT)
    cli shutdown; ended server $server

    start $PORT one --appendonly yes --appendfsync everysec
    load check $PORT 1; load check $PORT 2; [ "$before" = "$(digest $PORT)" ]; echo "the same data: $?"
    # What was acknowledged outlives the server.
    load fill $PORT 4; before=$(digest $PORT); kill -9 $server; ended server $server
    start $PORT one --appendonly yes
    load check $PORT 4; [ "$before" = "$(digest $PORT)" ]; echo "the same data: $?"
    cli shutdown; ended server $server
"""
)
REPLICAS = (
    COMMON
    + r"""
    port; master=$PORT; mkdir one two three
    start $master one --repl-diskless-sync-delay 0; servers=$server
    load fill $master 1
    for name in two three; do
        port; start $PORT $name --replicaof "127.0.0.1 $master"; servers="$server $servers"; ports="${ports-} $PORT"
    done
    load fill $master 2 > a & fillers=$!; load fill $PWD/one/socket 3 > b & fillers="$fillers $!"
    sleep 0.3; redis-cli -p $master client kill type replica > /dev/null # it asks for what it has missed
    ended client $fillers; cat a b
    for p in $ports; do
        follows() {
            [ "$(redis-cli -p $master info replication | grep -c state=online)" = 2 ] &&
                [ "$(digest $p)" = "$(digest $master)" ]
        }
        ready $server follows; echo "the same data: $?"
        load check $p 1; load check $p 2
    done
    for p in $ports $master; do redis-cli -p $p shutdown; done
    ended server $servers
"""
)


def test_values() -> None:
    serve(VALUES, needs=NEEDS, joined=100, moved=100_000_000)


def test_replicas() -> None:
    serve(REPLICAS, needs=NEEDS, joined=60, moved=100_000_000)

# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL over streams: what clients have written is there, once, and the server's own checks find nothing wrong."""

from serving import serve, x86_64

pytestmark = x86_64
# The server does not run as root.
SCRIPT = r"""
    PATH=$(ls -d /usr/lib/postgresql/*/bin | tail -1):$PATH
    port; export PGHOST=$PWD PGPORT=$PORT PGUSER=postgres PGDATABASE=postgres
    initdb -D data -U postgres -A trust --no-locale -E UTF8 --no-sync > initdb.log; echo "initdb $?"
    postgres -D data -k $PWD -h 127.0.0.1 -p $PORT -F -c log_min_messages=fatal -c shared_buffers=32MB > log 2>&1 &
    server=$!; ready $server psql -c 'select 1'
    ask() { psql -qAtX "$@"; }
    pgbench -q -i -s 1 2> /dev/null; echo "pgbench -i $?"
    ask -c 'create extension amcheck'

    # Half of them by TCP, half by the Unix socket.
    report() { grep -E '^(number of transactions actually|number of failed)'; }
    pgbench -h 127.0.0.1 -n -c 4 -j 2 -t 100 > tcp & a=$!
    pgbench -n -c 4 -j 2 -t 100 -M prepared > socket & b=$!
    pgbench -h 127.0.0.1 -n -C -c 3 -t 10 -S > short & c=$!
    ended pgbench $a $b $c; for name in tcp socket short; do report < $name; done
    sums() {
        ask -c "select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history),
            (select sum(bbalance) from pgbench_branches) = (select sum(tbalance) from pgbench_tellers),
            (select sum(bbalance) from pgbench_branches) = (select sum(delta) from pgbench_history),
            (select count(*) from pgbench_history), (select count(*) from pgbench_accounts)"
    }
    sums

    # Out and in again, some MB and some long values.
    ask -c "create table long as
        select n, repeat(md5(n::text), 1 + n * n % 9000) as text from generate_series(1, 200) n"
    for format in text binary; do
        [ $format = text ] && table=long || table=pgbench_accounts
        ask -h 127.0.0.1 -c "create table copy (like $table)"
        ask -h 127.0.0.1 -c "copy (select * from $table order by 1) to stdout (format $format)" > out
        ask -c "copy copy from stdin (format $format)" < out
        ask -c "copy (select * from copy order by 1) to stdout (format $format)" | cmp - out; echo "copy $?"
        ask -c "select count(*) from (table $table except table copy) x" -c 'drop table copy'
    done
    ask -c 'select n, text from long order by n' > one; ask -h 127.0.0.1 -c 'select n, text from long order by n' > two
    cmp one two; echo "select $?"

    # Whose client is killed, is rolled back, and ends.
    ask -c 'create table half (a bigint, b text)'
    busy() {
        local q="select count(*) from pg_stat_activity where query ~ '^copy half|10000000' and pid <> pg_backend_pid()"
        [ "$(ask -c "$q")" = $1 ]
    }
    for host in 127.0.0.1 $PWD; do
        seq -f "%.0f	some text" 1 100000000 | psql -qX -h $host -c 'copy half from stdin' & pid=$!
        psql -qX -h $host -c "copy (select n, repeat('x', 1000) from generate_series(1, 10000000) n) to stdout" \
            > /dev/null & other=$!
        ready $server busy 2; sleep 0.2
        kill -9 $pid $other; ended psql $pid $other
        ready $server busy 0
    done
    ask -c 'select count(*) from half'
    sums
    pg_amcheck --heapallindexed --parent-check postgres; echo "pg_amcheck $?"
    kill -INT $server; ended server $server; pg_controldata data | grep 'cluster state'
"""


def test_transactions() -> None:
    serve(SCRIPT, needs=("psql", "pgbench"), user="nobody", joined=20, moved=30_000_000)

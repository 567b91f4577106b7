# SPDX-License-Identifier: Apache-2.0
"""Servers with their clients: start, wait until it answers, load, check what it holds, stop, status.

Server and clients are all captured. Ports are chosen anew in each run and are never printed.
"""

from pathlib import Path

from case import Case

REDIS = r"""
    port
    cli() { redis-cli -p $PORT "$@"; }
    pong() { [ "$(cli ping)" = PONG ]; }
    start() {
        redis-server --port $PORT --bind 127.0.0.1 --save '' --appendonly yes --daemonize no \
            --enable-debug-command local >> log 2>&1 &
        server=$!; ready $server pong
    }
    start
    for i in $(seq 2000); do echo "set key:$i value-$((i * i))"; done | cli --pipe
    redis-benchmark -p $PORT -n 2000 -c 20 -q -t set,get,incr,lpush,mset > /dev/null; echo "load $?"
    redis-benchmark -p $PORT -n 4000 -c 10 -P 8 -q -t sadd,hset > /dev/null; echo "load $?"
    cli get key:44; cli get counter:__rand_int__; cli llen mylist; cli dbsize
    cli bgrewriteaof
    rewritten() { cli info persistence | grep -q aof_rewrite_in_progress:0; }
    ready $server rewritten; cli set after rewrite
    before=$(cli debug digest)
    cli shutdown; wait $server; echo "status $?"
    for f in appendonlydir/*.manifest; do redis-check-aof $f | tail -1; done
    start
    cli get key:44; cli get after; cli dbsize
    test "$before" = "$(cli debug digest)"; echo "the same data: $?"
    cli shutdown; wait $server; echo "status $?"
"""

REDIS_UNIX = r"""
    redis-server --port 0 --unixsocket socket --save '' --daemonize no > log 2>&1 & server=$!
    ready $server test -S socket
    redis-cli -s socket set key value; redis-cli -s socket get key
    redis-benchmark -s socket -n 2000 -c 20 -q -t set,get > /dev/null; echo $?
    redis-cli -s socket dbsize; redis-cli -s socket save
    redis-cli -s socket shutdown nosave; wait $server; echo $?
    redis-check-rdb dump.rdb | grep -c 'keys read'
"""

NGINX = r"""
    port; sed -i s/PORT/$PORT/ nginx.conf
    nginx -p $PWD/ -e error.log -c nginx.conf & server=$!
    ready $server listens
    fetch() { curl -sS "$@"; }
    at=http://127.0.0.1:$PORT
    for f in small large; do fetch $at/$f | cmp - www/$f && fetch $at/back/$f | cmp - www/$f && echo $f; done
    fetch -r 100000-300000 $at/large | cmp - <(tail -c +100001 www/large | head -c 200001) && echo a range
    fetch -o /dev/null -w '%{http_code}\n' $at/missing
    fetch -F file=@www/large $at/back/upload -o /dev/null -w '%{http_code}\n'
    report() { grep -E '^(Complete requests|Failed requests|Document Length|Non-2xx)'; }
    ab -q -n 500 -c 10 $at/small | report
    ab -q -k -n 500 -c 10 $at/back/small | report
    ab -q -n 20 -c 4 $at/large | report
    nginx -p $PWD/ -e error.log -c nginx.conf -s reload; echo "reload $?"
    ab -q -n 300 -c 5 $at/small | report
    nginx -p $PWD/ -e error.log -c nginx.conf -s quit; wait $server; echo "status $?"
    awk '{print $6, $7, $9, $10}' access.log | sort | uniq -c
    grep -cE '\[(emerg|alert|crit)\]' error.log
"""
NGINX_CONF = """\
daemon off; worker_processes 2; pid nginx.pid; error_log error.log notice;
events { worker_connections 256; }
http {
    access_log access.log combined;
    sendfile on;
    client_max_body_size 20m;
    client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
    server {
        listen 127.0.0.1:PORT;
        location / { root www; }
        location /back/ { proxy_pass http://127.0.0.1:PORT/; }
    }
}
"""

POSTGRESQL = r"""
    PATH=$(ls -d /usr/lib/postgresql/*/bin | tail -1):$PATH
    port; export PGHOST=$PWD PGPORT=$PORT PGUSER=postgres PGDATABASE=postgres
    initdb -D data -U postgres -A trust --no-locale -E UTF8 > initdb.log; echo "initdb $?"
    echo "listen_addresses = '127.0.0.1'
        port = $PORT
        unix_socket_directories = '$PWD'
        log_min_messages = fatal
        shared_buffers = 16MB" >> data/postgresql.conf
    start() { pg_ctl -D data -l log -w start > /dev/null; echo "start $?"; }
    start
    pgbench -q -i -s 1 2> /dev/null; echo "pgbench -i $?"
    report() { grep -E '^(number of transactions|number of failed)'; }
    pgbench -c 4 -j 2 -t 40 | report
    pgbench -n -h 127.0.0.1 -C -c 2 -t 5 -S | report
    sums() {
        psql -qAtc "select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history),
            (select sum(bbalance) from pgbench_branches) = (select sum(tbalance) from pgbench_tellers),
            (select count(*) from pgbench_history), (select count(*) from pgbench_accounts)"
    }
    sums
    psql -qAt -c "set max_parallel_workers_per_gather = 2; set parallel_setup_cost = 0; set parallel_tuple_cost = 0;
        set min_parallel_table_scan_size = 0; select count(*), sum(aid) from pgbench_accounts" \
        -c "copy (select * from generate_series(1, 1000)) to program 'md5sum > copied'" \
        -c "create extension amcheck"
    pg_amcheck --all --heapallindexed; echo "pg_amcheck $?"
    pg_dump -t pgbench_tellers | grep -c '^[0-9]'
    pg_ctl -D data -m immediate stop > /dev/null; echo "crash $?"
    start; sums
    pg_amcheck --all; echo "pg_amcheck $?"
    pg_ctl -D data -m fast stop > /dev/null; echo "stop $?"
    pg_controldata data | grep 'cluster state'; pg_checksums -D data 2>&1 | head -1; ls
"""

MEMCACHED = r"""
    port
    memcached -l 127.0.0.1 -p $PORT -U 0 -u nobody -t 2 -m 16 & server=$!
    ready $server listens
    say() { printf '%s\r\n' "$@" quit | socat -t 20 - TCP:127.0.0.1:$PORT; }
    say 'set key 7 0 5' value 'get key' 'set number 0 0 1' 0 'incr number 41' 'delete key' 'get key'
    export -f say; export PORT
    seq 16 | xargs -P 8 -I N bash -c 'say "set k:N 0 0 3" abc "incr number 1" > /dev/null'
    say 'get number' 'get k:3 k:16'
    say 'set large 0 0 500000' $(head -c 500000 /dev/zero | tr '\0' x) 'get large' | md5sum
    say stats | tr -d '\r' | grep -E ' (curr_items|cmd_get|cmd_set|get_hits|incr_hits) '
    kill $server; wait $server; echo "status $?"
"""

SSH = r"""
    mkdir -p /run/sshd; port
    ssh-keygen -q -t ed25519 -N '' -f host; ssh-keygen -q -t ed25519 -N '' -f key; cp key.pub authorized
    cat > sshd_config <<end
ListenAddress 127.0.0.1:$PORT
HostKey $PWD/host
AuthorizedKeysFile $PWD/authorized
PidFile $PWD/pid
UsePAM no
StrictModes no
PermitRootLogin yes
PrintMotd no
PrintLastLog no
SetEnv SHLVL=5
Subsystem sftp internal-sftp
end
    cat > ssh_config <<end
Host there
HostName 127.0.0.1
Port $PORT
IdentityFile $PWD/key
IdentitiesOnly yes
UserKnownHostsFile $PWD/known
StrictHostKeyChecking accept-new
LogLevel ERROR
BatchMode yes
end
    $(command -v sshd || echo /usr/sbin/sshd) -D -E log -f $PWD/sshd_config & server=$!
    ready $server listens
    ssh -F ssh_config there 'echo $((6 * 7)); exit 3'; echo "status $?"
    head -c 3000000 /dev/zero | ssh -F ssh_config there md5sum
    ssh -tt -F ssh_config there 'test -t 0 && stty size && tty | tr -d 0-9' < /dev/null
    seq 100000 > file
    scp -q -F ssh_config file there:$PWD/copied; cmp file copied && echo copied
    scp -q -F ssh_config there:$PWD/copied back; cmp file back && echo back
    printf 'cd %s\nmkdir new\nput file new/put\nls -1 new\n' $PWD | sftp -q -b - -F ssh_config there | sed "s,$PWD,,"
    rsync -a -e "ssh -F ssh_config" new there:$PWD/synced; cmp file synced/new/put && echo synced
    ssh -F ssh_config -O check there 2> /dev/null; echo $?
    kill $server; wait $server; echo "status $?"
"""

WEB = """
import http.server, threading, subprocess, sys, functools, os
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass
    def do_POST(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200); self.end_headers(); self.wfile.write(data[::-1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
def fetch(*args):
    result = subprocess.run(["curl", "-sS", *args], capture_output=True)
    return result.returncode, len(result.stdout), result.stdout[-30:], len(result.stderr)
print(fetch(f"{url}/large"), fetch(f"{url}/missing")[0], fetch("-f", f"{url}/missing")[0])
print(fetch("--data-binary", "@large", url)[:2], fetch("-I", f"{url}/small")[0])
print(fetch("-o", "saved", f"{url}/large", "-o", "again", f"{url}/small"))
print(fetch("--parallel", *[a for i in range(10) for a in ("-o", f"got-{i}", f"{url}/small")])[0])
server.shutdown(); server.server_close()
print(fetch(url)[0])
"""

SOCAT_TCP = r"""
    port; socat TCP-LISTEN:$PORT,bind=127.0.0.1,reuseaddr,fork EXEC:cat & server=$!
    ready $server listens
    for i in 1 2 3; do echo hello $i | socat -t 5 - TCP:127.0.0.1:$PORT; done
    head -c 2000000 /dev/zero | socat -t 5 - TCP:127.0.0.1:$PORT | md5sum
    kill $server; wait $server; echo $?
"""
SOCAT_UNIX = r"""
    socat UNIX-LISTEN:socket,fork EXEC:cat & server=$!
    ready $server test -S socket
    for i in 1 2 3; do echo hello $i | socat -t 5 - UNIX:socket; done
    kill $server; wait $server; echo $?
    socat -u FILE:file EXEC:'sort -u',pty,rawer,setsid,ctty; echo $?
"""


def web_files(where: Path) -> None:
    """Something to fetch for nginx and for curl."""
    (where / "www").mkdir()
    (where / "www" / "small").write_bytes(b"a small file\n")
    (where / "www" / "large").write_bytes(bytes(range(256)) * 8000)
    (where / "large").write_bytes(bytes(range(256)) * 20_000)
    (where / "small").write_bytes(b"a small file")
    (where / "nginx.conf").write_text(NGINX_CONF)
    (where / "server.py").write_text(WEB)


def one_file(where: Path) -> None:
    """A few lines."""
    (where / "file").write_text("through a terminal\n" * 20)


CASES = [
    # The files hold times and the port; what they say is asked for over the network.
    Case("redis", "TCP, AOF rewritten and reloaded", REDIS, ("redis-server", "redis-benchmark"),
         ignore=("log", "appendonlydir/*")),
    Case("redis", "Unix socket, snapshot", REDIS_UNIX, ("redis-server", "redis-benchmark"),
         ignore=("log", "dump.rdb")),
    # Logs hold times, the configuration the port.
    Case("nginx", "files, ranges, a backend, reload", NGINX, ("nginx", "ab", "curl"), prepare=web_files,
         ignore=("*.log", "nginx.conf"), status=1),
    # initdb draws an identity, and pages hold transaction numbers and times. It refuses to be root.
    Case("PostgreSQL", "initdb, pgbench, crash, pg_amcheck", POSTGRESQL, ("psql", "pgbench"),
         ignore=("data", "*.log", "log"), user="nobody", timeout=100),
    Case("memcached", "threads and many clients", MEMCACHED, ("memcached", "socat")),
    # Keys are drawn; the port stands in both configurations. A shell of some depth reads no start files of its user.
    Case("ssh", "commands, terminal, scp, sftp, rsync", SSH, ("sshd|/usr/sbin/sshd", "ssh", "rsync"),
         ignore=("host*", "key*", "authorized", "ssh*_config", "known", "log")),
    Case("curl", "from a Python server", "$PYTHON -I server.py", ("curl",), prepare=web_files),
    Case("socat", "TCP", SOCAT_TCP, ("socat",)),
    Case("socat", "Unix socket and terminal", SOCAT_UNIX, ("socat",), prepare=one_file),
]  # fmt: skip

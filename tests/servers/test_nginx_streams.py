# SPDX-License-Identifier: Apache-2.0
"""nginx over streams: files of all sizes arrive as they are, in each of the ways that it has to send them."""

import random
from pathlib import Path

from serving import serve, x86_64

pytestmark = x86_64
SIZES = (0, 1, 2, 100, 4095, 4096, 32768, 65535, 65536, 65537, 131_073, 1_000_000, 3_000_001)
LARGEST = 20_000_000
WAYS = ("plain", "send", "some", "gzip", "back", "kept", "slow")
WORDS = [b"stream", b"ring", b"bell", b"socket", b"kernel", b"\n"]
CONF = """\
daemon off; worker_processes 2; pid NAME.pid; error_log NAME.error notice; USER
events { worker_connections 256; }
http {
    access_log off; client_max_body_size 40m; default_type text/plain; gzip_types *; gzip_min_length 20;
    client_body_temp_path NAME-t1; proxy_temp_path NAME-t2; fastcgi_temp_path NAME-t3; uwsgi_temp_path NAME-t4;
    scgi_temp_path NAME-t5; keepalive_requests 100000;
    SERVERS
}
"""
FRONT = """
    upstream kept { server 127.0.0.1:BACK; keepalive 8; }
    server {
        listen 127.0.0.1:FRONT; listen unix:HERE/socket; root www;
        location /plain/ { sendfile off; alias www/; }
        location /send/ { sendfile on; alias www/; }
        location /some/ { sendfile on; sendfile_max_chunk 10k; tcp_nopush on; alias www/; }
        location /gzip/ { gzip on; alias www/; }
        location /slow/ { proxy_pass http://127.0.0.1:BACK/; proxy_buffering off; }
        location /back/ { proxy_pass http://127.0.0.1:BACK/; }
        location /kept/ { proxy_pass http://kept/; proxy_http_version 1.1; proxy_set_header Connection ""; }
        location /put/ { proxy_pass http://127.0.0.1:BACK/put/; proxy_request_buffering off; }
    }
"""
BACK = """
    server {
        listen 127.0.0.1:BACK; sendfile on;
        location / { root www; }
        location /put/ { root there; dav_methods PUT; create_full_put_path on; }
    }
"""
SCRIPT = (
    r"""
    port; front=$PORT; port; back=$PORT
    [ $UID = 0 ] && user='user root;' || user=
    sed -i "s,FRONT,$front,g; s,BACK,$back,g; s,HERE,$PWD,; s,USER,$user," front.conf back.conf
    nginx -p $PWD/ -e back.error -c back.conf & servers=$!; ready $! listens $back
    nginx -p $PWD/ -e front.error -c front.conf & servers="$servers $!"; ready $! listens $front
    at=http://127.0.0.1:$front
    # Which ones, and where to: in the form that curl reads.
    list() {
        local way=$1 to=$2 f; mkdir -p $to
        for f in www/*; do printf 'url="%s/%s/%s"\noutput="%s/%s"\n' $at $way ${f#www/} $to ${f#www/}; done
    }
    parallel() { curl -sS -Z --no-progress-meter --parallel-max "$@"; }
    same() { diff -r www $1 && rm -r $1 && echo "$1 is the same"; }
    for way in """
    + " ".join(WAYS)
    + r"""; do
        list $way $way > $way.list
        [ $way = gzip ] && more=--compressed || more=
        parallel 12 $more -K $way.list; echo "curl $?"; same $way
    done
    list send one > list; curl -sS -K list --unix-socket socket; echo "curl $?"; same one
    curl -sS -r 70000-2900000 $at/send/size-12 | cmp - <(tail -c +70001 www/size-12 | head -c 2830001); echo "part $?"

    for f in www/*; do printf 'url="%s/put/%s"\nupload-file="%s"\n' $at ${f#www/} $f; done > list
    parallel 6 -K list -o /dev/null; echo "curl $?"; mv there/put up; same up

    # A worker that is to end sends what it has begun.
    for i in 1 2 3; do mkdir got-$i; list send got-$i > list-$i; done
    for i in 1 2 3; do parallel 8 --limit-rate 20M -K list-$i & pids="${pids-} $!"; done
    for i in 1 2 3; do sleep 0.1; nginx -p $PWD/ -e front.error -c front.conf -s reload; done
    ended curl $pids; for i in 1 2 3; do same got-$i; done

    report() { grep -E '^(Complete requests|Failed requests|Non-2xx)'; }
    ab -q -k -n 4000 -c 32 $at/plain/size-3 | report; ab -q -n 500 -c 16 $at/kept/size-7 | report
    ab -q -k -n 1000 -c 16 $at/back/size-9 | report
    for name in front back; do nginx -p $PWD/ -e $name.error -c $name.conf -s quit; done
    ended server $servers; grep -hE '\[(emerg|alert|crit|error)\]' front.error back.error
    true
"""
)


def prepare(where: Path) -> None:
    chance = random.Random(1)
    www = where / "www"
    www.mkdir()
    for i, size in enumerate(SIZES):
        (www / f"size-{i}").write_bytes(chance.randbytes(size))
    for i in range(20):
        text = b" ".join(chance.choices(WORDS, k=chance.randrange(1, 20000)))
        (www / f"text-{i}").write_bytes(text)
    (www / "largest").write_bytes(chance.randbytes(LARGEST))
    (where / "there").mkdir()
    for name, servers in (("front", FRONT), ("back", BACK)):
        text = CONF.replace("SERVERS", servers).replace("NAME", name)
        (where / f"{name}.conf").write_text(text)


def test_files() -> None:
    serve(SCRIPT, needs=("nginx", "curl", "ab"), prepare=prepare, joined=100, moved=200_000_000)

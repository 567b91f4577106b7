# SPDX-License-Identifier: Apache-2.0
"""Tools that move and keep data: git, rsync, archives, sqlite3, openssl."""

from pathlib import Path

from case import Case

IDENTITY = {
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_AUTHOR_DATE": "@1000000000 +0000",
    "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_COMMITTER_DATE": "@1000000000 +0000", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null",
}  # fmt: skip
GIT = r"""
    set -e
    git init -q -b main here
    cd here
    for i in 1 2 3 4 5; do
        echo "line $i" >> file; mkdir -p d$i; seq $i 500 > d$i/numbers
        git add .; git commit -q -m "commit $i"
    done
    git checkout -q -b side HEAD~2
    echo side > side; git add side; git commit -q -m side
    git checkout -q main; git merge -q --no-edit side
    git log --oneline --stat | cat
    git gc -q --prune=now
    git fsck --strict
    git rev-parse HEAD
    cd ..
    git clone -q here there
    git -C there log --format=%H%s | cat
    git clone -q "file://$PWD/here" far
    git -C far status --short --branch
    git -C far diff HEAD~3 --stat | cat
    git -C far grep -c 'line' -- file
    git -C far archive HEAD | tar t | wc -l
    echo change >> far/file; git -C far stash -q; git -C far stash pop; git -C far diff | cat
    git init -q --bare -b main bare.git; git -C far commit -q -a -m pushed; git -C far push -q ../bare.git main:main
    git -C bare.git fsck --strict; git -C bare.git log --oneline main | head -2
    git -C here worktree add -q ../tree side; git -C tree log -1 --format=%s; git -C here bundle create -q ../b main
    git -C far bundle verify -q ../b; git -C far rebase -q origin/side~1 main 2>&1 | tail -1
    git -C far log --oneline | wc -l
"""

RSYNC = r"""
    rsync -aH tree/ copy/; diff -r tree copy && echo same; stat -c '%a %h %N' copy/* | sort
    echo more >> tree/a; rm tree/b; rsync -a --delete --itemize-changes tree/ copy/ | sed 's/^\(..\).* /\1 /' |
        grep -v '/$' | sort; diff -r tree copy && echo same
    head -c 300000 /dev/zero | tr '\0' y > tree/large
    rsync -ac --no-whole-file --stats tree/ copy/ | grep -E '^(Number of (regular|created)|Literal)'
    echo tail >> tree/large; rsync -a --no-whole-file --stats tree/ copy/ | grep -E '^(Literal|Matched)'
    cat > conf <<end
use chroot = no
log file = $PWD/log
uid = $(id -u)
gid = $(id -g)
munge symlinks = no
[m]
path = $PWD/copy
read only = no
end
    port
    rsync --daemon --no-detach --port=$PORT --config=conf --address=127.0.0.1 & server=$!
    ready $server listens
    rsync -a rsync://127.0.0.1:$PORT/m/ back/; diff -r tree back && echo same
    echo new > tree/new; rsync -a tree/ rsync://127.0.0.1:$PORT/m/; cat copy/new
    rsync rsync://127.0.0.1:$PORT/none 2>&1 | head -1; kill $server; wait $server; echo $?
"""

ARCHIVES = r"""
    for z in gzip bzip2 xz zstd; do
        tar -cf tree.tar.$z --use-compress-program=$z --sort=name --mtime=@0 tree && mkdir out &&
            tar -xf tree.tar.$z -C out
        diff -r tree out/tree && $z -t < tree.tar.$z 2> /dev/null && echo unpacked; rm -r out
    done
    xz -T2 --block-size=64KiB -k large; xz -dc large.xz | cmp - large && xz -l --robot large.xz | grep -c '^file'
    zstd -q -T2 large && zstd -q -dc large.zst | cmp - large && echo zstd
    zstd -q --train tree/* -o dictionary --maxdict=2000 2> /dev/null; echo $?
    tar -czf - tree | tar -tzf - | wc -l; tar --create --file sparse.tar --sparse holes
    tar -xOf sparse.tar holes | md5sum
    tar -cf inc.tar -g snapshot tree; echo x > tree/new; tar -cf inc2.tar -g snapshot tree; tar -tf inc2.tar
"""

SQLITE = r"""
    sqlite3 base <<end
pragma journal_mode = wal;
create table t(a integer primary key, b text, c real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000)
    insert into t select i, 'row ' || i, i / 3.0 from n;
create index i on t(b);
begin; update t set c = c * 2 where a % 3 = 0; delete from t where a % 7 = 0; commit;
pragma wal_checkpoint(truncate);
end
    for w in 1 2 3; do
        (for i in $(seq 15); do echo ".timeout 30000
insert into t(b, c) values ('writer $w', $i);"; done | sqlite3 base) &
    done; wait
    sqlite3 base 'pragma integrity_check; select count(*), sum(a), round(sum(c)) from t;' \
        "select b, count(*) from t where b like 'writer%' group by b"
    sqlite3 base .dump | grep -v writer | md5sum
    { sqlite3 base <<'end'
begin immediate; insert into t(b) values ('lost');
.system sqlite3 base "insert into t(b) values ('locked out')" 2>&1 | grep -o 'database is locked'
.system kill -9 $PPID
end
    } 2> /dev/null; echo $?; sqlite3 base "select count(*) from t where b like 'lo%'"
    sqlite3 base 'vacuum; pragma integrity_check; select count(*) from t' 'pragma journal_mode = delete'; ls
    sqlite3 other 'create table t(a); insert into t values(1),(2); select sum(a) from t'
"""

OPENSSL = r"""
    for d in md5 sha1 sha256 sha3-512 blake2b512; do openssl dgst -$d large; done
    openssl enc -aes-256-cbc -pbkdf2 -salt -k secret -in large -out hidden &&
        openssl enc -d -aes-256-cbc -pbkdf2 -k secret -in hidden | cmp - large && echo back
    openssl genrsa -out key 2048 2> /dev/null; openssl rsa -in key -check -noout
    openssl rsa -in key -pubout -out public 2> /dev/null
    openssl dgst -sha256 -sign key -out signature large; openssl dgst -sha256 -verify public -signature signature large
    openssl req -x509 -new -key key -subj /CN=localhost -days 1 -out certificate
    openssl verify -CAfile certificate certificate
    port; openssl s_server -accept 127.0.0.1:$PORT -key key -cert certificate -www -quiet & server=$!
    ready $server listens
    curl -sS --cacert certificate https://localhost:$PORT/ | grep -c Ciphers
    curl -sS https://localhost:$PORT/ 2> /dev/null; echo $?; kill $server; wait $server; echo $?
    openssl rand -hex 16 | wc -c; cmp <(openssl rand 32) <(openssl rand 32) > /dev/null; echo $?
"""


def data(where: Path) -> None:
    """A small tree with links, a file that packs well, one with a hole."""
    (where / "tree").mkdir()
    for name in "abcdefgh":
        (where / "tree" / name).write_text(f"{name}\n" * 500)
    (where / "tree" / "link").symlink_to("a")
    (where / "tree" / "hard").hardlink_to(where / "tree" / "c")
    (where / "tree" / "d").chmod(0o600)
    (where / "large").write_bytes(b"".join(b"%d\n" % (i * 7919 % 65537) for i in range(60_000)))
    with (where / "holes").open("wb") as file:
        file.truncate(1 << 20)
        file.seek(500_000)
        file.write(b"in the middle")


CASES = [
    # Packs are made by several threads, the index and the logs hold times.
    Case("git", "init to gc, fsck, clone, push, rebase", GIT, ("git",), env=IDENTITY, timeout=90,
         ignore=("index", "*.sample", "*.rev", "*.idx", "*.pack", "logs", "ORIG_HEAD", "AUTO_MERGE", "b", "gitdir")),
    # The daemon's log holds times, its configuration the port.
    Case("rsync", "local, delta, daemon", RSYNC, ("rsync",), prepare=data, ignore=("log", "conf")),
    # These hold the times of the files.
    Case("tar, xz, zstd", "there and back, threads", ARCHIVES, ("tar", "gzip", "bzip2", "xz", "zstd"), prepare=data,
         ignore=("*.tar*", "snapshot")),
    # The order of the writers is theirs.
    Case("sqlite3", "WAL, writers, a killed one", SQLITE, ("sqlite3",), ignore=("base*",)),
    # Keys and salt are drawn.
    Case("openssl", "digests, keys, TLS with curl", OPENSSL, ("openssl", "curl"), prepare=data,
         ignore=("key", "public", "signature", "certificate", "hidden")),
]  # fmt: skip

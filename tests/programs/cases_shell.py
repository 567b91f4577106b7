# SPDX-License-Identifier: Apache-2.0
"""Shells and what stands in every script: pipes, redirections, jobs, file tools, filters, editors."""

from dataclasses import replace
from pathlib import Path

from case import Case

PIPELINES = {
    "ls": "ls -lR --time-style=+ tree | sed 's/^total.*//'",
    "cat": "cat tree/*.txt tree/sub/*.txt | wc",
    "cp": "cp -rp tree copy && diff -r tree copy && ls copy/sub | wc -l",
    "cp -a": "ln -s sub tree/link; cp -a tree copy && diff -r tree copy; stat -c '%N %a %h %Y' copy/link copy/sub/* "
    "| sed 's/[0-9]*$//' | sort; mv copy moved; rm -r tree; ls moved | wc -l",
    "sort": "sort -n numbers | uniq -c | sort -rn | head -5",
    "sort, parallel": "for i in $(seq 40); do cat numbers; done | sort -n -S 1M --parallel=2 -T . | md5sum; ls",
    "grep": "grep -rn 7 tree | sort | md5sum; grep nothing numbers; echo $?",
    "find": "find tree -type f -newermt 2000-01-01 -size -2 -print0 | sort -z | xargs -0 -n 7 echo",
    "find -exec": "find tree -name '*.txt' -exec md5sum {} + | sort -k 2 | md5sum; find tree -name '1*' -delete; "
    "find tree -printf '%y %m %s %P\\n' | sort",
    "xargs -P": "seq 40 | xargs -P 4 -n 1 sh -c 'echo \"line $0\" >> lines'; sort -k 2 -n lines; rm lines; "
    "seq 200 | xargs -P 8 -n 3 sh -c 'test $0 -lt 190' ; echo $?",
    "tar": "tar cf - tree | (mkdir out; cd out; tar xf -); diff -r tree out/tree; echo $?; rm -r out",
    "gzip": "gzip -9nc numbers | tee packed | gunzip | cmp - numbers; wc -c < packed",
    "early end": "yes | head -3; seq 100000 | head -1; echo ${PIPESTATUS[@]}",
    "status": "(exit 3) | true | (exit 5); echo ${PIPESTATUS[@]}; false; echo $?",
    "substitution": 'x=$(cat numbers | tail -1); y=`echo $x`; echo "<$y>"; diff <(echo a) <(echo b)',
    "redirection": "exec 5>five; echo to five >&5; cat <five 2>&1 >&2; ls missing 2>&1 | wc -l",
    "here document": "cat <<end\none $((1 + 2))\nend\nread a b <<< 'x y'; echo $b",
    "background": "for i in 1 2 3 4; do (sleep 0.0$i; echo $i > done-$i) & done; wait; cat done-*",
    "trap": "trap 'echo caught' TERM; kill $$; trap 'echo leaving' EXIT; exit 3",
    "kill": "sleep 30 & kill $!; wait $!; echo $?",
    "self-killing": "kill -USR1 $$",
    "directory": "cd tree/sub; pwd | sed 's,.*/run/,,'; cd - > /dev/null; umask 077; : > private; umask",
    "limits": "ulimit -n 30; ulimit -n; "
    "(ulimit -f 1; head -c 5000 /dev/zero > big; echo $?) 2> /dev/null; wc -c < big",
    "many": "for i in $(seq 60); do /bin/true; done; echo done",
    "coprocess": "coproc bc_like { while read a b; do echo $((a * b)); done; }; "
    "for i in 1 2 3; do echo $i 7 >&${bc_like[1]}; read x <&${bc_like[0]}; echo $x; done",
    "timeout": "timeout 0.1 sleep 30; echo $?; timeout -k 1 -s INT 0.1 sleep 30; echo $?; "
    "timeout 10 sh -c 'exit 4'; echo $?",
    "fifo": "mkfifo f; (seq 5 > f &) ; cat f",
    "dd": "dd if=/dev/zero of=zeros bs=64k count=80 2> /dev/null; md5sum < zeros; "
    "dd if=zeros bs=1 count=10 skip=5 2> /dev/null | wc -c",
    "links": "ln -s tree/sub link; ls link | head -2; readlink -f link | sed 's,.*/run/,,'; "
    "ln numbers hard; stat -c %h hard",
    "times": "touch -d @86400 old; stat -c '%Y %s %a' old; test old -ot numbers; echo $?",
    "environment": "env | grep -v LSCA_TEST_RUN | sort; set | wc -l",
    "which descriptors": "ls /proc/self/fd; readlink /proc/self/exe; cat < numbers | ls -l /proc/self/fd | wc -l",
    "large output": "seq 1000000",
}

SCRIPT = r"""
i=0; while [ $i -lt 20 ]; do i=$((i + 1)); x=$(echo $i | sed s/1/one/); printf '%s ' "$x"; done; echo
f() { trap 'echo leaving' EXIT; exit 3; }; (f); echo $?
cat < numbers | while read n; do [ $n -gt 98 ] && echo $n; done | sort | uniq -c
(sleep 0.02; echo second) & echo first; wait; set -- a 'b c'; for a; do echo "<$a>"; done
ls tree | grep -c txt; cat missing 2> /dev/null || echo none; kill -9 $$
"""
ASH = SCRIPT.replace(
    "kill -9 $$",
    r"""
busybox tar cf - tree | busybox tar tf - | busybox wc -l; busybox gzip -c numbers | busybox zcat | busybox md5sum
busybox find tree -name '*7*' | busybox sort; busybox awk '{s += $1} END {print s}' numbers
busybox vi -c ':s/x/y/' -c ':wq' missing < /dev/null > /dev/null 2>&1; busybox sha256sum numbers; exit 5""",
)

PERL = r"""
use strict; use IO::Socket::INET; use threads (); use POSIX; use File::Temp; use Socket; use Time::HiRes "ualarm";
open my $f, "-|", "sort", "-n", "numbers" or die; my @l = <$f>; print scalar(@l), $l[2999]; close $f;
pipe(my $r, my $w); if (!fork) { close $r; print $w "from a child\n"; exit 7 } close $w; print <$r>; wait;
print $? >> 8, "\n";
socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, PF_UNSPEC); syswrite $a, "pair"; sysread $b, my $got, 10; print "$got\n";
my $s = IO::Socket::INET->new(Listen => 5, LocalAddr => "127.0.0.1"); my $port = $s->sockport;
if (!fork) { my $c = IO::Socket::INET->new("127.0.0.1:$port"); print $c "line $_\n" for 1..1000; exit }
my $c = $s->accept; my $n = 0; $n += length while <$c>; wait; print "$n\n";
local $SIG{ALRM} = sub { die "alarm\n" }; eval { ualarm 50000; select undef, undef, undef, 30 }; print $@;
my $t = File::Temp->new(DIR => "."); print $t "x" x 100000; $t->flush; print -s $t->filename, "\n";
rename "numbers", "renamed"; print join(",", sort glob "tree/1?.txt"), "\n"; print `echo out; exit 3`;
print $? >> 8, "\n"; chmod 0600, "renamed";
"""

GAWK = r"""
gawk '{s[$1 % 7] += $1} END {n = asorti(s, k); for (i = 1; i <= n; i++) print k[i], s[k[i]]}' numbers
gawk 'BEGIN {c = "sort -rn"; for (i = 0; i < 10; i++) print i |& c; close(c, "to")
    while ((c |& getline l) > 0) printf l " "; print close(c)}'
gawk '{print > ("part" $1 % 3)} END {system("wc -l part*")}' numbers
sed -i.old -e '1,10s/^/>/' -e '$!d' numbers; cat numbers; sed -n 's/x//gw written' tree/sub/1.txt; wc -c written
sed --posix 's/\(1\)*/[&]/;y/123/abc/' tree/12.txt | md5sum
"""

CASES_OF_TREE = [
    *(Case("bash and coreutils", name, script, status=None) for name, script in PIPELINES.items()),
    Case("dash", "script", f"cat > s <<'end'\n{SCRIPT}end\ndash s; echo $?", ("dash",),
         vary={r"bash: line (\d+): +\d+ Killed": r"bash: line \1: PID Killed"}),
    Case("busybox (static)", "ash and applets", f"cat > s <<'end'\n{ASH}\nend\nbusybox ash s; echo $?", ("busybox",)),
    Case("perl", "children, sockets, alarm", f"cat > s.pl <<'end'\n{PERL}end\nperl s.pl", ("perl",)),
    Case("gawk and sed", "co-process, files, in place", GAWK, ("gawk", "sed")),
    Case("awk", "the default one",
         """awk '{s += $1; print > "/dev/stderr"} END {print s; system("pwd > /dev/null")}' numbers"""),
    Case("jq", "filters", r"""
        jq -Rsc 'split("\n")[:-1] | map(tonumber) | {n: length, s: add, top: (sort | .[-3:])}' numbers
        seq 3 | jq -s '{a: .}' > f.json; jq -r '.a[] | @sh' f.json; jq .b.c f.json
        echo '{' | jq .; echo $?""", ("jq",)),
    Case("ed", "batch", "printf '%s\\n' 1,5p '1,$s/1/one/g' '$a' added . w q | ed -s numbers; tail -2 numbers; "
         "printf '!echo a shell\\n0r !seq 3\\nwq\\n' | ed numbers", ("ed",)),
    Case("vim", "ex mode", r"""v=$(command -v vim || command -v vim.tiny)
        $v -es -u NONE -i NONE -c '%s/7/seven/g' -c 'w! out' -c 'r !seq 3' -c '$d' -c wq numbers; echo $?
        md5sum numbers out; $v -es -u NONE -i NONE -c 'g/x/d' -c 'x' missing; echo $?; ls""", ("vim|vim.tiny",)),
    Case("make", "-j4", "make -j4 -s | sort", ("make",)),
]  # fmt: skip


def tree(top: Path) -> None:
    """Some files with known contents and modes."""
    (top / "tree" / "sub").mkdir(parents=True)
    for i in range(30):
        (top / "tree" / f"{i}.txt").write_text(f"{i}\n" * i)
        (top / "tree" / "sub" / f"{i}.txt").write_text("x" * (i * 100))
    (top / "tree" / "sub" / "script").write_text("#!/bin/sh\necho from a script\n")
    (top / "tree" / "sub" / "script").chmod(0o755)
    (top / "numbers").write_text("".join(f"{i * 7919 % 101}\n" for i in range(3000)))
    (top / "Makefile").write_text(
        "all: a b c\na b c:\n\t@sleep 0.0$(words $@); echo $@ > $@.out; echo $@\n"
    )


CASES = [replace(case, prepare=tree) for case in CASES_OF_TREE]

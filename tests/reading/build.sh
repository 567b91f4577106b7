# SPDX-License-Identifier: Apache-2.0
# What docs/log.md and docs/sql.md look at: reads, writes, deletes, misses, connects, and ends well.
mkdir out
cat /etc/hostname input.txt > out/report.txt
echo "a few notes" > notes.txt
cat notes.txt out/report.txt | sort > sorted.txt
mv sorted.txt out/sorted.txt
rm notes.txt
mkdir out 2>/dev/null
"$SAMPLE" alone
sh -c 'exit 0'
exit 0

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One who puts what is in the ring back into the socket is killed in the middle of it: some of the bytes are there
 * already, and nobody has said so. Who reads has each of them once.
 *
 *   poured pair|tcp BYTES OF silent|counted
 */
#define _GNU_SOURCE

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "links.h"
#include "rings.h"

static void is_killed(int fd, long there, long all, int is_counted)
{
	static char data[65536];
	struct stream_ring *ring;
	char byte;
	int way;

	for (int i = 0; i < 20; i++)
		must(read(fd, &byte, 1) == 1 && write(fd, &byte, 1) == 1, "play");
	must(find_rings(&ring, 1) == 1, "there is no ring");
	for (int i = 0; i < 2; i++)
		while (*(volatile uint32_t *)&ring->ways[i].head != ring->ways[i].tail)
			usleep(1000);
	for (long i = 0; i < all; i++)
		data[i] = (char)(i % 251);
	must(write(fd, data, (size_t)all) == all, "write");
	way = ring->ways[0].tail - ring->ways[0].head == (uint32_t)all ? 0 : 1;
	must(ring->ways[way].tail - ring->ways[way].head == (uint32_t)all, "it is not in the ring");
	ring->ways[way].poured_from = ring->ways[way].from;
	ring->ways[way].poured_head = ring->ways[way].head;
	ring->ways[way].is_back = ring->ways[way].is_poured = 1;
	must(!there || write(fd, data, (size_t)there) == there, "write by the kernel");
	ring->ways[way].pouring = (uint32_t)all;
	if (is_counted)
		ring->ways[way].from += (uint64_t)there;
	ring->ways[way].read_lock = ring->ways[way].send_lock = (uint32_t)getpid();
	kill(getpid(), SIGKILL);
}

int main(int argc, char **argv)
{
	long there, all, got = 0, r;
	static char data[3000];
	int fd, status;
	pid_t child;

	must(argc > 4, "usage: poured KIND BYTES OF HOW");
	there = atol(argv[2]);
	all = atol(argv[3]);
	child = connected(argv[1], &fd, &fd);
	if (!child)
		is_killed(fd, there, all, !strcmp(argv[4], "counted"));
	for (int i = 0; i < 20; i++)
		must(write(fd, "x", 1) == 1 && read(fd, data, 1) == 1, "play");
	must(waitpid(child, &status, 0) == child && WIFSIGNALED(status), "wait");
	while ((r = read(fd, data, sizeof data)) > 0)
		for (long i = 0; i < r; i++, got++)
			must(data[i] == (char)(got % 251), "another byte than was sent");
	printf("%ld bytes, then %ld\n", got, r);
	return 0;
}

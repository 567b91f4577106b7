/* SPDX-License-Identifier: Apache-2.0 */
/* What a test program may know of the rings that the agent has mapped into it: where they are, what went through. */
#ifndef LSCA_TEST_RINGS_H
#define LSCA_TEST_RINGS_H

#include "streams.h"

#include <stdio.h>
#include <string.h>

/* The rings of this process; natively none. */
static inline int find_rings(struct stream_ring **to, int most)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	int n = 0;

	while (f && fgets(line, sizeof line, f)) {
		unsigned long from;

		if (strstr(line, "/lsca-stream-") && sscanf(line, "%lx-", &from) == 1 && n < most)
			to[n++] = (struct stream_ring *)from;
	}
	if (f)
		fclose(f);
	return n;
}

/* To standard error, which is not compared: actor, rings, bytes that went through them each way. */
static inline void say_rings(int actor)
{
	struct stream_ring *rings[64];
	int n = find_rings(rings, 64);
	unsigned long bytes[2] = {0, 0};

	for (int i = 0; i < n; i++)
		for (int way = 0; way < 2; way++)
			bytes[way] += rings[i]->ways[way].tail;
	fprintf(stderr, "rings %d %d %lu %lu\n", actor, n, bytes[0], bytes[1]);
}

#endif

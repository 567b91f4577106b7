/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What native/shared/rules.h makes of patterns and numbers, for test_same.py to compare with Python's: lines "glob
 * PATTERN TEXT" (no spaces within) and "chance SEED NUMBER" are answered by one line each.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "rules.h"

int main(void)
{
	char line[4096], a[2048], b[2048];

	while (fgets(line, sizeof line, stdin)) {
		uint64_t seed, number;

		if (sscanf(line, "glob %2047s %2047s", a, b) == 2)
			printf("%d\n", rules_glob(a, strlen(a), b, strlen(b)));
		else if (sscanf(line, "chance %" SCNu64 " %" SCNu64, &seed, &number) == 2)
			printf("%" PRIu32 "\n", rules_chance(seed, number));
		else
			return 1;
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Areas whose launcher is gone, and looks into those whose launcher is not: recover.c. */
#ifndef LSCA_RECOVER_H
#define LSCA_RECOVER_H

#include "drain.h"

enum { RECOVER_TEXT = 2400 };

enum recover_state {
	RECOVER_DONE,   /* all is in the file, the area is gone */
	RECOVER_ALIVE,  /* programs still write: what is there is in the file, the rest is for another time */
	RECOVER_OWNED,  /* somebody is responsible for it */
	RECOVER_FAILED, /* see the text; the area is still there */
};

/* One area that was found, by name within area_directory. */
struct recovered {
	enum recover_state state;
	uint64_t rows; /* brought into the file */
	char output[2048];
	char text[RECOVER_TEXT];
};

/* `output`: another file than the one that the area names; NULL: that one. */
void recover_area(const char *name, const char *output, struct recovered *r);
int recover_open(const char *name); /* to read it: descriptor or negative errno */
/* All that a flight recorder or any other run has in memory right now, as a log of its own. 0 or -errno. */
int recover_dump(const char *name, int fd, uint64_t *rows);

#endif

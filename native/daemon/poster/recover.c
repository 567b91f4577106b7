/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes what was left posted by runs of which everybody was killed at once: front, launcher, poster and program. Their
 * memory is still there, and nobody has locked it. Called by `lsca run --post`, `lsca log --recover` and the daemon.
 */
#include "poster.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "launch.h"

static int finish(int fd, struct post_left *to)
{
	struct post_head *h = post_open(fd);
	struct stat st;

	if (!h || fstat(fd, &st) || st.st_uid != geteuid() || h->magic != POST_MAGIC || h->version != POST_VERSION) {
		post_close(h);
		return 0;
	}
	to->bytes = h->recovered;
	to->lost = h->lost;
	to->is_done = poster_finish(fd);
	to->bytes = h->recovered - to->bytes;
	to->lost = h->lost - to->lost;
	post_close(h);
	return 1;
}

int post_recover(struct post_left *to, int most)
{
	DIR *dir = opendir(area_directory);
	char want[64], path[320];
	struct dirent *e;
	int n = 0;

	snprintf(want, sizeof want, "%s-%u-", POST_NAME, (unsigned)getuid());
	while (dir && n < most && (e = readdir(dir))) {
		int fd;

		if (strncmp(e->d_name, want, strlen(want)) || strlen(e->d_name) >= sizeof to->name)
			continue;
		snprintf(path, sizeof path, "%s/%s", area_directory, e->d_name);
		fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (fd < 0)
			continue;
		memset(&to[n], 0, sizeof to[n]);
		strcpy(to[n].name, e->d_name);
		if (!flock(fd, LOCK_EX | LOCK_NB) && finish(fd, &to[n])) {
			if (to[n].is_done)
				post_remove(fd);
			n++;
		}
		close(fd);
	}
	if (dir)
		closedir(dir);
	return n;
}

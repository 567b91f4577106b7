// SPDX-License-Identifier: Apache-2.0
/* Sends itself three datagrams with one call, by its path, and receives them with one. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/un.h>

int main(void)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX}, from[3];
	struct iovec iov[3] = {{"a", 1}, {"b", 1}, {"c", 1}};
	struct mmsghdr m[3] = {0};
	char cwd[100], got[3][4] = {0};
	int s = socket(AF_UNIX, SOCK_DGRAM, 0), n;

	snprintf(to.sun_path, sizeof to.sun_path, "%s/many", getcwd(cwd, sizeof cwd));
	bind(s, (void *)&to, sizeof to);
	for (int i = 0; i < 3; i++)
		m[i].msg_hdr = (struct msghdr){&to, sizeof to, iov + i, 1, NULL, 0, 0};
	n = sendmmsg(s, m, 3, 0);
	printf("sent %d %s %d\n", n, to.sun_path + strlen(cwd), (int)m[0].msg_hdr.msg_namelen);
	for (int i = 0; i < 3; i++) {
		iov[i] = (struct iovec){got[i], 4};
		m[i].msg_hdr.msg_name = from + i;
	}
	n = recvmmsg(s, m, 3, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++)
		printf("%s from %s, %d\n", got[i], from[i].sun_path + strlen(cwd),
		       (int)m[i].msg_hdr.msg_namelen - (int)strlen(cwd));
	return unlink("many");
}

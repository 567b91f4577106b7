/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sendmsg and recvmsg: gathering and scattering, names, truncation, passed descriptors
 * and credentials, many at once.
 */
#include "check.h"

#include <limits.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

static long send_fds(int socket, const int *fds, int count)
{
	char *control = tail_alloc(CMSG_SPACE(sizeof(int) * count));
	struct iovec data = {tail_copy("f", 1), 1};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control,
				 .msg_controllen = CMSG_SPACE(sizeof(int) * count)};
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int) * count);
	memcpy(CMSG_DATA(head), fds, sizeof(int) * count);
	return sendmsg(socket, tail_copy(&message, sizeof message), 0);
}

static int receive_fds(int socket, int *fds, int room, int flags)
{
	char byte, *control = tail_alloc(CMSG_SPACE(sizeof(int) * room));
	struct iovec data = {&byte, 1};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control,
				 .msg_controllen = CMSG_SPACE(sizeof(int) * room)};
	struct cmsghdr *head;
	int count = 0;

	report("recvmsg", recvmsg(socket, &message, flags));
	printf("flags: %x control: %lu\n", message.msg_flags, (unsigned long)message.msg_controllen);
	head = CMSG_FIRSTHDR(&message);
	if (head && head->cmsg_type == SCM_RIGHTS) {
		count = (int)((head->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(head), sizeof(int) * count);
	}
	printf("descriptors: %d\n", count);
	return count;
}

static void gathering(void)
{
	char one[3], two[4], rest[16];
	struct iovec out[3] = {{"abc", 3}, {NULL, 0}, {tail_copy("defgh", 5), 5}}, in[3] = {{one, 3},
			{two, 4}, {rest, 16}};
	struct msghdr message = {.msg_iov = tail_copy(out, sizeof out), .msg_iovlen = 3};
	int p[2];

	MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, p));
	report("sendmsg", sendmsg(p[0], &message, 0));
	message.msg_iov = tail_copy(in, sizeof in);
	report("recvmsg", recvmsg(p[1], &message, 0));
	check("scattered", !memcmp(one, "abc", 3) && !memcmp(two, "defg", 4) && rest[0] == 'h');
	message = (struct msghdr){.msg_iov = out, .msg_iovlen = 3};
	report("sendmsg again", sendmsg(p[0], &message, 0));
	message = (struct msghdr){.msg_iov = in, .msg_iovlen = 1};
	report("recvmsg cut", recvmsg(p[1], &message, 0));
	printf("flags: %x\n", message.msg_flags);
	message.msg_iovlen = IOV_MAX + 1;
	report("too many pieces", sendmsg(p[0], &message, 0));
	message = (struct msghdr){.msg_iov = nowhere(), .msg_iovlen = 1};
	report("pieces unmapped", sendmsg(p[0], &message, 0));
	report("message unmapped", sendmsg(p[0], nowhere(), 0));
	out[0].iov_base = nowhere();
	message = (struct msghdr){.msg_iov = out, .msg_iovlen = 3};
	report("data unmapped", sendmsg(p[0], &message, 0));
	message = (struct msghdr){0};
	report("no data at all", sendmsg(p[0], &message, 0));
	report("received", recvmsg(p[1], &message, MSG_DONTWAIT));
	report("EBADF", sendmsg(77, &message, 0));
	report("not a socket", recvmsg(1, &message, 0) == -1 ? -1 : 0);
	close(p[0]);
	close(p[1]);
}

static void passing(void)
{
	int p[2], fds[4], got[8], count, status;
	char buffer[16];
	pid_t child;

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
	child = fork();
	if (!child) {
		make_file("passed", "content of the file");
		fds[0] = MUST(open("passed", O_RDONLY));
		MUST(pipe(fds + 1));
		MUST(write(fds[2], "through the pipe", 16));
		lseek(fds[0], 11, SEEK_SET);
		send_fds(p[1], fds, 3);
		_exit(0);
	}
	count = receive_fds(p[0], got, 3, 0);
	for (int i = 0; i < count; i++)
		printf("descriptor %d\n", got[i]);
	reap("child", child);
	report("read the passed file", read(got[0], buffer, sizeof buffer));
	check("from where the child stood", !memcmp(buffer, "the file", 8));
	report("read the passed pipe", read(got[1], buffer, sizeof buffer));
	for (int i = 0; i < count; i++)
		close(got[i]);

	fds[0] = MUST(open("passed", O_RDONLY));
	fds[1] = fds[2] = fds[0];
	report("send", send_fds(p[1], fds, 1));
	receive_fds(p[0], got, 1, MSG_CMSG_CLOEXEC);
	report("MSG_CMSG_CLOEXEC", fcntl(got[0], F_GETFD));
	close(got[0]);
	/* Room for two descriptors only: cut, and no number is lost to a descriptor that nobody got. */
	report("send three", send_fds(p[1], fds, 3));
	count = receive_fds(p[0], got, 2, 0);
	status = dup(fds[0]);
	printf("next free number follows: %d\n", status == got[count - 1] + 1);
	for (int i = 0; i < count; i++)
		close(got[i]);
	close(status);
	report("send and receive plainly", send_fds(p[1], fds, 1));
	report("read drops them", read(p[0], buffer, 1));
	status = dup(fds[0]);
	printf("number: %d\n", status);
	close(status);
	fds[1] = 77;
	report("send a bad descriptor", send_fds(p[1], fds, 2));
	/* A pipe whose last write end is in a message that nobody reads. */
	MUST(pipe(got));
	report("send a pipe's end", send_fds(p[1], got + 1, 1));
	close(got[1]);
	close(p[0]);
	close(p[1]);
	report("end of file when the message is gone", read(got[0], buffer, 1));
	close(got[0]);
	close(fds[0]);
}

static void credentials(void)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct ucred who = {0};
	char byte = 'c';
	struct iovec data = {&byte, 1};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
				 .msg_controllen = sizeof control};
	int p[2], one = 1;

	MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, p));
	report("SO_PASSCRED", setsockopt(p[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof one));
	report("send", send(p[0], "c", 1, 0));
	report("recvmsg", recvmsg(p[1], &message, 0));
	check("credentials came", message.msg_controllen >= CMSG_LEN(sizeof who) &&
	      control.head.cmsg_type == SCM_CREDENTIALS);
	memcpy(&who, CMSG_DATA(&control.head), sizeof who);
	check("user", who.uid == getuid() && who.gid == getgid());
	close(p[0]);
	close(p[1]);
}

static void many(void)
{
	char text[3][8] = {"one", "three", "sixsix"}, room[4][8];
	struct iovec out[3], in[4];
	struct mmsghdr *sent = tail_alloc(3 * sizeof *sent), *got = tail_alloc(4 * sizeof *got);
	struct timespec timeout = {1, 0};
	int p[2];

	MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, p));
	memset(sent, 0, 3 * sizeof *sent);
	memset(got, 0, 4 * sizeof *got);
	for (int i = 0; i < 3; i++) {
		out[i] = (struct iovec){text[i], strlen(text[i])};
		sent[i].msg_hdr = (struct msghdr){.msg_iov = &out[i], .msg_iovlen = 1};
	}
	for (int i = 0; i < 4; i++) {
		in[i] = (struct iovec){room[i], i ? 8 : 2};
		got[i].msg_hdr = (struct msghdr){.msg_iov = &in[i], .msg_iovlen = 1};
	}
	report("sendmmsg", sendmmsg(p[0], sent, 3, 0));
	printf("lengths: %u %u %u\n", sent[0].msg_len, sent[1].msg_len, sent[2].msg_len);
	report("recvmmsg", recvmmsg(p[1], got, 4, MSG_DONTWAIT, &timeout));
	printf("lengths: %u %u %u\n", got[0].msg_len, got[1].msg_len, got[2].msg_len);
	printf("flags: %x %x\n", got[0].msg_hdr.msg_flags, got[1].msg_hdr.msg_flags);
	check("text", !memcmp(room[0], "on", 2) && !memcmp(room[1], "three", 5) && !memcmp(room[2], "sixsix", 6));
	report("recvmmsg nothing there", recvmmsg(p[1], got, 4, MSG_DONTWAIT, NULL));
	report("sendmmsg none", sendmmsg(p[0], sent, 0, 0));
	sent[1].msg_hdr.msg_iov = nowhere();
	report("sendmmsg second one bad", sendmmsg(p[0], sent, 3, 0));
	report("MSG_WAITFORONE", recvmmsg(p[1], got, 4, MSG_WAITFORONE, NULL));
	report("sendmmsg unmapped", sendmmsg(p[0], nowhere(), 1, 0));
	close(p[0]);
	close(p[1]);
}

int main(void)
{
	begin();
	gathering();
	passing();
	credentials();
	many();
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's own memory functions, and access to the program's memory, whose addresses come from the program and may
 * lead nowhere: the kernel copies (process_vm_readv on ourselves), so a bad address is a short count and not a fault.
 */
#include "agent.h"

void *memcpy(void *to, const void *from, unsigned long n)
{
	arch_copy(to, from, n);
	return to;
}

void *memset(void *to, int c, unsigned long n)
{
	for (volatile unsigned char *d = to; n; n--)
		*d++ = (unsigned char)c;
	return to;
}

int memcmp(const void *a, const void *b, unsigned long n)
{
	const unsigned char *x = a, *y = b;

	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

/* One copy between our memory and the program's. Splits at page ends only after a fault, to get all that is there. */
static uint64_t move(uint64_t nr, uint64_t ours, uint64_t theirs, uint64_t n)
{
	/* A vfork child has its parent's memory, so its parent's id will do. */
	uint64_t done = 0, pid = process_main.pid;

	if (!n)
		return 0;
	while (done < n) {
		uint64_t local[2] = {ours + done, n - done};
		uint64_t remote[2] = {theirs + done, n - done};
		int64_t r = GATE6(nr, pid, local, 1, remote, 1, 0);

		if (r == -ESRCH_) { /* the first thread is gone; any other one will do as well */
			pid = (uint64_t)GATE1(NR_gettid, 0);
			r = GATE6(nr, pid, local, 1, remote, 1, 0);
		}
		if (r > 0) {
			done += (uint64_t)r;
			continue;
		}
		/* A short copy stops at the page that is missing; one more try up to the end of this page. */
		local[1] = remote[1] = 4096 - ((theirs + done) & 4095);
		if (local[1] >= n - done)
			break;
		r = GATE6(nr, pid, local, 1, remote, 1, 0);
		if (r <= 0)
			break;
		done += (uint64_t)r;
	}
	return done;
}

uint64_t memory_read(void *to, uint64_t from, uint64_t n)
{
	return move(NR_process_vm_readv, (uint64_t)to, from, n);
}

uint64_t memory_write(uint64_t to, const void *from, uint64_t n)
{
	return move(NR_process_vm_writev, (uint64_t)from, to, n);
}

static uint64_t move_vector(uint64_t nr, uint64_t ours, const uint64_t (*iov)[2], uint32_t count, uint64_t n)
{
	uint64_t done = 0;

	for (uint32_t i = 0; i < count && done < n; i++) {
		uint64_t part = iov[i][1] < n - done ? iov[i][1] : n - done;
		uint64_t r = move(nr, ours + done, iov[i][0], part);

		done += r;
		if (r < part)
			break;
	}
	return done;
}

uint64_t memory_gather(void *to, const uint64_t (*iov)[2], uint32_t count, uint64_t n)
{
	return move_vector(NR_process_vm_readv, (uint64_t)to, iov, count, n);
}

uint64_t memory_scatter(const uint64_t (*iov)[2], uint32_t count, const void *from, uint64_t n)
{
	return move_vector(NR_process_vm_writev, (uint64_t)from, iov, count, n);
}

int64_t memory_string(char *to, uint64_t from, uint64_t room)
{
	uint64_t done = 0;

	while (done < room) {
		uint64_t part = 256 - ((from + done) & 255), got;

		if (part > room - done)
			part = room - done;
		got = memory_read(to + done, from + done, part);
		for (uint64_t i = 0; i < got; i++)
			if (!to[done + i])
				return (int64_t)(done + i);
		if (got < part)
			return -EFAULT_;
		done += got;
	}
	return -ENAMETOOLONG_;
}

void *memory_pages(uint64_t size)
{
	int64_t r = GATE6(NR_mmap, 0, size, 3, 0x22, -1, 0);

	return r < 0 && r > -4096 ? 0 : (void *)r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's own memory functions, and access to the program's memory, whose addresses come from the program and may
 * lead nowhere. Usually we just copy: SIGSEGV and SIGBUS are ours (signals.c), and a fault in copy_try() ends the copy.
 * Where the program blocks those signals a fault would be deadly. Then the kernel is asked about each page before we
 * copy, which only one thread alone may do; or the kernel copies (process_vm_readv on ourselves).
 */
#include "agent.h"

void *memcpy(void *to, const void *from, unsigned long n)
{
	arch_copy(to, from, n);
	return to;
}

void *memset(void *to, int c, unsigned long n)
{
	arch_fill(to, c, n);
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

int memory_may_fault(void)
{
	const struct thread *t = thread_here();

	return t && !t->no_fault && !t->process->no_fault && !(t->mask & SIG_FAULTS);
}

/* By a call that reads there and then refuses, since there is no such way to change a mask. 0 would be no address. */
static int can_read(uint64_t at)
{
	return GATE4(NR_rt_sigprocmask, 99, (at & ~4095ull) | 8, 0, 8) != -EFAULT_;
}

/* By an addition of 0. It wakes those who wait there, which nobody does. */
static int can_write(uint64_t at)
{
	const uint64_t wake_op = 5 | 128, add = 1ull << 28; /* private; nothing else is asked for */

	return GATE6(NR_futex, at & ~3ull, wake_op, 0, 0, at & ~3ull, add) != -EFAULT_;
}

/* To the end of its page at most: that is as far as the kernel was asked. */
static uint64_t page_part(uint64_t at, uint64_t n)
{
	uint64_t left = 4096 - (at & 4095);

	return n < left ? n : left;
}

static uint64_t read_asked(void *to, uint64_t from, uint64_t n)
{
	uint64_t done = 0, part;

	for (; done < n && can_read(from + done); done += part) {
		part = page_part(from + done, n - done);
		arch_copy((char *)to + done, (const void *)(from + done), part);
	}
	return done;
}

static uint64_t write_asked(uint64_t to, const void *from, uint64_t n)
{
	uint64_t done = 0, part;

	for (; done < n && can_write(to + done); done += part) {
		part = page_part(to + done, n - done);
		arch_copy((void *)(to + done), (const char *)from + done, part);
	}
	return done;
}

uint64_t memory_read(void *to, uint64_t from, uint64_t n)
{
	if (memory_may_fault())
		return n - copy_try(to, (const void *)from, n);
	if (thread_is_alone())
		return read_asked(to, from, n);
	return move(NR_process_vm_readv, (uint64_t)to, from, n);
}

uint64_t memory_write(uint64_t to, const void *from, uint64_t n)
{
	if (memory_may_fault())
		return n - copy_try((void *)to, from, n);
	if (thread_is_alone())
		return write_asked(to, from, n);
	return move(NR_process_vm_writev, (uint64_t)from, to, n);
}

uint64_t memory_gather(void *to, const uint64_t (*iov)[2], uint32_t count, uint64_t n)
{
	uint64_t done = 0;

	for (uint32_t i = 0; i < count && done < n; i++) {
		uint64_t part = iov[i][1] < n - done ? iov[i][1] : n - done;
		uint64_t r = memory_read((char *)to + done, iov[i][0], part);

		done += r;
		if (r < part)
			break;
	}
	return done;
}

uint64_t memory_scatter(const uint64_t (*iov)[2], uint32_t count, const void *from, uint64_t n)
{
	uint64_t done = 0;

	for (uint32_t i = 0; i < count && done < n; i++) {
		uint64_t part = iov[i][1] < n - done ? iov[i][1] : n - done;
		uint64_t r = memory_write(iov[i][0], (const char *)from + done, part);

		done += r;
		if (r < part)
			break;
	}
	return done;
}

int64_t memory_string(char *to, uint64_t from, uint64_t room)
{
	uint64_t done = 0;

	if (memory_may_fault())
		return string_try(to, (const char *)from, room);
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

/* Near the agent, if that is free: not where the program's own next mapping would be. */
void *memory_pages(uint64_t size)
{
	static uint64_t next;
	uint64_t near = (uint64_t)__ehdr_start - (1ull << 30) + __atomic_fetch_add(&next, size, __ATOMIC_RELAXED);
	int64_t r = GATE6(NR_mmap, near & ~4095ull, size, 3, 0x22, -1, 0);

	return r < 0 && r > -4096 ? 0 : (void *)r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the agent gets going when the launcher has put it in at an exec stop (as a library: join.c). Either way: find the
 * session, take SIGSYS, arm Syscall User Dispatch for this thread with a constant "block" and the one range from which
 * calls are let through.
 */
#include "births.h"
#include "post.h"

struct session *session;

/* The launcher fills this in before it starts agent_entry. */
__attribute__((visibility("default"))) struct agent_config agent_config = {.version = ABI_VERSION};

/* The linker's. */
extern const uint64_t _DYNAMIC[][2] HIDDEN;

enum { SCM_RIGHTS_ = 1, SOL_SOCKET_ = 1, MADV_POPULATE_WRITE_ = 23 };

_Static_assert(__builtin_offsetof(struct agent_config, flags) == 56 && AGENT_ALONE == 8, "begin.S");

void start_sigsys(void)
{
	struct sigaction sa = {(uint64_t)trap,
			       ON_SIGNAL_SIGINFO | ON_SIGNAL_ONSTACK | ON_SIGNAL_RESTORER | ON_SIGNAL_NODEFER,
			       (uint64_t)trap_restorer, MASK_FULL};

	GATE4(NR_rt_sigaction, SIGSYS_, &sa, 0, 8);
}

/* No selector: calls are always caught, except from the range. One byte more: see entry.S. */
int64_t start_capture(void)
{
	return gate(NR_prctl, 59, 1, (uint64_t)range_begin, (uint64_t)(range_end - range_begin) + 1, 0, 0);
}

/* `size`: 0 where nobody has told it. */
static int64_t map_session(int32_t fd, uint64_t size)
{
	struct session *s;

	if (!size) {
		int64_t r = GATE6(NR_mmap, 0, sizeof *s, 3, 1, fd, 0);

		if (r < 0 && r > -4096)
			return r;
		s = (struct session *)r;
		size = s->magic == SESSION_MAGIC && s->version == ABI_VERSION ? s->size : 0;
		GATE2(NR_munmap, s, sizeof *s);
		if (size < sizeof *s)
			return -EINVAL_;
	}
	/*
	 * Below us and not just where the program's next library would be; and so that what all look at comes with one
	 * fault, which brings what is there of 64 KiB.
	 */
	return GATE6(NR_mmap, ((uint64_t)__ehdr_start - size) & ~0xffffull, size, 3, 1, fd, 0);
}

char *start_decimal(char *to, uint32_t n)
{
	char digits[12];
	int len = 0;

	do
		digits[len++] = (char)('0' + n % 10);
	while (n /= 10);
	while (len)
		*to++ = digits[--len];
	return to;
}

char *start_append(char *to, const char *text)
{
	while (*text)
		*to++ = *text++;
	return to;
}

static int failed(int64_t r)
{
	return r < 0 && r > -4096;
}

static int64_t open_of(uint32_t pid, int32_t fd)
{
	char path[48], *p = path;

	p = start_append(p, "/proc/");
	p = start_decimal(p, pid);
	p = start_append(p, "/fd/");
	p = start_decimal(p, (uint32_t)fd);
	*p = 0;
	return GATE4(NR_openat, -100, path, 02000002, 0);
}

/* The launcher takes its end of a socket pair out of this process and sends the descriptors through it. */
static int64_t receive_descriptors(int32_t *area)
{
	int32_t pair[2], *got;
	uint64_t control[4] = {0}, byte, iov[2] = {(uint64_t)&byte, 1};
	struct {
		uint64_t name;
		uint32_t name_len, pad;
		uint64_t iov, iov_len, control, control_len;
		uint32_t flags, pad2;
	} m = {0, 0, 0, (uint64_t)iov, 1, (uint64_t)control, sizeof control, 0, 0};
	int64_t r = GATE4(NR_socketpair, 1, 02000001, 0, pair);

	if (r < 0)
		return r;
	agent_config.socket = pair[1];
	launcher_stop(STOP_SOCKET, &agent_config);
	GATE1(NR_close, pair[1]);
	r = GATE3(NR_recvmsg, pair[0], &m, 0);
	GATE1(NR_close, pair[0]);
	if (r < 0)
		return r;
	got = (int32_t *)control;
	if (m.control_len < 20 || got[2] != SOL_SOCKET_ || got[3] != SCM_RIGHTS_)
		return -EIO_;
	if (control[0] >= 24)
		*area = got[5];
	return got[4];
}

static void fail(int64_t error, uint32_t line)
{
	agent_config.error = (int32_t)error;
	agent_config.where = line;
	for (;;)
		launcher_stop(STOP_FAILED, &agent_config);
}

/* Nobody else does it where the agent's file is mapped as it is. There are no relocations of any other kind. */
static void relocate(void)
{
	uint64_t base = (uint64_t)__ehdr_start, from = 0, size = 0;

	for (const uint64_t (*d)[2] = _DYNAMIC; (*d)[0]; d++) {
		if ((*d)[0] == 7) /* DT_RELA */
			from = base + (*d)[1];
		else if ((*d)[0] == 8) /* DT_RELASZ */
			size = (*d)[1];
	}
	for (const uint64_t (*r)[3] = (const void *)from; size >= sizeof *r; r++, size -= sizeof *r)
		if ((*r)[1] == ARCH_RELATIVE)
			*(uint64_t *)(base + (*r)[0]) = base + (*r)[2];
}

/* The session; and the area, without which the log has nothing of us but how many records are lost. */
static int64_t find_memory(struct agent_config *cfg)
{
	int64_t fd = cfg->session_fd >= 0 ? cfg->session_fd : open_of(cfg->launcher, cfg->remote);
	int64_t area = cfg->area >= 0 ? open_of(cfg->launcher, cfg->area) : -1;
	int64_t r = fd < 0 ? fd : map_session((int32_t)fd, cfg->session_size);
	int32_t sent = -1;

	if (failed(r) || (area < 0 && cfg->area >= 0)) {
		int64_t other = receive_descriptors(&sent);

		cfg->flags |= AGENT_APART;
		if (failed(r)) {
			if (fd >= 0 && cfg->session_fd < 0)
				GATE1(NR_close, fd);
			fd = other;
			r = fd < 0 ? fd : map_session((int32_t)fd, cfg->session_size);
		} else if (other >= 0) {
			GATE1(NR_close, other);
		}
		if (area < 0)
			area = sent;
		else if (sent >= 0)
			GATE1(NR_close, sent);
	}
	if (failed(r))
		return r;
	session = (struct session *)r;
	if (area >= 0) {
		chunk_map_area(area, cfg->flags & AGENT_QUIET);
		GATE1(NR_close, area);
	}
	fd = cfg->lifeline < 0 ? fd : -1;
	if (fd >= 0)
		GATE1(NR_close, fd);
	fd = cfg->post >= 0 ? open_of(cfg->launcher, cfg->post) : -1;
	if (fd >= 0) {
		post_map(fd);
		GATE1(NR_close, fd);
		if (post_head && !(cfg->flags & AGENT_QUIET))
			post_inherit();
	}
	return 0;
}

/*
 * Called by agent_entry with all signals blocked and the launcher attached, or by agent_alone with neither. `told`: the
 * launcher's word lies elsewhere, and the agent is as its file has it; NULL: the launcher has put everything in its
 * place.
 */
HIDDEN void start_injected(const struct agent_config *told)
{
	struct agent_config *cfg = &agent_config;
	struct process_self *p = &process_main;
	uint64_t all = ~0ull, data = (uint64_t)_DYNAMIC & ~4095ull;
	int64_t r;
	struct thread *t;

	/* We shall write to all of these, and one by one they cost more. */
	GATE3(NR_madvise, data, (uint64_t)warm_end - data, MADV_POPULATE_WRITE_);
	if (told) {
		relocate();
		*cfg = *told;
	} else {
		cfg->flags |= AGENT_APART;
	}
	if (cfg->flags & AGENT_ALONE)
		GATE4(NR_rt_sigprocmask, 2, &all, &cfg->mask, 8);
	r = find_memory(cfg);
	if (failed(r))
		fail(r, __LINE__);
	dispatch_setup();
	sites_setup(cfg->flags);
	signal_inherit();
	start_sigsys();
	p->pid = (uint32_t)GATE1(NR_getpid, 0);
	p->entry = PROCESSES;
	p->lifeline = -1;
	t = thread_add(p);
	if (!t)
		fail(-ENOMEM_, __LINE__);
	signal_own_stack(t, 0);
	t->mask = cfg->mask & ~SIG_BIT(SIGSYS_);
	t->sys_blocked = !!(cfg->mask & SIG_BIT(SIGSYS_));
	thread_admit(t);
	if (cfg->lifeline >= 0) {
		r = delegate_attach(p, t, cfg->lifeline, cfg->channel, cfg->slot);
		if (r < 0)
			fail(r, __LINE__);
		p->entry = p->channel->process;
		if (cfg->by_exec)
			delegate_op(t, OP_EXECED, 0, 0);
	} else {
		p->entry = life_entry(p->pid);
		if (p->entry == PROCESSES)
			life_enter(p, cfg->parent);
	}
	stream_begun(p, !!(cfg->flags & AGENT_JOINED));
	record_event(t, RECORD_START, 2, cfg->parent, cfg->by_exec);
	if (cfg->flags & AGENT_JOINED) {
		event_argv(t, (const uint64_t *)cfg->sp);
		event_all(t, !!(cfg->flags & AGENT_FEW));
	}
	r = start_capture();
	if (r < 0)
		fail(r, __LINE__);
	if (cfg->flags & AGENT_ALONE)
		alone_leave(t);
	for (;;)
		launcher_stop(STOP_READY, &agent_config);
}

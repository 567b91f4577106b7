/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile requests for the proxy: test_execute [SEED [ITERATIONS]]. Requests are made as the agent makes them, then
 * bent; in place of the kernel stands a checker that scribbles over the shared payload (the program can do that at any
 * time) and then goes where the kernel would go: every pointer, for the length that the row and the final arguments
 * give, inside messages too. Everything it reaches must be the request's own payload, or the proxy's private copies
 * where the payload could change under the kernel's eyes. The same seed makes the same requests.
 * Longer than 500 lines because whoever makes a request and whoever checks its execution know the same rules.
 */
#include <stdarg.h>
#include <time.h>
#include <unistd.h>

#include "proxy/proxy.h"

/* Two of its names mean something else here: the only call it makes by itself, and how large its scratch is. */
static long only_close_range(long nr, ...);
static uint64_t scratch_size;
#define syscall only_close_range
#define SCRATCH scratch_size
#include "proxy/execute.c"
#undef syscall

enum { ITERATIONS = 300000, SECONDS = 20, POOL = 1 << 20, RANGES = 32, ROOM_MOST = 400000, NOWHERE = 1 };

struct session *session;
struct channel *channel;
int hidden = 900;

static struct request sent; /* what execute_call was given, before it touched it */
static const struct call_row *row;
static uint64_t state, iteration, reached, kernel_len[CALL_ARGS];
static uint8_t pool[POOL];
static uint32_t cancel;
static struct worker worker;
static int interruptions, interrupted; /* an interrupted call leaves memory as it was */

static struct {
	uint64_t at, len;
} used[RANGES];
static int used_count;

static uint64_t seed;

static void die(const char *what, int arg, uint64_t value)
{
	printf("test_execute: seed %llu, iteration %llu: call %u argument %d: %s (%#llx)\n", (unsigned long long)seed,
	       (unsigned long long)iteration, sent.nr, arg, what, (unsigned long long)value);
	fflush(stdout);
	abort();
}

/* ---- chance ------------------------------------------------------------------------------------------------------ */

static uint64_t chance(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static uint64_t below(uint64_t n)
{
	return n ? (chance() >> 11) % n : 0;
}

static uint64_t any_number(void)
{
	switch (below(10)) {
	case 0:
		return chance();
	case 1:
		return 1ull << below(64);
	case 2:
		return (1ull << below(64)) - 1;
	case 3:
		return 0 - below(4);
	case 4:
		return PACK_MAX - 1 + below(3);
	case 5:
		return (uint64_t)hidden;
	case 6:
		return below(4096);
	default:
		return below(12);
	}
}

static uint32_t any_offset(uint64_t room)
{
	switch (below(8)) {
	case 0:
		return (uint32_t)chance();
	case 1:
		return (uint32_t)(0 - below(40));
	case 2:
		return 0x80000000u - 1 + (uint32_t)below(3);
	case 3:
		return (uint32_t)below(70000);
	default:
		return (uint32_t)(room - 40 + below(80));
	}
}

static void fill(uint8_t *to, uint64_t n)
{
	while (n) {
		uint64_t at = below(POOL), part = POOL - at < n ? POOL - at : n;

		memcpy(to, pool + at, part);
		to += part;
		n -= part;
	}
}

/* ---- the kernel's place ------------------------------------------------------------------------------------------ */

static int within(uint64_t at, uint64_t len, const uint8_t *base, uint64_t size)
{
	return at >= (uint64_t)base && len <= size && at - (uint64_t)base <= size - len;
}

/* The kernel gets `len` bytes at `at`. `ours`: it must be a copy that the program cannot change. */
static void reach(int arg, uint64_t at, uint64_t len, int ours, int writes)
{
	volatile uint8_t *bytes = (volatile uint8_t *)at;

	if (!len)
		return;
	if (within(at, len, sent.payload, sent.room)) {
		if (ours)
			die("the program could change it while the kernel reads", arg, at);
	} else if (!within(at, len, worker.scratch, SCRATCH)) {
		die("the kernel would leave the payload", arg, len);
	}
	for (int i = 0; i < used_count; i++)
		if (at < used[i].at + used[i].len && used[i].at < at + len && !within(at, len, sent.payload, sent.room))
			die("two arguments share their copy", arg, at);
	if (used_count == RANGES)
		die("too many ranges", arg, 0);
	used[used_count].at = at;
	used[used_count++].len = len;
	for (uint64_t i = 0; i < len; i++) {
		uint8_t b = bytes[i];

		if (writes && !interrupted)
			bytes[i] = (uint8_t)(b ^ i);
	}
}

/* A structure that must be neither the program's nor anything but whole. */
static void load(int arg, void *to, uint64_t at, uint64_t len)
{
	if (at + len > (uint64_t)sent.payload && at < (uint64_t)sent.payload + sent.room)
		die("a structure lies in shared memory", arg, at);
	memcpy(to, (const void *)at, len);
}

static void answer_control(struct msghdr *m)
{
	struct {
		struct cmsghdr head;
		struct ucred who;
	} c = {{sizeof c.head + sizeof c.who, SOL_SOCKET, SCM_CREDENTIALS}, {7, 0, 0}};
	uint64_t most = m->msg_controllen;

	if (m->msg_control && most)
		memcpy(m->msg_control, &c, most < sizeof c ? most : sizeof c);
	m->msg_controllen = below(2) ? most : below(most + 1);
}

static void reach_message(int arg, uint64_t at, int out)
{
	struct msghdr m;
	struct iovec iov;

	load(arg, &m, at, sizeof m);
	if (m.msg_namelen > 128 || m.msg_controllen > 65536)
		die("a message's lengths were not checked", arg, m.msg_controllen);
	if (m.msg_name)
		reach(arg, (uint64_t)m.msg_name, m.msg_namelen, 1, out);
	if (m.msg_control)
		reach(arg, (uint64_t)m.msg_control, m.msg_controllen, 1, out);
	if (!m.msg_control && m.msg_controllen)
		die("control data of a length, but nowhere", arg, m.msg_controllen);
	if (m.msg_iovlen != 1)
		die("more than one buffer", arg, m.msg_iovlen);
	load(arg, &iov, (uint64_t)m.msg_iov, sizeof iov);
	reach(arg, (uint64_t)iov.iov_base, iov.iov_len, 0, out);
	kernel_len[arg] = iov.iov_len;
	if (out && !interrupted) {
		struct msghdr *back = (struct msghdr *)at;

		answer_control(back);
		back->msg_namelen = m.msg_name ? (uint32_t)below(129) : 0;
		back->msg_flags = (int)chance();
	}
}

static void reach_string(int arg, uint64_t at)
{
	uint64_t n = 0;

	if (!within(at, 1, worker.scratch, SCRATCH))
		die("a string that is not a copy", arg, at);
	while (within(at, n + 1, worker.scratch, SCRATCH) && ((const char *)at)[n])
		n++;
	if (n > 2 * PACK_STRING)
		die("a string without an end", arg, n);
	reach(arg, at, n + 1, 1, 0);
}

/* How many bytes the kernel takes for plain memory, by the arguments that it got. */
static uint64_t taken(int i, const uint64_t *args, uint8_t *kind)
{
	const struct call_arg *arg = &row->args[i];
	const struct ioctl_row *found;
	unsigned __int128 n;
	uint32_t deref;

	*kind = arg->kind;
	if (arg->kind == ARG_FCNTL || arg->kind == ARG_IOCTL) {
		found = arg->kind == ARG_FCNTL ? pack_fcntl((uint32_t)args[arg->len_arg])
					       : pack_ioctl((uint32_t)args[arg->len_arg]);
		*kind = found ? found->kind : (uint8_t)ARG_VALUE;
		if (!found && arg->kind == ARG_IOCTL)
			die("an ioctl that no row describes", i, args[arg->len_arg]);
		return found ? found->size : 0;
	}
	switch (arg->length) {
	case LEN_ARG:
		n = (unsigned __int128)arg->size * args[arg->len_arg];
		return n > PACK_MAX ? PACK_MAX : (uint64_t)n;
	case LEN_DEREF:
		if (args[arg->len_arg] <= NOWHERE)
			return 0;
		load(arg->len_arg, &deref, args[arg->len_arg], 4);
		return (int32_t)deref < 0 ? 0 : deref;
	case LEN_FDSET:
		return (int32_t)args[arg->len_arg] < 0 ? 0 : ((uint64_t)(uint32_t)args[arg->len_arg] + 63) / 64 * 8;
	}
	return arg->size;
}

static void reach_argument(int i, const uint64_t *args)
{
	const struct call_arg *arg = &row->args[i];
	struct iovec iov;
	uint64_t len;
	uint8_t kind;

	if (arg->kind == ARG_FD && (int)args[i] == hidden)
		die("the hidden descriptor", i, args[i]);
	if (arg->kind >= ARG_STRING && arg->kind != ARG_FCNTL && arg->kind != ARG_IOCTL && args[i] <= NOWHERE) {
		if (args[i] && sent.extents[i].len != EXTENT_BAD)
			die("an address out of nowhere", i, args[i]);
		return;
	}
	len = taken(i, args, &kind);
	if (!pack_is_pointer(kind)) {
		uint64_t want = sent.args[i];

		for (int k = 0; k < row->nargs; k++) {
			const struct call_arg *other = &row->args[k];

			if ((other->kind == ARG_IOV_IN || other->kind == ARG_IOV_OUT) && other->len_arg == i &&
			    args[k] > NOWHERE)
				want = 1;
		}
		if (sent.nr == SYS_unshare)
			want &= ~0x400ull;
		if (args[i] != want)
			die("a number has changed", i, args[i]);
		return;
	}
	if (args[i] == (sent.extents[i].len == EXTENT_BAD ? NOWHERE : 0))
		return;
	if (sent.extents[i].len >= EXTENT_BAD)
		die("NULL has become an address", i, args[i]);
	switch (kind) {
	case ARG_STRING:
		reach_string(i, args[i]);
		return;
	case ARG_IN:
	case ARG_OUT:
	case ARG_INOUT:
		kernel_len[i] = len;
		reach(i, args[i], len, kind != ARG_OUT && arg->length != LEN_ARG && len <= 65536, kind != ARG_IN);
		return;
	case ARG_IOV_IN:
	case ARG_IOV_OUT:
		load(i, &iov, args[i], sizeof iov);
		kernel_len[i] = iov.iov_len;
		reach(i, (uint64_t)iov.iov_base, iov.iov_len, 0, kind == ARG_IOV_OUT);
		return;
	case ARG_MSG_IN:
	case ARG_MSG_OUT:
		reach_message(i, args[i], kind == ARG_MSG_OUT);
		return;
	}
	die("an address that only the program can use", i, args[i]);
}

/* Directory entries as the kernel would write them, or as the program would bend them. */
static void write_entries(uint8_t *to, uint64_t n)
{
	for (uint64_t at = 0; at + 24 < n;) {
		uint16_t len = (uint16_t)(below(16) ? 24 + 8 * below(4) : below(300));

		memcpy(to + at + 16, &len, 2);
		snprintf((char *)to + at + 19, 5, "%d", below(3) ? (int)below(1000) : hidden);
		if (len < 20)
			break;
		at += len;
	}
}

/* A result that the kernel could have given. */
static int64_t result(const uint64_t *args)
{
	uint64_t most = 1000;

	switch (below(8)) {
	case 0:
		return cancel ? -NOT_MADE : -EAGAIN;
	case 1:
		return -(int64_t)(EINTR + 1 + below(120));
	}
	for (int i = 0; i < row->nargs; i++) {
		const struct call_arg *arg = &row->args[i];
		uint64_t n = arg->size ? kernel_len[i] / arg->size : kernel_len[i];

		if (arg->kind >= ARG_STRING && (arg->flags & ARG_FILLED || arg->kind == ARG_MSG_OUT) && n < most)
			most = n;
	}
	if (sent.nr == SYS_getdents64) {
		if (args[1] <= NOWHERE)
			return -EFAULT;
		most = kernel_len[1];
		write_entries((uint8_t *)args[1], most);
	}
	return (int64_t)(below(2) ? most : below(most + 1));
}

/* Commands of fcntl that lead to memory: never to be passed on as a number. */
static int fcntl_points(uint64_t command)
{
	switch ((uint32_t)command) {
	case F_GETLK: case F_SETLK: case F_SETLKW: case F_OFD_GETLK: case F_OFD_SETLK: case F_OFD_SETLKW:
	case F_SETOWN_EX: case F_GETOWN_EX: case 17 /* F_GETOWNER_UIDS */:
	case F_GET_RW_HINT: case F_SET_RW_HINT: case F_GET_FILE_RW_HINT: case F_SET_FILE_RW_HINT:
		return 1;
	}
	return 0;
}

int64_t cancellable(uint64_t nr, const uint64_t *args)
{
	reached++;
	used_count = 0;
	if (nr != sent.nr)
		die("another call than was asked for", -1, nr);
	if (row->runs != RUNS_ANYWHERE && row->runs != RUNS_BOTH)
		die("a call that is not for the proxy", -1, row->runs);
	if (nr == SYS_fcntl && fcntl_points(args[1]) && !pack_fcntl((uint32_t)args[1]))
		die("fcntl: a pointer is taken for a number", 2, args[1]);
	interrupted = !interruptions && !below(8);
	interruptions += interrupted;
	memset(kernel_len, 0, sizeof kernel_len);
	if (below(2))
		fill(sent.payload, sent.room < 2048 ? sent.room : 2048);
	if (!below(16))
		fill(sent.payload, sent.room);
	for (int i = 0; i < row->nargs; i++)
		reach_argument(i, args);
	return !interrupted ? result(args) : below(2) ? -EINTR : -NOT_MADE;
}

/* The only call that execute.c makes by itself. */
static long only_close_range(long nr, ...)
{
	uint32_t first, last;
	va_list list;

	va_start(list, nr);
	first = va_arg(list, uint32_t);
	last = va_arg(list, uint32_t);
	va_end(list);
	if (nr != SYS_close_range || first > last || (first <= (uint32_t)hidden && last >= (uint32_t)hidden))
		die("close_range reaches the hidden descriptor", 0, first);
	return 0;
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static const char *const strings[] = {
	"", "/", "/etc/hostname", "/proc/self", "/proc/self/", "/proc/self/fd", "/proc/self/fd/3",
	"/proc/self/fdinfo/3", "/proc/self/maps", "/proc/thread-self/status", "/proc/selfish", "/proc/",
	"/proc/1234/fd/7", "/proc/1234/maps",
	"/proc/1234", "/proc/12345/fd", "relative/path", "user.attribute",
};

static uint16_t callable[CALL_LIMIT], with_memory[CALL_LIMIT];
static uint32_t callable_count, with_memory_count;

static void list_calls(void)
{
	for (uint16_t nr = 0; nr < CALL_LIMIT; nr++) {
		const struct call_row *r = &call_rows[nr];

		if (!(r->flags & CALL_KNOWN) || (r->runs != RUNS_ANYWHERE && r->runs != RUNS_BOTH))
			continue;
		callable[callable_count++] = nr;
		for (int i = 0; i < r->nargs; i++)
			if (r->args[i].length == LEN_DEREF || r->args[i].kind >= ARG_IOV_IN) {
				with_memory[with_memory_count++] = nr;
				break;
			}
	}
}

static uint16_t any_call(void)
{
	if (!below(16))
		return (uint16_t)(below(4) ? below(CALL_LIMIT) : chance());
	return below(3) ? callable[below(callable_count)] : with_memory[below(with_memory_count)];
}

static void any_arguments(void)
{
	for (int i = 0; i < CALL_ARGS; i++)
		sent.args[i] = any_number();
	for (int i = 0; row && i < row->nargs; i++) {
		const struct call_arg *arg = &row->args[i];

		if ((arg->length == LEN_ARG || arg->length == LEN_FDSET) && below(8))
			sent.args[arg->len_arg] = below(below(4) ? 512 : 80000);
		if (arg->kind == ARG_FCNTL && below(8))
			sent.args[arg->len_arg] = below(2) ? fcntl_rows[below(fcntl_count)].request : below(40);
		if (arg->kind == ARG_IOCTL && below(8))
			sent.args[arg->len_arg] = ioctl_rows[below(ioctl_count)].request;
	}
}

/* A flat message with all its parts; returns its length, 0: no room. */
static uint64_t put_message(uint8_t *to, uint64_t room)
{
	struct flat_msg head = {.name_len = (uint32_t)below(below(16) ? 129 : 400),
				.control_len = (uint32_t)(8 * below(below(2) ? 5 : 40)),
				.data_len = (uint32_t)below(3000), .has_name = !!below(3), .has_control = !!below(3)};
	uint64_t need;

	if (!head.has_name)
		head.name_len = 0;
	if (!head.has_control)
		head.control_len = 0;
	need = sizeof head + head.name_len + head.control_len + head.data_len;
	if (need > room)
		return 0;
	memcpy(to, &head, sizeof head);
	to += sizeof head + head.name_len;
	for (uint32_t at = 0; at + sizeof(struct cmsghdr) <= head.control_len;) {
		struct cmsghdr c = {below(4) ? 16 + 4 * below(6) : any_number(), SOL_SOCKET, (int)below(4)};

		memcpy(to + at, &c, sizeof c);
		at += 16 + 8 * (uint32_t)below(3);
	}
	return need;
}

static void put_argument(int i, uint64_t *at, uint32_t deref)
{
	struct extent *e = &sent.extents[i];
	struct shape s = pack_shape(row, i, sent.args, deref);
	uint64_t left = sent.room > *at ? sent.room - *at : 0;
	const char *text;

	e->off = (uint32_t)*at;
	e->len = (uint32_t)s.len;
	if (!below(12)) {
		e->len = below(2) ? EXTENT_NULL : EXTENT_BAD;
		return;
	}
	switch (s.kind) {
	case ARG_STRING:
		text = strings[below(sizeof strings / sizeof *strings)];
		e->len = (uint32_t)strlen(text) + 1;
		if (e->len <= left)
			memcpy(sent.payload + *at, text, e->len);
		if (!below(16))
			e->len = (uint32_t)below(PACK_STRING + 3);
		break;
	case ARG_IOV_IN:
	case ARG_IOV_OUT:
		e->len = (uint32_t)below(4000);
		break;
	case ARG_MSG_IN:
	case ARG_MSG_OUT:
		e->len = (uint32_t)put_message(sent.payload + *at, left);
		break;
	case ARG_IN:
	case ARG_OUT:
	case ARG_INOUT:
		for (int k = 0; k < row->nargs; k++)
			if (row->args[k].length == LEN_DEREF && row->args[k].len_arg == i && left >= 4)
				memcpy(sent.payload + *at, &deref, 4);
		break;
	default:
		e->len = EXTENT_NULL;
		return;
	}
	*at = (*at + e->len + 7) & ~7ull;
}

static void bend(void)
{
	uint64_t n = 1 + below(3);

	while (n--) {
		uint32_t i = (uint32_t)below(CALL_ARGS);
		uint32_t value = any_offset(sent.room);

		switch (below(5)) {
		case 0:
			sent.extents[i].off = value;
			break;
		case 1:
			sent.extents[i].len = value;
			break;
		case 2:
			sent.args[i] = any_number();
			break;
		default: /* a 32-bit field somewhere near an argument's beginning */
			if (sent.extents[i].off + 64ull < sent.room)
				memcpy(sent.payload + sent.extents[i].off + 4 * below(12), &value, 4);
		}
	}
}

static void make_request(void)
{
	uint32_t deref = (uint32_t)(below(4) ? below(300) : below(4) ? below(200000) : chance());
	uint64_t at = 8 * below(3);

	memset(&sent, 0, sizeof sent);
	sent.nr = any_call();
	sent.op = OP_CALL;
	sent.ttystop = (uint32_t)chance();
	row = sent.nr < CALL_LIMIT && call_rows[sent.nr].flags & CALL_KNOWN ? &call_rows[sent.nr] : 0;
	sent.room = below(8) ? (uint64_t)SLOT_INLINE : 1 + below(below(8) ? 20000 : ROOM_MOST);
	sent.payload = malloc(sent.room);
	fill(sent.payload, sent.room < 4096 ? sent.room : 4096);
	if (sent.room > 4096)
		memset(sent.payload + 4096, 0x41, sent.room - 4096);
	any_arguments();
	for (int i = 0; row && i < row->nargs; i++)
		put_argument(i, &at, deref);
	if (below(2))
		bend();
}

int main(int argc, char **argv)
{
	uint64_t most = argc > 2 ? strtoull(argv[2], 0, 0) : ITERATIONS, answered = 0;
	time_t end = time(0) + SECONDS;
	uint8_t *whole_scratch = malloc(256 * 1024);
	int fd;

	seed = argc > 1 ? strtoull(argv[1], 0, 0) : 1;
	state = seed * 0x9e3779b97f4a7c15ull + 1;
	session = calloc(1, sizeof *session);
	channel = calloc(1, sizeof *channel);
	channel->pid = 1234;
	for (uint32_t i = 0; i < POOL; i++)
		pool[i] = (uint8_t)(i & 512 ? chance() : below(4));
	/* One descriptor of a directory whose listing is looked into, and one to hide. */
	fd = open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
	if (fd < 0 || dup2(fd, 5) < 0 || dup2(fd, hidden) < 0) {
		perror("test_execute: /proc/self/fd");
		return 1;
	}
	list_calls();
	for (iteration = 0; iteration < most && (iteration % 256 || time(0) < end); iteration++) {
		struct request q;

		make_request();
		q = sent;
		cancel = (uint32_t)below(2);
		/* Mostly as large as it is; else so small that its end is reached, and where that is, ASan knows. */
		scratch_size = below(4) ? 256 * 1024 : 16 * below(below(2) ? 12 : 300);
		worker.scratch = scratch_size == 256 * 1024 ? whole_scratch : malloc(scratch_size);
		interruptions = 0;
		answered += execute_call(&q, &worker, &cancel) >= 0;
		if (worker.scratch != whole_scratch)
			free(worker.scratch);
		free(sent.payload);
	}
	printf("test_execute: seed %llu: %llu requests, %llu reached the kernel, %llu succeeded\n",
	       (unsigned long long)seed, (unsigned long long)iteration, (unsigned long long)reached,
	       (unsigned long long)answered);
	if (reached < iteration / 4) {
		printf("test_execute: too few were any good\n");
		return 1;
	}
	free(whole_scratch);
	free(channel);
	free(session);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Call sites of the program that have run a few times become jumps, so that their calls need no signal. Called by
 * trap() for a site that has just run; nothing is ever patched that has not, here or (leads.c) in a program of the same
 * run before this one. Two shapes, both of which leave the bytes of the `syscall` instruction as they are, or all
 * but the first of them:
 *
 *   table  mov $nr,%eax; syscall   b8 nr nr nr nr 0f 05   becomes   ff 24 25 lo lo 0f 05, jmp *0x050flolo: the end of
 *          the jump's address is the old instruction. Who jumps to it, or stood before it, still makes the call.
 *   pun    syscall; anything       0f 05 xx yy zz         becomes   e9 05 xx yy zz, a jump to wherever the bytes
 *          behind happen to say, if nothing is there: one byte is changed. The same with xor %eax,%eax before it.
 *
 * So no instruction is moved, a thread may stand anywhere while it happens, and the program sees its own addresses.
 * Code is written through /proc/self/mem: no page is ever writable and executable, none is missing for a moment, and
 * what the program shares with others cannot be written. Whatever does not fit stays with the signal.
 */
#include "sites.h"

enum {
	PUN_PAGES = 256,
	HITS = 32, WAYS = 4, MOST = 65535,
	PATCH_AFTER = 3,      /* patching costs about as much as two or three signals */
	HEAP_ROOM = 32 << 20, /* what we leave a heap that grows towards us */
	REGISTER_SYNC_CORE = 64, SYNC_CORE = 32,
};

uint8_t arch_has_key;
uint32_t sites_off;
static uint32_t lock, is_quiet, has_begun;
static uint64_t table; /* SITE_TABLE once it is there; 1: cannot be had */
static uint64_t pun_pages[PUN_PAGES] COLD(5);
static uint32_t pun_page_count, is_registered;
static uint64_t heap_start;
static struct hit {
	uint64_t at : 48, count : 16;
} hits[HITS][WAYS] WARM("");

static int failed(int64_t r)
{
	return r < 0 && r > -4096;
}

/* ---- writing code ------------------------------------------------------------------------------------------------ */

/* What other CPUs may have fetched of code is fetched again. */
static int everybody_sees(void)
{
	return !GATE3(NR_membarrier, SYNC_CORE, 0, 0);
}

/* The five bytes that a site has once it is patched. */
static void jump_of(const struct site *s, uint32_t index, uint8_t *jump)
{
	memcpy(jump, s->old, 5);
	if (s->shape != SHAPE_TABLE)
		jump[0] = 0xe9;
	else
		arch_lead(jump + ARCH_LEAD, index);
}

static int make_jump(int64_t fd, const struct site *s, uint32_t index)
{
	uint64_t from = s->at - sites_lead[s->shape];
	uint8_t jump[5];

	jump_of(s, index, jump);
	if (s->shape != SHAPE_TABLE)
		return stubs_put(fd, from, jump, 1);
	if (!process_main.threaded)
		return stubs_put(fd, from, jump, 5);
	/*
	 * Half of it is `mov` of a number that no call has, whichever bytes of it another thread sees: sites_number()
	 * knows what was meant. The last byte makes a jump of it when nobody can see the others as they were.
	 */
	return stubs_put(fd, from + 2, jump + 2, 3) && everybody_sees() && stubs_put(fd, from + 1, jump + 1, 1) &&
	       everybody_sees() && stubs_put(fd, from, jump, 1);
}

/*
 * /proc/self/mem takes a descriptor, for a moment the lowest one that is free. Where other threads are about, one might
 * open a file meanwhile and wonder at its number, or put one of its own in that place just before we write. So it is
 * opened in a table of its own, by a thread that lives for this. The kernel empties its table without closing anything.
 */
static uint8_t apart_stack[8192] COLD(6) __attribute__((aligned(16)));
static uint32_t apart_runs;

struct writing {
	void (*write)(int64_t fd, void *with);
	void *with;
	int apart;
};

static void write_now(void *with)
{
	const struct writing *w = with;
	int64_t fd;

	if (w->apart && GATE3(NR_close_range, 0, ~0u, 2)) /* CLOSE_RANGE_UNSHARE */
		return;
	fd = GATE4(NR_openat, -100, "/proc/self/mem", 02000002, 0);
	if (failed(fd))
		return;
	w->write(fd, w->with);
	GATE1(NR_close, fd);
}

/* With the lock. If there cannot be such a thread, nothing is written. */
void sites_write(void (*write)(int64_t, void *), void *with)
{
	struct writing w = {write, with, (int)process_main.threaded};
	uint64_t all = ~0ull, before;
	uint32_t runs;

	if (!w.apart) {
		write_now(&w);
		return;
	}
	GATE4(NR_rt_sigprocmask, 2, &all, &before, 8); /* it could not tell itself from us */
	if (gate_apart(write_now, &w, apart_stack + sizeof apart_stack, &apart_runs) > 0)
		while ((runs = get_acquire(&apart_runs)))
			GATE4(NR_futex, &apart_runs, 0, runs, 0);
	GATE4(NR_rt_sigprocmask, 2, &before, 0, 8);
}

/* ---- room -------------------------------------------------------------------------------------------------------- */

/* Not where a heap that is in use would soon want to grow. */
static int is_in_the_way(uint64_t at)
{
	uint64_t heap = (uint64_t)GATE1(NR_brk, 0);

	return heap != heap_start && at >= heap_start && at < heap + HEAP_ROOM;
}

static int64_t map_at(uint64_t at, uint64_t size, int prot)
{
	int64_t r = GATE6(NR_mmap, at, size, prot, 0x100022, -1, 0); /* MAP_FIXED_NOREPLACE */

	if (!failed(r) && (uint64_t)r != at)
		GATE2(NR_munmap, r, size);
	return (uint64_t)r == at;
}

int sites_table(void)
{
	if (!table)
		table = !is_in_the_way(SITE_TABLE) && map_at(SITE_TABLE, SITES * 8, 3) ? SITE_TABLE : 1;
	return table == SITE_TABLE;
}

static int has_pun_page(uint64_t page)
{
	for (uint32_t i = 0; i < pun_page_count; i++)
		if (pun_pages[i] == page)
			return 1;
	if (pun_page_count == PUN_PAGES || is_in_the_way(page) || !map_at(page, 4096, 5))
		return 0;
	pun_pages[pun_page_count++] = page;
	return 1;
}

static int make_pun_room(uint64_t at)
{
	if (at < 65536 || at >= 0x7fffffff0000ull)
		return 0;
	for (uint32_t i = 0; i < site_count; i++)
		if (sites[i].pun && at + PUN_SIZE > sites[i].pun && at < sites[i].pun + PUN_SIZE)
			return 0;
	if (!has_pun_page(at & ~4095ull) || !has_pun_page((at + PUN_SIZE - 1) & ~4095ull))
		return 0;
	return 1;
}

/* ---- choosing ---------------------------------------------------------------------------------------------------- */

static int is_xor(const struct around *a, uint64_t rax)
{
	const uint8_t *b = a->before + 6;

	return b[0] == 0x31 && b[1] == 0xc0 && !rax && (b[-1] & 0xf0) != 0x40 && b[-1] != 0x66 && b[-1] != 0x0f;
}

static uint64_t target_of(uint64_t from, const uint8_t *rel)
{
	int32_t distance;

	memcpy(&distance, rel, 4);
	return from + 5 + (uint64_t)(int64_t)distance;
}

static int try_table(struct site *s, const struct around *a)
{
	if (!arch_is_lead((const uint8_t *)a + sizeof a->before, s->nr) || !sites_table() ||
	    (process_main.threaded && !is_registered))
		return 0;
	s->shape = SHAPE_TABLE;
	s->pun = 0;
	memcpy(s->old, a->before + 3, 5);
	return 1;
}

static int try_pun(struct site *s, const struct around *a)
{
	uint8_t window[16];

	memcpy(window, a->before, 8);
	memcpy(window + 8, a->at, 8);
	s->pun = target_of(s->at, a->at + 1);
	s->shape = SHAPE_PUN;
	memcpy(s->old, a->at, 5);
	if (make_pun_room(s->pun))
		return 1;
	if (!is_xor(a, s->nr))
		return 0;
	s->pun = target_of(s->at - 2, window + 7);
	s->shape = SHAPE_PUN_XOR;
	memcpy(s->old, window + 6, 5);
	return make_pun_room(s->pun);
}

/* With other threads about, one byte is better than five. */
static int choose(struct site *s, const struct around *a)
{
	if (process_main.threaded)
		return try_pun(s, a) || try_table(s, a);
	return try_table(s, a) || try_pun(s, a);
}

/* Writable code is somebody's who may rewrite it at any time, or shared with others: a write without effect tells. */
static int is_writable(uint64_t at, uint8_t byte)
{
	uint64_t local[2] = {(uint64_t)&byte, 1}, remote[2] = {at, 1};

	return GATE6(NR_process_vm_writev, GATE1(NR_gettid, 0), local, 1, remote, 1, 0) != -EFAULT_;
}

static uint32_t site_at(uint64_t at)
{
	for (uint32_t i = 0; i < site_count; i++)
		if (sites[i].at == at && !sites[i].dead)
			return i;
	return SITES;
}

enum found { FOUND_PATCHED, FOUND_OLD, FOUND_OTHER };

/* What stands at a site that was patched: code may have been written anew over it. */
static enum found look_at(uint32_t index, const struct around *a)
{
	const struct site *s = &sites[index];
	uint8_t window[16], jump[5];
	const uint8_t *now = window + 8 - sites_lead[s->shape];

	memcpy(window, a->before, 8);
	memcpy(window + 8, a->at, 8);
	jump_of(s, index, jump);
	return !memcmp(now, jump, 5) ? FOUND_PATCHED : !memcmp(now, s->old, 5) ? FOUND_OLD : FOUND_OTHER;
}

struct patching {
	struct site *site;
	uint32_t index;
	int done;
};

/* The next one; all but its jump. */
static int add(int64_t fd, const struct site *s)
{
	sites[site_count] = *s;
	if (s->shape == SHAPE_TABLE)
		((uint64_t *)SITE_TABLE)[site_count] = stubs_at(site_count);
	if (!stubs_make(fd, site_count))
		return 0;
	put_release(&site_count, site_count + 1);
	return 1;
}

static void write_site(int64_t fd, void *with)
{
	struct patching *p = with;

	if (p->index < site_count || add(fd, p->site))
		p->done = make_jump(fd, p->site, p->index);
}

static int patch(uint64_t at, uint32_t nr)
{
	struct around a = {{0}, {0}};
	struct site s = {.at = at, .resume = at + ARCH_SYSCALL_BYTES, .nr = nr};
	struct patching p = {.site = &s};
	uint32_t index = site_at(at);

	if (memory_read(a.at, at, 5) < 5)
		return 0;
	/* The page before may not be there. */
	if (memory_read(a.before, at - 8, 8) < 8 && (at & 4095) < 8)
		memory_read(a.before + 8 - (at & 4095), at & ~4095ull, at & 4095);
	if (index < SITES) {
		enum found found = look_at(index, &a);

		if (found == FOUND_PATCHED)
			return 1;
		s = sites[index];
		if (found == FOUND_OTHER) {
			sites[index].dead = 1; /* its stub stays: somebody may stand in it */
			s = (struct site){.at = at, .resume = at + ARCH_SYSCALL_BYTES, .nr = nr};
			index = SITES;
		}
	}
	if (a.at[0] != 0x0f || a.at[1] != 0x05 || is_writable(at, 0x0f))
		return 0;
	if (index == SITES) {
		index = site_count;
		if (index == SITES)
			return 0;
		if (!choose(&s, &a))
			return 0;
	}
	p.index = index;
	sites_write(write_site, &p);
	return p.done;
}

int sites_follow(int64_t fd, uint64_t at, uint32_t nr, uint8_t *bytes)
{
	struct site s = {.at = at, .resume = at + ARCH_SYSCALL_BYTES, .nr = nr};
	struct around a;

	memcpy(&a, bytes - sizeof a.before, sizeof a);
	if (site_count == SITES || site_at(at) < SITES || a.at[0] != 0x0f || a.at[1] != 0x05 || !choose(&s, &a) ||
	    !add(fd, &s))
		return 0;
	jump_of(&s, site_count - 1, bytes - sites_lead[s.shape]);
	return 1;
}

/* As it was. Other threads may stand anywhere: the last step of make_jump() first. */
static void unmake_jump(int64_t fd, struct site *s)
{
	uint64_t from = s->at - sites_lead[s->shape];

	if (stubs_put(fd, from, s->old, 1) && s->shape == SHAPE_TABLE && (!process_main.threaded || everybody_sees()))
		stubs_put(fd, from + 1, s->old + 1, 4);
	s->dead = 1;
}

static int is_within(const struct site *s, const uint64_t *range)
{
	return !s->dead && s->at + 8 >= range[0] && s->at - 8 < range[0] + range[1];
}

static void write_old(int64_t fd, void *with)
{
	for (uint32_t i = 0; i < site_count; i++)
		if (is_within(&sites[i], with))
			unmake_jump(fd, &sites[i]);
}

/* Code is about to be moved: a jump would lead to where it was. */
void sites_restore(uint64_t from, uint64_t size)
{
	uint64_t range[2] = {from, size};

	if (get_acquire(&is_quiet)) /* a filter might end the program for it */
		return;
	sites_lock(0);
	for (uint32_t i = 0; i < site_count; i++)
		if (is_within(&sites[i], range)) {
			sites_write(write_old, range);
			break;
		}
	sites_unlock();
}

/* How often a site has come by the signal; of those that share a place the least frequent is forgotten. */
static uint32_t count_hit(uint64_t at)
{
	struct hit *set = hits[(uint32_t)(at * 0x9e3779b1u >> 20) % HITS], *least = set;

	__atomic_fetch_or((uint64_t *)set, 0, __ATOMIC_RELAXED); /* we shall write here: one fault, not two */
	for (struct hit *h = set; h < set + WAYS; h++) {
		if (h->at == at) {
			h->count += h->count < MOST;
			return h->count;
		}
		if (h->count < least->count)
			least = h;
	}
	least->at = at & 0xffffffffffff;
	least->count = 1;
	return 1;
}

/* A call has come by the signal from `c`'s site. */
void sites_hit(struct call *c)
{
	uint64_t at = frame_pc(c->uc) - ARCH_SYSCALL_BYTES;
	uint32_t n;

	if (sites_off || c->nr >= CALL_LIMIT || c->thread->key == NO_KEY ||
	    (dispatch_way[c->nr] == WAY_SLOW && !dispatch_unmasked(c->nr, c->args)))
		return;
	if (!has_begun && !process_main.threaded && swap_if(&lock, 0, 1)) {
		has_begun = 1;
		lead_first();
		put_release(&lock, 0);
	}
	n = count_hit(at);
	if (n < PATCH_AFTER)
		lead_tell(at, (uint32_t)c->nr, n == 1 ? LEAD_FIRST : LEAD_HIT);
	/* Once more each time the number of hits has doubled: something may have changed. */
	if (n < PATCH_AFTER || (n > PATCH_AFTER && n & (n - 1)))
		return;
	if (!swap_if(&lock, 0, 1))
		return;
	if (patch(at, (uint32_t)c->nr) && n == PATCH_AFTER)
		lead_tell(at, (uint32_t)c->nr, LEAD_PATCH);
	put_release(&lock, 0);
}

int sites_begin(void)
{
	const struct agent_config *cfg = &agent_config;

	has_begun = 1;
	if (sites_off)
		return 1;
	if (cfg->lead_count && !sites_table())
		return 0;
	for (uint32_t i = 0; i < cfg->lead_count && i < LEADS; i++) {
		struct site *s = &sites[i];

		s->at = cfg->entry + (uint64_t)(int64_t)cfg->leads[i].offset;
		s->resume = s->at + ARCH_SYSCALL_BYTES;
		s->nr = cfg->leads[i].nr;
		s->old[0] = 0xb8;
		memcpy(s->old + 1, &s->nr, 4);
		((uint64_t *)SITE_TABLE)[i] = stubs_at(i);
		put_release(&site_count, i + 1);
	}
	lead_know();
	return 1;
}

/* A child must not be born with our descriptor open, or with half a site. */
void sites_lock(int makes_thread)
{
	while (!swap_if(&lock, 0, 1))
		GATE1(NR_sched_yield, 0);
	/* While there is one thread this is quick; later it takes milliseconds. */
	if (makes_thread && !sites_off && !is_registered)
		is_registered = !GATE3(NR_membarrier, REGISTER_SYNC_CORE, 0, 0);
}

void sites_unlock(void)
{
	put_release(&lock, 0);
}

int sites_are_quiet(void)
{
	return (int)get_acquire(&is_quiet);
}

void sites_quiet(void)
{
	put_release(&is_quiet, 1);
	put_release(&sites_off, 1);
	local_off();
}

void sites_setup(uint32_t flags)
{
	arch_has_key = !!(flags & AGENT_KEYS);
	sites_off = !arch_has_key;
	if (flags & AGENT_QUIET)
		sites_quiet();
	if (!sites_off)
		heap_start = (uint64_t)GATE1(NR_brk, 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs of a run learn from each other about call sites. Where one has had to take signals, the next one
 * has its sites patched before they run:
 *
 *   one page of the image that the kernel starts, the dynamic linker mostly   by the launcher: daemon/launcher/lead.c
 *   the rest of that image                                                    here, when its first call has come
 *   files that are mapped to be executed: the libraries                       here, as soon as they are
 *
 * What is learned is of one program's use of one file: of the same program next time. Files are told apart by device,
 * inode, size and time of change, the first image by its first instructions; and what stands at a place must look like
 * a site. For each we keep what it would have saved and how many runs have gone without.
 */
#include "sites.h"

#include "outside.h"

enum {
	IMAGES = 16,
	BEFORE = 16,           /* with those of `around`, far enough for the number of a call */
	TRIES = 2,             /* runs to look at before anything is done */
	WORTH = 2,             /* signals: a page that is written to costs somewhat more than one */
	PATCH_COST = 5,        /* signals: that one, and what it takes to write when nobody has prepared it */
	HEAD = 64,
	REACH = 1 << 19,       /* of the first image, in both directions from its entry */
	SCORE_MOST = 1u << 14, /* counted no further */
	PROT_WRITE_ = 2, PROT_EXEC_ = 4, MAP_TYPE = 15, MAP_PRIVATE_ = 2, MAP_ANONYMOUS_ = 32,
};

/* What is mapped to be executed here; of many, the last ones. */
static struct image {
	uint64_t from, size, offset;
	uint32_t file;
} images[IMAGES] COLD(3); /* the first one is what the kernel has started */
static uint32_t image_count;
static uint64_t program;

static uint64_t mixed(uint64_t id, uint64_t word)
{
	return (id ^ word) * 0x9e3779b97f4a7c15ull;
}

/* 0: there is no telling. */
static uint64_t file_of(int64_t fd, const char *path)
{
	/* inode, size, time of change, device */
	static const uint8_t words[] = {4, 5, 12, 13, 17};
	uint64_t about[32] = {0}, id = 0;

	if (GATE6(NR_statx, fd, path, *path ? 0 : 0x1000, 0x380, about, 0) < 0) /* AT_EMPTY_PATH; ctime, inode, size */
		return 0;
	for (uint32_t i = 0; i < sizeof words; i++)
		id = mixed(id, about[words[i]]);
	return id;
}

/* Of a file, as this program uses it. Never 0. */
static uint32_t use_of(uint64_t file)
{
	if (!program)
		program = file_of(-100, "/proc/self/exe") | 1;
	return (uint32_t)(mixed(program, file) >> 32) | 1;
}

static struct library *library_of(uint32_t file, int make)
{
	for (struct library *l = session->libraries; l < session->libraries + LIBRARIES; l++) {
		uint32_t there = get_acquire(&l->file);

		if (there == file || (!there && make && (swap_if(&l->file, 0, file) || l->file == file)))
			return l;
		if (!there && !make)
			return 0;
	}
	return 0;
}

static void count(uint32_t *score, uint32_t by)
{
	if (get_relaxed(score) < SCORE_MOST)
		__atomic_fetch_add(score, by, __ATOMIC_RELAXED);
}

static void tell_library(const struct image *m, uint64_t at, uint32_t nr, enum lead_news news)
{
	struct library *l = library_of(m->file, 1);
	uint64_t place = at - m->from + m->offset;

	if (!l || place != (uint32_t)place)
		return;
	for (struct library_site *s = l->sites; s < l->sites + LIBRARY_SITES; s++) {
		uint32_t there = get_acquire(&s->at);

		if (!there && swap_if(&s->at, 0, (uint32_t)place)) {
			put_release(&s->call, nr + 1);
			count(&s->without, 1);
			there = (uint32_t)place;
		}
		if (there == (uint32_t)place) {
			count(&s->saves, news == LEAD_PATCH ? PATCH_COST : 1);
			return;
		}
	}
}

static void tell_launcher(uint64_t at, uint32_t nr)
{
	int64_t offset = (int64_t)(at - agent_config.entry);
	struct around a = {{0}, {0}};
	struct lead_claim *c;

	if (!agent_config.entry || offset != (int32_t)offset || memory_read(&a, at - 8, sizeof a) < sizeof a ||
	    !arch_is_lead((const uint8_t *)&a + sizeof a.before, nr))
		return;
	c = &session->leads[session->lead_end % LEAD_CLAIMS];
	c->offset = (int32_t)offset;
	c->nr = nr;
	add_one(&session->lead_end);
}

void lead_tell(uint64_t at, uint32_t nr, enum lead_news news)
{
	/* The first one last: its bounds are a guess, and a library may lie within. */
	for (struct image *m = images + IMAGES; m-- > images;)
		if (at - m->from < m->size) {
			tell_library(m, at, nr, news);
			if (m == images && news == LEAD_FIRST)
				tell_launcher(at, nr);
			return;
		}
}

/* ---- a program that comes later ---------------------------------------------------------------------------------- */

struct following {
	const struct image *image;
	struct library *library;
	int64_t fd; /* -1: it is the memory that has to be read */
};

/* What stands in the file around a site. */
struct window {
	uint8_t before[BEFORE];
	struct around around;
};

/* Just before it the number is put into eax: by mov, or by xor with itself if it is 0. */
static int is_site(const struct window *w, uint32_t nr)
{
	const uint8_t *at = w->around.at;

	if (at[0] != 0x0f || at[1] != 0x05)
		return 0;
	if (!nr && at[-2] == 0x31 && at[-1] == 0xc0)
		return 1;
	for (const uint8_t *b = at - 5; b >= w->before; b--)
		if (b[0] == 0xb8 && !memcmp(b + 1, &nr, 4))
			return 1;
	return 0;
}

/* It would save more than it costs; and if it has gone without so far, that is counted. */
static int is_worth(struct library_site *s)
{
	uint32_t without = get_relaxed(&s->without);

	if (without >= TRIES && get_relaxed(&s->saves) >= WORTH * without)
		return 1;
	count(&s->without, 1);
	return 0;
}

/* From the file, if there is one: the page itself is not there yet, and then it can come as a copy at once. */
static int is_read(const struct following *f, struct window *w, uint64_t place)
{
	if (f->fd >= 0)
		return GATE4(NR_pread64, f->fd, w, sizeof *w, place) == sizeof *w;
	return memory_read(w, f->image->from + place - f->image->offset, sizeof *w) == sizeof *w;
}

static void follow(int64_t memory, void *with)
{
	const struct following *f = with;
	const struct image *m = f->image;

	for (struct library_site *s = f->library->sites; s < f->library->sites + LIBRARY_SITES; s++) {
		uint32_t place = get_acquire(&s->at), call = get_acquire(&s->call);
		struct window w;
		uint64_t ahead = sizeof w - sizeof w.around.at;

		if (!place)
			break;
		if (!call || place < m->offset + ahead ||
		    place + sizeof w.around.at > m->offset + m->size || !is_worth(s))
			continue;
		if (is_read(f, &w, place - ahead) && is_site(&w, call - 1))
			sites_follow(memory, m->from + place - m->offset, call - 1, &w.around);
	}
}

static void follow_image(struct image *m, int64_t fd)
{
	struct following f = {m, library_of(m->file, 0), fd};

	if (f.library)
		sites_write(follow, &f);
}

void lead_first(void)
{
	uint64_t entry = agent_config.entry, head[HEAD / 8], id = 0;

	if (!entry || memory_read(head, entry, sizeof head) < sizeof head)
		return;
	for (uint32_t i = 0; i < HEAD / 8; i++)
		id = mixed(id, head[i]);
	images[0] = (struct image){(entry & ~4095ull) - REACH, 2 * REACH, 0, use_of(id)};
	follow_image(&images[0], -1);
}

void sites_mapped(const struct call *c, int64_t ret)
{
	const uint64_t *args = c->args; /* addr, length, prot, flags, fd, offset */
	struct image *m = &images[1 + image_count % (IMAGES - 1)];
	int64_t fd = (int32_t)args[4];
	uint64_t file;

	if (!(args[2] & PROT_EXEC_) || args[2] & PROT_WRITE_ || (args[3] & MAP_TYPE) != MAP_PRIVATE_ ||
	    args[3] & MAP_ANONYMOUS_ || (ret < 0 && ret > -4096) || c->route != ROUTE_KERNEL || sites_off ||
	    process_main.threaded || c->thread->process != &process_main || handle_has_rules(NR_mmap))
		return; /* a handler may have mapped what it likes */
	file = file_of(fd, "");
	if (!file)
		return;
	*m = (struct image){(uint64_t)ret, args[1], args[5], use_of(file)};
	image_count++;
	sites_lock(0);
	follow_image(m, fd);
	sites_unlock();
}

int sites_begin(const struct agent_config *cfg)
{
	if (sites_off || !cfg->lead_count || cfg->lead_count > LEADS || !sites_table())
		return 0;
	for (uint32_t i = 0; i < cfg->lead_count; i++) {
		struct site *s = &sites[i];

		s->at = cfg->lead_page + cfg->leads[i].at;
		s->resume = s->at + ARCH_SYSCALL_BYTES;
		s->nr = cfg->leads[i].nr;
		s->old[0] = 0xb8;
		memcpy(s->old + 1, &s->nr, 4);
		((uint64_t *)SITE_TABLE)[i] = stubs_at(i);
	}
	put_release(&site_count, cfg->lead_count);
	return 1;
}

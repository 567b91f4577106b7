/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs of a run learn from each other about call sites. Where one has had to take signals, the next one
 * has its sites patched before they run:
 *
 *   in the image that the kernel starts, the dynamic linker mostly   before the program runs; or, where its launcher
 *                                                                    stays until then, when its first call has come
 *   in files that are mapped to be executed: the libraries           as soon as they are
 *
 * What is learned of a library is of one program's use of it: of the same program next time. Files are told apart by
 * device, inode, size and time of change, the first image by its first instructions, programs by their headers; and
 * what stands at a place must look like a site.
 */
#include "leads.h"
#include "sites.h"

#include "outside.h"

enum {
	IMAGES = 16,
	PROGRAM_HEADERS = 16, HEADER = 56,
	AT_PHDR_ = 3, AT_PHNUM_ = 5, AT_ENTRY_ = 9,
	PATCH_COST = 5,        /* signals: what it takes to write when nobody has prepared it is two */
	FILE_COST = 40,        /* as in leads.h: to have anything written */
	PUN_LEAST = 40,        /* of one that may want a page of its own to jump to */
	PROT_WRITE_ = 2, PROT_EXEC_ = 4, MAP_TYPE = 15, MAP_PRIVATE_ = 2, MAP_ANONYMOUS_ = 32,
};

/* What is mapped to be executed here; of many, the last ones. */
static struct image {
	uint64_t from, size, offset;
	uint32_t file;
} images[IMAGES] WARM(""); /* the first one is what the kernel has started */
static uint32_t image_count;
static uint64_t program;

/* 0: there is no telling. */
static uint64_t file_of(int64_t fd, const char *path)
{
	/* inode, size, time of change, device */
	static const uint8_t words[] = {4, 5, 12, 13, 17};
	uint64_t about[32] = {0}, id = 0;

	if (GATE6(NR_statx, fd, path, *path ? 0 : 0x1000, 0x380, about, 0) < 0) /* AT_EMPTY_PATH; ctime, inode, size */
		return 0;
	for (uint32_t i = 0; i < sizeof words; i++)
		id = lead_mixed(id, about[words[i]]);
	return id;
}

/* From what the kernel has laid on the stack. */
static uint64_t program_here(void)
{
	const uint64_t *word = (const uint64_t *)agent_config.sp;
	uint64_t at[AT_ENTRY_ + 1] = {0}, header[HEADER / 8], id;

	word += *word + 2;
	while (*word++)
		;
	for (; *word; word += 2)
		if (*word <= AT_ENTRY_)
			at[*word] = word[1];
	id = lead_mixed(at[AT_ENTRY_] - at[AT_PHDR_], at[AT_PHNUM_]);
	for (uint64_t i = 0; i < at[AT_PHNUM_] && i < PROGRAM_HEADERS; i++) {
		if (memory_read(header, at[AT_PHDR_] + i * HEADER, HEADER) < HEADER)
			break;
		for (int n = 0; n < HEADER / 8; n++)
			id = lead_mixed(id, header[n]);
	}
	return id;
}

/* Of a file, as this program uses it. Never 0. */
static uint32_t use_of(uint64_t file)
{
	if (!program)
		program = (agent_config.sp ? program_here() : file_of(-100, "/proc/self/exe")) | 1;
	return (uint32_t)(lead_mixed(program, file) >> 32) | 1;
}

static struct library *library_of(uint32_t file, int make)
{
	for (uint32_t i = 0; i < LIBRARIES; i++) {
		uint32_t *place = &session->library_files[i], there = get_acquire(place);

		if (there == file || (!there && make && (swap_if(place, 0, file) || *place == file)))
			return &session->libraries[i];
		if (!there && !make)
			return 0;
	}
	return 0;
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
			lead_count(&s->without, 1);
			add_one(&session->library_news);
			there = (uint32_t)place;
		}
		if (there == (uint32_t)place) {
			lead_count(&s->saves, news == LEAD_PATCH ? PATCH_COST : 1);
			return;
		}
	}
}

void lead_tell(uint64_t at, uint32_t nr, enum lead_news news)
{
	/* The first one last: its bounds are a guess, and a library may lie within. */
	for (struct image *m = images + IMAGES; m-- > images;)
		if (at - m->from < m->size) {
			tell_library(m, at, nr, news);
			return;
		}
}

/* ---- a program that comes later ---------------------------------------------------------------------------------- */

struct following {
	const struct image *image;
	int64_t fd; /* -1: it is the memory that has to be read */
	struct lead_candidates candidates;
};

/* Just before it the number is put into eax: by mov, or by xor with itself if it is 0. */
static int is_site(const uint8_t *at, uint32_t nr)
{
	if (at[0] != 0x0f || at[1] != 0x05)
		return 0;
	if (!nr && at[-2] == 0x31 && at[-1] == 0xc0)
		return 1;
	for (const uint8_t *b = at - ARCH_LEAD; b >= at - LEAD_BEFORE; b--)
		if (b[0] == 0xb8 && !memcmp(b + 1, &nr, 4))
			return 1;
	return 0;
}

/* From the file, if there is one: the page itself is not there yet, and then it can come as a copy at once. */
static int is_read(const struct following *f, uint8_t *to, uint64_t place, uint64_t n)
{
	if (f->fd >= 0)
		return GATE4(NR_pread64, f->fd, to, n, place) == (int64_t)n;
	return memory_read(to, f->image->from + place - f->image->offset, n) == n;
}

/* Written is what has changed, and what lies in between as it is. */
static void follow_page(const struct following *f, int64_t memory, uint32_t i, uint32_t end)
{
	const struct lead_candidate *c = f->candidates.of;
	uint64_t begin = c[i].place - LEAD_BEFORE, n = c[end - 1].place + LEAD_BEHIND - begin;
	uint64_t low = n, high = 0, next = 0;
	uint64_t base = f->image->from - f->image->offset;
	uint8_t bytes[LEAD_BEFORE + LEAD_PAGE + LEAD_BEHIND];

	if (!is_read(f, bytes, begin, n))
		return;
	for (; i < end; i++) {
		uint64_t at = c[i].place - begin;
		int is_lead = arch_is_lead(bytes + at, c[i].nr);

		if (!c[i].is_chosen || at < next || !is_site(bytes + at, c[i].nr) ||
		    (c[i].gain < PUN_LEAST && !is_lead) ||
		    !sites_follow(memory, base + c[i].place, c[i].nr, bytes + at))
			continue;
		next = at + (is_lead ? LEAD_APART : LEAD_APART_PUN);
		low = at - ARCH_LEAD < low ? at - ARCH_LEAD : low;
		high = at + ARCH_LEAD;
	}
	if (high)
		stubs_put(memory, base + begin + low, bytes + low, high - low);
}

static void follow(int64_t memory, void *with)
{
	const struct following *f = with;

	for (uint32_t i = 0, end; i < f->candidates.count; i = end) {
		int is_chosen = 0;

		end = lead_page_end(&f->candidates, i);
		for (uint32_t n = i; n < end; n++)
			is_chosen |= f->candidates.of[n].is_chosen;
		if (is_chosen)
			follow_page(f, memory, i, end);
	}
}

/* Those that go without again. */
static void count_others(const struct lead_candidates *c, struct library *l)
{
	for (uint32_t i = 0; i < c->count; i++)
		for (struct library_site *s = l->sites; !c->of[i].is_chosen && s < l->sites + LIBRARY_SITES; s++)
			if (s->at == c->of[i].place) {
				lead_count(&s->without, 1);
				break;
			}
}

static void follow_image(struct image *m, int64_t fd)
{
	struct library *l = library_of(m->file, 0);
	struct following f;

	if (!l)
		return;
	f.image = m;
	f.fd = fd;
	lead_collect(&f.candidates, l, m->offset, m->offset + m->size);
	if (lead_choose(&f.candidates, FILE_COST))
		sites_write(follow, &f);
	count_others(&f.candidates, l);
}

int lead_know(void)
{
	uint64_t entry = agent_config.entry, head[LEAD_HEAD / 8];

	if (!entry || memory_read(head, entry, sizeof head) < sizeof head)
		return 0;
	images[0] = (struct image){(entry & ~4095ull) - LEAD_REACH, 2 * LEAD_REACH, 0, lead_image(head)};
	return 1;
}

void lead_first(void)
{
	if (lead_know())
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

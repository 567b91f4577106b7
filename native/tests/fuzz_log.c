/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of logs on files that nobody would write: whole ones are made, bytes of them changed, most of the time
 * with a check sum that fits again, and then everything is asked that can be. Nothing may read outside of the file, and
 * what is answered must be well formed. Takes the seconds that it may run.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log/arrow.h"
#include "log/records.h"
#include "log/resolve.h"

static uint64_t random_state = 88172645463325252u;

static uint32_t below(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return n ? (uint32_t)(random_state >> 33) % n : 0;
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

static const uint16_t interesting[] = {
	0,  1,	2,  3,	22, 32, 33,  40,  41,  42,  43,	 44,  46,  47,	49,  51,  52,  53,  56,	 57,  59,
	61, 72, 80, 81, 82, 86, 88, 165, 231, 257, 262, 266, 272, 290, 292, 316, 319, 322, 435, 436,
};

static size_t put_piece(uint8_t *to, int arg)
{
	static const char *const texts[] = {"/etc/passwd", "a/../b", "", "..", "socket:[5]", "pipe:[7]", "\xff\xc3\xa9",
					    "\2\0\0\120\177\0\0\1\0\0\0\0\0\0\0\0", "\1\0/run/x", "x\0y z\0"};
	static const uint8_t lens[] = {11, 6, 0, 2, 10, 8, 3, 16, 8, 6};
	uint32_t which = below(sizeof lens);
	struct piece p = {.arg = (uint8_t)arg, .flags = (uint8_t)below(4), .len = lens[which], .full = below(100)};

	memset(to, 0, sizeof p + 16);
	memcpy(to, &p, sizeof p);
	memcpy(to + sizeof p, texts[which], lens[which]);
	return sizeof p + ((lens[which] + 7u) & ~7u);
}

static size_t put_record(uint8_t *to, uint64_t *now)
{
	struct log_record r = {
		.nr = below(20) ? interesting[below(sizeof interesting / 2)] : (uint16_t)below(600),
		.kind = (uint8_t)(below(6) ? RECORD_CALL : 1 + below(RECORD_WAITS)),
		.route = (uint8_t)below(5),
		.flags = (uint8_t)(below(8) ? 0 : 1u << below(5)),
		.start = *now += below(100),
		.took = below(50),
		.ret = (int32_t)below(12) - 3,
	};
	uint32_t args = below(7), pieces = below(4);
	size_t size = sizeof r;

	for (uint32_t i = 0; i < args; i++, size += 8) {
		uint64_t value = below(6) ? below(12) : (uint64_t)-100;

		memcpy(to + size, &value, 8);
	}
	for (uint32_t i = 0; i < pieces; i++)
		size += put_piece(to + size, (int)below(6));
	r.counts = (uint8_t)(args | pieces << 4);
	r.words = (uint16_t)(size / 8);
	memcpy(to, &r, sizeof r);
	return size;
}

static size_t put_block(struct segment_writer *w, uint8_t *to)
{
	static uint8_t records[65536];
	uint64_t now = 1000 + below(5000);
	const uint8_t *block;
	size_t size;

	for (uint32_t runs = 1 + below(4); runs; runs--) {
		struct segment_run run = {.lease = below(9), .thread = below(4), .first = below(30),
					  .pid = 10 + below(3), .tid = 10 + below(5)};
		size_t used = 0;

		for (uint32_t n = 1 + below(30); n; n--)
			used += put_record(records + used, &now);
		run.bytes = (uint32_t)used;
		assert(!segment_writer_add(w, &run, records));
	}
	block = segment_writer_block(w, &size);
	assert(block);
	memcpy(to, block, size);
	return size;
}

static size_t put_file(uint8_t *to)
{
	struct segment_header h = {.magic = SEGMENT_MAGIC, .version = SEGMENT_VERSION, .ticks0 = 1000,
				   .ns_per_tick = 0.5};
	struct segment_writer *w = segment_writer_new(1, 2);
	struct segment_end_block last;
	struct segment_end end = {.is_last = below(2), .ticks = 9000, .mono = 4000};
	size_t size = sizeof h;

	h.machine = below(4) ? 62 : 183;
	h.run[0] = below(2);
	h.number = below(3);
	memcpy(to, &h, sizeof h);
	for (uint32_t blocks = below(4); blocks; blocks--)
		size += put_block(w, to + size);
	segment_writer_free(w);
	segment_end_block(&last, &end);
	memcpy(to + size, &last, sizeof last);
	return size + below(4) * sizeof last / 3;
}

/* Changes bytes, and makes the check sums right again, so that what is behind them is reached. */
static void damage(uint8_t *file, size_t *size)
{
	size_t at = sizeof(struct segment_header);

	for (uint32_t n = below(6); n; n--) {
		size_t place = below(4) ? at + below((uint32_t)(*size - at)) : below((uint32_t)*size);

		file[place] = (uint8_t)below(below(2) ? 256 : 4);
	}
	if (!below(4))
		*size = below((uint32_t)*size);
	while (below(10) && *size > at + sizeof(struct block_head)) {
		struct block_head *h = (struct block_head *)(file + at);

		if (h->magic != BLOCK_MAGIC || h->bytes > *size - at - sizeof *h)
			return;
		h->check = segment_check(h, h + 1);
		at += (sizeof *h + h->bytes + 7) & ~7ull;
	}
}

/* ---- questions -------------------------------------------------------------------------------------------------- */

/* Reads every byte that the array says it has. */
static uint64_t read_array(const struct ArrowArray *a, const char *format)
{
	const uint8_t *valid = a->buffers[0];
	uint64_t sum = 0;

	for (int64_t i = 0; valid && i < a->length; i++)
		sum += !(valid[i / 8] >> i % 8 & 1);
	assert(!valid || sum == (uint64_t)a->null_count);
	if (*format == 'u') {
		const int32_t *ends = a->buffers[1];
		const char *bytes = a->buffers[2];

		for (int64_t i = 0; i < a->length; i++)
			assert(ends[i] <= ends[i + 1] && ends[0] == 0);
		for (int32_t i = 0; i < ends[a->length]; i++)
			sum += (uint8_t)bytes[i];
	} else if (a->dictionary) {
		const int32_t *index = a->buffers[1];

		for (int64_t i = 0; i < a->length; i++)
			assert(index[i] >= 0 && index[i] < (a->dictionary->length ? a->dictionary->length : 1));
		sum += read_array(a->dictionary, "u");
	} else {
		size_t width = *format == 'b' ? 0 : *format == 's' ? 2 : *format == 'i' ? 4 : 8;
		const uint8_t *bytes = a->buffers[1];

		for (size_t i = 0; i < (width ? (size_t)a->length * width : ((size_t)a->length + 7) / 8); i++)
			sum += bytes[i];
	}
	return sum;
}

static uint64_t ask_arrow(struct logfile *l, uint64_t wanted, int only)
{
	struct ArrowArrayStream stream;
	struct ArrowSchema schema;
	struct ArrowArray a;
	uint64_t sum = 0;

	assert(!arrow_stream(l, wanted, only, &stream));
	assert(!stream.get_schema(&stream, &schema));
	while (!stream.get_next(&stream, &a) && a.release) {
		assert(a.n_children == schema.n_children && a.length > 0);
		for (int64_t i = 0; i < a.n_children; i++) {
			const char *format = schema.children[i]->format;

			assert(a.children[i]->length == a.length);
			sum += read_array(a.children[i], *format == 't' ? "l" : format);
		}
		a.release(&a);
	}
	schema.release(&schema);
	stream.release(&stream);
	return sum;
}

static uint64_t ask_records(struct logfile *l)
{
	struct record_filter f = {.events = 1, .others = 1};
	struct record_view v;
	struct records *r;
	uint64_t sum = 0, last = 0;

	memset(f.calls, 1, sizeof f.calls);
	r = records_new(l, &f, NULL, 0);
	assert(r);
	while (records_next(r, &v) > 0) {
		assert(v.start >= last);
		last = v.start;
		sum += v.seq + (uint64_t)logfile_real_ns(v.s, v.start) + (uint64_t)logfile_ns(v.s, v.took);
		for (int i = 0; i < v.shape->pieces; i++)
			for (uint32_t k = 0; k < v.pieces[i].len; k++)
				sum += v.pieces[i].bytes[k];
	}
	records_free(r);
	return sum;
}

static uint64_t ask(const char *const *paths, int count)
{
	struct logfile *l = logfile_new();
	struct log_gap *gaps;
	const char *problem;
	uint64_t sum = 0;
	uint32_t *pids;
	size_t n;

	for (int i = 0; i < count; i++)
		logfile_add(l, paths[i], (int)below(2) && i, &problem);
	if (below(2))
		sum += ask_records(l);
	sum += ask_arrow(l, ~0ull, 0) + ask_arrow(l, below(1 << 27), (int)below(2));
	sum += ask_records(l);
	for (uint32_t run = 0; run < logfile_runs(l); run++) {
		const struct resolver *r = logfile_resolver(l, run);
		const uint8_t *text;
		size_t len;

		assert(r);
		for (int i = 0; i < 40; i++) {
			int32_t fd = below(5) ? (int32_t)below(12) : FD_CWD;

			text = resolver_text(r, 10 + below(4), fd, below(8000), &len);
			for (size_t k = 0; text && k < len; k++)
				sum += text[k];
		}
	}
	logfile_refresh(l);
	assert(!logfile_verify(l, (int)below(2), &gaps, &n));
	free(gaps);
	assert(!logfile_pids(l, &pids, &n));
	free(pids);
	logfile_drop(l);
	return sum;
}

int main(int argc, char **argv)
{
	static uint8_t file[1 << 22];
	const time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 1);
	char names[2][64];
	const char *paths[2] = {names[0], names[1]};
	unsigned long rounds = 0;
	uint64_t sum = 0;

	for (int i = 0; i < 2; i++)
		snprintf(names[i], sizeof names[i], "/tmp/fuzz_log.%d.%d", (int)getpid(), i);
	for (; time(NULL) < end || !rounds; rounds++) {
		for (int i = 0; i < 2; i++) {
			size_t size = put_file(file);
			FILE *f;

			if (below(8))
				damage(file, &size);
			f = fopen(paths[i], "w");
			assert(f && fwrite(file, 1, size, f) == size && !fclose(f));
		}
		sum += ask(paths, 1 + (int)below(2));
	}
	unlink(paths[0]);
	unlink(paths[1]);
	printf("%lu rounds, %llx\n", rounds, (unsigned long long)sum);
	return 0;
}

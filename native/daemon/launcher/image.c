/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads lsca-agent.so into the form in which it is put into programs: one flat piece of memory, a list of relative
 * relocations, and the addresses of the symbols by which it is entered. Anything that would need a dynamic linker
 * is an error here, once, and not a crash in the program later.
 */
#include "launch.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define IMAGE_LIMIT (64ull << 20)

static const char *take_file(const char *path, uint8_t **bytes, size_t *size)
{
	const char *wrong = "cannot be read";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	size_t got = 0;

	if (fd < 0)
		return errno == ENOENT ? "is not there" : wrong;
	if (fstat(fd, &st) || st.st_size < (off_t)sizeof(Elf64_Ehdr) || st.st_size > (off_t)IMAGE_LIMIT)
		goto out;
	*size = (size_t)st.st_size;
	*bytes = malloc(*size);
	while (*bytes && got < *size) {
		ssize_t n = read(fd, *bytes + got, *size - got);

		if (n <= 0)
			goto out;
		got += (size_t)n;
	}
	wrong = *bytes ? NULL : "does not fit into memory";
out:
	close(fd);
	return wrong;
}

static const char *take_segments(struct image *image, const uint8_t *file, size_t size, const Elf64_Phdr *ph,
				 unsigned count)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	for (unsigned i = 0; i < count; i++) {
		struct image_segment *s = &image->segments[image->segment_count];
		const Elf64_Phdr *p = &ph[i];

		if (p->p_type == PT_TLS || p->p_type == PT_INTERP)
			return "is not freestanding";
		if (p->p_type != PT_LOAD)
			continue;
		if (image->segment_count == IMAGE_SEGMENTS || p->p_filesz > p->p_memsz ||
		    p->p_vaddr + p->p_memsz > IMAGE_LIMIT || p->p_offset + p->p_filesz > size ||
		    (p->p_flags & (PF_W | PF_X)) == (PF_W | PF_X))
			return "has segments that make no sense";
		s->at = p->p_vaddr & ~(page - 1);
		s->size = ((p->p_vaddr + p->p_memsz + page - 1) & ~(page - 1)) - s->at;
		s->prot = (p->p_flags & PF_R ? PROT_READ : 0) | (p->p_flags & PF_W ? PROT_WRITE : 0) |
			  (p->p_flags & PF_X ? PROT_EXEC : 0);
		if (s->at + s->size > image->span)
			image->span = s->at + s->size;
		if (p->p_vaddr + p->p_filesz > image->size)
			image->size = p->p_vaddr + p->p_filesz;
		image->segment_count++;
	}
	image->bytes = image->size ? calloc(1, image->size) : NULL;
	if (!image->bytes)
		return "has nothing to load";
	for (unsigned i = 0; i < count; i++)
		if (ph[i].p_type == PT_LOAD)
			memcpy(image->bytes + ph[i].p_vaddr, file + ph[i].p_offset, ph[i].p_filesz);
	return NULL;
}

static const char *take_relocations(struct image *image, const Elf64_Shdr *s, const Elf64_Shdr *symbols,
				    const uint8_t *file)
{
	const Elf64_Rela *r = (const void *)(file + s->sh_offset);
	const Elf64_Sym *symbol = (const void *)(file + symbols->sh_offset);
	uint64_t count = s->sh_size / sizeof *r;

	image->relocations = calloc(count ? count : 1, sizeof *image->relocations);
	if (!image->relocations)
		return "does not fit into memory";
	for (uint64_t i = 0; i < count; i++) {
		struct image_relocation *to = &image->relocations[image->relocation_count];

		if (r[i].r_offset > image->size || r[i].r_offset + 8 > image->size)
			return "has relocations outside of itself";
		to->at = r[i].r_offset;
		to->addend = (uint64_t)r[i].r_addend;
		if (ELF64_R_TYPE(r[i].r_info) != machine_relative) {
			uint64_t n = ELF64_R_SYM(r[i].r_info);

			if (n >= symbols->sh_size / sizeof *symbol)
				return "has relocations that make no sense";
			/* One that nobody defines (`environ`, weak) is 0, as it would be in a static program. */
			if (symbol[n].st_shndx == SHN_UNDEF)
				continue;
			to->addend += symbol[n].st_value;
		}
		image->relocation_count++;
	}
	return NULL;
}

static void take_symbols(struct image *image, const Elf64_Shdr *s, const Elf64_Shdr *names, const uint8_t *file)
{
	const Elf64_Sym *symbol = (const void *)(file + s->sh_offset);

	for (uint64_t i = 0; i < s->sh_size / sizeof *symbol; i++) {
		const char *name = (const char *)file + names->sh_offset + symbol[i].st_name;

		if (symbol[i].st_name >= names->sh_size || symbol[i].st_shndx == SHN_UNDEF)
			continue;
		if (!strcmp(name, "agent_entry"))
			image->entry = symbol[i].st_value;
		else if (!strcmp(name, "agent_config"))
			image->config = symbol[i].st_value;
		else if (!strcmp(name, "agent_enter"))
			image->enter = symbol[i].st_value;
		else if (!strcmp(name, "agent_alone"))
			image->alone = symbol[i].st_value;
		else if (!strcmp(name, "agent_waits"))
			image->waits = symbol[i].st_value;
		else if (!strcmp(name, "agent_waits_end"))
			image->waits_end = symbol[i].st_value;
		else if (!strcmp(name, "agent_waits_over"))
			image->waits_over = symbol[i].st_value;
	}
}

static int put_all(int fd, const struct image *image)
{
	uint64_t done = 0;

	while (done < image->size) {
		ssize_t n = pwrite(fd, image->bytes + done, image->size - done, (off_t)done);

		if (n <= 0)
			return -1;
		done += (uint64_t)n;
	}
	return ftruncate(fd, (off_t)image->span);
}

/* Sealed: a program that could write into it would write into all others. */
void image_share(struct image *image)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
	uint32_t written = 0;
	uint64_t limit = 0;
	int e;

	for (uint32_t i = 0; i < image->segment_count; i++) {
		const struct image_segment *s = &image->segments[i];

		if (s->prot == (PROT_READ | PROT_EXEC))
			continue;
		if (s->prot != (PROT_READ | PROT_WRITE) || written++)
			return;
		image->data_at = s->at;
		image->data_size = s->size;
	}
	if (written != 1 || !machine_stub_size)
		return;
	image->fd = above_standard(memfd_create("lsca-agent", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	if (image->fd < 0)
		return;
	file_limit_raise(&limit);
	e = put_all(image->fd, image);
	file_limit_restore(limit);
	if (e || fcntl(image->fd, F_ADD_SEALS, seals)) {
		close(image->fd);
		image->fd = -1;
	}
}

const char *image_load(struct image *image, const char *path)
{
	const Elf64_Ehdr *h;
	const Elf64_Shdr *sections;
	const char *wrong;
	uint8_t *file = NULL;
	size_t size = 0;

	memset(image, 0, sizeof *image);
	image->fd = -1;
	wrong = take_file(path, &file, &size);
	if (wrong)
		goto out;
	h = (const void *)file;
	wrong = "is not a shared object for this machine";
	if (memcmp(h->e_ident, ELFMAG, SELFMAG) || h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_type != ET_DYN ||
	    h->e_machine != machine_elf)
		goto out;
	wrong = "is damaged";
	if (h->e_phoff + (uint64_t)h->e_phnum * sizeof(Elf64_Phdr) > size ||
	    h->e_shoff + (uint64_t)h->e_shnum * sizeof(Elf64_Shdr) > size || !h->e_shnum)
		goto out;
	wrong = take_segments(image, file, size, (const void *)(file + h->e_phoff), h->e_phnum);
	sections = (const void *)(file + h->e_shoff);
	for (unsigned i = 0; !wrong && i < h->e_shnum; i++)
		if (sections[i].sh_type != SHT_NOBITS && sections[i].sh_offset + sections[i].sh_size > size)
			wrong = "is damaged";
	for (unsigned i = 0; !wrong && i < h->e_shnum; i++) {
		const Elf64_Shdr *s = &sections[i];

		if (s->sh_type == SHT_NOBITS)
			continue;
		if (s->sh_link >= h->e_shnum)
			wrong = "is damaged";
		else if (s->sh_type == SHT_RELA && !image->relocations)
			wrong = take_relocations(image, s, &sections[s->sh_link], file);
		else if (s->sh_type == SHT_DYNSYM)
			take_symbols(image, s, &sections[s->sh_link], file);
	}
	if (!wrong && (!image->entry || !image->config || image->config + sizeof(struct agent_config) > image->size))
		wrong = "lacks agent_entry or agent_config";
out:
	free(file);
	return wrong;
}

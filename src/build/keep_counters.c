/* Keeps the counters of a process that dies. Preloaded into the ranks of a step by the per-rank wrapper.
 *
 * The profile runtime of LLVM writes counters when a process exits. Here the pages that hold them are replaced, before main
 * runs, by a shared mapping of a file that is a whole raw profile: whatever ends the process, the kernel keeps the file.
 * Counting costs nothing more, and compilers need no option. A process that exits in order removes the file again, once the
 * runtime has written its own.
 *
 * Where that cannot be done, SIGTERM becomes an exit in order, unless the program minds the signal itself. Processes without
 * counters are left alone.
 *
 * The format: llvm/include/llvm/ProfileData/InstrProfData.inc of LLVM 14 (version 8), 18 (9) and 22 (10). */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC (((uint64_t)255 << 56) | ((uint64_t)'l' << 48) | ((uint64_t)'p' << 40) | ((uint64_t)'r' << 32) | \
               ((uint64_t)'o' << 24) | ((uint64_t)'f' << 16) | ((uint64_t)'r' << 8) | (uint64_t)129)
enum { MOST_REGIONS = 64, LARGEST_PAGE = 65536, SECONDS_TO_EXIT = 5 };

struct part {
    char *start;
    size_t size;
};

/* What the runtime would write of one program or library. */
struct module {
    struct part data, counters, bitmap, names;
    uint64_t version;
};

/* Pages that are shared with a file. */
struct region {
    char *start;
    size_t length;
    char path[PATH_MAX];
};

static struct region regions[MOST_REGIONS];
static int region_count, lost_count;
static pid_t owner;
static size_t page;
static char *edges; /* The first and last page of each region as they were when a fork began. */

/* The file of a module, mapped to be read. */
static char *map_file(const char *path, size_t *size) {
    struct stat status;
    char *file = MAP_FAILED;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return NULL;
    if (!fstat(descriptor, &status) && status.st_size >= (off_t)sizeof(ElfW(Ehdr))) {
        *size = (size_t)status.st_size;
        file = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    }
    close(descriptor);
    return file == MAP_FAILED ? NULL : file;
}

static int is_inside(uint64_t at, uint64_t length, uint64_t size) { return at <= size && length <= size - at; }

static uint64_t find_version(const char *file, size_t size, const ElfW(Shdr) *symbols, const ElfW(Shdr) *strings, char *base) {
    static const char NAME[] = "__llvm_profile_raw_version";
    const ElfW(Sym) *symbol = (const void *)(file + symbols->sh_offset);
    size_t count = symbols->sh_size / sizeof *symbol;
    if (!is_inside(symbols->sh_offset, symbols->sh_size, size) || !is_inside(strings->sh_offset, strings->sh_size, size)) return 0;
    for (; count; count--, symbol++)
        if (symbol->st_shndx != SHN_UNDEF && is_inside(symbol->st_name, sizeof NAME, strings->sh_size) &&
            !memcmp(file + strings->sh_offset + symbol->st_name, NAME, sizeof NAME))
            return *(const uint64_t *)(base + symbol->st_value);
    return 0;
}

/* Finds the sections of a module; 0 if it has no counters. */
static int find_sections(const char *file, size_t size, char *base, struct module *module) {
    const ElfW(Ehdr) *head = (const void *)file;
    const ElfW(Shdr) *section;
    size_t at, names;
    if (memcmp(head->e_ident, ELFMAG, SELFMAG) || head->e_ident[EI_CLASS] != ELFCLASS64 || sizeof(void *) != 8) return 0;
    if (head->e_shentsize != sizeof *section || head->e_shstrndx >= head->e_shnum) return 0;
    if (!is_inside(head->e_shoff, (uint64_t)head->e_shnum * sizeof *section, size)) return 0;
    section = (const void *)(file + head->e_shoff);
    names = section[head->e_shstrndx].sh_offset;
    for (at = 0; at < head->e_shnum; at++) {
        struct part part = {base + section[at].sh_addr, section[at].sh_size};
        const char *name = file + names + section[at].sh_name;
        if (!is_inside(names + section[at].sh_name, 24, size)) continue;
        if (!strcmp(name, "__llvm_prf_cnts")) module->counters = part;
        if (!strcmp(name, "__llvm_prf_data")) module->data = part;
        if (!strcmp(name, "__llvm_prf_bits")) module->bitmap = part;
        if (!strcmp(name, "__llvm_prf_names")) module->names = part;
        if (section[at].sh_type == SHT_SYMTAB && section[at].sh_link < head->e_shnum)
            module->version = find_version(file, size, &section[at], &section[section[at].sh_link], base);
    }
    return module->counters.size > 0;
}

static size_t record_size(uint64_t version) { return version == 8 ? 48 : 64; }

/* Whether the profile of a module is nothing but its sections: no other kind of counters, no values of expressions. */
static int is_plain(const struct module *module) {
    size_t record = record_size(module->version), sites = record == 48 ? 44 : 52, at;
    if (module->version < 8 || module->version > 10 || !module->data.size || module->data.size % record) return 0;
    for (at = sites; at < module->data.size; at += record)
        if (memcmp(module->data.start + at, "\0\0\0\0\0", module->version == 10 ? 6 : 4)) return 0;
    return 1;
}

/* The build ids as a profile holds them: length, bytes, and zeros to whole words. */
static size_t build_ids(const struct dl_phdr_info *info, char *ids, size_t room) {
    size_t used = 0;
    int i;
    for (i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        const char *at = (const char *)info->dlpi_addr + segment->p_vaddr, *end = at + segment->p_memsz;
        if (segment->p_type != PT_NOTE) continue;
        while (at + sizeof(ElfW(Nhdr)) <= end) {
            const ElfW(Nhdr) *note = (const void *)at;
            const char *name = at + sizeof *note, *text = name + ((note->n_namesz + 3) & ~3u);
            size_t padded = ((size_t)note->n_descsz + 7) & ~(size_t)7;
            uint64_t length = note->n_descsz;
            if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && !memcmp(name, "GNU", 4) && used + 8 + padded <= room) {
                memset(ids + used, 0, 8 + padded);
                memcpy(ids + used, &length, 8);
                memcpy(ids + used + 8, text, note->n_descsz);
                used += 8 + padded;
            }
            at = text + ((note->n_descsz + 3) & ~3u);
        }
    }
    return used;
}

/* Whether the pages from `start` to `end` are part of one segment that stays writable. */
static int is_writable(const struct dl_phdr_info *info, const char *start, const char *end) {
    int i, writable = 0;
    for (i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t from = (info->dlpi_addr + segment->p_vaddr) & ~(page - 1);
        uintptr_t to = (info->dlpi_addr + segment->p_vaddr + segment->p_memsz + page - 1) & ~(page - 1);
        if (segment->p_type == PT_LOAD && (segment->p_flags & PF_W) && from <= (uintptr_t)start && (uintptr_t)end <= to) writable = 1;
        /* The loader rounds the end of what it protects down. */
        to = (info->dlpi_addr + segment->p_vaddr + segment->p_memsz) & ~(page - 1);
        if (segment->p_type == PT_GNU_RELRO && (uintptr_t)start < to && from < (uintptr_t)end) return 0;
    }
    return writable;
}

static int write_all(int file, const void *bytes, size_t size, size_t at) {
    while (size) {
        ssize_t done = pwrite(file, bytes, size, (off_t)at);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return 0;
        bytes = (const char *)bytes + done;
        size -= (size_t)done;
        at += (size_t)done;
    }
    return 1;
}

/* Writes the profile as it is now and puts its counters in the place of those in memory. */
static int share(const struct dl_phdr_info *info, const struct module *module, int file, struct region *region) {
    char ids[512], *end = module->counters.start + module->counters.size;
    uint64_t head[16], *word = head;
    size_t ids_size = build_ids(info, ids, sizeof ids);
    size_t head_size = module->version == 8 ? 88 : module->version == 9 ? 112 : 128;
    size_t data_end = head_size + ids_size + module->data.size;
    size_t offset = (data_end + page - 1) & ~(page - 1), names_at;
    region->start = (char *)((uintptr_t)module->counters.start & ~(page - 1));
    region->length = (((uintptr_t)end + page - 1) & ~(page - 1)) - (uintptr_t)region->start;
    if (!is_writable(info, region->start, region->start + region->length)) return 0;
    names_at = offset + region->length + ((module->bitmap.size + 7) & ~(size_t)7);
    *word++ = MAGIC;
    *word++ = module->version;
    *word++ = ids_size;
    *word++ = module->data.size / record_size(module->version);
    *word++ = offset + (size_t)(module->counters.start - region->start) - data_end;
    *word++ = module->counters.size / 8;
    *word++ = (size_t)(region->start + region->length - end);
    if (module->version >= 9) *word++ = module->bitmap.size;
    if (module->version >= 9) *word++ = names_at - offset - region->length - module->bitmap.size;
    *word++ = module->names.size;
    *word++ = (uint64_t)(module->counters.start - module->data.start);
    if (module->version >= 9) *word++ = (uint64_t)(module->bitmap.start - module->data.start);
    *word++ = (uint64_t)(module->names.start - module->data.start);
    if (module->version >= 10) *word++ = 0;
    if (module->version >= 10) *word++ = 0;
    *word = module->version >= 10 ? 2 : 1;
    /* Every byte is written, so that a full disk is met here and not by a store to memory. */
    if (!write_all(file, head, head_size, 0) || !write_all(file, ids, ids_size, head_size) ||
        !write_all(file, module->data.start, module->data.size, head_size + ids_size) ||
        !write_all(file, module->bitmap.start, module->bitmap.size, offset + region->length) ||
        !write_all(file, module->names.start, module->names.size, names_at) ||
        !write_all(file, "\0\0\0\0\0\0\0", -module->names.size & 7, names_at + module->names.size) ||
        !write_all(file, region->start, region->length, offset))
        return 0;
    return mmap(region->start, region->length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, (off_t)offset) != MAP_FAILED;
}

/* Names a file beside the one that the runtime writes: STEM.KIND-NUMBER.profraw. */
static int name_file(char *path, const char *kind, int number) {
    const char *prefix = getenv("HPC_CI_LIVE_PROFILE");
    char host[256] = "";
    int length;
    gethostname(host, sizeof host - 1);
    length = prefix ? snprintf(path, PATH_MAX, "%s.%s.%ld.%s-%d.profraw", prefix, host, (long)owner, kind, number) : -1;
    return length > 0 && length < PATH_MAX;
}

/* A program that took the place of another, or a process of the same number, left its counters: they get a name of their own,
 * since what the runtime writes at the end of this one does not hold them. */
static void keep_earlier(void) {
    char live[PATH_MAX], kept[PATH_MAX];
    int number, free = 1;
    for (number = 1; name_file(live, "live", number) && !access(live, F_OK); number++) {
        while (name_file(kept, "kept", free) && !access(kept, F_OK)) free++;
        if (rename(live, kept)) return;
    }
}

static int keep_module(const struct dl_phdr_info *info, const struct module *module) {
    struct region *region = &regions[region_count];
    int file, kept;
    if (region_count == MOST_REGIONS || !is_plain(module) || !name_file(region->path, "live", region_count + 1)) return 0;
    file = open(region->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file < 0) return 0;
    kept = share(info, module, file, region);
    if (!kept) unlink(region->path);
    close(file);
    region_count += kept;
    return kept;
}

static int visit(struct dl_phdr_info *info, size_t size, void *nothing) {
    struct module module = {0};
    size_t length;
    const char *path = info->dlpi_name && *info->dlpi_name ? info->dlpi_name : "/proc/self/exe";
    char *file;
    (void)size;
    (void)nothing;
    if (path[0] != '/' && !strchr(path, '/')) return 0; /* What the kernel maps by itself. */
    file = map_file(path, &length);
    if (!file) return 0;
    if (find_sections(file, length, (char *)info->dlpi_addr, &module)) {
        if (!region_count && !lost_count) keep_earlier();
        if (!keep_module(info, &module)) lost_count++;
    }
    munmap(file, length);
    return 0;
}

static void before_fork(void) {
    int i;
    for (i = 0; edges && i < region_count; i++) {
        memcpy(edges + 2 * (size_t)i * page, regions[i].start, page);
        memcpy(edges + (2 * (size_t)i + 1) * page, regions[i].start + regions[i].length - page, page);
    }
}

/* Beside the counters the first and the last page hold variables of the program, which a child has for itself. */
static void in_child(void) {
    int i;
    for (i = 0; i < region_count; i++) {
        struct region *region = &regions[i];
        char *copy = mmap(NULL, region->length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (copy == MAP_FAILED) _exit(127);
        memcpy(copy, region->start, region->length);
        if (edges) {
            memcpy(copy, edges + 2 * (size_t)i * page, page);
            memcpy(copy + region->length - page, edges + (2 * (size_t)i + 1) * page, page);
        }
        if (mremap(copy, region->length, region->length, MREMAP_MAYMOVE | MREMAP_FIXED, region->start) == MAP_FAILED) _exit(127);
    }
    region_count = 0;
}

/* The runtime's own handlers were set later, so they have run. */
static void at_exit(void) {
    int i;
    for (i = 0; getpid() == owner && i < region_count; i++) unlink(regions[i].path);
}

/* `exit` is not made for handlers; the alarm bounds what may come of that. */
static void on_terminate(int number) {
    signal(SIGALRM, SIG_DFL);
    alarm(SECONDS_TO_EXIT);
    exit(128 + number);
}

__attribute__((constructor)) static void keep_counters(void) {
    struct sigaction action;
    page = (size_t)sysconf(_SC_PAGESIZE);
    owner = getpid();
    if (page > LARGEST_PAGE) return;
    dl_iterate_phdr(visit, NULL);
    if (region_count) {
        edges = mmap(NULL, 2 * (size_t)region_count * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (edges == MAP_FAILED) edges = NULL;
        pthread_atfork(before_fork, NULL, in_child);
        atexit(at_exit);
    }
    if (lost_count && !sigaction(SIGTERM, NULL, &action) && action.sa_handler == SIG_DFL) {
        memset(&action, 0, sizeof action);
        action.sa_handler = on_terminate;
        sigaction(SIGTERM, &action, NULL);
    }
}

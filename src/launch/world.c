/* What MPI tells a rank of its world, noted where the per-rank wrapper notes how the rank ended.
 *
 * Loaded into every process below a rank. When one has started MPI, it appends `world SIZE RANK FAMILY` to the file that HPC_CI_NOTE names;
 * one that started MPI past the functions below (by a pointer to them, as Julia does) appends `mpi FAMILY` when it exits. Nothing
 * else changes: MPI's own functions are called, and what they return is returned.
 *
 * It must run wherever the programs of a cluster run, so it names no version of any function of the C library, and needs none that a
 * program with MPI lacks. MPI_COMM_WORLD is a symbol in Open MPI (ompi/include/mpi.h.in) and a number in all that keep to the ABI of
 * MPICH (src/include/mpi.h.in); to another MPI it is not guessed at, because a wrong one ends the program. */

typedef unsigned long size;
typedef int function();
struct dl_phdr_info { unsigned long base; const char *name; };

#define WEAK __attribute__((weak))
#define HIDDEN static
#define PUBLIC __attribute__((visibility("default")))
extern char *getenv(const char *) WEAK;
extern int open(const char *, int, ...) WEAK;
extern long write(int, const void *, size) WEAK;
extern int close(int) WEAK;
extern void *dlsym(void *, const char *) WEAK;
extern void *dlopen(const char *, int) WEAK;
extern int dl_iterate_phdr(int (*)(struct dl_phdr_info *, size, void *), void *) WEAK;

#define NEXT ((void *)-1L)     /* RTLD_NEXT */
#define ANY ((void *)0)        /* RTLD_DEFAULT */
#define LAZY_NOLOAD 5          /* RTLD_LAZY | RTLD_NOLOAD */
#define APPEND_CLOEXEC 02002001 /* O_WRONLY | O_APPEND | O_CLOEXEC */
#define FAILED 16              /* MPI_ERR_OTHER of MPICH is 15, of Open MPI 16: any code but 0 says it */
#define MPICH_WORLD 0x44000000

HIDDEN int told;

HIDDEN int holds(const char *text, const char *part) {
  for (; *text; text++) {
    size i = 0;
    while (part[i] && text[i] == part[i]) i++;
    if (!part[i]) return 1;
  }
  return 0;
}

HIDDEN char *put(char *at, const char *text) {
  while (*text) *at++ = *text++;
  return at;
}

HIDDEN char *put_number(char *at, int number) {
  char digits[12];
  int count = 0;
  do digits[count++] = (char)('0' + number % 10);
  while ((number /= 10) > 0);
  while (count) *at++ = digits[--count];
  return at;
}

HIDDEN void note(const char *line, size length) {
  const char *path = getenv ? getenv("HPC_CI_NOTE") : 0;
  if (!path || !*path || !open || !write || !close) return;
  int file = open(path, APPEND_CLOEXEC);
  if (file < 0) return;
  long written = write(file, line, length);
  (void)written;
  close(file);
}

struct search { const char *name; void *found; };

/* A library that was loaded for one of its users alone is not in the order of search that all share. */
HIDDEN int look(struct dl_phdr_info *info, size bytes, void *into) {
  struct search *search = into;
  (void)bytes;
  if (!info->name || !holds(info->name, "libmpi") && !holds(info->name, "libmpich") && !holds(info->name, "libpmpi")) return 0;
  void *library = dlopen(info->name, LAZY_NOLOAD);
  search->found = library ? dlsym(library, search->name) : 0;
  return search->found != 0;
}

/* `from` is NEXT for functions, past our own, and ANY for data: a program that is not position independent has a copy of its own,
 * which its libraries use as well. */
HIDDEN void *find(const char *name, void *from) {
  struct search search = {name, 0};
  if (!dlsym) return 0;
  search.found = dlsym(from, name);
  if (!search.found && dlopen && dl_iterate_phdr) dl_iterate_phdr(look, &search);
  return search.found;
}

HIDDEN const char *family(void) {
  static char version[8192]; /* MPI_MAX_LIBRARY_VERSION_STRING of MPICH, the longest */
  int length = 0;
  function *get = (function *)find("PMPI_Get_library_version", NEXT);
  if (!get || get(version, &length) != 0) return "other";
  version[sizeof version - 1] = 0;
  if (holds(version, "Open MPI") || holds(version, "Spectrum MPI")) return "openmpi";
  if (holds(version, "MPICH") || holds(version, "Intel(R) MPI") || holds(version, "MVAPICH")) return "mpich";
  return "other";
}

HIDDEN void tell(void) {
  char line[64], *at = line;
  int count = 0, rank = 0;
  const char *name = family();
  function *ask_size = (function *)find("PMPI_Comm_size", NEXT), *ask_rank = (function *)find("PMPI_Comm_rank", NEXT);
  void *world = name[0] == 'o' && name[1] == 'p' ? find("ompi_mpi_comm_world", ANY) : 0;
  told = 1;
  if (!ask_size || !ask_rank) return;
  if (world) {
    if (((int (*)(void *, int *))ask_size)(world, &count) || ((int (*)(void *, int *))ask_rank)(world, &rank)) return;
  } else if (name[0] == 'm') {
    if (((int (*)(int, int *))ask_size)(MPICH_WORLD, &count) || ((int (*)(int, int *))ask_rank)(MPICH_WORLD, &rank)) return;
  } else {
    return;
  }
  at = put(at, "world ");
  at = put_number(at, count);
  at = put(at, " ");
  at = put_number(at, rank);
  at = put(at, " ");
  at = put(at, name);
  at = put(at, "\n");
  note(line, (size)(at - line));
}

#define STARTS_C(NAME)                                                   \
  PUBLIC int NAME(int *argc, char ***argv) {                             \
    int (*real)(int *, char ***) = (int (*)(int *, char ***))find(#NAME, NEXT); \
    int code = real ? real(argc, argv) : FAILED;                         \
    if (code == 0 && !told) tell();                                      \
    return code;                                                         \
  }
#define STARTS_C_THREAD(NAME)                                                                             \
  PUBLIC int NAME(int *argc, char ***argv, int required, int *provided) {                                 \
    int (*real)(int *, char ***, int, int *) = (int (*)(int *, char ***, int, int *))find(#NAME, NEXT);         \
    int code = real ? real(argc, argv, required, provided) : FAILED;                                      \
    if (code == 0 && !told) tell();                                                                       \
    return code;                                                                                          \
  }
#define STARTS_FORTRAN(NAME)                                     \
  PUBLIC void NAME(int *code) {                                  \
    void (*real)(int *) = (void (*)(int *))find(#NAME, NEXT);          \
    if (real) real(code);                                        \
    else if (code) *code = FAILED;                               \
    if (real && !told) tell();                                   \
  }
#define STARTS_FORTRAN_THREAD(NAME)                                                  \
  PUBLIC void NAME(int *required, int *provided, int *code) {                        \
    void (*real)(int *, int *, int *) = (void (*)(int *, int *, int *))find(#NAME, NEXT);  \
    if (real) real(required, provided, code);                                        \
    else if (code) *code = FAILED;                                                   \
    if (real && !told) tell();                                                       \
  }

STARTS_C(MPI_Init)
STARTS_C(PMPI_Init)
STARTS_C_THREAD(MPI_Init_thread)
STARTS_C_THREAD(PMPI_Init_thread)
/* Bindings of Fortran may call C's functions from inside their library. */
STARTS_FORTRAN(mpi_init_)
STARTS_FORTRAN(mpi_init_f08_)
STARTS_FORTRAN_THREAD(mpi_init_thread_)
STARTS_FORTRAN_THREAD(mpi_init_thread_f08_)

HIDDEN __attribute__((destructor)) void leave(void) {
  char line[64], *at = line;
  int started = 0;
  if (told || !dlopen || !dl_iterate_phdr || !dlsym) return;
  struct search search = {"PMPI_Initialized", 0};
  dl_iterate_phdr(look, &search);
  if (!search.found || ((int (*)(int *))search.found)(&started) || !started) return;
  at = put(at, "mpi ");
  at = put(at, family());
  at = put(at, "\n");
  note(line, (size)(at - line));
}

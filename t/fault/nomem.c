/*
 * Lets one allocation of a program and its children find no memory. Preloaded:
 *
 *	LD_PRELOAD=nomem.so NOMEM=N NOMEM_COUNT=FILE BUILD_DIR=DIRECTORY COMMAND...
 *
 * The N-th allocation since main() of any program that lies below DIRECTORY fails, in whichever process it comes;
 * with "N+" every later one does, too; with 0 none. What a loader, or a program of somebody else's, allocates is not
 * counted. All processes count in FILE, a number of eight bytes. Where it has room for more, eight bytes follow for each
 * allocation, which are others for another chain of callers (under setarch -R: the same in every process). With
 * NOMEM_TRACE set, who asked in vain is said on standard error.
 *
 * It stands before the C library's own, which every library asks through the same names: strdup(), fopen()
 * or getline() find no memory, either.
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *pointer, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void),
		      void (*fini)(void), void (*rtld_fini)(void), void *stack_end);

static atomic_ullong *count; /* NULL: nothing fails here */
static unsigned long long room; /* for stacks, after it */
static unsigned long long target;
static bool lasting;
static __thread bool tracing; /* backtrace() allocates */

static void trace(void)
{
	void *frames[32];

	if (!getenv("NOMEM_TRACE"))
		return;
	tracing = true;
	backtrace_symbols_fd(frames, backtrace(frames, 32), STDERR_FILENO);
	tracing = false;
}

static void note_stack(unsigned long long number)
{
	uint64_t hash = 14695981039346656037u;
	void *frames[32];
	int depth;

	tracing = true;
	depth = backtrace(frames, 32);
	for (int i = 0; i < depth; i++)
		hash = (hash ^ (uintptr_t)frames[i]) * 1099511628211u;
	atomic_store(&count[number], hash);
	tracing = false;
}

static bool fails(void)
{
	unsigned long long number;

	if (!count || tracing)
		return false;
	number = atomic_fetch_add(count, 1) + 1;
	if (number <= room)
		note_stack(number);
	if (!target || (lasting ? number < target : number != target))
		return false;
	if (number == target)
		trace();
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t number, size_t size)
{
	return fails() ? NULL : __libc_calloc(number, size);
}

void *realloc(void *pointer, size_t size)
{
	return fails() ? NULL : __libc_realloc(pointer, size);
}

void *reallocarray(void *pointer, size_t number, size_t size)
{
	size_t whole;

	if (__builtin_mul_overflow(number, size, &whole)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(pointer, whole);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return fails() ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **ret, size_t alignment, size_t size)
{
	void *pointer = fails() ? NULL : __libc_memalign(alignment, size);

	if (!pointer)
		return ENOMEM;
	*ret = pointer;
	return 0;
}

static bool is_ours(void)
{
	const char *directory = getenv("BUILD_DIR");
	char program[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);

	if (!directory || length < 0)
		return false;
	program[length] = '\0';
	return !strncmp(program, directory, strlen(directory));
}

static void begin(void)
{
	const char *what = getenv("NOMEM"), *path = getenv("NOMEM_COUNT");
	int fd = what && path && is_ours() ? open(path, O_RDWR | O_CLOEXEC) : -1;
	struct stat st;
	void *shared;
	char *end;

	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	target = strtoull(what, &end, 10);
	lasting = *end == '+';
	shared = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (shared == MAP_FAILED)
		return;
	room = (unsigned long long)st.st_size / sizeof(*count) - 1;
	if (room)
		backtrace(&(void *){NULL}, 1); /* it loads a library: while we may */
	count = shared;
}

static int (*real_main)(int, char **, char **);

static int main_here(int argc, char **argv, char **environment)
{
	begin();
	return real_main(argc, argv, environment);
}

int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void),
		      void (*fini)(void), void (*rtld_fini)(void), void *stack_end)
{
	__typeof__(__libc_start_main) *next = (__typeof__(next))(uintptr_t)dlsym(RTLD_NEXT, "__libc_start_main");

	real_main = main;
	return next(main_here, argc, argv, init, fini, rtld_fini, stack_end);
}

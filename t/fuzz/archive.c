/*
 * Any bytes as an archive. Beyond what sanitizers see: nothing but regular files, directories and
 * links comes to be, no mode beyond 0755, no link that leads out.
 * seeds: test-data/archives
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <intent/archive.h>
#include <intent/file.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char base[] = "/dev/shm/platypus-fuzz.XXXXXX";
static int base_fd = -1;

static void leave(void)
{
	struct intent_error err;

	(void)intent_tree_remove(base, &err);
}

static int look(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	char target[8192];
	ssize_t count;

	(void)type, (void)ftw;
	if (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode) && !S_ISLNK(st->st_mode))
		abort();
	if (!S_ISLNK(st->st_mode) && ftw->level > 0 && (st->st_mode & 07022))
		abort();
	if (S_ISLNK(st->st_mode)) {
		int up = 0;

		count = readlink(path, target, sizeof(target) - 1);
		if (count <= 0 || target[0] == '/')
			abort();
		target[count] = '\0';
		for (const char *at = target; (at = strstr(at, "..")); at += 2)
			up += (at == target || at[-1] == '/') && (at[2] == '/' || at[2] == '\0');
		if (up > ftw->level - 1)
			abort();
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct intent_archive_limits limits = {.bytes = 1 << 20, .entries = 100, .ratio = 20};
	struct intent_error err = {0};
	int in = memfd_create("fuzz", MFD_CLOEXEC), root, code;

	if (base_fd < 0) {
		if (!mkdtemp(base))
			abort();
		base_fd = open(base, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
		atexit(leave);
	}
	if (in < 0 || intent_write_all(in, data, size) < 0 || lseek(in, 0, SEEK_SET) < 0 ||
	    mkdirat(base_fd, "r", 0755) < 0)
		abort();
	root = openat(base_fd, "r", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	code = intent_archive_unpack(in, root, &limits, NULL, &err);
	if (code && (err.code != code || !err.msg[0] || !intent_utf8_is_clean(err.msg, strlen(err.msg))))
		abort();
	close(in);
	close(root);
	if (nftw(base, look, 8, FTW_PHYS) != 0 || intent_tree_remove_at(base_fd, "r", &err) != 0)
		abort();
	return 0;
}

/*
 * The preparer's publisher against an unpacker that was taken over: trees as intent_archive_unpack() would
 * never make them are refused, whole, and nothing gets a name. As root, who alone can have such
 * an unpacker.
 *
 *	publish DIRECTORY          TAP; DIRECTORY is empty, of root, and may be filled
 */
#include <ftw.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <intent/file.h>
/* Not of the library, and its parts are static. */
/* NOLINTNEXTLINE(bugprone-suspicious-include) */
#include "../../agents/preparer/publish.c"

enum { UNPACKER = 61234, STRANGER = 61235 };

static const char *top;
static int installs_fd;
static unsigned count;

/* ---- what an unpacker may leave; each returns 0 when it could ---- */

static int file(int dirfd, const char *name, mode_t mode)
{
	intent_close_auto int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL, 0644);

	return fd < 0 || write(fd, "x", 1) != 1 || fchown(fd, UNPACKER, UNPACKER) < 0 ? -1 : fchmod(fd, mode);
}

static int directory(int dirfd, const char *name, mode_t mode)
{
	return mkdirat(dirfd, name, 0755) < 0 || fchownat(dirfd, name, UNPACKER, UNPACKER, 0) < 0 ? -1 :
		fchmodat(dirfd, name, mode, 0);
}

static int nothing(int fd) { (void)fd; return 0; }
static int setuid_bit(int fd) { return file(fd, "bad", 04755); }
static int setgid_bit(int fd) { return file(fd, "bad", 02755); }
static int sticky_file(int fd) { return file(fd, "bad", 01644); }
static int writable_by_all(int fd) { return file(fd, "bad", 0666); }
static int setgid_directory(int fd) { return directory(fd, "bad", 02755); }
static int closed_directory(int fd) { return directory(fd, "bad", 0); }
static int open_directory(int fd) { return directory(fd, "bad", 0777); }

static int of_root(int fd)
{
	return file(fd, "bad", 0644) < 0 ? -1 : fchownat(fd, "bad", 0, 0, 0);
}

static int of_stranger(int fd)
{
	return file(fd, "bad", 0644) < 0 ? -1 : fchownat(fd, "bad", STRANGER, STRANGER, 0);
}

static int strangers_directory(int fd)
{
	return directory(fd, "bad", 0755) < 0 ? -1 : fchownat(fd, "bad", STRANGER, STRANGER, 0);
}

static int deep_setuid(int fd)
{
	intent_close_auto int below = directory(fd, "good", 0755) < 0 ? -1 : openat(fd, "good", O_RDONLY);

	return below < 0 ? -1 : file(below, "bad", 04755);
}

static int node(int fd, mode_t mode, dev_t device)
{
	return mknodat(fd, "bad", mode | 0644, device) < 0 ? -1 : fchownat(fd, "bad", UNPACKER, UNPACKER, 0);
}

static int fifo(int fd) { return node(fd, S_IFIFO, 0); }
static int character_device(int fd) { return node(fd, S_IFCHR, makedev(1, 3)); }
static int block_device(int fd) { return node(fd, S_IFBLK, makedev(7, 0)); }
static int unix_socket(int fd) { return node(fd, S_IFSOCK, 0); }

/* The unpacker's own file, kept open to be written once it is root's. */
static int hard_link_outside(int fd)
{
	int dirfd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int code = dirfd < 0 || file(dirfd, "outside", 0644) < 0 ? -1 : linkat(dirfd, "outside", fd, "bad", 0);

	close(dirfd);
	return code;
}

/* A file of root's that anybody may read: with protected_hardlinks off an unpacker could link it. */
static int hard_link_of_root(int fd)
{
	int dirfd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int code = dirfd < 0 || file(dirfd, "roots", 0644) < 0 || fchownat(dirfd, "roots", 0, 0, 0) < 0 ? -1 :
		linkat(dirfd, "roots", fd, "bad", 0);

	close(dirfd);
	return code;
}

static int linked_link(int fd)
{
	return symlinkat("good", fd, "bad") < 0 || fchownat(fd, "bad", UNPACKER, UNPACKER, AT_SYMLINK_NOFOLLOW) < 0 ?
		-1 : linkat(fd, "bad", fd, "bad2", 0);
}

static int strangers_link(int fd)
{
	return symlinkat("good", fd, "bad") < 0 ? -1 :
		fchownat(fd, "bad", STRANGER, STRANGER, AT_SYMLINK_NOFOLLOW);
}

static int record(int fd) { return file(fd, PREPARER_RECORD, 0644); }

/* Its own words elsewhere: O_EXCL does not follow it. */
static int record_link(int fd)
{
	return symlinkat("../../victim", fd, PREPARER_RECORD) < 0 ? -1 :
		fchownat(fd, PREPARER_RECORD, UNPACKER, UNPACKER, AT_SYMLINK_NOFOLLOW);
}

static int too_deep(int fd)
{
	int at = dup(fd);

	for (int i = 0; at >= 0 && i < 80; i++) {
		int below = directory(at, "d", 0755) < 0 ? -1 : openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		close(at);
		at = below;
	}
	if (at < 0)
		return -1;
	close(at);
	return 0;
}

/* Another file system in the place of a directory. */
static int other_device(int fd)
{
	char path[64];

	if (directory(fd, "bad", 0755) < 0)
		return -1;
	snprintf(path, sizeof path, "/proc/self/fd/%d/bad", fd);
	return mount("none", path, "tmpfs", 0, "mode=0755,uid=61234,gid=61234");
}

/* ---- what it may leave indeed ---- */

static int two_names(int fd)
{
	return file(fd, "one", 0755) < 0 ? -1 : linkat(fd, "one", fd, "two", 0);
}

static int good_link(int fd)
{
	return symlinkat("good", fd, "link") < 0 ? -1 :
		fchownat(fd, "link", UNPACKER, UNPACKER, AT_SYMLINK_NOFOLLOW);
}

static const struct {
	const char *name;
	int (*make)(int fd);
	const char *words; /* of the refusal; NULL: it is published */
} rows[] = {
	{"a plain tree", nothing, NULL},
	{"two names inside", two_names, NULL},
	{"a symbolic link", good_link, NULL},
	{"a setuid bit", setuid_bit, "'bad' has a mode other than 0755 or 0644"},
	{"a setgid bit", setgid_bit, "'bad' has a mode"},
	{"a sticky file", sticky_file, "'bad' has a mode"},
	{"a setuid bit further down", deep_setuid, "'bad' has a mode"},
	{"a file that all may write", writable_by_all, "'bad' has a mode"},
	{"a setgid directory", setgid_directory, "'bad' has a mode other than 0755"},
	{"a directory of mode 000", closed_directory, "'bad' has a mode other than 0755"},
	{"a directory that all may write", open_directory, "'bad' has a mode other than 0755"},
	{"a file of root's", of_root, "'bad' does not belong to the unpacker"},
	{"a file of a stranger's", of_stranger, "'bad' does not belong to the unpacker"},
	{"a directory of a stranger's", strangers_directory, "'bad' does not belong to the unpacker"},
	{"a link of a stranger's", strangers_link, "'bad' does not belong to the unpacker"},
	{"a fifo", fifo, "'bad' is no file, directory or link"},
	{"a socket", unix_socket, "'bad' is no file, directory or link"},
	{"a character device", character_device, "'bad' is no file, directory or link"},
	{"a block device", block_device, "'bad' is no file, directory or link"},
	{"a hard link from outside", hard_link_outside, "names outside the tree"},
	{"a hard link to a file of root's", hard_link_of_root, "names outside the tree"},
	{"a symbolic link of two names", linked_link, "is a link with several names"},
	{"a record", record, "a name that is kept for the record"},
	{"a link for a record", record_link, "a name that is kept for the record"},
	{"a tree too deep", too_deep, "too deep"},
	{"another file system", other_device, "'bad' does not belong to the unpacker"},
};

/* ---- trying ---- */

static void result(bool good, const char *name, const char *what, const struct intent_error *err)
{
	printf("%sok %u - %s: %s\n", good ? "" : "not ", ++count, name, what);
	if (!good)
		printf("# code %d: %s\n", err->code, err->code ? err->msg : "(none)");
	fflush(stdout);
}

/* Anything in `installs` but staging trees? */
static bool is_published(void)
{
	return faccessat(installs_fd, "app_1", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int make_staging(void)
{
	int fd = -1;

	if (mkdirat(installs_fd, ".tmp-x", 0700) == 0)
		fd = openat(installs_fd, ".tmp-x", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fchown(fd, UNPACKER, UNPACKER) < 0 || file(fd, "fine", 0755) < 0)
		return -1;
	return fd;
}

static int publish(int staging_fd, struct intent_error *err)
{
	intent_json_auto json_t *words = json_pack("{s:s}", "app", "app");

	*err = (struct intent_error){0};
	return preparer_publish(installs_fd, ".tmp-x", staging_fd, UNPACKER, "app_1", words, err);
}

static void clean_up(int staging_fd)
{
	struct intent_error ignored;
	char path[64];

	snprintf(path, sizeof path, "/proc/self/fd/%d/bad", staging_fd);
	(void)umount2(path, MNT_DETACH);
	close(staging_fd);
	(void)intent_tree_remove_at(installs_fd, ".tmp-x", &ignored);
	(void)intent_tree_remove_at(installs_fd, "app_1", &ignored);
}

static int look(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	mode_t mode = st->st_mode & 07777;
	bool good = st->st_uid == 0 && st->st_gid == 0 &&
		(type == FTW_SL || mode == 0755 || (type == FTW_F && mode == 0644));

	(void)ftw;
	if (!good)
		printf("# %s: of %u, mode %04o\n", path, (unsigned)st->st_uid, (unsigned)mode);
	return !good;
}

/* All of the published tree is root's, and writable by nobody else. */
static bool is_roots(void)
{
	intent_free_auto char *path = intent_format("%s/installs/app_1", top);

	return nftw(path, look, 8, FTW_PHYS) == 0;
}

static void try_row(size_t row)
{
	const char *name = rows[row].name, *words = rows[row].words;
	int fd = make_staging(), code;
	struct intent_error err = {0};

	if (fd < 0 || rows[row].make(fd) < 0) {
		/* A container forbids devices and mounts; nothing forbids the rest. */
		printf("ok %u - %s # SKIP cannot be made here: %s\n", ++count, name, strerror(errno));
		clean_up(fd);
		return;
	}
	code = publish(fd, &err);
	if (!words) {
		result(!code && is_published() && is_roots(), name, "published, and root's", &err);
	} else {
		result(code == INTENT_EREFUSED && strstr(err.msg, words), name, "refused", &err);
		result(!is_published(), name, "nothing is published", &err);
	}
	clean_up(fd);
}

/* ---- one that goes on working while we look ---- */

/*
 * As the unpacker's user, with a descriptor that it kept of a directory in the tree: changes modes
 * forth and back, adds files, and swaps one for a link to the victim.
 */
static void swap(int staging_fd)
{
	int fd = openat(staging_fd, "sub", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || setgroups(0, NULL) < 0 || setresgid(UNPACKER, UNPACKER, UNPACKER) < 0 ||
	    setresuid(UNPACKER, UNPACKER, UNPACKER) < 0)
		_exit(1);
	for (unsigned turn = 0; getppid() != 1; turn++) {
		int open_to_all = turn % 8 == 0, code = 0;
		int made = openat(fd, "new", O_WRONLY | O_CREAT | O_EXCL, 0644);

		code |= fchmod(fd, open_to_all ? 0777 : 0755);
		code |= fchmodat(fd, "kept", open_to_all ? 0666 : 0644, 0);
		if (turn % 16 == 1)
			code |= symlinkat("../../../victim", fd, "link");
		code |= renameat(fd, turn % 16 == 1 ? "link" : "new", fd, "swapped");
		if (made >= 0)
			close(made);
		/* Some of it fails once we are shut out: that is the point. */
		if (code)
			usleep(10);
	}
	_exit(0);
}

static bool victim_is_safe(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_uid == STRANGER && st.st_size == 1;
}

static int make_moving(void)
{
	int fd = make_staging();
	intent_close_auto int sub = fd < 0 || directory(fd, "sub", 0755) < 0 ? -1 :
		openat(fd, "sub", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (sub < 0 || file(sub, "kept", 0644) < 0 || file(sub, "swapped", 0644) < 0)
		return -1;
	/* The more there is to look at, the longer is the race. */
	for (int i = 0; i < 50; i++) {
		char name[16];

		snprintf(name, sizeof name, "f%d", i);
		if (file(sub, name, 0644) < 0)
			return -1;
	}
	return fd;
}

/* Whatever the race gives: a victim outside is untouched, and what is published is root's. */
static void race(int turns)
{
	intent_free_auto char *victim = intent_format("%s/victim", top);
	int published = 0, dirfd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct intent_error err = {0};
	bool good = dirfd >= 0 && file(dirfd, "victim", 0600) == 0 && chown(victim, STRANGER, STRANGER) == 0;

	for (int i = 0; good && i < turns; i++) {
		int fd = make_moving();
		pid_t pid = fd < 0 ? -1 : fork();

		if (pid == 0)
			swap(fd);
		usleep((useconds_t)(i % 10) * 300);
		int code = publish(fd, &err);

		if (pid > 0) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
		}
		published += !code;
		good = pid > 0 && (code ? !is_published() : is_published() && is_roots()) && victim_is_safe(victim);
		clean_up(fd);
	}
	close(dirfd);
	printf("# %d of %d were published\n", published, turns);
	result(good, "an unpacker that goes on", "no victim, and what is published is root's", &err);
}

int main(int argc, char **argv)
{
	intent_free_auto char *installs = argc == 2 ? intent_format("%s/installs", argv[1]) : NULL;

	if (!installs || geteuid() != 0) {
		fprintf(stderr, "usage: publish DIRECTORY (as root)\n");
		return 100;
	}
	top = argv[1];
	/* Mounts of ours are nobody else's. */
	if (unshare(CLONE_NEWNS) == 0)
		(void)mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	if (mkdir(installs, 0755) < 0 ||
	    (installs_fd = open(installs, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return 111;
	for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++)
		try_row(row);
	race(200);
	return 0;
}

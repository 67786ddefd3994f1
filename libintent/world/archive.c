/* Writing what a tar archive holds below a directory. See archive.h for the policy. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <locale.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <intent/file.h>
#include "unpack.h"

struct unpack {
	int root_fd;
	int parent_fd;             /* of the directory written to last, or -1 */
	char parent[INTENT__ARCHIVE_PATH_MAX + 1];
	struct intent_archive_limits limits;
	struct intent_archive_totals totals;
	struct intent__archive_names names;
	struct intent__archive_stream *stream;
	uint64_t tar_bytes;        /* handed to the tar reader, or drained */
	uint64_t tar_data_end;     /* where the last byte other than zero ended */
	struct intent_error trouble; /* of the read callback */
	struct archive *tar;
};

/* ---- the tar reader's food ---- */

static int feed(struct unpack *unpack, const void **ret_bytes, size_t *ret_count,
		struct intent_error *err)
{
	int code = intent__archive_stream_read(unpack->stream, ret_bytes, ret_count, err);
	const unsigned char *bytes = *ret_bytes;

	if (code)
		return code;
	for (size_t i = *ret_count; i > 0; i--) {
		if (bytes[i - 1]) {
			unpack->tar_data_end = unpack->tar_bytes + i;
			break;
		}
	}
	unpack->tar_bytes += *ret_count;
	return 0;
}

static la_ssize_t tar_read(struct archive *tar, void *data, const void **ret_bytes)
{
	struct unpack *unpack = data;
	size_t count = 0;

	if (feed(unpack, ret_bytes, &count, &unpack->trouble)) {
		archive_set_error(tar, EIO, "%s", unpack->trouble.msg);
		return -1;
	}
	return (la_ssize_t)count;
}

static int tar_fail(const struct unpack *unpack, struct intent_error *err)
{
	const char *words = archive_error_string(unpack->tar);

	if (unpack->trouble.code) {
		*err = unpack->trouble;
		return err->code;
	}
	if (archive_errno(unpack->tar) == ENOMEM)
		return intent_fail(err, -ENOMEM, "out of memory");
	if (words && strstr(words, "Unrecognized archive format"))
		return intent_fail(err, INTENT_EMALFORMED, "neither a tar archive nor one packed with gzip, "
				   "zstd or xz, or damaged at its first byte");
	return intent_fail(err, INTENT_EMALFORMED, "no sound tar archive: %s",
			   words ? words : "no reason given");
}

/* ---- writing ---- */

static int open_beneath(int dirfd, const char *path, uint64_t flags, mode_t mode)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC | O_NOFOLLOW,
		.mode = mode,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
			   RESOLVE_NO_XDEV,
	};

	return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
}

static int open_directory(const struct unpack *unpack, const char *path)
{
	return open_beneath(unpack->root_fd, *path ? path : ".", O_PATH | O_DIRECTORY, 0);
}

static int write_fail(struct intent_error *err, const char *path)
{
	char shown[128];

	if (errno == ENOSYS)
		return intent_fail_errno(err, "openat2(2) is missing here: Linux 5.6 or later is "
					 "needed, and a sandbox that lets it through");
	return intent_fail_errno(err, "cannot write '%s'", intent__archive_show(path, shown));
}

/* mkdir -p below the root; policy has admitted every part as a directory. */
static int make_directories(const struct unpack *unpack, const char *path, struct intent_error *err)
{
	char part[INTENT__ARCHIVE_PATH_MAX + 1];

	for (const char *end = path; end;) {
		intent_close_auto int fd = -1;
		char *leaf;

		end = strchr(end, '/');
		memcpy(part, path, end ? (size_t)(end - path) : strlen(path) + 1);
		if (end)
			part[end++ - path] = '\0';
		leaf = strrchr(part, '/');
		if (leaf)
			*leaf++ = '\0';
		fd = open_directory(unpack, leaf ? part : "");
		if (fd < 0 || (mkdirat(fd, leaf ? leaf : part, 0755) < 0 && errno != EEXIST))
			return write_fail(err, path);
	}
	return 0;
}

/* The open parent of path, borrowed until the next call; *ret_leaf points into path. */
static int parent_of(struct unpack *unpack, const char *path, int *ret_fd, const char **ret_leaf,
		     struct intent_error *err)
{
	const char *slash = strrchr(path, '/');
	size_t count = slash ? (size_t)(slash - path) : 0;
	int code;

	*ret_leaf = slash ? slash + 1 : path;
	if (unpack->parent_fd < 0 || strncmp(unpack->parent, path, count) != 0 ||
	    unpack->parent[count] != '\0') {
		if (unpack->parent_fd >= 0)
			close(unpack->parent_fd);
		memcpy(unpack->parent, path, count);
		unpack->parent[count] = '\0';
		unpack->parent_fd = open_directory(unpack, unpack->parent);
		if (unpack->parent_fd < 0 && errno == ENOENT) {
			if ((code = make_directories(unpack, unpack->parent, err)))
				return code;
			unpack->parent_fd = open_directory(unpack, unpack->parent);
		}
		if (unpack->parent_fd < 0)
			return write_fail(err, path);
	}
	*ret_fd = unpack->parent_fd;
	return 0;
}

static int write_block(int fd, const char *bytes, size_t count, off_t offset)
{
	while (count > 0) {
		ssize_t written = pwrite(fd, bytes, count, offset);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		bytes += written;
		count -= (size_t)written;
		offset += written;
	}
	return 0;
}

/* Blocks come with their offset: what lies between them is a hole and stays one. */
static int write_content(struct unpack *unpack, int fd, const char *path, uint64_t size,
			 struct intent_error *err)
{
	uint64_t end = 0;

	for (;;) {
		const void *bytes;
		la_int64_t offset;
		size_t count;
		int got = archive_read_data_block(unpack->tar, &bytes, &count, &offset);

		if (got == ARCHIVE_EOF)
			break;
		if (got != ARCHIVE_OK)
			return tar_fail(unpack, err);
		if (offset < 0 || (uint64_t)offset < end || (uint64_t)offset > size ||
		    count > size - (uint64_t)offset)
			return intent_fail(err, INTENT_EMALFORMED,
					   "no sound tar archive: data outside its file");
		if (write_block(fd, bytes, count, offset) < 0)
			return write_fail(err, path);
		end = (uint64_t)offset + count;
	}
	if (end < size && ftruncate(fd, (off_t)size) < 0)
		return write_fail(err, path);
	return 0;
}

static int write_file(struct unpack *unpack, struct archive_entry *entry, const char *path,
		      struct intent_error *err)
{
	mode_t mode = archive_entry_mode(entry) & S_IXUSR ? 0755 : 0644;
	int64_t size = archive_entry_size_is_set(entry) ? archive_entry_size(entry) : -1;
	intent_close_auto int fd = -1;
	char shown[128], limit[24];
	const char *leaf;
	int parent, code;

	intent__archive_show(path, shown);
	if (size < 0)
		return intent_fail(err, INTENT_EMALFORMED, "entry '%s' has no size", shown);
	if ((uint64_t)size > unpack->limits.bytes - unpack->totals.bytes) {
		intent_size_format(unpack->limits.bytes, limit);
		return intent_fail(err, INTENT_ETOOBIG, "the files up to '%s' exceed %s together; "
				   "if that is right, raise the limit", shown, limit);
	}
	if ((code = parent_of(unpack, path, &parent, &leaf, err)))
		return code;
	fd = open_beneath(parent, leaf, O_WRONLY | O_CREAT | O_EXCL, mode);
	if (fd < 0)
		return write_fail(err, path);
	unpack->totals.bytes += (uint64_t)size;
	return write_content(unpack, fd, path, (uint64_t)size, err);
}

static int write_link(struct unpack *unpack, struct archive_entry *entry, const char *path,
		      const char *target, bool hard, struct intent_error *err)
{
	intent_close_auto int from = -1;
	const char *leaf, *slash = strrchr(target, '/');
	char directory[INTENT__ARCHIVE_PATH_MAX + 1];
	int parent, code;

	if (archive_entry_size_is_set(entry) && archive_entry_size(entry) > 0)
		return intent_fail(err, INTENT_EREFUSED, "entry '%s' is a link with a content",
				   intent__archive_show(path, directory));
	if ((code = parent_of(unpack, path, &parent, &leaf, err)))
		return code;
	if (!hard)
		return symlinkat(target, parent, leaf) < 0 ? write_fail(err, path) : 0;
	snprintf(directory, sizeof(directory), "%.*s", slash ? (int)(slash - target) : 0, target);
	from = open_directory(unpack, directory);
	if (from < 0 || linkat(from, slash ? slash + 1 : target, parent, leaf, 0) < 0)
		return write_fail(err, path);
	return 0;
}

static int write_directory(struct unpack *unpack, const char *path, struct intent_error *err)
{
	const char *leaf;
	int parent, code;

	if (path[0] == '\0')
		return 0;
	if ((code = parent_of(unpack, path, &parent, &leaf, err)))
		return code;
	return mkdirat(parent, leaf, 0755) < 0 && errno != EEXIST ? write_fail(err, path) : 0;
}

/* ---- the archive as a whole ---- */

static enum intent__archive_kind kind_of(struct archive_entry *entry)
{
	if (archive_entry_hardlink(entry))
		return INTENT__ARCHIVE_HARDLINK;
	switch (archive_entry_filetype(entry)) {
	case AE_IFREG: return INTENT__ARCHIVE_FILE;
	case AE_IFDIR: return INTENT__ARCHIVE_DIRECTORY;
	case AE_IFLNK: return INTENT__ARCHIVE_SYMLINK;
	default: return INTENT__ARCHIVE_OTHER;
	}
}

static int write_entry(struct unpack *unpack, struct archive_entry *entry, struct intent_error *err)
{
	char path[INTENT__ARCHIVE_PATH_MAX + 1], target[INTENT__ARCHIVE_PATH_MAX + 1];
	enum intent__archive_kind kind = kind_of(entry);
	const char *link = kind == INTENT__ARCHIVE_HARDLINK ? archive_entry_hardlink(entry) :
			   kind == INTENT__ARCHIVE_SYMLINK ? archive_entry_symlink(entry) : NULL;
	int code = intent__archive_admit(&unpack->names, kind, archive_entry_pathname(entry), link,
					 path, target, err);

	if (code)
		return code;
	if (kind == INTENT__ARCHIVE_FILE)
		code = write_file(unpack, entry, path, err);
	else if (kind == INTENT__ARCHIVE_DIRECTORY)
		code = write_directory(unpack, path, err);
	else
		code = write_link(unpack, entry, path, target, kind == INTENT__ARCHIVE_HARDLINK, err);
	unpack->totals.entries = unpack->names.count;
	unpack->totals.packed = intent__archive_stream_packed(unpack->stream);
	return code;
}

/*
 * A warning is refused, because what another tar makes of such an entry may differ from what
 * was checked here; but for the one that says that a name is not in our (the "C")
 * character set: the name is then given as it stands.
 */
static bool is_harmless(struct archive *tar)
{
	const char *words = archive_error_string(tar);

	return words && strstr(words, "can't be converted from");
}

/*
 * libarchive takes a tar that was cut between two blocks for a whole one. So: from where it
 * found the end there must be two blocks of zeros, and nothing but zeros after them.
 */
static int check_end(struct unpack *unpack, struct intent_error *err)
{
	uint64_t end = (uint64_t)archive_read_header_position(unpack->tar);
	const void *bytes;
	size_t count;
	int code;

	do {
		if ((code = feed(unpack, &bytes, &count, err)))
			return code;
	} while (count > 0);
	unpack->totals.packed = intent__archive_stream_packed(unpack->stream);
	if (unpack->tar_bytes < end + 1024)
		return intent_fail(err, INTENT_EMALFORMED, "the tar archive is cut short: "
				   "its end mark (two zero blocks) is missing");
	if (unpack->tar_data_end > end)
		return intent_fail(err, INTENT_EMALFORMED, "bytes follow the end of the tar archive");
	if (unpack->totals.entries == 0)
		return intent_fail(err, INTENT_EMALFORMED, "the archive holds no entry");
	return 0;
}

static int read_entries(struct unpack *unpack,
			void (*on_progress)(const struct intent_archive_totals *, void *), void *data,
			struct intent_error *err)
{
	for (;;) {
		struct archive_entry *entry;
		int code, got = archive_read_next_header(unpack->tar, &entry);

		if (got == ARCHIVE_EOF)
			return check_end(unpack, err);
		if (got != ARCHIVE_OK && !(got == ARCHIVE_WARN && is_harmless(unpack->tar)))
			return tar_fail(unpack, err);
		if ((code = write_entry(unpack, entry, err)))
			return code;
		if (on_progress)
			on_progress(&unpack->totals, data);
	}
}

static int open_tar(struct unpack *unpack, struct intent_error *err)
{
	unpack->tar = archive_read_new();
	if (!unpack->tar)
		return intent_fail(err, -ENOMEM, "out of memory");
	if (archive_read_support_format_tar(unpack->tar) != ARCHIVE_OK ||
	    archive_read_open(unpack->tar, unpack, NULL, tar_read, NULL) != ARCHIVE_OK)
		return tar_fail(unpack, err);
	return 0;
}

static void release(struct unpack *unpack)
{
	if (unpack->tar)
		archive_read_free(unpack->tar);
	intent__archive_stream_close(unpack->stream);
	intent__archive_names_clear(&unpack->names);
	if (unpack->parent_fd >= 0)
		close(unpack->parent_fd);
	free(unpack);
}

int intent_archive_unpack(int in_fd, int root_fd, const struct intent_archive_limits *limits,
			  void (*on_progress)(const struct intent_archive_totals *, void *data), void *data,
			  struct intent_archive_totals *ret, struct intent_error *err)
{
	struct unpack *unpack = calloc(1, sizeof(*unpack));
	locale_t plain = newlocale(LC_CTYPE_MASK, "C", (locale_t)0), before;
	mode_t mask;
	int code;

	if (!unpack)
		return intent_fail(err, -ENOMEM, "out of memory");
	/* Names pass as they are; see is_harmless(). */
	before = uselocale(plain);
	mask = umask(022);
	unpack->root_fd = root_fd;
	unpack->parent_fd = -1;
	unpack->limits = (struct intent_archive_limits){
		.bytes = limits && limits->bytes ? limits->bytes : 4ull << 30,
		.entries = limits && limits->entries ? limits->entries : 200000,
		.ratio = limits && limits->ratio ? limits->ratio : 200,
	};
	unpack->names.count_max = unpack->limits.entries;
	code = intent__archive_stream_open(in_fd, &unpack->limits, &unpack->stream, err);
	if (code == 0)
		code = open_tar(unpack, err);
	if (code == 0)
		code = read_entries(unpack, on_progress, data, err);
	if (code == 0 && ret)
		*ret = unpack->totals;
	release(unpack);
	umask(mask);
	uselocale(before);
	freelocale(plain);
	return code;
}

/* Writing the entries of an archive below a directory. See archive.h for the policy. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <intent/file.h>
#include "unpack.h"

struct tree {
	int root_fd;
	int parent_fd;             /* of the directory written to last, or -1 */
	char parent[INTENT__ARCHIVE_PATH_MAX + 1];
	int file_fd;               /* of the file being written, or -1 */
	char file[INTENT__ARCHIVE_PATH_MAX + 1];
	uint64_t size, written;    /* of it: how long it is to be, where its last bytes ended */
	struct intent_archive_limits limits;
	struct intent__archive_names names;
	uint64_t bytes;            /* sizes of all files so far */
	mode_t mask;               /* of the process, before */
};

static int write_fail(struct intent_error *err, const char *path)
{
	char shown[128];

	return intent_fail_errno(err, "cannot write '%s'", intent__archive_show(path, shown));
}

/* ---- places ---- */

/*
 * One component after the other, none of them a link: openat2() does that in one call, but a filter that cannot see
 * into its structure (RestrictSUIDSGID= of systemd) takes it away.
 */
static int open_directory(const struct tree *tree, const char *path)
{
	int fd = fcntl(tree->root_fd, F_DUPFD_CLOEXEC, 3);

	while (fd >= 0 && *path) {
		char part[NAME_MAX + 1];
		size_t count = strcspn(path, "/");
		int below = -1;

		if (count < sizeof(part)) {
			memcpy(part, path, count);
			part[count] = '\0';
			below = openat(fd, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		} else {
			errno = ENAMETOOLONG;
		}
		close(fd);
		fd = below;
		path += count + (path[count] == '/');
	}
	return fd;
}

/* mkdir -p below the root; policy has admitted every part as a directory. */
static int make_directories(const struct tree *tree, const char *path, struct intent_error *err)
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
		fd = open_directory(tree, leaf ? part : "");
		if (fd < 0 || (mkdirat(fd, leaf ? leaf : part, 0755) < 0 && errno != EEXIST))
			return write_fail(err, path);
	}
	return 0;
}

/* The open parent of path, borrowed until the next call; *ret_leaf points into path. */
static int parent_of(struct tree *tree, const char *path, int *ret_fd, const char **ret_leaf,
		     struct intent_error *err)
{
	const char *slash = strrchr(path, '/');
	size_t count = slash ? (size_t)(slash - path) : 0;
	int code;

	*ret_leaf = slash ? slash + 1 : path;
	if (tree->parent_fd < 0 || strncmp(tree->parent, path, count) != 0 || tree->parent[count] != '\0') {
		intent__close(&tree->parent_fd);
		memcpy(tree->parent, path, count);
		tree->parent[count] = '\0';
		tree->parent_fd = open_directory(tree, tree->parent);
		if (tree->parent_fd < 0 && errno == ENOENT) {
			if ((code = make_directories(tree, tree->parent, err)))
				return code;
			tree->parent_fd = open_directory(tree, tree->parent);
		}
		if (tree->parent_fd < 0)
			return write_fail(err, path);
	}
	*ret_fd = tree->parent_fd;
	return 0;
}

/* ---- entries ---- */

/* What is not written at its end is a hole and stays one. */
static int finish_file(struct tree *tree, struct intent_error *err)
{
	intent_close_auto int fd = tree->file_fd;

	tree->file_fd = -1;
	if (fd >= 0 && tree->written < tree->size && ftruncate(fd, (off_t)tree->size) < 0)
		return write_fail(err, tree->file);
	return 0;
}

static int begin_file(struct tree *tree, const struct intent__archive_entry *entry, const char *path,
		      struct intent_error *err)
{
	char shown[128], limit[24];
	const char *leaf;
	int parent, code;

	intent__archive_show(path, shown);
	if (entry->size < 0)
		return intent_fail(err, INTENT_EMALFORMED, "entry '%s' has no size", shown);
	if ((uint64_t)entry->size > tree->limits.bytes - tree->bytes) {
		intent_size_format(tree->limits.bytes, limit);
		return intent_fail(err, INTENT_ETOOBIG, "the files up to '%s' exceed %s together; "
				   "if that is right, raise the limit", shown, limit);
	}
	if ((code = parent_of(tree, path, &parent, &leaf, err)))
		return code;
	tree->file_fd = openat(parent, leaf, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			       entry->executable ? 0755 : 0644);
	if (tree->file_fd < 0)
		return write_fail(err, path);
	memcpy(tree->file, path, strlen(path) + 1);
	tree->size = (uint64_t)entry->size;
	tree->written = 0;
	tree->bytes += tree->size;
	return 0;
}

static int make_link(struct tree *tree, const struct intent__archive_entry *entry, const char *path,
		     const char *target, struct intent_error *err)
{
	intent_close_auto int from = -1;
	const char *leaf, *slash = strrchr(target, '/');
	char directory[INTENT__ARCHIVE_PATH_MAX + 1];
	int parent, code;

	if (entry->size > 0)
		return intent_fail(err, INTENT_EREFUSED, "entry '%s' is a link with a content",
				   intent__archive_show(path, directory));
	if ((code = parent_of(tree, path, &parent, &leaf, err)))
		return code;
	if (entry->kind == INTENT__ARCHIVE_SYMLINK)
		return symlinkat(target, parent, leaf) < 0 ? write_fail(err, path) : 0;
	snprintf(directory, sizeof(directory), "%.*s", slash ? (int)(slash - target) : 0, target);
	from = open_directory(tree, directory);
	if (from < 0 || linkat(from, slash ? slash + 1 : target, parent, leaf, 0) < 0)
		return write_fail(err, path);
	return 0;
}

static int make_directory(struct tree *tree, const char *path, struct intent_error *err)
{
	const char *leaf;
	int parent, code;

	if (path[0] == '\0')
		return 0;
	if ((code = parent_of(tree, path, &parent, &leaf, err)))
		return code;
	return mkdirat(parent, leaf, 0755) < 0 && errno != EEXIST ? write_fail(err, path) : 0;
}

static int take_entry(void *data, const struct intent__archive_entry *entry, struct intent_error *err)
{
	struct tree *tree = data;
	char path[INTENT__ARCHIVE_PATH_MAX + 1], target[INTENT__ARCHIVE_PATH_MAX + 1];
	int code = finish_file(tree, err);

	if (!code)
		code = intent__archive_admit(&tree->names, entry->kind, entry->name, entry->link, path, target, err);
	if (code)
		return code;
	if (entry->kind == INTENT__ARCHIVE_FILE)
		return begin_file(tree, entry, path, err);
	if (entry->kind == INTENT__ARCHIVE_DIRECTORY)
		return make_directory(tree, path, err);
	return make_link(tree, entry, path, target, err);
}

static int take_bytes(void *data, const void *bytes, size_t count, int64_t offset, struct intent_error *err)
{
	struct tree *tree = data;
	const char *from = bytes;

	if (tree->file_fd < 0 || offset < 0 || (uint64_t)offset < tree->written || (uint64_t)offset > tree->size ||
	    count > tree->size - (uint64_t)offset)
		return intent_fail(err, INTENT_EMALFORMED, "no sound tar archive: data outside its file");
	tree->written = (uint64_t)offset + count;
	while (count > 0) {
		ssize_t put = pwrite(tree->file_fd, from, count, offset);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return write_fail(err, tree->file);
		from += put;
		count -= (size_t)put;
		offset += put;
	}
	return 0;
}

static int take_end(void *data, struct intent_error *err)
{
	struct tree *tree = data;

	if (tree->names.count == 0)
		return intent_fail(err, INTENT_EMALFORMED, "the archive holds no entry");
	return finish_file(tree, err);
}

void intent__archive_tree_open(int root_fd, const struct intent_archive_limits *limits,
			       struct intent__archive_sink *ret)
{
	struct tree *tree = calloc(1, sizeof(*tree));

	tree->root_fd = root_fd;
	tree->parent_fd = tree->file_fd = -1;
	tree->limits = intent__archive_limits(limits);
	tree->names.count_max = tree->limits.entries;
	tree->mask = umask(022);
	*ret = (struct intent__archive_sink){take_entry, take_bytes, take_end, tree};
}

void intent__archive_tree_close(struct intent__archive_sink *sink, struct intent_archive_totals *ret)
{
	struct tree *tree = sink->data;

	ret->bytes = tree->bytes;
	ret->entries = tree->names.count;
	intent__archive_names_clear(&tree->names);
	intent__close(&tree->file_fd);
	intent__close(&tree->parent_fd);
	umask(tree->mask);
	free(tree);
}

/* Packing a directory so that the same content gives the same bytes. */
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <intent/archive.h>
#include <intent/digest.h>
#include <intent/file.h>

#define DEPTH_MAX 64      /* what the unpacker takes */
#define LINK_MAX_BYTES 4096
#define TIME 315532800    /* 1980-01-01: formats with a later beginning than tar's can hold it too */

struct packing {
	struct archive *archive;
	struct archive_entry *entry;
	struct intent_digest *digest;
	int out;
	bool (*cancel)(void *data);
	void *data;
	struct intent_archive_totals totals;
	struct intent_text path; /* of the entry, below the top */
};

static int on_open(struct archive *archive, void *data)
{
	(void)archive;
	(void)data;
	return ARCHIVE_OK;
}

static la_ssize_t on_write(struct archive *archive, void *data, const void *bytes, size_t count)
{
	struct packing *packing = data;
	int code = intent_write_all(packing->out, bytes, count);

	if (code < 0) {
		archive_set_error(archive, -code, "%s", strerror(-code));
		return -1;
	}
	intent_digest_add(packing->digest, bytes, count);
	packing->totals.packed += count;
	return (la_ssize_t)count;
}

static int fail_archive(struct packing *packing, struct intent_error *err)
{
	const char *words = archive_error_string(packing->archive);

	return intent_fail(err, -EIO, "%s: %s", intent_text_str(&packing->path), words ? words : "cannot be packed");
}

static int begin_entry(struct packing *packing, mode_t type, mode_t mode, int64_t size, const char *target,
		       struct intent_error *err)
{
	struct archive_entry *entry = packing->entry;

	archive_entry_clear(entry);
	archive_entry_set_pathname(entry, intent_text_str(&packing->path));
	archive_entry_set_filetype(entry, type);
	archive_entry_set_perm(entry, type == S_IFLNK ? 0777 : type == S_IFDIR || mode & 0100 ? 0755 : 0644);
	archive_entry_set_size(entry, size);
	archive_entry_set_mtime(entry, TIME, 0);
	if (target)
		archive_entry_set_symlink(entry, target);
	packing->totals.entries++;
	packing->totals.bytes += (uint64_t)size;
	return archive_write_header(packing->archive, entry) == ARCHIVE_OK ? 0 : fail_archive(packing, err);
}

static int pack_file(struct packing *packing, int dirfd, const char *name, struct intent_error *err)
{
	intent_close_auto int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	char block[1 << 16];
	struct stat st;
	int64_t left;

	if (fd < 0 || fstat(fd, &st) < 0)
		return intent_fail_errno(err, "%s", intent_text_str(&packing->path));
	if (begin_entry(packing, S_IFREG, st.st_mode, st.st_size, NULL, err) < 0)
		return err->code;
	for (left = st.st_size; left > 0;) {
		ssize_t got = read(fd, block, left < (int64_t)sizeof(block) ? (size_t)left : sizeof(block));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return intent_fail_errno(err, "%s", intent_text_str(&packing->path));
		if (got == 0)
			return intent_fail(err, INTENT_ESTALE, "%s became shorter while it was packed",
					   intent_text_str(&packing->path));
		if (packing->cancel && packing->cancel(packing->data))
			return intent_fail(err, INTENT_ESTALE, "packing was stopped");
		if (archive_write_data(packing->archive, block, (size_t)got) != got)
			return fail_archive(packing, err);
		left -= got;
	}
	return 0;
}

static int pack_link(struct packing *packing, int dirfd, const char *name, struct intent_error *err)
{
	char target[LINK_MAX_BYTES];
	ssize_t length = readlinkat(dirfd, name, target, sizeof(target) - 1);

	if (length < 0)
		return intent_fail_errno(err, "%s", intent_text_str(&packing->path));
	target[length] = '\0';
	return begin_entry(packing, S_IFLNK, 0, 0, target, err);
}

/* ---- directories ---- */

static int is_no_dot(const struct dirent *entry)
{
	return strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
}

/* By byte, whatever the locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int pack_directory(struct packing *packing, int dirfd, int depth, struct intent_error *err);

static int pack_one(struct packing *packing, int dirfd, const char *name, int depth, struct intent_error *err)
{
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return intent_fail_errno(err, "%s", intent_text_str(&packing->path));
	if (S_ISREG(st.st_mode))
		return pack_file(packing, dirfd, name, err);
	if (S_ISLNK(st.st_mode))
		return pack_link(packing, dirfd, name, err);
	if (!S_ISDIR(st.st_mode))
		return intent_fail(err, INTENT_EREFUSED,
				   "%s is neither file, directory nor link: remove it before packing",
				   intent_text_str(&packing->path));
	intent_close_auto int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return intent_fail_errno(err, "%s", intent_text_str(&packing->path));
	intent_text_puts(&packing->path, "/");
	if (begin_entry(packing, S_IFDIR, 0, 0, NULL, err) < 0)
		return err->code;
	return pack_directory(packing, fd, depth + 1, err);
}

static int pack_directory(struct packing *packing, int dirfd, int depth, struct intent_error *err)
{
	size_t length = packing->path.length;
	struct dirent **names = NULL;
	int count, code = 0;

	if (depth > DEPTH_MAX)
		return intent_fail(err, INTENT_ETOOBIG, "%s is deeper than %d directories",
				   intent_text_str(&packing->path),
				   DEPTH_MAX);
	count = scandirat(dirfd, ".", &names, is_no_dot, by_name);
	if (count < 0)
		return intent_fail_errno(err, "%s", intent_text_str(&packing->path));
	for (int i = 0; i < count; i++) {
		if (!code) {
			intent_text_puts(&packing->path, names[i]->d_name);
			code = pack_one(packing, dirfd, names[i]->d_name, depth, err);
			packing->path.length = length;
			packing->path.data[length] = '\0';
		}
		free(names[i]);
	}
	free(names);
	return code;
}

/* ---- the whole ---- */

static int open_archive(struct packing *packing, struct intent_error *err)
{
	struct archive *archive = packing->archive = archive_write_new();

	packing->entry = archive_entry_new();
	packing->digest = intent_digest_new(INTENT_SHA256);
	if (!packing->digest)
		return intent_fail(err, -ENOTSUP, "this OpenSSL has no SHA-256");
	/* Plain ustar wherever it suffices: what libarchive adds beyond that is the same for the same input. */
	if (archive_write_set_format_pax_restricted(archive) != ARCHIVE_OK ||
	    archive_write_add_filter_gzip(archive) != ARCHIVE_OK ||
	    archive_write_set_filter_option(archive, "gzip", "compression-level", "6") != ARCHIVE_OK ||
	    archive_write_set_filter_option(archive, "gzip", "timestamp", NULL) != ARCHIVE_OK ||
	    archive_write_set_bytes_in_last_block(archive, 1) != ARCHIVE_OK ||
	    archive_write_open(archive, packing, on_open, on_write, NULL) != ARCHIVE_OK)
		return fail_archive(packing, err);
	return 0;
}

int intent_archive_pack(const char *directory, int out_fd, bool (*cancel)(void *data), void *data,
			struct intent_archive_totals *ret, char ret_sha256[65], struct intent_error *err)
{
	struct packing packing = {.out = out_fd, .cancel = cancel, .data = data};
	intent_close_auto int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	unsigned char sum[INTENT_DIGEST_MAX];
	int code;

	if (fd < 0)
		return intent_fail_errno(err, "%s", directory);
	code = open_archive(&packing, err);
	if (!code)
		code = pack_directory(&packing, fd, 1, err);
	if (!code && archive_write_close(packing.archive) != ARCHIVE_OK)
		code = fail_archive(&packing, err);
	if (!code) {
		intent_hex(ret_sha256, sum, intent_digest_finish(packing.digest, sum));
		*ret = packing.totals;
	}
	archive_entry_free(packing.entry);
	archive_write_free(packing.archive);
	intent_digest_free(packing.digest);
	intent_text_release(&packing.path);
	return code;
}

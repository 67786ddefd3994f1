/*
 * Prints what a directory holds, one sorted line per entry, so that two states can be compared.
 *
 *	tree [-t] [-x GLOB]... [-d GLOB]... [-j MEMBER]... DIRECTORY
 *
 * A line: path, type and mode, owner, and the SHA-256 of a file or the target of a link. -x leaves out
 * what matches (path below DIRECTORY, '*' matches '/' too), with all below it; -d only a directory
 * that matches, not what is below. -j takes this
 * member out of every file that is a JSON object before it is digested, at any depth, and the line
 * before it that a directory store begins its files with. -t adds inode
 * and time of change: what nobody touched prints the same line again.
 */
#include <errno.h>
#include <fnmatch.h>
#include <ftw.h>
#include <intent.h>

#define LIST_MAX 64

static const char *excluded[LIST_MAX], *passed[LIST_MAX], *dropped[LIST_MAX];
static int excluded_count, passed_count, dropped_count;
static bool times, failed;
static size_t skip; /* length of DIRECTORY and its slash */
static char **lines;
static size_t count, room;

static void drop_members(json_t *json)
{
	const char *name;
	json_t *value;
	size_t i;
	void *next;

	for (int k = 0; json_is_object(json) && k < dropped_count; k++)
		json_object_del(json, dropped[k]);
	json_object_foreach_safe(json, next, name, value)
		drop_members(value);
	json_array_foreach(json, i, value)
		drop_members(value);
}

static char *content(const char *path)
{
	intent_free_auto char *bytes = NULL;
	intent_json_auto json_t *json = NULL;
	struct intent_error err;
	char digest[65];
	size_t length;

	if (intent_file_read(AT_FDCWD, path, 64 << 20, &bytes, &length, &err) < 0)
		return intent_format("? %s", err.msg);
	const char *text = bytes, *line = memchr(bytes, '\n', length);

	if (line && intent_starts_with(text, "#intent "))
		text = line + 1;
	if (dropped_count && !intent_json_parse(text, length - (size_t)(text - bytes), 0, &json, &err) &&
	    json_is_object(json)) {
		drop_members(json);
		intent_json_digest(json, digest);
	} else {
		intent_sha256_hex(bytes, length, digest);
	}
	return strdup(digest);
}

static char *describe(const char *path, const struct stat *st)
{
	char target[4096] = "";

	if (S_ISREG(st->st_mode))
		return content(path);
	if (!S_ISLNK(st->st_mode))
		return strdup("-");
	return readlink(path, target, sizeof(target) - 1) < 0 ? strdup("?") : intent_format("-> %s", target);
}

static int visit(const char *path, const struct stat *st, int type, struct FTW *at)
{
	const char *below = path + skip;
	char changed[64] = "";

	(void)at;
	if (strlen(path) <= skip)
		return FTW_CONTINUE;
	for (int i = 0; i < excluded_count; i++)
		if (!fnmatch(excluded[i], below, 0))
			return S_ISDIR(st->st_mode) ? FTW_SKIP_SUBTREE : FTW_CONTINUE;
	for (int i = 0; i < passed_count; i++)
		if (S_ISDIR(st->st_mode) && !fnmatch(passed[i], below, 0))
			return FTW_CONTINUE;
	if (type == FTW_NS || type == FTW_DNR) {
		fprintf(stderr, "tree: %s cannot be read\n", path);
		failed = true;
		return FTW_CONTINUE;
	}
	intent_free_auto char *what = describe(path, st);
	if (times)
		snprintf(changed, sizeof(changed), " %lu %lld.%09ld", (unsigned long)st->st_ino,
			 (long long)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
	if (count == room) {
		room = room ? room * 2 : 256;
		lines = realloc(lines, room * sizeof(*lines));
	}
	lines[count++] = intent_format("%s %06o %u:%u %s%s", below, st->st_mode, st->st_uid, st->st_gid, what, changed);
	return FTW_CONTINUE;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int main(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "tx:d:j:")) != -1)
		if (option == 't')
			times = true;
		else if (option == 'x' && excluded_count < LIST_MAX)
			excluded[excluded_count++] = optarg;
		else if (option == 'd' && passed_count < LIST_MAX)
			passed[passed_count++] = optarg;
		else if (option == 'j' && dropped_count < LIST_MAX)
			dropped[dropped_count++] = optarg;
		else
			return 2;
	if (optind != argc - 1)
		return 2;
	skip = strlen(argv[optind]) + 1;
	if (nftw(argv[optind], visit, 16, FTW_PHYS | FTW_ACTIONRETVAL) < 0) {
		fprintf(stderr, "tree: %s: %s\n", argv[optind], strerror(errno));
		return 1;
	}
	qsort(lines, count, sizeof(*lines), compare);
	for (size_t i = 0; i < count; i++)
		puts(lines[i]);
	return failed;
}

/* Which entries of an archive may be written. Pure: no file is touched here. */
#include <search.h>
#include <strings.h>
#include "unpack.h"

enum { COMPONENT_MAX = 255, DEPTH_MAX = 64, TEXT_MAX = 64 << 20 };

struct intent_archive_limits intent__archive_limits(const struct intent_archive_limits *given)
{
	return (struct intent_archive_limits){
		.bytes = given && given->bytes ? given->bytes : 4ull << 30,
		.entries = given && given->entries ? given->entries : 200000,
		.ratio = given && given->ratio ? given->ratio : 200,
	};
}

struct name {
	enum intent__archive_kind kind;
	char path[];
};

/* Case is folded so that no file system, however set up, lets one entry stand for another. */
static int compare(const void *a, const void *b)
{
	return strcasecmp(((const struct name *)a)->path, ((const struct name *)b)->path);
}

void intent__archive_names_clear(struct intent__archive_names *names)
{
	tdestroy(names->tree, free);
	*names = (struct intent__archive_names){.count_max = names->count_max};
}

const char *intent__archive_show(const char *name, char out[128])
{
	size_t length = strlen(name), shown = length < 124 ? length : 121;
	bool clean = intent_utf8_is_clean(name, length);

	/* Never cut within a character: the bytes of one that follow its first are 10xxxxxx. */
	while (clean && shown < length && shown > 0 && ((unsigned char)name[shown] & 0xc0) == 0x80)
		shown--;
	for (size_t i = 0; i < shown; i++) {
		unsigned char c = (unsigned char)name[i];

		out[i] = clean || (c >= ' ' && c < 0x7f) ? name[i] : '?';
	}
	snprintf(out + shown, 4, "%s", shown < length ? "..." : "");
	return out;
}

static struct name *find(const struct intent__archive_names *names, const char *path)
{
	_Alignas(struct name) char room[sizeof(struct name) + INTENT__ARCHIVE_PATH_MAX + 1];
	struct name *key = (struct name *)room;
	struct name *const *found;

	memcpy(key->path, path, strlen(path) + 1);
	found = tfind(key, &names->tree, compare);
	return found ? *found : NULL;
}

static int add(struct intent__archive_names *names, const char *path,
	       enum intent__archive_kind kind, struct intent_error *err)
{
	size_t length = strlen(path);
	struct name *name;

	if (names->count >= names->count_max)
		return intent_fail(err, INTENT_ETOOBIG,
				   "more than %llu entries; if that is right, raise the limit",
				   (unsigned long long)names->count_max);
	if (names->text + length > TEXT_MAX)
		return intent_fail(err, INTENT_ETOOBIG, "the names of all entries exceed %d MiB",
				   TEXT_MAX >> 20);
	name = malloc(sizeof(*name) + length + 1);
	name->kind = kind;
	memcpy(name->path, path, length + 1);
	tsearch(name, &names->tree, compare);
	names->count++;
	names->text += length;
	return 0;
}

static int refuse(struct intent_error *err, const char *name, const char *why)
{
	char shown[128];

	return intent_fail(err, INTENT_EREFUSED, "entry '%s' %s", intent__archive_show(name, shown), why);
}

/* The name in its one form, component by component. */
static int normalise(const char *name, char path[INTENT__ARCHIVE_PATH_MAX + 1],
		     struct intent_error *err)
{
	size_t used = 0, depth = 0, length = strlen(name);

	if (length == 0)
		return refuse(err, name, "has no name");
	if (length > INTENT__ARCHIVE_PATH_MAX)
		return refuse(err, name, "has a name of more than 4096 bytes");
	if (!intent_utf8_is_clean(name, length))
		return refuse(err, name, "has a name that is no UTF-8 or holds control characters");
	if (name[0] == '/')
		return refuse(err, name, "has an absolute name");
	for (const char *at = name; *at;) {
		size_t count = strcspn(at, "/");

		if (count == 2 && memcmp(at, "..", 2) == 0)
			return refuse(err, name, "has '..' in its name");
		if (count > COMPONENT_MAX)
			return refuse(err, name, "has a component of more than 255 bytes");
		if (count > 0 && !(count == 1 && *at == '.')) {
			if (++depth > DEPTH_MAX)
				return refuse(err, name, "lies more than 64 directories deep");
			if (used > 0)
				path[used++] = '/';
			memcpy(path + used, at, count);
			used += count;
		}
		at += count;
		at += strspn(at, "/");
	}
	path[used] = '\0';
	return 0;
}

static int differs_in_case(const char *path, const struct name *other, struct intent_error *err)
{
	char a[128], b[128];

	return intent_fail(err, INTENT_EREFUSED, "entries '%s' and '%s' differ only in case",
			   intent__archive_show(other->path, a), intent__archive_show(path, b));
}

/* Each parent is a directory, or becomes one. */
static int admit_parents(struct intent__archive_names *names, const char *path,
			 struct intent_error *err)
{
	char parent[INTENT__ARCHIVE_PATH_MAX + 1];
	const char *last = strrchr(path, '/');

	if (!last)
		return 0;
	memcpy(parent, path, last - path);
	parent[last - path] = '\0';
	if (strcmp(parent, names->parent) == 0)
		return 0;
	for (char *end = parent; end;) {
		const struct name *known;
		int code = 0;

		if ((end = strchr(end, '/')))
			*end = '\0';
		known = find(names, parent);
		if (!known)
			code = add(names, parent, INTENT__ARCHIVE_DIRECTORY, err);
		else if (strcmp(known->path, parent) != 0)
			code = differs_in_case(parent, known, err);
		else if (known->kind == INTENT__ARCHIVE_SYMLINK)
			code = refuse(err, path, "goes through a symbolic link of the archive");
		else if (known->kind != INTENT__ARCHIVE_DIRECTORY)
			code = refuse(err, path, "lies below something that is no directory");
		if (code)
			return code;
		if (end)
			*end++ = '/';
	}
	memcpy(names->parent, parent, strlen(parent) + 1);
	return 0;
}

/*
 * A target stays inside when it climbs no higher than the link is deep. ".." after a name is
 * refused: that name may be a link, and then ".." is not where it seems to be. The link's
 * own parents are real directories (admit_parents), so leading ".." are what they seem.
 */
static int check_symlink(const char *path, const char *link, struct intent_error *err)
{
	size_t depth = 0, length = strlen(link);
	bool named = false;

	if (length == 0 || length >= INTENT__ARCHIVE_PATH_MAX)
		return refuse(err, path, "is a symbolic link with no or too long a target");
	if (!intent_utf8_is_clean(link, length))
		return refuse(err, path, "is a symbolic link whose target is no UTF-8 or holds "
			      "control characters");
	if (link[0] == '/')
		return refuse(err, path, "is a symbolic link to an absolute path; make it relative");
	for (const char *at = path; (at = strchr(at, '/')); at++)
		depth++;
	for (const char *at = link; *at;) {
		size_t count = strcspn(at, "/");

		if (count > COMPONENT_MAX)
			return refuse(err, path, "is a symbolic link with a component of more than 255 bytes");
		if (count == 2 && memcmp(at, "..", 2) == 0) {
			if (named)
				return refuse(err, path, "is a symbolic link with '..' after a name; "
					      "write its target without that detour");
			if (depth-- == 0)
				return refuse(err, path, "is a symbolic link that leads out of the archive");
		} else if (count > 0 && !(count == 1 && *at == '.')) {
			named = true;
		}
		at += count;
		at += strspn(at, "/");
	}
	return 0;
}

static int check_hardlink(const struct intent__archive_names *names, const char *path,
			  const char *link, char target[INTENT__ARCHIVE_PATH_MAX + 1],
			  struct intent_error *err)
{
	const struct name *known;
	int code = normalise(link, target, err);

	if (code)
		return intent_wrap(err, "target of a hard link");
	known = find(names, target);
	if (!known || known->kind != INTENT__ARCHIVE_FILE || strcmp(known->path, target) != 0)
		return refuse(err, path, "is a hard link to something that is no regular file "
			      "written before it");
	return 0;
}

/* Is the name free? Directories may come again, as archives made of several trees have it. */
static int check_unseen(const struct intent__archive_names *names, const char *path,
			enum intent__archive_kind kind, bool *ret_known, struct intent_error *err)
{
	const struct name *known = find(names, path);

	*ret_known = known != NULL;
	if (!known)
		return 0;
	if (strcmp(known->path, path) != 0)
		return differs_in_case(path, known, err);
	if (known->kind != INTENT__ARCHIVE_DIRECTORY || kind != INTENT__ARCHIVE_DIRECTORY)
		return refuse(err, path, "comes twice");
	return 0;
}

int intent__archive_admit(struct intent__archive_names *names, enum intent__archive_kind kind,
			  const char *name, const char *link,
			  char path[INTENT__ARCHIVE_PATH_MAX + 1],
			  char target[INTENT__ARCHIVE_PATH_MAX + 1], struct intent_error *err)
{
	bool known = false;
	size_t length = name ? strlen(name) : 0;
	int code = normalise(name ? name : "", path, err);

	if (code)
		return code;
	if (kind == INTENT__ARCHIVE_OTHER)
		return refuse(err, name, "is a device, a FIFO or of no known kind");
	if (kind != INTENT__ARCHIVE_DIRECTORY && (path[0] == '\0' || name[length - 1] == '/'))
		return refuse(err, name, "is named like a directory and is none");
	if (path[0] == '\0')
		return 0;
	if ((code = admit_parents(names, path, err)) ||
	    (code = check_unseen(names, path, kind, &known, err)))
		return code;
	if (kind == INTENT__ARCHIVE_SYMLINK) {
		if ((code = check_symlink(path, link ? link : "", err)))
			return code;
		memcpy(target, link, strlen(link) + 1);
	} else if (kind == INTENT__ARCHIVE_HARDLINK) {
		if ((code = check_hardlink(names, path, link ? link : "", target, err)))
			return code;
		kind = INTENT__ARCHIVE_FILE;
	}
	return known ? 0 : add(names, path, kind, err);
}

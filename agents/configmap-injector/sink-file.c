/* Files: dotenv and JSON. */
#include <errno.h>
#include <fcntl.h>
#include <intent/file.h>
#include "sink-place.h"

#define FILE_MAX (4u << 20)

/* ---- what is there ---- */

static const char *format_of(const struct injector_sink *sink)
{
	return intent_json_string(sink->document, "type", "");
}

static const char *path_of(const struct injector_sink *sink)
{
	return intent_json_string(sink->document, "path", "/");
}

/* The first line of a dotenv file of this injection; JSON has no place for one. */
static void write_mark(const struct injector_sink *sink, struct intent_text *out)
{
	if (!strcmp(format_of(sink), "dotenv"))
		intent_text_printf(out, "# injection %s, by pp-configmap-injector: changes here are overwritten\n", sink->owner);
}

/* NULL: it is ours; else whose it is, owned. */
static char *whose(const struct injector_sink *sink, const char *bytes)
{
	intent_text_auto struct intent_text mark = INTENT_TEXT_INIT;
	int length;

	if (!strcmp(format_of(sink), "json"))
		return sink->recorded ? NULL : strdup("there is no record of having written it");
	write_mark(sink, &mark);
	if (intent_starts_with(bytes, intent_text_str(&mark)))
		return NULL;
	if (!intent_starts_with(bytes, "# injection "))
		return strdup("it has no mark of ours");
	length = (int)strcspn(bytes + strlen("# injection "), ",\n");
	return intent_format("it is of the injection %.*s", length < 300 ? length : 300, bytes + strlen("# injection "));
}

static json_t *describe(struct injector *injector, const struct injector_sink *sink, const char *bytes, size_t count)
{
	intent_free_auto char *foreign = whose(sink, bytes);
	json_t *keys = injector__parse(injector, format_of(sink), bytes, count), *observed;

	observed = json_pack("{ss ss* sO*}", "state", foreign ? "foreign" : "ours", "by", foreign, "keys", keys);
	if (!keys && !foreign)
		json_object_set_new(observed, "differs", json_string("it is not as we write it"));
	json_decref(keys);
	return observed;
}

static int look(struct injector *injector, const struct injector_sink *sink, int dirfd, const char *name,
		json_t **ret_new,
		struct intent_error *err)
{
	intent_free_auto char *bytes = NULL;
	struct injector_rights rights;
	struct stat seen;
	size_t count;

	if (fstatat(dirfd, name, &seen, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			return intent_fail_errno(err, "%s", path_of(sink));
		*ret_new = json_pack("{ss}", "state", "absent");
		return 0;
	}
	if (!S_ISREG(seen.st_mode)) {
		*ret_new = json_pack("{ss ss}", "state", "foreign", "by", "it is no regular file");
		return 0;
	}
	/* What is to go need not have an owner that still exists. */
	if ((sink->wanted && injector__rights(sink, &rights, err) < 0) ||
	    intent_file_read(dirfd, name, FILE_MAX, &bytes, &count, err) < 0)
		return err->code;
	*ret_new = describe(injector, sink, bytes, count);
	if (sink->wanted)
		injector__compare_rights(&seen, &rights, rights.mode, *ret_new);
	explicit_bzero(bytes, count);
	return 0;
}

static int observe(struct injector *injector, const struct injector_sink *sink, json_t **ret_new,
		   struct intent_error *err)
{
	const char *name;
	intent_close_auto int dirfd = injector__open_parent(path_of(sink), false, &name, err);

	intent_round_watch(injector->round, path_of(sink));
	if (dirfd == INTENT_EABSENT) {
		*ret_new = json_pack("{ss}", "state", "absent");
		return 0;
	}
	if (dirfd < 0)
		return dirfd;
	if (look(injector, sink, dirfd, name, ret_new, err) < 0)
		return err->code;
	if (injector__has_leftovers(dirfd))
		json_object_set_new(*ret_new, "differs", json_string("what a killed write left is beside it"));
	return 0;
}

/* ---- making it so ---- */

static int write_values(struct injector *injector, const struct injector_sink *sink, const json_t *values,
			struct intent_error *err)
{
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT;
	struct injector_rights rights;
	const char *name;
	int code;

	(void)injector;
	write_mark(sink, &text);
	if (injector__rights(sink, &rights, err) < 0 || injector__render(format_of(sink), values, &text, err) < 0)
		return err->code;
	if (text.failed)
		return intent_fail(err, INTENT_ETOOBIG, "its values are longer than 64 MiB");
	intent_close_auto int dirfd = injector__open_parent(path_of(sink), true, &name, err);
	if (dirfd < 0)
		return dirfd;
	code = intent_file_write_at(dirfd, name, intent_text_str(&text), text.length, rights.mode,
				    geteuid() ? (uid_t)-1 : rights.uid, geteuid() ? (gid_t)-1 : rights.gid, err);
	explicit_bzero(text.data, text.length);
	return code;
}

static int remove_file(struct injector *injector, const struct injector_sink *sink, struct intent_error *err)
{
	intent_json_auto json_t *seen = NULL;
	const char *name;
	intent_close_auto int dirfd = injector__open_parent(path_of(sink), false, &name, err);

	if (dirfd == INTENT_EABSENT)
		return 0;
	if (dirfd < 0 || look(injector, sink, dirfd, name, &seen, err) < 0)
		return err->code;
	if (strcmp(intent_json_string(seen, "state", ""), "ours"))
		return 0;
	return intent_file_remove(path_of(sink), err);
}

const struct injector_sink_kind injector__dotenv = {"dotenv", observe, write_values, remove_file};
const struct injector_sink_kind injector__json = {"json", observe, write_values, remove_file};

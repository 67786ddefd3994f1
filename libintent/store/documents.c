/* Finding the row of a key, checking a document, and the two readings agents share. */
#include <intent/documents.h>
#include "engine.h"

/* The part of `path` up to the next '/' or its end. */
static size_t component(const char *path)
{
	return strcspn(path, "/");
}

static bool name_fits(const char *name, size_t length)
{
	char copy[INTENT_KEY_MAX + 1];
	if (length >= sizeof(copy))
		return false;
	memcpy(copy, name, length);
	copy[length] = 0;
	return intent_name_is_valid(copy);
}

/*
 * Does a key have the pattern's shape? "<x>" is any one component, "<x...>" one or more
 * to the end. The first component that is no valid name goes to *ret_bad (NULL: all are).
 */
static bool shape_fits(const char *pattern, const char *key, const char **ret_bad)
{
	const char *bad = NULL;
	bool rest = false;
	for (;;) {
		size_t want = component(pattern), have = component(key);
		bool is_name = want && *pattern == '<';
		rest = rest ||
			(want > 5 && is_name && intent_starts_with(pattern + want - 4, "...>"));
		if (is_name && !have)
			return false;
		if (is_name && !bad && !name_fits(key, have))
			bad = key;
		if (!is_name && (want != have || strncmp(pattern, key, want)))
			return false;
		key += have;
		if (rest && !*key)
			break;
		if (!rest)
			pattern += want;
		if (!rest && (!*pattern || !*key)) {
			if (*pattern || *key)
				return false;
			break;
		}
		key++;
		pattern += !rest;
	}
	*ret_bad = bad;
	return true;
}

static const struct intent_document *find_shape(const char *key, const char **ret_bad)
{
	for (const struct intent_document *row = intent_documents; row->pattern; row++)
		if (shape_fits(row->pattern, key, ret_bad))
			return row;
	return NULL;
}

const struct intent_document *intent_document_find(const char *key)
{
	const char *bad;
	const struct intent_document *row = find_shape(key, &bad);
	return row && !bad && strlen(key) <= INTENT_KEY_MAX ? row : NULL;
}

/* How many leading components of the pattern a key has: what was probably meant. */
static int likeness(const char *pattern, const char *key)
{
	int same = 0;
	while (*pattern && *key) {
		size_t want = component(pattern), have = component(key);
		if (*pattern != '<' && (want != have || strncmp(pattern, key, want)))
			break;
		same++;
		pattern += want + (pattern[want] == '/');
		key += have + (key[have] == '/');
	}
	return same;
}

/* Why no document may stand at this key. */
static int refuse_key(const char *key, struct intent_error *err)
{
	int best = 0;

	if (*key == '/')
		return intent_fail(err, INTENT_EMALFORMED, "%s: a key does not begin with a slash", key);
	for (const struct intent_document *row = intent_documents; row->pattern; row++) {
		int same = likeness(row->pattern, key);
		best = same > best ? same : best;
	}
	intent_text_auto struct intent_text known = INTENT_TEXT_INIT;
	for (const struct intent_document *row = intent_documents; row->pattern; row++) {
		const char *word = row->pattern;
		if (best && likeness(word, key) == best)
			intent_text_printf(&known, "%s%s", known.length ? ", " : "", word);
		else if (!best &&
			 (row == intent_documents ||
			  strncmp(word, row[-1].pattern, component(word) + 1)))
			intent_text_printf(&known, "%s%.*s", known.length ? ", " : "",
					   (int)component(word) + 1, word);
	}
	return intent_fail(err, INTENT_EMALFORMED,
			   "%s: no document has such a key; %s %s (see intent-documents(5))", key,
			   best ? "near it:" : "keys begin with", intent_text_str(&known));
}

static int find_or_refuse(const char *key, const struct intent_document **ret,
			  struct intent_error *err)
{
	if (strlen(key) > INTENT_KEY_MAX)
		return intent_fail(err, INTENT_ETOOBIG, "key %.64s... has %zu bytes; at most %d",
				   key, strlen(key), INTENT_KEY_MAX);
	const char *bad;
	const struct intent_document *row = find_shape(key, &bad);
	if (!row)
		return refuse_key(key, err);
	if (bad)
		return intent_fail(
			err, INTENT_EMALFORMED,
			"%s: \"%.*s\" is no valid name in %s: 1 to 128 letters, digits "
			"and . _ - + ~ @ :, not beginning with . or -",
			key, (int)component(bad), bad, row->pattern);
	*ret = row;
	return 0;
}

/* The one fault of a document that could not be checked further. */
static int only_fault(struct intent_text *faults, const struct intent_error *err)
{
	if (faults)
		intent_text_printf(faults, "%s\n", err->msg);
	return err->code;
}

int intent_document_check(const char *key, const char *value, size_t length, bool strict,
			  json_t **ret_new, struct intent_text *faults, struct intent_error *err)
{
	const struct intent_document *row = NULL;
	intent_json_auto json_t *json = NULL;

	if (find_or_refuse(key, &row, err))
		return only_fault(faults, err);
	if (length > INTENT_VALUE_MAX) {
		intent_fail(err, INTENT_ETOOBIG,
			    "%s: the document has %zu bytes; at most %u: "
			    "keep references in the store, not bodies",
			    key, length, INTENT_VALUE_MAX);
		return only_fault(faults, err);
	}
	if (intent_json_parse(value, length, INTENT_VALUE_MAX, &json, err)) {
		only_fault(faults, err);
		return intent_wrap(err, "%s", key);
	}
	if (intent_json_check(json, row->schema, strict, faults, err))
		return intent_wrap(err, "%s", key);
	if (ret_new)
		*ret_new = json_incref(json);
	return 0;
}

int intent_document_read(const struct intent_entry *entry, bool strict, json_t **ret_new, struct intent_error *err)
{
	struct intent__reading *reading = intent__entry_reading(entry);

	/* A store's prefix taken off makes another key of the same bytes. */
	if (!reading->document || reading->key != entry->key || (strict && !reading->strict)) {
		json_t *document = NULL;

		if (intent_document_check(entry->key, entry->value, entry->length, strict, &document, NULL, err))
			return err->code;
		json_decref(reading->document);
		*reading = (struct intent__reading){entry->key, document, strict};
	}
	*ret_new = json_incref(reading->document);
	return 0;
}

const char *intent_config_active(const json_t *config)
{
	json_t *versions = json_object_get(config, "versions");
	for (void *i = json_object_iter(versions); i; i = json_object_iter_next(versions, i)) {
		const char *state = json_string_value(json_object_iter_value(i));
		if (state && !strcmp(state, "active"))
			return json_object_iter_key(i);
	}
	return NULL;
}

/* A member of deploy_config that is a directory, with the node's name for %n. */
static char *directory_of(const json_t *deploy, const char *member, const char *node)
{
	intent_text_auto struct intent_text path = INTENT_TEXT_INIT;
	const char *directory = intent_json_string(deploy, member, NULL);
	for (const char *p = directory; p && *p; p++) {
		/* One spelling of a directory, so that two applications in it are seen. */
		bool doubled = *p == '/' &&
			(p[1] == '/' || !p[1] || (p[1] == '.' && (p[2] == '/' || !p[2])));
		bool escape = *p == '%' && (p[1] == 'n' || p[1] == '%');
		if (escape && p[1] == 'n')
			intent_text_puts(&path, node);
		else if (!doubled)
			intent_text_add(&path, p, 1);
		p += escape || (doubled && p[1] == '.');
	}
	return directory ? intent_text_steal(&path) : NULL;
}

char *intent_deploy_basedir(const json_t *deploy, const char *node)
{
	return directory_of(deploy, "basedir", node);
}

char *intent_deploy_envdir(const json_t *deploy, const char *node)
{
	return directory_of(deploy, "envdir", node);
}

char *intent_hold_in_force(const json_t *holds, int64_t now_ms, int64_t *ret_until_ms)
{
	const char *key;
	json_t *hold;

	*ret_until_ms = 0;
	json_object_foreach((json_t *)(uintptr_t)holds, key, hold) {
		const char *who = intent_json_string(hold, "who", NULL);
		const char *until = intent_json_string(hold, "until", NULL);
		const char *why = json_is_string(hold) ? json_string_value(hold) :
							 intent_json_string(hold, "why", NULL);
		struct intent_error ignored;
		int64_t end = 0;

		if (json_is_false(hold) || (until && !intent_time_parse(until, &end, &ignored) && end <= now_ms))
			continue;
		*ret_until_ms = end;
		intent_text_auto struct intent_text words = INTENT_TEXT_INIT;
		intent_text_puts(&words, key);
		if (why)
			intent_text_printf(&words, ": %s", why);
		if (who)
			intent_text_printf(&words, ", says %s", who);
		if (until)
			intent_text_printf(&words, ", until %s", until);
		return intent_text_steal(&words);
	}
	return NULL;
}

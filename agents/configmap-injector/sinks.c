/* The sinks of an injection: which kinds there are, and a record of what was written. */
#include <intent/digest.h>
#include <intent/file.h>
#include "injector.h"

#define RECORD_MAX (4u << 20)
#define LOOK_AGAIN_MS 1000

static const struct injector_sink_kind *const kinds[] = {
	&injector__configmap, &injector__secret, &injector__externalname, &injector__s3,
	&injector__envdir, &injector__dotenv, &injector__json,
};

static const struct injector_sink_kind *find_kind(const json_t *sink)
{
	const char *type = intent_json_string(sink, "type", "");

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!strcmp(kinds[i]->type, type))
			return kinds[i];
	return NULL;
}

void injector__digest(const struct injector *injector, const void *bytes, size_t count, char ret[INJECTOR_DIGEST])
{
	unsigned char digest[32];

	intent_hmac_sha256(injector->key, sizeof(injector->key), bytes, count, digest);
	intent_hex(ret, digest, INJECTOR_DIGEST / 2);
}

/* ---- the record: what was written, so that it can be taken away when nobody names it any more ---- */

static char *record_path(const struct injector *injector)
{
	return intent_format("%s/injections/%s/%s.json", intent_round_state_dir(injector->round), injector->world,
			     injector->name);
}

static int read_record(const struct injector *injector, json_t **ret_new, struct intent_error *err)
{
	intent_free_auto char *path = record_path(injector);
	intent_json_auto json_t *record = NULL;

	if (intent_file_read_json(path, RECORD_MAX, &record, err) < 0 && err->code != INTENT_EABSENT)
		return intent_wrap(err, "remove it, if what it was about is gone");
	*ret_new = json_is_object(json_object_get(record, "sinks")) ?
		json_incref(json_object_get(record, "sinks")) : json_object();
	return 0;
}

/* `sink` NULL: it is forgotten. */
static int record(const struct injector *injector, const char *id, const json_t *sink, struct intent_error *err)
{
	intent_free_auto char *path = record_path(injector);
	intent_json_auto json_t *sinks = NULL, *whole = NULL;

	if (read_record(injector, &sinks, err) < 0)
		return err->code;
	if (sink)
		json_object_set(sinks, id, (json_t *)(uintptr_t)sink);
	else
		json_object_del(sinks, id);
	if (!json_object_size(sinks))
		return intent_file_remove(path, err);
	whole = json_pack("{sO}", "sinks", sinks);
	*strrchr(path, '/') = '\0';
	if (intent_directory_make(path, 0700, err) < 0)
		return err->code;
	path[strlen(path)] = '/';
	return intent_file_write_json(path, whole, 0600, err);
}

/* ---- looking ---- */

/* What keeps one from being looked at is its trouble alone. */
static json_t *observe_one(struct injector *injector, const struct injector_sink *sink)
{
	const struct injector_sink_kind *kind = find_kind(sink->document);
	struct intent_error err;
	json_t *seen = NULL;

	const char *path = intent_json_string(sink->document, "path", NULL);

	if (!kind)
		intent_fail(&err, INTENT_EMALFORMED, "there is no such type of sink");
	else if (path && injector__check_below(injector, "sink-dirs", path, &err) < 0)
		; /* said */
	else if (kind->observe(injector, sink, &seen, &err) == 0)
		return seen;
	return json_pack("{s{si ss}}", "error", "code", err.code, "message", err.msg);
}

static void observe_each(struct injector *injector, const json_t *documents, const json_t *recorded,
			 const json_t *values,
			 json_t *seen)
{
	intent_free_auto char *owner = intent_format("%s/%s", injector->world, injector->name);
	const json_t *meant = json_object_get(injector->intent, "sinks");
	const char *id;
	json_t *document;

	json_object_foreach((json_t *)(uintptr_t)documents, id, document) {
		intent_json_auto json_t *wanted = NULL;
		struct intent_error ignored;
		struct injector_sink sink = {
			.document = document, .id = id, .owner = owner,
			.recorded = json_object_get(recorded, id) != NULL,
		};

		if (json_object_get(seen, id))
			continue;
		if (values && json_object_get(meant, id) &&
		    injector__sink_wants(document, values, &wanted, &ignored) == 0)
			sink.wanted = wanted;
		json_object_set_new(seen, id, observe_one(injector, &sink));
	}
}

int injector__observe_sinks(struct injector *injector, json_t *observed, struct intent_error *err)
{
	intent_json_auto json_t *recorded = NULL, *seen = json_object();
	const json_t *values = json_object_get(observed, "values");

	if (read_record(injector, &recorded, err) < 0)
		return err->code;
	observe_each(injector, json_object_get(injector->intent, "sinks"), recorded, values, seen);
	observe_each(injector, recorded, recorded, values, seen);
	/* What was written has new directories, which are watched only when this round is over. */
	if (injector->has_written)
		intent_round_again(injector->round, LOOK_AGAIN_MS);
	json_object_set(observed, "sinks", seen);
	json_object_set(observed, "recorded", recorded);
	intent_round_owned(injector->round, (int)json_object_size(recorded));
	return 0;
}

/* ---- verbs ---- */

/* The sink that an action names, as intent or else the record has it; borrowed from *ret_recorded, new. */
static int find(const struct injector *injector, const json_t *action, json_t **ret_recorded, struct injector_sink *ret,
		struct intent_error *err)
{
	const char *id = intent_json_string(action, "subject", "");

	if (read_record(injector, ret_recorded, err) < 0)
		return err->code;
	*ret = (struct injector_sink){
		.document = json_object_get(json_object_get(injector->intent, "sinks"), id), .id = id,
		.recorded = json_object_get(*ret_recorded, id) != NULL,
	};
	if (!ret->document)
		ret->document = json_object_get(*ret_recorded, id);
	return find_kind(ret->document) ? 0 : intent_fail(err, INTENT_EMALFORMED, "%s: there is no such sink", id);
}

int injector__write_sink(struct injector *injector, const json_t *action, struct intent_error *err)
{
	intent_free_auto char *owner = intent_format("%s/%s", injector->world, injector->name);
	intent_json_auto json_t *recorded = NULL, *values = json_object();
	const json_t *wanted = json_object_get(json_object_get(action, "args"), "keys");
	struct injector_sink sink;
	const char *key;
	json_t *ignored;

	if (find(injector, action, &recorded, &sink, err) < 0)
		return err->code;
	sink.owner = owner;
	sink.wanted = wanted;
	json_object_foreach((json_t *)(uintptr_t)wanted, key, ignored)
		json_object_set(values, key, json_object_get(injector->values, key));
	injector->has_written = true;
	/* First: what is written and not on record would stay for ever. */
	if (record(injector, sink.id, sink.document, err) < 0 ||
	    find_kind(sink.document)->write(injector, &sink, values, err) < 0)
		return intent_wrap(err, "%s", sink.id);
	return 0;
}

int injector__remove_sink(struct injector *injector, const json_t *action, struct intent_error *err)
{
	intent_free_auto char *owner = intent_format("%s/%s", injector->world, injector->name);
	intent_json_auto json_t *recorded = NULL;
	struct injector_sink sink;

	if (find(injector, action, &recorded, &sink, err) < 0)
		return err->code;
	sink.owner = owner;
	if (find_kind(sink.document)->remove(injector, &sink, err) < 0)
		return intent_wrap(err, "%s", sink.id);
	return record(injector, sink.id, NULL, err);
}

int injector__remember_sink(struct injector *injector, const json_t *action, struct intent_error *err)
{
	const char *id = intent_json_string(action, "subject", "");

	return record(injector, id, json_object_get(json_object_get(injector->intent, "sinks"), id), err);
}

int injector__forget_sink(struct injector *injector, const json_t *action, struct intent_error *err)
{
	return record(injector, intent_json_string(action, "subject", ""), NULL, err);
}

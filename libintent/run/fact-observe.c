/*
 * The fact that stands, what was found before, and the look: all that the planner sees.
 */
#include <unistd.h>
#include "fact.h"

#define VERIFY_MS 60000 /* a fact that was published is believed to stand so long */

char *intent__fact_key(const json_t *intent, const char *cluster)
{
	return intent_format("reality/health/%s/%s/%s", intent_json_string(intent, "app", ""), cluster,
			     intent_json_string(intent, "node", ""));
}

bool intent__fact_is_ours(const struct intent_entry *entry, const char *session, const json_t *note)
{
	return !entry->session || (session && !strcmp(entry->session, session)) ||
		!strcmp(entry->session, intent_json_string(note, "session", ""));
}

static json_t *fact_of(const struct intent_entry *entry)
{
	struct intent_error ignored;
	json_t *fact = NULL;

	/* What is no fact is written over like any other. */
	if (intent_json_parse(entry->value, entry->length, 0, &fact, &ignored) || !json_is_object(fact)) {
		json_decref(fact);
		fact = json_object();
	}
	return fact;
}

static int read_fact(struct intent_round *round, const json_t *intent, const char *session, const json_t *note,
		     json_t *observed, struct intent_error *err)
{
	intent_free_auto char *key = intent__fact_key(intent, intent_json_string(intent, "cluster", ""));
	struct intent_snapshot *snapshot = NULL;
	struct intent_store *store;

	if (intent_round_store(round, &store, err))
		return err->code;
	int code = intent_store_get(store, key, INTENT_DEFAULT, &snapshot, err);
	if (code)
		return code == INTENT_EABSENT ? 0 : code;
	const struct intent_entry *entry = &snapshot->entries[0];
	intent_json_auto json_t *fact = fact_of(entry);

	if (intent__fact_is_ours(entry, session, note)) {
		json_object_set(observed, "fact", fact);
		json_object_set_new(observed, "bound",
				    json_boolean(session ? entry->session && !strcmp(entry->session, session) :
						 !entry->session));
	} else {
		json_object_set_new(observed, "keeper", json_sprintf("on %s (lease %s)",
				    intent_json_string(fact, "host", "a host that it does not name"), entry->session));
	}
	intent_snapshot_unref(snapshot);
	return 0;
}

/* Any cluster's, for one who has nothing in writing. */
static int list_elsewhere(struct intent_round *round, const json_t *intent, const char *session, const json_t *note,
			  json_t *elsewhere, struct intent_error *err)
{
	intent_free_auto char *prefix = intent_format("reality/health/%s/", intent_json_string(intent, "app", ""));
	intent_free_auto char *suffix = intent_format("/%s", intent_json_string(intent, "node", ""));
	const char *here = intent_json_string(intent, "cluster", "");
	struct intent_snapshot *snapshot = NULL;
	struct intent_store *store;

	if (intent_round_store(round, &store, err) || intent_store_list(store, prefix, INTENT_DEFAULT, &snapshot, err))
		return err->code;
	for (size_t i = 0; i < snapshot->count; i++) {
		const struct intent_entry *entry = &snapshot->entries[i];
		const char *cluster = entry->key + strlen(prefix), *end = strchr(cluster, '/');

		if (end && !strcmp(end, suffix) && intent__fact_is_ours(entry, session, note) &&
		    (strlen(here) != (size_t)(end - cluster) || strncmp(cluster, here, strlen(here)) != 0))
			json_array_append_new(elsewhere, json_stringn(cluster, (size_t)(end - cluster)));
	}
	intent_snapshot_unref(snapshot);
	return 0;
}

static int observe_elsewhere(struct intent_round *round, const json_t *intent, const char *session,
			     const json_t *note, json_t *observed, struct intent_error *err)
{
	intent_json_auto json_t *elsewhere = json_array();
	const char *noted = intent_json_string(note, "cluster", NULL);

	/* A lease-less fact outlives everything; else only what is in writing can be there. */
	if ((!session || !noted) && (!session || json_is_true(json_object_get(intent, "absent")))) {
		if (list_elsewhere(round, intent, session, note, elsewhere, err))
			return err->code;
	} else if (noted && strcmp(noted, intent_json_string(intent, "cluster", "")) != 0) {
		json_array_append_new(elsewhere, json_string(noted));
	}
	json_object_set(observed, "elsewhere", elsewhere);
	return 0;
}

/*
 * Is it this round's turn to ask the store? Asking at each look would be most of what a fleet does. By the clock, with
 * a phase of its own for each application: remembering when it was asked last would be a write.
 */
static bool is_time_to_verify(const char *app, int64_t now, int64_t interval_ms)
{
	uint64_t phase = 5381;

	for (; *app; app++)
		phase = phase * 33 + (unsigned char)*app;
	return (int64_t)(((uint64_t)now + phase % VERIFY_MS) % VERIFY_MS) < interval_ms + interval_ms / 4;
}

/* What we published on this very lease stands there, as far as we know. */
static bool is_believed(const json_t *intent, const char *session, const json_t *note, int64_t now,
			int64_t interval_ms)
{
	return session && !strcmp(intent_json_string(note, "session", ""), session) &&
		json_object_get(json_object_get(note, "history"), "fact") &&
		!is_time_to_verify(intent_json_string(intent, "app", ""), now, interval_ms);
}

/* ---- all of it ---- */

static void add_look(json_t *observed, const json_t *look)
{
	char now[32], host[256] = "";

	gethostname(host, sizeof(host) - 1);
	intent_time_format(intent_time_now(), now);
	if (look)
		json_object_set(observed, "look", (json_t *)(uintptr_t)look);
	json_object_set_new(observed, "now_ms", json_integer(intent_time_monotonic()));
	json_object_set_new(observed, "now", json_string(now));
	json_object_set_new(observed, "host", json_string(host));
}

static int observe_fact(struct intent_round *round, const json_t *intent, json_t *observed, int64_t interval_ms,
			struct intent_error *err)
{
	intent_json_auto json_t *note = intent__fact_note_read(round);
	const char *session = NULL;
	json_t *history;

	if (intent_round_session(round, &session, err) ||
	    observe_elsewhere(round, intent, session, note, observed, err))
		return err->code;
	if (json_is_true(json_object_get(intent, "absent")))
		return 0;
	history = json_array_size(json_object_get(observed, "elsewhere")) ? NULL : json_object_get(note, "history");
	if (!session)
		json_object_set_new(observed, "once", json_true());
	else if (history)
		json_object_set(observed, "history", history);
	if (json_object_get(observed, "look") &&
	    is_believed(intent, session, note, intent_json_integer(observed, "now_ms", 0), interval_ms)) {
		json_object_set(observed, "fact", json_object_get(history, "fact"));
		return 0;
	}
	return read_fact(round, intent, session, note, observed, err);
}

int intent_fact_observe(struct intent_round *round, const json_t *look, int64_t interval_ms, json_t **ret_new,
			struct intent_error *err)
{
	const json_t *intent = intent_round_intent(round);
	intent_json_auto json_t *observed = json_object();

	add_look(observed, look);
	if (observe_fact(round, intent, observed, interval_ms, err))
		return err->code;
	/* A check that failed once is tried again before it counts. Who has nothing to say listens for others. */
	if (!look)
		intent_round_again(round, VERIFY_MS);
	else if (strcmp(intent_json_string(look, "found", ""), "good") &&
		 !strcmp(intent_json_string(intent_json_at(observed, "/history/fact"), "state", ""), "healthy"))
		intent_round_again(round, INTENT_FACT_CONFIRM_MS);
	*ret_new = json_incref(observed);
	return 0;
}

/* Holds and shutdown slots, as a round of an application needs them. */
#include <sys/random.h>
#include <time.h>
#include <intent/documents.h>
#include <intent/rolling.h>

#define TRIES_MAX 5            /* at writing what others write too */
#define TRY_PAUSE_MS 150
#define WAIT_MIN_MS 1000       /* for a slot */
#define WAIT_SPREAD_MS 4000

static const char *member(const struct intent_round *round, const char *name)
{
	return intent_json_string(intent_round_intent(round), name, "");
}

static int64_t random_below(int64_t bound)
{
	uint32_t bits = 0;

	if (getrandom(&bits, sizeof bits, 0) < 0)
		bits = (uint32_t)intent_time_monotonic();
	return bits % bound;
}

static void now_text(char out[32])
{
	intent_time_format(intent_time_now(), out);
}

/* ---- looking ---- */

void intent_rolling_hold(struct intent_round *round, json_t *observed)
{
	int64_t now = intent_time_now(), until = 0;
	intent_free_auto char *hold = intent_hold_in_force(
		json_object_get(intent_round_intent(round), "hold"), now, &until);

	if (!hold)
		return;
	json_object_set_new(observed, "hold", json_string(hold));
	if (until > now)
		intent_round_again(round, until - now + 1);
}

/* Is the published fact of this node good, as far as we know? */
static int fact_is_good(struct intent_round *round, struct intent_store *store, const char *cluster,
			enum intent_consistency consistency, bool *ret, struct intent_error *err)
{
	intent_free_auto char *key = intent_format("reality/health/%s/%s/%s", member(round, "app"), cluster,
						   member(round, "node"));
	struct intent_snapshot *snapshot = NULL;
	intent_json_auto json_t *fact = NULL;
	struct intent_error ignored;

	*ret = false;
	if (intent_store_get(store, key, consistency, &snapshot, err))
		return err->code == INTENT_EABSENT ? 0 : err->code;
	if (snapshot->entries[0].session &&
	    !intent_document_check(key, snapshot->entries[0].value, snapshot->entries[0].length, false,
				   &fact, NULL, &ignored))
		*ret = intent_fact_is_good(fact);
	intent_snapshot_unref(snapshot);
	return 0;
}

/* The slots of this node's own cluster. */
static void look_here(struct intent_round *round, const json_t *document, json_t *observed)
{
	const json_t *intent = intent_round_intent(round), *marked;
	const json_t *slot = intent_slots_find(document, member(round, "node"));
	const char *by = NULL;
	char target[17];

	intent_slots_target(json_object_get(intent, "config"), json_object_get(intent, "deploy"), target);
	marked = intent_slots_marked(document, target, &by);
	if (slot)
		json_object_set(observed, "slot", (json_t *)(uintptr_t)slot);
	if (marked)
		json_object_set_new(observed, "marked",
				    json_pack("{ss ss}", "node", by, "failed",
					      intent_json_string(marked, "failed", "failed")));
}

static int look_at(struct intent_round *round, struct intent_store *store, const struct intent_entry *entry,
		   json_t *observed, struct intent_error *err)
{
	intent_free_auto char *prefix = intent_format("locks/%s/", member(round, "app"));
	intent_free_auto char *cluster = strdup(entry->key + strlen(prefix));
	intent_json_auto json_t *document = NULL;
	bool good;

	char *rest = strchr(cluster, '/');
	if (!rest || strcmp(rest, "/shutdown"))
		return 0;
	*rest = '\0';
	if (intent_document_check(entry->key, entry->value, entry->length, false, &document, NULL, err))
		return err->code;
	bool here = !strcmp(cluster, member(round, "cluster"));
	if (here)
		look_here(round, document, observed);
	if (!intent_slots_find(document, member(round, "node")))
		return 0;
	if (fact_is_good(round, store, cluster, INTENT_DEFAULT, &good, err))
		return err->code;
	if (here) {
		json_object_set_new(observed, "fact", json_boolean(good));
		return 0;
	}
	if (!json_object_get(observed, "elsewhere"))
		json_object_set_new(observed, "elsewhere", json_object());
	json_object_set_new(json_object_get(observed, "elsewhere"), cluster, json_boolean(good));
	return 0;
}

void intent_rolling_look(struct intent_round *round, json_t *observed)
{
	intent_free_auto char *prefix = intent_format("locks/%s/", member(round, "app"));
	struct intent_snapshot *snapshot = NULL;
	struct intent_store *store;
	struct intent_error err = { 0 };

	if (intent_round_store(round, &store, &err) ||
	    intent_store_list(store, prefix, INTENT_DEFAULT, &snapshot, &err)) {
		json_object_set_new(observed, "store_error", json_string(err.msg));
		return;
	}
	for (size_t i = 0; i < snapshot->count; i++)
		if (look_at(round, store, &snapshot->entries[i], observed, &err)) {
			json_object_set_new(observed, "store_error", json_string(err.msg));
			break;
		}
	intent_snapshot_unref(snapshot);
}

/* ---- changing ---- */

/* What to make of the slots as they are; *ret_new NULL: nothing is to be written. */
typedef int (*decider)(const struct intent_slots *slots, const void *data, json_t **ret_new, struct intent_error *err);

/* Read, decide, write, and all again when somebody wrote in between. */
static int change(struct intent_round *round, const char *cluster, decider decide, const void *data,
		  struct intent_error *err)
{
	struct intent_store *store;

	if (intent_round_store(round, &store, err))
		return err->code;
	for (int tries = 1;; tries++) {
		const struct timespec pause = { .tv_nsec = (TRY_PAUSE_MS / 2 + random_below(TRY_PAUSE_MS)) * 1000000 };
		intent_json_auto json_t *changed = NULL;
		struct intent_slots slots;

		if (intent_slots_read(store, member(round, "app"), cluster, &slots, err))
			return err->code;
		int code = decide(&slots, data, &changed, err);
		bool decided = code != 0;
		if (!code && changed)
			code = intent_slots_write(store, &slots, changed, err);
		intent_slots_release(&slots);
		if (decided || (code != INTENT_ECONFLICT && code != INTENT_EUNKNOWN) || tries == TRIES_MAX)
			return code;
		nanosleep(&pause, NULL);
	}
}

static int decide_take(const struct intent_slots *slots, const void *data, json_t **ret_new,
		       struct intent_error *err)
{
	char now[32];

	now_text(now);
	return intent_slots_take(slots->document, slots->facts, data, now, ret_new, err);
}

int intent_rolling_take(struct intent_round *round, const struct intent_slots_claim *claim, struct intent_error *err)
{
	int code = change(round, member(round, "cluster"), decide_take, claim, err);

	if (code == INTENT_ECONFLICT)
		code = intent_fail(err, INTENT_EWAITING, "%s waits for a shutdown slot: other nodes write theirs "
				   "at this moment", claim->version);
	if (code == INTENT_EWAITING)
		intent_round_again(round, WAIT_MIN_MS + random_below(WAIT_SPREAD_MS));
	return code;
}

struct mark {
	const struct intent_slots_claim *claim;
	const char *failed, *instead;
};

static int decide_mark(const struct intent_slots *slots, const void *data, json_t **ret_new,
		       struct intent_error *err)
{
	const struct mark *mark = data;
	char now[32];

	now_text(now);
	return intent_slots_mark(slots->document, mark->claim, mark->failed, mark->instead, now, ret_new, err);
}

int intent_rolling_mark(struct intent_round *round, const struct intent_slots_claim *claim, const char *failed,
			const char *instead, struct intent_error *err)
{
	const struct mark mark = { claim, failed, instead };

	return change(round, member(round, "cluster"), decide_mark, &mark, err);
}

struct release {
	const char *node, *version;
	bool confirmed;
};

/* What the reporter saw before the version was replaced says nothing of it, however good. */
static bool speaks_of(const json_t *fact, const char *version)
{
	return !version || !strcmp(intent_json_string(fact, "version", version), version);
}

static int decide_release(const struct intent_slots *slots, const void *data, json_t **ret_new,
			  struct intent_error *err)
{
	const struct release *release = data;
	const json_t *fact = json_object_get(slots->facts, release->node);
	bool good = intent_fact_is_good(fact) && speaks_of(fact, release->version);

	if (release->version && release->confirmed && !good)
		return intent_fail(err, INTENT_EWAITING, "its shutdown slot stays until the published health of %s is good",
				   release->version);
	if (!release->version && good)
		return intent_fail(err, INTENT_EWAITING, "its shutdown slot stays until its published health is gone");
	return intent_slots_drop(slots->document, release->node, ret_new, err);
}

int intent_rolling_release(struct intent_round *round, const char *cluster, const char *version, bool confirmed,
			   struct intent_error *err)
{
	const struct release release = { member(round, "node"), version, confirmed };

	return change(round, cluster, decide_release, &release, err);
}

/* ---- at the last moment ---- */

static int verify_slot(struct intent_round *round, const struct intent_slots_claim *claim, struct intent_error *err)
{
	struct intent_store *store;
	struct intent_slots slots;

	if (intent_round_store(round, &store, err) ||
	    intent_slots_read(store, member(round, "app"), member(round, "cluster"), &slots, err))
		return err->code;
	const json_t *own = intent_slots_find(slots.document, claim->node);
	bool stand_in = own && !strcmp(intent_json_string(own, "instead", ""), claim->version) &&
			!strcmp(intent_json_string(own, "target", ""), claim->target);
	int code = stand_in ? 0 : intent_slots_verify(slots.document, claim, err);
	intent_slots_release(&slots);
	return code;
}

int intent_rolling_verify(struct intent_round *round, const struct intent_slots_claim *claim, struct intent_error *err)
{
	intent_json_auto json_t *intent = NULL;
	int64_t until;

	int code = intent_round_reread(round, &intent, err);
	if (code)
		return claim || !intent_error_is_temporary(code) ? code : 0;
	intent_free_auto char *hold =
		intent_hold_in_force(json_object_get(intent, "hold"), intent_time_now(), &until);
	if (hold)
		return intent_fail(err, INTENT_EWAITING, "left as it is, on hold: %s", hold);
	return claim ? verify_slot(round, claim, err) : 0;
}

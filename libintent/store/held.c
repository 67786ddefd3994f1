#include <intent/held.h>

/*
 * Others may have the locks after TTL_MS: what runs must have been told before. A renewal that is sent right
 * before LOST_MS may take the store's 30 seconds until it fails.
 */
#define TTL_MS 120000
#define BEAT_MS 20000
#define LOST_MS (TTL_MS * 2 / 3)

struct intent_held {
	struct intent_store *store; /* borrowed */
	char *session;
	struct intent_lock locks[INTENT_HELD_MAX];
	size_t count;
	int64_t renewed, tried;
	bool is_gone;               /* the store itself said so */
};

int intent_held_take(struct intent_store *store, const char *const *keys, size_t count, const json_t *holder,
		     struct intent_held **ret_owned, struct intent_error *err)
{
	struct intent_held *held;
	int code;

	if (count > INTENT_HELD_MAX)
		return intent_fail(err, INTENT_ETOOBIG, "%zu locks: at most %d are held together", count,
				   INTENT_HELD_MAX);
	held = calloc(1, sizeof(*held));
	held->store = store;
	held->renewed = held->tried = intent_time_monotonic();
	code = intent_session_open(store, TTL_MS, &held->session, err);
	while (!code && held->count < count) {
		code = intent_lock_acquire(store, keys[held->count], held->session, holder,
					   &held->locks[held->count], err);
		held->count += !code;
	}
	if (code)
		intent_held_release(held);
	else
		*ret_owned = held;
	return code;
}

int intent_held_verify(struct intent_held *held, struct intent_error *err)
{
	for (size_t i = 0; i < held->count; i++)
		if (intent_lock_verify(held->store, &held->locks[i], err) < 0)
			return err->code;
	return 0;
}

void intent_held_beat(struct intent_held *held)
{
	int64_t now = intent_time_monotonic();
	struct intent_error err;

	if (!intent_session_beats(held->store)) {
		held->renewed = now;
		return;
	}
	if (now - held->renewed < BEAT_MS || now - held->tried < 2000)
		return;
	/* It counts from before it was sent. */
	if (intent_session_renew(held->store, held->session, &err) == 0)
		held->renewed = now;
	else
		held->is_gone |= err.code == INTENT_EABSENT;
	held->tried = intent_time_monotonic();
}

bool intent_held_lost(const struct intent_held *held)
{
	return held->is_gone || intent_time_monotonic() - held->renewed > LOST_MS;
}

struct intent_held *intent_held_release(struct intent_held *held)
{
	struct intent_error ignored;

	if (!held)
		return NULL;
	while (held->count) {
		struct intent_lock *lock = &held->locks[--held->count];

		if (intent_lock_release(held->store, lock, &ignored) < 0)
			intent_lock_clear(lock);
	}
	if (held->session)
		intent_session_close(held->store, held->session, &ignored);
	free(held->session);
	free(held);
	return NULL;
}

/* ---- looking ---- */

static json_t *describe(const char *key, const struct intent_entry *entry)
{
	intent_json_auto json_t *holder = NULL;
	struct intent_error ignored;

	intent_json_parse(entry->value, entry->length, 0, &holder, &ignored);
	return json_pack("{ss ss ss}", "key", key, "holder", intent_json_string(holder, "holder", "somebody"),
			 "since", intent_json_string(holder, "since", "an unknown time"));
}

int intent_held_look(struct intent_store *store, const char *const *keys, size_t count, json_t **ret_new,
		     struct intent_error *err)
{
	*ret_new = NULL;
	for (size_t i = 0; i < count && !*ret_new; i++) {
		struct intent_snapshot *found = NULL;
		int code = intent_store_get(store, keys[i], INTENT_DEFAULT, &found, err);

		if (code && code != INTENT_EABSENT)
			return code;
		if (!code)
			*ret_new = describe(keys[i], found->entries);
		intent_snapshot_unref(found);
	}
	return 0;
}

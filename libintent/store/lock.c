/* Locks: a key bound to a session, taken and given up by compare. */
#include "engine.h"

/* A contender that lost a race looks again, so that the error can name the winner. */
#define TRIES 4

static int busy(const char *key, const struct intent_entry *entry, struct intent_error *err)
{
	struct intent_error ignored;
	json_t *json = NULL;

	intent_json_parse(entry->value, entry->length, 0, &json, &ignored);
	intent_fail(err, INTENT_EBUSY, "lock %s: held by %s since %s%s", key,
		    intent_json_string(json, "holder", "somebody"),
		    intent_json_string(json, "since", "an unknown time"),
		    entry->session ? "" : ", bound to no session (`ppctl lock break` removes it)");
	json_decref(json);
	return err->code;
}

static bool is_ours(const struct intent_entry *entry, const char *session)
{
	return entry->session && strcmp(entry->session, session) == 0;
}

static struct intent_lock lock_of(const char *key, const char *session, uint64_t fence)
{
	return (struct intent_lock){.key = strdup(key), .session = strdup(session), .fence = fence};
}

/* The lock's document: the holder's, with "since" if it says none. Owned. */
static char *document(const json_t *holder)
{
	intent_json_auto json_t *copy = holder ? json_deep_copy(holder) : json_object();
	char now[32];

	intent_time_format(intent_time_now(), now);
	if (json_is_object(copy) && !json_object_get(copy, "since"))
		json_object_set_new(copy, "since", json_string(now));
	return intent_json_canonical(copy);
}

/* Once: 0 with *ret filled, INTENT_EBUSY, or INTENT_ECONFLICT when a race was lost. */
static int attempt(struct intent_store *store, const char *key, const char *session,
		   const char *value, struct intent_lock *ret, struct intent_error *err)
{
	const struct intent_op ops[] = {
		{.kind = INTENT_OP_CHECK, .key = key, .revision = 0},
		{.kind = INTENT_OP_PUT, .key = key, .value = value, .length = strlen(value),
		 .session = session},
	};
	struct intent_snapshot *snapshot;
	uint64_t fence;

	if (intent_store_get(store, key, INTENT_STRONGEST, &snapshot, err) == 0) {
		const struct intent_entry *entry = &snapshot->entries[0];
		int rc = 0;

		if (is_ours(entry, session))
			*ret = lock_of(key, session, entry->revision);
		else
			rc = busy(key, entry, err);
		intent_snapshot_unref(snapshot);
		return rc;
	}
	if (err->code != INTENT_EABSENT)
		return err->code;
	if (intent_store_txn(store, ops, 2, &fence, err) < 0)
		return err->code;
	*ret = lock_of(key, session, fence);
	return 0;
}

int intent_lock_acquire(struct intent_store *store, const char *key, const char *session,
			const json_t *holder, struct intent_lock *ret, struct intent_error *err)
{
	intent_free_auto char *value = document(holder);
	int rc = 0;

	if (!session || !*session)
		return intent_fail(err, INTENT_EUSAGE, "lock %s: needs a session", key);
	for (int i = 0; i < TRIES; i++) {
		rc = attempt(store, key, session, value, ret, err);
		/* After an unknown outcome the next read says whether the key is ours. */
		if (rc != INTENT_ECONFLICT && rc != INTENT_EUNKNOWN)
			break;
	}
	if (rc == INTENT_ECONFLICT)
		return intent_fail(err, INTENT_EBUSY,
				   "lock %s: others take and release it all the time; try again",
				   key);
	if (rc < 0 && rc != INTENT_EBUSY)
		return intent_wrap(err, "lock %s", key);
	return rc;
}

int intent_lock_verify(struct intent_store *store, const struct intent_lock *lock,
		       struct intent_error *err)
{
	struct intent_snapshot *snapshot;
	int rc = 0;

	if (intent_store_get(store, lock->key, INTENT_STRONGEST, &snapshot, err) < 0) {
		if (err->code == INTENT_EABSENT)
			return intent_fail(err, INTENT_EABSENT, "lock %s: lost, nobody holds it; "
					   "its session ended or it was broken", lock->key);
		return intent_wrap(err, "lock %s", lock->key);
	}
	if (!is_ours(&snapshot->entries[0], lock->session) ||
	    snapshot->entries[0].revision != lock->fence)
		rc = busy(lock->key, &snapshot->entries[0], err);
	intent_snapshot_unref(snapshot);
	return rc;
}

int intent_lock_release(struct intent_store *store, struct intent_lock *lock,
			struct intent_error *err)
{
	const struct intent_op ops[] = {
		{.kind = INTENT_OP_CHECK, .key = lock->key, .revision = lock->fence},
		{.kind = INTENT_OP_DELETE, .key = lock->key},
	};
	int rc = 0;

	for (int i = 0; i < TRIES; i++) {
		rc = intent_store_txn(store, ops, 2, NULL, err);
		if (rc != INTENT_ECONFLICT && rc != INTENT_EUNKNOWN)
			break;
		/* Absent: given up already. 0: still ours, so nothing was done: once more. */
		rc = intent_lock_verify(store, lock, err);
		if (rc != 0)
			break;
		rc = intent_fail(err, INTENT_ECONFLICT, "release was refused again and again");
	}
	if (rc == INTENT_EABSENT)
		rc = 0;
	if (rc < 0 && rc != INTENT_EBUSY)
		return intent_wrap(err, "release lock %s", lock->key);
	intent_lock_clear(lock);
	return rc;
}

void intent_lock_clear(struct intent_lock *lock)
{
	free(lock->key);
	free(lock->session);
	*lock = (struct intent_lock){0};
}

#include <errno.h>
#include "locks.h"

/*
 * Others may have the lock after TTL_MS: what runs must have been told before. A renewal that is sent right
 * before LOST_MS may take the store's 30 seconds until it fails.
 */
#define TTL_MS 120000
#define BEAT_MS 20000
#define LOST_MS (TTL_MS * 2 / 3)

struct applier_locks {
	struct intent_store *store; /* borrowed */
	char *session;
	struct intent_lock held[2];
	size_t count;
	int64_t renewed, tried;
	bool is_gone;               /* the store itself said so */
};

/* Owned; NULL when the stack names no world, or without memory. */
static char *key_of(const struct applier *applier, int which)
{
	const char *world = intent_json_string(applier->stack, "lock", NULL);

	if (which == 0)
		return intent_format("locks/stack/%s/%s", applier->world, applier->name);
	return world ? intent_format("locks/world/%s", world) : NULL;
}

static int take_one(struct applier *applier, const char *key, struct intent_error *err)
{
	struct applier_locks *locks = applier->locks;
	intent_json_auto json_t *holder = json_pack("{so so}", "holder", json_sprintf("terraform-applier@%s",
			intent_json_string(applier->intent, "node", "?")),
			"stack", json_sprintf("%s/%s", applier->world, applier->name));

	if (intent_lock_acquire(locks->store, key, locks->session, holder, &locks->held[locks->count], err) < 0)
		return err->code;
	locks->count++;
	return 0;
}

int applier__locks_take(struct applier *applier, struct intent_error *err)
{
	struct applier_locks *locks = calloc(1, sizeof(*locks));
	struct intent_error ignored;
	int code;

	if (!locks)
		return intent_fail(err, -ENOMEM, "out of memory");
	applier->locks = locks;
	locks->renewed = locks->tried = intent_time_monotonic();
	code = intent_round_store(applier->round, &locks->store, err);
	if (!code)
		code = intent_session_open(locks->store, TTL_MS, &locks->session, err);
	for (int which = 0; which < 2 && !code; which++) {
		intent_free_auto char *key = key_of(applier, which);

		code = key ? take_one(applier, key, err) : 0;
	}
	if (code)
		applier__locks_release(applier, &ignored);
	return code;
}

int applier__locks_verify(struct applier_locks *locks, struct intent_error *err)
{
	for (size_t i = 0; i < locks->count; i++)
		if (intent_lock_verify(locks->store, &locks->held[i], err) < 0)
			return err->code;
	return 0;
}

void applier__locks_beat(struct applier_locks *locks)
{
	int64_t now = intent_time_monotonic();
	struct intent_error err;

	if (!intent_session_beats(locks->store)) {
		locks->renewed = now;
		return;
	}
	if (now - locks->renewed < BEAT_MS || now - locks->tried < 2000)
		return;
	/* It counts from before it was sent. */
	if (intent_session_renew(locks->store, locks->session, &err) == 0)
		locks->renewed = now;
	else
		locks->is_gone |= err.code == INTENT_EABSENT;
	locks->tried = intent_time_monotonic();
}

bool applier__locks_lost(const struct applier_locks *locks)
{
	return locks->is_gone || intent_time_monotonic() - locks->renewed > LOST_MS;
}

void applier__locks_release(struct applier *applier, struct intent_error *err)
{
	struct applier_locks *locks = applier->locks;

	if (!locks)
		return;
	applier->locks = NULL;
	while (locks->count) {
		struct intent_lock *lock = &locks->held[--locks->count];

		/* The session's end releases what this could not. */
		if (intent_lock_release(locks->store, lock, err) < 0)
			intent_lock_clear(lock);
	}
	if (locks->session)
		intent_session_close(locks->store, locks->session, err);
	free(locks->session);
	free(locks);
}

/* ---- looking ---- */

int applier__look_at_locks(struct applier *applier, json_t **ret_new, struct intent_error *err)
{
	struct intent_store *store;
	int code = intent_round_store(applier->round, &store, err);

	*ret_new = NULL;
	for (int which = 0; which < 2 && !code && !*ret_new; which++) {
		intent_free_auto char *key = key_of(applier, which);
		intent_json_auto json_t *holder = NULL;
		struct intent_snapshot *found = NULL;
		struct intent_error ignored;

		if (!key)
			continue;
		code = intent_store_get(store, key, INTENT_DEFAULT, &found, err);
		if (code == INTENT_EABSENT) {
			code = 0;
			continue;
		}
		if (code)
			break;
		intent_json_parse(found->entries->value, found->entries->length, 0, &holder, &ignored);
		*ret_new = json_pack("{ss ss ss}", "key", key, "holder", intent_json_string(holder, "holder", "somebody"),
				     "since", intent_json_string(holder, "since", "an unknown time"));
		intent_snapshot_unref(found);
	}
	return code;
}

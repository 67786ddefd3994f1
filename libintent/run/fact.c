/* A fact about an application's health is written, and taken away again. */
#include "fact.h"

static int session_and_store(struct intent_round *round, const char **ret_session, struct intent_store **ret_store,
			     struct intent_error *err)
{
	if (intent_round_session(round, ret_session, err))
		return err->code;
	return intent_round_store(round, ret_store, err);
}

/*
 * The key's revision, 0 when it is not there. INTENT_ENOTOURS when somebody else's lease holds it: read again here,
 * because what was observed may be old.
 */
static int revision_of(struct intent_round *round, struct intent_store *store, const char *key, const char *session,
		       uint64_t *ret_revision, struct intent_error *err)
{
	intent_json_auto json_t *note = intent__fact_note_read(round);
	struct intent_snapshot *snapshot = NULL;
	int code = intent_store_get(store, key, INTENT_DEFAULT, &snapshot, err);

	*ret_revision = 0;
	if (code)
		return code == INTENT_EABSENT ? 0 : code;
	*ret_revision = snapshot->entries[0].revision;
	if (!intent__fact_is_ours(&snapshot->entries[0], session, note))
		code = intent_fail(err, INTENT_ENOTOURS, "%s has just been taken by another pp-health-reporter (lease %s)",
				   key, snapshot->entries[0].session);
	intent_snapshot_unref(snapshot);
	return code;
}

/*
 * Before: the session is in writing, so that who is killed in between is known again by it, and that the fact stands is
 * not. After: that it does.
 */
int intent_fact_publish(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *intent = intent_round_intent(round);
	const json_t *history = intent_json_at(action, "/args/history");
	intent_free_auto char *key = intent__fact_key(intent, intent_json_string(intent, "cluster", ""));
	intent_free_auto char *value = intent_json_canonical(intent_json_at(action, "/args/fact"));
	const char *session = NULL;
	struct intent_store *store;
	uint64_t revision;

	if (session_and_store(round, &session, &store, err) ||
	    revision_of(round, store, key, session, &revision, err))
		return err->code;
	intent_json_auto json_t *before = json_copy((json_t *)(uintptr_t)history);
	json_object_del(before, "fact");
	if (session && intent__fact_note_write(round, session, before, err))
		return err->code;
	const struct intent_op ops[] = {
		{ .kind = INTENT_OP_CHECK, .key = key, .revision = revision },
		{ .kind = INTENT_OP_PUT, .key = key, .value = value, .length = strlen(value), .session = session },
	};
	if (intent_store_txn(store, ops, 2, NULL, err))
		return err->code;
	return session ? intent__fact_note_write(round, session, history, err) : 0;
}

int intent_fact_note(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const char *session = NULL;

	if (intent_round_session(round, &session, err))
		return err->code;
	return intent__fact_note_write(round, session, intent_json_at(action, "/args/history"), err);
}

int intent_fact_withdraw(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	intent_free_auto char *key = intent__fact_key(intent_round_intent(round),
						   intent_json_string(json_object_get(action, "args"), "cluster", ""));
	const char *session = NULL;
	struct intent_store *store;
	uint64_t revision;

	if (session_and_store(round, &session, &store, err))
		return err->code;
	int code = revision_of(round, store, key, session, &revision, err);
	if (code && code != INTENT_ENOTOURS)
		return code;
	const struct intent_op ops[] = {
		{ .kind = INTENT_OP_CHECK, .key = key, .revision = revision },
		{ .kind = INTENT_OP_DELETE, .key = key },
	};
	/* Another's fact is not ours to take away; that ours was there once is forgotten all the same. */
	if (!code && revision && intent_store_txn(store, ops, 2, NULL, err))
		return err->code;
	return intent__fact_note_remove(round, err);
}

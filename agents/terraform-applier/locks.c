/* Which of the store's locks an apply is made under. */
#include "applier.h"

/* locks/stack/<world>/<name>, and locks/world/<lock> when the stack names one. */
struct keys {
	char *owned[2];
	size_t count;
};

/* The keys, and the store that they are in (borrowed). */
static int prepare(const struct applier *applier, struct keys *keys, struct intent_store **ret_store,
		   struct intent_error *err)
{
	const char *world = intent_json_string(applier->stack, "lock", NULL);

	*keys = (struct keys){{
		intent_format("locks/stack/%s/%s", applier->world, applier->name),
		world ? intent_format("locks/world/%s", world) : NULL,
	}, world ? 2 : 1};
	return intent_round_store(applier->round, ret_store, err);
}

static void free_keys(struct keys *keys)
{
	free(keys->owned[0]);
	free(keys->owned[1]);
}

int applier__locks_take(struct applier *applier, struct intent_error *err)
{
	intent_json_auto json_t *holder = json_pack("{so so}", "holder", json_sprintf("terraform-applier@%s",
			intent_json_string(applier->intent, "node", "?")),
			"stack", json_sprintf("%s/%s", applier->world, applier->name));
	struct intent_store *store;
	struct keys keys;
	int code = prepare(applier, &keys, &store, err);

	if (!code)
		code = intent_held_take(store, (const char *const *)keys.owned, keys.count, holder, &applier->locks,
					err);
	free_keys(&keys);
	return code;
}

int applier__look_at_locks(struct applier *applier, json_t **ret_new, struct intent_error *err)
{
	struct intent_store *store;
	struct keys keys;
	int code = prepare(applier, &keys, &store, err);

	if (!code)
		code = intent_held_look(store, (const char *const *)keys.owned, keys.count, ret_new, err);
	free_keys(&keys);
	return code;
}

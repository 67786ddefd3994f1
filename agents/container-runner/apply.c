/* What the verbs do; each is safe to repeat, and to be cut short at any of its calls. */
#include <intent/fact.h>
#include <intent/rolling.h>
#include "apply.h"

const char *docker__subject(const json_t *action)
{
	return intent_json_string(action, "subject", "");
}

/* POST or DELETE without a body. */
int docker__tell(struct engine *engine, const char *method, const char *path, int64_t patience_ms,
		struct intent_error *err)
{
	return engine__change(engine, method, path, NULL, patience_ms, NULL, err);
}

/* Ours, by its name; anything else under that name is a conflict. */
int docker__inspect_ours(struct intent_round *round, struct engine *engine, const char *name, json_t **ret_new,
			struct intent_error *err)
{
	intent_json_auto json_t *found = NULL;

	const struct docker__owner owner = docker__owner_of(round);

	if (engine__inspect(engine, name, &found, err))
		return err->code;
	const char *is = intent_json_string(found, "Name", "");
	if (strcmp(is + (*is == '/'), name) || !docker__is_ours(intent_json_at(found, "/Config/Labels"), &owner))
		return intent_fail(err, INTENT_ECONFLICT, "container %s was replaced by one that is not ours", name);
	*ret_new = json_incref(found);
	return 0;
}

/* ---- shutdown slots ---- */

static const char *member(const struct intent_round *round, const char *name)
{
	return intent_json_string(intent_round_intent(round), name, "");
}

static struct intent_slots_claim claim_of(struct intent_round *round, const json_t *args, char holder[160])
{
	const json_t *intent = intent_round_intent(round);

	snprintf(holder, 160, "container-runner@%.128s", member(round, "node"));
	return (struct intent_slots_claim){
		.node = member(round, "node"), .holder = holder,
		.version = intent_json_string(args, "version", ""), .target = intent_json_string(args, "target", ""),
		.min_nodes = intent_json_integer(json_object_get(intent, "config"), "min_nodes", 0),
	};
}

/* How many of ours run, and how many of these are well. */
static int count_running(struct intent_round *round, struct engine *engine, size_t *ret_running, size_t *ret_well,
			 struct intent_error *err)
{
	const struct docker__owner owner = docker__owner_of(round);
	intent_json_auto json_t *ids = NULL;
	json_t *item;
	size_t i;

	*ret_running = *ret_well = 0;
	if (docker__list(engine, &owner, false, &ids, err))
		return err->code;
	json_array_foreach(ids, i, item) {
		intent_text_auto struct intent_text health = INTENT_TEXT_INIT;
		intent_json_auto json_t *found = NULL;
		int64_t up_ms;
		int code = engine__inspect(engine, json_string_value(item), &found, err);

		if (code == INTENT_EABSENT)
			continue;
		if (code)
			return code;
		docker__health(intent_round_intent(round), found, &health, &up_ms);
		*ret_running += 1;
		*ret_well += !health.length;
	}
	return 0;
}

/* The ordinary test first; what we find ourselves only where that fails. */
static int apply_slot(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *args = json_object_get(action, "args");
	size_t running, well;
	struct engine *engine;
	struct intent_error found;
	char holder[160];

	struct intent_slots_claim claim = claim_of(round, args, holder);
	/* Before the store says so: that we may hold one must not be forgotten. */
	if (docker__note_set(round, NULL, "slot", json_true(), err))
		return err->code;
	int code = intent_rolling_take(round, &claim, err);
	if (code != INTENT_EWAITING || docker__engine(round, &engine, &found) ||
	    count_running(round, engine, &running, &well, &found))
		return code;
	claim.is_down = !running;
	claim.is_unhealthy = running && !well;
	return claim.is_down || claim.is_unhealthy ? intent_rolling_take(round, &claim, err) : code;
}

static int apply_mark(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *args = json_object_get(action, "args");
	char holder[160];
	struct intent_slots_claim claim = claim_of(round, args, holder);

	if (docker__note_set(round, NULL, "slot", json_true(), err))
		return err->code;
	return intent_rolling_mark(round, &claim, intent_json_string(args, "failed", ""),
				   intent_json_string(args, "instead", NULL), err);
}

static int apply_release(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *args = json_object_get(action, "args"),
		*config = json_object_get(intent_round_intent(round), "config");

	if (intent_rolling_release(round, docker__subject(action), intent_json_string(args, "version", NULL),
				   intent_json_integer(config, "min_nodes", 0) > 0, err))
		return err->code;
	return docker__note_set(round, NULL, "slot", NULL, err);
}

/* ---- what the engine is to do ---- */

/* Right before what a person would notice: no hold, and the slot that is needed. */
static int ask(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *what = intent_json_at(action, "/args/ask");
	char holder[160];
	struct intent_slots_claim claim = claim_of(round, what, holder);

	return what ? intent_rolling_verify(round, *claim.target ? &claim : NULL, err) : 0;
}

static const struct {
	const char *verb;
	int (*apply)(struct intent_round *round, const json_t *action, struct intent_error *err);
} deeds[] = {
	{ "pull", docker__apply_pull },
	{ "network", docker__apply_network },
	{ "volume", docker__apply_volume },
	{ "create", docker__apply_create },
	{ "start", docker__apply_start },
	{ "connect", docker__apply_connect },
	{ "retire", docker__apply_retire },
	{ "remove", docker__apply_remove },
	{ "disuse", docker__apply_disuse },
};

/* A round comes every few seconds, to see how the container is: what failed is not tried again in each of them. */
static int apply_deed(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const char *verb = intent_json_string(action, "verb", "");
	size_t i = 0;

	while (strcmp(deeds[i].verb, verb) != 0)
		i++;
	if (ask(round, action, err))
		return err->code;
	if (!deeds[i].apply(round, action, err))
		return docker__note_done(round, verb, docker__subject(action), err);
	if (err->code != INTENT_ESTALE)
		docker__note_failed(round, verb, docker__subject(action), err);
	return err->code;
}

const struct intent_verb docker__verbs[] = {
	INTENT_FACT_VERBS,
	{ "pull", 0, apply_deed },
	{ "network", 0, apply_deed },
	{ "volume", 0, apply_deed },
	{ "slot", 0, apply_slot },
	{ "create", 0, apply_deed },
	{ "start", 0, apply_deed },
	{ "connect", 0, apply_deed },
	{ "suspend", 0, docker__apply_suspend },
	{ "await", 0, docker__apply_await },
	{ "drain", 0, docker__apply_drain },
	{ "retire", 0, apply_deed },
	{ "remove", INTENT_VERB_DESTROYS, apply_deed },
	{ "disuse", INTENT_VERB_DESTROYS, apply_deed },
	{ "mark", 0, apply_mark },
	{ "release", 0, apply_release },
	{ NULL, 0, NULL }
};

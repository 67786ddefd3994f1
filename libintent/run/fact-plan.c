/*
 * What to say of an application's health: pure, from what was found now and before (fact.h).
 *
 * A finding becomes a state as follows. Good is healthy at once: the check itself asks for a time of being up. What
 * is published as healthy turns unhealthy at once when its process ended, and when a check
 * failed twice, a second apart. What goes back and forth is unknown until it has been calm for a while. So the
 * number of writes is bounded by time, however a service behaves.
 */
#include <inttypes.h>
#include <intent/fact.h>

#define FLAP_WINDOW_MS (5 * 60 * 1000)
#define FLAP_CHANGES 6          /* three times bad and good again within that time */
#define CALM_MS (2 * 60 * 1000) /* without a change, until it is believed again */
#define CHANGES_MAX 16          /* remembered */
#define REASON_MS (10 * 1000)   /* another reason for the same state waits so long, and half of the state's age */

/* One planning. All pointers are borrowed, but for `changes`, `fact`. */
struct telling {
	const json_t *intent, *observed, *look;
	const json_t *before;     /* what was published of this version; NULL: nothing */
	const json_t *history;    /* of this version, or NULL */
	struct intent_plan *plan;
	int64_t now, at, state_at;
	bool changed;             /* other than found last */
	json_t *changes, *fact;   /* owned */
};

static const char *found_of(const json_t *json)
{
	return intent_json_string(json, "found", "");
}

static const char *app_of(const json_t *intent)
{
	return intent_json_string(intent, "app", "?");
}

/* ---- history ---- */

static json_t *recent_changes(const struct telling *t)
{
	json_t *recent = json_array(), *item;
	size_t i;

	json_array_foreach(json_object_get(t->history, "changes"), i, item)
		if (t->now - json_integer_value(item) < FLAP_WINDOW_MS)
			json_array_append(recent, item);
	if (t->history && t->changed)
		json_array_append_new(recent, json_integer(t->now));
	while (json_array_size(recent) > CHANGES_MAX)
		json_array_remove(recent, 0);
	return recent;
}

static int64_t change_at(const struct telling *t, size_t i)
{
	return json_integer_value(json_array_get(t->changes, i));
}

static bool is_flapping(const struct telling *t)
{
	size_t count = json_array_size(t->changes);

	return count >= FLAP_CHANGES && t->now - change_at(t, count - 1) < CALM_MS;
}

/* Another version is another service: what was found before says nothing of it. */
static void remember(struct telling *t)
{
	const json_t *history = json_object_get(t->observed, "history");
	const json_t *told = json_object_get(history, "fact");
	const char *version = intent_json_string(t->look, "version", "");

	if (!told)
		told = json_object_get(t->observed, "fact");
	if (told && !strcmp(intent_json_string(told, "version", ""), version)) {
		t->before = told;
		t->history = history;
	}
	t->now = intent_json_integer(t->observed, "now_ms", 0);
	t->changed = !t->history || strcmp(found_of(t->history), found_of(t->look)) != 0;
	t->at = t->changed ? t->now : intent_json_integer(t->history, "at", t->now);
	t->changes = recent_changes(t);
}

/* ---- the fact ---- */

/* Published as healthy, and bad for the first time: that may be one lost packet. A process that ended is not. */
static bool wants_confirmation(const struct telling *t)
{
	int64_t up = intent_json_integer(t->look, "up_ms", -1);

	return t->history && !strcmp(intent_json_string(t->before, "state", ""), "healthy") &&
		up >= t->now - intent_json_integer(t->history, "state_at", t->now) &&
		t->now - t->at < INTENT_FACT_CONFIRM_MS;
}

static const char *state_of(const struct telling *t)
{
	const char *found = found_of(t->look);

	if (is_flapping(t))
		return "unknown";
	if (!strcmp(found, "good") || wants_confirmation(t))
		return "healthy";
	return !strcmp(found, "bad") ? "unhealthy" : "unknown";
}

/* Why it is not healthy. New; NULL: it is. */
static json_t *reason_for(const struct telling *t, const char *state)
{
	const char *reason = intent_json_string(t->look, "reason", "");
	size_t count = json_array_size(t->changes);
	char span[24];

	if (!strcmp(state, "healthy"))
		return NULL;
	if (!is_flapping(t))
		return json_string(reason);
	intent_duration_format(t->now - change_at(t, 0), span);
	return json_sprintf("its health changed %zu times within %s%s%s", count, span, *reason ? "; now: " : "",
			    reason);
}

/* A service that ends again and again has another last word each time; that it flaps is said once. */
static bool is_time_for_another_reason(const struct telling *t)
{
	int64_t wait = (t->now - t->state_at) / 2;

	if (wait < REASON_MS)
		wait = REASON_MS;
	return !is_flapping(t) && t->now - intent_json_integer(t->history, "told_at", t->now) >= wait;
}

static void make_fact(struct telling *t)
{
	const char *state = state_of(t);
	bool same = t->before && !strcmp(intent_json_string(t->before, "state", ""), state);
	json_t *since = same ? json_object_get(t->before, "since") : NULL, *reason;

	t->state_at = same ? intent_json_integer(t->history, "state_at", t->now) : t->now;
	reason = same && !is_time_for_another_reason(t) ? json_incref(json_object_get(t->before, "reason")) :
		reason_for(t, state);
	t->fact = json_pack("{ss sO* so* sO sO* sO*}", "state", state,
			    "version", json_object_get(t->look, "version"), "reason", reason,
			    "since", since ? since : json_object_get(t->observed, "now"),
			    "host", json_object_get(t->observed, "host"), "once", json_object_get(t->observed, "once"));
}

/* ---- actions ---- */

static json_t *new_history(const struct telling *t, bool told)
{
	int64_t told_at = told ? t->now : intent_json_integer(t->history, "told_at", t->now);

	return json_pack("{ss sI sO sO sI sI}", "found", found_of(t->look), "at", (json_int_t)t->at,
			 "changes", t->changes, "fact", t->fact, "told_at", (json_int_t)told_at,
			 "state_at", (json_int_t)t->state_at);
}

/* A merge patch leaves what it does not name. */
static json_t *replacing(const json_t *stands, const json_t *fact)
{
	json_t *patch = json_copy((json_t *)(uintptr_t)fact), *value;
	const char *name;

	json_object_foreach((json_t *)(uintptr_t)stands, name, value)
		if (!json_object_get(patch, name))
			json_object_set_new(patch, name, json_null());
	return patch;
}

static json_t *effect_of(const struct telling *t, json_t *history, bool told)
{
	json_t *patch = json_copy(history);

	json_object_set_new(patch, "fact", replacing(intent_json_at(t->observed, "/history/fact"), t->fact));
	return told ? json_pack("{so sn so}", "fact", replacing(json_object_get(t->observed, "fact"), t->fact),
				"bound", "history", patch) :
		json_pack("{so}", "history", patch);
}

static const char *why_publish(const struct telling *t, char out[256])
{
	const json_t *stands = json_object_get(t->observed, "fact");
	const char *state = intent_json_string(stands, "state", "?");
	const char *version = intent_json_string(stands, "version", "?");

	if (!stands)
		return t->before ? "the fact was gone" : "nothing was published";
	if (strcmp(version, intent_json_string(t->look, "version", "")) != 0)
		snprintf(out, 256, "what stands there is of version %s", version);
	else if (strcmp(state, intent_json_string(t->fact, "state", "")) != 0)
		snprintf(out, 256, "it was %s", state);
	else
		return intent_json_boolean(t->observed, "bound", true) ? "what stands there differs" :
			"what stands there goes with an earlier lease";
	return out;
}

static void plan_publish(const struct telling *t)
{
	const char *reason = intent_json_string(t->fact, "reason", "");
	json_t *history = new_history(t, true);
	char why[256];

	intent_plan_add(t->plan, "publish", app_of(t->intent), json_pack("{sO so}", "fact", t->fact, "history", history),
			effect_of(t, history, true), "Publishing %s%s%s: %s",
			intent_json_string(t->fact, "state", ""), *reason ? ", " : "", reason, why_publish(t, why));
}

static void plan_note(const struct telling *t)
{
	json_t *history = new_history(t, false);
	const char *reason = intent_json_string(t->look, "reason", "");

	intent_plan_add(t->plan, "note", app_of(t->intent), json_pack("{so}", "history", history),
			effect_of(t, history, false), "Found %s%s%s; still %s", found_of(t->look),
			*reason ? ", " : "", reason, intent_json_string(t->fact, "state", ""));
}

static void plan_fact(const struct telling *t)
{
	const json_t *stands = json_object_get(t->observed, "fact");
	bool bound = intent_json_boolean(t->observed, "bound", true);

	if (!stands || !bound || !json_equal(stands, t->fact))
		plan_publish(t);
	else if (t->changed && !intent_json_boolean(t->observed, "once", false))
		plan_note(t);
}

static void plan_runs(const json_t *intent, const json_t *observed, struct intent_plan *plan)
{
	struct telling t = { .intent = intent, .observed = observed, .plan = plan,
			     .look = json_object_get(observed, "look") };

	remember(&t);
	make_fact(&t);
	plan_fact(&t);
	if (!strcmp(found_of(t.look), "unseen"))
		intent_plan_verdict(plan, (int)intent_json_integer(t.look, "code", INTENT_EREFUSED), "%s",
				    intent_json_string(t.look, "reason", ""));
	json_decref(t.changes);
	json_decref(t.fact);
}

static void plan_withdraw(struct intent_plan *plan, const char *cluster, json_t *effect, const char *app,
			  const char *why)
{
	intent_plan_add(plan, "withdraw", cluster, json_pack("{ss}", "cluster", cluster), effect,
			"Withdrawing the fact: %s %s %s", app, why, cluster);
}

static void plan_runs_not(const json_t *intent, const json_t *observed, struct intent_plan *plan)
{
	if (json_object_get(observed, "fact") || json_object_get(observed, "history"))
		plan_withdraw(plan, intent_json_string(intent, "cluster", "?"), json_pack("{sn sn}", "fact", "history"),
			      app_of(intent), "is not meant to run here, in cluster");
}

/* Where this node belonged once. */
static void plan_elsewhere(const json_t *intent, const json_t *observed, struct intent_plan *plan)
{
	size_t i;
	json_t *item;

	json_array_foreach(json_object_get(observed, "elsewhere"), i, item)
		plan_withdraw(plan, json_string_value(item), json_pack("{s[]}", "elsewhere"),
			      app_of(intent), "is not this node's in cluster");
}

static void say_who_keeps_it(const json_t *intent, const char *keeper, struct intent_plan *plan)
{
	intent_plan_verdict(plan, INTENT_ENOTOURS,
			    "reality/health/%s/%s/%s is kept by another pp-health-reporter, %s; a node has one: end that one, "
			    "or give one of the two another --node (this one goes on when the other's lease has run out)",
			    app_of(intent), intent_json_string(intent, "cluster", "?"),
			    intent_json_string(intent, "node", "?"), keeper);
}

void intent_fact_plan(const json_t *intent, const json_t *observed, struct intent_plan *plan)
{
	const char *keeper = intent_json_string(observed, "keeper", NULL);

	plan_elsewhere(intent, observed, plan);
	if (intent_json_boolean(intent, "absent", false))
		return;
	if (keeper) {
		if (!intent_json_boolean(observed, "once", false))
			say_who_keeps_it(intent, keeper, plan);
	} else if (json_object_get(observed, "look")) {
		plan_runs(intent, observed, plan);
	} else {
		plan_runs_not(intent, observed, plan);
	}
}

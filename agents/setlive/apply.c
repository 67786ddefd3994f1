/* What the verbs of a plan do; each is safe to repeat. */

#include <intent/agent.h>
#include <intent/child.h>
#include <intent/documents.h>
#include <intent/file.h>
#include <intent/rolling.h>
#include "setlive.h"

#define AWAIT_MAX_MS 100       /* between two looks at health */
#define HOOK_TIMEOUT_MS 30000
#define HOOK_OUTPUT_MAX 4096
#define ENABLE_AGAIN_MS 1000   /* a bin/enable that failed is run again */

/* Where an action is, while it waits for services. */
struct doing {
	struct intent_round *round;
	const struct intent_site *site;
	const char *what;           /* for progress */
	const char *health;         /* what was found wrong; NULL: nothing was looked for */
	int64_t told;
};

/* Also says once a second that the round lives, however long a service takes to stop. */
static bool should_stop(void *data)
{
	struct doing *doing = data;
	int64_t now = intent_time_monotonic();

	if (now - doing->told >= 1000) {
		doing->told = now;
		intent_round_progress(doing->round, json_pack("{ss ss*}", "doing", doing->what,
							      "health", doing->health));
	}
	return intent_round_should_stop(doing->round);
}

static void say(const char *words, void *data)
{
	const struct doing *doing = data;

	intent_round_log(doing->round, INTENT_WARN, "%s", words);
}

/* The order is good for as long as *doing and the intent of the round are. */
static struct intent_service_order order_of(struct doing *doing, const json_t *names, int64_t timeout_ms)
{
	doing->told = intent_time_monotonic();
	return (struct intent_service_order){
		.site = doing->site, .names = names, .timeout_ms = timeout_ms,
		.waiting = should_stop, .note = say, .data = doing,
	};
}

/* ---- shutdown slots ---- */

/* None of them is up that would be missed; `ending`: or all have ended unasked not long ago. */
static int all_down(const struct intent_site *site, const json_t *names, bool ending, bool *ret,
		    struct intent_error *err)
{
	struct intent_service_state state;
	size_t i;
	json_t *item;

	*ret = true;
	json_array_foreach((json_t *)(uintptr_t)names, i, item) {
		int code = intent_service_look(site, json_string_value(item), &state, err);

		if (code && code != INTENT_EABSENT)
			return code;
		if (!code && !(ending && state.exits) && (state.running || state.wanted_up))
			*ret = false;
	}
	return 0;
}

static int is_unhealthy(const struct intent_site *site, const json_t *intent, const json_t *names, bool *ret,
			struct intent_error *err)
{
	intent_text_auto struct intent_text health = INTENT_TEXT_INIT;
	intent_free_auto char *version = NULL;
	char foreign[512];

	int code = intent_install_current(site, &version, foreign, err);
	if (code && code != INTENT_EABSENT)
		return code;
	if (version && intent_services_health(site, intent, version, names, &health, err))
		return err->code;
	*ret = health.length;
	return 0;
}

/* What the store may ask: who we are, and for what. */
static struct intent_slots_claim claim_of(struct intent_round *round, const json_t *args, char holder[160])
{
	const json_t *intent = intent_round_intent(round);
	const char *node = intent_json_string(intent, "node", "");

	snprintf(holder, 160, "setlive@%.128s", node);
	return (struct intent_slots_claim){
		.node = node, .holder = holder,
		.version = intent_json_string(args, "version", ""),
		.target = intent_json_string(args, "target", ""),
		.min_nodes = intent_json_integer(json_object_get(intent, "config"), "min_nodes", 0),
	};
}

/*
 * The ordinary test first; what we find of the service ourselves only where that fails. One that keeps ending
 * is made to stay down, or it might be up again when we stop it.
 */
static int apply_slot(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *args = json_object_get(action, "args"), *intent = intent_round_intent(round);
	intent_json_auto json_t *names = NULL;
	struct intent_site site;
	struct doing doing = { .round = round, .site = &site, .what = "asking for a shutdown slot" };
	char holder[160];
	bool ending;

	if (intent_site_init(intent, &site, err) || intent_service_list(&site, &names, err))
		return err->code;
	struct intent_slots_claim claim = claim_of(round, args, holder);
	if (all_down(&site, names, false, &claim.is_down, err))
		return err->code;
	int code = intent_rolling_take(round, &claim, err);
	if (code != INTENT_EWAITING || claim.is_down)
		return code;
	struct intent_error waits = *err;
	struct intent_service_order order = order_of(&doing, names, intent_service_stop_timeout(intent));
	if (all_down(&site, names, true, &ending, err) ||
	    (ending && intent_services_settle_down(&order, &claim.is_down, err)) ||
	    (!claim.is_down && is_unhealthy(&site, intent, names, &claim.is_unhealthy, err)))
		return err->code;
	if (claim.is_down || claim.is_unhealthy)
		return intent_rolling_take(round, &claim, err);
	*err = waits;
	return code;
}

static int apply_mark(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *args = json_object_get(action, "args");
	char holder[160];
	struct intent_slots_claim claim = claim_of(round, args, holder);

	return intent_rolling_mark(round, &claim, intent_json_string(args, "failed", ""),
				   intent_json_string(args, "instead", NULL), err);
}

/* What is noted of each of these services, where anything is. The value is stolen. */
static int note_all(const struct intent_site *site, const json_t *names, const char *note, json_t *value,
		    struct intent_error *err)
{
	intent_json_auto json_t *members = json_pack("{so}", note, value);
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)names, i, item)
		if (intent_service_note(site, json_string_value(item), members, err) &&
		    err->code != INTENT_EABSENT)
			return err->code;
	return 0;
}

static int apply_release(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *args = json_object_get(action, "args"), *intent = intent_round_intent(round);
	const json_t *names = json_object_get(args, "services");
	bool confirmed = intent_json_integer(json_object_get(intent, "config"), "min_nodes", 0) > 0;
	intent_text_auto struct intent_text health = INTENT_TEXT_INIT;
	struct intent_site site;

	if (intent_site_init(intent, &site, err) ||
	    (names && intent_services_health(&site, intent, intent_json_string(args, "version", ""), names, &health,
					     err)))
		return err->code;
	if (health.length)
		return intent_fail(err, INTENT_EUNHEALTHY, "its shutdown slot is not given back: %.400s",
				   intent_text_str(&health));
	if (intent_rolling_release(round, intent_json_string(args, "cluster", ""),
				   names ? intent_json_string(args, "version", "") : NULL, confirmed, err))
		return err->code;
	return note_all(&site, names, "slot", json_null(), err);
}

/* Right before what a person would notice: no hold, and the slot that is needed. */
static int ask(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *what = intent_json_at(action, "/args/ask");
	char holder[160];
	struct intent_slots_claim claim = claim_of(round, what, holder);

	return what ? intent_rolling_verify(round, *claim.target ? &claim : NULL, err) : 0;
}

/* ---- hooks ---- */

static int run_hook(struct intent_round *round, const struct intent_site *site, const json_t *args,
		    const char *hook, struct intent_error *err)
{
	const json_t *intent = intent_round_intent(round);
	const char *version = intent_json_string(args, "version", ""),
		   *service = json_string_value(json_array_get(json_object_get(args, "services"), 0));
	intent_json_auto json_t *list = NULL;
	intent_free_auto char *install = intent_install_path(site, version);
	intent_free_auto char *program = intent_format("%s/bin/%s", install, hook);
	const char *env[1024] = { NULL }, *argv[] = { program, NULL };
	struct intent_child_options options = {
		.argv = argv, .env = env, .directory = install, .output_max = HOOK_OUTPUT_MAX,
		.deadline_ms = intent_json_duration(json_object_get(intent, "deploy"), "hook_timeout",
						    HOOK_TIMEOUT_MS),
	};
	size_t i;
	json_t *item;

	if (intent_service_environment(site, intent, service ? service : site->app, version, &list, err))
		return err->code;
	json_array_foreach(list, i, item)
		if (i < sizeof env / sizeof *env - 1)
			env[i] = json_string_value(item);
	if (site->root && *site->runas) {
		options.uid = site->uid;
		options.gid = site->gid;
	}
	return intent_service_run(site, service ? service : site->app, &options, err);
}

/* Noted first: from here on it may be out of service, whatever becomes of us. A hook that fails stops nothing. */
static int apply_disable(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *args = json_object_get(action, "args");
	struct intent_site site;
	struct intent_error failed;

	if (intent_site_init(intent_round_intent(round), &site, err) || ask(round, action, err) ||
	    note_all(&site, json_object_get(args, "services"), "enabled", json_false(), err))
		return err->code;
	if (run_hook(round, &site, args, "disable", &failed)) {
		intent_round_log(round, INTENT_WARN, "It is stopped all the same, though: %s", failed.msg);
		intent_round_detail(round, "disable", json_string(failed.msg));
	}
	return 0;
}

static int apply_enable(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *args = json_object_get(action, "args");
	struct intent_site site;

	if (intent_site_init(intent_round_intent(round), &site, err))
		return err->code;
	if (run_hook(round, &site, args, "enable", err)) {
		intent_round_again(round, ENABLE_AGAIN_MS);
		return err->code;
	}
	return note_all(&site, json_object_get(args, "services"), "enabled", json_true(), err);
}

/* ---- stop, swap, start ---- */

/* `previous` is to name a version that was healthy and is about to go: preparer keeps it, a rollback leads to it. */
static int keep_previous(const struct intent_site *site, const json_t *args, struct intent_error *err)
{
	const char *version = intent_json_string(args, "previous", NULL);
	intent_free_auto char *link = intent_format("%s/previous", site->basedir);
	intent_free_auto char *target = intent_install_path(site, version ? version : "");

	return version ? intent_link_set(target, link, NULL, err) : 0;
}

/* The link first: what is stopped is no longer known to have been healthy. */
static int apply_stop(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *args = json_object_get(action, "args"), *intent = intent_round_intent(round);
	struct intent_site site;
	struct doing doing = { .round = round, .site = &site, .what = "stopping" };

	if (ask(round, action, err) || intent_site_init(intent, &site, err) || keep_previous(&site, args, err))
		return err->code;
	struct intent_service_order order = order_of(&doing, json_object_get(args, "services"),
						     intent_service_stop_timeout(intent));
	return intent_services_stop(&order, intent_json_boolean(args, "for_good", false), err);
}

static int apply_configure(struct intent_round *round, const json_t *action,
			   struct intent_error *err)
{
	struct intent_site site;

	if (intent_site_init(intent_round_intent(round), &site, err))
		return err->code;
	return intent_service_configure(&site, intent_round_intent(round),
				 intent_json_string(action, "subject", ""), err);
}

static int apply_symlink(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const char *version = intent_json_string(action, "subject", "");
	struct intent_site site;

	if (ask(round, action, err) || intent_site_init(intent_round_intent(round), &site, err))
		return err->code;
	intent_free_auto char *current = intent_format("%s/current", site.basedir);
	intent_free_auto char *target = intent_install_path(&site, version);

	if (keep_previous(&site, json_object_get(action, "args"), err))
		return err->code;
	return intent_link_set(target, current, NULL, err);
}

/*
 * It was a while ago that variables were read for the plan, and then for the services' files: a stop lies between. What
 * starts now must be what is noted of it, or nobody would see later what it lacks.
 */
static int variables_still_are(const struct intent_site *site, const json_t *intent, const json_t *args,
			       struct intent_error *err)
{
	const char *planned = intent_json_string(json_object_get(args, "wanted"), "envdir", "");
	const json_t *names = json_object_get(args, "services");
	char digest[33];
	size_t i;
	json_t *item;

	if (!*planned)
		return 0;
	if (intent_service_envdir(site, intent, false, digest, err) < 0)
		return err->code;
	bool same = !strcmp(digest, planned);
	json_array_foreach((json_t *)(uintptr_t)names, i, item) {
		intent_json_auto json_t *service = NULL;

		if (intent_service_observe(site, intent, json_string_value(item), &service, err) < 0)
			return err->code;
		if (json_array_size(json_object_get(service, "stale")))
			same = false;
	}
	return same ? 0 : intent_fail(err, INTENT_ESTALE, "%s: the variables changed meanwhile; starting again with the new ones",
				      intent_json_string(intent, "envdir", ""));
}

static int apply_start(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *args = json_object_get(action, "args"), *intent = intent_round_intent(round),
		     *names = json_object_get(args, "services");
	struct intent_site site;
	struct doing doing = { .round = round, .site = &site, .what = "starting" };
	size_t i;
	json_t *item;

	if (ask(round, action, err) || intent_site_init(intent, &site, err) ||
	    variables_still_are(&site, intent, args, err))
		return err->code;
	struct intent_service_order order = order_of(
		&doing, names,
		intent_json_integer(json_object_get(intent, "options"), "supervise-timeout", 10000));
	int code = intent_services_start(&order, json_object_get(args, "wanted"), err);
	if (code != INTENT_EUNSUPERVISED)
		return code;
	json_array_foreach((json_t *)(uintptr_t)names, i, item) {
		intent_free_auto char *path = intent_service_watch_path(&site, json_string_value(item));

		if (path)
			intent_round_watch(round, path);
	}
	return code;
}

/*
 * Not healthy in time is no failure of ours: the next look sees it, and what follows is planned then. Healthy is
 * noted, so that what goes wrong later is not taken for a failure of the version. Other intent ends the wait: whether
 * this is still to be run, and how long it has left, is decided anew. Nothing is done by halves here.
 */
static int apply_await(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *intent = intent_round_intent(round), *args = json_object_get(action, "args");
	const json_t *names = json_object_get(args, "services");
	const char *version = intent_json_string(action, "subject", "");
	int64_t deadline = intent_time_monotonic() + intent_json_integer(args, "within_ms", 0), pause = 2;
	intent_text_auto struct intent_text health = INTENT_TEXT_INIT;
	struct intent_site site;
	struct doing doing = { .round = round, .site = &site, .what = "waiting until it is healthy" };

	if (intent_site_init(intent, &site, err))
		return err->code;
	for (;;) {
		if (intent_services_health(&site, intent, version, names, &health, err))
			return err->code;
		if (!health.length)
			return note_all(&site, names, "settled", json_true(), err);
		if (intent_time_monotonic() >= deadline)
			return 0;
		doing.health = intent_text_str(&health);
		if (should_stop(&doing) || intent_round_is_outdated(round))
			return intent_fail(err, INTENT_ESTALE, "stopped waiting until %s is healthy: %.400s", version,
					   doing.health);
		usleep((useconds_t)(pause * 1000));
		pause = pause * 2 < AWAIT_MAX_MS ? pause * 2 : AWAIT_MAX_MS;
	}
}

static int apply_remove(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	intent_json_auto json_t *names = json_pack("[s]", intent_json_string(action, "subject", ""));
	const json_t *intent = intent_round_intent(round);
	struct intent_site site;
	struct doing doing = { .round = round, .site = &site, .what = "removing" };

	if (intent_site_init(intent, &site, err))
		return err->code;
	struct intent_service_order order =
		order_of(&doing, names, intent_service_stop_timeout(intent));
	return intent_service_remove(&order, err);
}

static int apply_sweep(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	(void)round;
	return intent_temp_sweep(intent_json_string(action, "subject", ""), NULL, err);
}

const struct intent_verb setlive__verbs[] = {
	{ "sweep", 0, apply_sweep },
	{ "slot", 0, apply_slot },
	{ "mark", 0, apply_mark },
	{ "disable", 0, apply_disable },
	{ "stop", 0, apply_stop },
	{ "configure", 0, apply_configure },
	{ "symlink", 0, apply_symlink },
	{ "start", 0, apply_start },
	{ "enable", 0, apply_enable },
	{ "await", 0, apply_await },
	{ "release", 0, apply_release },
	{ "drop", 0, apply_remove },       /* the application stays, this service of it does not */
	{ "remove", INTENT_VERB_DESTROYS, apply_remove },
	{ NULL, 0, NULL },
};

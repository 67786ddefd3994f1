/* What the verbs of a plan do; each is safe to repeat. */
#include <errno.h>

#include <intent/agent.h>
#include <intent/documents.h>
#include <intent/file.h>
#include <intent/health.h>
#include "setlive.h"

#define AWAIT_MAX_MS 100       /* between two looks at health */

/* Where an action is, while it waits for services. */
struct doing {
	struct intent_round *round;
	const struct intent_site *site;
	const char *what;           /* for progress */
	int64_t told;
};

/* Also says once a second that the round lives, however long a service takes to stop. */
static bool should_stop(void *data)
{
	struct doing *doing = data;
	int64_t now = intent_time_monotonic();

	if (now - doing->told >= 1000) {
		doing->told = now;
		intent_round_progress(doing->round, json_pack("{ss}", "doing", doing->what));
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

/* `previous` names what `current` is about to be turned away from: preparer keeps both. */
static int keep_previous(const struct intent_site *site, const char *active, struct intent_error *err)
{
	intent_free_auto char *current = intent_format("%s/current", site->basedir);
	intent_free_auto char *previous = intent_format("%s/previous", site->basedir);
	intent_free_auto char *target = intent_install_path(site, active);
	intent_free_auto char *old = NULL;

	if (!current || !previous || !target)
		return intent_fail(err, -ENOMEM, "%s: out of memory", site->app);
	int code = intent_link_read(current, &old, err);
	if (code == INTENT_EABSENT || (!code && !strcmp(old, target)))
		return 0;
	return code ? code : intent_link_set(old, previous, NULL, err);
}

static int turn_away(void *data, struct intent_error *err)
{
	const struct doing *doing = data;
	const char *active = intent_config_active(
		json_object_get(intent_round_intent(doing->round), "config"));

	return active ? keep_previous(doing->site, active, err) : 0;
}

static int apply_stop(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *args = json_object_get(action, "args"), *intent = intent_round_intent(round);
	struct intent_site site;
	struct doing doing = { .round = round, .site = &site, .what = "stopping" };

	intent_site_init(intent, &site);
	struct intent_service_order order = order_of(&doing, json_object_get(args, "services"),
						     intent_service_stop_timeout(intent));
	/* While it stops, the link is made that the next step needs. */
	return intent_services_stop(&order, intent_json_boolean(args, "for_good", false), turn_away, err);
}

static int apply_configure(struct intent_round *round, const json_t *action,
			   struct intent_error *err)
{
	struct intent_site site;

	intent_site_init(intent_round_intent(round), &site);
	return intent_service_configure(&site, intent_round_intent(round),
				 intent_json_string(action, "subject", ""), err);
}

static int apply_symlink(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const char *version = intent_json_string(action, "subject", "");
	struct intent_site site;

	intent_site_init(intent_round_intent(round), &site);
	intent_free_auto char *current = intent_format("%s/current", site.basedir);
	intent_free_auto char *target = intent_install_path(&site, version);

	if (!current || !target)
		return intent_fail(err, -ENOMEM, "%s: out of memory", site.app);
	if (keep_previous(&site, version, err))
		return err->code;
	return intent_link_set(target, current, NULL, err);
}

static int apply_start(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *args = json_object_get(action, "args"), *intent = intent_round_intent(round),
		     *names = json_object_get(args, "services");
	struct intent_site site;
	struct doing doing = { .round = round, .site = &site, .what = "starting" };
	size_t i;
	json_t *item;

	intent_site_init(intent, &site);
	struct intent_service_order order = order_of(
		&doing, names,
		intent_json_integer(json_object_get(intent, "options"), "supervise-timeout", 10000));
	int code = intent_services_start(&order, json_object_get(args, "wanted"), err);
	if (code == INTENT_EUNSUPERVISED)
		json_array_foreach((json_t *)(uintptr_t)names, i, item) {
			intent_free_auto char *path = intent_service_watch_path(&site, json_string_value(item));

			if (path)
				intent_round_watch(round, path);
		}
	return code;
}

static int apply_await(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *intent = intent_round_intent(round);
	const char *active = intent_json_string(action, "subject", "");
	int64_t limit = intent_json_integer(json_object_get(action, "args"), "within_ms", 0);
	int64_t deadline = intent_time_monotonic() + limit, pause = 2;
	intent_text_auto struct intent_text health = INTENT_TEXT_INIT;
	intent_json_auto json_t *names = NULL;
	struct intent_site site;
	struct doing doing = { .round = round, .site = &site, .what = "waiting until it is healthy" };
	char words[24];

	intent_site_init(intent, &site);
	names = setlive__install(&site, active, true);
	if (!json_is_array(names))
		return intent_fail(err, INTENT_ENOTINSTALLED, "%s of %s is gone", active, site.app);
	for (;;) {
		intent_services_health(&site, intent, active, names, &health);
		if (!health.length)
			return 0;
		if (intent_time_monotonic() >= deadline)
			break;
		if (should_stop(&doing))
			return intent_fail(err, INTENT_ESTALE,
					   "stopped waiting until %s is healthy", active);
		usleep((useconds_t)(pause * 1000));
		pause = pause * 2 < AWAIT_MAX_MS ? pause * 2 : AWAIT_MAX_MS;
	}
	intent_duration_format(intent_health_deadline(intent_json_at(intent, "/deploy/health")),
			       words);
	return intent_fail(err, INTENT_EUNHEALTHY, "%s was not healthy within %s: %.400s", active,
			   words, intent_text_str(&health));
}

static int apply_remove(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	intent_json_auto json_t *names = json_pack("[s]", intent_json_string(action, "subject", ""));
	const json_t *intent = intent_round_intent(round);
	struct intent_site site;
	struct doing doing = { .round = round, .site = &site, .what = "removing" };

	intent_site_init(intent, &site);
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
	{ "stop", 0, apply_stop },
	{ "configure", 0, apply_configure },
	{ "symlink", 0, apply_symlink },
	{ "start", 0, apply_start },
	{ "await", 0, apply_await },
	{ "drop", 0, apply_remove },       /* the application stays, this service of it does not */
	{ "remove", INTENT_VERB_DESTROYS, apply_remove },
	{ NULL, 0, NULL },
};

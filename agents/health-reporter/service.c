/*
 * The look at an application's service, through its supervisor.
 */
#include <errno.h>
#include <unistd.h>
#include <intent/file.h>
#include <intent/service.h>
#include "reporter.h"

#define LOOKS_MAX 3  /* until nothing moves under a look */
#define YOUNG_MS 250 /* the first looks at a process that is not healthy yet */

struct sight {
	const struct intent_site *site;
	json_t *names;          /* services that are meant to run; owned */
	char *version;          /* owned; NULL: unknown */
	char wrong[600];        /* why no check is needed to call it bad; "" */
	int64_t up_ms;          /* the least of them */
	struct intent_error unseen; /* code 0: all could be looked at */
};

static void release(struct sight *sight)
{
	json_decref(sight->names);
	free(sight->version);
}

static void look_at_version(struct sight *sight)
{
	char foreign[512] = "";
	struct intent_error err;
	int code = intent_install_current(sight->site, &sight->version, foreign, &err);

	if (code == INTENT_EABSENT)
		snprintf(sight->wrong, sizeof(sight->wrong), "%.500s/current does not exist", sight->site->basedir);
	else if (code)
		sight->unseen = err;
	else if (!sight->version)
		snprintf(sight->wrong, sizeof(sight->wrong), "%s", foreign);
}

static bool has(const json_t *array, const char *name)
{
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)array, i, item)
		if (!strcmp(json_string_value(item), name))
			return true;
	return false;
}

/* Half of an application is not healthy. */
static void look_for_stopped(struct sight *sight)
{
	intent_json_auto json_t *meant = NULL;
	struct intent_error err;
	size_t i;
	json_t *item;

	if (sight->version && intent_install_services(sight->site, sight->version, &meant, &err) &&
	    err.code != INTENT_EABSENT)
		sight->unseen = err;
	if (json_is_array(meant))
		json_array_foreach(meant, i, item)
			if (!*sight->wrong && !has(sight->names, json_string_value(item)))
				snprintf(sight->wrong, sizeof(sight->wrong), "%.200s is stopped, and is part of %.200s",
					 json_string_value(item), sight->version);
}

/* runsv lets its own user in, and nobody else: a service seen from outside seems to be down. */
static int may_look(const char *path, struct intent_error *err)
{
	if (path && access(path, R_OK | X_OK) && errno == EACCES)
		return intent_fail(err, -EACCES, "%s cannot be read: run pp-health-reporter as root, or as the user "
				   "that runs the supervisor", path);
	return 0;
}

/* One service; it counts when it is meant to run. */
static int look_at_service(struct intent_round *round, struct sight *sight, const char *name, struct intent_error *err)
{
	intent_free_auto char *path = intent_service_watch_path(sight->site, name);
	struct intent_service_state state = { .up_ms = -1 };
	int code = may_look(path, err);

	if (path)
		intent_round_watch(round, path);
	if (!code)
		code = intent_service_look(sight->site, name, &state, err);

	if (code == INTENT_EABSENT)
		return 0;
	/* What cannot be looked at may well be meant to run. */
	if (!code && !state.wanted_up)
		return 0;
	json_array_append_new(sight->names, json_string(name));
	if (code)
		return code;
	if (!state.running || state.up_ms < sight->up_ms)
		sight->up_ms = state.running ? state.up_ms : -1;
	return 0;
}

static void look_at_services(struct intent_round *round, struct sight *sight)
{
	intent_json_auto json_t *names = NULL;
	struct intent_error err;
	size_t i;
	json_t *item;

	sight->names = json_array();
	sight->up_ms = INT64_MAX;
	if (intent_service_list(sight->site, &names, &err)) {
		sight->unseen = err;
		return;
	}
	/* Its first service appears there; each wakes us itself from then on. */
	if (!json_array_size(names))
		intent_round_watch(round, sight->site->stage);
	json_array_foreach(names, i, item)
		if (look_at_service(round, sight, json_string_value(item), &err))
			sight->unseen = err;
	if (!json_array_size(sight->names))
		return;
	look_at_version(sight);
	look_for_stopped(sight);
	/* Never as root what is to run as somebody who does not exist. */
	if (!*sight->wrong && sight->site->root)
		snprintf(sight->wrong, sizeof(sight->wrong), "%s", sight->site->runas_error);
	if (!*sight->wrong)
		snprintf(sight->wrong, sizeof(sight->wrong), "%s", sight->site->supervisor_error);
}

/* Has anything moved between two looks? Processes that stay only grow older. */
static bool is_same(const struct sight *a, const struct sight *b)
{
	return json_equal(a->names, b->names) && !a->version == !b->version &&
		(!a->version || !strcmp(a->version, b->version)) &&
		(a->up_ms < 0) == (b->up_ms < 0) && b->up_ms >= a->up_ms;
}

/*
 * Nothing may change under a check that takes seconds: what is then said of a service would be said of the one that
 * came after it, or of one that was stopped.
 */
static void check(struct intent_round *round, const json_t *intent, struct sight *sight, struct intent_text *words)
{
	for (int i = 0; i < LOOKS_MAX; i++) {
		struct sight after = { .site = sight->site };
		struct intent_error err;

		intent_text_clear(words);
		if (!json_array_size(sight->names) || sight->unseen.code || *sight->wrong)
			return;
		if (intent_services_health(sight->site, intent, sight->version, sight->names, words, &err)) {
			sight->unseen = err;
			return;
		}
		look_at_services(round, &after);
		bool same = is_same(sight, &after);
		release(sight);
		*sight = after;
		if (same)
			return;
	}
	snprintf(sight->wrong, sizeof(sight->wrong), "it is being started and stopped while it is looked at");
}

/* Geometric: a young process is soon healthy, an old one may stay as it is for days. */
static int64_t next_look(const struct sight *sight, bool good, int64_t interval_ms)
{
	int64_t soon = interval_ms;

	if (good || sight->unseen.code)
		return interval_ms;
	if (sight->up_ms >= 0)
		soon = sight->up_ms / 8 > YOUNG_MS ? sight->up_ms / 8 : YOUNG_MS;
	return soon < interval_ms ? soon : interval_ms;
}

static json_t *sight_to_json(const struct sight *sight, const char *words)
{
	const char *why = sight->unseen.code ? sight->unseen.msg : *sight->wrong ? sight->wrong : words;
	json_t *look = json_pack("{ss ss* sI}", "found", sight->unseen.code ? "unseen" : *why ? "bad" : "good",
				 "version", sight->version, "up_ms", (json_int_t)sight->up_ms);

	if (*why)
		json_object_set_new(look, "reason", json_string(why));
	if (sight->unseen.code)
		json_object_set_new(look, "code", json_integer(sight->unseen.code));
	return look;
}

/* NULL when nothing is meant to run. New. Watches the services, and asks for the next look. */
static json_t *look_at_application(struct intent_round *round, const json_t *intent, int64_t interval_ms)
{
	intent_text_auto struct intent_text words = INTENT_TEXT_INIT;
	struct intent_site site;
	struct sight sight = { .site = &site };
	struct intent_error err;
	json_t *json = NULL;

	if (intent_site_init(intent, &site, &err)) {
		sight.unseen = err;
	} else if (site.basedir) {
		look_at_services(round, &sight);
		check(round, intent, &sight, &words);
	}
	if (json_array_size(sight.names) || sight.unseen.code) {
		json = sight_to_json(&sight, intent_text_str(&words));
		intent_round_again(round, next_look(&sight, !words.length && !*sight.wrong, interval_ms));
	}
	release(&sight);
	return json;
}

/* One look a round: the passes after the first ask what their own actions came to, not whether the service is well. */
int reporter__observe(struct intent_round *round, const json_t *intent, json_t **ret_new_observed,
		      struct intent_error *err)
{
	int64_t interval_ms = intent_json_integer(intent_round_options(round), "check-interval", 5000);
	static json_t *look;
	static bool looked;

	if (!looked && !json_is_true(json_object_get(intent, "absent")))
		look = look_at_application(round, intent, interval_ms);
	looked = true;
	return intent_fact_observe(round, look, interval_ms, ret_new_observed, err);
}

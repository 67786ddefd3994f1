/* What the verbs of a plan do; each is safe to repeat. */
#include <errno.h>
#include <fcntl.h>

#include <intent/agent.h>
#include <intent/documents.h>
#include <intent/health.h>
#include "runit.h"
#include "service.h"
#include "setlive.h"

#define KILL_WAIT_MS 5000      /* from SIGKILL until gone */
#define EXIT_WAIT_MS 10000     /* from 'x' until runsv and svlogd are gone */
#define AWAIT_MAX_MS 100       /* between two looks at health */

/* The services an action is about, as paths. */
struct group {
	struct intent_round *round;
	size_t count;
	const char *paths[LAUNCH_MAX];
	const char *what;           /* for progress */
	int64_t told;
};

static void group_release(struct group *group)
{
	for (size_t i = 0; i < group->count; i++) {
		union { const char *given; void *owned; } path = { .given = group->paths[i] };

		free(path.owned);
	}
}

static void group_init(struct group *group, struct intent_round *round, const struct site *site,
		       const json_t *names, const char *what)
{
	size_t i;
	json_t *item;

	*group = (struct group){ .round = round, .what = what, .told = intent_time_monotonic() };
	json_array_foreach((json_t *)(uintptr_t)names, i, item) {
		char *path = group->count < LAUNCH_MAX ?
				     service_path(site, json_string_value(item), NULL) :
				     NULL;

		if (path)
			group->paths[group->count++] = path;
	}
}

/* Also says once a second that the round lives, however long a service takes to stop. */
static bool should_stop(void *data)
{
	struct group *group = data;
	int64_t now = intent_time_monotonic();

	if (now - group->told >= 1000) {
		group->told = now;
		intent_round_progress(group->round, json_pack("{ss}", "doing", group->what));
	}
	return intent_round_should_stop(group->round);
}

static bool all_down(void *data)
{
	const struct group *group = data;
	struct runit_status status;
	struct intent_error ignored;

	for (size_t i = 0; i < group->count; i++)
		if (runit_is_supervised(group->paths[i]) &&
		    !runit_status_read(group->paths[i], &status, &ignored) &&
		    (status.pid || status.want_up || status.state != RUNIT_DOWN))
			return false;
	return true;
}

static bool all_supervised(void *data)
{
	const struct group *group = data;

	for (size_t i = 0; i < group->count; i++)
		if (!runit_is_supervised(group->paths[i]))
			return false;
	return true;
}

static bool all_told_up(void *data)
{
	const struct group *group = data;
	struct runit_status status;
	struct intent_error ignored;

	for (size_t i = 0; i < group->count; i++)
		if (runit_status_read(group->paths[i], &status, &ignored) || !status.want_up)
			return false;
	return true;
}

static bool none_supervised(void *data)
{
	const struct group *group = data;

	for (size_t i = 0; i < group->count; i++)
		if (runit_is_supervised(group->paths[i]))
			return false;
	return true;
}

/* A supervisor that is not there has nothing to be told. */
static int tell_all(const struct group *group, const char *commands, struct intent_error *err)
{
	for (size_t i = 0; i < group->count; i++)
		if (runit_control(group->paths[i], commands, err) &&
		    err->code != INTENT_EUNSUPERVISED)
			return err->code;
	return 0;
}

/* SIGTERM, but once: a second one means "at once" to many a program. */
static int tell_down(const struct group *group, struct intent_error *err)
{
	struct runit_status status;

	for (size_t i = 0; i < group->count; i++) {
		bool told = !runit_status_read(group->paths[i], &status, err) && !status.want_up &&
			    (status.got_term || status.state != RUNIT_RUN);

		if (!told && runit_control(group->paths[i], "d", err) &&
		    err->code != INTENT_EUNSUPERVISED)
			return err->code;
	}
	return 0;
}

static int64_t stop_timeout(const json_t *intent)
{
	const json_t *own = intent_json_at(intent, "/deploy/stop_timeout");
	struct intent_error ignored;
	int64_t ms;

	if (json_is_integer(own) && json_integer_value(own) >= 0 &&
	    json_integer_value(own) < INT32_MAX)
		return json_integer_value(own) * 1000;
	if (json_is_string(own) && !intent_duration_parse(json_string_value(own), &ms, &ignored))
		return ms;
	return intent_json_integer(json_object_get(intent, "options"), "stop-timeout", 30000);
}

/* After tell_down(): time to end, then SIGKILL. */
static int await_down(struct group *group, int64_t timeout_ms, struct intent_error *err)
{
	int code = runit_wait(intent_time_monotonic() + timeout_ms, all_down,
			      should_stop, group, err);
	if (code != INTENT_ETIMEOUT)
		return code;
	char limit[24];
	intent_duration_format(timeout_ms, limit);
	intent_round_log(group->round, INTENT_WARN, "did not stop within %s, killing it", limit);
	/* Only what still runs: a kill makes runsv forget a finish script that is under way. */
	for (size_t i = 0; i < group->count; i++) {
		struct runit_status status;

		if (!runit_status_read(group->paths[i], &status, err) && status.state == RUNIT_RUN)
			runit_control(group->paths[i], "k", err);
	}
	code = runit_wait(intent_time_monotonic() + KILL_WAIT_MS, all_down,
			  should_stop, group, err);
	if (code == INTENT_ETIMEOUT)
		return intent_fail(
			err, code,
			"%s did not end after SIGKILL; its process is stuck in the kernel, "
			"or its finish script hangs",
			group->paths[0]);
	return code;
}

static int remove_in(const char *directory, const char *name, struct intent_error *err)
{
	intent_free_auto char *path = intent_format("%s/%s", directory, name);

	return path ? intent_file_remove(path, err) :
		      intent_fail(err, -ENOMEM, "%s: out of memory", directory);
}

static int put_down_file(const char *directory, struct intent_error *err)
{
	intent_free_auto char *path = intent_format("%s/down", directory);

	if (!path)
		return intent_fail(err, -ENOMEM, "%s: out of memory", directory);
	return access(path, F_OK) ? intent_file_write(path, "", 0, 0644, err) : 0;
}

/* `previous` names what `current` is about to be turned away from: preparer keeps both. */
static int keep_previous(const struct site *site, const char *active, struct intent_error *err)
{
	intent_free_auto char *current = intent_format("%s/current", site->basedir);
	intent_free_auto char *previous = intent_format("%s/previous", site->basedir);
	intent_free_auto char *target = setlive__install_path(site, active);
	intent_free_auto char *old = NULL;

	if (!current || !previous || !target)
		return intent_fail(err, -ENOMEM, "%s: out of memory", site->app);
	int code = intent_link_read(current, &old, err);
	if (code == INTENT_EABSENT || (!code && !strcmp(old, target)))
		return 0;
	return code ? code : intent_link_set(old, previous, NULL, err);
}

/*
 * First of all, whatever happens from here on is owed a start. Not synced: should power fail,
 * the process that the note is about dies too, and what runs after that boot was
 * started from the files that there are then (service_observe()).
 */
static int forget_start(const char *directory, struct intent_error *err)
{
	intent_free_auto char *path = intent_format("%s/" SERVICE_STARTED, directory);

	if (!path || (unlink(path) && errno != ENOENT))
		return intent_fail_errno(err, "%s/" SERVICE_STARTED ": cannot be removed",
					 directory);
	return 0;
}

static int apply_stop(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *args = json_object_get(action, "args"), *intent = intent_round_intent(round);
	const char *active = intent_config_active(json_object_get(intent, "config"));
	bool for_good = intent_json_boolean(args, "for_good", false);
	struct group group;
	struct site site;
	int code = 0;

	site_init(intent, &site);
	group_init(&group, round, &site, json_object_get(args, "services"), "stopping");
	for (size_t i = 0; i < group.count && !code; i++) {
		code = forget_start(group.paths[i], err);
		if (!code && for_good)
			code = put_down_file(group.paths[i], err);
	}
	/* While it stops, the link is made that the next step needs. */
	if (!code)
		code = tell_down(&group, err);
	if (!code && active)
		code = keep_previous(&site, active, err);
	if (!code)
		code = await_down(&group, stop_timeout(intent), err);
	group_release(&group);
	return code;
}

static int apply_configure(struct intent_round *round, const json_t *action,
			   struct intent_error *err)
{
	struct site site;

	site_init(intent_round_intent(round), &site);
	return service_configure(&site, intent_round_intent(round),
				 intent_json_string(action, "subject", ""), err);
}

static int apply_symlink(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const char *version = intent_json_string(action, "subject", "");
	struct site site;

	site_init(intent_round_intent(round), &site);
	intent_free_auto char *current = intent_format("%s/current", site.basedir);
	intent_free_auto char *target = setlive__install_path(&site, version);

	if (!current || !target)
		return intent_fail(err, -ENOMEM, "%s: out of memory", site.app);
	if (keep_previous(&site, version, err))
		return err->code;
	return intent_link_set(target, current, NULL, err);
}

static int start_group(struct group *group, const struct site *site, const json_t *intent,
		       struct intent_error *err)
{
	int64_t patience =
		intent_json_integer(json_object_get(intent, "options"), "supervise-timeout", 10000);

	int code = runit_wait(intent_time_monotonic() + patience, all_supervised,
			      should_stop, group, err);
	if (code == INTENT_ETIMEOUT)
		return intent_fail(err, INTENT_EUNSUPERVISED,
				   "no supervisor has taken %s; is runsvdir running on %s? "
				   "Start it, or name its directory with --runit",
				   group->paths[0], site->runit);
	/* Not before: a supervisor that comes later would start it without us. */
	for (size_t i = 0; i < group->count && !code; i++)
		code = remove_in(group->paths[i], "down", err);
	if (code || tell_all(group, "u", err))
		return err->code;
	code = runit_wait(intent_time_monotonic() + EXIT_WAIT_MS, all_told_up,
			  should_stop, group, err);
	if (code == INTENT_ETIMEOUT)
		return intent_fail(err, code, "the supervisor of %s does not answer",
				   group->paths[0]);
	return code;
}

static int apply_start(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *args = json_object_get(action, "args"),
		     *names = json_object_get(args, "services");
	struct group group;
	struct site site;
	size_t i;
	json_t *item;

	site_init(intent_round_intent(round), &site);
	group_init(&group, round, &site, names, "starting");
	int code = start_group(&group, &site, intent_round_intent(round), err);
	if (code == INTENT_EUNSUPERVISED)
		for (size_t k = 0; k < group.count; k++)
			intent_round_watch(round, group.paths[k]);
	json_array_foreach((json_t *)(uintptr_t)names, i, item)
		if (!code)
			code = service_record_start(&site, json_string_value(item),
						    json_object_get(args, "wanted"), err);
	group_release(&group);
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
	struct group group = { .round = round, .what = "waiting until it is healthy" };
	struct site site;
	char words[24];

	site_init(intent, &site);
	names = setlive__install(&site, active, true);
	if (!json_is_array(names))
		return intent_fail(err, INTENT_ENOTINSTALLED, "%s of %s is gone", active, site.app);
	for (;;) {
		setlive__health(&site, intent, names, &health);
		if (!health.length)
			return 0;
		if (intent_time_monotonic() >= deadline)
			break;
		if (should_stop(&group))
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

/*
 * Link first, so that no supervisor starts it again; then stop, tell runsv to leave and wait for
 * it, and only then take the directory away.
 */
static int apply_remove(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const char *name = intent_json_string(action, "subject", "");
	intent_json_auto json_t *names = json_pack("[s]", name);
	struct group group;
	struct site site;

	site_init(intent_round_intent(round), &site);
	group_init(&group, round, &site, names, "removing");
	int code = remove_in(site.runit, name, err);
	if (!code && site.builder) {
		intent_free_auto char *definition = intent_format("%s.yaml", name);

		code = definition ? remove_in(site.builder_config, definition, err) : 0;
	}
	if (!code)
		code = tell_down(&group, err);
	if (!code)
		code = await_down(&group, stop_timeout(intent_round_intent(round)), err);
	if (!code)
		code = tell_all(&group, "x", err);
	if (!code)
		code = runit_wait(intent_time_monotonic() + EXIT_WAIT_MS, none_supervised,
				  should_stop, &group, err);
	if (code == INTENT_ETIMEOUT)
		intent_fail(err, code, "the supervisor of %s/%s does not leave it", site.stage,
			    name);
	if (!code)
		code = intent_tree_retire(group.paths[0], err);
	group_release(&group);
	return code;
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

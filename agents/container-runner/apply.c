/* What the verbs do; each is safe to repeat, and to be cut short at any of its calls. */
#include <errno.h>
#include <time.h>
#include <intent/fact.h>
#include <intent/file.h>
#include <intent/health.h>
#include <intent/rolling.h>
#include "runner.h"

#define LOG_LINES 200
#define LOG_MAX (1u << 20)
#define AWAIT_MS 2000          /* waited for in one round, so that what is published keeps up; --once waits longer */
#define LOOK_MS 100            /* between two looks meanwhile */

static const char *subject_of(const json_t *action)
{
	return intent_json_string(action, "subject", "");
}

static const char *member(const struct intent_round *round, const char *name)
{
	return intent_json_string(intent_round_intent(round), name, "");
}

/* POST or DELETE without a body. */
static int tell(struct engine *engine, const char *method, const char *path, int64_t patience_ms,
		struct intent_error *err)
{
	return path ? engine__change(engine, method, path, NULL, patience_ms, NULL, err) :
		intent_fail(err, -ENOMEM, "out of memory");
}

static int inspect(struct engine *engine, const char *name, json_t **ret_new, struct intent_error *err)
{
	intent_free_auto char *path = intent_format("/containers/%s/json", name);

	return path ? engine__get(engine, path, ret_new, err) : intent_fail(err, -ENOMEM, "out of memory");
}

/* Ours, by its name; anything else under that name is a conflict. */
static int inspect_ours(struct intent_round *round, struct engine *engine, const char *name, json_t **ret_new,
			struct intent_error *err)
{
	intent_json_auto json_t *found = NULL;

	const struct docker__owner owner = docker__owner_of(round);

	if (inspect(engine, name, &found, err))
		return err->code;
	const char *is = intent_json_string(found, "Name", "");
	if (strcmp(is + (*is == '/'), name) || !docker__is_ours(intent_json_at(found, "/Config/Labels"), &owner))
		return intent_fail(err, INTENT_ECONFLICT, "container %s was replaced by one that is not ours", name);
	*ret_new = json_incref(found);
	return 0;
}

static void nap(int64_t ms)
{
	const struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&pause, NULL);
}

/* ---- shutdown slots ---- */

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
		int code = inspect(engine, json_string_value(item), &found, err);

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

	if (intent_rolling_release(round, subject_of(action), intent_json_string(args, "version", NULL),
				   intent_json_integer(config, "min_nodes", 0) > 0, err))
		return err->code;
	return docker__note_set(round, NULL, "slot", NULL, err);
}

/* Right before what a person would notice: no hold, and the slot that is needed. */
static int ask(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *what = intent_json_at(action, "/args/ask");
	char holder[160];
	struct intent_slots_claim claim = claim_of(round, what, holder);

	return what ? intent_rolling_verify(round, *claim.target ? &claim : NULL, err) : 0;
}

/* ---- parts ---- */

static int on_pull(const char *words, void *data)
{
	struct intent_round *round = data;

	intent_round_progress(round, json_pack("{ss ss}", "doing", "pulling the image", "phase", words));
	return intent_round_should_stop(round) || intent_round_is_outdated(round) ? INTENT_ESTALE : 0;
}

static int apply_pull(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	struct engine *engine;

	if (docker__engine(round, &engine, err))
		return err->code;
	return engine__pull(engine, subject_of(action), on_pull, round, err);
}

/* One that somebody made meanwhile is looked at in the next pass. */
static int apply_network(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const struct docker__owner owner = docker__owner_of(round);
	intent_json_auto json_t *body = json_pack("{ss sb ss so}", "Name", subject_of(action), "CheckDuplicate",
						  1, "Driver",
						  "bridge", "Labels", docker__owner_labels(&owner));
	struct engine *engine;
	int code = docker__engine(round, &engine, err);

	if (!code)
		code = engine__change(engine, "POST", "/networks/create", body, 0, NULL, err);
	return code && code != INTENT_ECONFLICT ? intent_wrap(err, "network %s", subject_of(action)) : 0;
}

/* The engine is content with one that is there already, whoever's. */
static int apply_volume(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const struct docker__owner owner = docker__owner_of(round), any = { .node = owner.node,
		.store = owner.store };
	intent_json_auto json_t *body = json_pack("{ss so}", "Name", subject_of(action), "Labels",
						  docker__owner_labels(&owner));
	intent_json_auto json_t *made = NULL;
	struct engine *engine;

	if (docker__engine(round, &engine, err) || engine__change(engine, "POST", "/volumes/create", body, 0,
								  &made, err))
		return intent_wrap(err, "volume %s", subject_of(action));
	if (!docker__is_ours(json_object_get(made, "Labels"), &any))
		return intent_fail(err, INTENT_ENOTOURS, "volume %s has just been made by somebody else",
				   subject_of(action));
	return 0;
}

static int connect_to(struct engine *engine, const char *network, const char *id, const json_t *spec,
		      struct intent_error *err)
{
	intent_free_auto char *path = intent_format("/networks/%s/connect", network);
	intent_json_auto json_t *body = json_pack("{ss so}", "Container", id, "EndpointConfig",
						  docker__endpoint(spec));

	if (!path)
		return intent_fail(err, -ENOMEM, "out of memory");
	if (!engine__change(engine, "POST", path, body, 0, NULL, err) || strstr(err->msg, "already"))
		return 0;
	return intent_wrap(err, "network %s", network);
}

static int apply_connect(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *args = json_object_get(action, "args"), *spec = json_object_get(args, "spec");
	intent_json_auto json_t *found = NULL;
	struct engine *engine;

	if (docker__engine(round, &engine, err) ||
	    inspect_ours(round, engine, intent_json_string(args, "container", ""), &found, err))
		return err->code;
	return connect_to(engine, subject_of(action), intent_json_string(found, "Id", ""), spec, err);
}

static int apply_disuse(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	intent_free_auto char *path = intent_format("/networks/%s", subject_of(action));
	struct engine *engine;
	int code = docker__engine(round, &engine, err);

	if (!code)
		code = tell(engine, "DELETE", path, 0, err);
	/* Gone already, or somebody has come: both are fine. */
	return code && code != INTENT_EABSENT && code != INTENT_EREFUSED ? intent_wrap(err, "network %s",
										       subject_of(action)) : 0;
}

/* ---- create and start ---- */

static int apply_create(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const struct docker__owner owner = docker__owner_of(round);
	const json_t *spec = intent_json_at(action, "/args/spec");
	intent_json_auto json_t *variables = NULL, *body = NULL;
	intent_free_auto char *path = intent_format("/containers/create?name=%s", subject_of(action));
	struct engine *engine;

	if (!path)
		return intent_fail(err, -ENOMEM, "out of memory");
	if (ask(round, action, err) || docker__engine(round, &engine, err) ||
	    docker__environment(intent_round_intent(round), &variables, err))
		return err->code;
	body = docker__create_body(spec, &owner, variables);
	int code = engine__change(engine, "POST", path, body, 0, NULL, err);
	if (code == INTENT_EREFUSED && strstr(err->msg, "bind source path does not exist"))
		err->code = INTENT_EWAITING;
	return code ? intent_wrap(err, "container %s", subject_of(action)) : 0;
}

/* Of one that is to be alone nothing else may run, whatever was seen before. */
static int check_alone(struct intent_round *round, struct engine *engine, const char *id, const json_t *spec,
		       struct intent_error *err)
{
	const struct docker__owner owner = docker__owner_of(round);
	intent_json_auto json_t *ids = NULL;
	char users[400];
	json_t *item;
	size_t i;

	if (docker__list(engine, &owner, false, &ids, err))
		return err->code;
	json_array_foreach(ids, i, item)
		if (strcmp(json_string_value(item), id) != 0)
			return intent_fail(err, INTENT_ECONFLICT, "container %.12s of %s still runs",
					   json_string_value(item),
					   member(round, "app"));
	if (!docker__is_stateful(intent_round_intent(round), spec))
		return 0;
	if (docker__volume_users(engine, &owner, spec, users, err))
		return err->code;
	return *users ? intent_fail(err, INTENT_ECLASH, "%s", users) : 0;
}

/* All that it lacks before its first start. */
static int make_ready(struct engine *engine, const json_t *found, const json_t *spec, struct intent_error *err)
{
	const json_t *config = json_object_get(spec, "user_config"), *is = intent_json_at(found,
											  "/NetworkSettings/Networks");
	const char *id = intent_json_string(found, "Id", "");
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(spec, "networks"), i, item)
		if (!docker__is_builtin(json_string_value(item)) && !json_object_get(is, json_string_value(item)) &&
		    connect_to(engine, json_string_value(item), id, spec, err))
			return err->code;
	intent_free_auto char *text = config ? intent_json_pretty(config) : NULL;
	intent_free_auto char *line = text ? intent_format("%s\n", text) : NULL;
	return line ? engine__put_file(engine, id, DOCKER__CONFIG_PATH, line, err) : 0;
}

static int apply_start(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *args = json_object_get(action, "args"), *spec = json_object_get(args, "spec");
	intent_json_auto json_t *found = NULL, *note = docker__note_read(round);
	struct engine *engine;
	char digest[13];

	docker__spec_digest(spec, digest);
	if (ask(round, action, err) || docker__engine(round, &engine, err) ||
	    inspect_ours(round, engine, subject_of(action), &found, err))
		return err->code;
	const char *id = intent_json_string(found, "Id", "");
	intent_free_auto char *path = intent_format("/containers/%s/start", id);
	if (strcmp(intent_json_string(intent_json_at(found, "/Config/Labels"), DOCKER__DIGEST, ""), digest))
		return intent_fail(err, INTENT_ECONFLICT, "container %s was replaced meanwhile", subject_of(action));
	if ((intent_json_boolean(args, "alone", false) && check_alone(round, engine, id, spec, err)) ||
	    make_ready(engine, found, spec, err))
		return err->code;
	if (!json_object_get(json_object_get(json_object_get(note, "containers"), id), "since_ms") &&
	    docker__note_set(round, id, "since_ms", json_integer(intent_time_monotonic()), err))
		return err->code;
	int code = tell(engine, "POST", path, 0, err);
	if (code == INTENT_EREFUSED || code == INTENT_EUNAVAILABLE || code == INTENT_EABSENT)
		err->code = INTENT_EUNHEALTHY;
	return code ? intent_wrap(err, "container %s cannot be started", subject_of(action)) : 0;
}

/* ---- await and drain ---- */

static int apply_suspend(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	(void)action;
	return docker__note_suspend(round, err);
}

/* 0: healthy; INTENT_EUNHEALTHY: not now. */
static int look(struct intent_round *round, struct engine *engine, const char *name, char id[80],
		struct intent_error *err)
{
	intent_text_auto struct intent_text health = INTENT_TEXT_INIT;
	intent_json_auto json_t *found = NULL;
	int64_t up_ms;

	if (inspect_ours(round, engine, name, &found, err))
		return err->code;
	snprintf(id, 80, "%s", intent_json_string(found, "Id", ""));
	docker__health(intent_round_intent(round), found, &health, &up_ms);
	if (!health.length)
		return 0;
	/* A task that ended well was well. */
	const json_t *state = json_object_get(found, "State");
	if (!strcmp(intent_json_string(state, "Status", ""), "exited") && !intent_json_integer(state,
											       "ExitCode", 1) &&
	    strcmp(intent_json_string(intent_json_at(found, "/HostConfig/RestartPolicy"), "Name", ""),
		   "unless-stopped"))
		return 0;
	return intent_fail(err, INTENT_EUNHEALTHY, "%s is not healthy: %.400s", name, intent_text_str(&health));
}

static bool may_wait(struct intent_round *round, int64_t until)
{
	return intent_time_monotonic() < until && !intent_round_should_stop(round) &&
		!intent_round_is_outdated(round);
}

static int begin_time(struct intent_round *round, const char *id, struct intent_error *err)
{
	intent_json_auto json_t *note = docker__note_read(round);

	if (json_object_get(json_object_get(json_object_get(note, "containers"), id), "since_ms"))
		return 0;
	return docker__note_set(round, id, "since_ms", json_integer(intent_time_monotonic()), err);
}

static int apply_await(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	bool once = intent_round_is_once(round);
	int64_t within = intent_json_integer(json_object_get(action, "args"), "within_ms", 0);
	int64_t until = intent_time_monotonic() + (once || within < AWAIT_MS ? within : AWAIT_MS);
	struct engine *engine;
	char id[80] = "";
	int code;

	if (docker__engine(round, &engine, err))
		return err->code;
	while ((code = look(round, engine, subject_of(action), id, err)) == INTENT_EUNHEALTHY && may_wait(round,
													  until)) {
		intent_round_progress(round, json_pack("{ss}", "doing", "waiting until it is healthy"));
		nap(LOOK_MS);
	}
	if (!code)
		return docker__note_set(round, id, "settled_ms", json_integer(intent_time_monotonic()), err);
	/* Made by somebody who did not live to note when. */
	if (code == INTENT_EUNHEALTHY && begin_time(round, id, err))
		return err->code;
	if (code == INTENT_EUNHEALTHY && !once)
		err->code = INTENT_EWAITING;
	intent_round_again(round, LOOK_MS);
	return err->code;
}

static int apply_drain(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	intent_json_auto json_t *found = NULL, *note = docker__note_read(round);
	int64_t drain = docker__drain_ms(intent_round_intent(round)), now = intent_time_monotonic();
	struct engine *engine;
	char words[24];

	if (docker__engine(round, &engine, err) || inspect_ours(round, engine, subject_of(action), &found, err))
		return err->code;
	const json_t *noted = json_object_get(json_object_get(note, "containers"), intent_json_string(found,
												      "Id", ""));
	int64_t until = intent_json_integer(noted, "settled_ms", now) + drain;
	while (intent_round_is_once(round) && may_wait(round, until))
		nap(LOOK_MS);
	now = intent_time_monotonic();
	if (now >= until)
		return 0;
	intent_round_again(round, until - now);
	intent_duration_format(drain, words);
	return intent_fail(err, INTENT_EWAITING, "%s is healthy; what ran before goes on beside it for %s",
			   subject_of(action), words);
}

/* ---- the end of a container ---- */

/* Into one file, so that there is never more than one of them. */
static int keep_log(struct intent_round *round, struct engine *engine, const char *id, struct intent_error *err)
{
	intent_text_auto struct intent_text text = { .limit = LOG_MAX };
	intent_free_auto char *path = docker__log_path(round);
	struct intent_error failed;

	if (!path)
		return intent_fail(err, -ENOMEM, "out of memory");
	/* A driver that keeps nothing is no reason to keep the container. */
	if (engine__logs(engine, id, LOG_LINES, &text, &failed)) {
		if (failed.code == INTENT_EUNAVAILABLE || failed.code == INTENT_EREFUSED)
			intent_round_log(round, INTENT_WARN, "Its last words are not known: %s", failed.msg);
		else if (failed.code != INTENT_EABSENT)
			return intent_fail(err, failed.code, "%s", failed.msg);
		return 0;
	}
	return intent_file_write(path, intent_text_str(&text), text.length, 0600, err);
}

/* `seconds`: from SIGTERM to SIGKILL. */
static int stop(struct intent_round *round, struct engine *engine, const char *id, int64_t seconds,
		struct intent_error *err)
{
	intent_free_auto char *path = intent_format("/containers/%s/stop?t=%lld", id, (long long)seconds);
	intent_free_auto char *unpause = intent_format("/containers/%s/unpause", id);
	struct intent_error ignored;

	intent_round_progress(round, json_pack("{ss}", "doing", "stopping"));
	int code = tell(engine, "POST", path, seconds * 1000, err);
	if (code && code != INTENT_EABSENT && strstr(err->msg, "paused")) {
		tell(engine, "POST", unpause, 0, &ignored);
		code = tell(engine, "POST", path, seconds * 1000, err);
	}
	return code == INTENT_EABSENT ? 0 : code;
}

/*
 * Never by force, and never with its volumes: the engine refuses while it runs, so that somebody who starts it at this
 * moment wins.
 */
static int apply_retire(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *args = json_object_get(action, "args"), *spec = intent_json_at(action, "/effect/before");
	const char *id = intent_json_string(args, "id", "");
	intent_free_auto char *path = intent_format("/containers/%s?v=0&force=0", id);
	struct engine *engine;

	if (ask(round, action, err) || docker__engine(round, &engine, err))
		return err->code;
	if (intent_json_boolean(args, "keep", false) && spec &&
	    docker__note_set(round, NULL, "before", json_incref((json_t *)(uintptr_t)spec), err))
		return err->code;
	if (stop(round, engine, id, intent_json_integer(args, "stop_s", 0), err) ||
	    (intent_json_boolean(args, "logs", false) && keep_log(round, engine, id, err)))
		return intent_wrap(err, "container %s", subject_of(action));
	int code = tell(engine, "DELETE", path, 0, err);
	if (code && code != INTENT_EABSENT && !strstr(err->msg, "already in progress"))
		return intent_wrap(err, "container %s", subject_of(action));
	return 0;
}

static int apply_remove(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	return apply_retire(round, action, err) || docker__note_remove(round, err) ? err->code : 0;
}

const struct intent_verb docker__verbs[] = {
	INTENT_FACT_VERBS,
	{ "pull", 0, apply_pull },
	{ "network", 0, apply_network },
	{ "volume", 0, apply_volume },
	{ "slot", 0, apply_slot },
	{ "create", 0, apply_create },
	{ "start", 0, apply_start },
	{ "connect", 0, apply_connect },
	{ "suspend", 0, apply_suspend },
	{ "await", 0, apply_await },
	{ "drain", 0, apply_drain },
	{ "retire", 0, apply_retire },
	{ "remove", INTENT_VERB_DESTROYS, apply_remove },
	{ "disuse", INTENT_VERB_DESTROYS, apply_disuse },
	{ "mark", 0, apply_mark },
	{ "release", 0, apply_release },
	{ NULL, 0, NULL }
};

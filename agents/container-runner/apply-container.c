/* The life of a container: made, started, waited for, stopped and removed. */
#include <time.h>
#include <intent/file.h>
#include <intent/health.h>
#include "apply.h"

#define LOG_LINES 200
#define LOG_MAX (1u << 20)
#define AWAIT_MS 2000          /* waited for in one round, so that what is published keeps up; --once waits longer */
#define LOOK_MS 100            /* between two looks meanwhile */

static void nap(int64_t ms)
{
	const struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&pause, NULL);
}

/* ---- create and start ---- */

int docker__apply_create(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const struct docker__owner owner = docker__owner_of(round);
	const json_t *spec = intent_json_at(action, "/args/spec");
	intent_json_auto json_t *variables = NULL, *body = NULL;
	intent_free_auto char *path = intent_format("/containers/create?name=%s", docker__subject(action));
	struct engine *engine;

	if (docker__engine(round, &engine, err) ||
	    docker__environment(intent_round_intent(round), &variables, err))
		return err->code;
	body = docker__create_body(spec, &owner, variables);
	int code = engine__change(engine, "POST", path, body, 0, NULL, err);
	if (code == INTENT_EREFUSED && strstr(err->msg, "bind source path does not exist"))
		err->code = INTENT_EWAITING;
	return code ? intent_wrap(err, "container %s", docker__subject(action)) : 0;
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
					   json_string_value(item), owner.app);
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
		    docker__connect(engine, json_string_value(item), id, spec, err))
			return err->code;
	intent_free_auto char *text = config ? intent_json_pretty(config) : NULL;
	intent_free_auto char *line = text ? intent_format("%s\n", text) : NULL;
	return line ? engine__put_file(engine, id, DOCKER__CONFIG_PATH, line, err) : 0;
}

int docker__apply_start(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *args = json_object_get(action, "args"), *spec = json_object_get(args, "spec");
	intent_json_auto json_t *found = NULL, *note = docker__note_read(round);
	struct engine *engine;
	char digest[13];

	docker__spec_digest(spec, digest);
	if (docker__engine(round, &engine, err) ||
	    docker__inspect_ours(round, engine, docker__subject(action), &found, err))
		return err->code;
	const char *id = intent_json_string(found, "Id", "");
	intent_free_auto char *path = intent_format("/containers/%s/start", id);
	if (strcmp(intent_json_string(intent_json_at(found, "/Config/Labels"), DOCKER__DIGEST, ""), digest))
		return intent_fail(err, INTENT_ECONFLICT, "container %s was replaced meanwhile",
				   docker__subject(action));
	if ((intent_json_boolean(args, "alone", false) && check_alone(round, engine, id, spec, err)) ||
	    make_ready(engine, found, spec, err))
		return err->code;
	if (!json_object_get(json_object_get(json_object_get(note, "containers"), id), "since_ms") &&
	    docker__note_set(round, id, "since_ms", json_integer(intent_time_monotonic()), err))
		return err->code;
	int code = docker__tell(engine, "POST", path, 0, err);
	/* The engine's own refusal is the container's fault; one that is away is not. */
	if (engine->spoke && (code == INTENT_EREFUSED || code == INTENT_EUNAVAILABLE || code == INTENT_EABSENT))
		err->code = INTENT_EUNHEALTHY;
	return code ? intent_wrap(err, "container %s cannot be started", docker__subject(action)) : 0;
}

/* ---- await and drain ---- */

int docker__apply_suspend(struct intent_round *round, const json_t *action, struct intent_error *err)
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

	if (docker__inspect_ours(round, engine, name, &found, err))
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

int docker__apply_await(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	bool once = intent_round_is_once(round);
	int64_t within = intent_json_integer(json_object_get(action, "args"), "within_ms", 0);
	int64_t until = intent_time_monotonic() + (once || within < AWAIT_MS ? within : AWAIT_MS);
	struct engine *engine;
	char id[80] = "";
	int code;

	if (docker__engine(round, &engine, err))
		return err->code;
	while ((code = look(round, engine, docker__subject(action), id, err)) == INTENT_EUNHEALTHY && may_wait(round,
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

int docker__apply_drain(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	intent_json_auto json_t *found = NULL, *note = docker__note_read(round);
	int64_t drain = docker__drain_ms(intent_round_intent(round)), now = intent_time_monotonic();
	struct engine *engine;
	char words[24];

	if (docker__engine(round, &engine, err) ||
	    docker__inspect_ours(round, engine, docker__subject(action), &found, err))
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
			   docker__subject(action), words);
}

/* ---- the end of a container ---- */

/* Into one file, so that there is never more than one of them. */
static int keep_log(struct intent_round *round, struct engine *engine, const char *id, struct intent_error *err)
{
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT;
	intent_free_auto char *path = docker__log_path(round);
	struct intent_error failed;

	if (engine__logs(engine, id, LOG_LINES, &text, &failed)) {
		/* An engine that keeps none is no reason to keep the container; one that is away is. */
		if (!engine->spoke)
			return intent_fail(err, failed.code, "%s", failed.msg);
		if (failed.code != INTENT_EABSENT)
			intent_round_log(round, INTENT_WARN, "Its last words are not known: %s", failed.msg);
		return 0;
	}
	size_t skipped = text.length > LOG_MAX ? text.length - LOG_MAX : 0;
	return intent_file_write(path, intent_text_str(&text) + skipped, text.length - skipped, 0600, err);
}

/* `seconds`: from SIGTERM to SIGKILL. */
static int stop(struct intent_round *round, struct engine *engine, const char *id, int64_t seconds,
		struct intent_error *err)
{
	intent_free_auto char *path = intent_format("/containers/%s/stop?t=%lld", id, (long long)seconds);
	intent_free_auto char *unpause = intent_format("/containers/%s/unpause", id);
	struct intent_error ignored;

	intent_round_progress(round, json_pack("{ss}", "doing", "stopping"));
	int code = docker__tell(engine, "POST", path, seconds * 1000, err);
	if (code && code != INTENT_EABSENT && strstr(err->msg, "paused")) {
		docker__tell(engine, "POST", unpause, 0, &ignored);
		code = docker__tell(engine, "POST", path, seconds * 1000, err);
	}
	return code == INTENT_EABSENT ? 0 : code;
}

/*
 * Never by force, and never with its volumes: the engine refuses while it runs, so that somebody who starts it at this
 * moment wins.
 */
int docker__apply_retire(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *args = json_object_get(action, "args"), *spec = intent_json_at(action, "/effect/before");
	const char *id = intent_json_string(args, "id", "");
	intent_free_auto char *path = intent_format("/containers/%s?v=0&force=0", id);
	struct engine *engine;

	if (docker__engine(round, &engine, err))
		return err->code;
	if (intent_json_boolean(args, "keep", false) && spec &&
	    docker__note_set(round, NULL, "before", json_incref((json_t *)(uintptr_t)spec), err))
		return err->code;
	if (stop(round, engine, id, intent_json_integer(args, "stop_s", 0), err) ||
	    (intent_json_boolean(args, "logs", false) && keep_log(round, engine, id, err)))
		return intent_wrap(err, "container %s", docker__subject(action));
	int code = docker__tell(engine, "DELETE", path, 0, err);
	if (code && code != INTENT_EABSENT && !strstr(err->msg, "already in progress"))
		return intent_wrap(err, "container %s", docker__subject(action));
	return 0;
}

int docker__apply_remove(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	return docker__apply_retire(round, action, err) || docker__note_remove(round, err) ? err->code : 0;
}

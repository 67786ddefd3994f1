/* Looks at the engine and changes nothing; the document that it makes is described in runner.h. */
#include <fcntl.h>
#include <intent/digest.h>
#include <intent/documents.h>
#include <intent/envdir.h>
#include <intent/fact.h>
#include <intent/file.h>
#include <intent/rolling.h>
#include "runner.h"

#define SOON_MS 500            /* while something is on its way */
#define TAIL_LINES 5
#define TAIL_MAX 1000          /* bytes of it, in the status */

int docker__engine(struct intent_round *round, struct engine **ret, struct intent_error *err)
{
	static struct engine engine;
	const json_t *options = intent_round_options(round);

	if (!engine.http && engine__open(intent_json_string(options, "engine", NULL),
					 intent_json_integer(options, "engine-timeout", 30000), &engine, err))
		return err->code;
	*ret = &engine;
	return 0;
}

/* ---- containers ---- */

/* It ended, and neither the engine nor we start it again. */
static bool has_ended(const json_t *inspected)
{
	const json_t *state = json_object_get(inspected, "State");
	const char *restart = intent_json_string(intent_json_at(inspected, "/HostConfig/RestartPolicy"), "Name", "");

	if (strcmp(intent_json_string(state, "Status", ""), "exited"))
		return false;
	return !strcmp(restart, "no") || !*restart ||
		(!strcmp(restart, "on-failure") && !intent_json_integer(state, "ExitCode", 0));
}

static json_t *lacking(const json_t *spec, const json_t *inspected)
{
	const json_t *networks = intent_json_at(inspected, "/NetworkSettings/Networks");
	json_t *lacks = json_array(), *item;
	size_t i;

	json_array_foreach(json_object_get(spec, "networks"), i, item)
		if (!docker__is_builtin(json_string_value(item)) && !json_object_get(networks,
										     json_string_value(item)))
			json_array_append(lacks, item);
	return lacks;
}

static void add_times(json_t *container, const json_t *noted, int64_t drain_ms)
{
	int64_t now = intent_time_monotonic(), settled = intent_json_integer(noted, "settled_ms", -1);

	if (json_object_get(noted, "since_ms"))
		json_object_set_new(container, "since_ms",
				    json_integer(now - intent_json_integer(noted, "since_ms", now)));
	if (settled < 0)
		return;
	json_object_set_new(container, "settled", json_true());
	if (now - settled >= drain_ms)
		json_object_set_new(container, "drained", json_true());
}

static json_t *container_of(const json_t *intent, const json_t *inspected, const json_t *note)
{
	const json_t *labels = intent_json_at(inspected, "/Config/Labels");
	const char *id = intent_json_string(inspected, "Id", ""), *text = intent_json_string(labels,
											     DOCKER__SPEC, "");
	intent_text_auto struct intent_text health = INTENT_TEXT_INIT;
	intent_json_auto json_t *spec = NULL;
	struct intent_error ignored;
	int64_t up_ms;

	docker__health(intent, inspected, &health, &up_ms);
	intent_json_parse(text, strlen(text), 0, &spec, &ignored);
	json_t *container = json_pack("{ss ss ss ss sO* ss sI}", "id", id, "digest",
		intent_json_string(labels, DOCKER__DIGEST, ""), "version", intent_json_string(labels,
											      DOCKER__VERSION, ""),
		"state", intent_json_string(json_object_get(inspected, "State"), "Status", ""), "spec", spec,
		"health", intent_text_str(&health), "up_ms", (json_int_t)up_ms);
	json_t *lacks = lacking(spec, inspected);

	if (json_array_size(lacks))
		json_object_set(container, "lacks", lacks);
	json_decref(lacks);
	if (has_ended(inspected)) {
		json_object_set_new(container, "ended", json_true());
		/* A task that did what it was for. */
		if (!intent_json_integer(json_object_get(inspected, "State"), "ExitCode", 1))
			json_object_set_new(container, "health", json_string(""));
	}
	add_times(container, json_object_get(json_object_get(note, "containers"), id), docker__drain_ms(intent));
	return container;
}

/* For people. */
static json_t *shown(const json_t *inspected, const json_t *container)
{
	json_t *ports = json_object(), *bindings;
	const char *name;

	json_object_foreach(intent_json_at(inspected, "/NetworkSettings/Ports"), name, bindings) {
		const json_t *first = json_array_get(bindings, 0);

		const char *address = intent_json_string(first, "HostIp", "");

		/* Podman's word for every address is none. */
		if (first)
			json_object_set_new(ports, name, json_sprintf("%s:%s", *address ? address : "0.0.0.0",
								      intent_json_string(first, "HostPort", "")));
	}
	return json_pack("{ss% sO sO ss so}", "id", intent_json_string(container, "id", ""),
			 strnlen(intent_json_string(container, "id", ""), 12), "version",
			 json_object_get(container, "version"), "state", json_object_get(container, "state"), "image",
			 intent_json_string(json_object_get(inspected, "Config"), "Image", ""), "ports", ports);
}

static int observe_containers(struct intent_round *round, struct engine *engine, const json_t *intent,
			      const json_t *note, json_t *observed, struct intent_error *err)
{
	const struct docker__owner owner = docker__owner_of(round);
	intent_json_auto json_t *ids = NULL, *details = json_object();
	json_t *containers = json_object(), *item;
	size_t i;

	json_object_set_new(observed, "containers", containers);
	if (docker__list(engine, &owner, true, &ids, err))
		return err->code;
	json_array_foreach(ids, i, item) {
		intent_json_auto json_t *inspected = NULL;
		int code = engine__inspect(engine, json_string_value(item), &inspected, err);

		if (code == INTENT_EABSENT)
			continue;
		if (code)
			return code;
		const char *name = intent_json_string(inspected, "Name", "");
		json_t *container = container_of(intent, inspected, note);

		name += *name == '/';
		json_object_set_new(details, name, shown(inspected, container));
		json_object_set_new(containers, name, container);
	}
	intent_round_owned(round, (int)json_object_size(containers));
	if (json_object_size(details))
		intent_round_detail(round, "containers", json_incref(details));
	return 0;
}

/* ---- variables ---- */

int docker__environment(const json_t *intent, json_t **ret_new, struct intent_error *err)
{
	intent_free_auto char *path = intent_deploy_envdir(json_object_get(intent, "deploy"),
							   intent_json_string(intent, "node", ""));

	*ret_new = NULL;
	return path ? intent_envdir_read(path, INTENT_ENVDIR_REST_MS, ret_new, err) : 0;
}

static int observe_environment(struct intent_round *round, const json_t *intent, json_t *observed,
			       struct intent_error *err)
{
	intent_free_auto char *key_path = intent_format("%s/envdir-key", intent_round_state_dir(round));
	intent_free_auto char *path = intent_deploy_envdir(json_object_get(intent, "deploy"),
							   intent_json_string(intent, "node", ""));
	intent_json_auto json_t *variables = NULL;
	struct intent_error unread;
	unsigned char key[32];
	char digest[33];

	if (!path)
		return 0;
	intent_round_watch(round, path);
	if (docker__environment(intent, &variables, &unread)) {
		json_object_set_new(observed, "environment",
				    json_pack("{si ss}", "code", unread.code, "message", unread.msg));
		return 0;
	}
	if (!key_path || intent_digest_key(key_path, !intent_round_is_dry(round), key, err))
		return err->code;
	intent_envdir_digest(variables, key, digest);
	json_object_set_new(observed, "environment", json_pack("{ss}", "digest", digest));
	return 0;
}

/* ---- all of it ---- */

/* Is there one container, it is as wanted, and it has proved itself? Then nothing else matters. */
static bool is_quiet(const json_t *observed, const json_t *spec, const json_t *note)
{
	const json_t *containers = json_object_get(observed, "containers");
	const char *name;
	json_t *container;
	char digest[13];

	if (!spec || json_object_size(containers) != 1 || json_object_get(note, "slot"))
		return false;
	docker__spec_digest(spec, digest);
	json_object_foreach((json_t *)(uintptr_t)containers, name, container)
		if (!strcmp(intent_json_string(container, "digest", ""), digest) &&
		    intent_json_boolean(container, "settled", false) && !json_object_get(container, "lacks") &&
		    (!strcmp(intent_json_string(container, "state", ""), "running") ||
		     json_object_get(container, "ended")))
			return true;
	return false;
}

/* The last words of what failed: a few lines for the status. */
static void show_log(struct intent_round *round)
{
	intent_free_auto char *path = docker__log_path(round), *text = NULL;
	struct intent_error ignored;
	char *rest = NULL;
	size_t count;
	int lines = 0;

	if (!path || intent_file_read(AT_FDCWD, path, 2u << 20, &text, &count, &ignored))
		return;
	char *from = text + count;
	while (from > text && (lines <= TAIL_LINES || from[-1] != '\n') && text + count - from < TAIL_MAX)
		lines += *--from == '\n';
	from += *from == '\n';
	json_t *tail = json_array();
	for (char *line = strtok_r(from, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		intent_utf8_clean(line);
		json_array_append_new(tail, json_string(line));
	}
	intent_round_detail(round, "log", json_pack("{ss so}", "file", path, "tail", tail));
}

/* What the engine failed at is left for a while. */
static void observe_pause(struct intent_round *round, const json_t *note, json_t *observed)
{
	int64_t left = docker__note_pause(round, note);

	if (!left)
		return;
	intent_round_again(round, left);
	json_object_set_new(observed, "pause", json_pack("{sO sO}", "code", intent_json_at(note, "/failed/code"), "message",
							 intent_json_at(note, "/failed/message")));
}

static int observe_meant(struct intent_round *round, struct engine *engine, const json_t *intent, const json_t *note,
			 json_t *observed, struct intent_error *err)
{
	const char *active = intent_config_active(json_object_get(intent, "config"));
	const json_t *before = json_object_get(note, "before");
	intent_json_auto json_t *spec = NULL;
	struct intent_error ignored;

	if (observe_environment(round, intent, observed, err))
		return err->code;
	if (active)
		docker__spec(intent, active, intent_json_string(json_object_get(observed, "environment"),
								"digest", NULL),
			     &spec, &ignored);
	if (is_quiet(observed, spec, note))
		return 0;
	intent_rolling_look(round, observed);
	const json_t *failed = json_object_get(json_object_get(observed, "slot"), "failed");
	if (spec && !failed && !json_object_get(observed, "hold") && !json_object_get(observed, "pause"))
		intent_round_again(round, SOON_MS);
	json_object_update_new(observed, json_pack("{s{} s{} s{} s{}}", "taken", "networks", "volumes", "images"));
	if (failed)
		show_log(round);
	if (before)
		json_object_set(observed, "before", (json_t *)(uintptr_t)before);
	if (json_object_get(note, "slot"))
		json_object_set_new(observed, "noted_slot", json_true());
	if (spec && docker__look_at_parts(round, engine, spec, observed, err))
		return err->code;
	if (before && json_object_get(observed, "slot"))
		return docker__look_at_parts(round, engine, before, observed, err);
	return 0;
}

/* ---- what is published ---- */

/* The container that serves: of those that run the one that has proved itself, and of these the newest. */
static const json_t *serving(const json_t *containers)
{
	const json_t *best = NULL;
	json_t *container;
	const char *name;
	int most = -1;

	json_object_foreach((json_t *)(uintptr_t)containers, name, container) {
		int good = 4 * !strcmp(intent_json_string(container, "state", ""), "running") +
			2 * intent_json_boolean(container, "settled", false) + !*intent_json_string(container,
												    "health", "");

		if (good > most)
			best = container;
		most = good > most ? good : most;
	}
	return best;
}

/* As fact.h has it; NULL: nothing is meant to run. New. */
static json_t *look_of(const json_t *intent, const json_t *observed)
{
	const char *active = intent_config_active(json_object_get(intent, "config"));
	const json_t *engine = json_object_get(observed, "engine");
	const json_t *container = serving(json_object_get(observed, "containers"));
	const char *health = intent_json_string(container, "health", "it has no container");

	if (engine)
		return json_pack("{ss ss sO sI}", "found", "unseen", "reason", intent_json_string(engine,
												  "message", ""),
				 "code", json_object_get(engine, "code"), "up_ms", (json_int_t)-1);
	if (!active && !container)
		return NULL;
	return json_pack("{ss ss ss* sI}", "found", *health ? "bad" : "good", "version",
			 intent_json_string(container, "version", active), "reason", *health ? health : NULL, "up_ms",
			 (json_int_t)intent_json_integer(container, "up_ms", -1));
}

static void observe_published(struct intent_round *round, const json_t *intent, json_t *observed)
{
	intent_json_auto json_t *look = intent_json_boolean(intent, "absent", false) ? NULL : look_of(intent,
												      observed);
	int64_t interval = intent_json_integer(intent_round_options(round), "check-interval", 5000);
	struct intent_error err;
	json_t *published;

	/* A store that was just found to be away is not asked again, and waited for. */
	if (json_object_get(observed, "store_error"))
		return;
	if (intent_fact_observe(round, look, interval, &published, &err))
		intent_round_log(round, INTENT_DEBUG, "Its health cannot be published now: %s", err.msg);
	else
		json_object_set_new(observed, "published", published);
}

/* Does the time run of one that has not been healthy yet? */
static bool is_unproven(const json_t *note)
{
	const char *id;
	json_t *container;

	json_object_foreach(json_object_get(note, "containers"), id, container)
		if (json_object_get(container, "since_ms") && !json_object_get(container, "settled_ms"))
			return true;
	return false;
}

/* Then nothing is known of what there is, and all that runs is left alone. */
static bool is_of_engine(int code)
{
	static const int codes[] = {
		INTENT_EENGINE, INTENT_EUNAVAILABLE, INTENT_EUSAGE, INTENT_EREFUSED, INTENT_EABSENT, INTENT_ECONFLICT,
	};

	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
		if (code == codes[i])
			return true;
	return false;
}

int docker__observe(struct intent_round *round, const json_t *intent, json_t **ret_new_observed,
		    struct intent_error *err)
{
	intent_json_auto json_t *observed = json_object(), *note = docker__note_read(round);
	bool absent = intent_json_boolean(intent, "absent", false);
	struct engine *engine;
	int code = docker__engine(round, &engine, err);

	observe_pause(round, note, observed);
	if (!code)
		code = observe_containers(round, engine, intent, note, observed, err);
	if (!code && absent) {
		intent_rolling_look(round, observed);
		code = docker__idle_networks(round, engine, observed, err);
	} else if (!code) {
		intent_rolling_hold(round, observed);
		code = observe_meant(round, engine, intent, note, observed, err);
	}
	if (code && !is_of_engine(code))
		return code;
	if (code)
		json_object_set_new(observed, "engine", json_pack("{si ss}", "code", code, "message", err->msg));
	if (code && is_unproven(note))
		json_object_set_new(observed, "unproven", json_true());
	observe_published(round, intent, observed);
	intent_round_again(round, intent_json_integer(intent_round_options(round), "check-interval", 5000));
	*ret_new_observed = json_incref(observed);
	return 0;
}

/*
 * Where each service of a model stands, and what is due: from documents and the time alone. Nothing here looks at the
 * world or writes; who runs it does what the rows say, and asks again.
 */
#include <stdarg.h>
#include <intent/slots.h>
#include "local.h"

#define VERSION_LENGTH 20
#define UNHEALTHY_MS 5000 /* of one that has just been started it is no news */

struct subject {
	const json_t *model, *service;
	const struct intent_snapshot *snapshot;
	const char *name, *node, *active;
	uint64_t intended;   /* revision of the newest document about it */
	json_t *config, *deploy, *fact; /* owned; NULL: not there */
	bool good;           /* the fact is, and of the active version */
};

static const struct intent_entry *entry_at(const struct intent_snapshot *snapshot, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static const struct intent_entry *entry_at(const struct intent_snapshot *snapshot, const char *format, ...)
{
	char key[INTENT_KEY_MAX + 1];
	va_list ap;

	va_start(ap, format);
	int length = vsnprintf(key, sizeof(key), format, ap);
	va_end(ap);
	return length > 0 && (size_t)length < sizeof(key) ? intent_snapshot_find(snapshot, key) : NULL;
}

static json_t *read_intent(struct subject *subject, const struct intent_entry *entry)
{
	if (entry && entry->revision > subject->intended)
		subject->intended = entry->revision;
	return entry ? ppctl_document(entry) : NULL;
}

/*
 * A container without a fact of its own: its agent has converged on what is intended now only when it
 * found the container healthy.
 */
static bool container_is_good(const struct subject *subject)
{
	const struct intent_entry *entry =
		entry_at(subject->snapshot, "reality/status/container-runner/%s/%s", subject->node, subject->name);
	intent_json_auto json_t *status = entry && entry->session ? ppctl_document(entry) : NULL;

	return status && json_object_get(subject->deploy, "docker") &&
		entry->revision >= subject->intended && !strcmp(intent_json_string(status, "state", ""), "converged");
}

static void subject_init(struct subject *subject, const json_t *model, const json_t *service,
			 const struct intent_snapshot *snapshot, const char *node)
{
	const char *name = intent_json_string(service, "name", "");

	*subject = (struct subject){
		.model = model, .service = service, .snapshot = snapshot, .name = name, .node = node};
	subject->config = read_intent(subject, entry_at(snapshot, "clusters/%s/" LOCAL_WORLD "/config", name));
	subject->deploy = read_intent(subject, entry_at(snapshot, "clusters/%s/" LOCAL_WORLD "/deploy_config", name));
	json_decref(read_intent(subject, entry_at(snapshot, "nodes/%s/%s", node, name)));
	subject->active = intent_config_active(subject->config);
	const struct intent_entry *fact = entry_at(snapshot, "reality/health/%s/" LOCAL_WORLD "/%s", name, node);
	subject->fact = fact ? ppctl_document(fact) : NULL;
	const char *version = intent_json_string(subject->fact, "version", subject->active);
	bool good = fact && fact->session && intent_fact_is_good(subject->fact);
	subject->good = subject->active &&
		(fact ? good && !strcmp(version, subject->active) : container_is_good(subject));
}

static void subject_release(struct subject *subject)
{
	json_decref(subject->config);
	json_decref(subject->deploy);
	json_decref(subject->fact);
}

/* ---- what it should run ---- */

/* The revision that the checkout is now, as the builder last saw it; "" when it has not looked. */
static void revision_of(const struct subject *subject, const char *recipe, char out[129])
{
	const struct intent_entry *entry = entry_at(subject->snapshot, "reality/status/builder/%s/%s", subject->node,
						    subject->name);
	intent_json_auto json_t *status = entry ? ppctl_document(entry) : NULL;
	const char *target;
	json_t *seen;

	out[0] = 0;
	json_object_foreach(intent_json_at(status, "/detail/targets"), target, seen)
		if (!strncmp(target, recipe, strlen(recipe)) && strchr("@", target[strlen(recipe)]))
			snprintf(out, 129, "%s", intent_json_string(seen, "revision", ""));
}

/* What the checkout is now, once it is built: {"version", "artifact"}. New; NULL: not yet. */
static json_t *present_build(const struct subject *subject)
{
	static const char *const members[] = {"image", "sha256"};
	const char *recipe = intent_json_string(subject->service, "recipe", "");
	char revision[129], version[VERSION_LENGTH + 1];

	revision_of(subject, recipe, revision);
	const struct intent_entry *entry =
		entry_at(subject->snapshot, "reality/builds/%s/%s/%s", subject->name, revision, recipe);
	intent_json_auto json_t *fact = entry ? ppctl_document(entry) : NULL;
	if (!intent_json_string(fact, "input", NULL))
		return NULL;
	/* The digits by which builder and preparer call an archive. */
	snprintf(version, sizeof(version), "%s", intent_json_string(fact, "input", ""));
	json_t *artifact = json_object();
	for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++)
		if (json_object_get(fact, members[i]))
			json_object_set(artifact, members[i], json_object_get(fact, members[i]));
	return json_pack("{ss so}", "version", version, "artifact", artifact);
}

/* What the compiler named. New; NULL: nothing. */
static json_t *named_version(const struct subject *subject)
{
	char key[INTENT_KEY_MAX];

	snprintf(key, sizeof(key), "clusters/%s/" LOCAL_WORLD "/config", subject->name);
	const json_t *config = json_object_get(json_object_get(subject->model, "documents"), key);
	const char *version = intent_config_active(config);
	return version ? json_pack("{ss sO*}", "version", version, "artifact",
				   json_object_get(json_object_get(config, "artifacts"), version)) :
			 NULL;
}

/* Names of the services that must be healthy first and are not. New. */
static json_t *waits_for(const struct subject *subject)
{
	json_t *names = json_array(), *need;
	size_t index;

	json_array_foreach(json_object_get(subject->service, "needs"), index, need) {
		const json_t *service = local_model_service(subject->model, json_string_value(need));
		struct subject other;
		if (!service || json_object_get(service, "lacks"))
			continue;
		subject_init(&other, subject->model, service, subject->snapshot, subject->node);
		if (!other.good)
			json_array_append(names, need);
		subject_release(&other);
	}
	return names;
}

/* ---- what agents say ---- */

static const struct {
	const char *name, *below; /* its slices are called <below><service> */
	bool deploys;             /* its word counts only for the intent of now */
} workers[] = {
	{"builder", "", false},
	{"configmap-injector", LOCAL_WORLD "/", false},
	{"preparer", "", true},
	{"setlive", "", true},
	{"container-runner", "", true},
};

/* The status of the first agent that is in one of these states, about the intent of now. New. */
static json_t *status_in(const struct subject *subject, const char *states)
{
	/* Before it has a version, the others can only wait. */
	size_t count = subject->active ? sizeof(workers) / sizeof(*workers) : 1;

	for (size_t i = 0; i < count; i++) {
		const struct intent_entry *entry =
			entry_at(subject->snapshot, "reality/status/%s/%s/%s%s", workers[i].name, subject->node,
				 workers[i].below, subject->name);
		json_t *status = entry ? ppctl_document(entry) : NULL;
		if (status && (!workers[i].deploys || entry->revision >= subject->intended) &&
		    strstr(states, intent_json_string(status, "state", "?"))) {
			json_object_set_new(status, "agent", json_string(workers[i].name));
			return status;
		}
		json_decref(status);
	}
	return NULL;
}

static void join(struct intent_text *text, const json_t *names)
{
	size_t index;
	json_t *name;

	json_array_foreach((json_t *)(uintptr_t)names, index, name)
		intent_text_printf(text, "%s%s", index ? ", " : "", json_string_value(name));
}

/* ---- the row ---- */

/* Where the engine has published its first port; owned, NULL when that is not known. */
static char *address_of_container(const struct subject *subject)
{
	const struct intent_entry *entry =
		entry_at(subject->snapshot, "reality/status/container-runner/%s/%s", subject->node, subject->name);
	intent_json_auto json_t *status = entry ? ppctl_document(entry) : NULL;
	const char *name, *port, *where = NULL;
	json_t *container, *published;

	json_object_foreach(intent_json_at(status, "/detail/containers"), name, container)
		json_object_foreach(json_object_get(container, "ports"), port, published)
			where = where ? where : json_string_value(published);
	return where && strrchr(where, ':') ? intent_format("localhost%s", strrchr(where, ':')) : NULL;
}

static char *address_of(const struct subject *subject)
{
	const json_t *port = intent_json_at(subject->deploy, "/ports/0");
	const json_t *docker = intent_json_at(subject->deploy, "/docker/ports/0");
	int64_t number = json_is_integer(port) ? json_integer_value(port) : intent_json_integer(port, "port", 0);

	if (docker)
		number = intent_json_integer(docker, "host", 0);
	if (docker && !number)
		return address_of_container(subject);
	return number ? intent_format("localhost:%lld", (long long)number) : NULL;
}

/* ---- what the builder does for it ---- */

/* New, or NULL. */
static json_t *builder_status(const struct subject *subject)
{
	const struct intent_entry *entry = entry_at(subject->snapshot, "reality/status/builder/%s/%s", subject->node,
						    subject->name);

	return entry && json_object_get(subject->service, "recipe") ? ppctl_document(entry) : NULL;
}

/* It rests, is queued, or is being built. */
static bool is_building(const json_t *status)
{
	const char *state = intent_json_string(status, "state", ""), *target;
	json_t *seen;

	if (!strcmp(state, "converging"))
		return true;
	json_object_foreach(json_object_get(json_object_get(status, "detail"), "targets"), target, seen)
		if (strstr("resting queued", intent_json_string(seen, "state", "?")) && !strcmp(state, "waiting"))
			return true;
	return false;
}

/* How far it is: "12s: Step 3/7 : RUN make"; "" when it has not said. New. */
static json_t *progress_of(const json_t *status)
{
	const json_t *progress = json_object_get(json_object_get(status, "detail"), "progress");
	const char *says = intent_json_string(progress, "says", ""), *phase = intent_json_string(progress, "phase", "");

	return progress ? json_sprintf("%s: %s", intent_json_string(progress, "elapsed", ""), *says ? says : phase) :
			  json_string("");
}

/* The state of what has no active version yet. */
static const char *state_before(const struct subject *subject, const json_t *available, const json_t *waits,
				struct intent_text *why)
{
	if (json_string_value(json_object_get(subject->service, "lacks"))) {
		intent_text_puts(why, intent_json_string(subject->service, "lacks", ""));
		return "missing";
	}
	if (!available) {
		intent_json_auto json_t *broken = status_in(subject, "blocked failing");
		intent_json_auto json_t *waiting = status_in(subject, "waiting");
		if (broken || (waiting && !is_building(waiting)))
			intent_text_puts(why, intent_json_string(broken ? broken : waiting, "message", ""));
		return broken ? "failed" : "building";
	}
	intent_text_puts(why, "waits for ");
	join(why, waits);
	return "waiting";
}

/* Has the agent that runs it done all it can? */
static bool deployed(const struct subject *subject)
{
	static const char *const agents[] = {"setlive", "container-runner"};
	bool is = false;

	for (size_t i = 0; i < sizeof(agents) / sizeof(*agents); i++) {
		const struct intent_entry *entry =
			entry_at(subject->snapshot, "reality/status/%s/%s/%s", agents[i], subject->node, subject->name);
		intent_json_auto json_t *status = entry ? ppctl_document(entry) : NULL;
		is = is || (status && entry->revision >= subject->intended &&
			    !strcmp(intent_json_string(status, "state", ""), "converged"));
	}
	return is;
}

/* It runs well; what was edited since may not. */
static const char *state_of_good(const struct subject *subject, struct intent_text *why)
{
	intent_json_auto json_t *status = builder_status(subject);

	if (status && is_building(status))
		intent_text_puts(why, "building what was edited");
	else if (!strcmp(intent_json_string(status, "state", ""), "waiting"))
		intent_text_puts(why, intent_json_string(status, "message", ""));
	return "healthy";
}

/* Here a change of its files is tried by itself; the store of a workspace is no place for commands. */
static void say_why(const json_t *broken, struct intent_text *why)
{
	const char *message = intent_json_string(broken, "message", "");
	const char *advice = strstr(message, "; correct it, or try again with: ppctl");

	intent_text_add(why, message, advice ? (size_t)(advice - message) : strlen(message));
}

static const char *state_after(const struct subject *subject, bool *ret_broken, struct intent_text *why)
{
	intent_json_auto json_t *broken = status_in(subject, "blocked failing");
	const char *runs = intent_json_string(subject->fact, "version", subject->active);
	const char *health = intent_json_string(subject->fact, "state", "");

	if (broken) {
		say_why(broken, why);
		*ret_broken = true;
		/* What was built last does not work, what runs does. */
		bool built = strcmp(intent_json_string(broken, "agent", ""), "builder") != 0;
		return subject->good && !built ? "healthy" : "failed";
	}
	if (subject->good)
		return state_of_good(subject, why);
	if (strcmp(runs, subject->active))
		return "replacing";
	/* Who has just been started is not healthy yet, and nobody need know why; who is long done should be. */
	intent_json_auto json_t *waiting = status_in(subject, "waiting");
	intent_json_auto json_t *converging = status_in(subject, "converging");
	int64_t since = ppctl_time(intent_json_string(subject->fact, "since", NULL));
	bool lasts = !strcmp(health, "unhealthy") && intent_time_now() - since > UNHEALTHY_MS;
	if (lasts)
		intent_text_puts(why, intent_json_string(subject->fact, "reason", ""));
	*ret_broken = lasts && !waiting && !converging && deployed(subject);
	if (*ret_broken)
		return "unhealthy";
	/* That an archive is still being unpacked is no news. */
	if (!lasts && strcmp(intent_json_string(waiting, "reason", ""), intent_error_reason(INTENT_ENOTINSTALLED)))
		intent_text_puts(why, intent_json_string(waiting, "message", ""));
	return "starting";
}

/* The end of what a build said that failed: lines. New; NULL: none did. */
static json_t *last_of_build(const struct subject *subject)
{
	intent_json_auto json_t *status = builder_status(subject);
	const json_t *failed = intent_json_at(status, "/detail/failed");
	const char *tail = NULL, *target;
	json_t *lines, *failure;

	json_object_foreach((json_t *)(uintptr_t)failed, target, failure)
		tail = intent_json_string(failure, "tail", tail);
	if (!tail)
		return NULL;
	lines = json_array();
	for (const char *p = tail; *p; p += strcspn(p, "\n"), p += *p == '\n')
		if (*p != '\n')
			json_array_append_new(lines, json_stringn(p, strcspn(p, "\n")));
	return lines;
}

static json_t *row_of(const struct subject *subject)
{
	intent_text_auto struct intent_text why = INTENT_TEXT_INIT;
	intent_json_auto json_t *waits = waits_for(subject);
	intent_json_auto json_t *available = json_object_get(subject->service, "recipe") ? present_build(subject) :
											  named_version(subject);
	intent_free_auto char *address = address_of(subject);
	const char *version = intent_json_string(available, "version", NULL);
	bool lacks = json_object_get(subject->service, "lacks") != NULL, broken = false;
	bool other = version && (!subject->active || strcmp(version, subject->active) != 0);
	bool due = other && !lacks && (subject->active || !json_array_size(waits));
	const char *state = due && !subject->active ? "starting" :
		subject->active ? state_after(subject, &broken, &why) : state_before(subject, available, waits, &why);
	intent_json_auto json_t *status = builder_status(subject);

	broken = broken || !strcmp(state, "failed");
	return json_pack("{ss ss ss sb ss* ss* sO* sO so* so*}", "name", subject->name, "state", state, "why",
			 intent_text_str(&why), "broken", broken, "address", address, "version",
			 subject->active ? subject->active : version, "wants", due ? available : NULL, "waits", waits,
			 "last", broken ? last_of_build(subject) : NULL, "progress",
			 status && is_building(status) ? progress_of(status) : NULL);
}

json_t *local_course(const json_t *model, const struct intent_snapshot *snapshot, const char *node)
{
	json_t *rows = json_array(), *service;
	size_t index;

	json_array_foreach(json_object_get(model, "services"), index, service) {
		struct subject subject;
		subject_init(&subject, model, service, snapshot, node);
		json_array_append_new(rows, row_of(&subject));
		subject_release(&subject);
	}
	return rows;
}

enum ppctl_style local_style(const char *state)
{
	static const struct {
		const char *state;
		enum ppctl_style style;
	} styles[] = {
		{"healthy", PPCTL_GREEN}, {"missing", PPCTL_RED},   {"failed", PPCTL_RED}, {"unhealthy", PPCTL_RED},
		{"waiting", PPCTL_DIM},   {"building", PPCTL_CYAN}, {"stopped", PPCTL_DIM},
	};
	for (size_t i = 0; i < sizeof(styles) / sizeof(*styles); i++)
		if (!strcmp(styles[i].state, state))
			return styles[i].style;
	return PPCTL_YELLOW;
}

/* ---- documents ---- */

void local_config_activate(json_t *config, const char *version, const json_t *artifact)
{
	const char *active = intent_config_active(config);
	intent_json_auto json_t *versions = json_pack("{ss}", version, "active"), *artifacts = json_object();

	if (active && !strcmp(active, version))
		return;
	if (artifact)
		json_object_set(artifacts, version, (json_t *)(uintptr_t)artifact);
	if (active) {
		json_t *old = json_object_get(json_object_get(config, "artifacts"), active);
		json_object_set_new(versions, active, json_string("prep"));
		if (old)
			json_object_set(artifacts, active, old);
		json_object_set_new(config, "previous", json_string(active));
	}
	json_object_set(config, "versions", versions);
	json_object_set(config, "artifacts", artifacts);
}

json_t *local_config_merge(const json_t *written, const json_t *standing)
{
	static const char *const running[] = {"versions", "artifacts", "previous"};
	json_t *merged = json_deep_copy(written), *state;
	const char *version;

	if (json_object_size(json_object_get(standing, "versions"))) {
		for (size_t i = 0; i < sizeof(running) / sizeof(*running); i++) {
			json_t *value = json_object_get(standing, running[i]);
			if (value)
				json_object_set(merged, running[i], value);
			else
				json_object_del(merged, running[i]);
		}
		return merged;
	}
	/* It is prepared, and goes live in its turn. */
	json_object_foreach(json_object_get(merged, "versions"), version, state)
		json_string_set(state, "prep");
	return merged;
}

/*
 * What containers say: the engine's client follows each, and is asked which there are whenever the agent that runs
 * them has said something.
 */
#include <sys/wait.h>
#include <intent/child.h>
#include "local.h"

#define LINES_BEFORE "20" /* of a container that was there before us */
#define VOLUMES_MS 30000

struct local_containers {
	struct local_children *children;
	struct local_logs *logs;
	const struct local_place *place;
	char *client;      /* owned; NULL: there is none */
	json_t *followed;  /* {id: true, or when it was read to its end: RFC 3339} */
	struct tail *tails;
	uint64_t newest;   /* word of the agent */
	uint64_t seen;     /* the newest when we asked last */
	int asked;         /* how often */
	bool asking;
};

/* One container. */
struct tail {
	struct tail *next;
	struct local_containers *containers;
	char *id, *service;
	char *held;        /* owned: a line that may be the client's own last word */
	bool ended, failed;
};

struct local_containers *local_containers_new(struct local_children *children, struct local_logs *logs,
					      const struct local_place *place)
{
	struct local_containers *containers = calloc(1, sizeof(*containers));
	struct intent_error ignored;

	*containers = (struct local_containers){
		.children = children, .logs = logs, .place = place, .followed = json_object(), .seen = UINT64_MAX};
	if (local_engine_client(&containers->client, &ignored))
		containers->client = NULL;
	return containers;
}

/* What the client says on what the container says it on too, when the engine or the container goes away. */
static bool may_be_the_clients(const char *line)
{
	static const char *const beginnings[] = {
		"unexpected EOF", "Error response from daemon: ", "Cannot connect to the Docker daemon",
		"error during connect: ", "Error: ",
	};

	for (size_t i = 0; i < sizeof(beginnings) / sizeof(*beginnings); i++)
		if (intent_starts_with(line, beginnings[i]))
			return true;
	return false;
}

static void let_go(struct tail *tail)
{
	if (tail->held)
		local_logs_add(tail->containers->logs, tail->service, tail->held);
	free(tail->held);
	tail->held = NULL;
}

static void on_line(const char *line, void *data)
{
	struct tail *tail = data;

	let_go(tail);
	if (!may_be_the_clients(line))
		local_logs_add(tail->containers->logs, tail->service, line);
	else if (!tail->ended || !tail->failed)
		tail->held = strdup(line);
	if (tail->ended)
		let_go(tail);
}

static void on_tail_end(const char *name, int status, void *data)
{
	struct tail *tail = data;
	char now[32];

	(void)name;
	tail->ended = true;
	tail->failed = status != 0;
	if (tail->failed) {
		free(tail->held);
		tail->held = NULL;
	}
	let_go(tail);
	intent_time_format(intent_time_now(), now);
	json_object_set_new(tail->containers->followed, tail->id, json_string(now));
}

/* One that was followed before goes on where it was left. */
static void follow(struct local_containers *containers, const char *id, const char *service)
{
	const char *since = json_string_value(json_object_get(containers->followed, id));
	const char *argv[10] = {containers->client, "logs", "--follow"};
	struct tail *tail = calloc(1, sizeof(*tail));
	struct intent_error ignored;
	size_t count = 3;

	if (!tail)
		return;
	*tail = (struct tail){
		.next = containers->tails, .containers = containers, .id = strdup(id), .service = strdup(service)};
	containers->tails = tail;
	if (since) {
		argv[count++] = "--since";
		argv[count++] = since;
	} else if (containers->asked == 1) {
		argv[count++] = "--tail";
		argv[count++] = LINES_BEFORE;
	}
	argv[count] = id;
	struct local_child_options options = {
		.name = "logs", .argv = argv, .on_line = on_line, .on_end = on_tail_end, .data = tail,
		.once = true, .aside = true,
	};
	/* argv is copied before anything is said. */
	if (tail->id && tail->service && !local_children_start(containers->children, &options, &ignored))
		json_object_set_new(containers->followed, id, json_true());
}

/* "ID STATE APPLICATION"; anything else is the client's complaint, and the agent says the same. */
static void on_container(const char *line, void *data)
{
	struct local_containers *containers = data;
	char id[129], state[33], service[129];

	if (sscanf(line, "%128s %32s %128s", id, state, service) != 3 || strlen(id) != 64 ||
	    strspn(id, "0123456789abcdef") != 64 || !intent_name_is_valid(service))
		return;
	const json_t *known = json_object_get(containers->followed, id);
	if (!known || (json_is_string(known) && !strcmp(state, "running")))
		follow(containers, id, service);
}

static void ask(struct local_containers *containers);

/* What was said while we asked may be of containers that were not there yet. */
static void on_listed(const char *name, int status, void *data)
{
	struct local_containers *containers = data;

	(void)name;
	(void)status;
	containers->asking = false;
	if (containers->newest != containers->seen)
		ask(containers);
}

static void ask(struct local_containers *containers)
{
	intent_free_auto char *filter = intent_format("label=platypus.node=%s", containers->place->node);
	const char *argv[] = {containers->client, "ps", "--all", "--no-trunc", "--filter", filter, "--format",
			      "{{.ID}} {{.State}} {{.Label \"platypus.application\"}}", NULL};
	struct local_child_options options = {
		.name = "ps", .argv = argv, .on_line = on_container, .on_end = on_listed, .once = true, .aside = true,
		.data = containers};
	struct intent_error ignored;

	containers->asked++;
	containers->seen = containers->newest;
	if (!local_children_start(containers->children, &options, &ignored))
		containers->asking = true;
}

void local_containers_look(struct local_containers *containers, const struct intent_snapshot *snapshot)
{
	static const char *const prefixes[] = {"reality/status/container-runner/", "reality/health/", NULL};

	containers->newest = 0;
	for (size_t i = 0; prefixes[i]; i++) {
		size_t count = 0;
		const struct intent_entry *entry = intent_snapshot_range(snapshot, prefixes[i], &count);
		for (size_t k = 0; k < count; k++)
			containers->newest = entry[k].revision > containers->newest ? entry[k].revision :
											      containers->newest;
	}
	if (containers->client && !containers->asking && containers->newest != containers->seen)
		ask(containers);
}

void local_containers_free(struct local_containers *containers)
{
	if (!containers)
		return;
	for (struct tail *tail = containers->tails, *next; tail; tail = next) {
		next = tail->next;
		free(tail->id);
		free(tail->service);
		free(tail->held);
		free(tail);
	}
	json_decref(containers->followed);
	free(containers->client);
	free(containers);
}

/* ---- volumes ---- */

/* The client's answer, as a whole. */
static int ask_client(const char *const *argv, struct intent_child_result *ret, struct intent_error *err)
{
	struct intent_child_options options = {
		.argv = argv, .env = (const char *const *)environ, .deadline_ms = VOLUMES_MS};
	int code = intent_child_run(&options, ret, err);

	if (!code && (!WIFEXITED(ret->status) || WEXITSTATUS(ret->status)))
		code = intent_fail(err, INTENT_ECHILD, "%s: %.300s", argv[0], intent_text_str(&ret->err));
	err->msg[strcspn(err->msg, "\n")] = 0;
	return code;
}

static bool is_of_model(const json_t *model, const char *volume)
{
	json_t *service, *name;
	size_t index, k;

	json_array_foreach(json_object_get(model, "services"), index, service)
		json_array_foreach(json_object_get(service, "volumes"), k, name)
			if (!strcmp(json_string_value(name), volume))
				return true;
	return false;
}

int local_volumes_remove(const struct local_place *place, const json_t *model, struct intent_text *ret,
			 struct intent_error *err)
{
	intent_free_auto char *filter = intent_format("label=platypus.node=%s", place->node), *client = NULL;
	struct intent_child_result listed = {0};

	if (local_engine_client(&client, err))
		return err->code;
	const char *argv[] = {client, "volume", "ls", "--quiet", "--filter", filter, NULL};
	int code = ask_client(argv, &listed, err);
	for (const char *p = intent_text_str(&listed.out); !code && *p; p += strcspn(p, "\n"), p += *p == '\n') {
		intent_free_auto char *name = strndup(p, strcspn(p, "\n"));
		const char *words[] = {client, "volume", "rm", name, NULL};
		struct intent_child_result removed = {0};
		if (!is_of_model(model, name))
			continue;
		code = ask_client(words, &removed, err);
		intent_child_result_release(&removed);
		if (!code)
			intent_text_printf(ret, "%s%s", ret->length ? ", " : "", name);
	}
	intent_child_result_release(&listed);
	return code;
}

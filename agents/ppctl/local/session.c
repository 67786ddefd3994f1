/* The loop of `run' and `stop': the store, agents, logs, the screen and signals. */
#include <signal.h>
#include "local.h"

#define TICK_MS 200
#define LOOK_MS 5000 /* without being woken by the store */

/* ---- the store ---- */

static void on_snapshot(struct intent_watch *watch, struct intent_snapshot *snapshot, void *data)
{
	struct local_session *session = data;

	(void)watch;
	intent_snapshot_unref(session->snapshot);
	session->snapshot = intent_snapshot_ref(snapshot);
	if (session->containers)
		local_containers_look(session->containers, snapshot);
	local_look(session);
	local_live_draw(session->live);
}

static void on_trouble(struct intent_watch *watch, const struct intent_error *err, void *data)
{
	(void)watch;
	if (err->code)
		local_say(data, "%s; trying on", err->msg);
}

/* ---- time and signals ---- */

static void on_tick(uv_timer_t *handle)
{
	struct local_session *session = handle->data;
	struct intent_error err;

	local_logs_poll(session->logs);
	if (session->phase == LOCAL_RUNNING && local_runsv_start(&session->place, session->tried, &err))
		local_say(session, "%s", err.msg);
	local_retire_on(session);
	if (intent_time_monotonic() - session->looked > LOOK_MS)
		local_look(session);
	local_live_draw(session->live);
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct local_session *session = handle->data;

	if (number == SIGCONT) {
		local_live_resume(session->live);
		return;
	}
	if (session->phase != LOCAL_RUNNING) {
		if (number == SIGINT)
			local_abandon(session);
		return;
	}
	local_live_foot(session->live, "stopping; Ctrl-C once more ends at once");
	local_retire(session);
	local_look(session);
}

/* ---- logs ---- */

static void on_line(const char *service, const char *line, void *data)
{
	struct local_session *session = data;

	local_live_line(session->live, service, line);
}

static void on_words(const char *words, void *data)
{
	local_say(data, "%s", words);
}

static void follow_logs(struct local_session *session)
{
	json_t *service;
	size_t index;

	json_array_foreach(json_object_get(session->model, "services"), index, service) {
		const char *name = intent_json_string(service, "name", "");
		intent_free_auto char *key = intent_format("clusters/%s/" LOCAL_WORLD "/deploy_config", name);
		const json_t *documents = json_object_get(session->model, "documents");
		const json_t *deploy = json_object_get(documents, key);
		intent_free_auto char *basedir = deploy ? intent_deploy_basedir(deploy, session->place.node) : NULL;
		intent_free_auto char *logs = basedir ? intent_format("%s/logs", basedir) : NULL;
		if (logs)
			local_logs_follow(session->logs, name, logs, false);
	}
}

static void follow_agents(struct local_session *session)
{
	for (const char *const *name = local_agent_names; *name; name++) {
		intent_free_auto char *path = local_path(&session->place, "logs/%s.log", *name);
		local_logs_follow(session->logs, *name, path, true);
	}
}

/* ---- its life ---- */

static json_t *names_of(const json_t *model)
{
	json_t *names = json_array(), *service;
	size_t index;

	json_array_foreach(json_object_get(model, "services"), index, service)
		json_array_append(names, json_object_get(service, "name"));
	return names;
}

static void start_handles(struct local_session *session)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGCONT};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		uv_signal_init(&session->loop, &session->signals[i]);
		session->signals[i].data = session;
		uv_signal_start(&session->signals[i], on_signal, numbers[i]);
	}
	uv_timer_init(&session->loop, &session->timer);
	session->timer.data = session;
	uv_timer_start(&session->timer, on_tick, TICK_MS, TICK_MS);
}

static int start_watch(struct local_session *session, struct intent_error *err)
{
	static const char *const prefixes[] = {"nodes/", "clusters/", "reality/", NULL};
	struct intent_watch_events events = {on_snapshot, on_trouble, session};

	/* A store of its own: what is on a loop must not be asked in the old way. */
	if (intent_store_open(session->place.url, NULL, &session->watched, err) ||
	    intent_store_attach(session->watched, &session->loop, err))
		return err->code;
	return intent_watch_start(session->watched, prefixes, &events, &session->watch, err);
}

int local_session_open(struct local_session *session, struct ppctl *ctl, struct local_place *place, json_t *model,
		       struct intent_error *err)
{
	*session = (struct local_session){.ctl = ctl, .place = *place, .model = model, .names = names_of(model),
					  .tried = json_object()};
	*place = (struct local_place){.lock = -1};
	int code = uv_loop_init(&session->loop);
	if (code)
		return intent_fail(err, code, "cannot wait for anything: %s", uv_strerror(code));
	session->children = local_children_new(&session->loop, on_words, session);
	session->logs = local_logs_new(on_line, session);
	session->live = local_live_new(session->names);
	if (local_model_uses(model, "docker"))
		session->containers = local_containers_new(session->children, session->logs, &session->place);
	follow_logs(session);
	if (ppctl_flag(ctl, "verbose"))
		follow_agents(session);
	if (start_watch(session, err))
		return err->code;
	start_handles(session);
	return 0;
}

void local_session_run(struct local_session *session)
{
	uv_run(&session->loop, UV_RUN_DEFAULT);
	local_logs_poll(session->logs);
	local_live_draw(session->live);
}

static void close_handle(uv_handle_t *handle, void *data)
{
	(void)data;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

void local_session_close(struct local_session *session)
{
	local_children_free(session->children);
	local_containers_free(session->containers);
	if (session->watch)
		intent_watch_stop(session->watch);
	intent_store_close(session->watched);
	uv_walk(&session->loop, close_handle, NULL);
	while (uv_loop_close(&session->loop) == UV_EBUSY)
		uv_run(&session->loop, UV_RUN_ONCE);
	intent_snapshot_unref(session->snapshot);
	local_live_free(session->live);
	local_logs_free(session->logs);
	json_decref(session->model);
	json_decref(session->names);
	json_decref(session->remaining);
	json_decref(session->tried);
	local_place_release(&session->place);
}

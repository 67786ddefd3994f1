/*
 * The end of `run', and `stop': through intent, as everywhere. The agents that watch end first; then, services that
 * need others before those, documents go and each agent that takes something away makes one round, whose exit
 * status says whether it is done.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <intent/file.h>
#include "local.h"

#define ENDING_MS 15000    /* for agents to end */
#define RETIRING_MS 90000  /* for everything to be gone */
#define LOG_MAX (8u << 20)
#define STATUS "reality/status/"

static void set_phase(struct local_session *session, enum local_phase phase, int64_t ms)
{
	session->phase = phase;
	session->deadline = intent_time_monotonic() + ms;
}

static void over(struct local_session *session, int status)
{
	session->phase = LOCAL_OVER;
	session->status = status;
	uv_stop(&session->loop);
}

void local_retire(struct local_session *session)
{
	json_t *service;
	size_t index;

	session->remaining = json_object();
	json_array_foreach(json_object_get(session->model, "services"), index, service)
		json_object_set_new(session->remaining, intent_json_string(service, "name", ""), json_true());
	local_children_end(session->children, SIGTERM);
	set_phase(session, LOCAL_ENDING, ENDING_MS);
}

static void say_left(struct local_session *session)
{
	intent_text_auto struct intent_text left = INTENT_TEXT_INIT;
	const char *app = intent_json_string(session->model, "app", ""), *name;
	json_t *ignored;

	local_runsv_held(&session->place, &left);
	json_object_foreach(session->remaining, name, ignored)
		if (!strcmp(intent_json_string(local_model_service(session->model, name), "target", ""), "docker"))
			intent_text_printf(&left, "%s%s (container)", left.length ? ", " : "", name);
	local_say(session, "left as it is: %s; \"%s stop %s\" here stops the rest",
		  left.length ? intent_text_str(&left) : "no service", program_invocation_short_name, app);
}

void local_abandon(struct local_session *session)
{
	say_left(session);
	over(session, PPCTL_STUCK);
}

/* ---- a turn: services that nobody needs who is still there ---- */

static bool is_needed(const struct local_session *session, const char *name)
{
	json_t *service, *need;
	size_t index, k;

	json_array_foreach(json_object_get(session->model, "services"), index, service) {
		if (!json_object_get(session->remaining, intent_json_string(service, "name", "")))
			continue;
		json_array_foreach(json_object_get(service, "needs"), k, need)
			if (!strcmp(json_string_value(need), name) &&
			    strcmp(json_string_value(need), intent_json_string(service, "name", "")))
				return true;
	}
	return false;
}

/* Those of this turn; all of them where each needs another. New: {name: true}. */
static json_t *turn_of(const struct local_session *session)
{
	json_t *turn = json_object(), *ignored;
	const char *name;

	json_object_foreach(session->remaining, name, ignored)
		if (!is_needed(session, name))
			json_object_set_new(turn, name, json_true());
	if (!json_object_size(turn))
		json_object_update(turn, session->remaining);
	return turn;
}

/* 100 and 111 are about all that the agent has; what it says of each tells about whom. */
void local_agent_ended(const char *name, int status, void *data)
{
	struct local_session *session = data;

	if (session->phase != LOCAL_RETIRING || (WIFEXITED(status) && !WEXITSTATUS(status)))
		return;
	snprintf(session->failed, sizeof(session->failed), "%s", name);
	session->unfinished++;
	session->crashed += !WIFEXITED(status) ||
		(WEXITSTATUS(status) != PPCTL_BLOCKED && WEXITSTATUS(status) != PPCTL_AGAIN);
}

/* An agent's word about a service: is it in trouble? That another one is holds up nothing. */
static bool is_trouble(struct local_session *session, const json_t *turn, const struct intent_entry *entry)
{
	const char *agent = entry->key + strlen(STATUS), *service = strrchr(entry->key, '/') + 1;
	intent_json_auto json_t *word = ppctl_document(entry);
	const char *state = intent_json_string(word, "state", "converged");

	if (!strcmp(state, "converged"))
		return false;
	if (!json_object_get(turn, service))
		return true;
	session->unfinished++;
	session->refused += !strcmp(state, "blocked");
	snprintf(session->failed, sizeof(session->failed), "%.*s", (int)strcspn(agent, "/"), agent);
	snprintf(session->words, sizeof(session->words), "%s", intent_json_string(word, "message", ""));
	return true;
}

/* What is still to be done of this turn: unfinished, and refused. */
static int count_left(struct local_session *session, const json_t *turn, struct intent_error *err)
{
	struct intent_snapshot *said = NULL;
	bool explained = false;

	*session->words = 0;
	if (!session->unfinished || session->crashed)
		return 0;
	if (ppctl_list(session->ctl, STATUS, &said, err))
		return err->code;
	session->unfinished = 0;
	for (size_t i = 0; i < said->count; i++)
		explained |= is_trouble(session, turn, &said->entries[i]);
	intent_snapshot_unref(said);
	/* Who says nothing of anything has not looked. */
	session->unfinished += !explained;
	return 0;
}

/* Documents of the turn go (they may have gone already), agents look. */
static int take_turn(struct local_session *session, struct intent_error *err)
{
	const struct local_child_options options = {.on_end = local_agent_ended, .data = session};
	intent_json_auto json_t *turn = turn_of(session);
	const char *name;
	json_t *ignored;

	json_object_foreach(turn, name, ignored)
		if (local_intent_retire(session->ctl, &session->place, name, err))
			return err->code;
	session->unfinished = session->refused = session->crashed = 0;
	return local_agents_start(&session->place, json_object_get(session->model, "documents"), true,
				  session->children, &options, err);
}

static int remove_volumes(struct local_session *session)
{
	intent_text_auto struct intent_text names = INTENT_TEXT_INIT;
	struct intent_error err;

	if (!ppctl_flag(session->ctl, "volumes") || !local_model_uses(session->model, "docker"))
		return 0;
	int code = local_volumes_remove(&session->place, session->model, &names, &err);
	if (names.length)
		local_say(session, "removed with all that was in them: %s", intent_text_str(&names));
	if (code)
		local_say(session, "volumes are left: %s", err.msg);
	return code;
}

static void finish(struct local_session *session)
{
	struct intent_error err;

	if (local_intent_remove(session->ctl, &session->place, session->model, &err)) {
		local_say(session, "%s", err.msg);
		over(session, PPCTL_REFUSED);
		return;
	}
	if (remove_volumes(session)) {
		over(session, PPCTL_REFUSED);
		return;
	}
	intent_free_auto char *words = intent_format("%s is stopped", intent_json_string(session->model, "app", ""));
	local_live_foot(session->live, words);
	over(session, 0);
}

static void give_up(struct local_session *session, const char *why)
{
	local_say(session, "%s", why);
	say_left(session);
	over(session, PPCTL_STUCK);
}

/* The last line of what an agent said; owned. */
static char *last_words(const struct local_session *session)
{
	intent_free_auto char *path = local_path(&session->place, "logs/%s.log", session->failed);
	intent_free_auto char *text = NULL;
	struct intent_error ignored;
	size_t length;

	if (intent_file_read(AT_FDCWD, path, LOG_MAX, &text, &length, &ignored))
		return NULL;
	while (length && text[length - 1] == '\n')
		text[--length] = 0;
	return strdup(strrchr(text, '\n') ? strrchr(text, '\n') + 1 : text);
}

/* They are gone; on with those that they needed. */
static bool end_turn(struct local_session *session, const json_t *turn)
{
	const char *name;
	json_t *ignored;

	json_object_foreach((json_t *)(uintptr_t)turn, name, ignored)
		json_object_del(session->remaining, name);
	local_look(session);
	return json_object_size(session->remaining) == 0;
}

/* All agents of the turn have ended. */
static void judge_turn(struct local_session *session)
{
	intent_json_auto json_t *turn = turn_of(session);
	struct intent_error err;

	if (count_left(session, turn, &err)) {
		give_up(session, err.msg);
		return;
	}
	if (session->refused || (session->unfinished && intent_time_monotonic() > session->deadline)) {
		intent_free_auto char *words = *session->words ? strdup(session->words) : last_words(session);
		intent_free_auto char *why = intent_format("%s could not take everything away: %s", session->failed,
							   words ? words : "");
		give_up(session, why);
		return;
	}
	if (!session->unfinished && end_turn(session, turn)) {
		finish(session);
		return;
	}
	if (take_turn(session, &err))
		give_up(session, err.msg);
}

void local_retire_on(struct local_session *session)
{
	struct intent_error err;
	bool late = intent_time_monotonic() > session->deadline;

	if (session->phase != LOCAL_ENDING && session->phase != LOCAL_RETIRING)
		return;
	if (local_children_count(session->children)) {
		if (late)
			local_children_end(session->children, SIGKILL);
		return;
	}
	if (session->phase == LOCAL_RETIRING) {
		judge_turn(session);
		return;
	}
	set_phase(session, LOCAL_RETIRING, RETIRING_MS);
	if (take_turn(session, &err))
		give_up(session, err.msg);
}

/*
 * Terraform states, each read once for all the rounds that want it: a round is a process, so what one has learnt is
 * left for the others in a file, with what to ask the server next time.
 *
 *	<runtime>/answers/HASH      {"checked", "asker", "validator", "settling", "outputs", "error", "poller"}, and its lock
 *	<runtime>/changed/HASH/at   written when the outputs change: every slice that uses them watches it
 *	<state-dir>/sources/HASH    {"source", "lineage", "serial"}: what was seen last, no values
 *
 * Who asked last asks again after --source-interval; the others only look in long after that, should it be gone.
 */
#include <sys/file.h>
#include <intent/digest.h>
#include <intent/file.h>
#include "injector.h"

#define RECORD_MAX 4096
#define ERROR_MS 5000       /* so long a failure is an answer, too */
#define SETTLE_MS 100
#define HASH_DIGITS 32

struct state {
	struct injector *injector;
	const char *url;                   /* borrowed */
	char hash[65];
	char *runtime, *answer_path, *seen_path; /* owned */
	json_t *answer;                    /* owned; NULL: there is none */
	bool is_local, is_dry;
	int64_t interval;
};

char *injector__shown(const char *url)
{
	const char *host = strstr(url, "://"), *at;

	if (!host)
		return strdup(url);
	host += 3;
	at = memrchr(host, '@', strcspn(host, "/?"));
	/* Whatever somebody put there: a password, a token. */
	at = at ? at + 1 : host;
	return intent_format("%.*s%.*s", (int)(host - url), url,
			     (int)strcspn(at, intent_starts_with(url, "http") ? "?" : ""), at);
}

/* Where values may be for a while: memory, if there is such a directory. Owned. */
static char *runtime_directory(const struct injector *injector)
{
	const char *given = getenv("RUNTIME_DIRECTORY"), *mine = getenv("XDG_RUNTIME_DIR");
	const char *state_dir = intent_round_state_dir(injector->round);
	const char *base = given ? given : !geteuid() ? "/run" : mine;
	char hash[65];

	/* Several agents may have one such directory. */
	intent_sha256_hex(state_dir, strlen(state_dir), hash);
	return base && !access(base, W_OK) ? intent_format("%s/pp-configmap-injector-%.16s", base, hash) :
		intent_format("%s/runtime", state_dir);
}

static void open_state(struct state *state, struct injector *injector, const char *url)
{
	*state = (struct state){
		.injector = injector, .url = url, .is_local = *url == '/',
		.is_dry = intent_round_is_dry(injector->round),
		.interval = intent_json_integer(intent_round_options(injector->round), "source-interval", 30000),
		.runtime = runtime_directory(injector),
	};
	intent_sha256_hex(url, strlen(url), state->hash);
	state->hash[HASH_DIGITS] = '\0';
	state->answer_path = intent_format("%s/answers/%s", state->runtime, state->hash);
	state->seen_path = intent_format("%s/sources/%s", intent_round_state_dir(injector->round), state->hash);
}

static void close_state(struct state *state)
{
	free(state->runtime);
	free(state->answer_path);
	free(state->seen_path);
	json_decref(state->answer);
}

/* ---- what was seen before ---- */

static int check_seen(const struct state *state, const struct injector_tfstate *now, struct intent_error *err)
{
	intent_json_auto json_t *seen = NULL;
	const char *lineage;
	int64_t serial;

	if (intent_file_read_json(state->seen_path, RECORD_MAX, &seen, err) < 0)
		return err->code == INTENT_EABSENT ? 0 : err->code;
	lineage = intent_json_string(seen, "lineage", "");
	serial = intent_json_integer(seen, "serial", 0);
	if (strcmp(lineage, now->lineage))
		return intent_fail(err, INTENT_EREFUSED, "is another state than before (lineage %.40s, not %.40s); if that is "
				   "meant, remove %s", now->lineage, lineage, state->seen_path);
	if (now->serial < serial)
		return intent_fail(err, INTENT_EREFUSED, "is older than what was there before (serial %lld, not %lld or more); "
				   "if that is meant, remove %s", (long long)now->serial, (long long)serial,
				   state->seen_path);
	return 0;
}

static int note_seen(const struct state *state, const struct injector_tfstate *now, struct intent_error *err)
{
	intent_free_auto char *shown = injector__shown(state->url);
	intent_free_auto char *directory = intent_format("%s/sources", intent_round_state_dir(state->injector->round));
	intent_json_auto json_t *seen = json_pack("{ss* ss sI}", "source", shown, "lineage", now->lineage,
						  "serial", (json_int_t)now->serial);

	if (state->is_dry)
		return 0;
	if (!seen)
		return intent_fail(err, INTENT_EMALFORMED, "has a lineage that is not UTF-8");
	return intent_directory_make(directory, 0700, err) < 0 ? err->code :
		intent_file_write_json(state->seen_path, seen, 0600, err);
}

/* A state that is gone is not one that never was. */
static int refuse_gone(const struct state *state, struct intent_error *err)
{
	if (access(state->seen_path, F_OK) == 0)
		return intent_fail(err, INTENT_ESOURCE, "is gone, though it was there before; if that is meant, remove %s",
				   state->seen_path);
	return err->code;
}

/* ---- the answer ---- */

static int64_t age(const struct state *state)
{
	return intent_time_monotonic() - intent_json_integer(state->answer, "checked", INT64_MAX / 2);
}

/* With --once somebody is waiting for a look at the world itself. */
static bool is_of_this_run(const struct state *state)
{
	struct intent_error ignored;
	const char *session;
	bool once = intent_round_session(state->injector->round, &session, &ignored) == 0 && !session;

	return !once || intent_json_integer(state->answer, "asker", 0) == getppid();
}

/* A file is always looked at: that costs nothing. */
static bool is_fresh(const struct state *state)
{
	bool failed = json_object_get(state->answer, "error");
	int64_t limit = failed && state->interval > ERROR_MS ? ERROR_MS : state->interval;

	return state->answer && !state->is_local && age(state) >= 0 && age(state) < limit && is_of_this_run(state);
}

/* Which of the server's versions we have; NULL: none, or one that may change without another name. */
static const char *validator_of(const struct state *state)
{
	const char *validator = intent_json_string(state->answer, "validator", "");

	if (intent_json_boolean(state->answer, "settling", false) && age(state) >= SETTLE_MS / 2)
		return NULL;
	return *validator && json_object_get(state->answer, "outputs") ? validator : NULL;
}

static void tell_others(const struct state *state, struct intent_error *err)
{
	intent_free_auto char *directory = intent_format("%s/changed/%s", state->runtime, state->hash);
	intent_free_auto char *path = intent_format("%s/at", directory ? directory : "");
	char now[24];

	snprintf(now, sizeof(now), "%lld", (long long)intent_time_monotonic());
	if (directory && path && intent_directory_make(directory, 0700, err) == 0)
		intent_file_write(path, now, strlen(now), 0600, err);
}

/* Takes what came over into the answer. */
static int take_in(struct state *state, const struct injector_answer *came, struct intent_error *err)
{
	struct injector_tfstate parsed = {.outputs = NULL};
	const json_t *had = json_object_get(state->answer, "outputs");
	int code = 0;

	if (!came->is_unchanged) {
		if (!came->body.length)
			return refuse_gone(state, (intent_fail(err, INTENT_EABSENT, "is empty"), err));
		if (injector__tfstate_parse(intent_text_str(&came->body), came->body.length, &parsed, err) < 0)
			return err->code;
		code = check_seen(state, &parsed, err);
		if (!code)
			code = note_seen(state, &parsed, err);
	}
	if (!code && parsed.outputs) {
		if (had && !json_equal(had, parsed.outputs) && !state->is_dry && !state->is_local)
			tell_others(state, err);
		json_object_set(state->answer, "outputs", parsed.outputs);
	}
	json_decref(parsed.outputs);
	if (!code) {
		json_object_set_new(state->answer, "validator", json_string(came->validator));
		json_object_set_new(state->answer, "settling", json_boolean(came->is_settling));
	}
	return code;
}

static void refresh(struct state *state)
{
	struct injector_answer came = {.is_unchanged = false};
	struct intent_error err;
	int code;

	/* `came` may refer to what the answer says now. */
	intent_free_auto char *validator = validator_of(state) ? strdup(validator_of(state)) : NULL;
	if (!state->answer)
		state->answer = json_object();
	code = injector__fetch(state->injector, state->url, validator, &came, &err);
	if (!code)
		code = take_in(state, &came, &err);
	else if (code == INTENT_EABSENT)
		code = refuse_gone(state, &err);
	json_object_del(state->answer, "error");
	if (code)
		json_object_set_new(state->answer, "error", json_pack("{si ss}", "code", err.code, "message", err.msg));
	json_object_set_new(state->answer, "checked", json_integer(intent_time_monotonic()));
	json_object_set_new(state->answer, "asker", json_integer(getppid()));
	json_object_set_new(state->answer, "poller", json_string(intent_round_slice(state->injector->round)));
	injector__answer_release(&came);
}

/* Nothing of it is needed to be right: a failure to keep it costs another look. */
static void keep(const struct state *state)
{
	struct intent_error err;

	if (!state->is_dry && intent_file_write_json(state->answer_path, state->answer, 0600, &err) < 0)
		intent_round_log(state->injector->round, INTENT_WARN, "What was learnt cannot be kept: %s", err.msg);
}

static void look_again_later(const struct state *state)
{
	struct injector *injector = state->injector;
	intent_free_auto char *changed = intent_format("%s/changed/%s", state->runtime, state->hash);
	bool polls = !strcmp(intent_json_string(state->answer, "poller", ""), intent_round_slice(injector->round));
	int64_t left = state->interval - age(state);

	if (state->is_local) {
		if (intent_json_boolean(state->answer, "settling", false))
			intent_round_again(injector->round, SETTLE_MS);
		return;
	}
	intent_round_watch(injector->round, changed);
	intent_round_again(injector->round, polls ? (left > 0 ? left : 0) :
			   state->interval * (2 + (int64_t)(getpid() % 8)));
}

/* Asks, or takes what another round was told; under a lock, so that one asks for all. */
static int learn(struct state *state, struct intent_error *err)
{
	intent_free_auto char *lock_path = intent_format("%s.lock", state->answer_path);
	intent_free_auto char *directory = intent_format("%s/answers", state->runtime);
	intent_close_auto int lock = -1;
	struct intent_error ignored;

	if (!state->is_dry && (intent_directory_make(directory, 0700, err) < 0 ||
			       intent_file_lock(lock_path, LOCK_EX, true, &lock, err) < 0))
		return err->code;
	if (intent_file_read_json(state->answer_path, INJECTOR_STATE_MAX, &state->answer, &ignored) < 0)
		state->answer = NULL;
	if (!is_fresh(state)) {
		refresh(state);
		keep(state);
	}
	look_again_later(state);
	return 0;
}

int injector__state(struct injector *injector, const char *url, const json_t **ret_borrowed, struct intent_error *err)
{
	intent_free_auto char *shown = injector__shown(url);
	const json_t *known = json_object_get(injector->states, url), *error;
	struct state state;
	int code = 0;

	if (!known) {
		open_state(&state, injector, url);
		code = learn(&state, err);
		if (!code)
			json_object_set(injector->states, url, state.answer);
		close_state(&state);
		known = json_object_get(injector->states, url);
	}
	if (code)
		return intent_wrap(err, "%s", shown);
	error = json_object_get(known, "error");
	if (error)
		return intent_fail(err, (int)intent_json_integer(error, "code", INTENT_ESOURCE), "%s %s", shown,
				   intent_json_string(error, "message", "cannot be read"));
	*ret_borrowed = json_object_get(known, "outputs");
	return 0;
}

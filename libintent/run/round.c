/*
 * One round of one slice, in its own process: observe, plan, apply, and again
 * until the plan is empty. Straight-line code; the runner hears lines of JSON.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <intent/digest.h>
#include <intent/file.h>
#include "round.h"

#define PASSES_MAX 8               /* observe-plan-apply in one round */
#define PROGRESS_INTERVAL_MS 1000
#define ANSWER_LOOK_MS 200         /* a signal may come right before a wait */
#define SESSION_PATIENCE_MS 10000

volatile sig_atomic_t intent__round_stop_requested, intent__round_outdated;

static void on_stop(int signal_number)
{
	(void)signal_number;
	intent__round_stop_requested = 1;
}

static void on_outdated(int signal_number)
{
	(void)signal_number;
	intent__round_outdated = 1;
}

/* The helper has kept them blocked until here: none is lost, none ends us unasked. */
static void catch_signals(void)
{
	struct sigaction stop = {.sa_handler = on_stop}, other = {.sa_handler = on_outdated, .sa_flags = SA_RESTART};
	sigset_t none;

	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGUSR1, &other, NULL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

void intent__round_tell(struct intent_round *round, const json_t *message)
{
	intent_text_auto struct intent_text line = INTENT_TEXT_INIT;
	intent_free_auto char *text = json_dumps(message, JSON_COMPACT);
	const char *p;
	size_t left;

	if (!text)
		return;
	intent_text_puts(&line, text);
	intent_text_puts(&line, "\n");
	/* The runner may be gone: the round goes on to its end all the same. */
	for (p = intent_text_str(&line), left = line.length; left;) {
		ssize_t sent = send(round->channel, p, left, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return;
		p += sent;
		left -= (size_t)sent;
	}
}

/* ---- what observe and apply may call ---- */

const char *intent_round_slice(const struct intent_round *round)
{
	return round->slice;
}

const json_t *intent_round_intent(const struct intent_round *round)
{
	return round->intent;
}

const json_t *intent_round_options(const struct intent_round *round)
{
	return json_object_get(round->intent, "options");
}

const char *intent_round_state_dir(const struct intent_round *round)
{
	return round->context->state_dir;
}

const char *intent_round_store_url(const struct intent_round *round)
{
	return round->context->store_url;
}

bool intent_round_is_interactive(const struct intent_round *round)
{
	return round->context->interactive;
}

bool intent_round_is_once(const struct intent_round *round)
{
	return round->context->once;
}

bool intent_round_is_dry(const struct intent_round *round)
{
	return round->context->dry_run;
}

void intent_round_watch(struct intent_round *round, const char *path)
{
	size_t i;
	json_t *item;

	json_array_foreach(round->watch, i, item)
		if (!strcmp(json_string_value(item), path))
			return;
	json_array_append_new(round->watch, json_string(path));
}

void intent_round_again(struct intent_round *round, int64_t ms)
{
	if (round->again_ms < 0 || ms < round->again_ms)
		round->again_ms = ms;
}

void intent_round_patience(struct intent_round *round, int64_t ms)
{
	if (ms > round->patience_ms)
		round->patience_ms = ms;
}

void intent_round_progress(struct intent_round *round, json_t *detail)
{
	int64_t now = intent_time_monotonic();

	json_decref(round->progress);
	round->progress = detail;
	if (now - round->progress_sent < PROGRESS_INTERVAL_MS)
		return;
	round->progress_sent = now;
	intent_json_auto json_t *message = json_pack("{so}", "progress", detail);
	round->progress = NULL;
	intent__round_tell(round, message);
}

void intent_round_detail(struct intent_round *round, const char *name, json_t *value)
{
	json_object_set_new(round->detail, name, value);
}

void intent_round_owned(struct intent_round *round, int count)
{
	round->owned = count;
}

void intent_round_log(struct intent_round *round, enum intent_log_level level, const char *format, ...)
{
	char words[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(words, sizeof(words), format, ap);
	va_end(ap);
	intent_log(level, round->slice, "%s", words);
}

int intent_round_store(struct intent_round *round, struct intent_store **ret_borrowed, struct intent_error *err)
{
	const char *prefix = intent_json_string(round->context->options, "prefix", NULL);

	if (!round->store &&
	    intent_store_open(round->context->store_url, prefix, &round->store, err) < 0)
		return err->code;
	*ret_borrowed = round->store;
	return 0;
}

/* One line, without its end. */
static int read_line(const struct intent_round *round, int64_t until, char *line, size_t size, struct intent_error *err)
{
	size_t length = 0;

	while (length + 1 < size) {
		struct pollfd ready = {round->channel, POLLIN, 0};
		ssize_t got = -1;

		if (intent__round_stop_requested || intent_time_monotonic() >= until)
			return intent_fail(err, INTENT_EUNAVAILABLE, "the runner did not answer in time");
		if (poll(&ready, 1, ANSWER_LOOK_MS) > 0)
			got = recv(round->channel, line + length, 1, MSG_DONTWAIT);
		if (got == 0)
			return intent_fail(err, INTENT_EUNAVAILABLE, "the runner is gone");
		if (got == 1 && line[length++] == '\n')
			break;
	}
	line[length - 1] = '\0';
	return 0;
}

int intent__round_answer(struct intent_round *round, const char *kind, int64_t patience_ms, char *rest, size_t size,
			 struct intent_error *err)
{
	int64_t now = intent_time_monotonic(), until = patience_ms < INT64_MAX - now ? now + patience_ms : INT64_MAX;
	char line[sizeof(err->msg) + 16];

	/* The answer to a question that was given up may still come. */
	do {
		if (read_line(round, until, line, sizeof(line), err) < 0)
			return err->code;
	} while (!intent_starts_with(line, kind));
	snprintf(rest, size, "%s", line + strlen(kind));
	return 0;
}

int intent_round_session(struct intent_round *round, const char **ret_borrowed, struct intent_error *err)
{
	intent_json_auto json_t *question = json_pack("{sb}", "session", true);
	char answer[128] = "";

	*ret_borrowed = NULL;
	if (round->context->once)
		return 0;
	if (!round->session && !round->aside) {
		intent__round_tell(round, question);
		if (intent__round_answer(round, "session ", SESSION_PATIENCE_MS, answer, sizeof(answer), err) < 0)
			return err->code;
		round->session = *answer ? strdup(answer) : NULL;
	}
	if (!round->session)
		return intent_fail(err, INTENT_EUNAVAILABLE, "the session that facts are bound to is not open yet");
	*ret_borrowed = round->session;
	return 0;
}

bool intent_round_should_stop(const struct intent_round *round)
{
	(void)round;
	return intent__round_stop_requested;
}

bool intent_round_is_demanded(const struct intent_round *round)
{
	return round->demanded || round->context->once;
}

bool intent_round_is_outdated(const struct intent_round *round)
{
	(void)round;
	return intent__round_outdated;
}

/* ---- the round ---- */

struct outcome {
	struct intent_error err;   /* code 0: converged */
	json_t *plan;              /* what is left to do; --dry-run shows it */
};

static int observe_and_plan(struct intent_round *round, struct intent_plan *plan, struct intent_error *err)
{
	const struct intent_agent *agent = round->context->agent;
	intent_json_auto json_t *observed = NULL;

	round->owned = 0;
	if (agent->observe(round, round->intent, &observed, err) < 0)
		return err->code;
	return agent->plan(round->intent, observed, plan, err);
}

static void run_passes(struct intent_round *round, struct outcome *outcome)
{
	intent_json_auto json_t *before = NULL;

	for (int pass = 0; pass < PASSES_MAX; pass++) {
		struct intent_plan plan;
		int code;

		intent_plan_init(&plan);
		memset(&outcome->err, 0, sizeof(outcome->err));
		code = observe_and_plan(round, &plan, &outcome->err);
		if (code == 0)
			outcome->err = plan.verdict;
		json_decref(outcome->plan);
		outcome->plan = plan.actions;
		/* What was planned before planning failed is no plan. */
		if (code < 0 && outcome->plan)
			json_array_clear(outcome->plan);
		if (!json_array_size(outcome->plan) || round->context->dry_run)
			return;
		if (before && json_equal(before, plan.actions)) {
			intent_fail(&outcome->err, INTENT_ECHILD, "done, but still needed: %s",
				    intent_json_string(json_array_get(plan.actions, 0), "reason", ""));
			return;
		}
		json_decref(before);
		before = json_incref(plan.actions);
		if (intent__round_apply(round, plan.actions, &outcome->err) < 0)
			return;
	}
	intent_fail(&outcome->err, INTENT_ESTALE, "still changing after %d passes", PASSES_MAX);
}

static void tell_result(struct intent_round *round, const struct outcome *outcome)
{
	intent_json_auto json_t *message = NULL;

	message = json_pack("{s{si ss sO sO sO* si sI sI si}}", "result",
			    "code", outcome->err.code, "message", outcome->err.code ? outcome->err.msg : "",
			    "watch", round->watch, "detail", round->detail, "plan", outcome->plan,
			    "owned", round->owned, "again", (json_int_t)round->again_ms,
			    "patience", (json_int_t)round->patience_ms,
			    "actions", round->actions);
	intent__round_tell(round, message);
}

/* The identity of the intent at work, for the status document. */
static void tell_digest(struct intent_round *round)
{
	intent_json_auto json_t *message = NULL;
	char digest[65];

	intent_json_digest(round->intent, digest);
	message = json_pack("{ss}", "digest", digest);
	intent__round_tell(round, message);
}

/* Asked again and again, not waited for in the kernel: a stop must get through. */
static int lock_patiently(struct intent_round *round, const char *path, struct intent_error *err)
{
	const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
	bool said = false;
	int fd;

	/* --dry-run makes no lock file; where there is none, nobody is at work. */
	while (intent_file_lock(path, LOCK_EX | LOCK_NB, !round->context->dry_run, &fd, err) < 0) {
		if (err->code == INTENT_EABSENT && round->context->dry_run)
			return 0;
		if (err->code != INTENT_EBUSY)
			return err->code;
		if (intent_round_should_stop(round) || intent_round_is_outdated(round))
			return intent_fail(err, INTENT_ESTALE, "stopped while another round of this slice still ran");
		if (!said)
			intent_round_log(round, INTENT_INFO, "Waiting for another round of %s to end", round->slice);
		said = true;
		nanosleep(&pause, NULL);
	}
	return 0;
}

/* A successor waits here for a round that outlived its runner. */
static int lock_slice(struct intent_round *round, struct intent_error *err)
{
	intent_text_auto struct intent_text path = INTENT_TEXT_INIT, name = INTENT_TEXT_INIT;

	intent_url_escape(&name, round->slice, "@:+");
	if (name.length > 200) { /* too long for a file */
		char digest[65];

		intent_sha256_hex(round->slice, strlen(round->slice), digest);
		intent_text_clear(&name);
		intent_text_puts(&name, digest);
	}
	intent_text_printf(&path, "%s/locks", round->context->state_dir);
	if (!round->context->dry_run && intent_directory_make(intent_text_str(&path), 0700, err) < 0)
		return err->code;
	intent_text_printf(&path, "/%s", intent_text_str(&name));
	return lock_patiently(round, intent_text_str(&path), err);
}

int intent__round_main(const json_t *request, int channel, void *data)
{
	struct intent_round round = {
		.context = data, .channel = channel,
		.slice = intent_json_string(request, "slice", ""),
		.intent = json_object_get(request, "intent"),
		.demanded = intent_json_boolean(request, "demanded", false),
		.detail = json_object(), .watch = json_array(), .again_ms = -1,
	};
	struct outcome outcome = {.plan = NULL};

	if (intent_json_string(request, "session", NULL))
		round.session = strdup(intent_json_string(request, "session", ""));
	catch_signals();
	if (intent_json_boolean(request, "announce", false))
		intent_log(INTENT_INFO, round.slice, "Checking spec for %s", round.slice);
	tell_digest(&round);
	if (lock_slice(&round, &outcome.err) == 0)
		run_passes(&round, &outcome);
	tell_result(&round, &outcome);
	/* The process ends here; what it holds goes with it, but sessions' files must not linger. */
	intent_store_close(round.store);
	json_decref(outcome.plan);
	json_decref(round.detail);
	json_decref(round.watch);
	json_decref(round.progress);
	free(round.session);
	return 0;
}

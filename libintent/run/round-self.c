/* What a round knows of itself, and what it and its runner say to each other: all that observe and apply may call. */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/socket.h>
#include "round.h"

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

void intent__round_catch_signals(void)
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

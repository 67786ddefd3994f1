/* Carrying out a plan: in order, removals only when allowed, some actions side by side. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <intent/file.h>
#include "round.h"

#define ASIDE_MAX 4 /* actions of one slice at work at once */
#define PASS_ON_MS 100

static const struct intent_verb *find_verb(const struct intent_agent *agent, const char *name)
{
	for (const struct intent_verb *verb = agent->verbs; verb->name; verb++)
		if (!strcmp(verb->name, name))
			return verb;
	return NULL;
}

/* All removals of a plan together, right before the first: what came before it may have taken long. */
static int prepare_removals(struct intent_round *round, const json_t *actions, struct intent_error *err)
{
	intent_json_auto json_t *subjects = json_array();
	size_t i;
	json_t *action;

	json_array_foreach((json_t *)(uintptr_t)actions, i, action) {
		const struct intent_verb *verb = find_verb(round->context->agent,
				intent_json_string(action, "verb", ""));

		if (verb && verb->flags & INTENT_VERB_DESTROYS)
			json_array_append(subjects, json_object_get(action, "subject"));
	}
	if (intent__round_confirm(round, err) < 0)
		return err->code;
	return intent__round_ask(round, subjects, err);
}

/* How the runner is to end us, should it have to, while this action lasts. */
static void tell_stop(struct intent_round *round, const struct intent_verb *verb)
{
	intent_json_auto json_t *message = NULL;
	bool interruptible = verb->flags & INTENT_VERB_STOP_INT;

	if (interruptible == round->interruptible)
		return;
	round->interruptible = interruptible;
	message = json_pack("{ss}", "stop", interruptible ? "int" : "kill");
	intent__round_tell(round, message);
}

static int apply_one(struct intent_round *round, const json_t *action, const struct intent_verb *verb,
		     struct intent_error *err)
{
	intent_log(INTENT_INFO, round->slice, "%s", intent_json_string(action, "reason", ""));
	tell_stop(round, verb);
	if (verb->apply(round, action, err) < 0)
		return err->code;
	round->actions++;
	return 0;
}

/* ---- side by side ---- */

struct aside {
	pid_t pid;
	int result;    /* where its error comes from */
	int passed_on; /* the last signal it was told of */
};

/* In a process of its own: what it says and changes reaches the world, not our memory. */
static int start_aside(struct intent_round *round, const json_t *action, const struct intent_verb *verb,
		       struct aside *aside)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	aside->pid = fork();
	if (aside->pid == 0) {
		struct intent_error err = {0};

		round->aside = true;
		if (apply_one(round, action, verb, &err) == 0)
			err.code = 0; /* it may have met and mended something on the way */
		_exit(intent_write_all(ends[1], &err, sizeof(err)) < 0);
	}
	close(ends[1]);
	aside->result = ends[0];
	aside->passed_on = 0;
	if (aside->pid < 0) {
		close(ends[0]);
		return -errno;
	}
	return 0;
}

static int read_result(int fd, struct intent_error *ret)
{
	size_t got = 0;
	ssize_t count;

	while (got < sizeof(*ret)) {
		count = read(fd, (char *)ret + got, sizeof(*ret) - got);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return -1;
		got += (size_t)count;
	}
	return 0;
}

/* ---- all of a plan ---- */

struct application {
	struct intent_round *round;
	const json_t *actions;
	bool asked;                   /* whether the plan's removals may be done */
	struct intent_error refused;  /* why not; code 0: they may */
	struct intent_error failed;   /* the first failure */
	struct aside asides[ASIDE_MAX];
	size_t running;
};

/* The first failure is the round's result, which the runner logs; the others are said here. */
static void note_failure(struct application *all, const struct intent_error *err)
{
	if (!all->failed.code)
		all->failed = *err;
	else
		intent_log(INTENT_ERROR, all->round->slice, "%s", err->msg);
}

/* Only the round itself is signalled: it knows who works for it. */
static void pass_signals_on(struct application *all)
{
	int signal_number = intent__round_stop_requested ? SIGTERM : intent__round_outdated ? SIGUSR1 : 0;

	for (size_t i = 0; i < all->running; i++) {
		if (signal_number && all->asides[i].passed_on != signal_number)
			kill(all->asides[i].pid, signal_number);
		all->asides[i].passed_on = signal_number;
	}
}

static void finish_oldest(struct application *all)
{
	struct aside *oldest = &all->asides[0];
	struct pollfd poll_fd = {oldest->result, POLLIN, 0};
	struct intent_error err;

	/* Looked at now and then: a signal that comes right before a wait would not end it. */
	while (poll(&poll_fd, 1, PASS_ON_MS) <= 0)
		pass_signals_on(all);
	if (read_result(oldest->result, &err) < 0)
		intent_fail(&err, INTENT_ECRASHED, "the process of an action ended without a result");
	close(oldest->result);
	while (waitpid(oldest->pid, NULL, 0) < 0 && errno == EINTR)
		;
	all->round->actions += !err.code;
	if (err.code)
		note_failure(all, &err);
	memmove(all->asides, all->asides + 1, --all->running * sizeof(all->asides[0]));
}

/* Removals wait for permission; everything else goes ahead without it. */
static bool is_refused(struct application *all, const struct intent_verb *verb)
{
	if (!(verb->flags & INTENT_VERB_DESTROYS))
		return false;
	if (!all->asked && prepare_removals(all->round, all->actions, &all->refused) == 0)
		all->refused.code = 0;
	all->asked = true;
	if (all->refused.code)
		all->failed = all->failed.code ? all->failed : all->refused;
	return all->refused.code != 0;
}

/* False when the plan must end here. */
static bool apply_next(struct application *all, const json_t *action, const struct intent_verb *verb)
{
	struct intent_error err;

	if (is_refused(all, verb))
		return true;
	if (verb->flags & INTENT_VERB_ASIDE) {
		if (all->running == ASIDE_MAX)
			finish_oldest(all);
		if (!start_aside(all->round, action, verb, &all->asides[all->running])) {
			all->running++;
			return true;
		}
	}
	while (all->running)
		finish_oldest(all);
	if (apply_one(all->round, action, verb, &err) == 0)
		return true;
	note_failure(all, &err);
	return verb->flags & INTENT_VERB_INDEPENDENT;
}

int intent__round_apply(struct intent_round *round, const json_t *actions, struct intent_error *err)
{
	struct application all = {.round = round, .actions = actions};
	size_t i;
	json_t *action;

	json_array_foreach((json_t *)(uintptr_t)actions, i, action) {
		const char *name = intent_json_string(action, "verb", "");
		const struct intent_verb *verb = find_verb(round->context->agent, name);
		struct intent_error stop;

		if (!verb)
			intent_fail(&stop, INTENT_EMALFORMED, "the plan has an unknown verb '%s'", name);
		else if (intent_round_should_stop(round))
			intent_fail(&stop, INTENT_ESTALE, "stopped before: %s", intent_json_string(action, "reason", ""));
		else if (apply_next(&all, action, verb))
			continue;
		else
			break;
		note_failure(&all, &stop);
		break;
	}
	while (all.running)
		finish_oldest(&all);
	if (all.failed.code)
		*err = all.failed;
	return all.failed.code;
}

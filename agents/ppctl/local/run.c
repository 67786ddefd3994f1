/* run and stop: an application of the system definition, on this machine. */
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <intent/file.h>
#include "local.h"
#include "../system/parts.h"

static int begin(struct local_session *session, struct intent_error *err)
{
	static const struct local_child_options how = {0};
	const json_t *documents = json_object_get(session->model, "documents");

	if (local_intent_write(session->ctl, &session->place, session->model, err))
		return err->code;
	if (local_runsv_held(&session->place, NULL))
		local_say(session, "what runs already is taken over as it is");
	return local_agents_start(&session->place, documents, false, session->children, &how, err);
}

/* What the definition had before and has no more goes; what it has now is remembered, to be stopped. */
static int succeed(struct ppctl *ctl, const struct local_place *place, const json_t *model, struct intent_error *err)
{
	intent_json_auto json_t *before = NULL;
	int code = local_model_read(place, intent_json_string(model, "app", ""), &before, err);

	if (!code)
		code = local_intent_replace(ctl, place, before, model, err);
	if (code && code != INTENT_EABSENT)
		return code;
	return local_model_write(place, model, err);
}

/* Everything with its lock taken. */
static int run(struct ppctl *ctl, struct local_place *place, const char *app, struct intent_error *err)
{
	struct local_session session;
	json_t *model = NULL;
	int code = local_place_make(place, ctl, err);

	if (!code)
		code = local_model_compile(ctl, place, app, &model, err);
	if (!code)
		code = local_place_check_others(place, model, err);
	if (!code)
		code = succeed(ctl, place, model, err);
	if (code) {
		json_decref(model);
		return code;
	}
	code = local_session_open(&session, ctl, place, model, err);
	if (!code)
		code = begin(&session, err);
	if (!code) {
		local_live_foot(session.live, "Ctrl-C stops everything that was started here");
		local_session_run(&session);
		code = session.status;
	}
	local_session_close(&session);
	return code;
}

static int taken(struct local_place *place, const char *app, pid_t pid, const char *other, struct intent_error *err)
{
	(void)place;
	if (other && strcmp(app, other))
		return intent_fail(err, INTENT_EBUSY,
				   "%s runs in this directory (process %d); stop it first, or use another directory",
				   other, (int)pid);
	return intent_fail(err, INTENT_EBUSY,
			   "%s runs here already (process %d): Ctrl-C there, or \"%s stop %s\", ends it", app, (int)pid,
			   program_invocation_short_name, app);
}

/* ---- stop ---- */

/* Ask who runs it to stop, and wait until it has. Only that process: the lock is looked at again. */
static int ask(struct local_place *place, const char *app, pid_t pid, const char *other, struct intent_error *err)
{
	intent_free_auto char *again = NULL;
	pid_t same = 0;
	int fd = (int)syscall(SYS_pidfd_open, pid, 0u), code;

	if (other && strcmp(app, other)) {
		if (fd >= 0)
			close(fd);
		return intent_fail(err, INTENT_EABSENT, "%s does not run here; %s does", app, other);
	}
	code = local_place_lock(place, app, &same, &again, err);
	if (code == INTENT_EBUSY && same == pid && fd >= 0) {
		ppctl_say("process %d is asked to stop %s", (int)pid, app);
		syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0u);
		/* Suspended by Ctrl-Z, it would never hear of it. */
		syscall(SYS_pidfd_send_signal, fd, SIGCONT, NULL, 0u);
	}
	while (code == INTENT_EBUSY) {
		nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
		free(again);
		again = NULL;
		code = local_place_lock(place, app, &same, &again, err);
	}
	if (fd >= 0)
		close(fd);
	return code;
}

static int stop(struct ppctl *ctl, struct local_place *place, const char *app, struct intent_error *err)
{
	struct local_session session;
	json_t *model = NULL;
	int code = local_place_make(place, ctl, err);

	if (!code)
		code = local_model_read(place, app, &model, err);
	if (code == INTENT_EABSENT)
		return intent_fail(err, code, "%s was never run in this directory (%s)", app, place->workspace);
	if (code)
		return code;
	code = local_session_open(&session, ctl, place, model, err);
	if (!code) {
		local_retire(&session);
		local_session_run(&session);
		code = session.status;
	}
	local_session_close(&session);
	return code;
}

/* ---- both ---- */

/* What both begin with. *ret_app: owned. */
static int find(struct ppctl *ctl, struct local_place *ret, char **ret_app, struct intent_error *err)
{
	const char *word = ppctl_argument(ctl, 0);

	if (!intent_name_is_valid(word))
		return intent_fail(err, INTENT_EUSAGE, "\"%.64s\" is no name of an application", word);
	if (system_go(ctl, err) || local_place_find(ctl, ret, err))
		return err->code;
	*ret_app = system_lower(word);
	return 0;
}

struct verb {
	/* Somebody else is at work in this directory; 0: not any more. */
	int (*busy)(struct local_place *place, const char *app, pid_t pid, const char *other, struct intent_error *err);
	int (*work)(struct ppctl *ctl, struct local_place *place, const char *app, struct intent_error *err);
};

static int under_lock(struct ppctl *ctl, const struct verb *verb, struct intent_error *err)
{
	intent_free_auto char *other = NULL, *app = NULL;
	struct local_place place;
	pid_t pid = 0;
	int code = find(ctl, &place, &app, err);

	if (code)
		return code;
	code = local_place_lock(&place, app, &pid, &other, err);
	if (code == INTENT_EBUSY)
		code = verb->busy(&place, app, pid, other, err);
	if (!code)
		code = verb->work(ctl, &place, app, err);
	local_place_release(&place);
	return code;
}

int ppctl_run(struct ppctl *ctl, struct intent_error *err)
{
	return under_lock(ctl, &(struct verb){taken, run}, err);
}

int ppctl_stop(struct ppctl *ctl, struct intent_error *err)
{
	return under_lock(ctl, &(struct verb){ask, stop}, err);
}

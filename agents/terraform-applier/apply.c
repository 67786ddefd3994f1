/* One apply: under the stack's lock (and a world's), of a plan made under it, begun only when that is durable. */
#include <sys/wait.h>
#include <intent/digest.h>
#include <intent/file.h>
#include "applier.h"

/* ---- how it went ---- */

/* What Terraform could not write anywhere else must outlive the checkout. */
static int save_errored(const struct applier *applier, bool *ret_errored, struct intent_error *err)
{
	intent_free_auto char *from = intent_format("%s/errored.tfstate", applier->root);
	intent_free_auto char *to = intent_format("%s/errored.tfstate", applier->home);

	*ret_errored = false;
	if (access(from, F_OK) < 0)
		return 0;
	*ret_errored = true;
	if (chmod(from, 0600) < 0 || rename(from, to) < 0)
		return intent_fail_errno(err, "%s: Terraform left the state there; it cannot be moved to %s", from, to);
	return intent_directory_sync(applier->home, err);
}

/* Applied, but only an empty plan shows that all is as intended. */
static int record_applied(const struct applier *applier, const json_t *approval, struct intent_error *err)
{
	intent_json_auto json_t *before = applier__read(applier, "applied");
	intent_json_auto json_t *state = json_incref(json_object_get(applier->stack, "state"));
	json_t *spent = approval ? (json_t *)(uintptr_t)approval : json_object_get(before, "spent");
	int64_t managed = intent_json_integer(before, "managed", 0);
	intent_json_auto json_t *now = json_pack("{ss sb sI sO* sO*}", "inputs", applier->inputs, "clean", 0,
						 "managed", (json_int_t)(managed ? managed : 1), "state", state,
						 "spent", spent);

	return applier__write(applier, "applied", now, err);
}

static int judge(struct applier *applier, const struct applier_terraform *run, const json_t *approval, int code,
		 struct intent_error *err)
{
	struct intent_error aside;
	bool errored = false;

	if (save_errored(applier, &errored, &aside) < 0 || errored)
		return intent_fail(err, INTENT_EOUTCOME, "terraform apply: %s; the state could not be written and was "
				   "left in %s/errored.tfstate", *run->fault ? run->fault : "failed", applier->home);
	if (WIFSIGNALED(run->status))
		return intent_fail(err, INTENT_EOUTCOME, "terraform apply was killed by signal %d: what it made is not known",
				   WTERMSIG(run->status));
	/* It came to its own end and wrote its state: whatever is left to do, the next plan says so. */
	if (!run->status && record_applied(applier, approval, err) < 0)
		return err->code;
	if (applier__remove(applier, "pending", &aside) < 0) {
		*err = aside;
		return err->code;
	}
	if (code)
		return applier->locks && intent_held_lost(applier->locks) ?
			intent_fail(err, INTENT_EUNAVAILABLE, "the lock could not be kept: Terraform was interrupted, and "
				    "planning begins anew") :
			intent_fail(err, INTENT_ESTALE, "Terraform was interrupted; planning begins anew");
	if (run->status)
		return intent_fail(err, INTENT_ECHILD, "terraform apply: %s; planning begins anew",
				   *run->fault ? run->fault : "failed without a word");
	return 0;
}

/* ---- doing it ---- */

static int note_pending(const struct applier *applier, const char *id, const json_t *approval, struct intent_error *err)
{
	char now[32];
	intent_json_auto json_t *pending = NULL;

	intent_time_format(intent_time_now(), now);
	pending = json_pack("{ss ss ss sO*}", "plan", id, "since", now, "commit", applier->commit, "approval", approval);
	/* What was planned is true no longer, however this ends. */
	if (applier__write(applier, "pending", pending, err) < 0 || applier__remove(applier, "plan", err) < 0)
		return err->code;
	return 0;
}

static int run_apply(struct applier *applier, int plan_fd, const json_t *args, struct intent_error *err)
{
	const json_t *approval = json_object_get(args, "approval");
	char timeout[48];
	const char *arguments[] = {"apply", "-input=false", "-json", timeout, APPLIER_PLAN_FILE, NULL};
	struct applier_terraform run = {.applier = applier, .arguments = arguments, .plan_fd = plan_fd};
	int code;

	snprintf(timeout, sizeof(timeout), "-lock-timeout=%llds",
		 (long long)intent_json_integer(applier->options, "lock-timeout", 10000) / 1000);
	/* The last look: from here on there is no way back. */
	if (applier__cancel(applier))
		return intent_fail(err, INTENT_ESTALE, "stopped before anything was applied");
	if (intent_held_verify(applier->locks, err) < 0 ||
	    note_pending(applier, intent_json_string(args, "plan", ""), approval, err) < 0)
		return err->code;
	applier__begin(applier, "apply");
	code = applier__run(&run, err);
	if (!code || code == INTENT_ESTALE || code == INTENT_ETIMEOUT) {
		code = judge(applier, &run, approval, code, err);
	} else if (code == INTENT_EABSENT) { /* it never began; of any other trouble that is not sure */
		struct intent_error ignored;

		applier__remove(applier, "pending", &ignored);
	}
	applier__run_release(&run);
	return code;
}

/* Planned again, under the lock: only the very effect that was decided on is applied. */
static int plan_and_apply(struct applier *applier, const json_t *args, struct intent_error *err)
{
	const char *wanted = intent_json_string(args, "plan", "");
	intent_json_auto json_t *summary = NULL, *lock = NULL;
	intent_close_auto int plan_fd = -1;

	if (applier__plan(applier, &plan_fd, &summary, &lock, err) < 0)
		return err->code;
	if (lock)
		return intent_fail(err, INTENT_EBUSY, "%s", intent_json_string(lock, "words", ""));
	if (strcmp(intent_json_string(summary, "id", ""), wanted)) {
		intent_free_auto char *counts = applier__counts(summary);
		struct intent_error ignored;

		applier__remove(applier, "plan", &ignored);
		return intent_fail(err, INTENT_ESTALE, "plan %s is no longer what would happen, and nothing was applied; now it is "
				   "%s: %s", wanted, intent_json_string(summary, "id", ""), counts ? counts : "");
	}
	return run_apply(applier, plan_fd, args, err);
}

int applier__apply(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	struct applier applier;
	int code;

	if (applier__open(&applier, round, err) < 0)
		return err->code;
	code = applier__locks_take(&applier, err);
	if (!code)
		code = applier__resolve(&applier, err);
	if (!code)
		code = applier__module(&applier, err);
	if (!code)
		code = plan_and_apply(&applier, json_object_get(action, "args"), err);
	applier.locks = intent_held_release(applier.locks);
	applier__close(&applier);
	return code;
}

int applier__settle(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	struct applier applier;
	int code;

	(void)action;
	if (applier__open(&applier, round, err) < 0)
		return err->code;
	code = applier__remove(&applier, "pending", err);
	applier__close(&applier);
	return code;
}

int applier__forget(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	struct applier applier;
	int code;

	(void)action;
	if (applier__open(&applier, round, err) < 0)
		return err->code;
	code = intent_tree_retire(applier.home, err);
	applier__close(&applier);
	return code;
}

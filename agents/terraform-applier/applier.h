/*
 * pp-terraform-applier: between its own files.
 *
 *	plan.c       what to do about a Terraform plan: pure
 *	summary.c    Terraform's plan as JSON -> what the status and the planner need of it: pure
 *	slicer.c     stacks as slices: pure
 *	agent.c      options, observing
 *	view.c       what every part of a round needs
 *	module.c     the module checked out, with its backend and variables, initialised
 *	terraform.c  running the binary; what it says
 *	apply.c      locks, and one apply
 *	secrets.c    what a plan marks as sensitive, taken out of what is shown: pure
 *	statelock.c  whose Terraform's own lock is
 *	locks.c      which of the store's locks
 *	record.c     what the state directory remembers of a stack
 *
 * Observed:
 *	{"commit": "4b825d...",
 *	 "plan": {"id": "0f3a...", "changes": 3, "add": 1, "change": 0, "destroy": 1, "replace": 1, "forget": 0,
 *	          "outputs": 2, "managed": 7,            resources in the state before
 *	          "addresses": {"add": [...], ...},
 *	          "drift": [addresses that changed from outside]},
 *	 "settled": true,        these inputs were applied (or needed nothing), and a plan after that was empty
 *	 "unsettled": true,      they were applied, and the plan after that was not
 *	 "had": 7,               resources in the state when last applied
 *	 "moved": true,          the state was somewhere else when last applied
 *	 "pending": {"plan", "since", "approval"?},      an apply that was begun, and its end was not seen
 *	 "errored": "PATH",      a state that Terraform could not write
 *	 "spent": {approval},    the last approval that was used up
 *	 "lock": {"key", "holder", "since"},             the store's lock of this stack or world, held by others
 *	 "state_lock": {"words"}}                        Terraform's own, held by others
 *
 * without what is not so; "plan" is missing while a lock is in the way.
 */
#ifndef APPLIER_H
#define APPLIER_H

#include <intent/agent.h>
#include <intent/held.h>
#include <intent/source.h>

#define APPLIER_ADDRESSES_MAX 100 /* of each kind in the status */
#define APPLIER_PLAN_FILE "/proc/self/fd/0"  /* what Terraform is told a plan's name is */

int terraform_applier_plan(const json_t *intent, const json_t *observed, struct intent_plan *plan,
			   struct intent_error *err);

/* "1 to add, 0 to change, 2 to destroy": new. */
char *applier__counts(const json_t *summary) intent_owned(free);

/* ---- summary.c ---- */

/* `plan`: as "terraform show -json" gives it. New. */
json_t *applier__summary(const json_t *plan, const char *stack, const char *commit);

/* ---- secrets.c ---- */

/* Every string that the plan marks as sensitive, as {secret: true}. New. */
json_t *applier__secrets(const json_t *plan);
/* The text with "(sensitive value)" in their place. */
char *applier__redact(const json_t *secrets, const char *text) intent_owned(free); /* NULL: over 64 MiB */

extern const struct intent_slicer applier__slicer;

/* ---- view.c: one round's view of a stack ---- */

struct applier {
	struct intent_round *round;
	const json_t *intent, *options, *stack;  /* borrowed */
	const char *world, *name;                /* borrowed */
	char *home;                              /* <state-dir>/stacks/<world>/<name>, owned */
	char *root;                              /* the module in the checkout; owned, NULL until applier__module() */
	char commit[INTENT_COMMIT_MAX];
	char version[32];                        /* of the binary */
	bool destroy;                            /* ensure: absent */
	char inputs[65];                         /* digest of all that a plan depends on but the world itself */
	int64_t began, told;                     /* monotonic: of what runs now; when the status last heard of it */
	const char *phase;                       /* "plan", "apply": static */
	json_t *progress;                        /* owned: the resource under way */
	json_t *secrets;                         /* owned: of the last plan; NULL: none was made */
	struct intent_held *locks;               /* held meanwhile; NULL: none */
};

int applier__open(struct applier *applier, struct intent_round *round, struct intent_error *err);
void applier__close(struct applier *applier);
const char *applier__option(const struct applier *applier, const char *name, const char *otherwise);
/* Something runs: its name, for the status, which stays quiet for its first ten seconds. */
void applier__begin(struct applier *applier, const char *phase);
/* Asked while a child runs: is it to end, because the agent is, or because its locks can no longer be kept? */
bool applier__cancel(struct applier *applier);

/* ---- record.c: <home>/ ---- */

/* "plan": {"inputs", "at", "summary"}; "applied": {"inputs", "state", "clean", "spent"?}; "pending". New or NULL. */
json_t *applier__read(const struct applier *applier, const char *name);
/* Durable, mode 0600. */
int applier__write(const struct applier *applier, const char *name, const json_t *json, struct intent_error *err);
int applier__remove(const struct applier *applier, const char *name, struct intent_error *err);
/* <home>/errored.tfstate, if it is there: owned. */
char *applier__errored(const struct applier *applier);

/* ---- module.c ---- */

/* Source, commit, inputs: asks the source's server, makes no checkout. */
int applier__resolve(struct applier *applier, struct intent_error *err);
/* The checkout of that commit, ready to be planned. */
int applier__module(struct applier *applier, struct intent_error *err);

/* ---- terraform.c ---- */

struct applier_terraform {
	struct applier *applier;
	const char *const *arguments;   /* after the binary; NULL-terminated */
	int plan_fd;                    /* its standard input, APPLIER_PLAN_FILE to it; -1: none */
	int64_t deadline_ms;            /* 0: none; then one SIGINT */
	size_t output_max;              /* of *ret_output; 0: little */
	/* --- out --- */
	int status;                     /* as waitpid(2) gives it */
	char *output;                   /* owned, NULL unless output_max */
	json_t *state_lock;             /* owned: {"words"} when somebody holds Terraform's lock */
	int done;                       /* resources finished */
	char fault[400];                /* its first error; "": none */
};

/*
 * 0 whenever it ran to an end of its own, whatever its status; INTENT_EABSENT without the binary; INTENT_ESTALE or
 * INTENT_ETIMEOUT when it was asked to end, by one SIGINT, after which it was waited for (it is never killed).
 */
int applier__run(struct applier_terraform *run, struct intent_error *err);
void applier__run_release(struct applier_terraform *run);
/* INTENT_EUSAGE: older than 1.5; fills applier->version. */
int applier__version(struct applier *applier, struct intent_error *err);

/*
 * Plan into memory that is no file: *ret_fd (close it) is what apply takes, and what a kill leaves nothing
 * of. *ret_new is the summary; or NULL, 0 and *ret_lock (new) when Terraform's lock is in the way.
 */
int applier__plan(struct applier *applier, int *ret_fd, json_t **ret_new, json_t **ret_lock,
		  struct intent_error *err);
/* The plan as people know it, without sensitive values, for ppctl: <home>/plan.txt. */
int applier__keep_text(struct applier *applier, int plan_fd, struct intent_error *err);

/* ---- locks.c ---- */

/* applier->locks; INTENT_EBUSY names the holder, and nothing is held then. */
int applier__locks_take(struct applier *applier, struct intent_error *err);
/* {"key", "holder", "since"} of a lock that somebody holds, or NULL. New. */
int applier__look_at_locks(struct applier *applier, json_t **ret_new, struct intent_error *err);

/* ---- apply.c ---- */

int applier__apply(struct intent_round *round, const json_t *action, struct intent_error *err);
int applier__settle(struct intent_round *round, const json_t *action, struct intent_error *err);
int applier__forget(struct intent_round *round, const json_t *action, struct intent_error *err);

#endif

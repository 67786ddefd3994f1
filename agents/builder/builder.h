/*
 * pp-builder: between its own files.
 *
 *	slicer.c     applications and refs -> what is wanted of each: pure
 *	plan.c       what to build, what to wait for: pure
 *	plan-prune.c what was built once and may go: pure
 *	agent.c      options, observing
 *	view.c       what every part of a round needs
 *	source.c     a ref as a revision, its tree, a checkout
 *	build.c      one build: lock, checkout, artifact, fact
 *	queue.c      who builds next
 *	run.c        a program of a build: its environment, its end
 *	log.c        what it says
 *	image.c      images, by the engine's own client
 *	tarball.c    archives, and the repository they go to
 *	record.c     what the state directory remembers
 *	prune.c      who needs what was built once, and removing it
 *
 * Intent: {"app", "node", "repo", "path", "quiet_ms"?, "concurrency",
 *	"wanted": [{"target": "image@main", "ref": "main", "recipe": "image", "build": {"image": {...}},
 *	            "commit"?: where a fact says so}, ...]}, or {"app", "node", "absent": true}.
 *
 * Observed: {"targets": {"image@main": {
 *	"revision", "input",
 *	"artifact": true,       what the input makes is there
 *	"published": true,      and the fact says so
 *	"rest_ms": 1200,        it changed a moment ago
 *	"holder": "builder@n2 since ...", somebody else builds it
 *	"failed": "words",      this very input could not be built, and it is not time to try again
 *	"trouble": {"code", "message"}}},  without what is not so;
 *	"builds": {"<revision>/<recipe>": {"input", "at",   this node's facts, where there are more than are kept
 *		"wanted": true,         by a target of now
 *		"named": key}}}         of a document that names it
 */
#ifndef BUILDER_H
#define BUILDER_H

#include <intent/agent.h>
#include <intent/held.h>
#include <intent/source.h>

#define BUILDER_WANTED_MAX 100   /* targets of one application */
#define BUILDER_SHORT 20         /* digits of an input in names of files and tags */

extern const struct intent_slicer builder__slicer;

int builder_plan(const json_t *intent, const json_t *observed, struct intent_plan *plan, struct intent_error *err);
void builder__plan_prune(const json_t *intent, const json_t *observed, struct intent_plan *plan);

/* ---- view.c ---- */

struct builder_log;

struct builder {
	struct intent_round *round;
	const json_t *intent, *options;  /* borrowed */
	const char *app, *node;          /* borrowed */
	char *home;                      /* <state-dir>/apps/<app>, owned */
	char *repository;                /* <home>/git, owned */
	json_t *record, *used;           /* record.c; owned */
	json_t *resolved;                /* ref: commit, asked in this round; owned */
	struct intent_held *held;        /* while something is built; NULL: nothing is */
	struct builder_log *log;         /* of the program that runs; borrowed */
	const char *phase;               /* for the status: static */
	const char *target;              /* what is being built; borrowed */
	int64_t began, told;
};

/* One target: where it stands. */
struct builder_target {
	const json_t *wanted;            /* borrowed */
	const char *name, *recipe, *ref; /* borrowed */
	const json_t *image, *tarball;   /* the recipe: one of them; borrowed */
	char revision[INTENT_COMMIT_MAX], tree[INTENT_COMMIT_MAX];
	char input[65];
};

int builder__open(struct builder *builder, struct intent_round *round, struct intent_error *err);
void builder__close(struct builder *builder);
const char *builder__option(const struct builder *builder, const char *name, const char *otherwise);
/* Asked while something runs: is it to end? Keeps lock and status alive. */
bool builder__cancel(struct builder *builder);
/* The same for intent_git, intent_child and packing. */
bool builder__cancelled(void *data);

/* ---- source.c ---- */

/* The target of this name in intent, without revision. INTENT_ESTALE: it is wanted no more. */
int builder__target(const struct builder *builder, const char *name, struct builder_target *ret,
		    struct intent_error *err);
/* Where its ref is now: target->revision. */
int builder__resolve(struct builder *builder, struct builder_target *target, struct intent_error *err);
/* target->tree and ->input, once there is a revision. */
int builder__identify(struct builder *builder, struct builder_target *target, struct intent_error *err);
/* Its content in a directory of ours, which is removed first: owned. */
int builder__checkout(struct builder *builder, const struct builder_target *target, char **ret_owned,
		      struct intent_error *err);
/* Wake when something in a directory changes. */
void builder__watch(struct builder *builder);

/* ---- record.c ---- */

void builder__read_record(struct builder *builder);
/*
 * <home>/record.json: {"refs": {ref: {"commit", "since"}}, "trees": {"commit path": tree},
 * "sums": {file: {"size", "mtime", "inode", "sha256"}}}; what a round does not use is forgotten at its end.
 */
const json_t *builder__recall(const struct builder *builder, const char *kind, const char *name);
void builder__remember(struct builder *builder, const char *kind, const char *name, json_t *stolen);
int builder__keep_record(struct builder *builder, struct intent_error *err);

/* Of an input that could not be built: {"at" (Unix ms), "words", "log", "tail"}. New, or NULL. */
json_t *builder__failure(const struct builder *builder, const struct builder_target *target);
int builder__note_failure(const struct builder *builder, const struct builder_target *target, const json_t *failure,
			  struct intent_error *err);
void builder__forget_failure(const struct builder *builder, const struct builder_target *target);
/* Failures of inputs that are not in {input: anything}. */
void builder__sweep_failures(const struct builder *builder, const json_t *inputs);

/* ---- image.c, tarball.c ---- */

/* What is published of an artifact that is there: {"image", "id"} or {"url", "sha256"}; *ret_new NULL, 0: it is not. */
int builder__look_for_image(struct builder *builder, const struct builder_target *target, json_t **ret_new,
			    struct intent_error *err);
int builder__look_for_tarball(struct builder *builder, const struct builder_target *target, json_t **ret_new,
			      struct intent_error *err);
/* Its tag in this engine, if a builder of this store made it; one in use stays. INTENT_EWAITING: no engine answers. */
int builder__remove_image(struct builder *builder, const json_t *fact, struct intent_error *err);
int builder__make_image(struct builder *builder, const struct builder_target *target, const char *directory,
			struct builder_log *log, struct intent_error *err);
int builder__make_tarball(struct builder *builder, const struct builder_target *target, const char *directory,
			  struct builder_log *log, struct intent_error *err);

/* ---- queue.c ---- */

/* A place among those who build at once: zeroed, none. */
struct builder_turn { char *ticket; int fd; };

/*
 * Wait, first come, first served, until fewer than `places` of those before us in <directory>/queue are left.
 * INTENT_ESTALE: stopped, or other intent has come meanwhile.
 */
int builder__take_turn(struct builder *builder, const char *directory, int64_t places, struct builder_turn *ret,
		       struct intent_error *err);
void builder__end_turn(struct builder_turn *turn);

/* ---- build.c ---- */

int builder__build(struct intent_round *round, const json_t *action, struct intent_error *err);
int builder__publish(struct intent_round *round, const json_t *action, struct intent_error *err);
int builder__forget(struct intent_round *round, const json_t *action, struct intent_error *err);
/* By whichever kind it is. */
int builder__look(struct builder *builder, const struct builder_target *target, json_t **ret_new,
		  struct intent_error *err);
/* The fact, as it stands in the store: new, or NULL. */
int builder__fact(struct builder *builder, const struct builder_target *target, json_t **ret_new,
		  struct intent_error *err);
/* Does it say this of the artifact? */
bool builder__says(const json_t *fact, const struct builder_target *target, const json_t *artifact);
/* "locks/build/<input>": owned. */
char *builder__lock_key(const struct builder_target *target) intent_owned(free);

/* ---- prune.c ---- */

/* Into observed. Nothing where it is not known what all targets are. */
int builder__look_at_builds(struct builder *builder, const json_t *targets, json_t *observed, struct intent_error *err);
int builder__prune(struct intent_round *round, const json_t *action, struct intent_error *err);

/* ---- log.c ---- */

struct builder_log *builder__log_open(struct builder *builder, const struct builder_target *target,
				      struct intent_error *err);
const char *builder__log_path(const struct builder_log *log);
/* Its last lines, bounded. Owned. */
char *builder__log_tail(const struct builder_log *log) intent_owned(free);
/* Its last line that says something. Borrowed. */
const char *builder__log_last(const struct builder_log *log);
void builder__log_line(struct builder_log *log, const char *line);
void builder__log_printf(struct builder_log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct builder_log *builder__log_close(struct builder_log *log);

/* ---- run.c ---- */

/*
 * To its end, all that it says into the log. INTENT_ECHILD with its last line; INTENT_ESTALE: stopped;
 * INTENT_ETIMEOUT. `engine`: it also gets the variables of the engine's client.
 */
int builder__run(struct builder *builder, struct builder_log *log, const char *const *argv, const char *directory,
		 bool engine, struct intent_error *err);
/* A short question to the engine's client: its standard output, owned. INTENT_EWAITING without engine or client. */
int builder__ask_engine(struct builder *builder, const char *const *argv, char **ret_owned, struct intent_error *err);

#endif

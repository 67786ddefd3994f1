/*
 * `run' and `stop': an application on the machine of who writes it. Between their files.
 *
 * A workspace is the directory in which the person stands; everything of ours about it is in one directory:
 *
 *	$XDG_STATE_HOME/platypus/local/<name>-<digest of its path>/
 *		lock            held by the `run' or `stop' at work: {"pid", "app"}
 *		store/          the store
 *		apps/<app>.json what `run' was told to run: the model below
 *		agents/<agent>/ their state directories; logs/<agent>.log what they say
 *		service/        links to the services' directories in stage/
 *		srv/<service>/  basedir of a service
 *		artifacts/      archives that were built here
 *
 * Services outlive us: a runsv each and the container engine hold them. Agents do not: they get SIGTERM when we
 * die, and are started anew, since a service is not touched by that.
 */
#ifndef PPCTL_LOCAL_H
#define PPCTL_LOCAL_H

#include "../ppctl.h"

#define LOCAL_WORLD "local"

/* ---- place.c ---- */

struct local_place {
	char *workspace;   /* owned: the working directory of the system definition, without links */
	char *state;       /* owned: the directory above */
	char *url;         /* owned: of the store */
	char node[160];    /* this machine as a node of that store */
	int lock;          /* -1: not held */
};
/* From the current directory; makes nothing. */
int local_place_find(struct ppctl *ctl, struct local_place *ret, struct intent_error *err);
void local_place_release(struct local_place *place);
/* Make what is missing, and the store, and let ctl use that store. */
int local_place_make(const struct local_place *place, struct ppctl *ctl, struct intent_error *err);
/* INTENT_EBUSY: somebody is at work: *ret_pid, and what on (`app`, NULL: not known; owned). */
int local_place_lock(struct local_place *place, const char *app, pid_t *ret_pid, char **ret_app,
		     struct intent_error *err);
/* INTENT_EBUSY: what runs in another directory now has a container that the model would have too. */
int local_place_check_others(const struct local_place *place, const json_t *model, struct intent_error *err);
/* "<state>/<rest>"; owned. */
char *local_path(const struct local_place *place, const char *format, ...)
	__attribute__((format(printf, 2, 3))) intent_owned(free);

/*
 * The model: what is run and in which order.
 *
 *	{"app": "wickedcool",
 *	 "documents": {key: document},                        of services that can run here
 *	 "services": [{"name": "wickedcool-api",
 *	               "needs": ["wickedcool-postgresql"],  must be healthy first
 *	               "target": "runit" | "docker",
 *	               "recipe": "image" | "tarball",       it is built; absent: documents name its version
 *	               "lacks": "...",                      why it cannot run here, and the way out; absent: it can
 *	               "volumes": ["wickedcool-postgresql"]}]}
 */
int local_model_read(const struct local_place *place, const char *app, json_t **ret_new, struct intent_error *err);
int local_model_write(const struct local_place *place, const json_t *model, struct intent_error *err);
/* The service's row; borrowed. NULL: there is none. */
json_t *local_model_service(const json_t *model, const char *name);

/* ---- model.c ---- */

/*
 * The application of the workspace's system definition, compiled for here. New; PPCTL_REFUSED: its faults have been
 * said.
 */
int local_model_compile(struct ppctl *ctl, const struct local_place *place, const char *app, json_t **ret_new,
			struct intent_error *err);
/* Does a service that can run here have this target? */
bool local_model_uses(const json_t *model, const char *target);

/* ---- course.c ---- */

/*
 * What stands in the store, against the model: a row a service, in its order.
 *
 *	{"name", "state", "why": "...", "address", "version",
 *	 "wants": {"version", "artifact": {...} or absent},   to be activated now; absent: nothing
 *	 "waits": [names of services that it waits for],
 *	 "broken": true,                                     somebody has to do something; healthy too: what was edited
 *	 "last": [lines of the build that failed],           absent: its log says more
 *	 "progress": "12s: what its build says now"}         "" when that is not known; absent: none is under way
 *
 * state: missing, waiting, building, starting, healthy, replacing, unhealthy, failed.
 */
json_t *local_course(const json_t *model, const struct intent_snapshot *snapshot, const char *node);
/* Make config run this version, keep those before it ready, forget the oldest. */
void local_config_activate(json_t *config, const char *version, const json_t *artifact);
/* A document as the compiler wrote it, with what runs from what stands in the store (NULL: nothing). New. */
json_t *local_config_merge(const json_t *written, const json_t *standing);
enum ppctl_style local_style(const char *state);

/* ---- supervise.c ---- */

/* A child of ours on the loop: it gets SIGTERM when we die. Started anew when it ends, unless told otherwise. */
struct local_children;
struct local_child_options {
	const char *name;             /* "setlive" */
	const char *const *argv;      /* argv[0] is a path */
	const char *log;              /* what it says is appended there; NULL: to `on_line` */
	void (*on_line)(const char *line, void *data);
	void (*on_end)(const char *name, int status, void *data); /* may be NULL */
	bool once;                    /* not started anew */
	bool aside;                   /* no agent: lives as long as we, is not counted */
	void *data;
};
/* The loop is borrowed until free. say: a sentence for the person (may be NULL). */
struct local_children *local_children_new(uv_loop_t *loop, void (*say)(const char *words, void *data),
					  void *data);
int local_children_start(struct local_children *children, const struct local_child_options *options,
			 struct intent_error *err);
/* A signal to all agents; none is started anew. */
void local_children_end(struct local_children *children, int signal_number);
/* How many agents run. */
size_t local_children_count(const struct local_children *children);
/* Ends what is left, in three seconds at most. Takes NULL. Handles of the loop are closed; run it once more before it is closed. */
void local_children_free(struct local_children *children);

/* ---- agents of a place (agents.c) ---- */

/* All there are; ends with NULL. */
extern const char *const local_agent_names[];
/* Start those that the documents need, or, once, only those that take away what is to go. */
int local_agents_start(const struct local_place *place, const json_t *documents, bool once,
		       struct local_children *children, const struct local_child_options *how,
		       struct intent_error *err);
/* The directory beside ppctl, then PATH. Owned; INTENT_EABSENT. */
int local_program(const char *name, char **ret_owned, struct intent_error *err);

/* ---- engine.c ---- */

/* Is there a container engine, and a client for it? The sentence says what to do. */
int local_engine_find(struct intent_error *err);
/* docker or podman; owned. INTENT_EABSENT. */
int local_engine_client(char **ret_owned, struct intent_error *err);

/* ---- runsv.c ---- */

/* A runsv for each service that is linked and has none; tried: {name: when} of the caller. */
int local_runsv_start(const struct local_place *place, json_t *tried, struct intent_error *err);
/* How many services are held; "wickedcool-api (process 123)" for each, appended (text may be NULL). */
size_t local_runsv_held(const struct local_place *place, struct intent_text *text);

/* ---- logs.c ---- */

struct local_logs;
struct local_logs *local_logs_new(void (*on_line)(const char *service, const char *line, void *data), void *data);
/* Follow svlogd's logs of a service, in the directory of its logs, or one file; once for each. */
void local_logs_follow(struct local_logs *logs, const char *service, const char *path, bool is_file);
/* Read what is new now. What stood there before the first time is kept and not told. */
void local_logs_poll(struct local_logs *logs);
/* A line from elsewhere. */
void local_logs_add(struct local_logs *logs, const char *service, const char *line);
/* The last lines of a service, oldest first: array of strings; borrowed. NULL: none. */
const json_t *local_logs_last(const struct local_logs *logs, const char *service);
void local_logs_free(struct local_logs *logs);

/* ---- containers.c ---- */

/* Lines of the containers of a place into logs. All are borrowed until free. */
struct local_containers;
struct local_containers *local_containers_new(struct local_children *children, struct local_logs *logs,
					      const struct local_place *place);
/* Are there others than at the last look? */
void local_containers_look(struct local_containers *containers, const struct intent_snapshot *snapshot);
/* After local_children_free(). Takes NULL. */
void local_containers_free(struct local_containers *containers);

/* Remove the volumes that the model names and that were made for this place; their names are appended. */
int local_volumes_remove(const struct local_place *place, const json_t *model, struct intent_text *ret,
			 struct intent_error *err);

/* ---- live.c ---- */

struct local_live;
/* names: array of the services, for widths and colours; borrowed. */
struct local_live *local_live_new(const json_t *names);
/* A line of a service's log, or of ours: service NULL. */
void local_live_line(struct local_live *live, const char *service, const char *line);
/* The rows as local_course() makes them (stolen); the last lines of what failed come from logs (borrowed). */
void local_live_rows(struct local_live *live, json_t *rows, const struct local_logs *logs);
/* What is below the table. */
void local_live_foot(struct local_live *live, const char *words);
/* Lines and table, as they are now, to the screen; nothing while others have the terminal. */
void local_live_draw(struct local_live *live);
/* Others wrote to the screen while we were stopped: the table is drawn below that. */
void local_live_resume(struct local_live *live);
void local_live_free(struct local_live *live);

/* ---- intent.c ---- */

/* All documents of a model; what runs goes on running. */
int local_intent_write(struct ppctl *ctl, const struct local_place *place, const json_t *model,
		       struct intent_error *err);
/* What a row wants. */
int local_intent_activate(struct ppctl *ctl, const char *service, const json_t *wants, struct intent_error *err);
/* The service is not meant to be here any more; agents see to it. */
int local_intent_retire(struct ppctl *ctl, const struct local_place *place, const char *service,
			struct intent_error *err);
/* What a model before this one had written, and this one does not. */
int local_intent_replace(struct ppctl *ctl, const struct local_place *place, const json_t *before, const json_t *now,
			 struct intent_error *err);
/* What is left of the model's documents, when agents have seen to it. */
int local_intent_remove(struct ppctl *ctl, const struct local_place *place, const json_t *model,
			struct intent_error *err);

/* ---- session.c: a loop with everything on it ---- */

enum local_phase {
	LOCAL_RUNNING,
	LOCAL_ENDING,   /* agents were told to end */
	LOCAL_RETIRING, /* agents take away what intent does not name any more, services that need others first */
	LOCAL_OVER,
};

struct local_session {
	struct ppctl *ctl;
	struct local_place place;
	json_t *model, *names;              /* owned */
	uv_loop_t loop;
	uv_signal_t signals[4];
	uv_timer_t timer;
	struct intent_store *watched;
	struct intent_watch *watch;
	struct intent_snapshot *snapshot;   /* the last one seen */
	struct local_children *children;
	struct local_logs *logs;
	struct local_containers *containers; /* NULL: there are none */
	struct local_live *live;
	enum local_phase phase;
	int64_t deadline;                   /* of ENDING and RETIRING */
	int64_t looked;                     /* when, for what only time changes */
	json_t *tried;                      /* services for which a runsv was started: owned */
	json_t *remaining;                  /* RETIRING: {service: still to go} */
	int unfinished, refused, crashed;   /* agents of this turn that were not done */
	char failed[64], words[512];        /* one of them, and why */
	int status;                         /* of ppctl */
};

/* place and model are stolen, also on failure. */
int local_session_open(struct local_session *session, struct ppctl *ctl, struct local_place *place, json_t *model,
		       struct intent_error *err);
/* Until it is over. */
void local_session_run(struct local_session *session);
void local_session_close(struct local_session *session);

/* ---- look.c ---- */

/* Do what is due, show how things are. */
void local_look(struct local_session *session);
void local_say(struct local_session *session, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- retire.c ---- */

/* Begin to stop everything; from RUNNING. */
void local_retire(struct local_session *session);
/* A second Ctrl-C: nothing is waited for. */
void local_abandon(struct local_session *session);
/* Called often; goes on when what it waits for has come. */
void local_retire_on(struct local_session *session);
void local_agent_ended(const char *name, int status, void *session);

#endif

/*
 * The services of an application on this node, and the supervisor that runs them: runit or systemd.
 *
 * An install means one service per program: "<app>" for bin/launch, "<app>-<name>" for each program
 * in a directory bin/launch/. setlive makes, starts and stops them; health-reporter looks at them. Neither
 * knows the other: what both see is the supervisor and the owner record beside each service.
 *
 * One description of a service, two supervisors (a const table of functions each, supervisor.h of world/): a
 * service directory linked where runsvdir looks, or a unit file marked as ours. What is the same for both is
 * here: whose it is, what it was started with, how it ended, its environment, its health.
 *
 *	<stage>/<service>/
 *		.platypus.json   whose it is: {"agent", "app", "basedir", "cluster", "service"}
 *		started.json     what it was last started with; written after the start
 *		exits            the last 20 ends nobody asked for, a line each
 *		since.json       only ends after this count against health
 *		ended            there while it is down by deploy_config.restart
 *		config.yaml, and the supervisor's own files
 *
 *	<stage>/.digest-key      of intent_service_envdir()
 *
 * runit: run, finish, log/run, env/NAME, down, supervise/; <runit>/<service> links to the directory.
 * systemd: finish, environment, version; <systemd-dir>/platypus-<service>.service, and a link to it in
 * multi-user.target.wants/ when it is to be up after a reboot. Its output is in the journal.
 */
#ifndef INTENT_SERVICE_H
#define INTENT_SERVICE_H

#include <sys/types.h>
#include <intent/child.h>
#include <intent/option.h>

#define INTENT_LAUNCH_MAX 64 /* programs in bin/launch/ */
#define INTENT_EXITS_MAX 20  /* ends that are remembered of a service */

struct intent__supervisor; /* world/supervisor.h */

/* Rows of an agent's option table: where services are and what runs them. */
#define INTENT_SITE_OPTIONS \
	{ "supervisor", INTENT_OPTION_WORD, "auto|runit|systemd", "auto", "PP_SUPERVISOR", 0, 0, \
	  "what runs services; auto: systemd where it is the first process and no runsvdir directory exists" }, \
	{ "runit", INTENT_OPTION_PATH, "DIR", NULL, "SVDIR", 0, 0, \
	  "directory that runsvdir watches (default: /var/service, or /etc/service where only that " \
	  "exists)" }, \
	{ "runit-stage", INTENT_OPTION_PATH, "DIR", "/var/service-stage", NULL, 0, 0, \
	  "where service directories are built; on the same machine, not below --runit" }, \
	{ "systemd-dir", INTENT_OPTION_PATH, "DIR", "/etc/systemd/system", NULL, 0, 0, \
	  "where unit files go; a directory that systemd reads" }

/* Where things are and who runs them: from intent and options, looked up once a round. */
struct intent_site {
	const struct intent__supervisor *supervisor; /* static */
	const char *app, *node, *cluster;  /* borrowed from intent; cluster is "" for an absent application */
	const char *basedir;        /* NULL for an absent application */
	const char *log_user;       /* svlogd runs as; NULL: oneself */
	const char *builder;        /* --servicebuilder or NULL */
	const char *builder_config; /* --config */
	char runit[1024], systemd[1024], stage[1024], logs[3300];
	bool root;
	char runas[80];             /* "user:group"; "": oneself */
	uid_t uid, log_uid;
	gid_t gid, log_gid;
	char user[64], home[512];   /* of runas; "": unknown */
	char runas_error[300];      /* why runas will not do; "": it will */
	char supervisor_error[300]; /* why the supervisor will not do: not there, unknown name; "": it will */
};

/*
 * Fills *ret; what it points at is borrowed from intent. A bad user is no error but ret->runas_error.
 *
 * An error, of this and of all that looks, may be INTENT_EABSENT and what else is named; any other says that it cannot
 * be told what is there (intent_error_is_errno()), which is never taken for nothing.
 */
int intent_site_init(const json_t *intent, struct intent_site *ret, struct intent_error *err);
/* "runit" or "systemd"; static. */
const char *intent_site_supervisor(const struct intent_site *site);

/* ---- installs ---- */

/* <basedir>/installs/<app>_<version>; owned. */
char *intent_install_path(const struct intent_site *site, const char *version);
/* What an install means: an array of names, {"error": "..."} when it cannot be run. INTENT_EABSENT. New. */
int intent_install_services(const struct intent_site *site, const char *version, json_t **ret_new,
			    struct intent_error *err);
/* The version that <basedir>/current names, owned; NULL and a sentence in `foreign` when it is not ours. INTENT_EABSENT. */
int intent_install_current(const struct intent_site *site, char **ret_owned, char foreign[512], struct intent_error *err);

/* ---- looking ---- */

struct intent_service_state {
	bool supervised;          /* somebody holds it */
	bool wanted_up;           /* what the supervisor is told, or will do at boot */
	bool running;
	pid_t pid;                /* 0: none */
	int64_t up_ms;            /* how long its process has been up, by the kernel's clock; -1: it is not */
	int exits;                /* ends in the last ten minutes that nobody asked for, of what runs now */
};

/*
 * INTENT_EABSENT: there is no such service of ours.
 *
 * Anybody may look. Who is neither root nor the user of runsv cannot ask runsv itself: `supervised` is then a
 * guess for a service that is down, and for one that runs means that its process is a child of a runsv
 * of that name. Down is down for everybody, and so is how long it has been up.
 */
int intent_service_look(const struct intent_site *site, const char *service,
			struct intent_service_state *ret, struct intent_error *err);
/* Names of services that are marked as this application's. New. */
int intent_service_list(const struct intent_site *site, json_t **ret_new, struct intent_error *err);
/* The names of all applications that have a service marked as ours here. New. */
int intent_service_apps(const struct intent_site *site, json_t **ret_new, struct intent_error *err);
/* The directories of these services in which a killed round may have left temporaries: an array of paths. New. */
json_t *intent_services_places(const struct intent_site *site, const json_t *names);
/* The last ends, newest last: [{"at": RFC 3339, "status": 1} or {"at", "signal": 9}, ...]. New. */
int intent_service_exits(const struct intent_site *site, const char *service, json_t **ret_new,
			 struct intent_error *err);
/* What it writes when its state changes, to be watched; owned, NULL when there is no such thing. */
char *intent_service_watch_path(const struct intent_site *site, const char *service);

/*
 * One look at all services named, as of this version: *ret is empty when they are healthy, else the sentence says which
 * is not, why, how it last ended and the last line of its log. A service that keeps ending must stay up
 * longer each time before it counts (ten seconds more per end in the last ten minutes, a minute at most): one
 * that crash-loops is never healthy. An error is no bad health: it cannot be told.
 */
int intent_services_health(const struct intent_site *site, const json_t *intent, const char *version,
			   const json_t *names, struct intent_text *ret, struct intent_error *err);

/* ---- making (setlive) ---- */

/* The service's object of setlive's observed document; NULL json when there is nothing. New. */
int intent_service_observe(const struct intent_site *site, const json_t *intent, const char *service,
			   json_t **ret_new, struct intent_error *err);
/* Make it so, without starting it; only what differs is touched. Safe to repeat. INTENT_ENOTOURS. */
int intent_service_configure(const struct intent_site *site, const json_t *intent, const char *service,
			     struct intent_error *err);

/* Asked at least once a second while something is waited for; true gives up (INTENT_ESTALE). */
typedef bool (*intent_service_waiting)(void *data);

/* What start and stop share. `names`: array of services. */
struct intent_service_order {
	const struct intent_site *site;
	const json_t *names;
	int64_t timeout_ms;            /* stop: until SIGKILL; start: until a supervisor has taken it */
	intent_service_waiting waiting; /* may be NULL */
	void (*note)(const char *words, void *data); /* something a person should know, a line; may be NULL */
	void *data;
};

/* From SIGTERM to SIGKILL, in ms: deploy_config's stop_timeout, else --stop-timeout. */
int64_t intent_service_stop_timeout(const json_t *intent);
/*
 * Stop all of them, side by side. for_good: they stay down after a reboot. What each was started with is forgotten
 * first, so that whatever happens from here on is owed a start.
 */
int intent_services_stop(const struct intent_service_order *order, bool for_good, struct intent_error *err);
/*
 * Let services that keep ending stay down after the next end, without harming one that stays up: whether they are
 * all down now. A finding of "down" that cannot turn up again behind our back.
 */
int intent_services_settle_down(const struct intent_service_order *order, bool *ret_down, struct intent_error *err);
/* Start all of them and note, durably, what they were started with (`started`: any object). INTENT_EUNSUPERVISED. */
int intent_services_start(const struct intent_service_order *order, const json_t *started, struct intent_error *err);
/*
 * Set members of what a service was started with ("settled", "enabled"), or take them away (null); durable.
 * INTENT_EABSENT: that is not known.
 */
int intent_service_note(const struct intent_site *site, const char *service, const json_t *members,
			struct intent_error *err);
/* Stop it, take it from the supervisor and remove all of it but its logs. */
int intent_service_remove(const struct intent_service_order *order, struct intent_error *err);

/*
 * As intent_child_check(), for what an application brings along: bin/check and hooks. Where a unit of systemd confines us,
 * it runs as a unit of its own, of that systemd, beside us: what we do without is no matter of its.
 */
int intent_service_run(const struct intent_site *site, const char *service,
		       const struct intent_child_options *options, struct intent_error *err);

/*
 * What stands for the content of its envdir: digest "" when deploy_config names none. INTENT_EENVIRONMENT and what else
 * intent_envdir_read() says. With `create`, the key of digests is made in the stage, beside what was started.
 */
int intent_service_envdir(const struct intent_site *site, const json_t *intent, bool create, char ret_digest[33],
			  struct intent_error *err);

/* What `version` of it is started with as NAME=value, and PATH: an array of strings, new. For bin/check and hooks. */
int intent_service_environment(const struct intent_site *site, const json_t *intent, const char *service,
			       const char *version, json_t **ret_new, struct intent_error *err);

#endif

/*
 * One service directory of runit: what it must contain, what stands there, making it so.
 *
 *	<stage>/<service>/
 *		.platypus.json   whose it is: {"agent", "app", "basedir", "service"}
 *		run              becomes bin/launch of what <basedir>/current names
 *		finish           notes how it ended in `exit`
 *		log/run          svlogd into <logs>/<service>
 *		env/NAME         its environment, a file each, for chpst -e
 *		config.yaml      user_config, JSON, which is YAML; CONFIG_PATH names it
 *		started.json     what it was last started with; written after the start
 *		down             runsv does not start it by itself
 *	<runit>/<service> -> <stage>/<service>
 *
 * Nothing in it depends on the version, so that an update writes none of these files.
 */
#ifndef SETLIVE_SERVICE_H
#define SETLIVE_SERVICE_H

#include <intent/file.h>

#define SERVICE_OWNER ".platypus.json"
#define SERVICE_STARTED "started.json"

/* Where things are and who runs them: from intent and options, looked up once a round. */
struct site {
	const char *app, *node, *cluster;  /* borrowed from intent */
	const char *basedir;        /* NULL for an absent application */
	const char *log_user;       /* svlogd runs as; NULL: oneself */
	const char *builder;        /* --servicebuilder or NULL */
	const char *builder_config; /* --config */
	char runit[1024], stage[1024], logs[3300];
	bool root;
	char runas[80];             /* "user:group" for chpst(8); "": oneself */
	uid_t uid, log_uid;
	gid_t gid, log_gid;
	char user[64], home[512];   /* of runas; "": unknown */
	char runas_error[300];      /* why runas will not do; "": it will */
};

/* Fills *ret; what it points at is borrowed from intent. A bad user is no error but
 * ret->runas_error. */
void site_init(const json_t *intent, struct site *ret);

/* The files: {name: text}. New. */
json_t *service_render(const struct site *site, const json_t *intent, const char *service);

/* PATH and everything of env/ as NAME=value: an array of strings, new. For bin/check. */
json_t *service_environment(const struct site *site, const json_t *intent, const char *service);

/* The service's object of the observed document (setlive.h); NULL json when there is nothing. New.
 */
int service_observe(const struct site *site, const json_t *intent, const char *service,
		    json_t **ret_new, struct intent_error *err);

/* Names of services below the stage that are marked as this application's. New. */
int service_list(const struct site *site, json_t **ret_new, struct intent_error *err);

/* Make directory, files and link so; only what differs is touched. Safe to repeat. */
int service_configure(const struct site *site, const json_t *intent, const char *service,
		      struct intent_error *err);

/*
 * Note, durably, that the service now runs with all this ("applied" is recorded after the action,
 * so that an owed restart is never lost). service_observe() gives it back as "started" and
 * "started_ms".
 */
int service_record_start(const struct site *site, const char *service, const json_t *wanted,
			 struct intent_error *err);

/* "<stage>/<service>" or with "/name" behind it; owned. */
char *service_path(const struct site *site, const char *service, const char *name);

#endif

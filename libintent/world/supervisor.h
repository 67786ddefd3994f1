/*
 * What a supervisor must be able to do, and what the files behind service.h share. Not installed.
 *
 *	service-site.c    where things are, from intent and options
 *	service-install.c what an install means
 *	service.c         whose a service is, what it was started with, looking, making
 *	service-files.c   the files of its directory: what differs, making them so
 *	service-order.c   stop, start, remove
 *	service-health.c  is it well?
 *	service-run.c     what an application brings along: bin/check, hooks
 *	runit.c           runsv's own interface
 *	runit-service.c   the table for runit
 *	systemd.c         unit files and what systemctl says
 *	systemd-service.c the table for systemd
 */
#ifndef INTENT_SUPERVISOR_H
#define INTENT_SUPERVISOR_H

#include <intent/file.h>
#include <intent/service.h>

#define INTENT__OWNER ".platypus.json"
#define INTENT__STARTED "started.json"
#define INTENT__ENDED "ended"   /* it ended by itself, and deploy_config.restart lets it be */
#define INTENT__SCRIPT_MARK "#!/bin/sh\n# Made by pp-setlive; changes do not last.\n"

enum intent__command {
	INTENT__UP,
	INTENT__DOWN,
	INTENT__KILL,      /* SIGKILL, when it runs */
	INTENT__SETTLE,    /* down after its next end; what is told to be down is left alone */
	INTENT__LEAVE,     /* the supervisor is to let go of it */
};

/* deploy_config.restart. */
enum intent__restart { INTENT__RESTART_ALWAYS, INTENT__RESTART_ON_FAILURE, INTENT__RESTART_NEVER };

/* One look at a service through its supervisor. */
struct intent__seen {
	bool supervised;   /* somebody holds it */
	bool leaving;      /* who is about to let go of it: another one may follow */
	bool spent;        /* who can start nothing any more, and stays unless told to leave */
	/* What the supervisor is told; unsupervised: what it will do at boot. Still so when it ended by itself and
	 * deploy_config.restart leaves it at that. */
	bool want_up;
	bool stays_down;   /* it is not started at boot */
	bool running;      /* its own program runs */
	/* Nothing of it is left, its finish script included, and so it stays until somebody starts it. */
	bool ended;
	pid_t pid;         /* 0: none */
};

/*
 * Every function is about one service of the site, and safe to repeat. `stale` and `repair` speak of things
 * outside the stage by a name that is no file's ("logs"). Whoever looks says what it saw, or fails: what
 * cannot be read is never taken for something that is not there.
 */
struct intent__supervisor {
	const char *name;
	/* What a new stage directory has besides files: empty files, and directories (a slash behind) open to all. */
	const char *const *initial;
	size_t initial_count;
	int64_t sure_ms;   /* one that is about to let go of what is down may show it so late; 0: at once */
	/* Why it will not do here; left as it is: it will. */
	int (*check)(const struct intent_site *site, char why[300], struct intent_error *err);
	/* The files that only it needs, added to {name: text}. */
	int (*render)(const struct intent_site *site, const json_t *intent, const char *service, json_t *files,
		      struct intent_error *err);
	/* What makes the supervisor see it (link, unit): 0 is ours. INTENT_EABSENT, INTENT_ENOTOURS. */
	int (*linked)(const struct intent_site *site, const char *service, struct intent_error *err);
	/* Names of what is not as intended, besides files. */
	int (*stale)(const struct intent_site *site, const json_t *intent, const char *service, json_t *stale,
		     struct intent_error *err);
	int (*repair)(const struct intent_site *site, const json_t *intent, const char *service,
		      const char *name, struct intent_error *err);
	/* This file or thing was made anew: whoever has read it before is told. */
	void (*replaced)(const struct intent_site *site, const char *service, const char *name);
	/* Let the supervisor see it, and what of it has changed. */
	int (*publish)(const struct intent_site *site, const char *service, struct intent_error *err);
	/* The reverse of publish. */
	int (*withdraw)(const struct intent_site *site, const char *service, struct intent_error *err);
	int (*look)(const struct intent_site *site, const char *service, struct intent__seen *ret,
		    struct intent_error *err);
	/* INTENT_EUNSUPERVISED. INTENT_EBUSY: not now, ask again (SETTLE). What would do harm when repeated is left out. */
	int (*tell)(const struct intent_site *site, const char *service, enum intent__command command,
		    struct intent_error *err);
	int (*set_boot)(const struct intent_site *site, const char *service, bool up, struct intent_error *err);
	/* What to do when no supervisor takes it. */
	void (*advise)(const struct intent_site *site, char advice[512]);
	/* The last whole line that it said, into text; without a time stamp. */
	void (*last_line)(const struct intent_site *site, const char *service, struct intent_text *text);
	char *(*watch_path)(const struct intent_site *site, const char *service);
	/* Directories of its own in which we make things, added to an array. */
	void (*places)(const struct intent_site *site, json_t *places);
};

extern const struct intent__supervisor intent__runit, intent__systemd;

/* "<stage>/<service>" or with "/name" behind it; owned. */
char *intent__service_path(const struct intent_site *site, const char *service, const char *name);

/* One word for sh(1), whatever is in it. */
void intent__sh_quote(struct intent_text *text, const char *word);

/* ---- files ---- */

/* All files of the stage directory: {name: text}. New. */
int intent__service_render(const struct intent_site *site, const json_t *intent, const char *service,
			   json_t **ret_new, struct intent_error *err);
/*
 * NAME -> value: of its envdir, then ours, so that deploy_config has the last word. Without its envdir, where there is
 * none or we may not read it: that is told elsewhere, and nothing is started then. New.
 */
int intent__service_variables(const struct intent_site *site, const json_t *intent, const char *service,
			      json_t **ret_new, struct intent_error *err);
/* deploy_config.limits, a number in the field's own unit; -1: no limit of that name. */
int64_t intent__service_limit(const json_t *intent, const char *name);
enum intent__restart intent__service_restart(const json_t *intent);
/*
 * Names of what is not as rendered; things of the supervisor's included. A file that cannot be read is, too: making
 * it anew mends that. New.
 */
int intent__service_stale(const struct intent_site *site, const json_t *intent, const char *service,
			  const json_t *files, json_t **ret_new, struct intent_error *err);
/* A new directory, whole or not at all, and down. */
int intent__service_create(const struct intent_site *site, const json_t *files, const char *service,
			   struct intent_error *err);
int intent__service_repair(const struct intent_site *site, const json_t *intent, const json_t *files,
			   const char *service, const json_t *stale, struct intent_error *err);

/* ---- started.json ---- */

int intent__service_forget_start(const struct intent_site *site, const char *service,
				 struct intent_error *err);
int intent__service_record_start(const struct intent_site *site, const char *service,
				 const json_t *started, struct intent_error *err);

/* ---- ends ---- */

struct intent__end {
	char at[32];         /* RFC 3339 */
	char boot[40];       /* boot id */
	int64_t uptime_ms;   /* CLOCK_BOOTTIME */
	bool by_signal;
	int number;
};

/* sh(1): appends one line to `exits` in the present directory; wants $word (status, signal) and $number. */
extern const char intent__exits_script[];
/* The last INTENT_EXITS_MAX lines of `exits` that are well formed; how many. Any text will do. */
size_t intent__exits_parse(const char *text, struct intent__end ret[INTENT_EXITS_MAX]);
/* How many of them were in this boot, within ten minutes before now, and after `since` (both CLOCK_BOOTTIME ms). */
int intent__exits_recent(const struct intent__end *ends, size_t count, const char *boot, int64_t since_ms,
			 int64_t now_ms);
/* Those of what runs now. */
int intent__service_exits(const struct intent_site *site, const char *service, int *ret, struct intent_error *err);
/* What comes now is not to answer for what ended before. */
int intent__service_forgive(const struct intent_site *site, const char *service, struct intent_error *err);
/* "" when it cannot be read. */
void intent__boot_id(char out[40]);

/* How long a process has been up, by the kernel's clock that no one sets; -1: gone. */
int64_t intent__process_uptime(pid_t pid);

/*
 * Wait until done(data) says true, asked at growing intervals: the wait is at most a sixteenth
 * longer than it had to be. (Not inotify: closing its descriptor takes the kernel some 30 ms, which
 * is more than a service needs to stop and start.) INTENT_ETIMEOUT (the caller says what for), or
 * INTENT_ESTALE when cancelled(data) (may be NULL) said so.
 */
int intent__wait(int64_t deadline, bool (*done)(void *data), bool (*cancelled)(void *data),
		 void *data, struct intent_error *err);

#endif

/*
 * A system definition: people's files in, intent documents out. Between ppctl's own files.
 *
 *	sysdef.yaml, Pibstack, deployd.yaml, worlds, resource repositories (intent-system(5))
 *	   -> struct system    what they say, in one shape            system/yaml.c, system/files.c
 *	   -> documents        {key: document}, canonical             system/lookup.c, system/compile.c, ...
 *	   -> changes          against what stands in the store       system/merge.c
 *
 * Files in system/ are pure, as planners are: no clock, file, environment or store (the build
 * checks it), so that the same files give the same documents. workspace.c reads files, apply.c
 * writes; compile.c, release.c and orphans.c are commands.
 *
 * A *fault* is a row of an array: {"file", "line", "column", "text"}. All of them are found at once;
 * whoever finds one appends it and goes on.
 */
#ifndef PPCTL_SYSTEM_H
#define PPCTL_SYSTEM_H

#include "ppctl.h"

#define SYSTEM_FILE "sysdef.yaml"
/* In the working directory, written by `load`: {"source": "gh://foocorp/sysdef", "directory": "sysdef"} */
#define SYSTEM_RECORD ".platypus-workspace.json"
#define SYSTEM_FAULTS_MAX 200

/* ---- the working directory (workspace.c) ---- */

/*
 * Repositories stand in it side by side, each named by the last part of its source's URL:
 * gh://foocorp/wickedcool-api and gh:foocorp/wickedcool-api//some/path both in wickedcool-api/. A
 * "dir:" source is used where it is; a relative one begins at the directory of sysdef.yaml.
 */
struct system_workspace {
	char *directory; /* owned; absolute, no slash at its end */
	char *sysdef;    /* owned; absolute: the directory that sysdef.yaml is in */
	char *source;    /* owned; what `load` was given, or NULL */
};

/*
 * Of the current directory: the nearest at or above it with a SYSTEM_RECORD; else the current one, if
 * sysdef.yaml is in it. INTENT_EABSENT says what to do ("ppctl load SOURCE").
 */
int system_workspace_find(struct system_workspace *ret, struct intent_error *err);
/* load: `name` is the directory below `directory` that holds sysdef.yaml; "." for that itself. */
int system_workspace_note(const char *directory, const char *source, const char *name, struct intent_error *err);
void system_workspace_release(struct system_workspace *workspace);

/* ---- sources (system/files.c) ---- */

/* The directory's name of a source's checkout ("wickedcool-api"); new; NULL when it is none or "dir:". */
char *system_checkout_name(const char *source) intent_owned(free);
/* Where a source's repository is on this machine: absolute, without its //PATH. New. */
char *system_checkout(const struct system_workspace *workspace, const char *source) intent_owned(free);

/* ---- what the files say (system/files.c; read by workspace.c) ---- */

/*
 * sysdef:   {"name": of the system,
 *            "applications": {"WickedCool": {"services": [{"source": "gh:foocorp/x", "at": [line, column]}],
 *                                            "provides": [requirement]}},
 *            "components": {"redis:v3": {"resolve": {"dev": resolver}, "params", "exports", "at"}}}
 * service:  {"name", "application", "source", "path": in the repository, "checkout": absolute,
 *            "dockerfile": or absent, "launch": has bin/launch, "image": repository or absent,
 *            "requires": [requirement], and what deployd.yaml says, "worlds" applied by the compiler}
 * requirement: {"component": "postgresql:v9.6", "name": "postgresql", "params", "file", "at"}
 */
struct system {
	json_t *sysdef;   /* owned */
	json_t *services; /* owned; array, in the order of applications and their lists */
	json_t *faults;   /* owned; array, sorted by system_load() */
};

/* sysdef.yaml alone: `get` needs no more. Faults are in ret->faults; the error is one of reading. */
int system_load_sysdef(const struct system_workspace *workspace, struct system *ret, struct intent_error *err);
/*
 * It and every service of the applications ({name: true} as sysdef.yaml spells them, NULL: all). A
 * repository that is not there is a fault which says "ppctl get".
 */
int system_load(const struct system_workspace *workspace, const json_t *applications, struct system *ret,
		struct intent_error *err);
void system_release(struct system *system);
/* The application meant by a person's word, without regard to case. Borrowed; INTENT_EABSENT names the nearest. */
const char *system_application(const struct system *system, const char *word, struct intent_error *err);

/* ---- the compiler (system/compile.c) ---- */

struct system_world {
	const char *name;          /* "local", "prod" */
	const json_t *document;    /* worlds/<name>; see system_local_world() */
	const json_t *resources;   /* {repository: resources/<repository>} */
	const json_t *files;       /* {key: {"file", "places"}} of those that came from files, or NULL */
	/* Sources are the checkouts themselves, not what they are clones of; images are built, never pushed. */
	bool local;
};

/*
 * New: {"documents": {key: document},
 *       "services":  [{"name", "application", "target": "runit"|"docker"|"kubernetes", "recipe": of apps/<name> or
 *                      absent, "needs": [instance names]}],
 *       "instances": [{"name", "application", "component", "kind": "image"|"stack"|"static", "key": of its
 *                      stack or config}]}
 * A service's config has no versions (whoever deploys writes them); an instance that is an image has its
 * one version active. Faults are appended to system->faults; with any of them nothing is to be written.
 */
json_t *system_compile(const struct system *system, const struct system_world *world);

/* The world of one machine: {"environment": "dev", "capabilities", "nodes": [node], "basedir", "artifacts"}. New. */
json_t *system_local_world(const char *node, const char *basedir, bool has_containers);

/*
 * A world with what it knows, read: from worlds/<world>.yaml and resources/<repository>.yaml beside sysdef.yaml (which
 * are then documents of the definition like any other), and for what is not there from the store. "local" without
 * either is system_local_world(). workspace may be NULL.
 */
struct system_setting {
	struct system_world world;            /* borrows what follows */
	json_t *document, *resources, *files; /* owned */
};
int system_setting_load(struct ppctl *ctl, const struct system_workspace *workspace, const char *name, json_t *faults,
			struct system_setting *ret, struct intent_error *err);
void system_setting_release(struct system_setting *setting);
/* Those with a file beside sysdef.yaml: {name: true}. New. */
json_t *system_worlds(const struct system_workspace *workspace);

/* ---- into the store (apply.c) ---- */

struct system_applying {
	const struct system_world *world;
	const char *system;        /* sysdef's "name": what is written is remembered as this one's */
	const json_t *compiled;    /* what system_compile() gave, without faults */
	bool provision;            /* write stacks too */
	bool adopt;                /* take over what somebody else wrote */
	bool whole;                /* every application was compiled: what is no longer there may be removed */
	uint64_t seen;             /* not 0: refuse what somebody wrote after this revision of the store */
	json_t *versions;          /* {service: {"version", "artifact": {...} or absent}} to activate too, or NULL */
	bool refused;              /* out: something of "kept" is not ours to write */
};

/*
 * New: {"changes": [{"op": "+"|"~"|"-", "key", "revision", "before", "after", "note"}], "kept": [{"key", "why"}],
 *       "key": of the record, systems/<world>/<system>, "record": as it will be, "was", "revision": of the record,
 *       "seen": of the store}, the difference to what stands there. Members that others write (versions, holds, ...)
 * stay as they are.
 */
int system_diff(struct ppctl *ctl, struct system_applying *applying, json_t **ret_new, struct intent_error *err);
/*
 * Writes it, each document compared with what the diff was computed from: INTENT_ECONFLICT, and the keys that changed
 * under us are said. Nothing to do writes nothing. *ret_new_diff is what was written.
 */
int system_apply(struct ppctl *ctl, struct system_applying *applying, json_t **ret_new_diff, struct intent_error *err);
/* All keys that definitions write, and systems/. */
int system_read(struct ppctl *ctl, struct intent_snapshot **ret_owned, struct intent_error *err);

/* Sorted, one a line on standard error; PPCTL_REFUSED if there are any, else 0. */
int system_say_faults(const json_t *faults);

/* ---- faults and YAML (system/yaml.c) ---- */

/* Sets "at" aside: where a value or a member's name is written. */
struct system_place {
	int line, column; /* from 1; 0: unknown */
};

void system_fault(json_t *faults, const char *file, struct system_place place, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* At a row with "file" and "at". */
void system_fault_of(json_t *faults, const json_t *row, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void system_sort_faults(json_t *faults);
/* As qsort() does it, with pointers to json_t *. */
void system_sort(json_t *rows, int (*order)(const void *, const void *));

/*
 * YAML as people write it -> JSON and, in the same shape, where everything stands. Duplicate names, anchors,
 * tags, tabs and a missing colon are faults; what can still be read is read, so that all faults come at once.
 * NULL when nothing could be. Both new.
 */
json_t *system_yaml(const char *file, const char *bytes, size_t length, json_t *faults, json_t **ret_new_places);
/* Of the value at a JSON pointer, or as much of it as there is; of its name: `of_name`. */
struct system_place system_place_at(const json_t *places, const char *pointer, bool of_name);

/* ---- compile.c: what the commands share ---- */

struct system_job {
	struct system_workspace workspace;
	struct system system;
	struct system_setting setting;
	json_t *applications; /* owned: {name: true} that were named; NULL: all */
	json_t *compiled;     /* owned; NULL when sysdef.yaml could not be read */
};
/* --directory. */
int system_go(struct ppctl *ctl, struct intent_error *err);
/* The definition of --directory compiled for --world; applications from argument `first` on. Release it in any case. */
int system_job_start(struct ppctl *ctl, size_t first, struct system_job *ret, struct intent_error *err);
void system_job_release(struct system_job *job);
/* Says all faults; PPCTL_REFUSED. */
int system_refuse(struct ppctl *ctl, const struct system_job *job, const char *way_out);

#endif

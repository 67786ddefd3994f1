/* Between the files of the compiler, and workspace.c, which hands them bytes. */
#ifndef PPCTL_SYSTEM_PARTS_H
#define PPCTL_SYSTEM_PARTS_H

#include "../system.h"

/* ---- shapes.c ---- */

extern const struct intent_json_field system_sysdef_schema[], system_pibstack_schema[], system_deployd_schema[],
	system_several_schema[];
/* Does it have that shape? Its faults are appended with their places. */
bool system_check(const char *file, const json_t *json, const json_t *places, const struct intent_json_field *schema,
		  json_t *faults);
/* Faults of intent_json_check(), one a line, with their places; `below`: a pointer that begins theirs. */
void system_place_faults(const char *file, const json_t *places, const char *lines, const char *below, json_t *faults);

/* 0, or 1 with a fault appended. */
int system_check_resolver(const char *file, struct system_place place, const json_t *resolver, json_t *faults);
int system_check_exports(const char *file, struct system_place place, const json_t *exports, json_t *faults);

/* An image's reference? NULL, or what it must be. */
const char *system_check_image(const char *image);

/* ---- names.c ---- */

/* The member of that name without regard to case. Borrowed; *ret_key (may be NULL) as it is spelt there. */
json_t *system_find(const json_t *object, const char *name, const char **ret_key);
char *system_lower(const char *name) intent_owned(free);
/* Names of an object, those that resemble `name` first: "redis:v3, redis:v4, postgresql:v9.6". */
void system_known(struct intent_text *out, const char *name, const json_t *known);
int system_by_name(const void *a, const void *b);
/* Of a row with "at". */
struct system_place system_at(const json_t *row);
/* `before` and one more part of a JSON pointer. New. */
char *system_pointer(const char *before, const char *name) intent_owned(free);

/* ---- files.c ---- */

/* The model of sysdef.yaml; new; NULL when it could not be read at all. */
json_t *system_read_sysdef(const char *file, const char *bytes, size_t length, json_t *faults);
/* [{"file", "says": what is written, "places"}], one for each service in it; NULL with faults. New. */
json_t *system_read_deployd(const char *file, const char *bytes, size_t length, json_t *faults);
/* {"file", "says", "places"}; NULL with faults. New. */
json_t *system_read_pibstack(const char *file, const char *bytes, size_t length, json_t *faults);

struct system_origin {
	const char *application, *source, *checkout, *checkout_name;
	const char *path; /* below the checkout, "" for its top */
	const char *file; /* sysdef.yaml, as it is shown, and the source's place in it */
	struct system_place place;
	bool has_dockerfile, has_launch;
};
/* One row of struct system's services; pibstack and deployd (one item) may be NULL. NULL with faults. */
json_t *system_make_service(const struct system_origin *origin, const json_t *pibstack, const json_t *deployd,
			    json_t *faults);

/* What a definition is called that does not say it: "foocorp-sysdef" of gh://foocorp/sysdef. New. */
json_t *system_default_name(const char *source, const char *directory);

/* ---- lookup.c ---- */

/*
 * All slugs of a world, by name: {slug: {"repository", "resolve", "params", "exports"}}, with what they inherit and
 * extend. New; unknown repositories and cycles are faults.
 */
json_t *system_slugs(const struct system_world *world, json_t *faults);
/* At a document of the store, or where the file that it came from says it. */
void system_key_fault(const struct system_world *world, const char *key, const char *pointer, json_t *faults,
		      const char *format, ...) __attribute__((format(printf, 5, 6)));

enum system_kind { SYSTEM_IMAGE, SYSTEM_STACK, SYSTEM_STATIC };
struct system_found {
	enum system_kind kind;
	const char *where;    /* borrowed: what follows docker:// or terraform: */
	json_t *params;       /* owned: of the component, the line and the requirement */
	const json_t *exports; /* borrowed, or NULL */
	int64_t port;         /* 0: not known */
	const char *volume;   /* borrowed, or NULL */
};
/* What a requirement is in a world. 0, or 1 with a fault appended. */
int system_look_up(const struct system *system, const struct system_world *world, const json_t *slugs,
		   const json_t *requirement, struct system_found *ret, json_t *faults);
void system_found_release(struct system_found *found);
const char *system_environment(const struct system_world *world);
bool system_can(const struct system_world *world, const char *capability);

/* ---- compile.c, instance.c and emit.c ---- */

struct compiler {
	const struct system *system;
	const struct system_world *world;
	json_t *slugs;     /* system_slugs() */
	json_t *documents; /* {key: document} */
	json_t *units;     /* [{"service", "says": in this world, "target", "nodes", "needs": {prefix: instance}, "recipe"}] */
	json_t *instances; /* {name: row, or null when it could not be found}: {"kind", "where", "params", "exports", "port",
			    * "volume", "owner", "consumers": [targets], and once it is emitted "host", "reference", "key"} */
	json_t *names;     /* {service, in small letters: source} */
	json_t *ports;     /* {port of a node: who takes it} */
};
/* Somebody else who has it already; borrowed. NULL: it is theirs now. */
const char *system_keep_port(struct compiler *compiler, int64_t port, const char *who);
/* The document is stolen. */
void system_put(struct compiler *compiler, json_t *document, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* A value, or every member of an object, as a string, as the environment has it. New. */
json_t *system_text(const json_t *value);
json_t *system_texts(const json_t *object);
/* Where well-known images listen and keep their data. */
void system_know_image(json_t *instance);
void system_emit_instance(struct compiler *compiler, json_t *instance);
void system_emit_service(struct compiler *compiler, json_t *unit);
void system_emit_files(struct compiler *compiler);

/* ---- merge.c ---- */

/* A compiled document with what others wrote into the one that stands there (NULL: none). New. */
json_t *system_merged(const char *key, const json_t *compiled, const json_t *standing, const char *world);
/* What system_diff() gives, but for "seen"; `now` holds all keys below those of the documents, and systems/. */
int system_compare(struct system_applying *applying, const struct intent_snapshot *now, json_t **ret_new,
		   struct intent_error *err);
/* Member by member, one a line: "    /min_nodes: 1 -> 2". */
void system_describe(struct intent_text *out, const char *path, const json_t *before, const json_t *after);

/* ---- format.c ---- */

/* The same, laid out; NULL with a fault. Owned. */
char *system_formatted(const char *file, const char *bytes, size_t length, json_t *faults) intent_owned(free);

#endif

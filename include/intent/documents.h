/*
 * The documents of the store: which keys there are, what each must look like.
 *
 * One table of key patterns with their schema tables (DESIGN section 3). ppctl checks every
 * document before it is written; agents check what they read.
 */
#ifndef INTENT_DOCUMENTS_H
#define INTENT_DOCUMENTS_H

#include <intent/json.h>

struct intent_document {
	const char *pattern;      /* "clusters/<app>/<cluster>/config" */
	const struct intent_json_field *schema; /* of the value */
	const char *summary;      /* one line for manuals and completion */
	const char *written_by;
};

/* Ends with a row whose pattern is NULL. */
extern const struct intent_document intent_documents[];

/* The row that fits a key, or NULL. Names in it are checked with intent_name_is_valid(). */
const struct intent_document *intent_document_find(const char *key);

/*
 * Is this a document that may stand at this key? The key is known, the bytes are JSON,
 * the schema holds. All faults, one a line ("/versions: two versions are active: ..."), are appended to
 * `faults` (may be NULL). INTENT_EMALFORMED, INTENT_ETOOBIG or 0. *ret_new may be NULL.
 */
int intent_document_check(const char *key, const char *value, size_t length, bool strict,
			  json_t **ret_new, struct intent_text *faults, struct intent_error *err);

/*
 * The document of an entry, checked as above, and remembered with the entry's bytes: an agent may read all its documents
 * at every change. Shared with all who read it: not to be changed.
 */
struct intent_entry;
int intent_document_read(const struct intent_entry *entry, bool strict, json_t **ret_new, struct intent_error *err);

/* The schema of {"cluster"}, config and deploy_config, for agents. */
extern const struct intent_json_field intent_node_schema[], intent_config_schema[],
	intent_deploy_schema[], intent_gate_schema[];

/*
 * Of holds as agent.h describes them ({key: true | "why" | {"why", "who", "since", "until"}}), one that is in force at
 * now_ms: a sentence about it, owned ("nodes/web1/slug: disk is being replaced, says anna, until 2026-..."); NULL: none.
 * *ret_until_ms: when that may change by itself, 0: never.
 */
char *intent_hold_in_force(const json_t *holds, int64_t now_ms, int64_t *ret_until_ms);

/* The one active version of a checked config, or NULL. Borrowed from it. */
const char *intent_config_active(const json_t *config);

/* `basedir` of deploy_config with %n replaced by the node, in one spelling ("/srv//a/" is
 * "/srv/a"). Owned; NULL when there is none (containers only). */
char *intent_deploy_basedir(const json_t *deploy, const char *node);
/* `envdir` likewise; NULL when there is none. Owned. See envdir.h. */
char *intent_deploy_envdir(const json_t *deploy, const char *node);

#endif

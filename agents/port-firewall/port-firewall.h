/*
 * What the files of pp-port-firewall share.
 *
 *	slicer.c   intent: which ports this node's applications and gates open
 *	plan.c     what to do, with its plan-*.c; pure
 *	nft.c      the table: its text, what stands in the kernel, replacing it
 *	files.c    the seed's back end: a file per application and a command
 *	agent.c    options, observe, verbs, main
 *
 * There is one slice, "table". Its intent:
 *
 *	{"node": "n1", "options": {...},
 *	 "ports": {"slug": [80, {"port", "protocol", "from"}], "gates/live/ssh": [...]},
 *	 "troubles": {"web": {"code", "message"},            whose documents cannot be used
 *	              "gates/other/x": {..., "elsewhere": true}}}  this node may be none of its business
 *	or {"node", "options", "vanished": true}   no key is left under nodes/<node>/
 *	or {"node", "options", "absent": true, "retired": true}
 *
 * An *opening* is {"port": 80, "protocol": "tcp", "from": ["10.0.0.0/8", "fd00::/8"]}, without "from" to everybody;
 * *rules* are {"policy": "accept" | "drop", "open": [openings]}.
 *
 * Observed:
 *
 *	{"known": {"slug": [openings]},    what each opened when it last could be read; absent: that is not known
 *	 -- with nft:
 *	 "table": {"foreign": "..."}       somebody else's, and how we know; or
 *	 "table": {"listing": "<sha256>"}  of what nft lists; absent: there is no such table
 *	 "record": {"rules": {...}, "listing": "<sha256>",   right after we made it
 *	            "outdated": true}      made from another text than we would make now
 *	 -- with --cmd:
 *	 "files": {"slug.yml": {"foreign": true} | {"text": "..."}},
 *	 "applied": "<sha256>",            of the files when the command last succeeded
 *	 "leftovers": 1}                   stale temporary files
 */
#ifndef PORT_FIREWALL_H
#define PORT_FIREWALL_H

#include <intent/agent.h>

#define FIREWALL_SLICE "table"

extern const struct intent_slicer firewall__slicer;

int port_firewall_plan(const json_t *intent, const json_t *observed, struct intent_plan *plan,
		       struct intent_error *err);

/* ---- plan-known.c ---- */

struct firewall_look {
	const json_t *intent, *observed, *options; /* borrowed */
	const char *node;
	json_t *known;             /* {name: [openings]} as it will be; owned */
	struct intent_plan *plan;
};

/* {name: [openings]}, borrowed; NULL: it is not known what was open. */
json_t *firewall__known_before(const struct firewall_look *look);
/* look->known: what was known, and what can be read now in its place. Who opens nothing is left out. */
void firewall__take_known(struct firewall_look *look);
/* Neither read nor in trouble: intent for it is gone. */
bool firewall__is_gone(const struct firewall_look *look, const char *name);
void firewall__plan_remember(struct firewall_look *look);
/* An object's names, ended by NULL: an owned list of borrowed strings. */
const char **firewall__sorted_names(const json_t *object);

/* ---- plan-openings.c ---- */

/*
 * Any ports (of documents, or openings) as sorted openings, each once, no network within another.
 * New.
 */
json_t *firewall__openings(const json_t *ports);

/* ---- plan-table.c ---- */

int firewall__plan_table(struct firewall_look *look, struct intent_error *err);
void firewall__plan_table_removal(struct firewall_look *look);

/* ---- plan-files.c ---- */

void firewall__plan_files(struct firewall_look *look);
/* The first line of a file of ours. */
void firewall__file_mark(const char *node, char ret[200]);

/* ---- nft.c ---- */

/* The complete text that nft reads, in one transaction: `rules` NULL takes the table away. Appends; pure. */
void firewall__nft_text(const char *table, const char *node, const json_t *rules, struct intent_text *text);
/* Do these bytes, what nft -j says of the chain that marks a table, name an owner? Owned; NULL: no. Pure. */
char *firewall__nft_owner(const char *bytes, size_t count);
/* Adds "table" and "record". */
int firewall__nft_observe(struct intent_round *round, json_t *observed, struct intent_error *err);
/* Make the table so, and record it. */
int firewall__nft_put(struct intent_round *round, const json_t *rules, struct intent_error *err);

/* ---- files.c ---- */

/* Adds "files", "applied" and "leftovers". */
int firewall__files_observe(struct intent_round *round, json_t *observed, struct intent_error *err);
/* text NULL: the file goes. */
int firewall__files_put(struct intent_round *round, const char *name, const char *text, struct intent_error *err);
/* Run the command, and note for which files it succeeded. */
int firewall__files_refresh(struct intent_round *round, struct intent_error *err);

#endif

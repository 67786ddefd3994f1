/*
 * ppctl: the person's hand on the store. Between its own files; not installed.
 *
 * A subcommand is a row of the table in commands.c and a function here. It writes data to
 * standard output and words to standard error, and returns 0, an INTENT_* code with *err
 * filled in (main says it and chooses the exit status), or a positive exit status when it has
 * said everything itself.
 */
#ifndef PPCTL_H
#define PPCTL_H

#include <intent/documents.h>
#include <intent/option.h>
#include <intent/store.h>

/* Exit statuses, beside 0. */
enum {
	PPCTL_REFUSED = 1,    /* faults, conflicts, something is not there */
	PPCTL_USAGE = 2,
	PPCTL_WORK = 2,       /* plan: an agent would do something */
	PPCTL_STUCK = 3,      /* rollout: what is left will not go on by itself */
	PPCTL_BLOCKED = 100,  /* status, plan: something waits for a person */
	PPCTL_AGAIN = 111,    /* the store does not answer; status: not converged yet */
};

struct ppctl;

struct ppctl_command {
	const char *name;     /* "get", or of two words: "lock ls" */
	const char *usage;    /* what follows the name */
	const char *summary;  /* one line */
	const char *more;     /* further sentences for its --help, or NULL */
	const struct intent_option *options; /* its own; NULL: none */
	int min, max;         /* how many arguments it takes */
	int (*run)(struct ppctl *ctl, struct intent_error *err);
};

extern const struct ppctl_command ppctl_commands[]; /* ends with a row whose name is NULL */
extern const struct intent_option ppctl_common[];

struct ppctl {
	const struct ppctl_command *command;
	json_t *options, *arguments;  /* owned */
	struct intent_store *store;   /* owned; NULL until ppctl_store() */
	const char *store_why;        /* where its URL came from; static */
	char *url;                    /* owned */
	bool store_given;             /* --store stands on the command line */
	char node[256];
};

/* ---- completion.c ---- */

extern const char ppctl_completion_bash[]; /* follows what the options give */

/* ---- ppctl.c ---- */

/* Argument number `index`, or NULL. Borrowed. */
const char *ppctl_argument(const struct ppctl *ctl, size_t index);
bool ppctl_flag(const struct ppctl *ctl, const char *name);
const char *ppctl_option(const struct ppctl *ctl, const char *name); /* NULL: not given */

/* The URL of the store, once: ctl->url, ctl->store_why. */
void ppctl_locate(struct ppctl *ctl);
/* The store, opened on first use; borrowed. */
int ppctl_store(struct ppctl *ctl, struct intent_store **ret_borrowed, struct intent_error *err);

/* ---- screen.c ---- */

/* The name that it was called by: "ppctl", or "pib-local". */
extern const char *ppctl_program;
/* The text, with that name where "ppctl" would be typed. New. */
char *ppctl_as_called(const char *text) intent_owned(free);

/* Who is at the keyboard, though it be root's by now: "anna@desk". New. */
char *ppctl_person(void) intent_owned(free);
/* One line of words on standard error; control characters become '?'. */
void ppctl_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same to standard output, as it is, with a newline. */
void ppctl_print(const char *string);
/* JSON to standard output: indented on its own, or on one line. */
void ppctl_print_json(const json_t *json, bool one_line);
/* Nothing of standard output was lost? */
int ppctl_flush(struct intent_error *err);

/* The terminal behind standard output: columns and lines; 0 when it is none. */
int ppctl_columns(void);
int ppctl_lines(void);
/* May standard output be coloured? (a terminal, no NO_COLOR, TERM not dumb) */
bool ppctl_colored(void);

enum ppctl_style {
	PPCTL_PLAIN, PPCTL_BOLD, PPCTL_DIM,
	PPCTL_GREEN, PPCTL_YELLOW, PPCTL_RED, PPCTL_CYAN, PPCTL_BLUE, PPCTL_MAGENTA,
};

/* Columns that a string takes on a terminal (control characters count one). */
size_t ppctl_width(const char *string);
/* Append `string`, made harmless, in a style, cut to `width` columns with an ellipsis (0: whole)
 * and filled up to `fill` columns. */
void ppctl_add(struct intent_text *out, const char *string, enum ppctl_style style,
	       size_t width, size_t fill);

/* Lines of at most `columns` (0: one line), broken at blanks, each indented, without a newline
 * at the end. Returns how many. */
int ppctl_add_wrapped(struct intent_text *out, const char *text, enum ppctl_style style,
		      size_t indent, size_t columns);

/* ---- keys.c ---- */

/* Does this key name what a person calls "nodes" or "nodes/"? New: with a slash at its end. */
char *ppctl_prefix(const char *word) intent_owned(free);
/* Reads the key, and all below it. */
int ppctl_list(struct ppctl *ctl, const char *word, struct intent_snapshot **ret_owned,
	       struct intent_error *err);
/* The clusters that documents of this application describe, into a set: {name: true}. */
int ppctl_add_clusters(struct ppctl *ctl, const char *app, json_t *set, struct intent_error *err);
/* The document, NULL when its bytes are no JSON. New. */
json_t *ppctl_document(const struct intent_entry *entry);
/* One or more faults of a document, said with the way out; the exit status. */
int ppctl_faults(const char *key, const struct intent_text *faults, const char *way_out);
/*
 * Write one checked document: canonical, not at all when it says the same already; a document of
 * a node also marks the node. revision: NULL writes whatever is there; 0 only when absent.
 * *ret_written tells.
 */
int ppctl_write(struct ppctl *ctl, const char *key, const char *value, const uint64_t *revision,
		bool *ret_written, struct intent_error *err);
/* "prod/db", or the whole key, kind being "injections/": the part behind that. Borrowed; NULL: it is none. */
const char *ppctl_slice_name(const char *word, const char *kind);
/* What each of these agents says of a slice, or (only NULL) of all: [{"node", "name", "state", ...}]. New. */
int ppctl_published(struct ppctl *ctl, const char *agent, const char *only, json_t **ret_new, struct intent_error *err);
/* "nodes/web1/slug" -> "nodes/web1/": new; NULL for keys that are below no node. */
char *ppctl_marker(const char *key) intent_owned(free);

/* ---- change.c ---- */

/*
 * A document read, changed and written by compare-and-set, and again when somebody wrote in
 * between. Doing `change` to its own result must change nothing: an answer may have been lost.
 */
struct ppctl_change {
	const char *key;
	const char *otherwise; /* JSON that it begins with where there is none; NULL: INTENT_EABSENT */
	int (*change)(json_t *document, void *data, struct intent_error *err);
	void *data;
};
int ppctl_change(struct ppctl *ctl, const struct ppctl_change *change, bool *ret_changed,
		 json_t **ret_new, struct intent_error *err);

/* Zeroed. Try again after this error? Pauses before it says so; not for ever. */
struct ppctl_patience {
	int64_t deadline;
	unsigned seed;
	bool maybe; /* some write's outcome was never told */
};
bool ppctl_again(struct ppctl_patience *patience, const struct intent_error *err);

/* ---- the subcommands ---- */

int ppctl_init(struct ppctl *ctl, struct intent_error *err);
int ppctl_put(struct ppctl *ctl, struct intent_error *err);
int ppctl_load(struct ppctl *ctl, struct intent_error *err);
int ppctl_get(struct ppctl *ctl, struct intent_error *err);
int ppctl_get_document(struct ppctl *ctl, struct intent_error *err); /* of a key */
int ppctl_ls(struct ppctl *ctl, struct intent_error *err);
int ppctl_rm(struct ppctl *ctl, struct intent_error *err);
int ppctl_edit(struct ppctl *ctl, struct intent_error *err);
int ppctl_watch(struct ppctl *ctl, struct intent_error *err);
int ppctl_import(struct ppctl *ctl, struct intent_error *err);
int ppctl_export(struct ppctl *ctl, struct intent_error *err);
int ppctl_node_add(struct ppctl *ctl, struct intent_error *err);
int ppctl_node_rm(struct ppctl *ctl, struct intent_error *err);
int ppctl_prep(struct ppctl *ctl, struct intent_error *err);
int ppctl_unprep(struct ppctl *ctl, struct intent_error *err);
int ppctl_activate(struct ppctl *ctl, struct intent_error *err);
int ppctl_deactivate(struct ppctl *ctl, struct intent_error *err);
int ppctl_rollback(struct ppctl *ctl, struct intent_error *err);
int ppctl_status(struct ppctl *ctl, struct intent_error *err);
int ppctl_plan(struct ppctl *ctl, struct intent_error *err);
int ppctl_stack_show(struct ppctl *ctl, struct intent_error *err);
int ppctl_injection_show(struct ppctl *ctl, struct intent_error *err);
int ppctl_approve_stack(struct ppctl *ctl, struct intent_error *err);
int ppctl_hold(struct ppctl *ctl, struct intent_error *err);
int ppctl_unhold(struct ppctl *ctl, struct intent_error *err);
int ppctl_rollout(struct ppctl *ctl, struct intent_error *err);
int ppctl_rollout_retry(struct ppctl *ctl, struct intent_error *err);
int ppctl_lock_ls(struct ppctl *ctl, struct intent_error *err);
int ppctl_lock_break(struct ppctl *ctl, struct intent_error *err);
int ppctl_run(struct ppctl *ctl, struct intent_error *err);
int ppctl_stop(struct ppctl *ctl, struct intent_error *err);
int ppctl_help(struct ppctl *ctl, struct intent_error *err);
int ppctl_compile(struct ppctl *ctl, struct intent_error *err);
int ppctl_validate(struct ppctl *ctl, struct intent_error *err);
int ppctl_fmt(struct ppctl *ctl, struct intent_error *err);
int ppctl_slugs_of(struct ppctl *ctl, struct intent_error *err);
int ppctl_diff(struct ppctl *ctl, struct intent_error *err);
int ppctl_apply(struct ppctl *ctl, struct intent_error *err);
int ppctl_deploy(struct ppctl *ctl, struct intent_error *err);
int ppctl_orphans(struct ppctl *ctl, struct intent_error *err);

/* ---- watching (watch.c) ---- */

/*
 * Calls `each` with every snapshot of the prefixes, and `tick` (may be NULL) once a second, until
 * one of them returns false or SIGINT or SIGTERM comes. The store is closed afterwards.
 */
struct ppctl_watching {
	const char *const *prefixes;
	bool (*each)(struct intent_snapshot *snapshot, void *data);
	bool (*tick)(void *data);
	/* NULL: said on standard error. */
	void (*trouble)(const struct intent_error *err, void *data);
	void *data;
};
int ppctl_follow(struct ppctl *ctl, const struct ppctl_watching *watching,
		 struct intent_error *err);

/* Lines of `text` over those drawn before (*height, 0 at first), in one write: nothing flickers. What
 * does not fit on the terminal is left out. */
void ppctl_redraw(int *height, const char *text);

/* ---- slices.c: intent beside reality, as rows; status.c shows them ---- */

/*
 * {"converged": bool, "slices": [{"node", "app", "cluster", "active", "prep": [...], "agent",
 * "state", "current", ...}, ...]}, sorted by node, app, agent; `...` is what the agent published.
 * "current": false where that is older than the intent. Where an agent has published nothing its
 * state is "absent". app, node, cluster: NULL for all. New.
 */
json_t *ppctl_slices(const struct intent_snapshot *snapshot, const char *app, const char *node,
		     const char *cluster);
/* What the snapshot must hold; NULL-terminated. */
extern const char *const ppctl_slice_prefixes[];

/* ---- fleet.c: the same by application and node ---- */

/* All that ppctl_slices() and ppctl_fleet() look at, read once. */
int ppctl_look(struct ppctl *ctl, struct intent_snapshot **ret_owned, struct intent_error *err);

/*
 * What ppctl_slices() gives, and "applications": [{"node", "app", "cluster", "active", "prep",
 * "agents": {agent: state}, "state": of the worst of them, or "held", "since",
 * "runs": the version that runs as far as anybody says,
 * "health": the fact, with "good",
 * "slot": its shutdown slot, "behind": [nodes whose slots it waits behind],
 * "holds": [{"key", "why", "who", "since", "until", "words"}] in force}]. New.
 */
json_t *ppctl_fleet(const struct intent_snapshot *snapshot, const char *app, const char *node,
		    const char *cluster);

/* "nodes/web1/: its disk is replaced, says anna@desk, until ..."; NULL: not in force. */
char *ppctl_hold_words(const char *key, const json_t *hold) intent_owned(free);

/* From the worst on; ends with NULL. */
extern const char *const ppctl_severity[];

/* ---- pace.c ---- */

/* Where a node may be on its way to the active version; ends with NULL. */
extern const char *const ppctl_phases[];

/*
 * For each cluster of an application (or the one): {"app", "cluster", "version", "target", "min_nodes",
 * "state": "done" | "rolling" | "failed" | "stuck" | "none",
 * "marked": has it failed for good on some node,
 * "phases": {phase: count}, "nodes": [{"node", "phase", "state", "since", "why", "runs", "slot"}],
 * "pace_seconds", "left_seconds": where there is something to tell them from}. New.
 */
json_t *ppctl_rollouts(const struct intent_snapshot *snapshot, const char *app,
		       const char *cluster);

/* ---- nodes.c ---- */

/* An array of names, sorted as people do: "db1 web[1-8,12]". */
void ppctl_add_nodes(struct intent_text *out, const json_t *unsorted);

/* ---- grid.c ---- */

enum { PPCTL_CELLS = 9 };

struct ppctl_line {
	char *cell[PPCTL_CELLS]; /* owned; NULL is empty */
	enum ppctl_style style[PPCTL_CELLS];
	char *below;  /* owned: lines below the row, or NULL */
	bool settled; /* its last cell may be cut */
};

struct ppctl_grid {
	struct {
		const char *title;
		size_t widest;   /* on a terminal; 0: no bound */
		int dispensable; /* 1: the first that a narrow terminal does without; 0: never */
		bool hidden;     /* on a terminal */
	} columns[PPCTL_CELLS];
	int count;
	size_t least; /* for the last column, before others are left out */
};

/*
 * Appends titles and lines, frees what is in them, returns how many rows of a terminal they take.
 * columns: of the terminal; 0 for none: then nothing is cut, left out or empty.
 */
int ppctl_grid(struct intent_text *out, const struct ppctl_grid *grid, struct ppctl_line *lines,
	       size_t count, size_t columns);

/* ---- table.c ---- */

/* A row's state; "pending" for what was converged before the intent changed. Borrowed. */
const char *ppctl_state(const json_t *row);
enum ppctl_style ppctl_style_of(const char *state);
/* What a person should know about it, in a sentence; "" when nothing. brief: without how often it was tried. */
char *ppctl_message(const json_t *row, bool brief) intent_owned(free);
/* Unix ms of an RFC 3339 time, or -1. */
int64_t ppctl_time(const char *text);
/* "12s", "3h", "now"; "" for no time. */
char *ppctl_age(const char *since) intent_owned(free);
/* A git revision is known by its beginning, on a terminal. */
char *ppctl_version(const char *name, bool terminal) intent_owned(free);
/* Do rows differ in this member? */
bool ppctl_several(const json_t *rows, const char *member);
/* "3 converged  1 waiting", below an empty line; returns its height. */
int ppctl_add_sum(struct intent_text *out, const json_t *rows, size_t columns);
/* One line for each row of ppctl_slices(); returns its height. columns: 0 for no terminal. */
int ppctl_table(struct intent_text *out, const json_t *document, size_t columns);

/* ---- fold.c ---- */

/* One line for each application on a node, and what is wrong with it. */
int ppctl_folded(struct intent_text *out, const json_t *document, size_t columns);
/* One line for each cluster, and the nodes where something is wrong, by what that is. */
int ppctl_summary(struct intent_text *out, const json_t *document, size_t columns);

#endif

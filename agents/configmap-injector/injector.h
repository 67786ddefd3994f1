/*
 * pp-configmap-injector: between its own files.
 *
 *	plan.c             what to do: pure
 *	plan-sinks.c       a sink's name, and the values that it takes: pure
 *	slicer.c           injections as slices: pure
 *	agent.c            options, observing, verbs
 *	values.c           the values of an injection, from wherever they come
 *	state.c            Terraform states, each read once for all rounds
 *	fetch.c            a state, from where its backend keeps it: files, S3, HTTP, Kubernetes
 *	fetch-consul.c     ... Consul
 *	tfstate.c, raw.c   what a state says: pure
 *	clients.c          Kubernetes, AWS, HTTP: who we are there
 *	bounds.c           where on this machine documents may make us read and write
 *	sinks.c            the table of kinds, the record of what was written
 *	sink-*.c           one kind of sink, or two, each; sink-place.c what those on this machine share,
 *	                   sink-kubernetes.c those in a cluster
 *
 * Intent of a slice, "<world>/<name>":
 *	{"world", "name", "node", "options",
 *	 "injection": {"values", "ensure"?},          the document, without its sinks
 *	 "sinks": {ID: sink},                         those that this agent does on this node
 *	 "elsewhere": {ID: true},                     those here that it is not to do (--sinks); optional
 *	 "others": {"world/name": values}}            what its values refer to, and what that refers to
 * or {"world", "name", "node", "options", "absent": true}.
 *
 * Observed:
 *	{"values": {KEY: {"digest": "...", "sensitive": true}    as it is
 *	            KEY: {"missing": "why"}                      its output is not there
 *	            KEY: {"fault": {"code", "message"}}},        it could not be read
 *	 "sinks": {ID: see below},                               of intent, and of the record
 *	 "recorded": {ID: sink}}                                 written, or about to be, by an earlier round
 *
 * Values themselves are in the memory of the round alone: neither intent, observed, plans nor details hold any. They
 * are compared by digests with a secret key (injector__digest()).
 */
#ifndef INJECTOR_H
#define INJECTOR_H

#include <intent/agent.h>
#include <intent/aws.h>
#include <intent/http.h>
#include <intent/kube.h>

#define INJECTOR_DIGEST 17         /* of a value: 16 hex digits */
#define INJECTOR_ID_MAX 2200

int configmap_injector_plan(const json_t *intent, const json_t *observed, struct intent_plan *plan,
			    struct intent_error *err);

extern const struct intent_slicer injector__slicer;

/* ---- plan-sinks.c ---- */

/* The name of what a sink writes: "secret prod/db", "envdir /srv/x/env". Two sinks of one name are one object. */
void injector__sink_id(const json_t *sink, char ret[INJECTOR_ID_MAX]);
/* Which of the values (as observed) it takes: {KEY: digest}, new. INTENT_EREFUSED: it may not have one that it asks for. */
int injector__sink_wants(const json_t *sink, const json_t *values, json_t **ret_new, struct intent_error *err);

/* ---- a round ---- */

struct injector {
	struct intent_round *round;
	const json_t *intent;              /* borrowed */
	const char *world, *name;          /* borrowed */
	json_t *values;                    /* {KEY: string}: the values; owned */
	json_t *states;                    /* {URL: what was learnt of it in this pass}; owned */
	unsigned char key[32];             /* of digests */
	bool has_written;                  /* in this round */
	struct intent_http *http;          /* each made on first use; owned */
	struct intent_kube *kube;
	struct intent_aws_credentials credentials;
	bool has_credentials;
};

/* ---- clients.c: opened on first use, borrowed ---- */

struct intent_http *injector__http(struct injector *injector); /* borrowed */
int injector__kube(struct injector *injector, struct intent_kube **ret_borrowed, struct intent_error *err);
/* `region`: for those that come from STS. */
int injector__credentials(struct injector *injector, const char *region,
			  const struct intent_aws_credentials **ret_borrowed, struct intent_error *err);

/*
 * A value's digest: HMAC-SHA-256 with a key of this agent's state directory (--digest-key: one that several share), so
 * that nobody finds a short password by trying, and two places can still be compared.
 */
void injector__digest(const struct injector *injector, const void *bytes, size_t count, char ret[INJECTOR_DIGEST]);

/* ---- bounds.c ---- */

/* May a document name this path? INTENT_EREFUSED: it is outside of what --sink-dirs or --source-dirs (`option`) has. */
int injector__check_below(const struct injector *injector, const char *option, const char *path, struct intent_error *err);

/* ---- sinks ---- */

struct injector_sink {
	const json_t *document;            /* as injections/<world>/<name> has it, or had it; borrowed */
	const char *id;
	const char *owner;                 /* "<world>/<name>": the mark of what is ours */
	const json_t *wanted;              /* {KEY: digest} that it is to hold; NULL: nothing, or that is not known now */
	bool recorded;                     /* an earlier round wrote it, or was about to */
};

/*
 * A kind of sink. None of these quotes a value in an error, a log line or what it returns.
 *
 * observe: what is there now, new:
 *	{"state": "absent"}
 *	{"state": "ours", "keys": {KEY: digest},        by injector__digest() of what it holds
 *	 "differs": "mode is 0644, not 0600"}           anything else that a write would put right; optional
 *	{"state": "foreign", "by": "field manager helm", "keys": {KEY: digest}}
 *					by whom, for people: "is of the injection prod/x", "has no mark of ours"
 *	An object that has the mark of another injection is foreign. What cannot be looked at is an error: that sink
 *	is in trouble alone.
 * write: make it hold exactly `values` ({KEY: string}), as one change where that can be; an object that is
 *	foreign is only written when the sink says "adopt". Safe to repeat.
 * remove: only while it is ours. Absent is fine.
 */
struct injector_sink_kind {
	const char *type;
	int (*observe)(struct injector *injector, const struct injector_sink *sink, json_t **ret_new,
		       struct intent_error *err);
	int (*write)(struct injector *injector, const struct injector_sink *sink, const json_t *values,
		     struct intent_error *err);
	int (*remove)(struct injector *injector, const struct injector_sink *sink, struct intent_error *err);
};

extern const struct injector_sink_kind injector__configmap, injector__secret;             /* sink-data.c */
extern const struct injector_sink_kind injector__externalname;                            /* sink-externalname.c */
extern const struct injector_sink_kind injector__s3;                                      /* sink-s3.c */
extern const struct injector_sink_kind injector__envdir;                                  /* sink-envdir.c */
extern const struct injector_sink_kind injector__dotenv, injector__json;                  /* sink-file.c */

/*
 * Values as text for a file or an object: "json" (an object of strings) or "dotenv" (NAME="..." lines, as docker's
 * --env-file, systemd and a shell all read them). INTENT_EREFUSED names a key that the form cannot hold.
 */
int injector__render(const char *format, const json_t *values, struct intent_text *ret, struct intent_error *err);
/* The other way, for observing: {KEY: digest}, new; NULL: it is not what injector__render() writes. */
json_t *injector__parse(const struct injector *injector, const char *format, const char *bytes, size_t count);

/* Adds "sinks" and "recorded" to observed. */
int injector__observe_sinks(struct injector *injector, json_t *observed, struct intent_error *err);
/* Each carries out the action of its name. */
int injector__write_sink(struct injector *injector, const json_t *action, struct intent_error *err);
int injector__remove_sink(struct injector *injector, const json_t *action, struct intent_error *err);
int injector__remember_sink(struct injector *injector, const json_t *action, struct intent_error *err);
int injector__forget_sink(struct injector *injector, const json_t *action, struct intent_error *err);

/* ---- raw.c: a value in JSON text ---- */

struct injector_raw { const char *at, *end; };

/* Is all of it one value? Then without the blanks around it. */
bool injector__raw_whole(struct injector_raw *raw);
bool injector__raw_member(const struct injector_raw *raw, const char *name, struct injector_raw *ret);
/* The names of an object's members; new. */
json_t *injector__raw_names(const struct injector_raw *raw);
/* By JSON pointer; "" is the value itself. */
bool injector__raw_at(const struct injector_raw *raw, const char *pointer, struct injector_raw *ret);
/* As software wants it: a string is itself, anything else its JSON as it was written. Owned; NULL: it is null, or no JSON. */
char *injector__raw_text(const struct injector_raw *raw) intent_owned(free);

/* ---- tfstate.c ---- */

#define INJECTOR_STATE_MAX (64u << 20)

struct injector_tfstate {
	char lineage[128];
	int64_t serial;
	json_t *outputs;                   /* {NAME: {"text": JSON, "sensitive"}}: owned */
};

/* INTENT_ESOURCE: it is not whole; INTENT_EMALFORMED, INTENT_EREFUSED: it is no state that we can read. */
int injector__tfstate_parse(const char *bytes, size_t count, struct injector_tfstate *ret, struct intent_error *err);
/* What is compressed is taken apart, anything else left as it is. */
int injector__gunzip(struct intent_text *body, struct intent_error *err);
/* `reference`: "name" or "name/json/pointer". INTENT_EABSENT: there is no such thing, or it is null. */
int injector__output(const json_t *outputs, const char *reference, char **ret_owned, bool *ret_sensitive,
		     struct intent_error *err);

/* ---- fetch.c ---- */

struct injector_answer {
	struct intent_text body;           /* the state; empty when it is unchanged */
	char validator[256];               /* ETag, ModifyIndex, a file's times; "": there is none */
	char md5[40];                      /* what its body must have; "": nothing is said */
	bool is_unchanged;                 /* it still is what `validator` said */
	bool is_settling;                  /* it may change without its validator doing so: look again soon */
};

/*
 * INTENT_EABSENT: there is no such state (yet). Where it can, the server is asked only for what is not `validator` (NULL:
 * nothing is known).
 */
int injector__fetch(struct injector *injector, const char *url, const char *validator, struct injector_answer *ret,
		    struct intent_error *err);
void injector__answer_release(struct injector_answer *answer);
/* "?name=value&..." of a URL; false: it does not say. */
bool injector__query(const char *url, const char *name, char *out, size_t room);
/* Is `url` at the host and port of another, however either is written, and not in clear where that is sealed? */
bool injector__is_at(const char *url, const char *other);

/* ---- fetch-consul.c ---- */

int injector__fetch_consul(struct injector *injector, const char *url, const char *validator, struct injector_answer *ret,
			   struct intent_error *err);

/* ---- state.c ---- */

/* How a source is named to people: without what may be a secret. Owned. */
char *injector__shown(const char *url) intent_owned(free);
/* A state's outputs, borrowed until the round ends. INTENT_EABSENT: there is no such state (yet). */
int injector__state(struct injector *injector, const char *url, const json_t **ret_borrowed, struct intent_error *err);

/* ---- values.c ---- */

/* Adds "values" to observed, and fills injector->values. */
void injector__observe_values(struct injector *injector, json_t *observed);

/* ---- detail.c ---- */

/* Into the status: {"values": {KEY: {"from", "digest", "sensitive", "trouble"}}, "sinks": {ID: {"state", "why", "keys"}}} */
void injector__tell(const struct injector *injector, const json_t *observed);

#endif

/* What consul.c and consul-watch.c share. Not installed. */
#ifndef INTENT_CONSUL_H
#define INTENT_CONSUL_H

#include "consul-wire.h"

/* Blocking queries of one store; 4 of its connections are left for everything else. */
#define INTENT__CONSUL_QUERIES 12

struct intent__consul {
	struct intent__remote remote;
	struct intent_store *store;  /* borrowed; calls back with it */
	char *token;                 /* owned; NULL: none */
	char *token_file;            /* owned; NULL: none */
	char *basic;                 /* owned: base64 of user:password; NULL: none */
	char *name_space;            /* owned; NULL: none */
	size_t queries;              /* of all watches */
};

struct intent__consul_task {
	struct intent__task task; /* first */
	struct intent__consul *consul;
	/* a read */
	char *key;                /* owned */
	bool exact, consistent;
	uint64_t index;
	struct intent_snapshot *snapshot; /* owned */
	/* a transaction */
	struct intent_op *ops;    /* owned */
	size_t count;
	struct intent__consul_map map;
	uint64_t clear;           /* see intent__consul_txn() */
	uint64_t bound, taken;    /* see intent__consul_free() */
	uint64_t revisions[INTENT_TXN_MAX];
	bool absent;
	bool raw;
	/* a session */
	char *id;                 /* owned */
	int64_t ttl_ms;
	/* what came of it */
	uint64_t revision;
	intent_store_done on_done; /* NULL: `finished` instead */
	void *data;
	void (*finished)(struct intent__consul_task *task, const struct intent_error *err);
};

/* NULL without memory. */
struct intent__consul_task *intent__consul_read_task(struct intent__consul *consul, const char *key,
						     bool exact, bool consistent);

void *intent__consul_watch_start(struct intent_store *store, const char *const *prefixes,
				 const struct intent__watch_sink *sink);
void intent__consul_watch_set(void *watch, const char *const *prefixes);
void intent__consul_watch_refresh(void *watch);
void intent__consul_watch_stop(void *watch);

#endif

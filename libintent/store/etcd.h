/* What etcd.c and etcd-watch.c share. Not installed. */
#ifndef INTENT_ETCD_H
#define INTENT_ETCD_H

#include "etcd-wire.h"

struct intent__etcd {
	struct intent__remote remote;
	struct intent_store *store;        /* borrowed; calls back with it */
	const char *apis[INTENT__REMOTE_ENDPOINTS]; /* NULL: to be asked for */
	char *user, *password;             /* owned; NULL: no authentication */
	char *token;                       /* owned; NULL: to be asked for */
	bool open;                         /* the server has no authentication */
	char cluster[24];                  /* pinned; "" not yet */
	uint64_t highest;                  /* revision seen */
	unsigned doubts[INTENT__REMOTE_ENDPOINTS]; /* see intent__etcd_trust() */
};

/* One operation; the fields of the one it is are filled. */
struct intent__etcd_task {
	struct intent__task task; /* first */
	struct intent__etcd *etcd;
	enum { INTENT__ETCD_AT_VERSION, INTENT__ETCD_AT_LOGIN, INTENT__ETCD_AT_WORK } phase;
	unsigned logins, probes, restarts;
	uint64_t floor;           /* etcd->highest when it was sent */
	bool absent_is_fine;
	int (*write)(struct intent__etcd_task *task, const char *api, struct intent__call *call,
		     struct intent_error *err);
	enum intent__verdict (*read)(struct intent__etcd_task *task, const json_t *root,
				     const struct intent__etcd_header *header, struct intent_error *err);
	/* a range */
	struct intent__etcd_range range;
	char *key;                /* owned; range.key */
	char *after;              /* owned; range.after */
	bool fixed;               /* the caller chose the revision */
	bool fresh;
	int64_t timeout_ms;
	struct intent_snapshot *snapshot; /* owned */
	/* a transaction */
	struct intent_op *ops;    /* owned */
	size_t count;
	/* a session */
	char *id;                 /* owned */
	int64_t ttl_ms;
	/* what came of it */
	uint64_t revision;
	intent_store_done on_done; /* NULL: `finished` instead */
	void *data;
	void (*finished)(struct intent__etcd_task *task, const struct intent_error *err);
};

/* NULL without memory. On failure to start, or when performed: freed by task.free. */
struct intent__etcd_task *intent__etcd_list_task(struct intent__etcd *etcd, const char *key, bool exact);
/* Only the header: what the newest revision is. */
struct intent__etcd_task *intent__etcd_look_task(struct intent__etcd *etcd, const char *key);
/*
 * May this answer be believed? Another cluster's, or one older than what has been seen, may not:
 * a member that has just joined, or was restored alone, says such things (etcd#20221, #15271).
 * When every endpoint has said so (the only one: twice), the cluster itself was restored, and is
 * believed again.
 */
bool intent__etcd_trust(struct intent__etcd *etcd, const struct intent__etcd_header *header,
			uint64_t floor, struct intent_error *err);

void *intent__etcd_watch_start(struct intent_store *store, const char *const *prefixes,
			       const struct intent__watch_sink *sink);
void intent__etcd_watch_set(void *watch, const char *const *prefixes);
void intent__etcd_watch_refresh(void *watch);
void intent__etcd_watch_stop(void *watch);

#endif

/*
 * What a store engine is to the rest of store/. Not installed.
 *
 * store.c checks arguments, adds and strips the store's key prefix, and then calls the
 * engine; engines see whole keys, valid arguments, and INTENT_* codes only. A key is put or
 * deleted at most once in a transaction, and all compares are judged before any of its writes,
 * wherever they stand in it. A put bound to a session that is gone is INTENT_EABSENT.
 *
 * watch_stop may be called from within the sink's own calls: the sink is not called again, and
 * memory goes in a uv_close callback. close abandons what is under way (its on_done is not called)
 * and takes state off the store; the store itself is freed right after it, so what still waits
 * for its uv_close callback may not point at it.
 */
#ifndef INTENT_ENGINE_H
#define INTENT_ENGINE_H

#include <intent/store.h>

/* What an engine tells its watch's owner; keys are whole. */
struct intent__watch_sink {
	/* The parts changed or may have: see intent__parts_deliver(). Stolen. */
	void (*on_snapshot)(struct intent_snapshot *snapshot, void *data);
	void (*on_trouble)(const struct intent_error *err, void *data);
	void *data;
};

struct intent__engine {
	const char *scheme;          /* "dir:", "etcd://" ...: the URL starts with it */
	/* `rest`: the URL after the scheme. Sets store->state and store->name. */
	int (*open)(struct intent_store *store, const char *url, const char *rest, struct intent_error *err);
	void (*close)(struct intent_store *store);

	/* exact: one key (none: empty snapshot); else all keys that start with it ("" all). */
	int (*read)(struct intent_store *store, const char *key, bool exact, enum intent_consistency consistency,
		    struct intent_snapshot **ret_owned, struct intent_error *err);
	int (*txn)(struct intent_store *store, const struct intent_op *ops, size_t count,
		   uint64_t *ret_revision, struct intent_error *err);
	int (*session_open)(struct intent_store *store, int64_t ttl_ms, char **ret_id_owned, struct intent_error *err);
	int (*session_renew)(struct intent_store *store, const char *id, struct intent_error *err);
	int (*session_close)(struct intent_store *store, const char *id, struct intent_error *err);
	bool session_beats;

	void (*attach)(struct intent_store *store, uv_loop_t *loop);
	int (*txn_start)(struct intent_store *store, const struct intent_op *ops, size_t count,
			 intent_store_done on_done, void *data, struct intent_error *err);
	int (*session_open_start)(struct intent_store *store, int64_t ttl_ms, intent_store_done on_done,
				  void *data, struct intent_error *err);
	int (*session_renew_start)(struct intent_store *store, const char *id, intent_store_done on_done,
				   void *data, struct intent_error *err);
	int (*session_close_start)(struct intent_store *store, const char *id, intent_store_done on_done,
				   void *data, struct intent_error *err);

	/* The engine's half of a watch; `prefixes` are whole keys, NULL-terminated. */
	void *(*watch_start)(struct intent_store *store, const char *const *prefixes,
			     const struct intent__watch_sink *sink);
	void (*watch_set)(void *watch, const char *const *prefixes);
	void (*watch_refresh)(void *watch);
	void (*watch_stop)(void *watch);
};

extern const struct intent__engine intent__engine_dir, intent__engine_consul, intent__engine_consul_tls,
	intent__engine_etcd, intent__engine_etcd_tls;

/* intent_store_init() of a path (dir.c). */
int intent__dir_init(const char *path, struct intent_error *err);

struct intent_store {
	const struct intent__engine *engine;
	char *name;                  /* owned; for logs */
	char *prefix;                /* owned; "" or "some/prefix/" */
	uv_loop_t *loop;             /* borrowed; NULL until attached */
	void *state;                 /* the engine's */
};

/*
 * The parts of a watch: one snapshot a prefix, merged for delivery (parts.c). Used by
 * every engine's watch, so that "first when all are read, then only on change" exists once.
 */
struct intent__parts;
struct intent__parts *intent__parts_new(void);
struct intent__parts *intent__parts_free(struct intent__parts *parts);
/* Set the prefixes; content of those that stay is kept. */
void intent__parts_set(struct intent__parts *parts, const char *const *prefixes);
size_t intent__parts_count(const struct intent__parts *parts);
const char *intent__parts_prefix(const struct intent__parts *parts, size_t index);
/* The content of one prefix (stolen reference); NULL forgets it (it must be read again). */
void intent__parts_put(struct intent__parts *parts, size_t index, struct intent_snapshot *snapshot);
struct intent_snapshot *intent__parts_get(const struct intent__parts *parts, size_t index); /* borrowed */
/* The next one taken is news, though nothing differs. */
void intent__parts_renew(struct intent__parts *parts);
/*
 * The merged snapshot if all parts are known and its content differs from the last one taken (or the set
 * of prefixes changed since), else NULL. A new reference.
 */
struct intent_snapshot *intent__parts_take(struct intent__parts *parts);

/*
 * More of snapshots (snapshot.c). share: an entry of another snapshot, its bytes shared.
 * strip: without the first `count` bytes of every key (a key of no more bytes is left out);
 * a new reference. truncate: drops the entries from index `count` on.
 */
void intent__snapshot_share(struct intent_snapshot *snapshot, const struct intent_entry *from);
/* What stands in both, byte for byte and of one revision, shares the older one's bytes. Nobody else may hold the newer. */
void intent__snapshot_adopt(struct intent_snapshot *snapshot, const struct intent_snapshot *old);
/* What documents.c has read from an entry's bytes; theirs, and empty at first. */
struct intent__reading {
	const char *key;     /* whose document; the entry's own */
	json_t *document;
	bool strict;         /* it was checked so */
};
struct intent__reading *intent__entry_reading(const struct intent_entry *entry);
struct intent_snapshot *intent__snapshot_strip(struct intent_snapshot *snapshot, size_t count);
void intent__snapshot_truncate(struct intent_snapshot *snapshot, size_t count);

/* 0, or INTENT_EUSAGE that says what is wrong with a key; no key is longer than INTENT_KEY_MAX. */
int intent__key_check(const char *key, struct intent_error *err);
/* A caller's prefix as the engine's: the store's own before it. */
int intent__prefix_whole(const struct intent_store *store, const char *prefix,
			 char out[INTENT_KEY_MAX + 1], struct intent_error *err);

/*
 * At most `most` prefixes that together cover these: the nearest two become their longest common
 * prefix until they are few enough. NULL-terminated, sorted; one block, free(). NULL without memory.
 */
char **intent__prefixes_merge(const char *const *prefixes, size_t count, size_t most);

/* Between 500 and 1000 ms at random: at most one reconnect a second, jittered. */
uint64_t intent__reconnect_delay(void);

#endif

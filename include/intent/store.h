/*
 * The intent store: one contract, three engines (dir:, consul://, etcd://).
 *
 * A key is 1-512 bytes of printable ASCII; a value is at most 512 KiB of
 * any bytes. Every successful write has a *revision*, a number that only grows
 * (Consul: ModifyIndex; etcd: mod_revision; dir: a counter). A prefix ends in '/'
 * (or is "" for everything): "nodes/web1/" never matches "nodes/web10/x". A key may end in
 * '/' too: the marker "nodes/web1/" is listed under its own prefix.
 *
 * Every call strips and adds the store's own key prefix (--prefix): callers only ever see
 * the layout of DESIGN section 3.
 *
 * Codes: INTENT_EABSENT (the key really is not there, as the engine's strongest
 * or default read says), INTENT_ECONFLICT (a compare failed, nothing was written),
 * INTENT_EUNAVAILABLE (nothing was done, or a read failed: try again), INTENT_EUNKNOWN (a write was
 * sent and its outcome is not known: read before trying again), INTENT_ETOOBIG, INTENT_EREFUSED
 * (permission denied: names the key and the way out), INTENT_EUSAGE (URL).
 */
#ifndef INTENT_STORE_H
#define INTENT_STORE_H

#include <uv.h>
#include <intent/json.h>

#define INTENT_VALUE_MAX (512u << 10)
#define INTENT_KEY_MAX 512
#define INTENT_TXN_MAX 64             /* operations and compares together: Consul's limit */

struct intent_store;

/* ---- opening ---- */

/*
 * The URL of the store to use: `given` (--store), PP_STORE, CONSUL_HTTP_ADDR or
 * ETCDCTL_ENDPOINTS, `configured` (store: of the configuration file), the directory
 * store that `ppctl init` made (/var/lib/platypus/store, for a person
 * $XDG_STATE_HOME/platypus/store), consul://127.0.0.1:8500. Owned. *ret_why is a
 * static word on where it came from ("--store", "PP_STORE", ...).
 */
char *intent_store_url(const char *given, const char *configured, const char **ret_why)
	intent_owned(free);

/*
 * Opens no connection: an engine that is down is found by the first call. TLS and
 * credentials come from the engine's own variables (CONSUL_HTTP_TOKEN, CONSUL_HTTP_TOKEN_FILE,
 * CONSUL_CACERT, CONSUL_CLIENT_CERT, ...; ETCDCTL_CACERT, ETCDCTL_CERT, ETCDCTL_KEY,
 * ETCDCTL_USER, ...). `prefix`: NULL or "" for none. `dir:` stores are not created here.
 */
int intent_store_open(const char *url, const char *prefix, struct intent_store **ret_owned,
		      struct intent_error *err);
struct intent_store *intent_store_close(struct intent_store *store); /* takes NULL, returns NULL; ends its sessions' files but destroys no session */
/* Without credentials: fit to be logged. Borrowed. */
const char *intent_store_name(const struct intent_store *store);
/* Create the directory of a dir: store (mode 0755, root's: 2775 is the operator's choice). */
int intent_store_init(const char *url, struct intent_error *err);

/* ---- reading ---- */

struct intent_entry {
	const char *key;          /* all borrowed from the snapshot */
	const char *value;        /* NUL-terminated for convenience */
	size_t length;
	uint64_t revision;        /* of its last write; > 0 */
	const char *session;      /* the session it is bound to, or NULL */
	bool untrusted;           /* dir: only: see "trust" below */
};

/* Immutable, counted references. Entries are sorted by key (bytewise). */
struct intent_snapshot {
	uint64_t revision;        /* of the store when it was read */
	size_t count;
	struct intent_entry *entries;
	int references;
};
struct intent_snapshot *intent_snapshot_ref(struct intent_snapshot *snapshot);
struct intent_snapshot *intent_snapshot_unref(struct intent_snapshot *snapshot); /* takes NULL, returns NULL */
/* Binary search; NULL when absent. */
const struct intent_entry *intent_snapshot_find(const struct intent_snapshot *snapshot, const char *key);
/* The first entry whose key starts with prefix; *ret_count how many do. */
const struct intent_entry *intent_snapshot_range(const struct intent_snapshot *snapshot,
						 const char *prefix, size_t *ret_count);
/* Same keys and values (revisions aside)? */
bool intent_snapshot_same(const struct intent_snapshot *a, const struct intent_snapshot *b);
/*
 * For the cache on disk, as JSON: {"revision", "entries": [{"key", "value" (base64), "revision"}]}. `keeps`: which
 * entries (NULL: all); such a part is of no revision (0).
 */
void intent_snapshot_write(const struct intent_snapshot *snapshot, bool (*keeps)(const struct intent_entry *entry),
			   struct intent_text *out);
int intent_snapshot_from_json(const json_t *json, struct intent_snapshot **ret_owned, struct intent_error *err);

/* Making one (engines and tests). Strings are copied. */
struct intent_snapshot *intent_snapshot_new(void);
void intent_snapshot_add(struct intent_snapshot *snapshot, const char *key, const void *value, size_t length,
			uint64_t revision, const char *session, bool untrusted);
void intent_snapshot_sort(struct intent_snapshot *snapshot);

/*
 * Trust (dir: only, where the process is root): documents under clusters/.../deploy_config, stacks/, jobs/,
 * gates/ and approvals/ can run things as root. An entry there whose file is not root's, or whose
 * store or directory others than its group may write, is marked `untrusted`; agents
 * refuse it. Remote engines have ACLs for this.
 */

enum intent_consistency {
	INTENT_DEFAULT,   /* what a watch sees: Consul default mode, etcd linearizable */
	INTENT_STRONGEST, /* before anything is removed: Consul ?consistent, etcd linearizable on a fresh connection */
};

/* One key: a snapshot with one entry, or INTENT_EABSENT. */
int intent_store_get(struct intent_store *store, const char *key, enum intent_consistency consistency,
		     struct intent_snapshot **ret_owned, struct intent_error *err);
/* All keys under a prefix, atomically; none is an empty snapshot, not an error. */
int intent_store_list(struct intent_store *store, const char *prefix, enum intent_consistency consistency,
		      struct intent_snapshot **ret_owned, struct intent_error *err);

/* ---- writing ---- */

enum intent_op_kind {
	INTENT_OP_PUT,      /* key, value, length; session: bind to it (the key goes when it ends) */
	INTENT_OP_DELETE,   /* key */
	INTENT_OP_CHECK,    /* compare: key's revision is `revision`; 0: the key is absent */
};

struct intent_op {
	enum intent_op_kind kind;
	const char *key;          /* borrowed, all */
	const void *value; size_t length;
	uint64_t revision;
	const char *session;
};

/*
 * All or nothing. INTENT_ECONFLICT names the first key whose compare failed. A put bound to
 * a session takes the key over from any other session (a lock compares first). *ret_revision
 * (may be NULL) is the revision of the write.
 */
int intent_store_txn(struct intent_store *store, const struct intent_op *ops, size_t count,
		     uint64_t *ret_revision, struct intent_error *err);

int intent_store_put(struct intent_store *store, const char *key, const void *value, size_t length,
		     struct intent_error *err);
/* revision 0: only when absent. */
int intent_store_cas(struct intent_store *store, const char *key, uint64_t revision,
		     const void *value, size_t length, uint64_t *ret_revision, struct intent_error *err);
/* Absent is fine. */
int intent_store_delete(struct intent_store *store, const char *key, struct intent_error *err);

/* ---- sessions ---- */

/*
 * A lease: what is bound to it goes when its owner does not renew within ttl (dir: when
 * the owner's process ends; ttl is ignored and renew does nothing). Renew before ttl*2/3
 * of CLOCK_BOOTTIME have passed, else stop acting on it. Consul's ttl is at least
 * 10 s and it may take up to twice as long to expire.
 */
int intent_session_open(struct intent_store *store, int64_t ttl_ms, char **ret_id_owned, struct intent_error *err);
/* INTENT_EABSENT: it is gone; open another one and bind again. */
int intent_session_renew(struct intent_store *store, const char *id, struct intent_error *err);
/* What is bound to it is deleted. Gone already is fine. */
int intent_session_close(struct intent_store *store, const char *id, struct intent_error *err);
/* Does this engine's session need renewing at all? */
bool intent_session_beats(const struct intent_store *store);

/* ---- locks ---- */

/*
 * A lock is a key bound to a session; its value says who and since when:
 * {"holder": "<agent>@<node>", "since": "<RFC 3339>", ...}. `fence` is the revision of the
 * acquisition: put INTENT_OP_CHECK of (key, fence) into every transaction that must
 * only happen while the lock is held. (Consul's LockIndex is no fence: a plain PUT resets it.)
 */
struct intent_lock {
	char *key;                /* owned */
	char *session;            /* owned */
	uint64_t fence;
};
/* INTENT_EBUSY names the holder and since when. Own session: taken again, same fence. */
int intent_lock_acquire(struct intent_store *store, const char *key, const char *session,
			const json_t *holder, struct intent_lock *ret, struct intent_error *err);
/* Strongest read: still ours? INTENT_EBUSY / INTENT_EABSENT when not. */
int intent_lock_verify(struct intent_store *store, const struct intent_lock *lock, struct intent_error *err);
int intent_lock_release(struct intent_store *store, struct intent_lock *lock, struct intent_error *err);
void intent_lock_clear(struct intent_lock *lock);

/* ---- on a loop ---- */

/* Once; the loop is borrowed until close. The blocking calls above must not be used on this store any more. */
int intent_store_attach(struct intent_store *store, uv_loop_t *loop, struct intent_error *err);

/* on_done comes once, from the loop, never from within the call itself; err->code 0 is success. */
typedef void (*intent_store_done)(struct intent_store *store, uint64_t revision, const char *session,
				  const struct intent_error *err, void *data);
/* ops and what they point at are copied. */
int intent_store_txn_start(struct intent_store *store, const struct intent_op *ops, size_t count,
			   intent_store_done on_done, void *data, struct intent_error *err);
int intent_session_open_start(struct intent_store *store, int64_t ttl_ms,
			      intent_store_done on_done, void *data, struct intent_error *err);
int intent_session_renew_start(struct intent_store *store, const char *id,
			       intent_store_done on_done, void *data, struct intent_error *err);
int intent_session_close_start(struct intent_store *store, const char *id,
			       intent_store_done on_done, void *data, struct intent_error *err);

/* ---- watching ---- */

struct intent_watch;

struct intent_watch_events {
	/*
	 * The whole content of all prefixes, merged and sorted: borrowed for the call (ref to
	 * keep). Comes first when every prefix has been read once, then whenever any key or
	 * value changed, never for equal content, at most once for a burst. Each prefix's part is
	 * consistent in itself and never older than one delivered before, unless the
	 * engine was restored.
	 */
	void (*on_snapshot)(struct intent_watch *watch, struct intent_snapshot *snapshot, void *data);
	/*
	 * err->code != 0: the store cannot be read (once per new cause; the watch goes on
	 * trying, at most once per second, jittered). err->code == 0: it can again.
	 */
	void (*on_trouble)(struct intent_watch *watch, const struct intent_error *err, void *data);
	void *data;
};

/*
 * prefixes: NULL-terminated, copied. A dropped connection, a lower index, compaction, a lost
 * leader: read again in full with a consistent read. An engine whose answer cannot be trusted (no
 * known leader) is trouble, not an empty snapshot.
 */
int intent_watch_start(struct intent_store *store, const char *const *prefixes,
		       const struct intent_watch_events *events, struct intent_watch **ret_owned,
		       struct intent_error *err);
/* Change the set; parts already known are kept, on_snapshot follows when the new ones are read. */
int intent_watch_set(struct intent_watch *watch, const char *const *prefixes, struct intent_error *err);
/* Read everything again now (SIGUSR1, resync). on_snapshot only when content differs. */
void intent_watch_refresh(struct intent_watch *watch);
struct intent_watch *intent_watch_stop(struct intent_watch *watch);

#endif

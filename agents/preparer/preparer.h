/*
 * What the files of the preparer share.
 *
 * Observed:
 *	{"installs": {"<directory>": {"ours": true, "version", "sha256", "installed"}
 *	                           | {"ours": false}
 *	                           | {"ours": false, "obstacle": "a regular file"}},
 *	 "links": {"current": "<directory>", "previous": "<directory>"},   without what leads elsewhere
 *	 "leftovers": <stale temporary names in installs, and expired files in the cache>}
 */
#ifndef PREPARER_H
#define PREPARER_H

#include <intent/agent.h>
#include <intent/digest.h>
#include <intent/sandbox.h>

/* Inside each installation; no archive may hold an entry of this name. */
#define PREPARER_RECORD ".platypus.json"
#define PREPARER_INSTALLS "installs"
#define PREPARER_CACHE_MS (10 * 60 * 1000)

int preparer_plan(const json_t *intent, const json_t *observed, struct intent_plan *plan,
		  struct intent_error *err);

/* ---- install.c: fetch, check, unpack, publish ---- */

/* <basedir>/installs/<app>_<version>; owned. */
char *preparer_install_path(const json_t *intent, const char *version);
int preparer_install(struct intent_round *round, const json_t *action, struct intent_error *err);

struct preparer_source;

/* ---- feed.c: the bytes of an artifact, wherever they come from ---- */

struct preparer_feed {
	struct intent_round *round;
	uid_t uid; gid_t gid;        /* of the fetcher; both 0: our own */
	int64_t stall_ms;
	const char *ca_file;         /* for https; NULL: the system's */
	int fd;                      /* read the artifact here, to the end */
	uint64_t total;              /* bytes; 0: not known */
	bool cached;                 /* read from the cache, not from its source */
	/* private */
	struct intent_sandbox_child child;
	int lock_fd, spool_fd;
	char spool[256];             /* temporary name in the cache */
	char entry[65];              /* final name */
	char *cache;                 /* its directory, owned; NULL: not cached */
};

/* Also waits for another application that is fetching the same one. INTENT_EABSENT: not there. */
int preparer_feed_open(struct preparer_feed *feed, const struct preparer_source *source, bool fresh,
		       struct intent_error *err);
/* What was read, for the cache. Trouble there only ends the caching. */
void preparer_feed_note(struct preparer_feed *feed, const void *bytes, size_t count);
/* After the end of fd: did the source really end there? */
int preparer_feed_finish(struct preparer_feed *feed, struct intent_error *err);
/* Let others use (or, when it was no good, do not let them use) the cached copy. */
void preparer_feed_release(struct preparer_feed *feed, bool good);

/* A small file beside the artifact; *ret_owned stays NULL when it is absent. */
int preparer_feed_beside(const struct preparer_feed *feed, const struct preparer_source *source,
			 const char *suffix, char **ret_owned, size_t *ret_count, struct intent_error *err);

/* Wait until fd can be read; INTENT_ESTALE when the round is to stop. */
int preparer_await(struct intent_round *round, int fd, struct intent_error *err);

/* How many files of the cache have expired (`remove`: and remove them), and how many will. */
int preparer_cache_look(const char *state_dir, bool remove, int *ret_expired, int *ret_fresh,
			struct intent_error *err);

/* ---- source.c: where an artifact may come from, and what it must be ---- */

struct preparer_source {
	char *url;           /* owned */
	bool trusted;        /* named by an option: read with our own rights */
	bool shared;         /* several applications may name it: kept for a while */
};

/* In the order to try, ended by a NULL url; owned. */
struct preparer_source *preparer_sources(const json_t *intent, const char *version);
struct preparer_source *preparer_sources_free(struct preparer_source *sources);

/* The URL of a file beside an artifact: "<path><suffix>?<query>"; owned. */
char *preparer_beside(const char *url, const char *suffix);

/*
 * What is known of an artifact, and what is demanded. Texts as they came, NULL when there is
 * none. 0: it may be installed; key gets the id of the key that signed, or 0.
 */
struct preparer_evidence {
	const char *document;              /* sha256 in the document */
	const char *sums; size_t sums_count;   /* <artifact>.sha256 */
	const char *signature; size_t signature_count; /* <artifact>.minisig */
	const struct intent_trusted_keys *keys; /* NULL: no signature is demanded */
	const char *name;                  /* of the artifact: what a signature may be bound to */
	const unsigned char *sha256, *blake2b; /* of what came */
};
int preparer_judge(const struct preparer_evidence *evidence, uint64_t *ret_key, struct intent_error *err);

/* ---- publish.c ---- */

/*
 * Write the record of the tree at staging_fd (named `staging` in installs_fd) into it, open it to all, and give it
 * its name.
 */
int preparer_publish(int installs_fd, const char *staging, int staging_fd, const char *name,
		     const json_t *record, struct intent_error *err);

#endif

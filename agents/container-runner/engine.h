/*
 * A client of the Docker Engine API, as Docker and Podman speak it (PROTOCOLS 2.5).
 *
 * Errors: INTENT_EENGINE when no engine answers at all; INTENT_EABSENT (404), INTENT_ECONFLICT (409), INTENT_EREFUSED
 * (another 4xx) and INTENT_EUNAVAILABLE (5xx) with what the engine said. INTENT_EUNAVAILABLE, too, for an answer that is
 * cut, late, or not what an engine says: a proxy's 404 does not mean that a container is gone. INTENT_EUNKNOWN when a
 * change was sent and no answer came.
 */
#ifndef CONTAINER_RUNNER_ENGINE_H
#define CONTAINER_RUNNER_ENGINE_H

#include <intent/http.h>
#include <intent/json.h>

struct engine {
	struct intent_http *http; /* owned */
	char base[300];           /* "http://localhost/v1.41" */
	char where[256];          /* "unix:///var/run/docker.sock" */
	int64_t patience_ms;      /* of one exchange */
	bool spoke;               /* the last exchange ended in words of the engine's own: it was not cut, and no proxy's */
};

/* ---- engine-open.c ---- */

/* `host`: DOCKER_HOST's value; NULL: the usual sockets. Asks which version of the API the engine has. */
int engine__open(const char *host, int64_t patience_ms, struct engine *ret, struct intent_error *err);
void engine__close(struct engine *engine);
/* <where docker login leaves what it knows>/name; owned. */
char *engine__config_path(const char *name);

/* ---- engine.c ---- */

/* One more part of a path or query, percent-encoded. */
void engine__escape(struct intent_text *path, const char *word);

/* GET of an object. New. */
int engine__get(struct engine *engine, const char *path, json_t **ret_new, struct intent_error *err);
/* GET of the list of what fits a filter; `path` ends in "?" or "&", `values` is an array, stolen. New. */
int engine__find(struct engine *engine, const char *path, const char *filter, json_t *values, json_t **ret_new,
		 struct intent_error *err);
/* One container, by name or id, with all that makes one. New. */
int engine__inspect(struct engine *engine, const char *name, json_t **ret_new, struct intent_error *err);
/*
 * POST, DELETE, ... `body` may be NULL; *ret_new (may be NULL) is the answer, if it is an object. 304, nothing to be
 * done, is success. `patience_ms` beside the time that every call has.
 */
int engine__change(struct engine *engine, const char *method, const char *path, const json_t *body,
		   int64_t patience_ms, json_t **ret_new, struct intent_error *err);
/* Any exchange; what is no success is an error. */
int engine__perform(struct engine *engine, struct intent_http_request *request, struct intent_http_response *response,
		    struct intent_error *err);

/* ---- engine-files.c ---- */

/* A file of the container, mode 0444, by its absolute path; parents are made. */
int engine__put_file(struct engine *engine, const char *container, const char *path, const char *bytes,
		     struct intent_error *err);
/* The last lines of what it said, both streams in their order. */
int engine__logs(struct engine *engine, const char *container, int lines, struct intent_text *out,
		 struct intent_error *err);

/* ---- pull.c, account.c ---- */

/* Called for each step; anything but 0 gives up with that code. */
typedef int (*engine__progress)(const char *words, void *data);
/* With the account for its registry that docker login left. */
int engine__pull(struct engine *engine, const char *image, engine__progress progress, void *data,
		 struct intent_error *err);
/*
 * "X-Registry-Auth: ..." for an image; owned, a secret; NULL: none is sent. `words` say, without a secret, which account
 * was sent, or where one was looked for.
 */
char *engine__account(const char *image, char words[400]);

#endif

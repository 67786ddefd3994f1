/*
 * A client of the Docker Engine API, as Docker and Podman speak it (PROTOCOLS 2.5).
 *
 * Errors: INTENT_EENGINE when no engine answers at all; INTENT_EABSENT (404), INTENT_ECONFLICT (409), INTENT_EREFUSED
 * (another 4xx) and INTENT_EUNAVAILABLE (5xx, a cut or late answer) with what the engine said; INTENT_EUNKNOWN when a
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
};

/* `host`: DOCKER_HOST's value; NULL: the usual sockets. Asks which version of the API the engine has. */
int engine__open(const char *host, int64_t patience_ms, struct engine *ret, struct intent_error *err);
void engine__close(struct engine *engine);

/* One more part of a path or query, percent-encoded. */
void engine__escape(struct intent_text *path, const char *word);
/* "?filters=" with one list of strings, as lists of containers and volumes take it. */
void engine__filter(struct intent_text *path, const char *name, const json_t *values);

/* GET. New. */
int engine__get(struct engine *engine, const char *path, json_t **ret_new, struct intent_error *err);
/*
 * POST, DELETE, ... `body` may be NULL; *ret_new (may be NULL) is the answer, if it is JSON. 304, nothing to be done,
 * is success. `patience_ms` beside the time that every call has.
 */
int engine__change(struct engine *engine, const char *method, const char *path, const json_t *body,
		   int64_t patience_ms, json_t **ret_new, struct intent_error *err);
/* A file of the container, mode 0444, by its absolute path; parents are made. */
int engine__put_file(struct engine *engine, const char *container, const char *path, const char *bytes,
		     struct intent_error *err);
/* The last lines of what it said, both streams in their order. */
int engine__logs(struct engine *engine, const char *container, int lines, struct intent_text *out,
		 struct intent_error *err);

/* Called for each step; anything but 0 gives up with that code. */
typedef int (*engine__progress)(const char *words, void *data);
int engine__pull(struct engine *engine, const char *image, engine__progress progress, void *data,
		 struct intent_error *err);

#endif

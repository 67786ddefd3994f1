/*
 * Status documents: reality/status/<agent>/<node>/<slice>, for people and
 * monitors. Written only on change, in batches, bound to one lease that a dead
 * agent stops renewing. --once publishes without a lease.
 */
#include <intent/documents.h>
#include "run.h"

#define LEASE_TTL_MS 60000
#define LEASE_BEAT_MS 20000
#define RETRY_MS 2000
#define BATCH_MAX 32
#define BATCH_BYTES (256u << 10)  /* Consul takes 512 KiB in one transaction */
#define DETAIL_BYTES (64u << 10)  /* a longer document goes without its detail */

struct intent__status {
	const struct intent__context *context;
	struct intent_store *store;  /* borrowed */
	uv_timer_t beat, flush;
	json_t *documents;           /* {slice: document} */
	json_t *owed;                /* {slice: true}: differs from what the store has */
	json_t *in_flight;           /* slices of the batch under way, or NULL */
	json_t *leased;              /* --once: slices whose document a running agent keeps */
	char *session;               /* owned; NULL: none yet */
	int trouble;                 /* the code that was logged last; 0: it works */
	int64_t renewed_at;
	bool wanted;                 /* a session is to be open, though nothing may be owed */
	bool opening, finishing, closing_session;
	void (*on_session)(const char *session, void *data);
	void *session_data;
	unsigned epoch;              /* answers to questions asked before a move are dropped */
	void (*on_done)(void *data);
	void *done_data;
	int handles;
};

static void flush_soon(struct intent__status *status, uint64_t ms);

static bool needs_lease(const struct intent__status *status)
{
	return !status->context->once;
}

static char *status_key(const struct intent__status *status, const char *slice)
{
	return intent_format("reality/status/%s/%s/%s", status->context->agent->name, status->context->node, slice);
}

static void maybe_done(struct intent__status *status)
{
	void (*on_done)(void *data) = status->on_done;

	if (!status->finishing || status->in_flight || status->closing_session || !on_done)
		return;
	status->on_done = NULL;
	on_done(status->done_data);
}

/* What a callback needs: the answer may come after a move to another store. */
struct question {
	struct intent__status *status;
	unsigned epoch;
};

static struct question *ask(struct intent__status *status)
{
	struct question *question = calloc(1, sizeof(*question));

	if (question)
		*question = (struct question){status, status->epoch};
	return question;
}

static struct intent__status *answer(void *data)
{
	struct question *question = data;
	struct intent__status *status = question->epoch == question->status->epoch ? question->status : NULL;

	free(question);
	return status;
}

static void owe_everything(struct intent__status *status)
{
	const char *slice;
	json_t *document;

	json_object_foreach(status->documents, slice, document)
		json_object_set_new(status->owed, slice, json_true());
}

/* Once a cause: the store's being away is said elsewhere, but who runs once has no time to see it. */
static void note_outcome(struct intent__status *status, const struct intent_error *err)
{
	if (err->code && err->code != status->trouble && err->code != INTENT_EABSENT &&
	    (err->code != INTENT_EUNAVAILABLE || status->context->once))
		intent_log(INTENT_WARN, NULL, "Status could not be published: %s", err->msg);
	status->trouble = err->code;
}

static void on_session(struct intent_store *store, uint64_t revision, const char *session,
		       const struct intent_error *err, void *data)
{
	struct intent__status *status = answer(data);

	(void)store;
	(void)revision;
	if (!status)
		return;
	status->opening = false;
	note_outcome(status, err);
	status->session = err->code ? NULL : strdup(session);
	if (status->session) {
		status->wanted = false;
		status->renewed_at = intent_time_monotonic();
		owe_everything(status);
	}
	flush_soon(status, status->session ? 0 : RETRY_MS);
	if (status->on_session)
		status->on_session(status->session, status->session_data);
}

/* Another one is opened: facts may have hung on it, too. */
static void lose_session(struct intent__status *status)
{
	status->wanted |= status->session != NULL;
	free(status->session);
	status->session = NULL;
}

static void on_batch(struct intent_store *store, uint64_t revision, const char *session,
		     const struct intent_error *err, void *data)
{
	struct intent__status *status = answer(data);
	const char *slice;
	json_t *item;

	(void)store;
	(void)revision;
	(void)session;
	if (!status)
		return;
	note_outcome(status, err);
	if (err->code)
		json_object_foreach(status->in_flight, slice, item)
			json_object_set_new(status->owed, slice, json_true());
	json_decref(status->in_flight);
	status->in_flight = NULL;
	if (err->code == INTENT_EABSENT) /* the lease is gone */
		lose_session(status);
	if (err->code && !status->finishing)
		flush_soon(status, RETRY_MS);
	else if (!err->code && json_object_size(status->owed))
		flush_soon(status, 0);
	else
		maybe_done(status);
}

struct batch {
	struct intent_op ops[BATCH_MAX];
	char *keys[BATCH_MAX], *values[BATCH_MAX]; /* owned */
	size_t count, bytes;
};

/* The document as it is written; owned. What an agent says must not hold up what others say. */
static char *document_text(const json_t *document)
{
	char *text = intent_json_canonical(document);

	if (text && strlen(text) > DETAIL_BYTES) {
		intent_json_auto json_t *shorter = json_copy((json_t *)(uintptr_t)document);

		free(text);
		json_object_set_new(shorter, "detail", json_pack("{ss}", "omitted", "it is too long for the store"));
		text = intent_json_canonical(shorter);
	}
	return text;
}

/* False when it is full. A slice whose name makes no key is served on --listen only. */
static bool add_to_batch(struct intent__status *status, struct batch *batch, const char *slice)
{
	const json_t *document = json_object_get(status->documents, slice);
	intent_free_auto char *key = status_key(status, slice), *text = NULL;
	size_t i = batch->count;

	if (i == BATCH_MAX || batch->bytes >= BATCH_BYTES)
		return false;
	if (!key || !intent_document_find(key))
		return true;
	text = document ? document_text(document) : NULL;
	if (document && !text)
		return true;
	batch->ops[i] = (struct intent_op){
		.kind = document ? INTENT_OP_PUT : INTENT_OP_DELETE, .key = key,
		.value = text, .length = text ? strlen(text) : 0, .session = document ? status->session : NULL,
	};
	batch->bytes += batch->ops[i].length;
	batch->keys[i] = key;
	batch->values[i] = text;
	key = text = NULL;
	batch->count++;
	return true;
}

/* One batch: puts and deletes of what is owed. */
static void send_batch(struct intent__status *status)
{
	struct batch batch = {.count = 0};
	struct question *question;
	struct intent_error err;
	const char *slice;
	json_t *item;
	void *next;

	status->in_flight = json_object();
	json_object_foreach_safe(status->owed, next, slice, item) {
		if (!add_to_batch(status, &batch, slice))
			break;
		json_object_set_new(status->in_flight, slice, json_true());
		json_object_del(status->owed, slice);
	}
	question = batch.count ? ask(status) : NULL;
	if (!question || intent_store_txn_start(status->store, batch.ops, batch.count, on_batch, question, &err) < 0) {
		if (batch.count) {
			json_object_update(status->owed, status->in_flight);
			flush_soon(status, RETRY_MS);
		}
		json_decref(status->in_flight);
		status->in_flight = NULL;
		free(question);
	}
	for (size_t i = 0; i < batch.count; i++) {
		free(batch.keys[i]);
		free(batch.values[i]);
	}
}

static void on_flush(uv_timer_t *timer)
{
	struct intent__status *status = timer->data;
	struct intent_error err;

	if (status->in_flight || status->opening || !(status->wanted || json_object_size(status->owed)))
		return;
	if (!needs_lease(status) || status->session) {
		send_batch(status);
		return;
	}
	struct question *question = ask(status);

	status->opening = true;
	if (!question || intent_session_open_start(status->store, LEASE_TTL_MS, on_session, question, &err) < 0) {
		status->opening = false;
		free(question);
		flush_soon(status, RETRY_MS);
	}
}

static void flush_soon(struct intent__status *status, uint64_t ms)
{
	if (!uv_is_closing((uv_handle_t *)&status->flush))
		uv_timer_start(&status->flush, on_flush, ms, 0);
}

static void on_renewed(struct intent_store *store, uint64_t revision, const char *session,
		       const struct intent_error *err, void *data)
{
	struct intent__status *status = answer(data);

	(void)store;
	(void)revision;
	(void)session;
	if (!status)
		return;
	if (!err->code) {
		status->renewed_at = intent_time_monotonic();
		return;
	}
	/* Gone, or too long without an answer to be sure of it: a new one. */
	if (err->code == INTENT_EABSENT ||
	    intent_time_monotonic() - status->renewed_at > LEASE_TTL_MS) {
		lose_session(status);
		owe_everything(status);
		flush_soon(status, 0);
	}
}

static void on_beat(uv_timer_t *timer)
{
	struct intent__status *status = timer->data;
	struct intent_error ignored;
	struct question *question;

	if (!status->session || !intent_session_beats(status->store))
		return;
	question = ask(status);
	if (!question || intent_session_renew_start(status->store, status->session, on_renewed, question, &ignored) < 0)
		free(question);
}

struct intent__status *intent__status_new(const struct intent__context *context, struct intent_store *store,
					  uv_loop_t *loop)
{
	struct intent__status *status = calloc(1, sizeof(*status));

	status->context = context;
	status->store = store;
	status->documents = json_object();
	status->owed = json_object();
	status->leased = json_object();
	uv_timer_init(loop, &status->beat);
	uv_timer_init(loop, &status->flush);
	status->beat.data = status->flush.data = status;
	status->handles = 2;
	if (!context->once && intent_session_beats(store))
		uv_timer_start(&status->beat, on_beat, LEASE_BEAT_MS, LEASE_BEAT_MS);
	return status;
}

/* Equal but for when and how often? */
static bool same_standing(const json_t *a, const json_t *b)
{
	static const char *const compared[] = {"state", "reason", "message", "intent_digest", "detail", "once"};

	for (size_t i = 0; i < sizeof(compared) / sizeof(compared[0]); i++) {
		const json_t *x = json_object_get(a, compared[i]), *y = json_object_get(b, compared[i]);

		if (x != y && (!x || !y || !json_equal(x, y)))
			return false;
	}
	return true;
}

void intent__status_set(struct intent__status *status, const char *slice, json_t *document)
{
	json_t *before = json_object_get(status->documents, slice);

	if (document && before && json_equal(before, document)) {
		json_decref(document);
		return;
	}
	if (!document && !before)
		return;
	/* --once leaves a document that says the same, or that a running agent keeps. */
	if (before && status->context->once &&
	    ((document && same_standing(before, document)) || json_object_get(status->leased, slice))) {
		json_decref(document);
		return;
	}
	json_object_set_new(status->owed, slice, json_true());
	if (document)
		json_object_set_new(status->documents, slice, document);
	else
		json_object_del(status->documents, slice); /* the name may have been this table's own */
	if (!status->in_flight)
		flush_soon(status, 0);
}

const json_t *intent__status_get(const struct intent__status *status, const char *slice)
{
	return json_object_get(status->documents, slice);
}

const json_t *intent__status_all(const struct intent__status *status)
{
	return status->documents;
}

void intent__status_seen(struct intent__status *status, const struct intent_snapshot *snapshot)
{
	intent_free_auto char *prefix = status_key(status, "");
	size_t count;
	const struct intent_entry *entry = intent_snapshot_range(snapshot, prefix, &count);

	for (size_t i = 0; i < count; i++, entry++) {
		struct intent_error ignored;
		json_t *document;

		if (!intent_json_parse(entry->value, entry->length, 0, &document, &ignored))
			json_object_set_new(status->documents, entry->key + strlen(prefix), document);
		if (entry->session)
			json_object_set_new(status->leased, entry->key + strlen(prefix), json_true());
	}
}

void intent__status_retry(struct intent__status *status)
{
	if ((status->wanted || json_object_size(status->owed)) && !status->in_flight)
		flush_soon(status, 0);
}

const char *intent__status_session(const struct intent__status *status)
{
	return status->session;
}

void intent__status_want_session(struct intent__status *status)
{
	if (status->session || status->finishing)
		return;
	status->wanted = true;
	flush_soon(status, 0);
}

void intent__status_on_session(struct intent__status *status, void (*callback)(const char *session, void *data),
			       void *data)
{
	status->on_session = callback;
	status->session_data = data;
}

static void on_closed(struct intent_store *store, uint64_t revision, const char *session,
		      const struct intent_error *err, void *data)
{
	struct intent__status *status = answer(data);

	(void)store;
	(void)revision;
	(void)session;
	(void)err;
	if (!status)
		return;
	status->closing_session = false;
	maybe_done(status);
}

void intent__status_finish(struct intent__status *status, void (*on_done)(void *data), void *data)
{
	struct intent_error ignored;
	struct question *question;

	status->finishing = true;
	status->wanted = false;
	status->on_done = on_done;
	status->done_data = data;
	if (status->session) {
		/* The documents go with the lease. */
		json_object_clear(status->owed);
		question = ask(status);
		status->closing_session = question &&
			intent_session_close_start(status->store, status->session, on_closed, question, &ignored) == 0;
		if (!status->closing_session)
			free(question);
	} else if (json_object_size(status->owed) && !status->in_flight && !needs_lease(status)) {
		send_batch(status);
	}
	maybe_done(status);
}

void intent__status_move(struct intent__status *status, struct intent_store *store)
{
	status->epoch++;
	status->store = store;
	status->opening = false;
	lose_session(status);
	json_decref(status->in_flight);
	status->in_flight = NULL;
	owe_everything(status);
	flush_soon(status, 0);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct intent__status *status = handle->data;

	if (--status->handles)
		return;
	json_decref(status->documents);
	json_decref(status->owed);
	json_decref(status->in_flight);
	json_decref(status->leased);
	free(status->session);
	free(status);
}

struct intent__status *intent__status_free(struct intent__status *status)
{
	if (status) {
		status->epoch++;
		uv_close((uv_handle_t *)&status->beat, on_handle_closed);
		uv_close((uv_handle_t *)&status->flush, on_handle_closed);
	}
	return NULL;
}

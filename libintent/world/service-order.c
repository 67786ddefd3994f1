/* Stopping, starting and removing services: the same for every supervisor. */

#include "supervisor.h"

#define KILL_WAIT_MS 5000    /* from SIGKILL until gone */
#define EXIT_WAIT_MS 10000   /* until a supervisor has left, or has taken an order */
#define BLIND_MAX 4          /* looks in a row that say nothing */
#define POLL_SHARE 16        /* ask again after a sixteenth of the time waited so far */
#define POLL_MIN_US 250
#define POLL_MAX_US 100000

int intent__wait(int64_t deadline, bool (*done)(void *data), bool (*cancelled)(void *data),
	       void *data, struct intent_error *err)
{
	int64_t start = intent_time_monotonic();

	while (!done(data)) {
		int64_t now = intent_time_monotonic();
		int64_t pause_us = (now - start) * 1000 / POLL_SHARE;

		if (now >= deadline)
			return intent_fail(err, INTENT_ETIMEOUT, "the time is up");
		if (cancelled && cancelled(data))
			return intent_fail(err, INTENT_ESTALE,
					   "stopped waiting: told to end, or intent changed");
		if (pause_us > (deadline - now) * 1000)
			pause_us = (deadline - now) * 1000;
		usleep((useconds_t)(pause_us < POLL_MIN_US ? POLL_MIN_US :
				    pause_us > POLL_MAX_US ? POLL_MAX_US : pause_us));
	}
	return 0;
}

/* ---- of all services of an order ---- */

static const char *first_of(const struct intent_service_order *order)
{
	const char *name = json_string_value(json_array_get(order->names, 0));

	return name ? name : order->site->app;
}

/*
 * What intent__wait() gets as data. A look that fails says nothing, and the next may well do: who gave up at once would
 * leave a service that runs without a note of it, to be started anew. A few in a row end the wait with their error.
 */
struct wait {
	const struct intent_service_order *order;
	bool (*test)(const struct intent__seen *seen);
	json_t *left;      /* names of what could not be told to settle yet */
	struct intent_error *err;
	int code, blind;   /* of the last look, and how many failed in a row */
};

static bool all(struct wait *wait)
{
	const struct intent_site *site = wait->order->site;
	struct intent_error ignored;
	struct intent__seen seen;
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)wait->order->names, i, item) {
		wait->code = site->supervisor->look(site, json_string_value(item), &seen, wait->err);
		if (wait->code)
			return ++wait->blind == BLIND_MAX;
		wait->blind = 0;
		if (seen.spent)
			(void)site->supervisor->tell(site, json_string_value(item), INTENT__LEAVE, &ignored);
		if (!wait->test(&seen))
			return false;
	}
	return true;
}

static bool has_ended(const struct intent__seen *seen) { return seen->ended; }
static bool is_supervised(const struct intent__seen *seen)
{
	return seen->supervised && !seen->leaving && !seen->spent;
}
static bool is_going(const struct intent__seen *seen) { return !is_supervised(seen); }
static bool is_left(const struct intent__seen *seen) { return !seen->supervised; }
static bool is_told_up(const struct intent__seen *seen) { return is_supervised(seen) && seen->want_up; }

static bool wait_done(void *data)
{
	return all(data);
}

static bool wait_cancelled(void *data)
{
	const struct wait *wait = data;

	return wait->order->waiting && wait->order->waiting(wait->order->data);
}

static int wait_for(struct wait *wait, bool (*done)(void *data), int64_t patience_ms)
{
	int code = intent__wait(intent_time_monotonic() + patience_ms, done, wait_cancelled, wait, wait->err);

	return code ? code : wait->code;
}

static int await(const struct intent_service_order *order, bool (*test)(const struct intent__seen *seen),
		 int64_t patience_ms, struct intent_error *err)
{
	struct wait wait = { .order = order, .test = test, .err = err };

	return wait_for(&wait, wait_done, patience_ms);
}

/* A supervisor that is not there has nothing to be told. */
static int tell_all(const struct intent_service_order *order, enum intent__command command,
		    struct intent_error *err)
{
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)order->names, i, item)
		if (order->site->supervisor->tell(order->site, json_string_value(item), command, err) &&
		    err->code != INTENT_EUNSUPERVISED)
			return err->code;
	return 0;
}

static int set_boot_all(const struct intent_service_order *order, bool up, struct intent_error *err)
{
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)order->names, i, item)
		if (order->site->supervisor->set_boot(order->site, json_string_value(item), up, err))
			return err->code;
	return 0;
}

/* ---- stop ---- */

int64_t intent_service_stop_timeout(const json_t *intent)
{
	return intent_json_duration(json_object_get(intent, "deploy"), "stop_timeout",
				    intent_json_integer(json_object_get(intent, "options"), "stop-timeout", 30000));
}

/* After they were told: time to end, then SIGKILL. */
static int await_down(const struct intent_service_order *order, struct intent_error *err)
{
	int code = await(order, has_ended, order->timeout_ms, err);
	struct intent_error ignored;
	char limit[24], words[80];

	if (code != INTENT_ETIMEOUT)
		return code;
	intent_duration_format(order->timeout_ms, limit);
	snprintf(words, sizeof words, "did not stop within %s, killing it", limit);
	if (order->note)
		order->note(words, order->data);
	tell_all(order, INTENT__KILL, &ignored);
	code = await(order, has_ended, KILL_WAIT_MS, err);
	if (code == INTENT_ETIMEOUT)
		return intent_fail(err, code, "%s/%s did not end after SIGKILL; its process is stuck in the "
				   "kernel, or its finish script hangs", order->site->stage, first_of(order));
	return code;
}

int intent_services_stop(const struct intent_service_order *order, bool for_good, struct intent_error *err)
{
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)order->names, i, item)
		if (intent__service_forget_start(order->site, json_string_value(item), err))
			return err->code;
	if (for_good && set_boot_all(order, false, err))
		return err->code;
	return tell_all(order, INTENT__DOWN, err) ? err->code : await_down(order, err);
}

/* ---- settle ---- */

static bool is_settled(void *data)
{
	struct wait *wait = data;
	const struct intent_site *site = wait->order->site;

	for (size_t i = json_array_size(wait->left); i-- > 0;) {
		const char *name = json_string_value(json_array_get(wait->left, i));

		wait->code = site->supervisor->tell(site, name, INTENT__SETTLE, wait->err);
		if (!wait->code || wait->code == INTENT_EUNSUPERVISED)
			json_array_remove(wait->left, i);
		else if (wait->code != INTENT_EBUSY)
			return true;
	}
	wait->code = 0;
	return !json_array_size(wait->left) && all(wait);
}

int intent_services_settle_down(const struct intent_service_order *order, bool *ret_down,
				struct intent_error *err)
{
	intent_json_auto json_t *told = json_array(), *left = NULL;
	struct intent_service_order back = *order;
	struct intent_error ignored;
	struct intent__seen seen;
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)order->names, i, item) {
		if (order->site->supervisor->look(order->site, json_string_value(item), &seen, err))
			return err->code;
		if (!seen.ended)
			json_array_append(told, item);
	}
	left = json_copy(told);
	back.names = told;
	struct wait wait = { .order = order, .test = has_ended, .left = left, .err = err };
	int code = wait_for(&wait, is_settled, order->timeout_ms);
	/* One of them stays up: none was to be harmed. */
	if (code)
		tell_all(&back, INTENT__UP, &ignored);
	if (code && code != INTENT_ETIMEOUT)
		return code;
	*ret_down = !code;
	return 0;
}

/* ---- start ---- */

static int no_supervisor(const struct intent_service_order *order, struct intent_error *err)
{
	char advice[512];

	order->site->supervisor->advise(order->site, advice);
	return intent_fail(err, INTENT_EUNSUPERVISED, "no supervisor has taken %s/%s; %s", order->site->stage,
			   first_of(order), advice);
}

/* What we stopped has no note of its start any more. */
static int went_down_untold(const struct intent_service_order *order, bool *ret, struct intent_error *err)
{
	size_t i;
	json_t *item;

	*ret = false;
	json_array_foreach((json_t *)(uintptr_t)order->names, i, item) {
		const char *name = json_string_value(item);
		intent_free_auto char *path = intent__service_path(order->site, name, INTENT__STARTED);

		if (!*ret && intent_file_exists(path, 0, ret, err))
			return err->code;
	}
	return 0;
}

/* What went down by no order of ours may have done so because its supervisor leaves, which shows only later. */
static int await_supervisor(const struct intent_service_order *order, struct intent_error *err)
{
	bool untold;

	int code = await(order, is_supervised, order->timeout_ms, err);
	if (!code && went_down_untold(order, &untold, err))
		return err->code;
	if (!code && untold && order->site->supervisor->sure_ms) {
		code = await(order, is_going, order->site->supervisor->sure_ms, err);
		if (!code || code == INTENT_ETIMEOUT)
			code = await(order, is_supervised, order->timeout_ms, err);
	}
	return code == INTENT_ETIMEOUT ? no_supervisor(order, err) : code;
}

int intent_services_start(const struct intent_service_order *order, const json_t *started,
			  struct intent_error *err)
{
	const struct intent_site *site = order->site;
	struct intent_error ignored;
	size_t i;
	json_t *item;

	int code = await_supervisor(order, err);
	json_array_foreach((json_t *)(uintptr_t)order->names, i, item)
		if (!code)
			code = intent__service_forgive(site, json_string_value(item), err);
	/* Not before: a supervisor that comes later would start it without us. */
	if (code || set_boot_all(order, true, err) || tell_all(order, INTENT__UP, err))
		return err->code;
	/* By the next one, should this one have left meanwhile. */
	code = await(order, is_told_up, EXIT_WAIT_MS, err);
	if (code == INTENT_ETIMEOUT && await(order, is_supervised, 0, &ignored))
		return no_supervisor(order, err);
	if (code == INTENT_ETIMEOUT)
		return intent_fail(err, code, "the supervisor of %s/%s does not answer", site->stage,
				   first_of(order));
	if (code)
		return code;
	json_array_foreach((json_t *)(uintptr_t)order->names, i, item)
		if (intent__service_record_start(site, json_string_value(item), started, err))
			return err->code;
	return 0;
}

/* ---- remove ---- */

/*
 * Out of the supervisor's sight first, so that none starts it again; then stop, tell it to leave and wait for
 * it, and only then take the directory away.
 */
int intent_service_remove(const struct intent_service_order *order, struct intent_error *err)
{
	const char *name = first_of(order);
	intent_free_auto char *directory = intent__service_path(order->site, name, NULL);

	if (order->site->supervisor->withdraw(order->site, name, err) ||
	    tell_all(order, INTENT__DOWN, err) || await_down(order, err) ||
	    tell_all(order, INTENT__LEAVE, err))
		return err->code;
	int code = await(order, is_left, EXIT_WAIT_MS, err);
	if (code == INTENT_ETIMEOUT)
		return intent_fail(err, code, "the supervisor of %s does not leave it", directory);
	return code ? code : intent_tree_retire(directory, err);
}

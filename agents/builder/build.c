/* One build: its lock, the checkout, the artifact, the fact. */
#include <intent/file.h>
#include "builder.h"

char *builder__lock_key(const struct builder_target *target)
{
	return intent_format("locks/build/%s", target->input);
}

int builder__look(struct builder *builder, const struct builder_target *target, json_t **ret_new,
		  struct intent_error *err)
{
	return target->image ? builder__look_for_image(builder, target, ret_new, err) :
			       builder__look_for_tarball(builder, target, ret_new, err);
}

/* ---- the fact ---- */

static char *fact_key(const struct builder *builder, const struct builder_target *target)
{
	return intent_format("reality/builds/%s/%s/%s", builder->app, target->revision, target->recipe);
}

int builder__fact(struct builder *builder, const struct builder_target *target, json_t **ret_new,
		  struct intent_error *err)
{
	intent_free_auto char *key = fact_key(builder, target);
	struct intent_snapshot *found = NULL;
	struct intent_store *store;
	struct intent_error ignored;
	int code;

	*ret_new = NULL;
	if (intent_round_store(builder->round, &store, err) < 0)
		return err->code;
	code = intent_store_get(store, key, INTENT_DEFAULT, &found, err);
	if (!code && intent_json_parse(found->entries->value, found->entries->length, 0, ret_new, &ignored) < 0)
		*ret_new = NULL;
	intent_snapshot_unref(found);
	return code == INTENT_EABSENT ? 0 : code;
}

bool builder__says(const json_t *fact, const struct builder_target *target, const json_t *artifact)
{
	static const char *const members[] = {"image", "id", "url", "sha256"};

	if (strcmp(intent_json_string(fact, "input", ""), target->input))
		return false;
	for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++)
		if (strcmp(intent_json_string(fact, members[i], ""), intent_json_string(artifact, members[i], "")))
			return false;
	return true;
}

static int write_fact(struct builder *builder, const struct builder_target *target, const json_t *artifact,
		      struct intent_error *err)
{
	intent_json_auto json_t *before = NULL, *fact = json_deep_copy(artifact);
	intent_free_auto char *key = fact_key(builder, target), *value = NULL;
	struct intent_store *store;
	char now[32];

	if (builder__fact(builder, target, &before, err) < 0)
		return err->code;
	if (before && builder__says(before, target, artifact))
		return 0;
	intent_time_format(intent_time_now(), now);
	json_object_set_new(fact, "input", json_string(target->input));
	json_object_set_new(fact, "at", json_string(now));
	json_object_set_new(fact, "node", json_string(builder->node));
	value = intent_json_canonical(fact);
	if (intent_round_store(builder->round, &store, err) < 0)
		return err->code;
	return intent_store_put(store, key, value, strlen(value), err);
}

/* ---- building ---- */

/* What says something of the input itself: trying again without a change would come to the same. */
static bool is_verdict(int code)
{
	return code == INTENT_ECHILD || code == INTENT_ETIMEOUT || code == INTENT_EMALFORMED ||
	       code == INTENT_EREFUSED || code == INTENT_ETOOBIG;
}

static void note(struct builder *builder, const struct builder_target *target, struct builder_log *log,
		 struct intent_error *err)
{
	intent_free_auto char *tail = builder__log_tail(log);
	intent_free_auto char *words = intent_format("%.300s (log: %s)", err->msg, builder__log_path(log));
	intent_json_auto json_t *failure = NULL;
	struct intent_error ignored;

	intent_utf8_clean(words); /* cut, perhaps within a character */
	builder__log_printf(log, "failed: %s", err->msg);
	intent_fail(err, err->code, "%s at %.12s: %s", target->name, target->revision, words);
	if (!is_verdict(err->code))
		return;
	failure = json_pack("{sI si ss ss ss}", "at", (json_int_t)intent_time_now(), "code", err->code, "words",
			    words, "log", builder__log_path(log), "tail", tail);
	if (builder__note_failure(builder, target, failure, &ignored) < 0)
		intent_round_log(builder->round, INTENT_WARN, "The failure could not be noted: %s", ignored.msg);
	/* The round ends here: what it saw before was not yet so. */
	intent_round_detail(builder->round, "failed",
			    json_pack("{s{ss ss ss}}", target->name, "revision", target->revision,
				      "log", builder__log_path(log), "tail", tail));
}

static int make(struct builder *builder, const struct builder_target *target, struct intent_error *err)
{
	struct builder_log *log = builder__log_open(builder, target, err);
	intent_free_auto char *directory = NULL;
	struct intent_error ignored;
	int code;

	if (!log)
		return err->code;
	builder__log_printf(log, "%s of %s at %s, input %s", target->name, builder->app, target->revision,
			    target->input);
	builder->phase = "checkout";
	code = builder__checkout(builder, target, &directory, err);
	builder->phase = "build";
	if (!code)
		code = target->image ? builder__make_image(builder, target, directory, log, err) :
				       builder__make_tarball(builder, target, directory, log, err);
	if (code)
		note(builder, target, log, err);
	else
		builder__forget_failure(builder, target);
	if (directory)
		intent_tree_remove(directory, &ignored);
	builder__log_close(log);
	return code;
}

static int make_locked(struct builder *builder, const struct builder_target *target, struct intent_error *err)
{
	intent_json_auto json_t *holder = json_pack("{so ss}", "holder", json_sprintf("builder@%s", builder->node),
						    "app", builder->app);
	intent_json_auto json_t *artifact = NULL;
	intent_free_auto char *key = builder__lock_key(target);
	const char *keys[] = {key};
	struct intent_store *store;
	int code;

	if (intent_round_store(builder->round, &store, err) < 0 ||
	    intent_held_take(store, keys, 1, holder, &builder->held, err) < 0)
		return err->code;
	/* Whoever had the lock before may have made it. */
	code = builder__look(builder, target, &artifact, err);
	if (!code && !artifact) {
		code = make(builder, target, err);
		if (!code)
			code = builder__look(builder, target, &artifact, err);
	}
	builder->held = intent_held_release(builder->held);
	if (!code && !artifact)
		code = intent_fail(err, INTENT_ECHILD, "%s at %.12s was built, but it is not there", target->name,
				   target->revision);
	return code ? code : write_fact(builder, target, artifact, err);
}

/* Is the ref still where the plan saw it? What waited its turn may be out of date. */
static int check_still(struct builder *builder, struct builder_target *target, const json_t *action,
		       bool *ret_superseded, struct intent_error *err)
{
	const char *revision = intent_json_string(json_object_get(action, "args"), "revision", "");

	if (intent_round_should_stop(builder->round) || intent_round_is_outdated(builder->round))
		return intent_fail(err, INTENT_ESTALE, "%s was still queued: other intent has come", target->name);
	if (builder__resolve(builder, target, err) < 0)
		return err->code;
	*ret_superseded = strcmp(target->revision, revision) != 0;
	if (*ret_superseded)
		intent_round_log(builder->round, INTENT_INFO, "%s is at %.12s by now: %.12s is not built", target->name,
				 target->revision, revision);
	return *ret_superseded ? 0 : builder__identify(builder, target, err);
}

static int wait_and_make(struct builder *builder, const json_t *action, struct intent_error *err)
{
	bool aside = !strcmp(intent_json_string(action, "verb", ""), "build-aside"), superseded = false;
	struct builder_turn own = {0}, all = {0};
	struct builder_target target;
	int code = builder__target(builder, builder->target, &target, err);

	/* Its own application's turn first: what waits for that takes nobody else's. */
	if (!code && aside)
		code = builder__take_turn(builder, builder->home,
					  intent_json_integer(builder->intent, "concurrency", 1), &own, err);
	if (!code)
		code = builder__take_turn(builder, intent_round_state_dir(builder->round),
					  intent_json_integer(builder->options, "builds", 4), &all, err);
	if (!code)
		code = check_still(builder, &target, action, &superseded, err);
	if (!code && !superseded)
		code = make_locked(builder, &target, err);
	builder__end_turn(&all);
	builder__end_turn(&own);
	return code;
}

int builder__build(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	struct builder builder;
	int code;

	if (builder__open(&builder, round, err) < 0)
		return err->code;
	builder.target = intent_json_string(action, "subject", "");
	code = wait_and_make(&builder, action, err);
	builder__close(&builder);
	return code;
}

int builder__publish(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *args = json_object_get(action, "args");
	struct builder builder;
	struct builder_target target;
	intent_json_auto json_t *artifact = NULL;
	int code;

	if (builder__open(&builder, round, err) < 0)
		return err->code;
	code = builder__target(&builder, intent_json_string(action, "subject", ""), &target, err);
	if (!code) {
		snprintf(target.revision, sizeof(target.revision), "%s", intent_json_string(args, "revision", ""));
		snprintf(target.input, sizeof(target.input), "%s", intent_json_string(args, "input", ""));
		code = builder__look(&builder, &target, &artifact, err);
	}
	if (!code && !artifact)
		code = intent_fail(err, INTENT_ESTALE, "%s at %.12s is not there any more", target.name,
				   target.revision);
	if (!code)
		code = write_fact(&builder, &target, artifact, err);
	builder__close(&builder);
	return code;
}

int builder__forget(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	struct builder builder;
	intent_free_auto char *logs = NULL;
	int code;

	(void)action;
	if (builder__open(&builder, round, err) < 0)
		return err->code;
	logs = intent_format("%s/logs/%s", intent_round_state_dir(round), builder.app);
	code = intent_tree_remove(logs, err);
	if (!code)
		code = intent_tree_retire(builder.home, err);
	builder__close(&builder);
	return code;
}

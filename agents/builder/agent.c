/* pp-builder: of every application, revision and recipe that intent wants, the artifact exists. */
#include <sys/stat.h>
#include <intent/file.h>
#include "builder.h"

#define BUSY_AGAIN_MS 2000   /* while somebody else builds the same */
#define FAILED_SHOWN 5       /* with the end of their logs in the status */

static int64_t started;      /* this process or, in a round, the one that it is of; Unix ms */

/* ---- observing a target ---- */

/* How long its ref has to rest still; what was never seen before does not change right now. */
static int64_t rest(struct builder *builder, const struct builder_target *target)
{
	const json_t *before = builder__recall(builder, "refs", target->ref);
	int64_t quiet = intent_json_integer(builder->intent, "quiet_ms",
					    intent_json_integer(builder->options, "quiet-period", 1000));
	int64_t now = intent_time_now(), since = 0;

	if (before)
		since = strcmp(intent_json_string(before, "commit", ""), target->revision) ? now :
			intent_json_integer(before, "since", 0);
	builder__remember(builder, "refs", target->ref, json_pack("{ss sI}", "commit", target->revision, "since",
								  (json_int_t)since));
	/* A clock that was set back does not hold it up. */
	if (intent_round_is_demanded(builder->round) || since > now || now - since >= quiet)
		return 0;
	return quiet - (now - since);
}

static int look_at_failure(struct builder *builder, const struct builder_target *target, json_t *seen, json_t *failed)
{
	intent_json_auto json_t *failure = builder__failure(builder, target);
	int64_t retry = intent_json_integer(builder->options, "retry", 3600000);
	int64_t at = intent_json_integer(failure, "at", 0), age = intent_time_now() - at;

	/* Who starts a builder anew may have mended what no source shows: a network, a disk. */
	if (!failure || intent_round_is_demanded(builder->round) || age >= retry || at < started)
		return 0;
	intent_round_again(builder->round, retry - (age > 0 ? age : 0));
	json_object_set_new(seen, "failed", json_string(intent_json_string(failure, "words", "it failed")));
	if (json_object_size(failed) < FAILED_SHOWN)
		json_object_set_new(failed, target->name, json_pack("{ss sO* sO*}", "revision", target->revision, "log",
				    json_object_get(failure, "log"), "tail", json_object_get(failure, "tail")));
	return 0;
}

static int look_at_lock(struct builder *builder, const struct builder_target *target, json_t *seen,
			struct intent_error *err)
{
	intent_free_auto char *key = builder__lock_key(target);
	const char *keys[] = {key};
	intent_json_auto json_t *holder = NULL;
	struct intent_store *store;

	if (intent_round_store(builder->round, &store, err) < 0 || intent_held_look(store, keys, 1, &holder, err) < 0)
		return err->code;
	if (!holder)
		return 0;
	intent_round_again(builder->round, BUSY_AGAIN_MS);
	json_object_set_new(seen, "holder",
			    json_sprintf("%s since %s", intent_json_string(holder, "holder", "somebody"),
							 intent_json_string(holder, "since", "an unknown time")));
	return 0;
}

/* An image that is only in another node's engine is seen by nobody else: its builder's word counts. */
static bool is_elsewhere(const struct builder *builder, const struct builder_target *target, const json_t *fact)
{
	return target->image && !strcmp(intent_json_string(fact, "input", ""), target->input) &&
	       strcmp(intent_json_string(fact, "node", builder->node), builder->node);
}

static int look_at_artifact(struct builder *builder, const struct builder_target *target, json_t *seen,
			    struct intent_error *err)
{
	intent_json_auto json_t *fact = NULL, *artifact = NULL;

	if (builder__fact(builder, target, &fact, err) < 0)
		return err->code;
	if (is_elsewhere(builder, target, fact))
		artifact = json_incref(fact);
	else if (builder__look(builder, target, &artifact, err) < 0)
		return err->code;
	if (!artifact)
		return look_at_lock(builder, target, seen, err);
	json_object_set_new(seen, "artifact", json_true());
	if (fact && builder__says(fact, target, artifact))
		json_object_set_new(seen, "published", json_true());
	return 0;
}

struct sight {
	json_t *targets, *inputs, *shown, *failed; /* owned */
};

static int look_at(struct builder *builder, const json_t *wanted, struct sight *sight, json_t *seen,
		   struct builder_target *target, struct intent_error *err)
{
	int64_t wait;

	if (builder__target(builder, intent_json_string(wanted, "target", ""), target, err) < 0 ||
	    builder__resolve(builder, target, err) < 0)
		return err->code;
	json_object_set_new(seen, "revision", json_string(target->revision));
	wait = rest(builder, target);
	if (builder__identify(builder, target, err) < 0)
		return err->code;
	json_object_set_new(seen, "input", json_string(target->input));
	json_object_set_new(sight->inputs, target->input, json_true());
	if (look_at_artifact(builder, target, seen, err) < 0)
		return err->code;
	if (json_object_get(seen, "artifact"))
		return 0;
	if (wait > 0) {
		json_object_set_new(seen, "rest_ms", json_integer(wait));
		intent_round_again(builder->round, wait);
	}
	return look_at_failure(builder, target, seen, sight->failed);
}

/* In one word, for people. */
static const char *word_of(const json_t *seen)
{
	return json_object_get(seen, "trouble") ? "trouble" : json_object_get(seen, "artifact") ? "built" :
	       json_object_get(seen, "rest_ms") ? "resting" : json_object_get(seen, "failed") ? "failed" :
	       json_object_get(seen, "holder") ? "elsewhere" : "queued";
}

static void look_at_one(struct builder *builder, const json_t *wanted, struct sight *sight)
{
	json_t *seen = json_object();
	struct builder_target target = {.name = intent_json_string(wanted, "target", "")};
	struct intent_error err;

	json_object_set_new(sight->targets, target.name, seen);
	if (look_at(builder, wanted, sight, seen, &target, &err) < 0)
		json_object_set_new(seen, "trouble", json_pack("{si ss}", "code", err.code, "message", err.msg));
	json_object_set_new(sight->shown, target.name,
			    json_pack("{sO* ss}", "revision", json_object_get(seen, "revision"),
								 "state", word_of(seen)));
}

/* ---- the round ---- */

/* Only a source that nobody tells us of has to be asked again and again. */
static void ask_again(struct builder *builder)
{
	bool directory = intent_starts_with(intent_json_string(builder->intent, "repo", ""), "dir:"), asks = false;
	size_t i;
	json_t *wanted;

	json_array_foreach(json_object_get(builder->intent, "wanted"), i, wanted)
		asks |= !json_object_get(wanted, "commit");
	if (asks && !directory)
		intent_round_again(builder->round, intent_json_integer(builder->options, "poll", 60000));
}

static int look_at_all(struct builder *builder, json_t *observed, struct intent_error *err)
{
	struct sight sight = {json_object(), json_object(), json_object(), json_object()};
	size_t i;
	json_t *wanted;
	int code = 0;

	/* Before anything is read: what changes from here on wakes us. */
	builder__watch(builder);
	json_array_foreach(json_object_get(builder->intent, "wanted"), i, wanted)
		if (!intent_round_should_stop(builder->round))
			look_at_one(builder, wanted, &sight);
	if (intent_round_should_stop(builder->round))
		code = intent_fail(err, INTENT_ESTALE, "stopped");
	else
		code = builder__keep_record(builder, err);
	if (!code) {
		builder__sweep_failures(builder, sight.inputs);
		code = builder__look_at_builds(builder, sight.targets, observed, err);
	}
	ask_again(builder);
	intent_round_detail(builder->round, "targets", json_incref(sight.shown));
	if (json_object_size(sight.failed))
		intent_round_detail(builder->round, "failed", json_incref(sight.failed));
	json_object_set(observed, "targets", sight.targets);
	json_decref(sight.targets);
	json_decref(sight.inputs);
	json_decref(sight.shown);
	json_decref(sight.failed);
	return code;
}

static int observe(struct intent_round *round, const json_t *intent, json_t **ret_new_observed,
		   struct intent_error *err)
{
	intent_json_auto json_t *observed = json_object();
	struct builder builder;
	struct stat st;
	int code = 0;

	if (builder__open(&builder, round, err) < 0)
		return err->code;
	if (!intent_json_boolean(intent, "absent", false))
		code = look_at_all(&builder, observed, err);
	else if (stat(builder.home, &st) == 0)
		json_object_set_new(observed, "remains", json_true());
	builder__close(&builder);
	if (!code)
		*ret_new_observed = json_incref(observed);
	return code;
}

/* ---- the tables ---- */

static const struct intent_option options[] = {
	{.name = "apps", .type = INTENT_OPTION_STRING, .metavar = "APP,...",
		.help = "only these applications (default: all)"},
	{.name = "builds", .type = INTENT_OPTION_INTEGER, .metavar = "N", .otherwise = "4", .min = 1, .max = 1000,
	 .help = "builds at once, of all applications; of one, as many as its document says"},
	{.name = "quiet-period", .type = INTENT_OPTION_DURATION, .metavar = "TIME", .otherwise = "1s", .max = 86400000,
	 .help = "how long a branch or a directory must rest before it is built, where its document does not say"},
	{.name = "poll", .type = INTENT_OPTION_DURATION, .metavar = "TIME", .otherwise = "60s", .min = 1000,
		.max = 86400000,
	 .help = "ask git servers again after so long"},
	{.name = "retry", .type = INTENT_OPTION_DURATION, .metavar = "TIME", .otherwise = "1h", .min = 1000,
		.max = 604800000,
	 .help = "try what failed again after so long, though its input is the same; SIGUSR1 and --once try at once"},
	{.name = "build-timeout", .type = INTENT_OPTION_DURATION, .metavar = "TIME", .otherwise = "1h", .min = 1000,
	 .max = 604800000, .help = "end a build after so long"},
	{.name = "docker", .type = INTENT_OPTION_STRING, .metavar = "PROGRAM", .otherwise = "docker",
	 .help = "client of the container engine, docker or podman; found on PATH"},
	{.name = "pass-env", .type = INTENT_OPTION_STRING, .metavar = "PATTERNS",
	 .help = "which variables of its own environment builds get, beside PATH, locale and proxies"},
	{.name = "as-root", .type = INTENT_OPTION_FLAG,
		.help = "let the commands of recipes run as root, if that is who runs this"},
	{.name = "keep-logs", .type = INTENT_OPTION_INTEGER, .metavar = "N", .otherwise = "20", .min = 1, .max = 10000,
	 .help = "logs kept of an application"},
	{.name = "keep", .type = INTENT_OPTION_INTEGER, .metavar = "N", .otherwise = "10", .max = 1000000,
	 .help = "builds of an application and recipe that are kept though nothing names them, the newest"},
	{.name = "token-file", .type = INTENT_OPTION_PATH, .metavar = "FILE",
	 .help = "bearer token for the servers that archives are put to"},
	{.name = "github", .type = INTENT_OPTION_STRING, .metavar = "URL", .otherwise = "https://github.com/",
	 .help = "what gh:// stands for"},
	{.name = NULL},
};

static const struct intent_verb verbs[] = {
	{"build", INTENT_VERB_INDEPENDENT, builder__build},
	{"build-aside", INTENT_VERB_ASIDE, builder__build},
	{"publish", INTENT_VERB_INDEPENDENT, builder__publish},
	{"prune", INTENT_VERB_DESTROYS | INTENT_VERB_INDEPENDENT, builder__prune},
	{"forget", 0, builder__forget},
	{NULL, 0, NULL},
};

static const struct intent_agent agent = {
	.name = "builder",
	.summary = "Builds the images and archives that intent wants of each application's source.",
	.options = options,
	.slicer = &builder__slicer,
	.observe = observe,
	.plan = builder_plan,
	.verbs = verbs,
};

int main(int argc, char **argv)
{
	/* The modes of a checkout are part of what is built. */
	umask(022);
	started = intent_time_now();
	return intent_agent_main(&agent, argc, argv);
}

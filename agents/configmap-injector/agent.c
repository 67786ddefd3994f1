/* pp-configmap-injector: what infrastructure produced reaches the software that needs it. */
#include <sys/stat.h>
#include <linux/capability.h>
#include <intent/digest.h>
#include <intent/file.h>
#include "injector.h"

/* A round is a process: between observing and writing, values are in its memory and nowhere else. */
static struct injector injector;

static int begin(struct intent_round *round, struct intent_error *err)
{
	const json_t *intent = intent_round_intent(round);
	intent_free_auto char *path = NULL;

	if (injector.round)
		return 0;
	injector = (struct injector){
		.round = round, .intent = intent,
		.world = intent_json_string(intent, "world", ""), .name = intent_json_string(intent, "name", ""),
	};
	path = intent_format("%s/digest-key", intent_round_state_dir(round));
	return intent_digest_key(intent_json_string(intent_round_options(round), "digest-key", path),
				 !intent_round_is_dry(round), injector.key, err);
}

static int observe(struct intent_round *round, const json_t *intent, json_t **ret_new_observed,
		   struct intent_error *err)
{
	intent_json_auto json_t *observed = json_object();
	bool absent = intent_json_boolean(intent, "absent", false) ||
		!strcmp(intent_json_string(json_object_get(intent, "injection"), "ensure", ""), "absent");

	if (begin(round, err) < 0)
		return err->code;
	/* What is to go needs no values. */
	if (!absent)
		injector__observe_values(&injector, observed);
	if (injector__observe_sinks(&injector, observed, err) < 0)
		return err->code;
	injector__tell(&injector, observed);
	*ret_new_observed = json_incref(observed);
	return 0;
}

/* ---- verbs ---- */

static int write_sink(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	(void)round;
	return injector__write_sink(&injector, action, err);
}

static int remove_sink(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	(void)round;
	return injector__remove_sink(&injector, action, err);
}

static int remember_sink(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	(void)round;
	return injector__remember_sink(&injector, action, err);
}

static int forget_sink(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	(void)round;
	return injector__forget_sink(&injector, action, err);
}

/* ---- the tables ---- */

static const struct intent_option options[] = {
	{.name = "world", .type = INTENT_OPTION_STRING, .metavar = "WORLD,...",
	 .help = "only the injections of these worlds (default: all)"},
	{.name = "sinks", .type = INTENT_OPTION_STRING, .metavar = "TYPE,...",
	 .help = "only sinks of these types (default: all)"},
	{.name = "sink-dirs", .type = INTENT_OPTION_STRING, .metavar = "DIR,...",
	 .help = "sinks that are files or directories only below these (default: anywhere)"},
	{.name = "source-dirs", .type = INTENT_OPTION_STRING, .metavar = "DIR,...",
	 .help = "file: and local states only from below these (default: anywhere)"},
	{.name = "source-interval", .type = INTENT_OPTION_DURATION, .metavar = "TIME", .otherwise = "30s", .min = 1000,
	 .max = 86400000, .help = "ask for a state again after so long; a local file is watched"},
	{.name = "digest-key", .type = INTENT_OPTION_PATH, .metavar = "FILE",
	 .help = "secret key of the digests that are shown (default: one of its own in the state directory)"},
	{.name = "kubeconfig", .type = INTENT_OPTION_PATH, .metavar = "FILE",
	 .help = "who we are to Kubernetes (default: KUBECONFIG, the pod's account, ~/.kube/config)"},
	{.name = "context", .type = INTENT_OPTION_STRING, .metavar = "NAME",
	 .help = "the kubeconfig's context to use (default: its current one)"},
	{.name = "kube-timeout", .type = INTENT_OPTION_DURATION, .metavar = "TIME", .otherwise = "30s", .min = 100,
	 .max = 600000, .help = "how long the Kubernetes API server may take for an answer"},
	{.name = NULL},
};

static const struct intent_verb verbs[] = {
	{"remove", INTENT_VERB_DESTROYS | INTENT_VERB_INDEPENDENT, remove_sink},
	{"forget", INTENT_VERB_INDEPENDENT, forget_sink},
	{"write", INTENT_VERB_INDEPENDENT, write_sink},
	{"remember", INTENT_VERB_INDEPENDENT, remember_sink},
	{NULL, 0, NULL},
};

static const struct intent_agent agent = {
	.name = "configmap-injector",
	.summary = "Puts values from Terraform states and elsewhere where applications look for them.",
	.options = options,
	.slicer = &injector__slicer,
	.observe = observe,
	.plan = configmap_injector_plan,
	.verbs = verbs,
	/* A kubeconfig's exec plug-in. */
	.programs = INTENT_PROGRAMS_OWN,
};

int main(int argc, char **argv)
{
	umask(077);
	return intent_agent_main(&agent, argc, argv);
}

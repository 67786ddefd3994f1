/*
 * What to do about Terraform's plan: apply it, or say who has to decide. Pure.
 *
 * Whether a plan may be applied depends on what it would do, never on when: an approval names the
 * plan by a digest of its effects, and is used once.
 */
#include "applier.h"

struct look {
	const json_t *intent, *stack, *observed, *plan;
	const char *world, *name, *id;
	struct intent_plan *out;
	char *counts;
};

static int64_t count(const struct look *look, const char *name)
{
	return intent_json_integer(look->plan, name, 0);
}

char *applier__counts(const json_t *summary)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	long long replace = intent_json_integer(summary, "replace", 0);
	long long forget = intent_json_integer(summary, "forget", 0);
	long long outputs = intent_json_integer(summary, "outputs", 0);
	long long add = intent_json_integer(summary, "add", 0), change = intent_json_integer(summary, "change", 0);
	long long destroy = intent_json_integer(summary, "destroy", 0);

	/* As Terraform counts: what is replaced is added and destroyed. */
	intent_text_printf(&out, "%lld to add, %lld to change, %lld to destroy", add + replace, change,
			   destroy + replace);
	if (replace)
		intent_text_printf(&out, " (%lld of them replaced)", replace);
	if (forget)
		intent_text_printf(&out, ", %lld to forget", forget);
	if (outputs)
		intent_text_printf(&out, ", %lld output%s", outputs, outputs == 1 ? "" : "s");
	return intent_text_steal(&out);
}

/* "*" is any run of characters, "?" any one; brackets are Terraform's own. */
static bool fits(const char *pattern, const char *address)
{
	for (; *pattern; pattern++, address++) {
		if (*pattern == '*') {
			while (pattern[1] == '*')
				pattern++;
			for (;; address++) {
				if (fits(pattern + 1, address))
					return true;
				if (!*address)
					return false;
			}
		}
		if (!*address || (*pattern != '?' && *pattern != *address))
			return false;
	}
	return !*address;
}

/* The first address that would be lost although intent protects it. */
static const char *protected_address(const struct look *look, const char **ret_pattern)
{
	static const char *const losses[] = {"destroy", "replace", "forget"};

	for (size_t kind = 0; kind < sizeof(losses) / sizeof(*losses); kind++) {
		const json_t *addresses = json_object_get(json_object_get(look->plan, "addresses"), losses[kind]);
		size_t i, k;
		json_t *address, *pattern;

		json_array_foreach((json_t *)(uintptr_t)addresses, i, address)
			json_array_foreach(json_object_get(look->stack, "protect"), k, pattern)
				if (fits(json_string_value(pattern), json_string_value(address))) {
					*ret_pattern = json_string_value(pattern);
					return json_string_value(address);
				}
	}
	return NULL;
}

/* A person approved exactly this, and that consent has not been used. */
static const json_t *approval(const struct look *look)
{
	const json_t *given = json_object_get(look->intent, "approval");
	const json_t *begun = json_object_get(json_object_get(look->observed, "pending"), "approval");
	const json_t *spent = json_object_get(look->observed, "spent");

	if (!given || strcmp(intent_json_string(given, "plan", ""), look->id) ||
	    (begun && json_equal(given, begun)) || (spent && json_equal(given, spent)))
		return NULL;
	return given;
}

/* A state that is lost looks like one that never was. What went from the world itself, Terraform calls drift. */
static bool is_emptied(const struct look *look)
{
	return intent_json_integer(look->observed, "had", 0) && !count(look, "managed") &&
		!json_array_size(json_object_get(look->plan, "drift"));
}

/* Why a person has to decide; NULL: nobody has to. */
static const char *why_ask(const struct look *look)
{
	const char *apply = intent_json_string(look->stack, "apply", "non-destructive");
	bool loses = count(look, "destroy") || count(look, "replace") || count(look, "forget");
	bool drifted = json_array_size(json_object_get(look->plan, "drift")) ||
		       intent_json_boolean(look->observed, "settled", false);

	if (!strcmp(intent_json_string(look->stack, "ensure", ""), "absent"))
		return "ensure is \"absent\", and the stack would be destroyed";
	if (intent_json_boolean(look->observed, "moved", false))
		return "the state is somewhere else than it was when last applied; if it was to move along, "
		       "move it first (terraform init -migrate-state)";
	if (is_emptied(look))
		return "the state has no resources, and had some when last applied; if it was lost, get it back "
		       "first: what it had would be made a second time";
	if (!strcmp(apply, "none"))
		return "apply is \"none\"";
	if (intent_json_boolean(look->observed, "unsettled", false))
		return "it was applied, and the module wants changes again: it does not settle";
	if (loses && strcmp(apply, "all"))
		return "something would be destroyed";
	if (drifted && strcmp(intent_json_string(look->stack, "drift", "report"), "apply"))
		return "it was changed from outside";
	return NULL;
}

static void refuse(struct look *look, int code, const char *why)
{
	intent_plan_verdict(look->out, code, "%s: %s; look at it with: ppctl stack show %s/%s; then: "
			    "ppctl approve stack %s/%s %s", look->counts, why, look->world, look->name, look->world,
			    look->name, look->id);
}

static void apply(struct look *look, const json_t *approved)
{
	bool loses = count(look, "destroy") || count(look, "replace") || count(look, "forget");
	json_t *args = json_pack("{ss sO*}", "plan", look->id, "approval", approved);
	json_t *effect = json_pack("{s{si si si si si si ss} sn sn}", "plan", "changes", 0, "add", 0, "change", 0,
				   "destroy", 0, "replace", 0, "forget", 0, "id", "", "pending", "unsettled");
	intent_free_auto char *subject = intent_format("%s/%s", look->world, look->name);

	intent_plan_add(look->out, loses ? "destroy" : "apply", subject, args, effect,
			"Applying plan %s: %s%s%s", look->id, look->counts, approved ? "; approved by " : "",
			approved ? intent_json_string(approved, "by", "somebody") : "");
}

/* The key is gone: nothing is destroyed, and what is left is not forgotten. */
static void plan_absent(struct look *look)
{
	const json_t *last = json_object_get(look->observed, "last");
	int64_t managed = intent_json_integer(last, "managed", 0);

	if (!json_is_object(last))
		return;
	if (managed || json_object_get(look->observed, "pending") || json_object_get(look->observed, "errored"))
		intent_plan_verdict(look->out, INTENT_EORPHANED, "stacks/%s/%s is gone, but %lld resource%s of it %s "
				    "not: write it again, with \"ensure\": \"absent\" if they are to go",
				    look->world, look->name, (long long)managed, managed == 1 ? "" : "s",
				    managed == 1 ? "is" : "are");
	else
		intent_plan_add(look->out, "forget", look->name, NULL, json_pack("{sn}", "last"),
				"Forgetting %s/%s: it is gone from intent, and has no resources", look->world, look->name);
}

/* What stands in the way whatever the plan is; true: a verdict was given. */
static bool is_held_up(struct look *look)
{
	const json_t *lock = json_object_get(look->observed, "lock");
	const json_t *state_lock = json_object_get(look->observed, "state_lock");
	const char *errored = intent_json_string(look->observed, "errored", NULL);

	if (errored)
		intent_plan_verdict(look->out, INTENT_EOUTCOME, "Terraform could not write the state and left it in %s: "
				    "look at it, push it (terraform state push), and remove the file", errored);
	else if (state_lock)
		intent_plan_verdict(look->out, INTENT_EBUSY, "%s", intent_json_string(state_lock, "words", ""));
	else if (lock && (!look->plan || count(look, "changes")))
		intent_plan_verdict(look->out, INTENT_EBUSY, "lock %s: held by %s since %s",
				    intent_json_string(lock, "key", "?"), intent_json_string(lock, "holder", "somebody"),
				    intent_json_string(lock, "since", "an unknown time"));
	else
		return false;
	return true;
}

static void plan_present(struct look *look)
{
	const json_t *pending = json_object_get(look->observed, "pending"), *approved;
	const char *address, *pattern = "", *why;
	intent_free_auto char *unknown = NULL;

	if (is_held_up(look))
		return;
	if (!count(look, "changes")) {
		if (pending)
			intent_plan_add(look->out, "settle", look->name, NULL, json_pack("{sn}", "pending"),
					"Nothing is left to do of plan %s, whose apply was cut short at %s",
					intent_json_string(pending, "plan", "?"),
					intent_json_string(pending, "since", "?"));
		return;
	}
	address = protected_address(look, &pattern);
	if (address) {
		intent_plan_verdict(look->out, INTENT_EREFUSED, "%s: %s would be lost, and \"protect\" has %s: take that "
				    "out of stacks/%s/%s if it is to go; no approval does it", look->counts, address,
				    pattern, look->world, look->name);
		return;
	}
	approved = approval(look);
	if (pending && !approved) {
		unknown = intent_format("the apply of plan %s was cut short at %s, and what came of it is not known",
					intent_json_string(pending, "plan", "?"), intent_json_string(pending, "since", "?"));
		refuse(look, INTENT_EOUTCOME, unknown);
		return;
	}
	why = why_ask(look);
	if (why && !approved)
		refuse(look, INTENT_EAPPROVAL, why);
	else
		apply(look, approved);
}

int terraform_applier_plan(const json_t *intent, const json_t *observed, struct intent_plan *plan,
			   struct intent_error *err)
{
	struct look look = {
		.intent = intent, .observed = observed, .out = plan,
		.stack = json_object_get(intent, "stack"), .plan = json_object_get(observed, "plan"),
		.world = intent_json_string(intent, "world", ""), .name = intent_json_string(intent, "name", ""),
		.counts = applier__counts(json_object_get(observed, "plan")),
	};

	(void)err;
	look.id = intent_json_string(look.plan, "id", "");
	if (intent_json_boolean(intent, "absent", false))
		plan_absent(&look);
	else
		plan_present(&look);
	free(look.counts);
	return 0;
}

/* approve stack, stack show: a person looks at what Terraform would do, and consents. */
#include <fcntl.h>
#include <intent/file.h>
#include "ppctl.h"

#define PLAN_TEXT_MAX (64u << 20)

static int find_stack(struct ppctl *ctl, const char **ret_name, struct intent_error *err)
{
	const char *word = ppctl_argument(ctl, 0), *name = ppctl_slice_name(word, "stacks/");
	intent_free_auto char *key = name ? intent_format("stacks/%s", name) : NULL;
	struct intent_snapshot *found = NULL;
	struct intent_store *store;

	if (!name)
		return intent_fail(err, INTENT_EUSAGE, "\"%.100s\" is no stack: name it as WORLD/NAME", word);
	if (!key || ppctl_store(ctl, &store, err))
		return err->code;
	int code = intent_store_get(store, key, INTENT_DEFAULT, &found, err);
	if (code == INTENT_EABSENT)
		return intent_fail(err, code, "there is no %s; \"ppctl ls stacks\" lists what there is", key);
	if (code)
		return code;
	intent_snapshot_unref(found);
	*ret_name = name;
	return 0;
}

/* ---- approve stack ---- */

/* Is that the plan that somebody proposes? Said, not refused: its applier may not have published yet. */
static void compare(const json_t *rows, const char *plan)
{
	const char *proposed = NULL;
	size_t i;
	json_t *row;

	json_array_foreach((json_t *)(uintptr_t)rows, i, row) {
		const char *id = json_string_value(intent_json_at(row, "/detail/plan/id"));

		if (id && !strcmp(id, plan))
			return;
		proposed = id ? id : proposed;
	}
	if (proposed)
		ppctl_say("but the plan is %s now: nothing is applied unless it becomes this one again", proposed);
	else
		ppctl_say("but no applier proposes it at the moment");
}

int ppctl_approve_stack(struct ppctl *ctl, struct intent_error *err)
{
	const char *plan = ppctl_argument(ctl, 1), *name = NULL;
	intent_json_auto json_t *rows = NULL, *document = NULL;
	intent_free_auto char *by = ppctl_person();
	char at[32];
	bool written;

	if (find_stack(ctl, &name, err) || ppctl_published(ctl, "terraform-applier", name, &rows, err))
		return err->code;
	intent_time_format(intent_time_now(), at);
	document = json_pack("{ss ss ss}", "plan", plan, "by", by, "at", at);
	intent_free_auto char *key = intent_format("approvals/stack/%s", name);
	intent_free_auto char *value = document ? intent_json_canonical(document) : NULL;
	if (!key || !value)
		return intent_fail(err, INTENT_EMALFORMED, "\"%.100s\" is no plan's identity", plan);
	int code = ppctl_write(ctl, key, value, NULL, &written, err);
	if (code)
		return code;
	if (ppctl_flag(ctl, "json"))
		ppctl_print_json(document, false);
	else
		ppctl_say("plan %s of %s is approved by %s", plan, name, by);
	compare(rows, plan);
	return 0;
}

/* ---- stack show ---- */

/* The text that an applier on this machine keeps, or NULL. Owned. */
static char *plan_text(const struct ppctl *ctl, const char *name, const char *node)
{
	const char *given = ppctl_option(ctl, "state-dir"), *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	char *places[] = {
		given ? intent_format("%s/stacks/%s/plan.txt", given, name) : NULL,
		given ? NULL : intent_format("/var/lib/platypus/terraform-applier/%s/stacks/%s/plan.txt", node, name),
		given ? NULL : intent_format("/var/lib/platypus-terraform/terraform-applier/%s/stacks/%s/plan.txt", node, name),
		given ? NULL : intent_format("%s%s/platypus/terraform-applier/%s/stacks/%s/plan.txt", xdg ? xdg : home ? home : "",
					     xdg ? "" : "/.local/state", node, name),
	};
	struct intent_error ignored;
	char *text = NULL;
	size_t count;

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		if (places[i] && !text)
			(void)intent_file_read(AT_FDCWD, places[i], PLAN_TEXT_MAX, &text, &count, &ignored);
		free(places[i]);
	}
	return text;
}

static void show_addresses(const json_t *plan)
{
	static const struct { const char *kind, *sign; } kinds[] = {
		{"add", "  + "}, {"change", "  ~ "}, {"replace", "-/+ "}, {"destroy", "  - "}, {"forget", "  . "},
	};
	size_t i;
	json_t *address;

	for (size_t kind = 0; kind < sizeof(kinds) / sizeof(*kinds); kind++)
		json_array_foreach(json_object_get(json_object_get(plan, "addresses"), kinds[kind].kind), i, address) {
			intent_text_auto struct intent_text line = INTENT_TEXT_INIT;

			intent_text_puts(&line, kinds[kind].sign);
			ppctl_add(&line, json_string_value(address), PPCTL_PLAIN, 0, 0);
			ppctl_print(intent_text_str(&line));
		}
}

/* One applier's view: what it says, then the plan as Terraform shows it, or at least what is in the status. */
static void show(const struct ppctl *ctl, const char *name, const json_t *row)
{
	const json_t *plan = intent_json_at(row, "/detail/plan");
	const char *node = intent_json_string(row, "node", ""), *approve = intent_json_string(plan, "approve", NULL);
	intent_free_auto char *text = approve ? plan_text(ctl, name, node) : NULL;
	intent_text_auto struct intent_text head = INTENT_TEXT_INIT;

	ppctl_add(&head, name, PPCTL_BOLD, 0, 0);
	intent_text_puts(&head, ", applier on ");
	ppctl_add(&head, node, PPCTL_PLAIN, 0, 0);
	intent_text_puts(&head, ": ");
	ppctl_add(&head, intent_json_string(row, "state", "?"), PPCTL_BOLD, 0, 0);
	intent_text_puts(&head, *intent_json_string(row, "reason", "") ? " " : "");
	ppctl_add(&head, intent_json_string(row, "reason", ""), PPCTL_PLAIN, 0, 0);
	ppctl_print(intent_text_str(&head));
	if (*intent_json_string(row, "message", "")) {
		intent_text_clear(&head);
		ppctl_add(&head, intent_json_string(row, "message", ""), PPCTL_PLAIN, 0, 0);
		ppctl_print(intent_text_str(&head));
	}
	if (!approve)
		return;
	ppctl_print("");
	if (text)
		ppctl_print(text + strspn(text, "\n"));
	else
		show_addresses(plan);
	if (!text)
		ppctl_say("the whole plan is kept by the applier: \"ppctl stack show %s\" on %s, as its user, shows it",
			  name, node);
	ppctl_print("");
	ppctl_print(approve);
}

int ppctl_stack_show(struct ppctl *ctl, struct intent_error *err)
{
	intent_json_auto json_t *rows = NULL;
	const char *name = NULL;
	size_t i;
	json_t *row;

	if (find_stack(ctl, &name, err) || ppctl_published(ctl, "terraform-applier", name, &rows, err))
		return err->code;
	if (ppctl_flag(ctl, "json")) {
		ppctl_print_json(rows, false);
		return 0;
	}
	if (!json_array_size(rows))
		return intent_fail(err, INTENT_EABSENT, "no applier has looked at stacks/%s: does pp-terraform-applier run?", name);
	json_array_foreach(rows, i, row)
		show(ctl, name, row);
	return 0;
}

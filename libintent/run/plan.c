#include <stdarg.h>
#include <intent/plan.h>

void intent_plan_init(struct intent_plan *plan)
{
	*plan = (struct intent_plan){.actions = json_array()};
}

void intent_plan_release(struct intent_plan *plan)
{
	json_decref(plan->actions);
	plan->actions = NULL;
}

void intent_plan_add(struct intent_plan *plan, const char *verb, const char *subject,
		     json_t *args, json_t *effect, const char *reason, ...)
{
	char words[1024];
	json_t *action;
	va_list ap;

	va_start(ap, reason);
	vsnprintf(words, sizeof(words), reason, ap);
	va_end(ap);
	intent_utf8_clean(words);
	action = json_pack("{ss ss ss so* so*}", "verb", verb, "subject", subject, "reason", words,
			   "args", args, "effect", effect);
	if (action && !plan->broken) {
		json_array_append_new(plan->actions, action);
		return;
	}
	json_decref(action);
	if (plan->broken)
		return;
	/* Without this one the others may be wrong, and "nothing to do" would be. */
	plan->broken = true;
	json_array_clear(plan->actions);
	intent_fail(&plan->verdict, INTENT_EMALFORMED, "nothing is done, because of what is not UTF-8 in: %s", words);
}

void intent_plan_verdict(struct intent_plan *plan, int code, const char *format, ...)
{
	char words[sizeof(plan->verdict.msg)];
	va_list ap;

	if (plan->verdict.code)
		return;
	va_start(ap, format);
	vsnprintf(words, sizeof(words), format, ap);
	va_end(ap);
	intent_fail(&plan->verdict, code, "%s", words);
}

json_t *intent_plan_to_json(const struct intent_plan *plan)
{
	json_t *json = json_object();

	if (json_array_size(plan->actions))
		json_object_set(json, "actions", plan->actions);
	if (plan->verdict.code)
		json_object_set_new(json, "verdict", json_pack("{ss ss ss}",
			"state", intent_state_name(intent_error_state(plan->verdict.code)),
			"reason", intent_error_reason(plan->verdict.code),
			"message", plan->verdict.msg));
	return json;
}

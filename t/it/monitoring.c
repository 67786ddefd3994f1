/*
 * Is what contrib/ gives to Prometheus and Grafana well formed? Prints TAP, and each expression as "# EXPR ...".
 *
 *	monitoring RULES.yaml DASHBOARD.json
 */
#include <stdio.h>
#include <fcntl.h>
#include <intent/file.h>
#include <intent/json.h>
#include <intent/option.h>

#define END {.name = NULL}
#define ROW(member, kind, rows) {.name = (member), .type = INTENT_JSON_##kind, .flags = INTENT_JSON_REQUIRED, .members = (rows)}
#define MAYBE(member, kind, rows) {.name = (member), .type = INTENT_JSON_##kind, .members = (rows)}
#define OPEN(member, rows) {.name = (member), .type = INTENT_JSON_OBJECT, .flags = INTENT_JSON_REQUIRED | INTENT_JSON_OPEN, .members = (rows)}

static const char *check_severity(const char *word)
{
	return !strcmp(word, "info") || !strcmp(word, "warning") || !strcmp(word, "critical") ? NULL : "is no severity";
}

static const char *check_alert(const char *name)
{
	return intent_starts_with(name, "Platypus") ? NULL : "does not begin with Platypus";
}

/* ---- what they must look like ---- */

static const struct intent_json_field labels[] = {
	{.name = "severity", .type = INTENT_JSON_STRING, .flags = INTENT_JSON_REQUIRED, .check = check_severity}, END
};
static const struct intent_json_field annotations[] = {ROW("summary", STRING, NULL), ROW("description", STRING, NULL), END};
static const struct intent_json_field rule[] = {
	{.name = "alert", .type = INTENT_JSON_STRING, .flags = INTENT_JSON_REQUIRED, .check = check_alert},
	ROW("expr", STRING, NULL), MAYBE("for", DURATION, NULL), ROW("labels", OBJECT, labels),
	ROW("annotations", OBJECT, annotations), END
};
static const struct intent_json_field rule_item[] = {MAYBE("", OBJECT, rule), END};
static const struct intent_json_field group[] = {ROW("name", STRING, NULL), ROW("rules", ARRAY, rule_item), END};
static const struct intent_json_field group_item[] = {MAYBE("", OBJECT, group), END};
static const struct intent_json_field rules_file[] = {ROW("groups", ARRAY, group_item), END};
static const struct intent_json_field rules_schema[] = {ROW("", OBJECT, rules_file), END};

static const struct intent_json_field target[] = {ROW("refId", STRING, NULL), ROW("expr", STRING, NULL), END};
static const struct intent_json_field target_item[] = {OPEN("", target), END};
#define SPAN(member, least, most) \
	{.name = (member), .type = INTENT_JSON_INTEGER, .flags = INTENT_JSON_REQUIRED, .min = (least), .max = (most)}
static const struct intent_json_field place[] = {SPAN("x", 0, 23), SPAN("y", 0, 999), SPAN("w", 1, 24), SPAN("h", 1, 99), END};
static const struct intent_json_field panel[] = {
	ROW("id", INTEGER, NULL), ROW("type", STRING, NULL), ROW("title", STRING, NULL), ROW("gridPos", OBJECT, place),
	ROW("targets", ARRAY, target_item), END
};
static const struct intent_json_field panel_item[] = {OPEN("", panel), END};
static const struct intent_json_field dashboard[] = {
	ROW("uid", STRING, NULL), ROW("title", STRING, NULL), ROW("schemaVersion", INTEGER, NULL),
	ROW("panels", ARRAY, panel_item), END
};
static const struct intent_json_field dashboard_schema[] = {OPEN("", dashboard), END};

/* ---- */

static int bad;

static void ok(bool good, const char *what, const char *why)
{
	printf("%sok - %s%s%s\n", good ? "" : "not ", what, good ? "" : ": ", good ? "" : why);
	bad += !good;
}

static void show_expressions(const json_t *json)
{
	const char *name;
	json_t *value;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)json, i, value)
		show_expressions(value);
	json_object_foreach((json_t *)(uintptr_t)json, name, value) {
		if ((!strcmp(name, "expr") || !strcmp(name, "query")) && json_is_string(value)) {
			printf("# EXPR ");
			for (const char *p = json_string_value(value); *p; p++)
				putchar(*p == '\n' ? ' ' : *p);
			putchar('\n');
		}
		show_expressions(value);
	}
}

static int64_t at(const json_t *one, const char *member)
{
	return intent_json_integer(json_object_get(one, "gridPos"), member, 0);
}

/* Every panel's own number and own place. */
static bool apart(const json_t *panels)
{
	size_t i, k;
	json_t *a, *b;

	json_array_foreach((json_t *)(uintptr_t)panels, i, a)
		json_array_foreach((json_t *)(uintptr_t)panels, k, b) {
			if (k >= i)
				break;
			if (intent_json_integer(a, "id", 0) == intent_json_integer(b, "id", 0) ||
			    (at(a, "x") < at(b, "x") + at(b, "w") && at(b, "x") < at(a, "x") + at(a, "w") &&
			     at(a, "y") < at(b, "y") + at(b, "h") && at(b, "y") < at(a, "y") + at(a, "h")))
				return false;
		}
	return true;
}

int main(int argc, char **argv)
{
	intent_json_auto json_t *rules = NULL, *board = NULL;
	intent_text_auto struct intent_text faults = INTENT_TEXT_INIT;
	intent_free_auto char *text = NULL;
	struct intent_error err = {0};
	size_t length;

	if (argc != 3)
		return 2;
	ok(!intent_yaml_read(argv[1], &rules, &err), "the rules are YAML", err.msg);
	ok(rules && !intent_json_check(rules, rules_schema, true, &faults, &err), "each is an alert with all it needs",
	   intent_text_str(&faults));
	ok(!intent_file_read(AT_FDCWD, argv[2], 1 << 20, &text, &length, &err) &&
	   !intent_json_parse(text, length, 0, &board, &err), "the dashboard is JSON", err.msg);
	ok(board && !intent_json_check(board, dashboard_schema, false, &faults, &err), "with panels and their questions",
	   intent_text_str(&faults));
	ok(apart(json_object_get(board, "panels")), "which do not overlap", "two do");
	show_expressions(rules);
	show_expressions(board);
	return bad != 0;
}

/* plan: every agent on this machine is asked what it would do. */
#include <dirent.h>
#include <sys/stat.h>
#include <intent/child.h>
#include "ppctl.h"

#define AGENTS_MAX 64
#define OUTPUT_MAX (1u << 20)

/* A second name for a program beside it. */
static bool is_alias(int directory, const char *name)
{
	char target[256];
	ssize_t length = readlinkat(directory, name, target, sizeof(target));

	return length > 0 && !memchr(target, '/', (size_t)length);
}

/* Programs named pp-* of a directory: {name: path}; what is known already stays. */
static void collect(const char *directory, json_t *programs)
{
	DIR *list = opendir(directory);
	for (struct dirent *entry; list && (entry = readdir(list));) {
		intent_free_auto char *path = NULL;
		struct stat st;
		if (!intent_starts_with(entry->d_name, "pp-") ||
		    !intent_name_is_valid(entry->d_name) ||
		    json_object_get(programs, entry->d_name) ||
		    is_alias(dirfd(list), entry->d_name) ||
		    json_object_size(programs) >= AGENTS_MAX)
			continue;
		path = intent_format("%s/%s", directory, entry->d_name);
		if (path && !stat(path, &st) && S_ISREG(st.st_mode) && !access(path, X_OK))
			json_object_set_new(programs, entry->d_name, json_string(path));
	}
	if (list)
		closedir(list);
}

/* Those beside ppctl itself belong to it; only without any is PATH asked. */
static json_t *find_agents(void)
{
	json_t *programs = json_object();
	char self[4096];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *path = getenv("PATH");

	self[length > 0 ? length : 0] = 0;
	if (strrchr(self, '/')) {
		*strrchr(self, '/') = 0;
		collect(self, programs);
	}
	while (!json_object_size(programs) && path && *path) {
		size_t part = strcspn(path, ":");
		intent_free_auto char *directory = strndup(path, part);
		if (directory && *directory == '/')
			collect(directory, programs);
		path += part + (path[part] == ':');
	}
	return programs;
}

static int run_agent(struct ppctl *ctl, const char *path, struct intent_child_result *ret,
		     struct intent_error *err)
{
	const char *argv[16] = {path, "--once", "--dry-run", "--log-format=json", "--node", ctl->node};
	size_t count = 6;
	struct intent_child_options options = {
		.argv = argv,
		.env = (const char *const *)environ,
		.output_max = OUTPUT_MAX,
		.deadline_ms = intent_json_integer(ctl->options, "timeout", 60000),
	};
	static const char *const passed[] = {"prefix", "config-file"};
	for (size_t i = 0; i < 2; i++) {
		if (!ppctl_option(ctl, passed[i]))
			continue;
		argv[count++] = i ? "--config-file" : "--prefix";
		argv[count++] = ppctl_option(ctl, passed[i]);
	}
	return intent_child_run(&options, ret, err);
}

static const struct {
	int status;
	const char *words;
	enum ppctl_style style;
} verdicts[] = {
	{0, "nothing to do", PPCTL_GREEN},
	{PPCTL_WORK, "work to do", PPCTL_YELLOW},
	{PPCTL_BLOCKED, "blocked", PPCTL_RED},
	{PPCTL_AGAIN, "waiting or failing", PPCTL_CYAN},
};

/* What it said is in the way, without its everyday lines: "slug: blocked: ...". New. */
static json_t *notes_of(const char *log)
{
	json_t *notes = json_array();
	for (const char *p = log; *p; p += strcspn(p, "\n"), p += *p == '\n') {
		intent_json_auto json_t *line = NULL;
		struct intent_error ignored;
		size_t length = strcspn(p, "\n");
		if (intent_json_parse(p, length, 0, &line, &ignored)) {
			/* Not of its log: what it said before it had one. */
			if (length)
				json_array_append_new(notes, json_stringn(p, length));
			continue;
		}
		const char *slice = intent_json_string(line, "slice", NULL);
		const char *said = intent_json_string(line, "msg", "");
		if (strcmp(intent_json_string(line, "level", ""), "info") ||
		    intent_starts_with(said, "waiting: "))
			json_array_append_new(notes,
					      json_sprintf("%s%s%s", slice ? slice : "",
							   slice ? ": " : "", said));
	}
	return notes;
}

static json_t *lines_of(const char *text)
{
	json_t *lines = json_array();
	for (const char *p = text; *p; p += strcspn(p, "\n"), p += *p == '\n')
		if (*p != '\n')
			json_array_append_new(lines, json_stringn(p, strcspn(p, "\n")));
	return lines;
}

/* {"agent", "status", "actions": [line, ...], "notes": [line, ...], "error"?}. New. */
static json_t *as_row(const char *name, int status, const struct intent_child_result *result,
		      const char *failure)
{
	return json_pack("{ss si so so ss*}", "agent", name + strlen("pp-"), "status", status,
			 "actions", lines_of(intent_text_str(&result->out)), "notes",
			 notes_of(intent_text_str(&result->err)), "error", failure);
}

static void show_lines(const json_t *lines, enum ppctl_style style)
{
	size_t index;
	json_t *line;
	json_array_foreach((json_t *)(uintptr_t)lines, index, line) {
		intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
		ppctl_add_wrapped(&out, json_string_value(line), style, 2,
				  (size_t)ppctl_columns());
		ppctl_print(intent_text_str(&out));
	}
}

static void show_row(const json_t *row)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	const char *failure = intent_json_string(row, "error", NULL);
	int status = (int)intent_json_integer(row, "status", 0);
	size_t i = 0;

	while (verdicts[i].status != status)
		i++;
	ppctl_add(&out, intent_json_string(row, "agent", ""), PPCTL_BOLD, 0, 0);
	intent_text_puts(&out, ": ");
	ppctl_add(&out, failure ? failure : verdicts[i].words,
		  failure ? PPCTL_RED : verdicts[i].style, 0, 0);
	ppctl_print(intent_text_str(&out));
	show_lines(json_object_get(row, "actions"), PPCTL_PLAIN);
	show_lines(json_object_get(row, "notes"), PPCTL_DIM);
}

/* The worst that any agent said: something blocked, waiting or broken, work, nothing. */
static int worse(int a, int b)
{
	static const int order[] = {0, PPCTL_WORK, PPCTL_AGAIN, PPCTL_BLOCKED};
	int x = 0, y = 0;
	for (int i = 0; i < 4; i++) {
		x = a == order[i] ? i : x;
		y = b == order[i] ? i : y;
	}
	return x > y ? a : b;
}

static bool is_verdict(int status)
{
	for (size_t i = 0; i < sizeof(verdicts) / sizeof(*verdicts); i++)
		if (verdicts[i].status == status)
			return true;
	return false;
}

/* One agent's answer, into rows or onto the screen; its exit status, or what stands for it. */
static int ask(struct ppctl *ctl, const char *name, const char *path, json_t *rows)
{
	struct intent_child_result result = {0};
	struct intent_error err = {0};
	int code = run_agent(ctl, path, &result, &err), status = PPCTL_AGAIN;
	char words[64];

	if (code == INTENT_ETIMEOUT)
		intent_fail(&err, code, "gave no answer within its --timeout");
	else if (!code && WIFEXITED(result.status) && is_verdict(WEXITSTATUS(result.status)))
		status = WEXITSTATUS(result.status);
	else if (!code) {
		intent_child_status_words(result.status, words);
		code = intent_fail(&err, INTENT_ECHILD, "%s", words);
	}
	intent_json_auto json_t *row = as_row(name, status, &result, code ? err.msg : NULL);
	if (rows)
		json_array_append(rows, row);
	else
		show_row(row);
	intent_child_result_release(&result);
	return status;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int ppctl_plan(struct ppctl *ctl, struct intent_error *err)
{
	intent_json_auto json_t *programs = find_agents();
	intent_json_auto json_t *rows = ppctl_flag(ctl, "json") ? json_array() : NULL;
	const char *names[AGENTS_MAX], *name;
	size_t count = 0;
	int status = 0;
	json_t *path;

	ppctl_locate(ctl);
	/* Not on their command lines: everybody on the machine can read those. */
	if (setenv("PP_STORE", ctl->url, true))
		return intent_fail_errno(err, "environment");
	json_object_foreach(programs, name, path)
		names[count++] = name;
	if (!count)
		return intent_fail(
			err, INTENT_EABSENT,
			"there is no agent (pp-*) beside ppctl nor on PATH; \"make install\" "
			"puts them there");
	qsort(names, count, sizeof(*names), by_name);
	for (size_t i = 0; i < count; i++)
		status = worse(
			status,
			ask(ctl, names[i], intent_json_string(programs, names[i], ""), rows));
	if (rows)
		ppctl_print_json(rows, false);
	return status;
}

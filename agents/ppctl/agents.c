/* plan: every agent on this machine is asked what it would do. */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <intent/child.h>
#include "ppctl.h"

#define AGENTS_MAX 64
#define OUTPUT_MAX (1u << 20)

extern char **environ;

/* Programs named pp-* of a directory: {name: path}; what is known already stays. */
static void collect(const char *directory, json_t *programs)
{
	DIR *list = opendir(directory);
	for (struct dirent *entry; list && (entry = readdir(list));) {
		intent_free_auto char *path = NULL;
		struct stat st;
		if (!intent_starts_with(entry->d_name, "pp-") || !intent_name_is_valid(entry->d_name) ||
		    json_object_get(programs, entry->d_name) || json_object_size(programs) >= AGENTS_MAX)
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

static int run_agent(struct ppctl *ctl, const char *path, struct intent_child_result *ret, struct intent_error *err)
{
	const char *argv[16] = {path, "--once", "--dry-run", "--log-level=warn", "--store", ctl->url, "--node", ctl->node};
	size_t count = 8;
	struct intent_child_options options = {
		.argv = argv, .env = (const char *const *)environ, .output_max = OUTPUT_MAX,
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

static const struct { int status; const char *words; enum ppctl_style style; } verdicts[] = {
	{0, "nothing to do", PPCTL_GREEN},
	{PPCTL_WORK, "work to do", PPCTL_YELLOW},
	{PPCTL_BLOCKED, "blocked", PPCTL_RED},
	{PPCTL_AGAIN, "waiting or failing", PPCTL_CYAN},
};

static void show_lines(const char *text, enum ppctl_style style)
{
	for (const char *p = text; *p;) {
		size_t length = strcspn(p, "\n");
		intent_free_auto char *line = strndup(p, length);
		intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
		intent_text_puts(&out, "  ");
		ppctl_add(&out, line ? line : "", style, 0, 0);
		if (length)
			ppctl_print(intent_text_str(&out));
		p += length + (p[length] == '\n');
	}
}

static void show_agent(const char *name, int status, const struct intent_child_result *result, const char *failure)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	char words[64] = "failed";
	enum ppctl_style style = PPCTL_RED;

	if (!failure)
		intent_child_status_words(result->status, words);
	for (size_t i = 0; i < sizeof(verdicts) / sizeof(*verdicts); i++)
		if (!failure && status == verdicts[i].status) {
			snprintf(words, sizeof(words), "%s", verdicts[i].words);
			style = verdicts[i].style;
		}
	ppctl_add(&out, name + strlen("pp-"), PPCTL_BOLD, 0, 0);
	intent_text_puts(&out, ": ");
	ppctl_add(&out, words, style, 0, 0);
	ppctl_print(intent_text_str(&out));
	show_lines(intent_text_str(&result->out), PPCTL_PLAIN);
	if (status && status != PPCTL_WORK)
		show_lines(intent_text_str(&result->err), PPCTL_DIM);
	if (failure)
		show_lines(failure, PPCTL_RED);
}

/* "slug: would install slug_1.1: it is not there" as rows for programs. */
static json_t *as_json(const char *name, int status, const struct intent_child_result *result, const char *failure)
{
	json_t *lines = json_array();
	for (const char *p = intent_text_str(&result->out); *p;) {
		size_t length = strcspn(p, "\n");
		if (length)
			json_array_append_new(lines, json_stringn(p, length));
		p += length + (p[length] == '\n');
	}
	return json_pack("{ss si so ss*}", "agent", name + strlen("pp-"), "status", status, "actions", lines,
			 "error", failure);
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

static int ask(struct ppctl *ctl, const char *name, const char *path, json_t *rows)
{
	struct intent_child_result result = {0};
	struct intent_error err = {0};
	int code = run_agent(ctl, path, &result, &err);
	int status = !code && WIFEXITED(result.status) ? WEXITSTATUS(result.status) : PPCTL_AGAIN;
	bool known = status == 0 || status == PPCTL_WORK || status == PPCTL_BLOCKED || status == PPCTL_AGAIN;

	if (code == INTENT_ETIMEOUT)
		intent_fail(&err, code, "gave no answer within its --timeout");
	if (rows)
		json_array_append_new(rows, as_json(name, status, &result, code ? err.msg : NULL));
	else
		show_agent(name, status, &result, code ? err.msg : NULL);
	intent_child_result_release(&result);
	return known ? status : PPCTL_AGAIN;
}

int ppctl_plan(struct ppctl *ctl, struct intent_error *err)
{
	intent_json_auto json_t *programs = find_agents();
	intent_json_auto json_t *rows = ppctl_flag(ctl, "json") ? json_array() : NULL;
	const char *names[AGENTS_MAX], *name;
	size_t count = 0;
	int status = 0;
	json_t *path;

	if (ppctl_locate(ctl, err))
		return err->code;
	json_object_foreach(programs, name, path)
		names[count++] = name;
	if (!count)
		return intent_fail(err, INTENT_EABSENT, "there is no agent (pp-*) beside ppctl nor on PATH; \"make install\" "
				   "puts them there");
	for (size_t i = 1; i < count; i++)
		for (size_t k = i; k && strcmp(names[k - 1], names[k]) > 0; k--) {
			const char *other = names[k];
			names[k] = names[k - 1];
			names[k - 1] = other;
		}
	for (size_t i = 0; i < count; i++)
		status = worse(status, ask(ctl, names[i], intent_json_string(programs, names[i], ""), rows));
	if (rows)
		ppctl_print_json(rows, false);
	return status;
}

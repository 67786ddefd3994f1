/* A program's options from everywhere: command line, environment, configuration file, defaults. */
#include "option.h"

/* What the command line says, before anything else is read. */
struct command_line {
	const struct intent_option_program *program;
	char **argv;
	int argc, next;
	const char *directory;     /* the current one */
	json_t *set;               /* option -> value */
	json_t *rest;              /* NULL: positional arguments are a fault */
};

/* ---- the command line ---- */

static int unknown_option(const struct command_line *line, const char *name, struct intent_error *err)
{
	const char *nearest = intent__option_nearest(line->program, name);

	if (nearest)
		return intent_fail(err, INTENT_EUSAGE, "unknown option --%.100s; did you mean --%s?", name, nearest);
	return intent_fail(err, INTENT_EUSAGE, "unknown option --%.100s; %s --help lists them all", name,
			   line->program->name);
}

static bool looks_like_option(const struct command_line *line, const char *word)
{
	size_t dashes = strspn(word, "-"), length = strcspn(word, "=");
	char name[64];

	if (dashes < 1 || dashes > 2 || length - dashes >= sizeof(name))
		return false;
	snprintf(name, sizeof(name), "%.*s", (int)(length - dashes), word + dashes);
	return intent__option_find(line->program, name) != NULL;
}

/* The value after "=", or the next word, which must not be an option that lost its own. */
static int find_value(struct command_line *line, const char *name, const char **ret_value,
		      struct intent_error *err)
{
	const char *value = line->next < line->argc ? line->argv[line->next] : NULL;

	if (!value)
		return intent_fail(err, INTENT_EUSAGE, "--%s needs a value: --%s=...", name, name);
	if (looks_like_option(line, value))
		return intent_fail(err, INTENT_EUSAGE,
				   "--%s needs a value, but %.100s follows; write --%s=%.100s if that is it",
				   name, value, name, value);
	line->next++;
	*ret_value = value;
	return 0;
}

static int take_option(struct command_line *line, const char *word, struct intent_error *err)
{
	const char *start = word + strspn(word, "-"), *equals = strchr(start, '='), *value;
	size_t length = equals ? (size_t)(equals - start) : strlen(start);
	char *name intent_free_auto = strndup(start, length);
	const struct intent_option *option;
	char subject[80];

	value = equals ? equals + 1 : NULL;
	option = intent__option_find(line->program, strcmp(name, "h") == 0 ? "help" : name);
	if (!option && !value && intent_starts_with(name, "no-")) {
		option = intent__option_find(line->program, name + 3);
		option = option && option->type == INTENT_OPTION_FLAG ? option : NULL;
		value = "false";
	}
	if (!option)
		return unknown_option(line, name, err);
	if (!value && option->type == INTENT_OPTION_FLAG)
		value = "true";
	if (!value) {
		int rc = find_value(line, name, &value, err);

		if (rc < 0)
			return rc;
	}
	snprintf(subject, sizeof(subject), "--%s", option->name);
	return intent__option_set(line->set, option, value, line->directory, subject, err);
}

static int take_rest(struct command_line *line, const char *word, struct intent_error *err)
{
	if (!line->rest)
		return intent_fail(err, INTENT_EUSAGE, "unexpected argument \"%.100s\"; options begin with --", word);
	if (json_array_append_new(line->rest, json_string(word)) < 0)
		return intent_fail(err, INTENT_EUSAGE, "argument \"%.100s\" is not UTF-8 text", word);
	return 0;
}

static int read_command_line(struct command_line *line, struct intent_error *err)
{
	bool only_rest = false;
	int rc = 0;

	while (rc == 0 && line->next < line->argc) {
		const char *word = line->argv[line->next++];

		if (!only_rest && strcmp(word, "--") == 0)
			only_rest = true;
		else if (only_rest || word[0] != '-' || !word[1])
			rc = take_rest(line, word, err);
		else
			rc = take_option(line, word, err);
		/* Before anything else is looked at: help must not depend on it. */
		if (json_object_get(line->set, "help"))
			break;
	}
	return rc;
}

/* ---- all sources ---- */

struct pass {
	json_t *result;
	const char *directory;
	struct intent_error *err;
	int rc;
};

static void take_default(const struct intent_option *option, int group, void *data)
{
	struct pass *pass = data;

	(void)group;
	if (pass->rc == 0 && option->otherwise)
		pass->rc = intent__option_set(pass->result, option, option->otherwise, pass->directory,
					      option->name, pass->err);
}

static void take_environment(const struct intent_option *option, int group, void *data)
{
	struct pass *pass = data;
	const char *value = option->env ? getenv(option->env) : NULL;

	(void)group;
	if (pass->rc == 0 && value && *value)
		pass->rc = intent__option_set(pass->result, option, value, pass->directory, option->env,
					      pass->err);
}

static int merge(const struct intent_option_program *program, const struct command_line *line,
		 json_t *result, struct intent_error *err)
{
	struct pass pass = {.result = result, .directory = line->directory, .err = err};
	json_t *environment intent_json_auto = json_object();
	const char *path;

	intent__option_each(program, take_default, &pass);
	if (pass.rc < 0)
		return pass.rc;
	pass.result = environment;
	intent__option_each(program, take_environment, &pass);
	if (pass.rc < 0)
		return pass.rc;
	path = intent_json_string(line->set, "config-file", intent_json_string(environment, "config-file", NULL));
	pass.rc = intent__configuration_read(program, path, result, err);
	if (pass.rc < 0)
		return pass.rc;
	json_object_update(result, environment);
	json_object_update(result, line->set);
	json_object_set_new(result, "given", json_copy(line->set));
	return 0;
}

/* --help, --version, --completion: what to print, or nothing. */
static void answer(const struct intent_option_program *program, const json_t *set, struct intent_text *out)
{
	const char *shell = intent_json_string(set, "completion", NULL);

	if (intent_json_boolean(set, "help", false))
		intent__help_write(program, out);
	else if (intent_json_boolean(set, "version", false))
		intent_text_printf(out, "%s %s\n", program->name, INTENT_VERSION);
	else if (shell && strcmp(shell, "zsh") == 0)
		intent__completion_zsh(program, out);
	else if (shell)
		intent__completion_bash(program, out);
}

static int print(const struct intent_text *out, struct intent_error *err)
{
	if (fwrite(out->data, 1, out->length, stdout) != out->length || fflush(stdout) != 0)
		return intent_fail_errno(err, "standard output");
	return 0;
}

int intent_options_parse(const struct intent_option_program *program, int argc, char **argv,
			 json_t **ret_new, json_t **ret_rest, bool *ret_done, struct intent_error *err)
{
	json_t *set intent_json_auto = json_object();
	json_t *rest intent_json_auto = json_array();
	json_t *result intent_json_auto = json_object();
	char *directory intent_free_auto = getcwd(NULL, 0);
	struct intent_text out intent_text_auto = INTENT_TEXT_INIT;
	struct command_line line = {
		.program = program, .argv = argv, .argc = argc, .next = 1,
		.directory = directory ? directory : "/", .set = set, .rest = ret_rest ? rest : NULL,
	};
	int rc = read_command_line(&line, err);
	bool done;

	if (rc < 0)
		return rc;
	answer(program, set, &out);
	done = out.length > 0 || out.failed;
	rc = done ? print(&out, err) : merge(program, &line, result, err);
	if (rc < 0)
		return rc;
	*ret_done = done;
	*ret_new = result;
	result = NULL;
	if (ret_rest) {
		*ret_rest = rest;
		rest = NULL;
	}
	return 0;
}

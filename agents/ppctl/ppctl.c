/* ppctl's command line, what the subcommands share of it, help, exit statuses and main. */
#include <errno.h>
#include <signal.h>
#include "ppctl.h"

const char *ppctl_argument(const struct ppctl *ctl, size_t index)
{
	return json_string_value(json_array_get(ctl->arguments, index));
}

bool ppctl_flag(const struct ppctl *ctl, const char *name)
{
	return intent_json_boolean(ctl->options, name, false);
}

const char *ppctl_option(const struct ppctl *ctl, const char *name)
{
	return intent_json_string(ctl->options, name, NULL);
}

void ppctl_locate(struct ppctl *ctl)
{
	const char *named = ppctl_option(ctl, "store");
	if (ctl->url)
		return;
	ctl->url = intent_store_url(ctl->store_given ? named : NULL,
				    ctl->store_given ? NULL : named, &ctl->store_why);
}

int ppctl_store(struct ppctl *ctl, struct intent_store **ret_borrowed, struct intent_error *err)
{
	int code = 0;

	ppctl_locate(ctl);
	if (!ctl->store)
		code = intent_store_open(ctl->url, ppctl_option(ctl, "prefix"), &ctl->store, err);
	if (!code)
		*ret_borrowed = ctl->store;
	return code;
}

/* ---- help ---- */

static void show_row(struct intent_text *out, const struct ppctl_command *row)
{
	intent_free_auto char *term = intent_format("%s %s", row->name, row->usage);
	intent_text_puts(out, "  ");
	ppctl_add(out, term, PPCTL_BOLD, 0, 26);
	intent_text_printf(out, "  %s\n", row->summary);
}

/* What a person sees who typed only "ppctl". */
static void overview(struct intent_text *out)
{
	static const struct {
		const char *first, *title;
	} sections[] = {
		{"init", "Set up"},   {"prep", "Deploy"},   {"status", "Look"},
		{"load", "Systems"}, {"get", "Documents"}, {"stack show", "Infrastructure"}, {"lock ls", "Locks"}, {"help", NULL},
	};
	size_t next = 0;

	intent_text_puts(
		out,
		"Usage: ppctl COMMAND [ARGUMENT]... [OPTION]...\n"
		"Writes what should be true into the intent store; agents make it so.\n");
	for (const struct ppctl_command *row = ppctl_commands; row->name; row++) {
		if (!strcmp(row->name, sections[next].first)) {
			intent_text_puts(out, "\n");
			if (sections[next].title)
				intent_text_printf(out, "%s\n", sections[next].title);
			next++;
		}
		show_row(out, row);
	}
	intent_text_puts(out,
			 "\nOptions for all: --store URL, --prefix PREFIX, --node NODE, --json, "
			 "--config-file FILE,\n--help, --version, --completion bash|zsh. "
			 "`ppctl help COMMAND' says more; so does ppctl(1).\n");
}

static const struct ppctl_command *find_command(const char *first, const char *second)
{
	intent_free_auto char *both = second ? intent_format("%s %s", first, second) : NULL;
	for (const struct ppctl_command *row = ppctl_commands; row->name; row++)
		if (!strcmp(row->name, first) || (both && !strcmp(row->name, both)))
			return row;
	return NULL;
}

static int unknown_command(const char *first, const char *second, struct intent_error *err)
{
	const char *known[64];
	size_t count = 0;
	intent_text_auto struct intent_text family = INTENT_TEXT_INIT;

	for (const struct ppctl_command *row = ppctl_commands; row->name; row++) {
		size_t length = strlen(first);
		if (!strncmp(row->name, first, length) && row->name[length] == ' ')
			intent_text_printf(&family, "%s%s", family.length ? ", " : "", row->name);
		known[count++] = row->name;
	}
	if (family.length)
		return intent_fail(
			err, INTENT_EUSAGE, "\"%.32s%s%.64s\" is no command; there is %s", first,
			second ? " " : "", second ? second : "", intent_text_str(&family));
	const char *nearest = intent_nearest_name(first, known, count);
	if (nearest)
		return intent_fail(err, INTENT_EUSAGE,
				   "unknown command \"%.64s\"; did you mean %s?", first, nearest);
	return intent_fail(err, INTENT_EUSAGE,
			   "unknown command \"%.64s\"; \"ppctl help\" lists them all", first);
}

int ppctl_help(struct ppctl *ctl, struct intent_error *err)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	const char *first = ppctl_argument(ctl, 0), *second = ppctl_argument(ctl, 1);

	if (!first) {
		overview(&out);
		intent_free_auto char *text = ppctl_as_called(intent_text_str(&out));
		fputs(text ? text : intent_text_str(&out), stdout);
		return 0;
	}
	const struct ppctl_command *row = find_command(first, second);
	if (!row)
		return unknown_command(first, second, err);
	intent_free_auto char *usage = intent_format("%s %s%s[OPTION]...", row->name, row->usage, *row->usage ? " " : "");
	intent_free_auto char *summary =
		intent_format("%c%s.%s%s", row->summary[0] & ~0x20, row->summary + 1,
			      row->more ? " " : "", row->more ? row->more : "");
	static const struct intent_option none[] = {{0}};
	const struct intent_option *const tables[] = {row->options ? row->options : none,
						      ppctl_common, NULL};
	struct intent_option_program program = {
		.name = ppctl_program,
		.usage = usage,
		.summary = summary,
		.section = "ppctl",
		.tables = tables,
	};
	char name[] = "ppctl", option[] = "--help", *argv[] = {name, option, NULL};
	intent_json_auto json_t *options = NULL;
	bool done;
	return intent_options_parse(&program, 2, argv, &options, NULL, &done, err);
}

/* ---- the command line ---- */

/*
 * Where the command's name begins: the first word that is neither an option nor the value of a
 * common one. 0: none.
 */
static int command_index(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *name = argv[i] + strspn(argv[i], "-");
		if (name == argv[i])
			return i;
		bool valued = !strcmp(name, "config-file") || !strcmp(name, "completion");
		for (const struct intent_option *row = ppctl_common; row->name; row++)
			valued = valued ||
				(!strcmp(row->name, name) && row->type != INTENT_OPTION_FLAG);
		i += valued;
	}
	return 0;
}

static bool names_store(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
		const char *name = argv[i] + strspn(argv[i], "-");
		if (name != argv[i] && !strncmp(name, "store", 5) && (!name[5] || name[5] == '='))
			return true;
	}
	return false;
}

static bool asks_for_bash(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *name = argv[i] + strspn(argv[i], "-");
		if (!strcmp(name, "completion=bash") ||
		    (!strcmp(name, "completion") && i + 1 < argc && !strcmp(argv[i + 1], "bash")))
			return true;
	}
	return false;
}

/* A command may have a --version of its own; without a command it is ppctl's. */
static bool has_version(const struct intent_option *row)
{
	while (row->name && strcmp(row->name, "version"))
		row++;
	return row->name != NULL;
}

/* --completion and --version, or nothing but options. */
static int without_command(int argc, char **argv, struct intent_error *err)
{
	intent_text_auto struct intent_text words = INTENT_TEXT_INIT;
	const struct intent_option *tables[64];
	size_t count = 0;
	bool done = false;
	intent_json_auto json_t *options = NULL;
	struct ppctl none = {0};

	for (const struct ppctl_command *row = ppctl_commands; row->name; row++) {
		size_t length = strcspn(row->name, " ");
		if (row == ppctl_commands || strncmp(row->name, row[-1].name, length + 1))
			intent_text_printf(&words, "%s%.*s", words.length ? " " : "", (int)length,
					   row->name);
		if (row->options && !has_version(row->options))
			tables[count++] = row->options;
	}
	tables[count++] = ppctl_common;
	tables[count] = NULL;
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i] + strspn(argv[i], "-"), "help") || !strcmp(argv[i], "-h"))
			return ppctl_help(&none, err);
	struct intent_option_program program = {
		.name = "ppctl",
		.usage = "COMMAND [ARGUMENT]... [OPTION]...",
		.section = "ppctl",
		.tables = tables,
		.words = intent_text_str(&words),
	};
	int code = intent_options_parse(&program, argc, argv, &options, NULL, &done, err);
	if (!code && done && asks_for_bash(argc, argv))
		fputs(ppctl_completion_bash, stdout);
	if (code || done)
		return code;
	ppctl_help(&none, err);
	return PPCTL_USAGE;
}

static int check_arguments(const struct ppctl_command *row, const json_t *arguments,
			   struct intent_error *err)
{
	int count = (int)json_array_size(arguments);
	if (count >= row->min && count <= row->max)
		return 0;
	const char *extra = json_string_value(json_array_get(arguments, (size_t)row->max));
	if (count < row->min)
		return intent_fail(err, INTENT_EUSAGE, "%s needs more arguments: ppctl %s %s",
				   row->name, row->name, row->usage);
	return intent_fail(err, INTENT_EUSAGE,
			   "%s: one argument too many: \"%.64s\"; it is ppctl %s %s%s", row->name,
			   extra, row->name, row->usage,
			   strcmp(row->name, "put") ? "" : " (quote the JSON: '{\"a\": 1}')");
}

/* Everything of the command line but the command's own words. */
static int parse(struct ppctl *ctl, int argc, char **argv, int at, bool *ret_done,
		 struct intent_error *err)
{
	const char *second = at + 1 < argc ? argv[at + 1] : NULL;
	const struct ppctl_command *row = find_command(argv[at], second);
	if (!row)
		return unknown_command(argv[at], second, err);
	ctl->command = row;
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-help") ||
		    !strcmp(argv[i], "-h")) {
			*ret_done = true;
			ctl->arguments = json_pack("[s]", row->name);
			return ppctl_help(ctl, err);
		}
	static const struct intent_option none[] = {{0}};
	const struct intent_option *const tables[] = {row->options ? row->options : none,
						      ppctl_common, NULL};
	struct intent_option_program program = {
		.name = "ppctl", .section = "ppctl", .tables = tables};
	ctl->store_given = names_store(argc, argv);
	int code = intent_options_parse(&program, argc, argv, &ctl->options, &ctl->arguments,
					ret_done, err);
	if (code || *ret_done)
		return code;
	for (const char *p = row->name; p; p = strchr(p, ' ') ? strchr(p, ' ') + 1 : NULL)
		json_array_remove(ctl->arguments, 0);
	const char *node = ppctl_option(ctl, "node");
	if (node)
		snprintf(ctl->node, sizeof(ctl->node), "%s", node);
	else if (gethostname(ctl->node, sizeof(ctl->node) - 1))
		return intent_fail_errno(err, "host name (give --node)");
	if (!intent_name_is_valid(ctl->node))
		return intent_fail(err, INTENT_EUSAGE,
				   "--node \"%.64s\" is no valid name of a node", ctl->node);
	return check_arguments(row, ctl->arguments, err);
}

/* A newcomer without a store meets Consul's port first. */
static void advise(const struct ppctl *ctl, const struct intent_error *err)
{
	if (err->code == INTENT_EUNAVAILABLE && ctl->url && !ctl->store_given &&
	    !strcmp(ctl->url, "consul://127.0.0.1:8500") && !getenv("PP_STORE") &&
	    !getenv("CONSUL_HTTP_ADDR"))
		ppctl_say("No store was named, so Consul on this machine was tried. \"ppctl "
			  "init\" makes a store "
			  "in a directory; --store or PP_STORE names another.");
}

static int exit_status(const struct intent_error *err)
{
	switch (err->code) {
	case INTENT_EUSAGE:
		return PPCTL_USAGE;
	case INTENT_EUNAVAILABLE:
	case INTENT_EUNKNOWN:
	case INTENT_ETIMEOUT:
		return PPCTL_AGAIN;
	default:
		return PPCTL_REFUSED;
	}
}

int main(int argc, char **argv)
{
	struct ppctl ctl = {0};
	struct intent_error err = {0};
	bool done = false;
	int at = command_index(argc, argv), code;

	signal(SIGPIPE, SIG_IGN);
	if (argc > 0 && intent_ends_with(argv[0], "pib-local"))
		ppctl_program = "pib-local";
	if (!at)
		code = without_command(argc, argv, &err);
	else if (!(code = parse(&ctl, argc, argv, at, &done, &err)) && !done)
		code = ctl.command->run(&ctl, &err);
	if (code >= 0 && ppctl_flush(&err) < 0)
		code = err.code;
	if (code < 0) {
		ppctl_say("ppctl: %s", err.msg);
		advise(&ctl, &err);
		code = exit_status(&err);
	}
	intent_store_close(ctl.store);
	json_decref(ctl.options);
	json_decref(ctl.arguments);
	free(ctl.url);
	return code;
}

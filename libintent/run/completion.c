#include "option.h"

struct completion {
	struct intent_text *out;
	int count;
};

static void words_of(struct intent_text *out, const char *metavar)
{
	for (; *metavar; metavar++)
		intent_text_add(out, *metavar == '|' ? " " : metavar, 1);
}

/* ---- bash ---- */

static void bash_name(const struct intent_option *option, int group, void *data)
{
	struct completion *to = data;

	(void)group;
	intent_text_printf(to->out, "%s--%s%s", to->count++ ? " " : "", option->name,
			   option->type == INTENT_OPTION_FLAG ? "" : "=");
}

static void bash_value(const struct intent_option *option, int group, void *data)
{
	struct completion *to = data;

	(void)group;
	if (option->type == INTENT_OPTION_WORD) {
		intent_text_printf(to->out, "\t--%s|-%s)\n\t\tmapfile -t COMPREPLY < <(compgen -W '", option->name,
				   option->name);
		words_of(to->out, option->metavar);
		intent_text_puts(to->out, "' -- \"$cur\")\n\t\treturn;;\n");
	} else if (option->type == INTENT_OPTION_PATH) {
		intent_text_printf(to->out, "\t--%s|-%s)\n\t\tcompopt -o filenames\n"
				   "\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n\t\treturn;;\n",
				   option->name, option->name);
	} else if (option->type != INTENT_OPTION_FLAG) {
		intent_text_printf(to->out, "\t--%s|-%s)\n\t\treturn;;\n", option->name, option->name);
	}
}

/* A shell function's name has no dashes. */
static void put_identifier(struct intent_text *out, const char *name)
{
	for (; *name; name++)
		intent_text_add(out, *name == '-' ? "_" : name, 1);
}

void intent__completion_bash(const struct intent_option_program *program, struct intent_text *out)
{
	struct completion to = {.out = out};

	intent_text_printf(out, "# bash completion for %s, made from its option table.\n_", program->name);
	put_identifier(out, program->name);
	/* "=" is a word of its own to bash: --name=value arrives as three. */
	intent_text_puts(out, "() {\n"
		"\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
		"\tCOMPREPLY=()\n"
		"\tif [ \"$cur\" = = ]; then\n\t\tcur=\n"
		"\telif [ \"$prev\" = = ]; then\n\t\tprev=${COMP_WORDS[COMP_CWORD-2]}\n\tfi\n"
		"\tcase $prev in\n");
	intent__option_each(program, bash_value, &to);
	intent_text_puts(out, "\tesac\n\tif [[ $cur == -* ]]; then\n\t\tmapfile -t COMPREPLY < <(compgen -W '");
	intent__option_each(program, bash_name, &to);
	intent_text_puts(out, "' -- \"$cur\")\n"
		"\t\t[[ ${#COMPREPLY[@]} = 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace\n\t\treturn\n\tfi\n");
	if (program->words)
		intent_text_printf(out, "\tmapfile -t COMPREPLY < <(compgen -W '%s' -- \"$cur\")\n", program->words);
	intent_text_puts(out, "}\ncomplete -F _");
	put_identifier(out, program->name);
	intent_text_printf(out, " %s\n", program->name);
}

/* ---- zsh ---- */

/* Inside '...' of an _arguments specification. */
static void put_quoted(struct intent_text *out, const char *words)
{
	for (; *words; words++) {
		if (*words == '\'')
			intent_text_puts(out, "'\\''");
		else if (strchr("[]:\\", *words))
			intent_text_printf(out, "\\%c", *words);
		else
			intent_text_add(out, words, 1);
	}
}

static void zsh_option(const struct intent_option *option, int group, void *data)
{
	struct completion *to = data;
	bool is_flag = option->type == INTENT_OPTION_FLAG;

	(void)group;
	intent_text_printf(to->out, " \\\n\t'--%s%s[", option->name, is_flag ? "" : "=");
	put_quoted(to->out, option->help);
	intent_text_puts(to->out, "]");
	if (!is_flag) {
		intent_text_puts(to->out, ":");
		put_quoted(to->out, option->type == INTENT_OPTION_WORD ? option->name : option->metavar);
		intent_text_puts(to->out, ":");
	}
	if (option->type == INTENT_OPTION_PATH) {
		intent_text_puts(to->out, "_files");
	} else if (option->type == INTENT_OPTION_WORD) {
		intent_text_puts(to->out, "(");
		words_of(to->out, option->metavar);
		intent_text_puts(to->out, ")");
	}
	intent_text_puts(to->out, "'");
}

void intent__completion_zsh(const struct intent_option_program *program, struct intent_text *out)
{
	struct completion to = {.out = out};

	intent_text_printf(out, "#compdef %s\n# Made from its option table.\n_arguments", program->name);
	intent__option_each(program, zsh_option, &to);
	if (program->words)
		intent_text_printf(out, " \\\n\t'1:command:(%s)'", program->words);
	intent_text_puts(out, "\n");
}

#include "option.h"

#define WIDTH 80
#define MAX_COLUMN 30

static const char footer[] =
	"--name=value is the same as --name value, and -name as --name; --no-name turns a flag off. "
	"From weakest to strongest: default, configuration file, environment, command line.";

struct help {
	struct intent_text *out;
	size_t column;        /* where the sentences begin */
	int group;            /* the table of the last row */
};

static size_t term_width(const struct intent_option *option)
{
	size_t width = strlen("  --") + strlen(option->name);

	return option->metavar ? width + 1 + strlen(option->metavar) : width;
}

static void measure(const struct intent_option *option, int group, void *data)
{
	struct help *help = data;
	size_t width = term_width(option) + 2;

	(void)group;
	if (width > help->column && width <= MAX_COLUMN)
		help->column = width;
}

/* Words from `column` on, broken before the line is full. */
static void wrap(struct intent_text *out, const char *words, size_t column)
{
	size_t at = column, length;

	for (; *words; words += length + strspn(words + length, " ")) {
		length = strcspn(words, " ");
		if (at > column && at + 1 + length > WIDTH) {
			intent_text_printf(out, "\n%*s", (int)column, "");
			at = column;
		}
		if (at > column) {
			intent_text_puts(out, " ");
			at++;
		}
		intent_text_add(out, words, length);
		at += length;
	}
	intent_text_puts(out, "\n");
}

static void describe(const struct intent_option *option, int group, void *data)
{
	struct help *help = data;
	struct intent_text words intent_text_auto = INTENT_TEXT_INIT;
	size_t width = term_width(option);

	if (group != help->group)
		intent_text_puts(help->out, "\n");
	help->group = group;
	intent_text_printf(help->out, "  --%s%s%s", option->name, option->metavar ? " " : "",
			   option->metavar ? option->metavar : "");
	if (width + 2 > help->column) {
		intent_text_puts(help->out, "\n");
		width = 0;
	}
	intent_text_printf(help->out, "%*s", (int)(help->column - width), "");
	intent_text_puts(&words, option->help);
	if (option->otherwise && *option->otherwise && option->type != INTENT_OPTION_FLAG)
		intent_text_printf(&words, " [%s]", option->otherwise);
	if (option->env)
		intent_text_printf(&words, " ($%s)", option->env);
	wrap(help->out, intent_text_str(&words), help->column);
}

void intent__help_write(const struct intent_option_program *program, struct intent_text *out)
{
	struct help help = {.out = out, .column = 0, .group = -1};

	intent_text_printf(out, "Usage: %s %s\n", program->name, program->usage ? program->usage : "[OPTION]...");
	if (program->summary)
		wrap(out, program->summary, 0);
	intent__option_each(program, measure, &help);
	intent__option_each(program, describe, &help);
	intent_text_puts(out, "\n");
	wrap(out, footer, 0);
}

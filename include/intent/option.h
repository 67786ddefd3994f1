/*
 * Options: one table drives the command line, the configuration file, --help,
 * the manual's list and shell completion.
 *
 * Long options with one or two dashes, "--name value" or "--name=value", no bundled short
 * ones. From weakest: default, configuration file, environment, command line.
 */
#ifndef INTENT_OPTION_H
#define INTENT_OPTION_H

#include <intent/json.h>

enum intent_option_type {
	INTENT_OPTION_FLAG,      /* boolean; "--name", "--name=false" */
	INTENT_OPTION_STRING,
	INTENT_OPTION_PATH,      /* made absolute when read (completes files) */
	INTENT_OPTION_INTEGER,
	INTENT_OPTION_DURATION,  /* kept as milliseconds */
	INTENT_OPTION_WORD,      /* one of the words in `metavar`: "text|logfmt|json" */
};

struct intent_option {
	const char *name;
	enum intent_option_type type;
	const char *metavar;        /* shown in --help; NULL for flags */
	const char *otherwise;      /* default as it would be written; NULL: absent */
	const char *env;            /* environment variable, or NULL */
	int64_t min, max;           /* INTEGER, DURATION (ms); both 0: 0..INT64_MAX */
	const char *help;           /* one sentence, no full stop */
};

struct intent_option_program {
	const char *name;           /* "pp-preparer" */
	const char *usage;          /* after the name: "[OPTION]..." */
	const char *summary;
	const char *section;        /* its mapping in the configuration file: "preparer" */
	const struct intent_option *const *tables; /* NULL-terminated list of tables, each ended by a NULL name */
	const char *words;          /* "put get ls": completed as first argument; NULL: none */
	/* Names in the configuration file that this program does not know are for others (ppctl, whose
	 * commands have a table each). For agents they are faults. */
	bool ignores_unknown;
};

/*
 * Parses everything into one JSON object {name: string | integer | boolean}; options
 * without value or default are absent. Positional arguments go to *ret_rest (an array
 * of strings, new; NULL: none are allowed). The member "given" holds once more what the
 * command line itself said, for options where that outranks other places (--store). Faults: INTENT_EUSAGE, naming the option, the nearest
 * known name, and the file and line for the configuration file. --help, --version and
 * --completion=bash|zsh print to stdout and set *ret_done.
 * The configuration file is --config-file, PP_CONFIG, or /etc/platypus/platypus.yaml if it is there.
 */
int intent_options_parse(const struct intent_option_program *program, int argc, char **argv,
			 json_t **ret_new, json_t **ret_rest, bool *ret_done, struct intent_error *err);

/*
 * A YAML file as JSON. New. One document of at most 1 MiB and 32 levels; anchors, aliases,
 * tags and duplicate names are INTENT_EMALFORMED. Plain scalars are null, true, false (the core
 * schema of YAML 1.2: "yes" is a string), and integers when they read back as they were written: 0644
 * and 1.10 are strings. Messages begin "FILE:LINE:COLUMN: ".
 */
int intent_yaml_read(const char *path, json_t **ret_new, struct intent_error *err);
/* From memory; `name` is for messages "name:line:column: ...". */
int intent_yaml_parse(const char *bytes, size_t count, const char *name, json_t **ret_new,
		      struct intent_error *err);
/* What a plain scalar is: null, a boolean, an integer or a string. New. */
json_t *intent_yaml_scalar(const char *text, size_t length);

#endif

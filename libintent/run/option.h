/* Between option-table.c, on which the others stand, configuration.c, help.c, completion.c and option.c. Not installed. */
#ifndef INTENT_RUN_OPTION_H
#define INTENT_RUN_OPTION_H

#include <intent/option.h>

/* --config-file, --help, --version and --completion, which every program has; a table of the
 * program's own may describe them better and then wins. */
extern const struct intent_option intent__option_builtins[];

/* The program's row of that name, or NULL. */
const struct intent_option *intent__option_find(const struct intent_option_program *program, const char *name);
/* Calls `each` for every row once, the program's first; `group` counts tables. */
void intent__option_each(const struct intent_option_program *program,
			 void (*each)(const struct intent_option *option, int group, void *data), void *data);
/* The known name nearest to this one, or NULL; static. */
const char *intent__option_nearest(const struct intent_option_program *program, const char *name);

/*
 * One value as written -> its JSON, set in `result`. `subject` begins the message:
 * "--repo", "PP_STORE", "platypus.yaml:3: repo". Relative paths begin at `directory`.
 */
int intent__option_set(json_t *result, const struct intent_option *option, const char *text,
		       const char *directory, const char *subject, struct intent_error *err);

/* Takes over what the configuration file says; `path` NULL: the usual one, if it is there. */
int intent__configuration_read(const struct intent_option_program *program, const char *path,
			       json_t *result, struct intent_error *err);

void intent__help_write(const struct intent_option_program *program, struct intent_text *out);
void intent__completion_bash(const struct intent_option_program *program, struct intent_text *out);
void intent__completion_zsh(const struct intent_option_program *program, struct intent_text *out);

/* intent_yaml_parse() and _read() that also tell where the outer two levels of names stand: {"/name": line,
 * "/section/name": line}. */
int intent__yaml_parse_lines(const char *bytes, size_t count, const char *name, json_t **ret_new,
			     json_t **ret_new_lines, struct intent_error *err);
int intent__yaml_read_lines(const char *path, json_t **ret_new, json_t **ret_new_lines,
			    struct intent_error *err);

#endif

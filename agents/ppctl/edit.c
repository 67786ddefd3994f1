/* edit: a document in the person's editor, and back with compare-and-set. */
#include <errno.h>
#include <spawn.h>
#include <sys/wait.h>
#include <intent/file.h>
#include "ppctl.h"

struct editing {
	const char *key;
	char *path;        /* owned */
	char *before;      /* what the editor was given; owned */
	uint64_t revision; /* of the document then; 0: there was none */
};

/* For a document that does not exist yet: its required members, empty. */
static char *skeleton(const char *key)
{
	const struct intent_document *row = intent_document_find(key);
	intent_json_auto json_t *json = json_object();
	const struct intent_json_field *member = row && row->schema ? row->schema->members : NULL;

	for (; member && member->name; member++) {
		if (!(member->flags & INTENT_JSON_REQUIRED))
			continue;
		bool list = member->type == INTENT_JSON_ARRAY,
		     text = member->type == INTENT_JSON_STRING;
		json_object_set_new(json, member->name,
				    list         ? json_array() :
					    text ? json_string("") :
					    member->type == INTENT_JSON_INTEGER ?
						   json_integer(0) :
						   json_object());
	}
	return intent_json_pretty(json);
}

static int read_document(struct ppctl *ctl, struct editing *editing, struct intent_error *err)
{
	struct intent_store *store;
	struct intent_snapshot *found = NULL;

	if (ppctl_store(ctl, &store, err))
		return err->code;
	int code = intent_store_get(store, editing->key, INTENT_DEFAULT, &found, err);
	if (code && code != INTENT_EABSENT)
		return code;
	intent_json_auto json_t *json = found ? ppctl_document(found->entries) : NULL;
	editing->revision = found ? found->entries->revision : 0;
	editing->before = !found ? skeleton(editing->key) :
		json             ? intent_json_pretty(json) :
				   strdup(found->entries->value);
	intent_snapshot_unref(found);
	return 0;
}

/* A file of the person's own, with a name that tells an editor what it is. */
static int write_text(struct editing *editing, struct intent_error *err)
{
	const char *directory = getenv("TMPDIR");
	intent_close_auto int fd = -1;

	editing->path = intent_format("%s/ppctl-edit-XXXXXX.json",
				      directory && *directory ? directory : "/tmp");
	fd = mkstemps(editing->path, 5);
	if (fd < 0)
		return intent_fail_errno(err, "%s (TMPDIR names another place)", editing->path);
	size_t length = strlen(editing->before);
	if (intent_write_all(fd, editing->before, length) ||
	    (!intent_ends_with(editing->before, "\n") && intent_write_all(fd, "\n", 1)))
		return intent_fail_errno(err, "%s", editing->path);
	return 0;
}

/*
 * The editor may be "code --wait": its words are split by the shell, as everywhere, but the shell
 * evaluates nothing of the variable's content, nor of the file's name.
 */
static int run_editor(const char *path, struct intent_error *err)
{
	char shell[] = "/bin/sh", flag[] = "-c",
	     script[] = "exec ${VISUAL:-${EDITOR:-vi}} \"$1\"", name[] = "ppctl";
	char *file = strdup(path), *argv[] = {shell, flag, script, name, file, NULL};
	int status, code;
	pid_t pid;

	fflush(stdout);
	code = posix_spawn(&pid, shell, NULL, NULL, argv, environ);
	free(file);
	if (code)
		return intent_fail(err, -code, "cannot start an editor: %s", strerror(code));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return intent_fail_errno(err, "editor");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return intent_fail(err, INTENT_ECHILD,
			   "the editor failed, so nothing was written; VISUAL or EDITOR names "
			   "another, and what it left is in %s",
			   path);
}

/* Blanks and the order of members aside. */
static bool same_text(const char *a, const char *b)
{
	struct intent_error ignored;
	intent_json_auto json_t *x = NULL, *y = NULL;
	if (intent_json_parse(a, strlen(a), 0, &x, &ignored) ||
	    intent_json_parse(b, strlen(b), 0, &y, &ignored))
		return !strcmp(a, b);
	return json_equal(x, y);
}

static bool ask_again(void)
{
	char answer[16];
	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
		return false;
	fputs("Edit it again? [Y/n] ", stderr);
	return fgets(answer, sizeof(answer), stdin) && *answer != 'n' && *answer != 'N';
}

/* Edit until it is right or the person gives up; *ret_text is what they want written. Owned. */
static int edit_text(struct ppctl *ctl, struct editing *editing, char **ret_text,
		     struct intent_error *err)
{
	for (;;) {
		intent_free_auto char *text = NULL;
		intent_text_auto struct intent_text faults = INTENT_TEXT_INIT;
		size_t length;
		if (run_editor(editing->path, err) ||
		    intent_file_read(AT_FDCWD, editing->path, INTENT_VALUE_MAX, &text, &length,
				     err))
			return err->code;
		if (ppctl_flag(ctl, "force") || same_text(text, editing->before) ||
		    !intent_document_check(editing->key, text, length, true, NULL, &faults,
					   err)) {
			*ret_text = text;
			text = NULL;
			return 0;
		}
		ppctl_faults(editing->key, &faults, NULL);
		if (ask_again())
			continue;
		ppctl_say("Your text is in %s; when it is right: ppctl put %s @%s", editing->path,
			  editing->key, editing->path);
		return PPCTL_REFUSED;
	}
}

static int edit(struct ppctl *ctl, struct editing *editing, struct intent_error *err)
{
	intent_free_auto char *text = NULL;
	bool written;
	int code;

	if ((code = read_document(ctl, editing, err)) || (code = write_text(editing, err)) ||
	    (code = edit_text(ctl, editing, &text, err)))
		return code;
	if (same_text(text, editing->before)) {
		ppctl_say("%s unchanged", editing->key);
		unlink(editing->path);
		return 0;
	}
	code = ppctl_write(ctl, editing->key, text, &editing->revision, &written, err);
	if (code == INTENT_ECONFLICT)
		return intent_fail(err, code,
				   "%s: somebody else wrote it while you edited; your text is in "
				   "%s: compare "
				   "it with \"ppctl get %s\", then ppctl put %s @%s",
				   editing->key, editing->path, editing->key, editing->key,
				   editing->path);
	if (code) {
		intent_wrap(err, "%s", editing->key);
		ppctl_say("Your text is in %s", editing->path);
		return code;
	}
	ppctl_say("%s %s", editing->key, written ? "written" : "unchanged");
	unlink(editing->path);
	return 0;
}

int ppctl_edit(struct ppctl *ctl, struct intent_error *err)
{
	struct editing editing = {.key = ppctl_argument(ctl, 0)};
	if (!intent_document_find(editing.key) && !ppctl_flag(ctl, "force")) {
		int code = intent_document_check(editing.key, "{}", 2, true, NULL, NULL, err);
		return code;
	}
	int code = edit(ctl, &editing, err);
	free(editing.path);
	free(editing.before);
	return code;
}

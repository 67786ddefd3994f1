/* Where on this machine a document may make us read and write: who writes injections need not be who runs this. */
#include <errno.h>
#include "injector.h"

/* The path without links, as far as it is there. Owned. */
static char *resolved(const char *path)
{
	intent_free_auto char *head = strdup(path);
	char *whole;

	while (!(whole = realpath(head, NULL))) {
		char *slash = strrchr(head, '/');

		if (errno != ENOENT || !slash)
			return NULL;
		slash[slash == head] = '\0';
	}
	char *with_rest = intent_format("%s%s", whole[1] ? whole : "", path + strlen(head) - (head[1] == '\0'));
	free(whole);
	return with_rest;
}

static bool is_below(const char *list, const char *path)
{
	while (*list) {
		size_t length = strcspn(list, ", "), bare = length;

		while (bare && list[bare - 1] == '/')
			bare--;
		if (length && !strncmp(path, list, bare) && path[bare] == '/')
			return true;
		list += length;
		list += strspn(list, ", ");
	}
	return false;
}

int injector__check_below(const struct injector *injector, const char *option, const char *path,
			  struct intent_error *err)
{
	const char *list = intent_json_string(intent_round_options(injector->round), option, NULL);
	intent_free_auto char *where = list ? resolved(path) : NULL;

	if (!list || (where && is_below(list, where)))
		return 0;
	return intent_fail(err, INTENT_EREFUSED, "%s is not below %s, which --%s allows", path, list, option);
}

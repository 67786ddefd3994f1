/*
 * Least privilege: the runner talks to the network and parses what comes from there, but starts nothing, owns
 * nothing and writes in a few places only; rounds keep the capabilities that their agent names.
 */
#include <errno.h>
#include <linux/capability.h>
#include <intent/confine.h>
#include "run.h"

/* A sanitizer looks for leaks with calls, and into memory, that are given up here. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

/* A directory store and its files may be somebody else's. */
static const unsigned long long runner_keeps = 1ull << CAP_DAC_OVERRIDE | 1ull << CAP_DAC_READ_SEARCH |
	1ull << CAP_FOWNER | 1ull << CAP_FSETID;

/* Collects what this kernel lacks, for one line; anything else is said at once. */
static void note(struct intent_text *lacks, const char *what, int code, const struct intent_error *err)
{
	if (code == -ENOSYS)
		intent_text_printf(lacks, "%s%s", lacks->length ? " and " : "", what);
	else if (code)
		intent_log(INTENT_WARN, NULL, "Not confined as it should be: %s", err->msg);
}

void intent__confine_helper(void *data)
{
	const struct intent_agent *agent = ((const struct intent__context *)data)->agent;
	static const enum intent_calls calls[] = {
		[INTENT_PROGRAMS_OWN] = INTENT_CALLS_TOOLS, [INTENT_PROGRAMS_NONE] = INTENT_CALLS_ALONE,
	};
	intent_text_auto struct intent_text lacks = INTENT_TEXT_INIT;
	struct intent_error err;

	if (agent->capabilities)
		note(&lacks, "", intent_confine_capabilities(agent->capabilities, &err), &err);
	if (IS_SANITIZED)
		return;
	intent_confine_memory();
	/* What the kernel lacks, the runner says. */
	if (agent->programs != INTENT_PROGRAMS_FOREIGN)
		note(&lacks, "seccomp", intent_confine_calls(calls[agent->programs], &err), &err);
}

/* The directory that a path stands in, or the nearest to it that is there; owned. */
static char *parent_of(const char *path)
{
	char *whole = realpath(path, NULL), *parent = whole ? whole : strdup(path), *slash;

	do {
		slash = parent ? strrchr(parent, '/') : NULL;
		if (!slash) {
			free(parent);
			return strdup(".");
		}
		slash[slash == parent] = '\0';
	} while (parent[1] && access(parent, F_OK) < 0);
	return parent;
}

static int confine_files(const struct intent__context *context, const struct intent__settings *settings,
			 struct intent_error *err)
{
	const char *notify = getenv("NOTIFY_SOCKET"), *listen = settings->listen;
	/* The store's parent: the store may be put back after it was moved away. */
	intent_free_auto char *store = intent_starts_with(context->store_url, "dir:") ?
		parent_of(context->store_url + strlen("dir:")) : NULL;
	intent_free_auto char *socket = intent_starts_with(listen, "unix:") ?
		parent_of(listen + strlen("unix:")) : NULL;
	const char *writable[6] = {"/dev/null", context->state_dir};
	size_t count = 2;
	int abi = 0, code;

	if (store)
		writable[count++] = store;
	if (socket)
		writable[count++] = socket;
	writable[count] = NULL;
	code = intent_confine_files(writable, notify && *notify == '@', &abi, err);
	if (!code)
		intent_log(INTENT_DEBUG, NULL, "Landlock, ABI %d: writes below %s%s%s%s%s only", abi,
			   context->state_dir, store ? ", " : "", store ? store : "", socket ? ", " : "", socket ? socket : "");
	return code;
}

void intent__confine_runner(const struct intent__context *context, const struct intent__settings *settings)
{
	intent_text_auto struct intent_text lacks = INTENT_TEXT_INIT;
	struct intent_error err;

	note(&lacks, "", intent_confine_capabilities(runner_keeps, &err), &err);
	if (IS_SANITIZED) {
		intent_log(INTENT_DEBUG, NULL, "Built with sanitizers: seccomp and Landlock are left out");
		return;
	}
	intent_confine_memory();
	note(&lacks, "Landlock", confine_files(context, settings, &err), &err);
	note(&lacks, "seccomp", intent_confine_calls(INTENT_CALLS_LOOP, &err), &err);
	if (lacks.length)
		intent_log(INTENT_INFO, NULL, "This kernel has no %s: the agent goes on without",
			   intent_text_str(&lacks));
}

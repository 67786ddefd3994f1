#include <fnmatch.h>
#include <intent/child.h>

static bool is_passed(const char *entry, const char *patterns)
{
	char name[256], pattern[256];

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(entry, "="), entry);
	while (patterns && *patterns) {
		size_t length = strcspn(patterns, " ,");

		snprintf(pattern, sizeof(pattern), "%.*s", (int)length, patterns);
		if (length && fnmatch(pattern, name, 0) == 0)
			return true;
		patterns += length;
		patterns += strspn(patterns, " ,");
	}
	return false;
}

char **intent_child_environment(const char *patterns, const char *const *more)
{
	static const char always[] = "PATH LANG LC_* TZ TMPDIR SSL_CERT_FILE SSL_CERT_DIR "
				     "http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY";
	size_t count = 0, had = 0, added = 0;
	char **env;

	while (environ && environ[had])
		had++;
	while (more && more[added])
		added++;
	env = calloc(had + added + 1, sizeof(*env));
	for (size_t i = 0; i < had; i++)
		if (is_passed(environ[i], always) || is_passed(environ[i], patterns))
			env[count++] = strdup(environ[i]);
	for (size_t i = 0; i < added; i++)
		env[count++] = strdup(more[i]);
	return env;
}

char **intent_child_environment_free(char **env)
{
	for (size_t i = 0; env && env[i]; i++)
		free(env[i]);
	free(env);
	return NULL;
}

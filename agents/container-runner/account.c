/* The account for an image's registry: what docker login left, or the helper that it names. Never in argv or a log. */
#include <fcntl.h>
#include <unistd.h>
#include <intent/child.h>
#include <intent/file.h>
#include "account.h"
#include "engine.h"

#define CONFIG_MAX (1u << 20)
#define HELPER_MS 20000

/* What the helpers that there are look at: clouds' own variables, keyrings. */
static const char helpers_see[] = "HOME USER DOCKER_CONFIG XDG_* DBUS_SESSION_BUS_ADDRESS GNUPGHOME PASSWORD_STORE_* "
				  "AWS_* GOOGLE_* CLOUDSDK_* AZURE_* ACR_*";

/* The registry's name on a helper's standard input. */
static int open_question(const char *registry, int *ret_fd, struct intent_error *err)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		return intent_fail_errno(err, "a pipe");
	*ret_fd = ends[0];
	int code = intent_write_all(ends[1], registry, strlen(registry));
	close(ends[1]);
	if (!code)
		return 0;
	close(ends[0]);
	return intent_fail(err, code, "a pipe cannot be written to");
}

static int judge(const char *program, const char *registry, const struct intent_child_result *result, json_t **ret_new,
		 struct intent_error *err)
{
	const char *said = result->out.length ? intent_text_str(&result->out) : intent_text_str(&result->err);
	char status[64], words[120];

	if (!result->status) {
		if (docker__account_heard(registry, intent_text_str(&result->out), result->out.length, ret_new, err))
			return intent_wrap(err, "%s", program);
		return 0;
	}
	/* Helpers say on standard output what is wrong; an account is none of it. */
	snprintf(words, sizeof words, "%.*s", *said == '{' ? 0 : (int)strcspn(said, "\r\n"), said);
	intent_utf8_clean(words);
	if (strstr(words, "credentials not found"))
		return 0;
	intent_child_status_words(result->status, status);
	return intent_fail(err, INTENT_ECHILD, "%s get: %s%s%s", program, status, *words ? ": " : "", words);
}

/* *ret_new stays NULL when it knows none. */
static int ask_helper(const char *name, const char *registry, json_t **ret_new, struct intent_error *err)
{
	intent_free_auto char *program = intent_format("docker-credential-%s", name);
	const char *argv[] = { program, "get", NULL };
	struct intent_child_result result = { 0 };
	int fd = -1;

	if (open_question(registry, &fd, err))
		return err->code;
	char **env = intent_child_environment(helpers_see, NULL);
	const struct intent_child_options options = {
		.argv = argv, .env = (const char *const *)env, .stdin_fd = fd, .deadline_ms = HELPER_MS,
		.output_max = DOCKER__SAID_MAX,
	};
	int code = intent_child_run(&options, &result, err);

	close(fd);
	intent_child_environment_free(env);
	if (code == INTENT_EABSENT)
		code = intent_fail(err, code, "%s is not on PATH: install it, or take it out of config.json", program);
	else if (!code)
		code = judge(program, registry, &result, ret_new, err);
	if (result.out.data)
		explicit_bzero(result.out.data, result.out.length);
	intent_child_result_release(&result);
	return code;
}

/* The helper first; what is kept in the file where it knows none. */
static int find(const char *path, const char *registry, json_t **ret_new, struct intent_error *err)
{
	intent_json_auto json_t *config = NULL, *kept = NULL;
	char helper[DOCKER__HELPER_MAX + 1];

	if (intent_file_read_json(path, CONFIG_MAX, &config, err))
		return err->code == INTENT_EABSENT ? 0 : err->code;
	if (docker__account_find(config, registry, helper, &kept, err) ||
	    (*helper && ask_helper(helper, registry, ret_new, err)))
		return intent_wrap(err, "%s", path);
	if (!*ret_new)
		*ret_new = json_incref(kept);
	return 0;
}

char *engine__account(const char *image, char words[400])
{
	intent_free_auto char *path = engine__config_path("config.json");
	intent_json_auto json_t *account = NULL;
	struct intent_error err;
	char registry[256];

	docker__registry_of(image, registry);
	if (path && find(path, registry, &account, &err))
		snprintf(words, 400, "no account was sent: %.350s", err.msg);
	else
		snprintf(words, 400, account ? "the account for %.120s of %.150s was sent" :
			 "no account was sent: none for %.120s is in %.150s (docker login)", registry, path ? path : "?");
	return account ? docker__account_header(account) : NULL;
}

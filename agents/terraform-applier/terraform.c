/* Running terraform or tofu, and understanding what it says. */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <intent/child.h>
#include <intent/file.h>
#include "applier.h"
#include "statelock.h"

#define SHOW_MAX ((64u << 20) - 1)
static const char plan_out[] = "-out=" APPLIER_PLAN_FILE;

/* ---- its environment ---- */

/* Owned, each string too. */
static char **environment(const struct applier *applier)
{
	intent_free_auto char *own = intent_format("%s/plugins", intent_round_state_dir(applier->round));
	intent_free_auto char *home = intent_format("HOME=%s/home", intent_round_state_dir(applier->round));
	intent_free_auto char *plugins = intent_format("TF_PLUGIN_CACHE_DIR=%s",
						       applier__option(applier, "plugin-cache", own));
	const char *config = applier__option(applier, "cli-config", NULL);
	intent_free_auto char *cli = config ? intent_format("TF_CLI_CONFIG_FILE=%s", config) : NULL;
	const char *const more[] = {
		home, plugins, "TF_IN_AUTOMATION=1", "TF_INPUT=0", "CHECKPOINT_DISABLE=1", cli, NULL,
	};

	return intent_child_environment(applier__option(applier, "pass-env", ""), more);
}

/* ---- what it says ---- */

struct following {
	struct applier *applier;
	struct applier_terraform *run;
};

/*
 * Its first error, and where; not the detail, which may quote commands and answers with secrets in them.
 */
static void take_diagnostic(struct applier_terraform *run, const json_t *diagnostic)
{
	intent_free_auto char *harmless = applier__redact(run->applier->secrets,
							  intent_json_string(diagnostic, "summary", ""));
	const char *summary = harmless ? harmless : "";
	const char *address = intent_json_string(diagnostic, "address", NULL);
	const char *file = json_string_value(intent_json_at(diagnostic, "/range/filename"));
	int64_t line = intent_json_integer(intent_json_at(diagnostic, "/range/start"), "line", 0);
	intent_text_auto struct intent_text words = INTENT_TEXT_INIT;

	if (strcmp(intent_json_string(diagnostic, "severity", ""), "error")) {
		intent_round_log(run->applier->round, INTENT_WARN, "Terraform warns: %.200s%s%.100s", summary,
				 address ? ": " : "", address ? address : "");
		return;
	}
	if (!run->state_lock && strstr(summary, "acquiring the state lock"))
		run->state_lock = applier__state_lock(run->applier, intent_json_string(diagnostic, "detail", ""));
	if (*run->fault)
		return;
	intent_text_printf(&words, "%.250s", summary);
	if (address)
		intent_text_printf(&words, " (%.80s)", address);
	else if (file)
		intent_text_printf(&words, " (%.80s:%lld)", file, (long long)line);
	snprintf(run->fault, sizeof(run->fault), "%s", intent_text_str(&words));
}

static void take_change(struct applier_terraform *run, const json_t *hook, const char *type)
{
	struct applier *applier = run->applier;
	const char *address = json_string_value(intent_json_at(hook, "/resource/addr"));
	const char *action = intent_json_string(hook, "action", "");
	int64_t seconds = intent_json_integer(hook, "elapsed_seconds", 0);
	bool is_over = !strcmp(type, "apply_complete") || !strcmp(type, "apply_errored");

	if (!address)
		return;
	run->done += is_over;
	if (is_over)
		intent_round_log(applier->round, !strcmp(type, "apply_errored") ? INTENT_ERROR : INTENT_INFO,
				 "%.200s: %s %s after %llds", address, action,
				 !strcmp(type, "apply_errored") ? "failed" : "done", (long long)seconds);
	json_decref(applier->progress);
	applier->progress = json_pack("{ss ss sI si}", "resource", address, "action", action, "elapsed_s",
				      (json_int_t)seconds, "done", run->done);
	applier->told = 0;
}

static void on_line(const char *line, void *data)
{
	struct following *following = data;
	intent_json_auto json_t *message = NULL;
	struct intent_error ignored;

	if (*line != '{' || intent_json_parse(line, strlen(line), 0, &message, &ignored) < 0)
		return;
	const char *type = intent_json_string(message, "type", "");
	if (!strcmp(type, "diagnostic"))
		take_diagnostic(following->run, json_object_get(message, "diagnostic"));
	else if (intent_starts_with(type, "apply_"))
		take_change(following->run, json_object_get(message, "hook"), type);
}

static bool on_cancelled(void *data)
{
	return applier__cancel(((struct following *)data)->applier);
}

/* Commands that speak no JSON: the first line that begins with "Error:". */
static void take_error_text(struct applier_terraform *run, const char *text)
{
	const char *error = strstr(text, "Error: ");

	if (*run->fault || !error)
		return;
	error += strlen("Error: ");
	snprintf(run->fault, sizeof(run->fault), "%.*s", (int)strcspn(error, "\n"), error);
}

/* ---- running ---- */

#define ARGUMENTS_MAX 24

int applier__run(struct applier_terraform *run, struct intent_error *err)
{
	struct applier *applier = run->applier;
	struct following following = {applier, run};
	const char *argv[ARGUMENTS_MAX] = {applier__option(applier, "terraform", "terraform")};
	struct intent_child_result result = {0};
	char **env = environment(applier);
	union { char **owned; const char *const *wanted; } vector = {.owned = env};
	struct intent_child_options options = {
		.argv = argv, .env = vector.wanted, .directory = applier->root, .stdin_fd = run->plan_fd,
		.deadline_ms = run->deadline_ms, .stop_signal = SIGINT, .grace_ms = -1,
		.output_max = run->output_max, .cancelled = on_cancelled, .on_line = on_line, .data = &following,
	};
	int code;

	for (size_t i = 0; run->arguments[i] && i + 2 < ARGUMENTS_MAX; i++)
		argv[i + 1] = run->arguments[i];
	code = intent_child_run(&options, &result, err);
	run->status = result.status;
	if (result.status)
		take_error_text(run, intent_text_str(&result.err));
	if (!code && run->output_max)
		run->output = intent_text_steal(&result.out);
	intent_child_result_release(&result);
	intent_child_environment_free(env);
	return code ? intent_wrap(err, "%s", run->arguments[0]) : 0;
}

void applier__run_release(struct applier_terraform *run)
{
	free(run->output);
	json_decref(run->state_lock);
	run->output = NULL;
	run->state_lock = NULL;
}

/* Any status but those wanted (0, and `also`) as a sentence. */
static int check_status(const struct applier_terraform *run, int also, struct intent_error *err)
{
	char words[64];

	if (WIFEXITED(run->status) && (WEXITSTATUS(run->status) == 0 || WEXITSTATUS(run->status) == also))
		return 0;
	intent_child_status_words(run->status, words);
	return intent_fail(err, INTENT_ECHILD, "terraform %s: %s%s%s", run->arguments[0],
			   *run->fault ? run->fault : words, *run->fault ? "" : "; it can be run by hand in ",
			   *run->fault ? "" : run->applier->root ? run->applier->root : "/");
}

/* ---- version ---- */

int applier__version(struct applier *applier, struct intent_error *err)
{
	const char *arguments[] = {"version", "-json", NULL};
	struct applier_terraform run = {
		.applier = applier, .arguments = arguments, .plan_fd = -1, .deadline_ms = 60000, .output_max = 65536,
	};
	intent_json_auto json_t *answer = NULL;
	int major = 0, minor = 0, code = applier__run(&run, err);

	if (code == INTENT_EABSENT)
		return intent_fail(err, INTENT_EUSAGE, "%s is not on PATH: install Terraform or OpenTofu, or name it "
				   "with --terraform", applier__option(applier, "terraform", "terraform"));
	if (!code)
		code = check_status(&run, 0, err);
	if (!code && intent_json_parse(run.output, strlen(run.output), 0, &answer, err) == 0)
		snprintf(applier->version, sizeof(applier->version), "%s",
			 intent_json_string(answer, "terraform_version", ""));
	applier__run_release(&run);
	if (code)
		return code;
	if (sscanf(applier->version, "%d.%d", &major, &minor) != 2 || major < 1 || (major == 1 && minor < 5))
		return intent_fail(err, INTENT_EUSAGE, "%s is version \"%s\"; 1.5 or newer is needed",
				   applier__option(applier, "terraform", "terraform"), applier->version);
	return 0;
}

/* ---- planning ---- */

static int show(struct applier *applier, int plan_fd, const char *how, char **ret_owned, struct intent_error *err)
{
	const char *arguments[] = {"show", how, APPLIER_PLAN_FILE, NULL};
	struct applier_terraform run = {
		.applier = applier, .arguments = arguments, .plan_fd = plan_fd, .deadline_ms = 600000,
		.output_max = SHOW_MAX,
	};
	int code = applier__run(&run, err);

	if (!code)
		code = check_status(&run, 0, err);
	if (!code && (!run.output || strlen(run.output) >= SHOW_MAX))
		code = intent_fail(err, INTENT_ETOOBIG, "the plan is larger than %u bytes as text: split the stack", SHOW_MAX);
	if (!code) {
		*ret_owned = run.output;
		run.output = NULL;
	}
	applier__run_release(&run);
	return code;
}

static int summarise(struct applier *applier, int plan_fd, bool has_changes, json_t **ret_new, struct intent_error *err)
{
	intent_free_auto char *stack = intent_format("%s/%s", applier->world, applier->name), *text = NULL;
	intent_json_auto json_t *plan = NULL;
	json_t *summary;

	if (show(applier, plan_fd, "-json", &text, err) < 0)
		return err->code;
	if (intent_json_parse(text, strlen(text), SHOW_MAX, &plan, err) < 0)
		return intent_wrap(err, "terraform show -json");
	if (strncmp(intent_json_string(plan, "format_version", ""), "1.", 2))
		return intent_fail(err, INTENT_EUSAGE, "terraform show -json gives format \"%s\"; 1.x is understood",
				   intent_json_string(plan, "format_version", ""));
	if (intent_json_boolean(plan, "errored", false))
		return intent_fail(err, INTENT_ECHILD, "the plan is incomplete: Terraform met an error");
	json_decref(applier->secrets);
	applier->secrets = applier__secrets(plan);
	summary = applier__summary(plan, stack, applier->commit);
	/* Terraform sees a change where we do not: it is one all the same. */
	if (has_changes && !intent_json_integer(summary, "changes", 0)) {
		json_object_set_new(summary, "changes", json_integer(1));
		json_object_set_new(summary, "change", json_integer(1));
	}
	*ret_new = summary;
	return 0;
}

static int plan_into(struct applier *applier, int fd, json_t **ret_new, json_t **ret_lock, struct intent_error *err)
{
	char timeout[48];
	const char *arguments[] = {"plan", "-input=false", "-json", "-detailed-exitcode", timeout, "-var-file=pp.tfvars.json",
				   plan_out, applier->destroy ? "-destroy" : NULL, NULL};
	struct applier_terraform run = {
		.applier = applier, .arguments = arguments, .plan_fd = fd,
		.deadline_ms = intent_json_integer(applier->options, "plan-timeout", 1800000),
	};
	int code;

	snprintf(timeout, sizeof(timeout), "-lock-timeout=%llds",
		 (long long)intent_json_integer(applier->options, "lock-timeout", 10000) / 1000);
	code = applier__run(&run, err);
	if (!code && run.status && run.state_lock)
		*ret_lock = json_incref(run.state_lock);
	else if (!code)
		code = check_status(&run, 2, err);
	if (!code && !*ret_lock)
		code = summarise(applier, fd, run.status != 0, ret_new, err);
	applier__run_release(&run);
	return code;
}

int applier__plan(struct applier *applier, int *ret_fd, json_t **ret_new, json_t **ret_lock, struct intent_error *err)
{
	int fd = memfd_create("plan", MFD_CLOEXEC), code;

	*ret_new = *ret_lock = NULL;
	if (fd < 0)
		return intent_fail_errno(err, "no memory for a plan");
	applier__begin(applier, "plan");
	code = plan_into(applier, fd, ret_new, ret_lock, err);
	if (code)
		close(fd);
	else
		*ret_fd = fd;
	return code;
}

int applier__keep_text(struct applier *applier, int plan_fd, struct intent_error *err)
{
	intent_free_auto char *path = intent_format("%s/plan.txt", applier->home), *text = NULL, *harmless = NULL;

	if (show(applier, plan_fd, "-no-color", &text, err) < 0)
		return err->code;
	harmless = applier__redact(applier->secrets, text);
	if (!harmless)
		return intent_fail(err, INTENT_ETOOBIG, "the plan's text is longer than 64 MiB");
	return intent_file_write(path, harmless, strlen(harmless), 0600, err);
}

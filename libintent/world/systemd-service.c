/* Services under systemd: a unit file of ours, and systemctl(1). */
#include <errno.h>
#include <fcntl.h>

#include <intent/child.h>
#include "supervisor.h"
#include "systemd.h"

#define SYSTEMCTL_MS 30000
#define UNIT_MAX (1u << 16)
#define BOOT_TARGET "multi-user.target.wants"

static int check(const struct intent_site *site, char why[300], struct intent_error *err)
{
	struct stat seen;
	bool runs;

	if (intent_file_exists("/run/systemd/system", 0, &runs, err))
		return err->code;
	if (!runs) {
		snprintf(why, 300, "systemd does not run this machine; use runit, or name its directory with --runit");
		return 0;
	}
	int code = intent_file_stat(site->systemd, 0, &seen, err);
	if (code && code != INTENT_EABSENT)
		return code;
	if (code || !S_ISDIR(seen.st_mode))
		snprintf(why, 300, "%.150s does not exist: name the directory of systemd's units with --systemd-dir",
			 site->systemd);
	return 0;
}

/* ---- systemctl ---- */

static int systemctl(const char *command, const char *option, const char *service, struct intent_error *err)
{
	intent_free_auto char *unit = service ? intent__unit_name(service) : NULL;
	const char *argv[8] = { "systemctl", "--no-ask-password", "--quiet", command };
	size_t count = 4;

	if (service && !unit)
		return intent_fail(err, -ENOMEM, "%s: out of memory", service);
	if (option)
		argv[count++] = option;
	if (unit)
		argv[count++] = unit;
	struct intent_child_options options = { .argv = argv, .deadline_ms = SYSTEMCTL_MS };
	return intent_child_check(&options, err) ?
		intent_wrap(err, "systemctl %s %s", command, unit ? unit : "") : 0;
}

static int unit_status(const char *service, struct intent__unit_status *ret, struct intent_error *err)
{
	intent_free_auto char *unit = intent__unit_name(service);
	const char *argv[] = { "systemctl", "--no-ask-password", intent__unit_properties, "show", unit, NULL };
	struct intent_child_options options = { .argv = argv, .deadline_ms = SYSTEMCTL_MS };
	struct intent_child_result result = { 0 };

	if (!unit)
		return intent_fail(err, -ENOMEM, "%s: out of memory", service);
	int code = intent_child_run(&options, &result, err);
	const char *words = intent_text_str(&result.err);
	if (!code && result.status)
		code = intent_fail(err, INTENT_ECHILD, "systemctl show: %.*s", (int)strcspn(words, "\n"), words);
	if (!code)
		code = intent__unit_status_parse(intent_text_str(&result.out), ret, err);
	intent_child_result_release(&result);
	return code ? intent_wrap(err, "%s", unit) : 0;
}

/* ---- the unit file ---- */

/* <systemd-dir>/<unit>, or the link in <systemd-dir>/<boot target>/ that `systemctl enable` makes. Owned. */
static char *unit_path(const struct intent_site *site, const char *service, bool link)
{
	intent_free_auto char *unit = intent__unit_name(service);

	return unit ? intent_format("%s/%s%s", site->systemd, link ? BOOT_TARGET "/" : "", unit) : NULL;
}

/* A file of ours at that name (*ret_text owned). INTENT_EABSENT, INTENT_ENOTOURS: a link may be somebody's mask. */
static int read_unit(const char *path, char **ret_text, struct intent_error *err)
{
	intent_free_auto char *text = NULL;
	struct stat seen;
	size_t count;

	if (intent_file_stat(path, AT_SYMLINK_NOFOLLOW, &seen, err) ||
	    (S_ISREG(seen.st_mode) && intent_file_read(AT_FDCWD, path, UNIT_MAX, &text, &count, err) &&
	     err->code != INTENT_ETOOBIG))
		return err->code;
	if (!text || !intent_starts_with(text, INTENT__UNIT_MARK))
		return intent_fail(err, INTENT_ENOTOURS, "%.400s is not a unit made by pp-setlive; move it away",
				   path);
	*ret_text = text;
	text = NULL;
	return 0;
}

/* A unit from elsewhere is not ours to shadow. */
static int linked(const struct intent_site *site, const char *service, struct intent_error *err)
{
	intent_free_auto char *path = unit_path(site, service, false), *text = NULL;
	struct intent__unit_status status;

	int code = read_unit(path, &text, err);
	if (code != INTENT_EABSENT)
		return code;
	if (unit_status(service, &status, err))
		return err->code;
	if (*status.fragment && strcmp(status.fragment, path))
		return intent_fail(err, INTENT_ENOTOURS, "%.400s was not made by pp-setlive; rename the application, "
				   "or remove it", status.fragment);
	return intent_fail(err, INTENT_EABSENT, "%s: does not exist", path);
}

static int add_stale(const struct intent_site *site, const json_t *intent, const char *service, json_t *stale,
		     struct intent_error *err)
{
	intent_free_auto char *path = unit_path(site, service, false), *is = NULL;
	intent_free_auto char *want = intent__unit_render(site, intent, service);
	struct intent__unit_status status;

	int code = read_unit(path, &is, err);
	if (intent_error_is_errno(code))
		return code;
	if (code || strcmp(is, want))
		json_array_append_new(stale, json_string("unit"));
	else if (unit_status(service, &status, err))
		return err->code;
	else if (!status.loaded || status.needs_reload)
		json_array_append_new(stale, json_string("reload"));
	return 0;
}

static int repair(const struct intent_site *site, const json_t *intent, const char *service, const char *name,
		  struct intent_error *err)
{
	intent_free_auto char *path = unit_path(site, service, false);
	intent_free_auto char *text = intent__unit_render(site, intent, service);

	if (!path || !text)
		return intent_fail(err, -ENOMEM, "%s: out of memory", service);
	return strcmp(name, "unit") ? 0 : intent_file_write(path, text, strlen(text), 0644, err);
}

static void replaced(const struct intent_site *site, const char *service, const char *name)
{
	(void)site;
	(void)service;
	(void)name;
}

static int publish(const struct intent_site *site, const char *service, struct intent_error *err)
{
	struct intent__unit_status status;

	(void)site;
	if (unit_status(service, &status, err))
		return err->code;
	return status.loaded && !status.needs_reload ? 0 : systemctl("daemon-reload", NULL, NULL, err);
}

/* The unit itself stays until the service has ended: without it, systemd forgets how to end it. */
static int withdraw(const struct intent_site *site, const char *service, struct intent_error *err)
{
	intent_free_auto char *link = unit_path(site, service, true);

	return link ? intent_file_remove(link, err) : intent_fail(err, -ENOMEM, "%s: out of memory", service);
}

/* ---- the stage directory ---- */

/*
 * Run after each end, as root, with what systemd says of it in the environment. A job of these types is under way for
 * the unit when somebody asked for the end. A job "start" is none of them: systemd may notice the end of a short
 * program before it notices that it began. The touch wakes whoever watches.
 */
static const char finish[] =
	"touch .\nsystemctl list-jobs --no-legend --plain | while read -r id unit type state; do\n"
	"\tcase \"$unit $type\" in '%s stop' | '%s restart' | '%s try-restart') exit 1 ;; esac\n"
	"done || { rm -f " INTENT__ENDED "; exit 0; }\n"
	"word=signal number=$EXIT_STATUS\n[ \"$EXIT_CODE\" != exited ] || word=status\n";
static const char *const finish_policy[] = {
	[INTENT__RESTART_ALWAYS] = "",
	[INTENT__RESTART_ON_FAILURE] = "[ \"$word $number\" != 'status 0' ] || >" INTENT__ENDED "\n",
	[INTENT__RESTART_NEVER] = ">" INTENT__ENDED "\n",
};

static int render(const struct intent_site *site, const json_t *intent, const char *service, json_t *files,
		  struct intent_error *err)
{
	intent_json_auto json_t *variables = NULL;
	intent_free_auto char *environment = NULL;
	intent_free_auto char *directory = intent__service_path(site, service, NULL);
	intent_free_auto char *unit = intent__unit_name(service);
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT;

	if (intent__service_variables(site, intent, service, &variables, err))
		return err->code;
	environment = intent__unit_environment(variables);
	intent_text_puts(&text, INTENT__SCRIPT_MARK "cd ");
	intent__sh_quote(&text, directory);
	intent_text_puts(&text, " || exit 111\n");
	intent_text_printf(&text, finish, unit, unit, unit);
	intent_text_puts(&text, intent__exits_script);
	intent_text_puts(&text, finish_policy[intent__service_restart(intent)]);
	json_object_set_new(files, "finish", json_string(intent_text_str(&text)));
	json_object_set_new(files, "environment", json_string(environment));
	return 0;
}

/* PP_VERSION, which systemd reads before each start: no unit depends on the version. */
static int write_version(const struct intent_site *site, const char *service, struct intent_error *err)
{
	intent_free_auto char *path = intent__service_path(site, service, "version");
	intent_free_auto char *version = NULL, *text = NULL, *is = NULL;
	char foreign[512];
	struct intent_error ignored;
	size_t count;

	if (intent_install_current(site, &version, foreign, err))
		return err->code;
	text = intent_format("PP_VERSION=\"%s\"\n", version ? version : "");
	if (!path || !text)
		return intent_fail(err, -ENOMEM, "%s: out of memory", service);
	if (!intent_file_read(AT_FDCWD, path, 4096, &is, &count, &ignored) && !strcmp(is, text))
		return 0;
	return intent_file_write(path, text, strlen(text), 0644, err);
}

/* ---- looking and telling ---- */

static int look(const struct intent_site *site, const char *service, struct intent__seen *ret,
		struct intent_error *err)
{
	intent_free_auto char *link = unit_path(site, service, true);
	intent_free_auto char *ended = intent__service_path(site, service, INTENT__ENDED);
	struct intent__unit_status unit;
	bool at_boot, left;

	if (intent_file_exists(link, AT_SYMLINK_NOFOLLOW, &at_boot, err) || intent_file_exists(ended, 0, &left, err) ||
	    unit_status(service, &unit, err))
		return err->code;
	*ret = (struct intent__seen){
		.supervised = unit.loaded,
		.stays_down = !at_boot,
		.running = unit.pid && unit.state != INTENT__UNIT_ACTIVATING,
		.pid = unit.pid,
		.ended = unit.state == INTENT__UNIT_INACTIVE && !unit.has_job,
		.want_up = unit.state == INTENT__UNIT_INACTIVE ? unit.has_job || (at_boot && left) :
			unit.state != INTENT__UNIT_DEACTIVATING || !unit.has_job,
	};
	return 0;
}

/* Only what waits for its next start can be told to stay down without harm. */
static int settle(const char *service, struct intent_error *err)
{
	struct intent__unit_status unit;

	if (unit_status(service, &unit, err))
		return err->code;
	if (unit.state == INTENT__UNIT_INACTIVE && !unit.has_job)
		return 0;
	if (unit.state != INTENT__UNIT_RESTARTING)
		return intent_fail(err, INTENT_EBUSY, "%s runs", service);
	return systemctl("stop", "--no-block", service, err);
}

static int leave(const struct intent_site *site, const char *service, struct intent_error *err)
{
	intent_free_auto char *path = unit_path(site, service, false);
	struct intent_error ignored;

	if (!path)
		return intent_fail(err, -ENOMEM, "%s: out of memory", service);
	if (intent_file_remove(path, err) || systemctl("daemon-reload", NULL, NULL, err))
		return err->code;
	/* A unit that had failed is remembered without its file. */
	systemctl("reset-failed", NULL, service, &ignored);
	return 0;
}

static int kill_main(const char *service, struct intent_error *err)
{
	struct intent__unit_status unit;

	if (unit_status(service, &unit, err))
		return err->code;
	/* What is left of its family goes with it: KillMode=mixed. */
	return unit.pid ? systemctl("kill", "--signal=KILL", service, err) : 0;
}

static int tell(const struct intent_site *site, const char *service, enum intent__command command,
		struct intent_error *err)
{
	intent_free_auto char *ended = intent__service_path(site, service, INTENT__ENDED);

	if (command == INTENT__SETTLE)
		return settle(service, err);
	if (command == INTENT__LEAVE)
		return leave(site, service, err);
	if (command == INTENT__KILL)
		return kill_main(service, err);
	if (!ended || (unlink(ended) && errno != ENOENT))
		return intent_fail_errno(err, "%s: " INTENT__ENDED " cannot be removed", service);
	if (command == INTENT__DOWN)
		return systemctl("stop", "--no-block", service, err);
	return write_version(site, service, err) ? err->code : systemctl("start", "--no-block", service, err);
}

/* What `systemctl enable` does, but durable. */
static int set_boot(const struct intent_site *site, const char *service, bool up, struct intent_error *err)
{
	intent_free_auto char *link = unit_path(site, service, true);
	intent_free_auto char *path = unit_path(site, service, false);
	intent_free_auto char *wants = intent_format("%s/" BOOT_TARGET, site->systemd);

	if (!link || !path || !wants)
		return intent_fail(err, -ENOMEM, "%s: out of memory", service);
	if (!up)
		return intent_file_remove(link, err);
	return intent_directory_make(wants, 0755, err) ? err->code : intent_link_set(path, link, NULL, err);
}

static void advise(const struct intent_site *site, char advice[512])
{
	snprintf(advice, 512, "does systemd read units from %.400s? Name its directory with --systemd-dir",
		 site->systemd);
}

/* The journal: systemd keeps it and bounds it. */
static void last_line(const struct intent_site *site, const char *service, struct intent_text *text)
{
	intent_free_auto char *unit = intent__unit_name(service);
	const char *argv[] = { "journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=1",
			       "--unit", unit, "--identifier", service, NULL };
	struct intent_child_options options = { .argv = argv, .deadline_ms = 5000 };
	struct intent_child_result result = { 0 };
	struct intent_error ignored;

	(void)site;
	if (!unit || intent_child_run(&options, &result, &ignored)) {
		intent_child_result_release(&result);
		return;
	}
	if (!result.status && result.out.length)
		intent_text_add(text, result.out.data, strcspn(result.out.data, "\n"));
	intent_child_result_release(&result);
}

/* finish touches it. */
static char *watch_path(const struct intent_site *site, const char *service)
{
	return intent__service_path(site, service, NULL);
}

static void places(const struct intent_site *site, json_t *places)
{
	json_array_append_new(places, json_string(site->systemd));
	json_array_append_new(places, json_sprintf("%s/" BOOT_TARGET, site->systemd));
}

const struct intent__supervisor intent__systemd = {
	.name = "systemd",
	.check = check,
	.render = render,
	.linked = linked,
	.stale = add_stale,
	.repair = repair,
	.replaced = replaced,
	.publish = publish,
	.withdraw = withdraw,
	.look = look,
	.tell = tell,
	.set_boot = set_boot,
	.advise = advise,
	.last_line = last_line,
	.watch_path = watch_path,
	.places = places,
};

/* Services under runit: a service directory in the stage, linked where runsvdir looks. */
#include <errno.h>
#include <fcntl.h>

#include <intent/child.h>
#include "runit.h"
#include "supervisor.h"

#define LOG_SIZE 1000000
#define LOG_KEEP 10
#define BUILDER_DEADLINE_MS 60000
#define SURE_MS 1500           /* before it tells the logger to end, runsv may sleep for a second */
#define SPENT_UP_MS 1000       /* what cannot write to its logger ends at once */
#define LAST_WORDS 300         /* of the log, in a message */

static int check(const struct intent_site *site, char why[300], struct intent_error *err)
{
	struct stat seen;
	int code = intent_file_stat(site->runit, 0, &seen, err);

	if (code && code != INTENT_EABSENT)
		return code;
	if (code || !S_ISDIR(seen.st_mode))
		snprintf(why, 300, "%.100s does not exist: start runsvdir on it, or name the directory that "
			 "runsvdir watches with --runit", site->runit);
	return 0;
}

static int linked(const struct intent_site *site, const char *service, struct intent_error *err)
{
	intent_free_auto char *link = intent_format("%s/%s", site->runit, service);
	intent_free_auto char *directory = intent__service_path(site, service, NULL);
	intent_free_auto char *target = NULL;

	int code = intent_link_read(link, &target, err);
	if (code == INTENT_ENOTOURS)
		return intent_fail(err, code, "%.400s is not a link made by pp-setlive; move it away", link);
	if (code || !strcmp(target, directory))
		return code;
	return intent_fail(err, INTENT_ENOTOURS, "%.200s points at %.200s, which is not ours; move it away", link,
			   target);
}

/* ---- texts ---- */

static void put_text(json_t *files, const char *name, const struct intent_text *text)
{
	if (!text->failed)
		json_object_set_new(files, name, json_string(intent_text_str(text)));
}

static const struct limit {
	const char *name;
	const char *option, *or;   /* of the shell's ulimit; dash and bash differ on one */
	int64_t unit;
} limits[] = {
	{ "files", "-n", NULL, 1 },
	{ "processes", "-u", "-p", 1 },
	/* What it may write to, not what it may map: many a runtime reserves address space freely. */
	{ "memory", "-d", NULL, 1024 },
	{ "file_size", "-f", NULL, 512 },
	{ "core", "-c", NULL, 512 },
};

/* Hard and soft, unlike chpst's: a service cannot take them back. */
static void add_limits(struct intent_text *text, const json_t *intent)
{
	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
		int64_t value = intent__service_limit(intent, limits[i].name);
		long long units = value / limits[i].unit + (value % limits[i].unit > 0);

		if (value < 0)
			continue;
		intent_text_printf(text, "ulimit %s %lld", limits[i].option, units);
		if (limits[i].or)
			intent_text_printf(text, " 2>/dev/null || ulimit %s %lld", limits[i].or, units);
		intent_text_puts(text, " || exit 111\n");
	}
}

static void render_run(json_t *files, const struct intent_site *site, const json_t *intent, const char *service)
{
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT;
	intent_free_auto char *env = intent__service_path(site, service, "env");
	intent_free_auto char *ended = intent__service_path(site, service, INTENT__ENDED);
	intent_free_auto char *current = intent_format("%s/current", site->basedir);
	intent_free_auto char *launch = !strcmp(service, site->app) ? strdup("./bin/launch") :
		intent_format("./bin/launch/%s", service + strlen(site->app) + 1);

	intent_text_puts(&text, INTENT__SCRIPT_MARK "exec 2>&1\n");
	if (intent__service_restart(intent) != INTENT__RESTART_ALWAYS) {
		intent_text_puts(&text, "rm -f ");
		intent__sh_quote(&text, ended);
		intent_text_puts(&text, "\n");
	}
	intent_text_puts(&text, "cd -P ");
	intent__sh_quote(&text, current);
	intent_text_printf(&text, " || exit 111\nPP_VERSION=${PWD##*/%s_}\nexport PP_VERSION\n", site->app);
	add_limits(&text, intent);
	intent_text_puts(&text, "exec chpst -e ");
	intent__sh_quote(&text, env);
	if (*site->runas) {
		intent_text_puts(&text, " -u ");
		intent__sh_quote(&text, site->runas);
	}
	intent_text_puts(&text, " ");
	intent__sh_quote(&text, launch);
	intent_text_puts(&text, "\n");
	put_text(files, site->builder ? "launch" : "run", &text);
}

static void render_log(json_t *files, const struct intent_site *site, const char *service)
{
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT;
	intent_free_auto char *directory = intent_format("%s/%s", site->logs, service);

	if (site->builder)
		return;
	intent_text_puts(&text,
			 INTENT__SCRIPT_MARK "exec 2>&1\nexec ");
	if (site->log_user) {
		intent_text_puts(&text, "chpst -u ");
		intent__sh_quote(&text, site->log_user);
		intent_text_puts(&text, " ");
	}
	intent_text_puts(&text, "svlogd -tt ");
	intent__sh_quote(&text, directory);
	intent_text_puts(&text, "\n");
	put_text(files, "log/run", &text);
}

static int render_env(json_t *files, const struct intent_site *site, const json_t *intent, const char *service,
		      struct intent_error *err)
{
	intent_json_auto json_t *env = NULL;
	const char *name;
	json_t *value;

	if (intent__service_variables(site, intent, service, &env, err))
		return err->code;
	json_object_foreach(env, name, value) {
		intent_free_auto char *file = intent_format("env/%s", name);

		if (json_is_string(value))
			json_object_set_new(files, file,
					    json_sprintf("%s\n", json_string_value(value)));
	}
	return 0;
}

/*
 * How it ended goes into `exits`, unless it was told to go down: runsv has said so in supervise/stat before it
 * sent a signal. A service that is to stay down is told so through `control`, which this runsv
 * reads when we have ended.
 */
static const char finish_head[] =
	INTENT__SCRIPT_MARK
	"read -r state <supervise/stat\ncase $state in *want*) exit 0;; esac\n";
static const char *const finish_policy[] = {
	[INTENT__RESTART_ALWAYS] = "",
	[INTENT__RESTART_ON_FAILURE] = "[ \"$1\" != 0 ] || { >" INTENT__ENDED "; printf d >supervise/control; }\n",
	[INTENT__RESTART_NEVER] = ">" INTENT__ENDED "\nprintf d >supervise/control\n",
};

static int render(const struct intent_site *site, const json_t *intent, const char *service, json_t *files,
		  struct intent_error *err)
{
	static const char note[] = "number=$1 word=status\n"
				   "[ \"$1\" -ge 0 ] || number=$(($2 & 127)) word=signal\n";

	json_object_set_new(files, "finish",
			    json_sprintf("%s%s%s%s", finish_head, note, intent__exits_script,
					 finish_policy[intent__service_restart(intent)]));
	render_run(files, site, intent, service);
	render_log(files, site, service);
	return render_env(files, site, intent, service, err);
}

/* ---- what differs, making it so ---- */

static char *log_config(const json_t *intent)
{
	const json_t *log = intent_json_at(intent, "/deploy/log");

	return intent_format("s%lld\nn%lld\n",
			     (long long)intent_json_integer(log, "size", LOG_SIZE),
			     (long long)intent_json_integer(log, "keep", LOG_KEEP));
}

/* What runsv and whoever looks share: made by us, because runsv would let only its own user in. */
static const char *const open_directories[] = { "supervise", "log/supervise" };
static const char *const initial[] = { "down", "log/", "supervise/", "log/supervise/" };

static int add_closed(const struct intent_site *site, const char *service, json_t *stale, struct intent_error *err)
{
	for (size_t i = 0; i < sizeof open_directories / sizeof *open_directories; i++) {
		intent_free_auto char *path = intent__service_path(site, service, open_directories[i]);
		struct stat seen;

		int code = intent_file_stat(path, AT_SYMLINK_NOFOLLOW, &seen, err);
		if (code && code != INTENT_EABSENT)
			return code;
		if (!code && S_ISDIR(seen.st_mode) && (seen.st_mode & 0755) != 0755 && seen.st_uid == geteuid())
			json_array_append_new(stale, json_string(open_directories[i]));
	}
	return 0;
}

/* What the builder made of our definition. */
static int add_built(const struct intent_site *site, const char *service, json_t *stale, struct intent_error *err)
{
	intent_free_auto char *run = intent__service_path(site, service, "run");
	struct stat seen;

	int code = intent_file_stat(run, 0, &seen, err);
	if (code && code != INTENT_EABSENT)
		return code;
	if (code || !(seen.st_mode & 0111))
		json_array_append_new(stale, json_string("run"));
	return 0;
}

/* "logs": the directory; "logs/config": svlogd's settings in it. */
static int add_stale(const struct intent_site *site, const json_t *intent, const char *service, json_t *stale,
		     struct intent_error *err)
{
	intent_free_auto char *directory = intent_format("%s/%s", site->logs, service);
	intent_free_auto char *path = intent_format("%s/%s/config", site->logs, service);
	intent_free_auto char *want = log_config(intent), *is = NULL;
	struct intent_error ignored;
	struct stat seen;
	size_t count;

	if (add_closed(site, service, stale, err))
		return err->code;
	if (site->builder)
		return add_built(site, service, stale, err);
	int code = intent_file_stat(directory, AT_SYMLINK_NOFOLLOW, &seen, err);
	if (code && code != INTENT_EABSENT)
		return code;
	if (code || !S_ISDIR(seen.st_mode))
		json_array_append_new(stale, json_string("logs"));
	else if (intent_file_read(AT_FDCWD, path, 4096, &is, &count, &ignored) || strcmp(is, want))
		json_array_append_new(stale, json_string("logs/config"));
	return 0;
}

/* svlogd's directory: its owner is right from the moment it has its name. */
static int make_log_directory(const struct intent_site *site, const char *service,
			      struct intent_error *err)
{
	intent_close_auto int logs = -1, dir = -1;
	char temp[256];

	if (intent_directory_make(site->logs, 0755, err))
		return err->code;
	logs = open(site->logs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	intent_temp_name(temp, service);
	if (logs < 0 || mkdirat(logs, temp, 0750))
		return intent_fail_errno(err, "%s: cannot make a directory in it", site->logs);
	dir = openat(logs, temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0 || (site->root && fchown(dir, site->log_uid, site->log_gid)) ||
	    renameat(logs, temp, logs, service)) {
		intent_fail_errno(err, "%s/%s: cannot make directory", site->logs, service);
		unlinkat(logs, temp, AT_REMOVEDIR);
		return err->code;
	}
	return fsync(logs) ? intent_fail_errno(err, "%s: cannot be synced", site->logs) : 0;
}

static int repair(const struct intent_site *site, const json_t *intent, const char *service,
		  const char *name, struct intent_error *err)
{
	intent_free_auto char *path = intent_format("%s/%s/config", site->logs, service);
	intent_free_auto char *text = log_config(intent);

	if (intent_ends_with(name, "supervise")) {
		intent_free_auto char *directory = intent__service_path(site, service, name);

		return chmod(directory, 0755) ?
			intent_fail_errno(err, "%s: cannot be opened for others", directory) : 0;
	}
	/* The rest is the builder's. */
	if (!intent_starts_with(name, "logs"))
		return 0;
	if (!strcmp(name, "logs") && make_log_directory(site, service, err))
		return err->code;
	return intent_file_write(path, text, strlen(text), 0644, err);
}

/* svlogd reads its settings again at HUP, and log/run is run again after TERM. */
static void replaced(const struct intent_site *site, const char *service, const char *name)
{
	const char *command = !strcmp(name, "logs/config") ? "h" : !strcmp(name, "log/run") ? "t" : NULL;
	intent_free_auto char *directory = command ? intent__service_path(site, service, NULL) : NULL;
	struct intent_error ignored;

	if (directory)
		intent__runit_control_log(directory, command, &ignored);
}

/* An external servicebuilder writes run, log/ and the link from our definition. */
static int run_builder(const struct intent_site *site, const char *service, struct intent_error *err)
{
	intent_free_auto char *definition =
		intent_format("%s/%s.yaml", site->builder_config, service);
	intent_free_auto char *launch = intent__service_path(site, service, "launch");
	const char *argv[] = { site->builder, "-c", site->builder_config, "-d",
			       site->runit,   "-s", site->stage,          NULL };
	struct intent_child_options options = { .argv = argv, .deadline_ms = BUILDER_DEADLINE_MS };
	intent_json_auto json_t *document = json_pack("{s{s[s]}}", service, "run", launch);

	if (intent_directory_make(site->builder_config, 0755, err) ||
	    intent_file_write_json(definition, document, 0644, err))
		return err->code;
	return intent_child_check(&options, err) ? intent_wrap(err, "--servicebuilder") : 0;
}

static int publish(const struct intent_site *site, const char *service, struct intent_error *err)
{
	intent_free_auto char *directory = intent__service_path(site, service, NULL);
	intent_free_auto char *link = intent_format("%s/%s", site->runit, service);

	if (site->builder && run_builder(site, service, err))
		return err->code;
	return intent_link_set(directory, link, NULL, err);
}

static int remove_in(const char *directory, const char *name, const char *suffix, struct intent_error *err)
{
	intent_free_auto char *path = intent_format("%s/%s%s", directory, name, suffix);

	return intent_file_remove(path, err);
}

static int withdraw(const struct intent_site *site, const char *service, struct intent_error *err)
{
	int code = remove_in(site->runit, service, "", err);

	return !code && site->builder ? remove_in(site->builder_config, service, ".yaml", err) : code;
}

/* ---- looking and telling ---- */

static int look(const struct intent_site *site, const char *service, struct intent__seen *ret,
		struct intent_error *err)
{
	intent_free_auto char *directory = intent__service_path(site, service, NULL);
	intent_free_auto char *down = intent__service_path(site, service, "down");
	intent_free_auto char *ended = intent__service_path(site, service, INTENT__ENDED);
	struct intent__seen seen = { .ended = true };
	struct intent__runit_status status;
	bool left, logs;

	if (intent_file_exists(down, 0, &seen.stays_down, err) || intent_file_exists(ended, 0, &left, err) ||
	    intent__runit_is_supervised(directory, &seen.supervised, err))
		return err->code;
	if (seen.supervised && (intent__runit_is_leaving(directory, &seen.leaving, err) ||
				intent__runit_has_logger(directory, &logs, err)))
		return err->code;
	seen.want_up = !seen.stays_down;
	int code = seen.supervised ? intent__runit_status_read(directory, &status, err) : INTENT_EABSENT;
	if (code && code != INTENT_EABSENT)
		return code;
	if (!code) {
		seen.want_up = status.want_up || (!seen.stays_down && left);
		seen.running = status.state == INTENT__RUNIT_RUN;
		seen.pid = status.pid;
		seen.ended = !status.pid && status.state == INTENT__RUNIT_DOWN && !status.want_up;
		/* What stays up has its pipe: then somebody told the logger alone to be down. */
		seen.spent = !logs && (!seen.running || intent__process_uptime(seen.pid) < SPENT_UP_MS);
	}
	*ret = seen;
	return 0;
}

static int tell(const struct intent_site *site, const char *service, enum intent__command command,
		struct intent_error *err)
{
	static const char *const letters[] = {
		[INTENT__UP] = "u", [INTENT__DOWN] = "d", [INTENT__KILL] = "k",
		[INTENT__SETTLE] = "o", [INTENT__LEAVE] = "x",
	};
	intent_free_auto char *directory = intent__service_path(site, service, NULL);
	intent_free_auto char *ended = intent__service_path(site, service, INTENT__ENDED);
	struct intent__runit_status status;

	if ((command == INTENT__UP || command == INTENT__DOWN) && unlink(ended) && errno != ENOENT)
		return intent_fail_errno(err, "%s: cannot be removed", ended);
	bool known = !intent__runit_status_read(directory, &status, err);
	if (!known && err->code != INTENT_EABSENT)
		return err->code;
	/* Nothing new to one that is up, it would undo an order to exit that is just coming. */
	if (command == INTENT__UP && known && status.want_up)
		return 0;
	/* SIGTERM, but once: a second one means "at once" to many a program. */
	if (command == INTENT__DOWN && known && !status.want_up &&
	    (status.got_term || status.state != INTENT__RUNIT_RUN))
		return 0;
	/* Only what still runs: a kill makes runsv forget a finish script that is under way. */
	if (command == INTENT__KILL && (!known || status.state != INTENT__RUNIT_RUN))
		return 0;
	/* What is told to be down already would be started once more. */
	if (command == INTENT__SETTLE && (!known || !status.want_up))
		return 0;
	return intent__runit_control(directory, letters[command], err);
}

static int set_boot(const struct intent_site *site, const char *service, bool up, struct intent_error *err)
{
	intent_free_auto char *down = intent__service_path(site, service, "down");
	bool there;

	if (up)
		return intent_file_remove(down, err);
	if (intent_file_exists(down, 0, &there, err))
		return err->code;
	return there ? 0 : intent_file_write(down, "", 0, 0644, err);
}

static void advise(const struct intent_site *site, char advice[512])
{
	snprintf(advice, 512, "is runsvdir running on %.400s? Start it, or name its directory with --runit",
		 site->runit);
}

static void last_line(const struct intent_site *site, const char *service, struct intent_text *text)
{
	intent_free_auto char *log = intent_format("%s/%s/current", site->logs, service);
	char tail[LAST_WORDS + 1];

	intent_close_auto int fd = site->builder ? -1 : open(log, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	ssize_t got = size <= 0 ? 0 :
		pread(fd, tail, LAST_WORDS, size > LAST_WORDS ? size - LAST_WORDS : 0);
	if (got <= 0)
		return;
	tail[got] = '\0';
	while (got && (tail[got - 1] == '\n' || tail[got - 1] == ' '))
		tail[--got] = '\0';
	const char *line = strrchr(tail, '\n') ? strrchr(tail, '\n') + 1 : tail;
	/* svlogd's time stamp. */
	if (strlen(line) > 26 && line[10] == '_')
		line += strcspn(line, " ") + 1;
	intent_text_puts(text, line);
}

/* runsv writes its status anew when the service ends or is told to stop. */
static char *watch_path(const struct intent_site *site, const char *service)
{
	return intent__service_path(site, service, "supervise");
}

static void places(const struct intent_site *site, json_t *places)
{
	json_array_append_new(places, json_string(site->runit));
}

const struct intent__supervisor intent__runit = {
	.name = "runit",
	.initial = initial,
	.initial_count = sizeof initial / sizeof *initial,
	.sure_ms = SURE_MS,
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

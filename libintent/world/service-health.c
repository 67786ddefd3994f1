/* Is a service well, and how did it end? */
#include <fcntl.h>
#include <signal.h>

#include <intent/health.h>
#include "supervisor.h"

#define EXITS_WITHIN_MS 600000
#define EXITS_BYTES_MAX 65536

int64_t intent__process_uptime(pid_t pid)
{
	intent_free_auto char *text = NULL;
	struct intent_error ignored;
	unsigned long long ticks;
	size_t count;
	char path[32];

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	if (pid <= 0 || intent_file_read(AT_FDCWD, path, 4096, &text, &count, &ignored))
		return -1;
	/* The second field may contain blanks and ')'; start time is the 22nd. */
	const char *rest = strrchr(text, ')');
	for (int field = 2; rest && field < 22; field++) {
		rest = strchr(rest + 1, ' ');
		/* The third: a zombie has ended. */
		if (rest && field == 2 && rest[1] == 'Z')
			return -1;
	}
	if (!rest || sscanf(rest, " %llu", &ticks) != 1)
		return -1;
	int64_t up = intent_time_monotonic() -
		     (int64_t)(ticks * 1000 / (unsigned long)sysconf(_SC_CLK_TCK));
	return up > 0 ? up : 0;
}

/* ---- ends ---- */

const char intent__exits_script[] =
	"read -r boot </proc/sys/kernel/random/boot_id\n"
	"read -r uptime idle </proc/uptime\n"
	"{ tail -n 19 exits; echo \"$(date -u +%FT%TZ) $boot $uptime $word $number\"; } "
	">exits.new 2>/dev/null && mv exits.new exits\n";

static int status_number(const char *word)
{
	struct intent_error ignored;
	int64_t number;

	return intent_integer_parse(word, 0, 255, &number, &ignored) ? -1 : (int)number;
}

/* runsv says a number, systemd a name. */
static int signal_number(const char *word)
{
	static const struct { const char *name; int number; } names[] = {
		{ "HUP", SIGHUP }, { "INT", SIGINT }, { "QUIT", SIGQUIT }, { "ILL", SIGILL }, { "TRAP", SIGTRAP },
		{ "ABRT", SIGABRT }, { "BUS", SIGBUS }, { "FPE", SIGFPE }, { "KILL", SIGKILL }, { "USR1", SIGUSR1 },
		{ "SEGV", SIGSEGV }, { "USR2", SIGUSR2 }, { "PIPE", SIGPIPE }, { "ALRM", SIGALRM },
		{ "TERM", SIGTERM }, { "XCPU", SIGXCPU }, { "XFSZ", SIGXFSZ }, { "SYS", SIGSYS },
	};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(word, names[i].name))
			return names[i].number;
	return status_number(word);
}

/* "2026-11-21T18:00:00Z BOOT 1234.56 status 3" */
static bool parse_end(const char *line, size_t length, struct intent__end *ret)
{
	char copy[160], word[8], number[12], after;
	struct intent__end end = { 0 };
	long long seconds;
	int hundredths;

	if (length >= sizeof copy)
		return false;
	memcpy(copy, line, length);
	copy[length] = '\0';
	if (strlen(copy) != length || !intent_utf8_is_clean(copy, length) ||
	    sscanf(copy, "%31s %39s %12lld.%2d %7s %11s%c", end.at, end.boot, &seconds, &hundredths, word,
		   number, &after) != 6 || seconds < 0 || hundredths < 0)
		return false;
	end.by_signal = !strcmp(word, "signal");
	end.number = end.by_signal ? signal_number(number) : status_number(number);
	if ((!end.by_signal && strcmp(word, "status")) || end.number < 0)
		return false;
	end.uptime_ms = seconds * 1000 + hundredths * 10;
	*ret = end;
	return true;
}

size_t intent__exits_parse(const char *text, struct intent__end ret[INTENT_EXITS_MAX])
{
	struct intent__end end;
	size_t count = 0;

	while (*text) {
		size_t length = strcspn(text, "\n");

		if (parse_end(text, length, &end)) {
			if (count == INTENT_EXITS_MAX)
				memmove(ret, ret + 1, --count * sizeof *ret);
			ret[count++] = end;
		}
		text += length + (text[length] == '\n');
	}
	return count;
}

int intent__exits_recent(const struct intent__end *ends, size_t count, const char *boot, int64_t since_ms,
			 int64_t now_ms)
{
	int recent = 0;

	for (size_t i = 0; i < count; i++)
		if (!strcmp(ends[i].boot, boot) && ends[i].uptime_ms >= since_ms &&
		    ends[i].uptime_ms > now_ms - EXITS_WITHIN_MS)
			recent++;
	return recent;
}

/* No file, or one that is not ours to believe: none has ended. */
static int read_ends(const struct intent_site *site, const char *service, struct intent__end ends[INTENT_EXITS_MAX],
		     size_t *ret_count, struct intent_error *err)
{
	intent_free_auto char *path = intent__service_path(site, service, "exits");
	intent_free_auto char *text = NULL;
	size_t count;

	if (intent_file_read(AT_FDCWD, path, EXITS_BYTES_MAX, &text, &count, err) &&
	    intent_error_is_errno(err->code))
		return err->code;
	*ret_count = text ? intent__exits_parse(text, ends) : 0;
	return 0;
}

int intent_service_exits(const struct intent_site *site, const char *service, json_t **ret_new,
			 struct intent_error *err)
{
	struct intent__end ends[INTENT_EXITS_MAX];
	size_t count;
	json_t *list;

	if (read_ends(site, service, ends, &count, err))
		return err->code;
	list = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_pack("{ss si}", "at", ends[i].at,
						      ends[i].by_signal ? "signal" : "status",
						      ends[i].number));
	*ret_new = list;
	return 0;
}

int intent__service_exits(const struct intent_site *site, const char *service, int *ret, struct intent_error *err)
{
	intent_free_auto char *path = intent__service_path(site, service, "since.json");
	intent_json_auto json_t *since = NULL;
	struct intent__end ends[INTENT_EXITS_MAX];
	char boot[40];
	size_t count;

	if (read_ends(site, service, ends, &count, err))
		return err->code;
	if (count && intent_file_read_json(path, 4096, &since, err) && intent_error_is_errno(err->code))
		return err->code;
	intent__boot_id(boot);
	bool same_boot = !strcmp(intent_json_string(since, "boot", ""), boot);
	*ret = intent__exits_recent(ends, count, boot, same_boot ? intent_json_integer(since, "at", 0) : 0,
				    intent_time_monotonic());
	return 0;
}

/* Nothing is written when there is nothing to forgive, which is the usual start. */
int intent__service_forgive(const struct intent_site *site, const char *service, struct intent_error *err)
{
	intent_free_auto char *path = intent__service_path(site, service, "since.json");
	char boot[40];
	int exits;

	int code = intent__service_exits(site, service, &exits, err);
	if (code || !exits)
		return code;
	intent__boot_id(boot);
	intent_json_auto json_t *since =
		json_pack("{ss sI}", "boot", boot, "at", (json_int_t)intent_time_monotonic());
	return intent_file_write_json(path, since, 0644, err);
}

/* ---- health ---- */

/* How it ended and the last of what it said, for whoever reads why it is not healthy. */
static void add_last_words(const struct intent_site *site, const char *service, struct intent_text *text)
{
	intent_text_auto struct intent_text line = INTENT_TEXT_INIT;
	struct intent__end ends[INTENT_EXITS_MAX];
	struct intent_error ignored;
	size_t count;

	if (!read_ends(site, service, ends, &count, &ignored) && count)
		intent_text_printf(text, ends[count - 1].by_signal ? "; it last ended by signal %d" :
								     "; it last ended with status %d",
				   ends[count - 1].number);
	site->supervisor->last_line(site, service, &line);
	if (line.length)
		intent_text_printf(text, "; last line of its log: %.160s", line.data);
}

/* The service that lacks most of being up for long enough: into *subject, and *ret_worst (borrowed). */
static int find_worst(const struct intent_site *site, const json_t *names, struct intent_health_subject *subject,
		      const char **ret_worst, struct intent_error *err)
{
	int64_t least = INT64_MAX;
	size_t i;
	json_t *item;

	*ret_worst = site->app;
	json_array_foreach((json_t *)(uintptr_t)names, i, item) {
		const char *name = json_string_value(item);
		struct intent__seen seen;
		int exits;

		if (site->supervisor->look(site, name, &seen, err) ||
		    intent__service_exits(site, name, &exits, err))
			return err->code;
		int64_t up = seen.running ? intent__process_uptime(seen.pid) : -1;
		int64_t spare = up < 0 ? INT64_MIN : up - intent_health_up(NULL, exits);
		if (spare >= least)
			continue;
		least = spare;
		*ret_worst = name;
		subject->up_ms = up;
		subject->exits = exits;
	}
	return 0;
}

struct beside { const struct intent_site *site; const char *service; };

static int run_check(const struct intent_child_options *options, void *data, struct intent_error *err)
{
	const struct beside *beside = data;

	return intent_service_run(beside->site, beside->service, options, err);
}

int intent_services_health(const struct intent_site *site, const json_t *intent, const char *version,
			   const json_t *names, struct intent_text *ret, struct intent_error *err)
{
	const char *first = json_string_value(json_array_get(names, 0)), *worst;
	intent_json_auto json_t *list = NULL;
	intent_free_auto char *install = intent_install_path(site, version);
	const char *env[1024] = { NULL };
	struct beside beside = { site, first ? first : site->app };
	struct intent_health_subject subject = { .install = install, .env = env, .up_ms = -1,
						 .run = run_check, .data = &beside };
	struct intent_error unhealthy;
	size_t i;
	json_t *item;

	if (intent_service_environment(site, intent, beside.service, version, &list, err) ||
	    find_worst(site, names, &subject, &worst, err))
		return err->code;
	json_array_foreach(list, i, item)
		if (i < sizeof env / sizeof *env - 1)
			env[i] = json_string_value(item);
	if (site->root && *site->runas) {
		subject.uid = site->uid;
		subject.gid = site->gid;
	}
	intent_text_clear(ret);
	if (intent_health_check(json_object_get(json_object_get(intent, "deploy"), "health"),
				&subject, &unhealthy)) {
		intent_text_printf(ret, "%s: %s", worst, unhealthy.msg);
		add_last_words(site, worst, ret);
	}
	return 0;
}

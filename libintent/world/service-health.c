/* Is a service well, and how did it end? */
#include <errno.h>
#include <fcntl.h>

#include <intent/health.h>
#include "supervisor.h"

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

/* How it ended and the last of what it said, for whoever reads why it is not healthy. */
static void add_last_words(const struct intent_site *site, const char *service, struct intent_text *text)
{
	intent_free_auto char *exit_path = intent__service_path(site, service, "exit");
	intent_free_auto char *exit_words = NULL;
	intent_text_auto struct intent_text line = INTENT_TEXT_INIT;
	struct intent_error ignored;
	int code = 0, number = 0;
	size_t count;

	if (exit_path &&
	    !intent_file_read(AT_FDCWD, exit_path, 64, &exit_words, &count, &ignored) &&
	    sscanf(exit_words, "%d %d", &code, &number) == 2)
		intent_text_printf(text,
				   code < 0 ? "; it last ended by signal %d" :
					      "; it last ended with status %d",
				   code < 0 ? number : code);
	site->supervisor->last_line(site, service, &line);
	if (line.length)
		intent_text_printf(text, "; last line of its log: %.160s", line.data);
}

/* The service that has been up for the shortest time, and that time. */
static const char *find_worst(const struct intent_site *site, const json_t *names, int64_t *ret_up_ms)
{
	const char *worst = site->app;
	int64_t least = INT64_MAX;
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)names, i, item) {
		struct intent__seen seen;

		site->supervisor->look(site, json_string_value(item), &seen);
		int64_t up = seen.running ? intent__process_uptime(seen.pid) : -1;
		if (up < least) {
			least = up;
			worst = json_string_value(item);
		}
	}
	*ret_up_ms = least;
	return worst;
}

void intent_services_health(const struct intent_site *site, const json_t *intent, const char *version,
			    const json_t *names, struct intent_text *ret)
{
	const char *first = json_string_value(json_array_get(names, 0));
	intent_json_auto json_t *list = intent_service_environment(site, intent, first ? first : site->app);
	intent_free_auto char *install = intent_install_path(site, version);
	const char *env[1024] = { NULL };
	struct intent_health_subject subject = { .install = install, .env = env };
	struct intent_error err;
	size_t i;
	json_t *item;

	json_array_foreach(list, i, item)
		if (i < sizeof env / sizeof *env - 1)
			env[i] = json_string_value(item);
	if (site->root && *site->runas) {
		subject.uid = site->uid;
		subject.gid = site->gid;
	}
	const char *worst = find_worst(site, names, &subject.up_ms);
	intent_text_clear(ret);
	if (intent_health_check(json_object_get(json_object_get(intent, "deploy"), "health"),
				&subject, &err)) {
		intent_text_printf(ret, "%s: %s", worst, err.msg);
		add_last_words(site, worst, ret);
	}
}

int intent_service_look(const struct intent_site *site, const char *service,
			struct intent_service_state *ret, struct intent_error *err)
{
	struct intent__seen seen;

	if (!intent__service_is_ours(site, service))
		return intent_fail(err, INTENT_EABSENT, "there is no service %s of %s below %s", service,
				   site->app, site->stage);
	site->supervisor->look(site, service, &seen);
	*ret = (struct intent_service_state){
		.supervised = seen.supervised,
		.wanted_up = seen.want_up,
		.running = seen.running,
		.pid = seen.running ? seen.pid : 0,
		.up_ms = seen.running ? intent__process_uptime(seen.pid) : -1,
	};
	return 0;
}

json_t *intent_service_exits(const struct intent_site *site, const char *service)
{
	(void)site;
	(void)service;
	return json_array();
}

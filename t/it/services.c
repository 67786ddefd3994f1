/*
 * Services by hand, for t/it/services.sh: services INTENT VERB [ARGUMENT...]
 *
 *	configure NAME...          start NAME...          stop NAME...          stop-for-good NAME...
 *	remove NAME                settle MS NAME...      note NAME JSON        health VERSION
 *	look NAME                  observe NAME           exits NAME            watch-path NAME
 *	list                       apps                   current
 *
 * INTENT is a file. What there is to say is one line of JSON; status 111 and the sentence when it failed.
 */
#include <stdlib.h>

#include <intent/file.h>
#include <intent/service.h>

static struct intent_site site;
static json_t *intent;
static struct intent_error err;

static void print(json_t *json)
{
	intent_free_auto char *line = intent_json_canonical(json);

	puts(line ? line : "?");
	json_decref(json);
}

static void say(const char *words, void *data)
{
	(void)data;
	fprintf(stderr, "%s\n", words);
}

static json_t *names_of(char **argv)
{
	json_t *names = json_array();

	while (*argv)
		json_array_append_new(names, json_string(*argv++));
	return names;
}

static struct intent_service_order order_of(const json_t *names, int64_t timeout_ms)
{
	return (struct intent_service_order){ .site = &site, .names = names, .timeout_ms = timeout_ms, .note = say };
}

static int do_configure(char **argv)
{
	for (; *argv; argv++)
		if (intent_service_configure(&site, intent, *argv, &err))
			return err.code;
	return 0;
}

static int do_start(char **argv)
{
	intent_json_auto json_t *names = names_of(argv), *started = json_pack("{ss}", "version", "x");
	struct intent_service_order order = order_of(names, 60000);

	return intent_services_start(&order, started, &err);
}

static int stop(char **argv, bool for_good)
{
	intent_json_auto json_t *names = names_of(argv);
	struct intent_service_order order = order_of(names, intent_service_stop_timeout(intent));

	return intent_services_stop(&order, for_good, &err);
}

static int do_stop(char **argv) { return stop(argv, false); }
static int do_stop_for_good(char **argv) { return stop(argv, true); }

static int do_remove(char **argv)
{
	intent_json_auto json_t *names = names_of(argv);
	struct intent_service_order order = order_of(names, intent_service_stop_timeout(intent));

	return intent_service_remove(&order, &err);
}

static int do_settle(char **argv)
{
	intent_json_auto json_t *names = names_of(argv + 1);
	struct intent_service_order order = order_of(names, strtoll(argv[0], NULL, 10));
	bool down;

	int code = intent_services_settle_down(&order, &down, &err);
	if (!code)
		print(json_boolean(down));
	return code;
}

static int do_note(char **argv)
{
	intent_json_auto json_t *members = json_loads(argv[1], 0, NULL);

	return intent_service_note(&site, argv[0], members, &err);
}

static int do_health(char **argv)
{
	intent_json_auto json_t *names = NULL;
	intent_text_auto struct intent_text said = INTENT_TEXT_INIT;

	if (intent_install_services(&site, argv[0], &names, &err) ||
	    intent_services_health(&site, intent, argv[0], names, &said, &err))
		return err.code;
	print(json_string(intent_text_str(&said)));
	return 0;
}

static int do_look(char **argv)
{
	struct intent_service_state seen;

	if (intent_service_look(&site, argv[0], &seen, &err))
		return err.code;
	print(json_pack("{sb sb sb si sb si}", "supervised", seen.supervised, "wanted_up", seen.wanted_up,
			"running", seen.running, "pid", (int)seen.pid, "up", seen.up_ms >= 0, "exits", seen.exits));
	return 0;
}

static int do_observe(char **argv)
{
	json_t *service;

	if (intent_service_observe(&site, intent, argv[0], &service, &err))
		return err.code;
	print(service ? service : json_null());
	return 0;
}

static int do_exits(char **argv)
{
	json_t *exits;

	if (intent_service_exits(&site, argv[0], &exits, &err))
		return err.code;
	print(exits);
	return 0;
}

static int do_watch_path(char **argv)
{
	intent_free_auto char *path = intent_service_watch_path(&site, argv[0]);

	print(path ? json_string(path) : json_null());
	return 0;
}

static int do_list(char **argv)
{
	json_t *names;

	(void)argv;
	if (intent_service_list(&site, &names, &err))
		return err.code;
	print(names);
	return 0;
}

static int do_apps(char **argv)
{
	json_t *names;

	(void)argv;
	if (intent_service_apps(&site, &names, &err))
		return err.code;
	print(names);
	return 0;
}

static int do_current(char **argv)
{
	intent_free_auto char *version = NULL;
	char foreign[512];

	(void)argv;
	if (intent_install_current(&site, &version, foreign, &err))
		return err.code;
	print(json_string(version ? version : foreign));
	return 0;
}

static const struct verb {
	const char *name;
	int arguments;
	int (*run)(char **argv);
} verbs[] = {
	{ "configure", 1, do_configure }, { "start", 1, do_start }, { "stop", 1, do_stop },
	{ "stop-for-good", 1, do_stop_for_good }, { "remove", 1, do_remove }, { "settle", 2, do_settle },
	{ "note", 2, do_note }, { "health", 1, do_health }, { "look", 1, do_look },
	{ "observe", 1, do_observe }, { "exits", 1, do_exits }, { "watch-path", 1, do_watch_path },
	{ "list", 0, do_list }, { "apps", 0, do_apps }, { "current", 0, do_current },
};

int main(int argc, char **argv)
{
	umask(022);
	if (argc < 3 || intent_file_read_json(argv[1], 0x10000, &intent, &err)) {
		fprintf(stderr, "%s\n", argc < 3 ? "services INTENT VERB [ARGUMENT...]" : err.msg);
		return 100;
	}
	if (intent_site_init(intent, &site, &err) || *site.supervisor_error) {
		fprintf(stderr, "%s\n", *site.supervisor_error ? site.supervisor_error : err.msg);
		return 111;
	}
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
		if (strcmp(argv[2], verbs[i].name) || argc - 3 < verbs[i].arguments)
			continue;
		int code = verbs[i].run(argv + 3);
		if (code)
			fprintf(stderr, "%s: %s\n", intent_error_reason(code), err.msg);
		json_decref(intent);
		return code ? 111 : 0;
	}
	return 100;
}

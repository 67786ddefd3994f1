/* A configuration file of any content: options are taken or a fault names the file.
 * seeds: test-data/yaml contrib/platypus.yaml */
#include <sys/mman.h>
#include <intent/option.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static const struct intent_option options[] = {
	{"store", INTENT_OPTION_STRING, "URL", NULL, NULL, 0, 0, "Store"},
	{"state-dir", INTENT_OPTION_PATH, "DIRECTORY", "/var/lib/x", NULL, 0, 0, "State"},
	{"once", INTENT_OPTION_FLAG, NULL, "false", NULL, 0, 0, "Once"},
	{"interval", INTENT_OPTION_DURATION, "DURATION", "5m", NULL, 1000, 86400000, "Interval"},
	{"concurrency", INTENT_OPTION_INTEGER, "NUMBER", "4", NULL, 1, 64, "Rounds"},
	{"log-format", INTENT_OPTION_WORD, "text|logfmt|json", "text", NULL, 0, 0, "Form"},
	{0},
};

static const struct intent_option *const tables[] = {options, NULL};

static const struct intent_option_program program = {
	.name = "fuzz", .section = "preparer", .tables = tables,
};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	struct intent_error err = {0};
	json_t *json intent_json_auto = NULL;
	char word[64], name[] = "fuzz";
	char *argv[] = {name, word, NULL};
	int fd = memfd_create("fuzz", 0);
	bool done;

	if (fd < 0 || write(fd, bytes, count) != (ssize_t)count)
		abort();
	snprintf(word, sizeof(word), "--config-file=/proc/self/fd/%d", fd);
	if (intent_options_parse(&program, 2, argv, &json, NULL, &done, &err) < 0 && !strstr(err.msg, "/proc/self"))
		abort();
	close(fd);
	return 0;
}

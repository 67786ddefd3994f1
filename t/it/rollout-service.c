/*
 * The service of the rollout tests: it says when it is there and when it goes, and does nothing else.
 *
 *	rollout-service HISTORY up|sick [UP_MS]     with PP_NODE and PP_VERSION
 *
 * A line for each event, "<CLOCK_MONOTONIC in ns> <node> up|sick|down <version>", each in one write, so that those
 * of several nodes do not mix. `up` comes when it has run for UP_MS, `down` before it does anything else about being
 * told to end. In between, and at no other time, there is a file HISTORY.<node>, by which its bin/check knows that it is
 * well: nobody calls it healthy before the history does, however slow the machine.
 */
#include <fcntl.h>
#include <signal.h>
#include <intent/text.h>

static const char *node, *version;
static char well[4096];
static int history;

static void note(const char *event)
{
	struct timespec now;
	char line[256];
	int length;

	clock_gettime(CLOCK_MONOTONIC, &now);
	length = snprintf(line, sizeof line, "%lld %s %s %s\n", (long long)now.tv_sec * 1000000000 + now.tv_nsec, node,
			  event, version);
	if (length >= (int)sizeof line || write(history, line, (size_t)length) != length)
		_exit(1);
}

static void show_well(void)
{
	int fd = open(well, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0 || close(fd))
		_exit(1);
}

int main(int argc, char **argv)
{
	int64_t up_ms = argc > 3 ? strtoll(argv[3], NULL, 10) : 0;
	struct timespec wait = {up_ms / 1000, up_ms % 1000 * 1000000};
	sigset_t end;

	node = getenv("PP_NODE");
	version = getenv("PP_VERSION");
	if (argc < 3 || !node || !version) {
		fprintf(stderr, "usage: PP_NODE=... PP_VERSION=... rollout-service HISTORY up|sick [UP_MS]\n");
		return 2;
	}
	snprintf(well, sizeof well, "%s.%s", argv[1], node);
	unlink(well); /* of one that was killed */
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigaddset(&end, SIGINT);
	sigprocmask(SIG_BLOCK, &end, NULL);
	history = open(argv[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	if (history < 0) {
		perror(argv[1]);
		return 1;
	}
	if (sigtimedwait(&end, NULL, &wait) < 0) {
		note(argv[2]);
		if (!strcmp(argv[2], "up"))
			show_well();
		while (sigwaitinfo(&end, NULL) < 0)
			;
	}
	note("down");
	unlink(well);
	return 0;
}

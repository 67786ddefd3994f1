/*
 * The service of the rollout tests: it says when it is there and when it goes, and does nothing else.
 *
 *	rollout-service HISTORY up|sick [UP_MS]     with PP_NODE and PP_VERSION
 *
 * A line for each event, "<CLOCK_MONOTONIC in ns> <node> up|sick|down <version>", each in one write, so that those
 * of several nodes do not mix. `up` comes when it has run for UP_MS, which is before anybody may call it
 * healthy, and `down` before it does anything else about being told to end: in the history a node is
 * never away for longer than it was.
 */
#include <fcntl.h>
#include <signal.h>
#include <intent/text.h>

static const char *node, *version;
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
		while (sigwaitinfo(&end, NULL) < 0)
			;
	}
	note("down");
	return 0;
}

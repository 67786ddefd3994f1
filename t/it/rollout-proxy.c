/*
 * The way from one node to the store, to be cut.
 *
 *	rollout-proxy PORT TO_PORT [N COMMAND]     both on 127.0.0.1
 *
 * COMMAND is run, and waited for, when the Nth transaction is to be passed on; N negative: when its answer is.
 *
 * USR1: every connection is reset, and so is every new one; USR2: no more. STOP and CONT make the silent kind: nobody
 * is told anything, and what was sent meanwhile arrives afterwards, though its sender may be long gone.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <intent/text.h>

enum { PAIRS = 200 };

static struct pollfd fds[1 + 2 * PAIRS]; /* the listener, then pairs */
static volatile sig_atomic_t is_cut;
static long transactions, wanted; /* seen; of the one that COMMAND is for, negative: of its answer */
static size_t answering;          /* the file that its answer comes from; 0: not yet asked */
static const char *command;

static void on_signal(int number)
{
	is_cut = number == SIGUSR1;
}

static struct sockaddr_in local(const char *port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)strtol(port, NULL, 10)),
	};
}

static void reset(int fd)
{
	const struct linger now = {.l_onoff = 1};

	if (fd < 0)
		return;
	if (is_cut)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	close(fd);
}

static void end(size_t pair)
{
	for (size_t i = 1 + 2 * pair; i <= 2 + 2 * pair; i++) {
		reset(fds[i].fd);
		fds[i].fd = -1;
	}
}

static void take(const struct sockaddr_in *to)
{
	int client = accept(fds[0].fd, NULL, NULL), server = -1;
	size_t pair = 0;

	while (pair < PAIRS && fds[1 + 2 * pair].fd >= 0)
		pair++;
	if (client >= 0 && pair < PAIRS && !is_cut)
		server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (server < 0 || connect(server, (const struct sockaddr *)to, sizeof *to) < 0) {
		reset(client);
		reset(server);
		return;
	}
	fds[1 + 2 * pair] = (struct pollfd){.fd = client, .events = POLLIN};
	fds[2 + 2 * pair] = (struct pollfd){.fd = server, .events = POLLIN};
}

static void run_command(void)
{
	pid_t child = fork();

	if (!child) {
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
}

/* Is this what COMMAND is for? A request's head comes in one piece. */
static bool is_wanted(size_t i, const char *bytes, size_t count)
{
	bool asks = i % 2 && memmem(bytes, count, "/txn HTTP/", 10);

	if (answering == i) {
		answering = 0;
		return true;
	}
	if (!asks || ++transactions != labs(wanted))
		return false;
	if (wanted < 0)
		answering = i + 1;
	return wanted > 0;
}

/* What one end said, to the other: fds[i] and its neighbour. */
static void pass(size_t i)
{
	static char buffer[1 << 16];
	size_t pair = (i - 1) / 2, other = 1 + 2 * pair + (i % 2 ? 1 : 0);
	ssize_t count = read(fds[i].fd, buffer, sizeof buffer);

	if (command && count > 0 && is_wanted(i, buffer, (size_t)count)) {
		run_command();
		if (is_cut)
			return;
	}
	for (ssize_t done = 0; done < count;) {
		ssize_t more = send(fds[other].fd, buffer + done, (size_t)(count - done), MSG_NOSIGNAL);

		if (more < 0 && errno != EINTR)
			count = -1;
		done += more > 0 ? more : 0;
	}
	if (count == 0 || (count < 0 && errno != EINTR))
		end(pair);
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct sockaddr_in at, to;
	int one = 1;

	if (argc != 3 && argc != 5) {
		fprintf(stderr, "usage: rollout-proxy PORT TO_PORT [N COMMAND]\n");
		return 2;
	}
	if (argc == 5) {
		wanted = strtol(argv[3], NULL, 10);
		command = argv[4];
	}
	at = local(argv[1]);
	to = local(argv[2]);
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGUSR2, &action, NULL);
	for (size_t i = 0; i < 1 + 2 * PAIRS; i++)
		fds[i].fd = -1;
	fds[0] = (struct pollfd){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .events = POLLIN};
	setsockopt(fds[0].fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(fds[0].fd, (const struct sockaddr *)&at, sizeof at) < 0 || listen(fds[0].fd, 64) < 0) {
		perror(argv[1]);
		return 1;
	}
	for (;;) {
		int ready = poll(fds, 1 + 2 * PAIRS, is_cut ? 50 : -1);

		for (size_t pair = 0; pair < PAIRS && is_cut; pair++)
			end(pair);
		if (ready <= 0)
			continue;
		for (size_t i = 1; i < 1 + 2 * PAIRS; i++)
			if (fds[i].fd >= 0 && fds[i].revents)
				pass(i);
		if (fds[0].revents)
			take(&to);
	}
}

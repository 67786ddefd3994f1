/*
 * Traffic for the firewall's tests.
 *
 *	packets serve PORT...                  echo on each, TCP and UDP, IPv4 and IPv6
 *	packets try tcp|udp ADDRESS PORT MS [SOURCE]  prints "open", "refused", or "silent" after so
 *long packets hold ADDRESS PORT              a TCP connection: a line in, its echo out; "silent"
 *after 2 s packets load ADDRESS PORT              one datagram and one new TCP connection after
 *another, each awaited, until standard input ends; prints "UDP LOST TCP FAILED", counts
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SERVE_MAX 256
#define LOAD_MS 10000 /* for the machine to be slow in; what is lost never comes */

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static int open_socket(int type, const char *address, const char *port, struct addrinfo **ret)
{
	const struct addrinfo hints = {.ai_socktype = type,
				       .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};

	if (getaddrinfo(address, port, &hints, ret))
		die(address);
	int fd = socket((*ret)->ai_family, type, 0);
	if (fd < 0)
		die("socket");
	return fd;
}

/* ---- serve ---- */

static int serve_one(int type, const char *port)
{
	struct addrinfo *where;
	int fd = open_socket(type, "::", port, &where), yes = 1, no = 0;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	setsockopt(fd, IPPROTO_IPV6, 26 /* IPV6_V6ONLY */, &no, sizeof(no));
	if (bind(fd, where->ai_addr, where->ai_addrlen) ||
	    (type == SOCK_STREAM && listen(fd, 1024)))
		die(port);
	freeaddrinfo(where);
	return fd;
}

static void echo_datagram(int fd)
{
	struct sockaddr_storage from;
	socklen_t length = sizeof(from);
	char bytes[2048];
	ssize_t got = recvfrom(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &length);

	if (got >= 0)
		sendto(fd, bytes, (size_t)got, 0, (struct sockaddr *)&from, length);
}

static int echo_stream(int fd)
{
	char bytes[2048];
	ssize_t got = read(fd, bytes, sizeof(bytes));

	return got > 0 && send(fd, bytes, (size_t)got, MSG_NOSIGNAL) == got ? 0 : -1;
}

static int serve(int count, char **ports)
{
	struct pollfd all[SERVE_MAX] = {{0}};
	int used = 0, listeners = 2 * count;

	for (int i = 0; i < count; i++) {
		all[used++] = (struct pollfd){serve_one(SOCK_DGRAM, ports[i]), POLLIN, 0};
		all[used++] = (struct pollfd){serve_one(SOCK_STREAM, ports[i]), POLLIN, 0};
	}
	while (poll(all, (nfds_t)used, -1) > 0)
		for (int i = used - 1; i >= 0; i--) {
			if (!all[i].revents)
				continue;
			if (i < listeners && i % 2 == 0) {
				echo_datagram(all[i].fd);
			} else if (i < listeners) {
				int fd = accept(all[i].fd, NULL, NULL);

				if (fd >= 0 && used < SERVE_MAX)
					all[used++] = (struct pollfd){fd, POLLIN, 0};
			} else if (echo_stream(all[i].fd)) {
				close(all[i].fd);
				all[i] = all[--used];
			}
		}
	return 2;
}

/* ---- ask ---- */

/* One datagram or connection, and its echo. NULL: it came. */
static const char *ask(int type, const char *address, const char *port, const char *source,
		       int within_ms)
{
	struct addrinfo *where, *own;
	int fd = open_socket(type, address, port, &where), error = 0;
	struct pollfd wait = {fd, POLLOUT, 0};
	socklen_t length = sizeof(error);
	const char *why = NULL;
	char answer[8];

	if (source) {
		close(open_socket(type, source, "0", &own));
		if (bind(fd, own->ai_addr, own->ai_addrlen))
			die(source);
		freeaddrinfo(own);
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	if (connect(fd, where->ai_addr, where->ai_addrlen) && errno != EINPROGRESS)
		why = errno == ECONNREFUSED ? "refused" : "silent";
	if (!why && poll(&wait, 1, within_ms) <= 0)
		why = "silent";
	if (!why && (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) || error))
		why = error == ECONNREFUSED ? "refused" : "silent";
	wait.events = POLLIN;
	if (!why && (send(fd, "ping", 4, MSG_NOSIGNAL) != 4 || poll(&wait, 1, within_ms) <= 0))
		why = "silent";
	if (!why && recv(fd, answer, sizeof(answer), 0) != 4)
		why = errno == ECONNREFUSED ? "refused" : "silent";
	freeaddrinfo(where);
	close(fd);
	return why;
}

static int hold(const char *address, const char *port)
{
	struct addrinfo *where;
	int fd = open_socket(SOCK_STREAM, address, port, &where);
	struct pollfd wait = {fd, POLLIN, 0};
	char line[256], answer[256];

	if (connect(fd, where->ai_addr, where->ai_addrlen))
		die("connect");
	printf("held\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		size_t length = strlen(line);
		ssize_t got = send(fd, line, length, MSG_NOSIGNAL) == (ssize_t)length &&
					      poll(&wait, 1, LOAD_MS) > 0
				      ? recv(fd, answer, sizeof(answer) - 1, 0)
				      : 0;

		answer[got > 0 ? got : 0] = '\0';
		printf("%s", got > 0 ? answer : "silent\n");
		fflush(stdout);
	}
	return 0;
}

static int load(const char *address, const char *port)
{
	unsigned long udp = 0, lost = 0, tcp = 0, failed = 0;
	struct pollfd end = {0, POLLIN, 0};

	/* Paced: what it is to meet needs the machine too. */
	while (poll(&end, 1, 1) == 0) {
		for (int i = 0; i < 8; i++, udp++)
			lost += ask(SOCK_DGRAM, address, port, NULL, LOAD_MS) != NULL;
		tcp++;
		failed += ask(SOCK_STREAM, address, port, NULL, LOAD_MS) != NULL;
	}
	printf("%lu %lu %lu %lu\n", udp, lost, tcp, failed);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[1], "serve") && 2 * (argc - 2) < SERVE_MAX)
		return serve(argc - 2, argv + 2);
	if (argc >= 6 && !strcmp(argv[1], "try")) {
		const char *why = ask(!strcmp(argv[2], "udp") ? SOCK_DGRAM : SOCK_STREAM, argv[3],
				      argv[4], argv[6], (int)strtol(argv[5], NULL, 10));

		puts(why ? why : "open");
		return 0;
	}
	if (argc == 4 && !strcmp(argv[1], "hold"))
		return hold(argv[2], argv[3]);
	if (argc == 4 && !strcmp(argv[1], "load"))
		return load(argv[2], argv[3]);
	fputs("usage: packets serve|try|hold|load ...\n", stderr);
	return 2;
}

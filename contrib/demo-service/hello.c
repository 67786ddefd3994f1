/*
 * The service of `make demo`: a small HTTP server that says which version it is.
 *
 *	cc -DVERSION='"1.0"' -o bin/launch hello.c
 *
 * Its port is "port" of the JSON file that CONFIG_PATH names (`user_config` of the cluster), else
 * PORT. It knows nothing of Platypus: no library, no protocol, just a program that runs in the
 * foreground and ends on SIGTERM.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef VERSION
#define VERSION "0"
#endif

/* The digits after "name": in a JSON object; enough for one flat file of our own. */
static int number_in(const char *json, const char *name)
{
	const char *found = strstr(json, name);

	if (!found)
		return 0;
	found += strlen(name);
	found += strspn(found, "\": \t\n");
	return (int)strtol(found, NULL, 10);
}

static int find_port(void)
{
	const char *path = getenv("CONFIG_PATH"), *port = getenv("PORT");
	char text[4096];
	FILE *file = path ? fopen(path, "r") : NULL;
	size_t count = 0;

	if (file) {
		count = fread(text, 1, sizeof(text) - 1, file);
		fclose(file);
	}
	text[count] = '\0';
	if (number_in(text, "\"port\""))
		return number_in(text, "\"port\"");
	return port ? (int)strtol(port, NULL, 10) : 0;
}

static int listen_on(int port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 64) < 0) {
		fprintf(stderr, "hello %s: port %d: %s\n", VERSION, port, strerror(errno));
		exit(1);
	}
	return fd;
}

/* Reads to the empty line: closing with something unread would throw our own answer away. */
static int read_request(int fd)
{
	char request[4096];
	size_t count = 0;

	while (count < sizeof(request) - 1) {
		ssize_t got = read(fd, request + count, sizeof(request) - 1 - count);

		if (got <= 0)
			return -1;
		count += (size_t)got;
		request[count] = '\0';
		if (strstr(request, "\r\n\r\n"))
			return 0;
	}
	return -1;
}

static void answer(int fd)
{
	static const char body[] = "hello, this is version " VERSION "\n";
	const struct timeval patience = {.tv_sec = 5};
	char reply[512];
	int length;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (read_request(fd) == 0) {
		length = snprintf(reply, sizeof(reply),
				  "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
				  "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
				  sizeof(body) - 1, body);
		if (write(fd, reply, (size_t)length) != length)
			fprintf(stderr, "hello: a client went away\n");
	}
	close(fd);
}

int main(void)
{
	int port = find_port(), fd = listen_on(port);

	signal(SIGPIPE, SIG_IGN);
	printf("hello %s: listening on 127.0.0.1:%d\n", VERSION, port);
	fflush(stdout);
	for (;;) {
		int client = accept(fd, NULL, NULL);

		if (client >= 0)
			answer(client);
	}
}

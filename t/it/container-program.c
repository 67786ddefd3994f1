/*
 * What runs in the containers of containers.sh, alone in an image: container-program [MODE [PORT]]. It uses nothing but libc.
 *
 *	serve PORT   answers GET /env with its environment, GET /config with the file of CONFIG_PATH, anything else with 200
 *	fail         says 300 lines and ends with status 3
 *	check FILE   is there such a file? (a health check from inside)
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* It is compiled without _GNU_SOURCE, too. NOLINTNEXTLINE(readability-redundant-declaration) */
extern char **environ;

static void end(int signal_number)
{
	(void)signal_number;
	_exit(0);
}

static void answer(int peer)
{
	char asked[4096] = "", body[60000] = "ok\n";
	size_t length = 3;
	FILE *file;

	if (read(peer, asked, sizeof asked - 1) <= 0)
		return;
	if (!strncmp(asked, "GET /env", 8))
		for (char **variable = environ + (length = 0); *variable && length < sizeof body; variable++)
			length += (size_t)snprintf(body + length, sizeof body - length, "%s\n", *variable);
	if (!strncmp(asked, "GET /config", 11) && getenv("CONFIG_PATH") && (file = fopen(getenv("CONFIG_PATH"), "r"))) {
		length = fread(body, 1, sizeof body, file);
		fclose(file);
	}
	dprintf(peer, "HTTP/1.0 200 OK\r\nContent-Length: %zu\r\n\r\n%.*s", length, (int)length, body);
}

static int serve(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 16))
		return 1;
	puts("listening");
	fflush(stdout);
	for (;;) {
		int peer = accept(fd, NULL, NULL);

		if (peer < 0)
			continue;
		answer(peer);
		close(peer);
	}
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "serve";

	/* The first process of a container is not ended by a signal that it does not handle; what fails says all it has. */
	signal(SIGTERM, !strcmp(mode, "fail") ? SIG_IGN : end);
	if (!strcmp(mode, "fail")) {
		for (int i = 1; i <= 300; i++)
			printf("line %d: no database\n", i);
		return 3;
	}
	if (!strcmp(mode, "check"))
		return access(argc > 2 ? argv[2] : "/nothing", F_OK) != 0;
	return serve(argc > 2 ? (int)strtol(argv[2], NULL, 10) : 80);
}

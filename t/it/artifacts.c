/*
 * artifacts DIRECTORY TOKEN: a server of artifacts on 127.0.0.1, prints its port. PUT, GET and HEAD of files below
 * DIRECTORY, to those who have the bearer token; anybody else gets 401. While DIRECTORY/full is there, PUT gets 507.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <intent/file.h>

struct request { char method[8], path[400]; char *body; size_t have, length; };

static char text[1 << 20];

static bool read_request(int fd, struct request *ret)
{
	size_t used = 0;
	ssize_t count;
	char *end = NULL, *length;

	while (!end && used < sizeof(text) - 1 && (count = read(fd, text + used, sizeof(text) - 1 - used)) > 0) {
		used += (size_t)count;
		text[used] = '\0';
		end = strstr(text, "\r\n\r\n");
	}
	*ret = (struct request){0};
	if (!end || sscanf(text, "%7s /%399s", ret->method, ret->path) != 2 || strstr(ret->path, ".."))
		return false;
	*end = '\0';
	length = strcasestr(text, "\r\nContent-Length: ");
	ret->length = length ? strtoul(length + 18, NULL, 10) : 0;
	ret->body = end + 4;
	ret->have = used - (size_t)(ret->body - text);
	if (strcasestr(text, "\r\nExpect: 100-continue"))
		dprintf(fd, "HTTP/1.1 100 Continue\r\n\r\n");
	return true;
}

static void take(int fd, const struct request *request)
{
	intent_free_auto char *directory = strdup(request->path);
	intent_close_auto int file = -1;
	static char rest[1 << 16];
	size_t left = request->length - request->have;
	ssize_t count = 1;

	if (strrchr(directory, '/')) {
		*strrchr(directory, '/') = '\0';
		mkdir(directory, 0755);
	}
	file = open(request->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (file < 0 || intent_write_all(file, request->body, request->have) < 0)
		return;
	while (left && count > 0) {
		count = read(fd, rest, sizeof(rest));
		if (count > 0 && intent_write_all(file, rest, (size_t)count) == 0)
			left -= (size_t)count;
	}
	dprintf(fd, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

static void give(int fd, const struct request *request)
{
	intent_free_auto char *bytes = NULL;
	struct intent_error ignored;
	size_t count = 0;

	if (intent_file_read(AT_FDCWD, request->path, 64u << 20, &bytes, &count, &ignored) < 0) {
		dprintf(fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
		return;
	}
	dprintf(fd, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", count);
	if (strcmp(request->method, "HEAD"))
		(void)!intent_write_all(fd, bytes, count);
}

static void answer(int fd, const char *token)
{
	intent_free_auto char *wanted = intent_format("\r\nAuthorization: Bearer %s\r\n", token);
	struct request request;

	if (!read_request(fd, &request))
		return;
	/* The last header has lost its end. */
	intent_free_auto char *headers = intent_format("%s\r\n", text);
	if (!strstr(headers, wanted))
		dprintf(fd, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
	else if (strcmp(request.method, "PUT"))
		give(fd, &request);
	else if (access("full", F_OK) == 0)
		dprintf(fd, "HTTP/1.1 507 Insufficient Storage\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
	else
		take(fd, &request);
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (argc != 3 || chdir(argv[1]) || bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, 64) < 0 || getsockname(listener, (struct sockaddr *)&address, &length) < 0) {
		perror("artifacts");
		return 1;
	}
	printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			continue;
		answer(fd, argv[2]);
		shutdown(fd, SHUT_WR);
		close(fd);
	}
}

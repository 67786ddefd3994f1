/* A service: answers every request with $PP_VERSION, on the port that the file `port` names. */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <intent/banned.h>

int main(void)
{
	const char *version = getenv("PP_VERSION");
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	FILE *file = fopen("port", "r");
	unsigned port = 0;
	char answer[256], request[1024];

	if (!file || fscanf(file, "%u", &port) != 1)
		return 111;
	fclose(file);
	signal(SIGPIPE, SIG_IGN);
	address.sin_port = htons((uint16_t)port);
	setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listening, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listening, 64) < 0) {
		fprintf(stderr, "port %u: %s\n", port, strerror(errno));
		return 111;
	}
	snprintf(answer, sizeof(answer), "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n%s\n", version ? version : "?");
	for (;;) {
		int connection = accept(listening, NULL, NULL);

		if (connection < 0)
			continue;
		if (recv(connection, request, sizeof(request), 0) > 0)
			send(connection, answer, strlen(answer), MSG_NOSIGNAL);
		close(connection);
	}
}

/*
 * setlive-http PORT FILE: answers every connection to 127.0.0.1:PORT with the present content of
 * FILE. For setlive.sh.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <intent/file.h>

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	struct intent_error err;

	if (argc != 3)
		return 2;
	address.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 16))
		return 1;
	for (;;) {
		char asked[4096], *answer = NULL;
		size_t count;
		int peer = accept(fd, NULL, NULL);

		if (peer < 0)
			continue;
		if (recv(peer, asked, sizeof asked, 0) > 0 &&
		    !intent_file_read(AT_FDCWD, argv[2], 4096, &answer, &count, &err))
			intent_write_all(peer, answer, count);
		free(answer);
		close(peer);
	}
}

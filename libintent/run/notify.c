/* sd_notify(3) without libsystemd: a datagram to NOTIFY_SOCKET. */
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <intent/file.h>
#include "run.h"

void intent__notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	intent_close_auto int fd = -1;
	size_t length = path ? strlen(path) : 0;

	if (!length || length >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, path, length);
	if (address.sun_path[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
	       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
}

int64_t intent__notify_interval(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	struct intent_error ignored;
	int64_t value;

	if (!usec || intent_integer_parse(usec, 1, INT64_MAX, &value, &ignored) < 0)
		return 0;
	if (pid && strtol(pid, NULL, 10) != getpid())
		return 0;
	return value / 2000;
}

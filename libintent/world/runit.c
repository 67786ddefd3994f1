#include <errno.h>
#include <fcntl.h>

#include <intent/file.h>
#include "runit.h"

#define TAI64_UNIX 4611686018427387914ULL  /* 2^62 + 10 */

int intent__runit_status_parse(const void *bytes, size_t count, struct intent__runit_status *ret,
		       struct intent_error *err)
{
	const unsigned char *b = bytes;
	uint64_t seconds = 0;

	if (count != INTENT__RUNIT_STATUS_SIZE)
		return intent_fail(err, INTENT_EMALFORMED, "status has %zu bytes instead of %d",
				   count, INTENT__RUNIT_STATUS_SIZE);
	for (int i = 0; i < 8; i++)
		seconds = seconds << 8 | b[i];
	uint32_t pid = b[12] | (uint32_t)b[13] << 8 | (uint32_t)b[14] << 16 | (uint32_t)b[15] << 24;
	if (pid > INT32_MAX || (b[17] != 'u' && b[17] != 'd') || b[19] > INTENT__RUNIT_FINISH ||
	    b[16] > 1 || b[18] > 1)
		return intent_fail(err, INTENT_EMALFORMED, "status is not runsv's");
	/* A clock before 1970, or absurd bytes: nothing depends on it, so no error. */
	bool sane = seconds >= TAI64_UNIX && seconds - TAI64_UNIX < INT64_MAX / 1000;

	*ret = (struct intent__runit_status){
		.since = sane ? (int64_t)(seconds - TAI64_UNIX) : 0,
		.pid = (pid_t)pid,
		.paused = b[16],
		.want_up = b[17] == 'u',
		.got_term = b[18],
		.state = b[19],
	};
	return 0;
}

/* Open one of runsv's FIFOs for writing; the usual refusal is ENXIO, nobody reads. */
static int open_fifo(const char *service, const char *name)
{
	char path[4096];

	if (snprintf(path, sizeof path, "%s/%s", service, name) >= (int)sizeof path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

/* The line of /proc/PID/NAME in `out`, its NULs made blanks; false: no such process. */
static bool process_line(pid_t pid, const char *name, char out[512])
{
	char path[48];

	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
	intent_close_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, out, 511);
	if (got <= 0)
		return false;
	out[got] = '\0';
	for (ssize_t i = 0; i < got; i++)
		if (!out[i] || out[i] == '\n')
			out[i] = ' ';
	return true;
}

/* Is this process a child of "runsv .../SERVICE"? */
static bool is_child_of_runsv(pid_t pid, const char *service)
{
	char line[512], *rest, *word, *last = NULL;
	int parent;

	if (!process_line(pid, "stat", line) || !(rest = strrchr(line, ')')) ||
	    sscanf(rest, ") %*c %d", &parent) != 1 || !process_line(parent, "cmdline", line))
		return false;
	const char *program = strtok_r(line, " ", &rest);
	while ((word = strtok_r(NULL, " ", &rest)))
		last = word;
	return program && last && intent_ends_with(program, "runsv") &&
		!strcmp(strrchr(last, '/') ? strrchr(last, '/') + 1 : last,
			strrchr(service, '/') ? strrchr(service, '/') + 1 : service);
}

int intent__runit_is_supervised(const char *service, bool *ret, struct intent_error *err)
{
	intent_close_auto int fd = open_fifo(service, "supervise/ok");
	struct intent__runit_status status;

	if (fd < 0 && errno == EACCES) {
		int code = intent__runit_status_read(service, &status, err);

		if (code && code != INTENT_EABSENT)
			return code;
		*ret = !code && (!status.pid || is_child_of_runsv(status.pid, service));
		return 0;
	}
	if (fd < 0 && errno != ENXIO && errno != ENOENT && errno != ENOTDIR)
		return intent_fail_errno(err, "%s/supervise/ok", service);
	*ret = fd >= 0;
	return 0;
}

int intent__runit_is_leaving(const char *service, bool *ret, struct intent_error *err)
{
	static const char *const names[] = { "supervise/stat", "log/supervise/stat" };

	*ret = false;
	for (size_t i = 0; i < sizeof names / sizeof *names && !*ret; i++) {
		intent_free_auto char *path = intent_format("%s/%s", service, names[i]), *words = NULL;
		size_t count;

		int code = intent_file_read(AT_FDCWD, path, 256, &words, &count, err);
		if (code && code != INTENT_EABSENT)
			return intent_wrap(err, "%s", path);
		*ret = !code && strstr(words, "want exit");
	}
	return 0;
}

int intent__runit_has_logger(const char *service, bool *ret, struct intent_error *err)
{
	intent_free_auto char *log = intent_format("%s/log", service), *down = intent_format("%s/log/down", service);
	struct intent__runit_status status = { .want_up = true };

	*ret = true;
	if (intent__runit_status_read(log, &status, err) && err->code != INTENT_EABSENT)
		return err->code;
	return status.want_up ? 0 : intent_file_exists(down, 0, ret, err);
}

int intent__runit_status_read(const char *service, struct intent__runit_status *ret, struct intent_error *err)
{
	intent_free_auto char *path = intent_format("%s/supervise/status", service);
	intent_free_auto char *bytes = NULL;
	size_t count;

	if (intent_file_read(AT_FDCWD, path, 64, &bytes, &count, err) ||
	    intent__runit_status_parse(bytes, count, ret, err))
		return intent_wrap(err, "%s", path);
	return 0;
}

static int control(const char *service, const char *fifo, const char *commands,
		   struct intent_error *err)
{
	intent_close_auto int fd = open_fifo(service, fifo);

	if (fd < 0 && (errno == ENXIO || errno == ENOENT))
		return intent_fail(err, INTENT_EUNSUPERVISED, "%s: no runsv supervises it",
				   service);
	if (fd < 0)
		return intent_fail_errno(err, "%s/%s", service, fifo);
	int code = intent_write_all(fd, commands, strlen(commands));
	if (!code)
		return 0;
	/* It ended after the FIFO was opened. */
	if (code == -EPIPE)
		return intent_fail(err, INTENT_EUNSUPERVISED, "%s: no runsv supervises it",
				   service);
	errno = -code;
	return intent_fail_errno(err, "%s/%s", service, fifo);
}

int intent__runit_control(const char *service, const char *commands, struct intent_error *err)
{
	return control(service, "supervise/control", commands, err);
}

int intent__runit_control_log(const char *service, const char *commands, struct intent_error *err)
{
	return control(service, "log/supervise/control", commands, err);
}

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <intent/child.h>
#include <intent/file.h>
#include <intent/health.h>
#include <intent/http.h>

#define UP_MS 1000
#define UP_PER_EXIT_MS 10000
#define EXITS_COUNT_MAX 6      /* a minute */
#define TIMEOUT_MS 5000
#define DEADLINE_MS 30000
#define STATUS_LINE_MAX 1024

int64_t intent_health_up(const json_t *health, int exits)
{
	int counted = exits < EXITS_COUNT_MAX ? exits : EXITS_COUNT_MAX;

	return intent_json_duration(health, "up", UP_MS) + (int64_t)counted * UP_PER_EXIT_MS;
}

int64_t intent_health_deadline(const json_t *health)
{
	return intent_json_duration(health, "deadline", DEADLINE_MS);
}

/* ---- connections to numeric addresses, without any library's start-up cost ---- */

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} to;
	socklen_t length;
};

static bool address_parse(const char *host, uint16_t port, struct address *ret)
{
	struct address address = { 0 };

	if (!strcmp(host, "localhost"))
		host = "127.0.0.1";
	if (inet_pton(AF_INET, host, &address.to.v4.sin_addr) == 1) {
		address.to.v4.sin_family = AF_INET;
		address.to.v4.sin_port = htons(port);
		address.length = sizeof address.to.v4;
	} else if (inet_pton(AF_INET6, host, &address.to.v6.sin6_addr) == 1) {
		address.to.v6.sin6_family = AF_INET6;
		address.to.v6.sin6_port = htons(port);
		address.length = sizeof address.to.v6;
	} else {
		return false;
	}
	*ret = address;
	return true;
}

/* Until `events` or the deadline: 0, or an errno value. */
static int wait_ready(int fd, short events, int64_t deadline)
{
	for (;;) {
		struct pollfd polled = { .fd = fd, .events = events };
		int64_t left = deadline - intent_time_monotonic();

		if (left <= 0)
			return ETIMEDOUT;
		int ready = poll(&polled, 1, left > INT32_MAX ? INT32_MAX : (int)left);
		if (ready > 0)
			return 0;
		if (ready < 0 && errno != EINTR)
			return errno;
	}
}

/* A connected, non-blocking socket, or a negated errno value. */
static int dial(const struct address *address, int64_t deadline)
{
	intent_close_auto int fd = socket(address->to.any.sa_family,
					  SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int code = 0;
	socklen_t size = sizeof code;

	if (fd < 0)
		return -errno;
	if (connect(fd, &address->to.any, address->length)) {
		if (errno != EINPROGRESS)
			return -errno;
		code = wait_ready(fd, POLLOUT, deadline);
		if (code)
			return -code;
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size))
			return -errno;
		if (code)
			return -code;
	}
	int connected = fd;
	fd = -1;
	return connected;
}

static int unhealthy_errno(struct intent_error *err, const char *what, int code)
{
	if (code == ETIMEDOUT)
		return intent_fail(err, INTENT_EUNHEALTHY, "%s: no answer in time", what);
	return intent_fail(err, INTENT_EUNHEALTHY, "%s: %s", what, strerror(code));
}

static int check_tcp(const char *host, int64_t port, int64_t deadline, struct intent_error *err)
{
	struct address address;
	char what[96];

	snprintf(what, sizeof what, "tcp %.64s:%lld", host, (long long)port);
	if (!address_parse(host, (uint16_t)port, &address))
		return intent_fail(err, INTENT_EUNHEALTHY, "%s: no address", what);
	int fd = dial(&address, deadline);
	if (fd < 0)
		return unhealthy_errno(err, what, -fd);
	close(fd);
	return 0;
}

/* ---- http ---- */

struct url {
	char host[256];
	uint16_t port;
	const char *path;  /* "" or "/..." */
};

/* http://HOST[:PORT][/PATH] with a numeric host or localhost; false: not of this kind. */
static bool url_parse(const char *text, struct url *ret)
{
	struct intent_error ignored;
	int64_t port = 80;
	char number[8];

	if (!intent_starts_with(text, "http://"))
		return false;
	text += strlen("http://");
	size_t authority = strcspn(text, "/?#");
	const char *host = text;
	size_t count = authority;
	const char *after;

	if (*host == '[') {
		const char *end = memchr(host, ']', authority);

		if (!end)
			return false;
		host++;
		count = (size_t)(end - host);
		after = end + 1;
	} else {
		count = strcspn(host, ":/?#@");
		after = host + count;
	}
	if (!count || count >= sizeof ret->host)
		return false;
	size_t rest = authority - (size_t)(after - text);
	if (rest) {
		if (*after != ':' || rest < 2 || rest > 6)
			return false;
		memcpy(number, after + 1, rest - 1);
		number[rest - 1] = '\0';
		if (intent_integer_parse(number, 1, 65535, &port, &ignored))
			return false;
	}
	memcpy(ret->host, host, count);
	ret->host[count] = '\0';
	ret->port = (uint16_t)port;
	ret->path = text + authority;
	return true;
}

static int status_verdict(struct intent_error *err, const char *url, int status)
{
	if (status >= 200 && status < 300)
		return 0;
	return intent_fail(err, INTENT_EUNHEALTHY, "%.300s: HTTP status %d", url, status);
}

/* One exchange; only the status line is read. */
static int exchange(int fd, const struct url *to, const char *url, int64_t deadline,
		    struct intent_error *err)
{
	intent_text_auto struct intent_text request = INTENT_TEXT_INIT;
	char line[STATUS_LINE_MAX + 1];
	size_t length = 0, sent = 0;
	int minor, status, code;

	bool v6 = strchr(to->host, ':');

	intent_text_printf(&request,
			   "GET %s%.*s HTTP/1.1\r\nHost: %s%s%s:%u\r\nUser-Agent: platypus/%s\r\n"
			   "Accept: */*\r\nConnection: close\r\n\r\n",
			   *to->path == '/' ? "" : "/", (int)strcspn(to->path, "#"), to->path,
			   v6 ? "[" : "", to->host, v6 ? "]" : "", to->port, INTENT_VERSION);
	while (sent < request.length) {
		ssize_t put = send(fd, request.data + sent, request.length - sent, MSG_NOSIGNAL);

		if (put > 0)
			sent += (size_t)put;
		else if (put < 0 && errno != EAGAIN && errno != EINTR)
			return unhealthy_errno(err, url, errno);
		else if ((code = wait_ready(fd, POLLOUT, deadline)))
			return unhealthy_errno(err, url, code);
	}
	for (;;) {
		ssize_t got = recv(fd, line + length, STATUS_LINE_MAX - length, 0);

		if (got < 0 && errno != EAGAIN && errno != EINTR)
			return unhealthy_errno(err, url, errno);
		if (!got)
			return intent_fail(err, INTENT_EUNHEALTHY,
					   "%.300s: the connection was closed without an answer",
					   url);
		if (got > 0) {
			length += (size_t)got;
			line[length] = '\0';
			if (memchr(line, '\n', length) || length == STATUS_LINE_MAX)
				break;
		} else if ((code = wait_ready(fd, POLLIN, deadline))) {
			return unhealthy_errno(err, url, code);
		}
	}
	if (sscanf(line, "HTTP/1.%1d %3d", &minor, &status) != 2)
		return intent_fail(err, INTENT_EUNHEALTHY, "%.300s: the answer is not HTTP/1", url);
	return status_verdict(err, url, status);
}

/* Names and TLS: the HTTP client. */
static int check_remote(const char *url, int64_t timeout_ms, struct intent_error *err)
{
	struct intent_http_settings settings = { .max_connections = 1 };
	struct intent_http_request request = {
		.url = url, .connect_timeout_ms = timeout_ms, .timeout_ms = timeout_ms,
	};
	struct intent_http_response response = { 0 };
	struct intent_http *http = intent_http_new(&settings);
	int code = intent_http_perform(http, &request, &response, NULL, err);
	int status = response.status;

	intent_http_response_release(&response);
	intent_http_free(http);
	if (code && !status) {
		err->code = INTENT_EUNHEALTHY;
		return intent_wrap(err, "%.200s", url);
	}
	return status_verdict(err, url, status);
}

static int check_http(const char *host, const json_t *http, int64_t timeout_ms, int64_t deadline,
		      struct intent_error *err)
{
	intent_free_auto char *local = NULL;
	const char *url = json_string_value(http);
	struct address address;
	struct url to;

	if (!url) {
		bool v6 = strchr(host, ':');

		local = intent_format("http://%s%s%s:%lld%s", v6 ? "[" : "", host, v6 ? "]" : "",
				      (long long)intent_json_integer(http, "port", 0),
				      intent_json_string(http, "path", "/"));
		url = local;
	}
	if (!url_parse(url, &to) || !address_parse(to.host, to.port, &address))
		return check_remote(url, timeout_ms, err);
	intent_close_auto int fd = dial(&address, deadline);
	if (fd < 0)
		return unhealthy_errno(err, url, -fd);
	return exchange(fd, &to, url, deadline, err);
}

/* ---- bin/check ---- */

static int check_program(const json_t *wanted, const struct intent_health_subject *subject,
			 int64_t timeout_ms, struct intent_error *err)
{
	intent_free_auto char *program = NULL;
	const char *argv[2] = { NULL };
	struct stat seen;

	if (json_is_false(wanted) || !subject->install)
		return 0;
	program = intent_format("%s/bin/check", subject->install);
	if (stat(program, &seen)) {
		if (errno == ENOENT && !json_is_true(wanted))
			return 0;
		return intent_fail(err, INTENT_EUNHEALTHY, "%s: %s", program, strerror(errno));
	}
	argv[0] = program;
	struct intent_child_options options = {
		.argv = argv, .env = subject->env, .directory = subject->install,
		.deadline_ms = timeout_ms, .grace_ms = 500, .output_max = 4096,
		.uid = subject->uid, .gid = subject->gid,
	};
	if (!(subject->run ? subject->run(&options, subject->data, err) : intent_child_check(&options, err)))
		return 0;
	err->code = INTENT_EUNHEALTHY;
	return err->code;
}

int intent_health_check(const json_t *health, const struct intent_health_subject *subject,
			struct intent_error *err)
{
	int64_t up = intent_health_up(health, subject->exits);
	int64_t timeout_ms = intent_json_duration(health, "timeout", TIMEOUT_MS);
	const json_t *port = json_object_get(health, "tcp"),
		     *http = json_object_get(health, "http");
	const char *host = subject->address ? subject->address : "127.0.0.1";
	char has[24], needs[24];

	if (timeout_ms < 1)
		timeout_ms = 1;
	if (subject->up_ms < 0)
		return intent_fail(err, INTENT_EUNHEALTHY, "the process is down");
	if (subject->up_ms < up) {
		intent_duration_format(subject->up_ms, has);
		intent_duration_format(up, needs);
		return subject->exits ?
			intent_fail(err, INTENT_EUNHEALTHY, "up for %s of %s, for it ended %d time%s in the last "
				    "ten minutes", has, needs, subject->exits, subject->exits == 1 ? "" : "s") :
			intent_fail(err, INTENT_EUNHEALTHY, "up for %s of %s", has, needs);
	}
	if (json_is_integer(port) &&
	    check_tcp(host, json_integer_value(port), intent_time_monotonic() + timeout_ms, err))
		return err->code;
	if (http && !json_is_null(http) &&
	    check_http(host, http, timeout_ms, intent_time_monotonic() + timeout_ms, err))
		return err->code;
	return check_program(json_object_get(health, "check"), subject, timeout_ms, err);
}

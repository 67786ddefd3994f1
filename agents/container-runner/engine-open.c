/* Where the engine is, and how it is spoken to: by DOCKER_HOST and the variables beside it, as with Docker's client. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "engine.h"

#define API_MAJOR 1
#define API_MINOR 44              /* the newest that is known here; the oldest that a Docker of 2026 takes */
#define PING_MS 5000              /* at most, however patient one is with the rest */

static const char *const sockets[] = { "/var/run/docker.sock", "/run/podman/podman.sock" };

/* The usual places; of a person without root, Podman's own last. */
static void find_socket(char out[256])
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char own[200];

	for (size_t i = 0; i < sizeof sockets / sizeof *sockets; i++)
		if (!access(sockets[i], F_OK)) {
			snprintf(out, 256, "unix://%s", sockets[i]);
			return;
		}
	snprintf(own, sizeof own, "%s/podman/podman.sock", runtime ? runtime : "");
	snprintf(out, 256, "unix://%s", runtime && !access(own, F_OK) ? own : sockets[0]);
}

char *engine__config_path(const char *name)
{
	const char *directory = getenv("DOCKER_CONFIG"), *home = getenv("HOME");

	/* A supervisor need not say where root is at home. */
	return directory && *directory ? intent_format("%s/%s", directory, name) :
		intent_format("%s/.docker/%s", home && *home ? home : getuid() ? "" : "/root", name);
}

/* ---- TCP ---- */

/* A file of DOCKER_CERT_PATH, else of where docker login leaves what it knows; owned. */
static char *certificate_path(const char *name)
{
	const char *path = getenv("DOCKER_CERT_PATH");

	return path && *path ? intent_format("%s/%s", path, name) : engine__config_path(name);
}

static int use_tls(struct engine *engine, struct intent_error *err)
{
	intent_free_auto char *ca = certificate_path("ca.pem"), *cert = certificate_path("cert.pem"),
		*key = certificate_path("key.pem");
	/* An engine need not ask who we are. */
	bool own = !access(cert, F_OK) || !access(key, F_OK);
	struct intent_http_settings settings = {
		.ca_file = ca, .cert_file = own ? cert : NULL, .key_file = own ? key : NULL, .max_connections = 1,
		.ca_option = "DOCKER_CERT_PATH", .cert_option = "DOCKER_CERT_PATH",
	};

	if (intent_http_settings_check(&settings, err))
		return intent_wrap(err, "the engine at %s is to be verified (DOCKER_TLS_VERIFY)", engine->where);
	engine->http = intent_http_new(&settings);
	return 0;
}

/* HOST[:PORT][/PATH]; without a port the one that engines use. */
static int use_tcp(const char *address, struct engine *engine, struct intent_error *err)
{
	const char *verify = getenv("DOCKER_TLS_VERIFY");
	bool tls = verify && *verify;
	size_t host = strcspn(address, "/"), length = strlen(address);
	const char *bracket = memchr(address, ']', host), *from = bracket ? bracket : address;
	const char *port = memchr(from, ':', (size_t)(address + host - from)) ? "" : tls ? ":2376" : ":2375";

	while (length > host && address[length - 1] == '/')
		length--;
	if (!host || host > 200 || length > 240)
		return intent_fail(err, INTENT_EUSAGE, "the engine's address %s is not understood; DOCKER_HOST must be "
				   "tcp://HOST:PORT", engine->where);
	snprintf(engine->base, sizeof engine->base, "%s://%.*s%s%.*s", tls ? "https" : "http", (int)host, address,
		 port, (int)(length - host), address + host);
	const struct intent_http_settings plain = { .max_connections = 1 };
	if (tls)
		return use_tls(engine, err);
	engine->http = intent_http_new(&plain);
	return 0;
}

static int use_socket(const char *path, struct engine *engine, struct intent_error *err)
{
	struct sockaddr_un room;
	const struct intent_http_settings settings = { .unix_socket = path, .max_connections = 1 };

	if (*path != '/' || strlen(path) >= sizeof room.sun_path)
		return intent_fail(err, INTENT_EUSAGE, "the engine's address %s is not understood; DOCKER_HOST must be "
				   "unix:///PATH, of at most %zu characters", engine->where, sizeof room.sun_path - 1);
	snprintf(engine->base, sizeof engine->base, "http://localhost");
	engine->http = intent_http_new(&settings);
	return 0;
}

static int connect_to(const char *host, struct engine *engine, struct intent_error *err)
{
	static const struct {
		const char *scheme;
		int (*use)(const char *rest, struct engine *engine, struct intent_error *err);
	} ways[] = { { "unix://", use_socket }, { "tcp://", use_tcp } };

	if (host && *host)
		snprintf(engine->where, sizeof engine->where, "%s", host);
	else
		find_socket(engine->where);
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
		if (intent_starts_with(engine->where, ways[i].scheme))
			return ways[i].use(engine->where + strlen(ways[i].scheme), engine, err);
	return intent_fail(err, INTENT_EUSAGE, "the engine's address %s is not understood; DOCKER_HOST must be "
			   "unix:///PATH or tcp://HOST:PORT (for ssh, let ssh -L forward the engine's socket)",
			   engine->where);
}

/* ---- who is there ---- */

/* The newer of the two sides speaks as the older does. */
static int choose_version(struct engine *engine, const struct intent_http_response *response, struct intent_error *err)
{
	char theirs[32] = "";
	int major = 0, minor = 0;
	size_t length = strlen(engine->base);

	if (!intent_http_header(response, "api-version", theirs, sizeof theirs) ||
	    sscanf(theirs, "%3d.%5d", &major, &minor) != 2)
		return intent_fail(err, INTENT_EUNAVAILABLE, "the engine at %s speaks an unknown version of its API: %s",
				   engine->where, theirs);
	if (major > API_MAJOR || (major == API_MAJOR && minor > API_MINOR)) {
		major = API_MAJOR;
		minor = API_MINOR;
	}
	snprintf(engine->base + length, sizeof engine->base - length, "/v%d.%d", major, minor);
	return 0;
}

/* What keeps us from a socket: libcurl only knows that something does. 0: nothing any more. */
static int try_socket(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), failed;

	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	failed = fd < 0 || (connect(fd, (struct sockaddr *)&address, sizeof address) && errno != EAGAIN) ? errno : 0;
	if (fd >= 0)
		close(fd);
	return failed;
}

static int is_missing(const struct engine *engine, struct intent_error *err)
{
	bool tcp = intent_starts_with(engine->where, "tcp:");
	const char *why = strstr(err->msg, "/_ping: ");
	int failed = tcp ? 0 : try_socket(engine->where + strlen("unix://"));
	char words[128];

	if (failed)
		intent_fail(err, err->code, "%s", strerror_r(failed, words, sizeof words));
	why = failed ? NULL : why;
	return intent_fail(err, INTENT_EENGINE, "no container engine answers at %.200s (%.150s): %s", engine->where,
			   why ? why + strlen("/_ping: ") : err->msg, tcp ? "start it, or see whether DOCKER_HOST, DOCKER_TLS_VERIFY and "
			   "DOCKER_CERT_PATH fit it" :
			   "start Docker or Podman, set DOCKER_HOST, or let this user reach its socket");
}

int engine__open(const char *host, int64_t patience_ms, struct engine *ret, struct intent_error *err)
{
	struct intent_http_response response = { 0 };
	struct engine engine = { .patience_ms = patience_ms };

	if (connect_to(host, &engine, err))
		return err->code;
	intent_free_auto char *url = intent_format("%s/_ping", engine.base);
	struct intent_http_request request = {
		.url = url, .timeout_ms = patience_ms < PING_MS ? patience_ms : PING_MS,
	};
	int code = engine__perform(&engine, &request, &response, err);

	if (!code)
		code = choose_version(&engine, &response, err);
	else if (!response.status)
		code = is_missing(&engine, err);
	intent_http_response_release(&response);
	if (code)
		engine__close(&engine);
	else
		*ret = engine;
	return code;
}

void engine__close(struct engine *engine)
{
	intent_http_free(engine->http);
	engine->http = NULL;
}

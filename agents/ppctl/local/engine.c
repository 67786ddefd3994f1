/* The container engine of this machine: whether there is one, and its client program. */
#include <intent/http.h>
#include "local.h"

#define PATIENCE_MS 3000

/* As the engine's own client finds it, and pp-container-runner. */
static char *find_host(void)
{
	static const char *const sockets[] = {"/var/run/docker.sock", "/run/podman/podman.sock"};
	const char *host = getenv("DOCKER_HOST"), *runtime = getenv("XDG_RUNTIME_DIR");

	if (host && *host)
		return strdup(host);
	for (size_t i = 0; i < sizeof(sockets) / sizeof(*sockets); i++)
		if (!access(sockets[i], F_OK))
			return intent_format("unix://%s", sockets[i]);
	intent_free_auto char *own = runtime ? intent_format("%s/podman/podman.sock", runtime) : NULL;
	return intent_format("unix://%s", own && !access(own, F_OK) ? own : sockets[0]);
}

static int ping(const char *host, struct intent_error *err)
{
	bool is_unix = intent_starts_with(host, "unix://");
	struct intent_http_settings settings = {.unix_socket = is_unix ? host + strlen("unix://") : NULL};
	intent_free_auto char *url = is_unix ? strdup("http://localhost/_ping") :
		intent_starts_with(host, "tcp://") ? intent_format("http://%s/_ping", host + strlen("tcp://")) : NULL;
	struct intent_http_request request = {.url = url, .timeout_ms = PATIENCE_MS, .body_max = 4096};
	struct intent_http_response response = {0};
	struct intent_http *http;

	if (!url)
		return intent_fail(err, INTENT_EUSAGE, "DOCKER_HOST=%s is neither unix:// nor tcp://", host);
	http = intent_http_new(&settings);
	int code = intent_http_perform(http, &request, &response, NULL, err);
	if (!code && response.status >= 500)
		code = intent_fail(err, INTENT_EUNAVAILABLE, "it answers with status %d", response.status);
	intent_http_response_release(&response);
	intent_http_free(http);
	return code;
}

int local_engine_client(char **ret_owned, struct intent_error *err)
{
	if (!local_program("docker", ret_owned, err) || !local_program("podman", ret_owned, err))
		return 0;
	return intent_fail(err, INTENT_EABSENT, "neither docker nor podman is on PATH; install docker.io or podman");
}

int local_engine_find(struct intent_error *err)
{
	intent_free_auto char *host = find_host(), *client = NULL;
	struct intent_error why;

	if (local_engine_client(&client, err))
		return err->code;
	/* TLS is the client's affair: that it can be reached is found out when it is used. */
	if (getenv("DOCKER_TLS_VERIFY") && intent_starts_with(host, "tcp://"))
		return 0;
	if (!ping(host, &why))
		return 0;
	bool there = intent_starts_with(host, "unix://") && !access(host + strlen("unix://"), F_OK);
	bool denied = there && access(host + strlen("unix://"), R_OK | W_OK);
	return intent_fail(err, INTENT_EUNAVAILABLE,
			   denied ? "you may not use the container engine at %s: join its group (docker), or use "
				    "rootless Podman" :
				    "no container engine answers at %s: start it (systemctl start docker), install "
				    "docker.io or podman, or let DOCKER_HOST say where it is", host);
}

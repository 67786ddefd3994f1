/* What a round talks to: each opened when it is first needed. */
#include "injector.h"

#define KUBE_TIMEOUT_MS 30000

struct intent_http *injector__http(struct injector *injector)
{
	const struct intent_http_settings plain = {.ca_option = "SSL_CERT_FILE"};

	if (!injector->http)
		injector->http = intent_http_new(&plain);
	return injector->http;
}

int injector__credentials(struct injector *injector, const char *region,
			  const struct intent_aws_credentials **ret_borrowed, struct intent_error *err)
{
	if (!injector->has_credentials) {
		if (intent_aws_credentials_find(injector__http(injector), region, &injector->credentials, err) < 0)
			return err->code;
		injector->has_credentials = true;
	}
	*ret_borrowed = &injector->credentials;
	return 0;
}

/* ---- Kubernetes ---- */

/* Files as kubectl takes them, "a:b"; what is not there is left out. NULL: none is. */
static int read_configs(const char *list, json_t **ret_new, struct intent_error *err)
{
	intent_json_auto json_t *whole = json_object();

	while (*list) {
		size_t length = strcspn(list, ":");
		intent_free_auto char *path = strndup(list, length), *directory = NULL;
		intent_json_auto json_t *one = NULL;

		list += length + (list[length] == ':');
		const char *slash = strrchr(path, '/');
		directory = slash ? strndup(path, (size_t)(slash - path)) : strdup(".");
		if (!*path || access(path, F_OK) < 0)
			continue;
		if (intent_yaml_read(path, &one, err) < 0)
			return err->code;
		if (intent_kube_merge(whole, one, directory, err) < 0)
			return intent_wrap(err, "%s", path);
	}
	*ret_new = json_object_size(whole) ? json_incref(whole) : NULL;
	return 0;
}

/* Where the API server is: --kubeconfig, KUBECONFIG, the pod's own account, ~/.kube/config. Owned; NULL: the pod. */
static char *which_config(const struct injector *injector)
{
	const json_t *options = intent_round_options(injector->round);
	const char *given = intent_json_string(options, "kubeconfig", getenv("KUBECONFIG"));
	const char *home = getenv("HOME");

	if (given && *given)
		return strdup(given);
	return getenv("KUBERNETES_SERVICE_HOST") || !home ? NULL : intent_format("%s/.kube/config", home);
}

int injector__kube(struct injector *injector, struct intent_kube **ret_borrowed, struct intent_error *err)
{
	intent_free_auto char *which = which_config(injector);
	intent_json_auto json_t *config = NULL;

	if (!injector->kube) {
		if (which && read_configs(which, &config, err) < 0)
			return err->code;
		if (intent_kube_open(config, intent_json_string(intent_round_options(injector->round), "context", NULL),
				     &injector->kube, err) < 0)
			return config || !which ? err->code : intent_wrap(err, "no kubeconfig %s", which);
		const json_t *options = intent_round_options(injector->round);

		intent_kube_limit(injector->kube, intent_json_integer(options, "kube-timeout", KUBE_TIMEOUT_MS));
	}
	*ret_borrowed = injector->kube;
	return 0;
}

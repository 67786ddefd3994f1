/* Where the API server is and who we are to it. */
#include <ctype.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <intent/child.h>
#include <intent/file.h>
#include "kube.h"

#define ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount/"
#define TOKEN_MAX (64u << 10)
#define EXEC_DEADLINE_MS 60000
#define TIMEOUT_MS 30000
/* What a plug-in gets of our environment, beside PATH and the like: there may be secrets in the rest. */
#define EXEC_ENVIRONMENT "HOME USER LOGNAME SHELL XDG_* AWS_* AZURE_* AAD_* ARM_* GOOGLE_* CLOUDSDK_* OCI_* KUBE*"

static void wipe(char **secret)
{
	if (*secret)
		explicit_bzero(*secret, strlen(*secret));
	free(*secret);
	*secret = NULL;
}

struct intent_kube *intent_kube_close(struct intent_kube *kube)
{
	if (!kube)
		return NULL;
	intent_http_free(kube->http);
	for (size_t i = 0; i < KUBE_FILES; i++) {
		intent__close(&kube->files[i]);
		free(kube->paths[i]);
	}
	wipe(&kube->token);
	wipe(&kube->basic);
	free(kube->server);
	free(kube->namespace);
	free(kube->token_file);
	free(kube->server_name);
	json_decref(kube->exec);
	free(kube);
	return NULL;
}

const char *intent_kube_server(const struct intent_kube *kube)
{
	return kube->server;
}

void intent_kube_limit(struct intent_kube *kube, int64_t timeout_ms)
{
	kube->timeout_ms = timeout_ms;
}

const char *intent_kube_namespace(const struct intent_kube *kube)
{
	return kube->namespace ? kube->namespace : "default";
}

/* ---- files ---- */

/* Without blanks at its end; owned. */
static char *read_word(const char *path, struct intent_error *err)
{
	char *text = NULL;
	size_t count;

	if (intent_file_read(AT_FDCWD, path, TOKEN_MAX, &text, &count, err))
		return NULL;
	while (count && isspace((unsigned char)text[count - 1]))
		text[--count] = '\0';
	return text;
}

/* libcurl takes names of files: what is inline gets one that lives in memory alone. */
static int keep_inline(struct intent_kube *kube, size_t which, const void *bytes, size_t count,
		       struct intent_error *err)
{
	int fd = memfd_create("kubeconfig", MFD_CLOEXEC);

	intent__close(&kube->files[which]);
	kube->files[which] = fd;
	free(kube->paths[which]);
	kube->paths[which] = intent_format("/proc/self/fd/%d", fd);
	if (fd < 0 || intent_write_all(fd, bytes, count))
		return intent_fail_errno(err, "kubeconfig: no file in memory for what is inline");
	return 0;
}

/* The member `name` of a kubeconfig, or its "-data" twin, as a file. */
static int take_file(struct intent_kube *kube, const json_t *from, const char *name, size_t which,
		     struct intent_error *err)
{
	intent_free_auto char *data_name = intent_format("%s-data", name);
	const char *data = intent_json_string(from, data_name, NULL);
	const char *path = intent_json_string(from, name, NULL);
	intent_text_auto struct intent_text bytes = INTENT_TEXT_INIT;

	if (data) {
		if (intent_base64_decode(&bytes, data, strlen(data), err))
			return intent_wrap(err, "kubeconfig: %s", data_name);
		int code = keep_inline(kube, which, intent_text_str(&bytes), bytes.length, err);
		if (bytes.data)
			explicit_bzero(bytes.data, bytes.length);
		return code;
	}
	if (path)
		kube->paths[which] = strdup(path);
	return 0;
}

static void connect_with(struct intent_kube *kube, bool insecure)
{
	kube->http = intent_http_free(kube->http);
	kube->settings = (struct intent_http_settings){
		.ca_file = kube->paths[0], .cert_file = kube->paths[1], .key_file = kube->paths[2],
		.server_name = kube->server_name, .insecure = insecure, .ca_option = "certificate-authority",
		.cert_option = "client-certificate", .max_connections = 2,
	};
	kube->http = intent_http_new(&kube->settings);
}

/* ---- in a cluster ---- */

static int open_in_cluster(struct intent_kube *kube, struct intent_error *err)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT_HTTPS");
	struct intent_error ignored;

	if (!port)
		port = getenv("KUBERNETES_SERVICE_PORT");
	if (!host || !*host)
		return intent_fail(err, INTENT_EABSENT,
				   "there is no Kubernetes cluster: neither KUBECONFIG, ~/.kube/config nor "
				   "KUBERNETES_SERVICE_HOST says where it is");
	/* The certificate is good for this address, not for the service's name. */
	kube->server = intent_format(strchr(host, ':') ? "https://[%s]:%s" : "https://%s:%s", host,
				     port ? port : "443");
	kube->token_file = strdup(ACCOUNT "token");
	kube->paths[0] = strdup(ACCOUNT "ca.crt");
	kube->namespace = read_word(ACCOUNT "namespace", &ignored);
	connect_with(kube, false);
	return 0;
}

/* ---- kubeconfig ---- */

/* {"name": name, member: {...}} of a list; NULL when it is not there. */
static const json_t *named(const json_t *config, const char *list, const char *name, const char *member)
{
	size_t i;
	json_t *item;

	json_array_foreach(json_object_get(config, list), i, item)
		if (!strcmp(intent_json_string(item, "name", ""), name))
			return json_object_get(item, member);
	return NULL;
}

/* A name that is relative to the directory of its kubeconfig. */
static void place_file(json_t *in, const char *name, const char *directory)
{
	const char *path = intent_json_string(in, name, NULL);

	if (path && *path && *path != '/')
		json_object_set_new(in, name, json_sprintf("%s/%s", directory, path));
}

/* An item of "clusters", "users" or "contexts" that names its files without regard to where it stands; new. */
static json_t *placed(const json_t *item, const char *directory)
{
	static const char *const files[] = {
		"certificate-authority", "client-certificate", "client-key", "tokenFile",
	};
	json_t *copy = json_deep_copy(item), *exec = json_object_get(json_object_get(copy, "user"), "exec");

	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		place_file(json_object_get(copy, "cluster"), files[i], directory);
		place_file(json_object_get(copy, "user"), files[i], directory);
	}
	/* A bare name is looked for on PATH. */
	if (strchr(intent_json_string(exec, "command", ""), '/'))
		place_file(exec, "command", directory);
	return copy;
}

int intent_kube_merge(json_t *into, const json_t *config, const char *directory, struct intent_error *err)
{
	static const char *const lists[] = {"clusters", "users", "contexts"};
	static const char *const members[] = {"cluster", "user", "context"};
	size_t index;
	json_t *item;

	if (!json_is_object(config))
		return intent_fail(err, INTENT_EMALFORMED, "kubeconfig: is no mapping");
	if (!*intent_json_string(into, "current-context", ""))
		json_object_set(into, "current-context", json_object_get(config, "current-context"));
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
		json_t *list = json_object_get(into, lists[i]);

		if (!list) {
			list = json_array();
			json_object_set_new(into, lists[i], list);
		}
		json_array_foreach(json_object_get(config, lists[i]), index, item)
			if (!named(into, lists[i], intent_json_string(item, "name", ""), members[i]))
				json_array_append_new(list, placed(item, directory));
	}
	return 0;
}

static int take_cluster(struct intent_kube *kube, const json_t *cluster, bool *ret_insecure, struct intent_error *err)
{
	const char *server = intent_json_string(cluster, "server", "");
	const char *name = intent_json_string(cluster, "tls-server-name", NULL);

	*ret_insecure = intent_json_boolean(cluster, "insecure-skip-tls-verify", false);
	if (!intent_starts_with(server, "https://") && !intent_starts_with(server, "http://"))
		return intent_fail(err, INTENT_EMALFORMED,
				   "kubeconfig: a cluster's server must be a URL, not \"%.100s\"",
				   server);
	kube->server = strndup(server, strlen(server) - intent_ends_with(server, "/"));
	kube->server_name = name ? strdup(name) : NULL;
	return take_file(kube, cluster, "certificate-authority", 0, err);
}

static int take_user(struct intent_kube *kube, const json_t *user, struct intent_error *err)
{
	const char *token = intent_json_string(user, "token", NULL);
	const char *file = intent_json_string(user, "tokenFile", NULL);
	const char *name = intent_json_string(user, "username", NULL);

	if (take_file(kube, user, "client-certificate", 1, err) || take_file(kube, user, "client-key", 2, err))
		return err->code;
	if (json_object_get(user, "auth-provider"))
		return intent_fail(err, INTENT_EREFUSED,
				   "kubeconfig: auth-provider is not supported any more, by kubectl neither; use exec");
	if (file)
		kube->token_file = strdup(file);
	else if (token)
		kube->token = strdup(token);
	else if (name)
		kube->basic = intent_format("%s:%s", name, intent_json_string(user, "password", ""));
	kube->exec = json_incref(json_object_get(user, "exec"));
	return 0;
}

static int open_config(struct intent_kube *kube, const json_t *config, const char *wanted, struct intent_error *err)
{
	const char *name = wanted ? wanted : intent_json_string(config, "current-context", "");
	const json_t *context = named(config, "contexts", name, "context");
	const char *cluster_name = intent_json_string(context, "cluster", "");
	const char *user_name = intent_json_string(context, "user", "");
	const char *space = intent_json_string(context, "namespace", NULL);
	const json_t *cluster, *user;
	bool insecure;

	if (!context)
		return intent_fail(err, INTENT_EREFUSED, "kubeconfig: there is no context \"%.100s\"%s", name,
				   *name ? "" : " (it names no current-context)");
	cluster = named(config, "clusters", cluster_name, "cluster");
	user = named(config, "users", user_name, "user");
	if (!cluster || (*user_name && !user))
		return intent_fail(err, INTENT_EREFUSED,
				   "kubeconfig: context %.100s names the %s %.100s, which is not there",
				   name, cluster ? "user" : "cluster", cluster ? user_name : cluster_name);
	kube->namespace = space ? strdup(space) : NULL;
	if (take_cluster(kube, cluster, &insecure, err) || take_user(kube, user, err))
		return err->code;
	connect_with(kube, insecure);
	return 0;
}

int intent_kube_open(const json_t *config, const char *context, struct intent_kube **ret_owned,
		     struct intent_error *err)
{
	struct intent_kube *kube = calloc(1, sizeof(*kube));
	int code;

	for (size_t i = 0; i < KUBE_FILES; i++)
		kube->files[i] = -1;
	kube->timeout_ms = TIMEOUT_MS;
	code = config ? open_config(kube, config, context, err) : open_in_cluster(kube, err);
	if (code)
		intent_kube_close(kube);
	else
		*ret_owned = kube;
	return code;
}

/* ---- who we are ---- */

/* The plug-in's own variables and KUBERNETES_EXEC_INFO: an owned array, its items borrowed from `made`. */
static const char **own_variables(const struct intent_kube *kube, json_t *made)
{
	const char **own;
	size_t i;
	json_t *item;

	json_array_foreach(json_object_get(kube->exec, "env"), i, item)
		json_array_append_new(made, json_sprintf("%s=%s", intent_json_string(item, "name", ""),
							 intent_json_string(item, "value", "")));
	json_array_append_new(made,
			      json_sprintf("KUBERNETES_EXEC_INFO={\"apiVersion\":\"%s\",\"kind\":\"ExecCredential\","
						 "\"spec\":{\"interactive\":false}}",
						 intent_json_string(kube->exec, "apiVersion",
								    "client.authentication.k8s.io/v1")));
	own = calloc(json_array_size(made) + 1, sizeof(*own));
	json_array_foreach(made, i, item)
		own[i] = json_string_value(item);
	return own;
}

static int run_plugin(struct intent_kube *kube, struct intent_text *ret, struct intent_error *err)
{
	const char *argv[66] = {intent_json_string(kube->exec, "command", "")};
	intent_json_auto json_t *made = json_array();
	const char **own = own_variables(kube, made);
	char **env = intent_child_environment(EXEC_ENVIRONMENT, own);
	struct intent_child_result result = {0};
	size_t count = 1, i;
	json_t *item;

	free(own);
	json_array_foreach(json_object_get(kube->exec, "args"), i, item)
		if (json_is_string(item) && count < 65)
			argv[count++] = json_string_value(item);
	struct intent_child_options options = {
		.argv = argv, .env = (const char *const *)env, .deadline_ms = EXEC_DEADLINE_MS,
		.output_max = TOKEN_MAX,
	};
	int code = intent_child_run(&options, &result, err);
	if (!code && result.status)
		code = intent_fail(err, INTENT_ECHILD, "it failed: %.200s", intent_text_str(&result.err));
	if (!code)
		intent_text_add(ret, intent_text_str(&result.out), result.out.length);
	intent_child_result_release(&result);
	intent_child_environment_free(env);
	return code ? intent_wrap(err, "kubeconfig: exec plug-in %.100s", argv[0]) : 0;
}

/* ExecCredential's status: a token, or a client certificate. */
static int ask_plugin(struct intent_kube *kube, struct intent_error *err)
{
	intent_text_auto struct intent_text said = INTENT_TEXT_INIT;
	intent_json_auto json_t *json = NULL;
	const json_t *status;

	if (run_plugin(kube, &said, err))
		return err->code;
	if (intent_json_parse(intent_text_str(&said), said.length, TOKEN_MAX, &json, err))
		return intent_fail(err, INTENT_EMALFORMED, "kubeconfig: exec plug-in %.100s: what it says is no JSON",
				   intent_json_string(kube->exec, "command", ""));
	status = json_object_get(json, "status");
	const char *token = intent_json_string(status, "token", NULL);
	const char *certificate = intent_json_string(status, "clientCertificateData", NULL);
	const char *key = intent_json_string(status, "clientKeyData", NULL);
	if (!token && !(certificate && key))
		return intent_fail(err, INTENT_EMALFORMED, "kubeconfig: exec plug-in %.100s: gave no credentials",
				   intent_json_string(kube->exec, "command", ""));
	wipe(&kube->token);
	kube->token = token ? strdup(token) : NULL;
	if (!certificate || !key)
		return 0;
	if (keep_inline(kube, 1, certificate, strlen(certificate), err) ||
	    keep_inline(kube, 2, key, strlen(key), err))
		return err->code;
	connect_with(kube, kube->settings.insecure);
	return 0;
}

char *intent__kube_authorization(struct intent_kube *kube, bool again, struct intent_error *err)
{
	intent_text_auto struct intent_text encoded = INTENT_TEXT_INIT;
	char *header = NULL, *token = NULL;

	err->code = 0;
	if (kube->exec && (again || (!kube->token && kube->files[1] < 0)) && ask_plugin(kube, err))
		return NULL;
	if (kube->token_file && !(token = read_word(kube->token_file, err))) {
		intent_wrap(err, "Kubernetes token");
		return NULL;
	}
	if (token || kube->token) {
		header = intent_format("Authorization: Bearer %s", token ? token : kube->token);
	} else if (kube->basic) {
		intent_base64_encode(&encoded, kube->basic, strlen(kube->basic));
		header = intent_format("Authorization: Basic %s", intent_text_str(&encoded));
	}
	wipe(&token);
	return header;
}

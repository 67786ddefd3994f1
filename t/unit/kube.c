/* The Kubernetes client against what a real API server answered, and against scripted faults. */
#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <intent/file.h>
#include <intent/kube.h>

/* ---- a server that gives its answers in order ---- */

static int listener;
static char server[64], directory[] = "/tmp/kube-test-XXXXXX";
static const char *answers[8];   /* a recording's name, or a whole answer; the last one stays */
static char requests[8][4096];
static int asked;

static char *recorded(const char *name)
{
	intent_free_auto char *path = intent_format("test-data/recordings/kubernetes/%s.http", name), *text = NULL;
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	struct intent_error err;
	const char *status, *body;
	size_t count;

	ck_assert_msg(!intent_file_read(AT_FDCWD, path, 1 << 20, &text, &count, &err), "%s", err.msg);
	status = strstr(text, "# response\n") + strlen("# response\n");
	body = strstr(status, "\n\n") + 2;
	intent_text_printf(&out, "%.*s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
			   (int)strcspn(status, "\n"), status, strlen(body), body);
	return intent_text_steal(&out);
}

static void *serve(void *unused)
{
	int fd;

	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		int turn = asked < 8 ? asked : 7;
		char *request = requests[turn];
		const char *body, *size, *what = NULL;
		size_t length = 0;

		request[0] = '\0';
		while (!(body = strstr(request, "\r\n\r\n")) ||
		       ((size = strstr(request, "Content-Length: ")) && strlen(body + 4) < strtoul(size + 16, NULL, 10))) {
			ssize_t got = recv(fd, request + length, sizeof(requests[0]) - length - 1, 0);

			if (got <= 0)
				break;
			length += (size_t)got;
			request[length] = '\0';
		}
		for (int i = 0; i <= turn && answers[i]; i++)
			what = answers[i];
		asked++;
		intent_free_auto char *text = intent_starts_with(what, "HTTP/") ? strdup(what) : recorded(what);
		(void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
		close(fd);
	}
	return unused;
}

static void put_file(const char *name, const char *text, mode_t mode)
{
	intent_free_auto char *path = intent_format("%s/%s", directory, name);
	struct intent_error err;

	ck_assert(!intent_file_write(path, text, strlen(text), mode, &err));
}

static void start(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(at);
	pthread_t thread;

	listener = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert(!bind(listener, (struct sockaddr *)&at, size) && !listen(listener, 16));
	ck_assert(!getsockname(listener, (struct sockaddr *)&at, &size));
	snprintf(server, sizeof(server), "http://127.0.0.1:%d", ntohs(at.sin_port));
	ck_assert_ptr_nonnull(mkdtemp(directory));
	ck_assert(!pthread_create(&thread, NULL, serve, NULL));
}

static void stop(void)
{
	struct intent_error err;

	intent_tree_remove(directory, &err);
}

/* A kubeconfig whose user is this object. */
static json_t *config_of(const char *user)
{
	struct intent_error err;
	json_t *parsed = NULL;

	ck_assert_msg(!intent_json_parse(user, strlen(user), 0, &parsed, &err), "%s", err.msg);
	return json_pack("{ss s[{ss s{ss}}] s[{ss so}] s[{ss s{ss ss ss}}]}", "current-context", "here",
			 "clusters", "name", "c", "cluster", "server", server,
			 "users", "name", "u", "user", parsed,
			 "contexts", "name", "here", "context", "cluster", "c", "user", "u", "namespace", "default");
}

static struct intent_kube *open_as(const char *user)
{
	intent_json_auto json_t *config = config_of(user), *placed = json_object();
	struct intent_kube *kube = NULL;
	struct intent_error err;

	ck_assert_msg(!intent_kube_merge(placed, config, directory, &err), "%s", err.msg);
	ck_assert_msg(!intent_kube_open(placed, NULL, &kube, &err), "%s", err.msg);
	ck_assert_str_eq(intent_kube_server(kube), server);
	ck_assert_str_eq(intent_kube_namespace(kube), "default");
	return kube;
}

static json_t *config_map(const char *value)
{
	return json_pack("{ss ss s{ss ss} s{ss}}", "apiVersion", "v1", "kind", "ConfigMap", "metadata", "name", "db-env",
			 "namespace", "default", "data", "HOST", value);
}

/* ---- answers ---- */

static const struct {
	const char *answer;
	int code;
	const char *says, *never_says;
	int64_t again_ms;
} applies[] = {
	{"04-apply-create", 0, NULL, NULL, -1},
	{"05-apply-same", 0, NULL, NULL, -1},
	{"07-apply-other-manager-conflict", INTENT_ECONFLICT, "conflict with \"pp-configmap-injector\"", "canary", -1},
	{"22-apply-over-foreign", INTENT_ECONFLICT, "field .data.a", "canary", -1},
	{"14-forbidden-apply", INTENT_EREFUSED, "cannot patch resource", "canary", -1},
	{"15-namespace-missing", INTENT_EABSENT, "namespaces \"nope\" not found", "canary", -1},
	{"16-invalid-key", INTENT_EREFUSED, "422 Invalid", "regex", -1},
	{"12-unauthorized", INTENT_EREFUSED, "401 Unauthorized", "canary", -1},
	{"HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", INTENT_EUNAVAILABLE,
	 "patience", "canary", 7000},
	{"HTTP/1.1 503 No\r\nRetry-After: soon\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", INTENT_EUNAVAILABLE, "503",
	 "canary", -1},
	{"HTTP/1.1 422 No\r\nContent-Length: 45\r\nConnection: close\r\n\r\n{\"reason\":\"Invalid\",\"message\":\"the canary!\"}  ",
	 INTENT_EREFUSED, "Invalid", "canary", -1},
	{"HTTP/1.1 200 OK\r\nContent-Length: 500\r\nConnection: close\r\n\r\n{\"cut", INTENT_EUNAVAILABLE, "db-env", "canary", -1},
	{"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\ncanary", INTENT_EUNAVAILABLE, "no JSON", "canary", -1},
};

START_TEST(test_apply)
{
	struct intent_kube *kube = open_as("{\"token\": \"secret-token\"}");
	intent_json_auto json_t *object = config_map("canary"), *now = NULL;
	struct intent_error err = {0};
	int64_t again = -1;

	answers[0] = applies[_i].answer;
	int code = intent_kube_apply(kube, object, "pp-configmap-injector", &now, &again, &err);
	ck_assert_msg(code == applies[_i].code, "%d %s", code, err.msg);
	ck_assert_int_eq(again, applies[_i].again_ms);
	ck_assert(!now == !!code);
	if (code) {
		ck_assert_msg(strstr(err.msg, applies[_i].says) != NULL, "%s", err.msg);
		ck_assert_msg(!strstr(err.msg, applies[_i].never_says), "%s", err.msg);
		ck_assert(!strstr(err.msg, "secret-token"));
	}
	ck_assert_msg(intent_starts_with(requests[0], "PATCH /api/v1/namespaces/default/configmaps/db-env?fieldManager="
					 "pp-configmap-injector&fieldValidation=Strict HTTP/1.1\r\n"), "%s", requests[0]);
	ck_assert_ptr_nonnull(strstr(requests[0], "\r\nContent-Type: application/apply-patch+yaml\r\n"));
	ck_assert_ptr_nonnull(strstr(requests[0], "\r\nAuthorization: Bearer secret-token\r\n"));
	ck_assert_ptr_null(strstr(requests[0], "force"));
	/* Only a refused token is tried once more. */
	ck_assert_int_eq(asked, strstr(applies[_i].answer, "unauthorized") ? 2 : 1);
	ck_assert_ptr_null(intent_kube_close(kube));
}
END_TEST

START_TEST(test_get_and_delete)
{
	struct intent_kube *kube = open_as("{\"username\": \"anna\", \"password\": \"p\"}");
	intent_json_auto json_t *now = NULL;
	struct intent_error err;

	answers[0] = "08-get";
	answers[1] = "03-get-missing";
	answers[2] = "20-delete";
	answers[3] = "03-get-missing";
	ck_assert_msg(!intent_kube_get(kube, "ConfigMap", "default", "db-env", &now, NULL, &err), "%s", err.msg);
	ck_assert_str_eq(intent_json_string(json_object_get(now, "data"), "HOST", ""), "db2.example.org");
	ck_assert_ptr_nonnull(strstr(requests[0], "Authorization: Basic YW5uYTpw\r\n"));
	json_decref(now);
	now = NULL;
	ck_assert_int_eq(intent_kube_get(kube, "Secret", "default", "db", &now, NULL, &err), INTENT_EABSENT);
	ck_assert_int_eq(intent_kube_delete(kube, "ConfigMap", "default", "db-env", "uid-1", NULL, &err), 0);
	ck_assert_ptr_nonnull(strstr(requests[2], "\"preconditions\":{\"uid\":\"uid-1\"}"));
	ck_assert_int_eq(intent_kube_delete(kube, "EndpointSlice", "default", "db", "uid-1", NULL, &err), 0);
	ck_assert(intent_starts_with(requests[3], "DELETE /apis/discovery.k8s.io/v1/namespaces/default/endpointslices/db "));
	ck_assert_int_eq(intent_kube_get(kube, "Pod", "default", "p", &now, NULL, &err), INTENT_EUSAGE);
	intent_kube_close(kube);
}
END_TEST

/* ---- who we are ---- */

START_TEST(test_token_is_renewed)
{
	struct intent_kube *kube = open_as("{\"tokenFile\": \"token\"}");
	intent_json_auto json_t *now = NULL;
	struct intent_error err;

	ck_assert_int_eq(intent_kube_get(kube, "ConfigMap", "default", "db-env", &now, NULL, &err), INTENT_EABSENT);
	ck_assert_msg(strstr(err.msg, "token") != NULL && !asked, "%s", err.msg);
	put_file("token", "one\n", 0600);
	answers[0] = "08-get";
	ck_assert_int_eq(intent_kube_get(kube, "ConfigMap", "default", "db-env", &now, NULL, &err), 0);
	put_file("token", "two\n", 0600);
	json_decref(now);
	now = NULL;
	ck_assert_int_eq(intent_kube_get(kube, "ConfigMap", "default", "db-env", &now, NULL, &err), 0);
	ck_assert_ptr_nonnull(strstr(requests[0], "Bearer one\r\n"));
	ck_assert_ptr_nonnull(strstr(requests[1], "Bearer two\r\n"));
	intent_kube_close(kube);
}
END_TEST

START_TEST(test_plugin)
{
	struct intent_kube *kube = open_as("{\"exec\": {\"apiVersion\": \"client.authentication.k8s.io/v1\", "
					   "\"command\": \"./plugin\", \"args\": [\"tok\"], \"env\": [{\"name\": \"N\", "
					   "\"value\": \"7\"}]}}");
	intent_json_auto json_t *now = NULL;
	struct intent_error err;

	put_file("plugin", "#!/bin/sh\ncd \"${0%/*}\" && echo called >>calls\ncase $KUBERNETES_EXEC_INFO in *ExecCredential*) ;; *) exit 1;; esac\n"
		 "echo \"{\\\"status\\\": {\\\"token\\\": \\\"$1$N-$(wc -l <calls)\\\"}}\"\n", 0700);
	answers[0] = "08-get";
	answers[1] = "12-unauthorized";
	answers[2] = "08-get";
	ck_assert_msg(!intent_kube_get(kube, "ConfigMap", "default", "db-env", &now, NULL, &err), "%s", err.msg);
	json_decref(now);
	now = NULL;
	/* Asked again only when what it gave is refused. */
	ck_assert_msg(!intent_kube_get(kube, "ConfigMap", "default", "db-env", &now, NULL, &err), "%s", err.msg);
	ck_assert_ptr_nonnull(strstr(requests[0], "Bearer tok7-1\r\n"));
	ck_assert_ptr_nonnull(strstr(requests[1], "Bearer tok7-1\r\n"));
	ck_assert_ptr_nonnull(strstr(requests[2], "Bearer tok7-2\r\n"));
	put_file("plugin", "#!/bin/sh\necho no luck >&2\nexit 3\n", 0700);
	answers[3] = "12-unauthorized";
	ck_assert_int_eq(intent_kube_get(kube, "ConfigMap", "default", "db-env", &now, NULL, &err), INTENT_ECHILD);
	ck_assert_msg(strstr(err.msg, "no luck") != NULL, "%s", err.msg);
	intent_kube_close(kube);
}
END_TEST

START_TEST(test_config)
{
	static const struct { const char *text, *says; } bad[] = {
		{"{}", "current-context"},
		{"{\"current-context\": \"a\"}", "no context \"a\""},
		{"{\"current-context\": \"a\", \"contexts\": [{\"name\": \"a\", \"context\": {\"cluster\": \"b\"}}]}", "cluster b"},
		{"{\"current-context\": \"a\", \"contexts\": [{\"name\": \"a\", \"context\": {\"cluster\": \"b\"}}], "
		 "\"clusters\": [{\"name\": \"b\", \"cluster\": {\"server\": \"kube:6443\"}}]}", "must be a URL"},
		{"{\"current-context\": \"a\", \"contexts\": [{\"name\": \"a\", \"context\": {\"cluster\": \"b\"}}], "
		 "\"clusters\": [{\"name\": \"b\", \"cluster\": {\"server\": \"https://k\", \"certificate-authority-data\": "
		 "\"!\"}}]}", "certificate-authority-data"},
	};
	intent_json_auto json_t *into = json_object(), *first = config_of("{}"), *second = config_of("{\"token\": \"t\"}");
	struct intent_kube *kube;
	struct intent_error err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		intent_json_auto json_t *config = NULL;

		ck_assert(!intent_json_parse(bad[i].text, strlen(bad[i].text), 0, &config, &err));
		ck_assert_int_ne(intent_kube_open(config, NULL, &kube, &err), 0);
		ck_assert_msg(strstr(err.msg, bad[i].says) != NULL, "%s", err.msg);
	}
	unsetenv("KUBERNETES_SERVICE_HOST");
	ck_assert_int_eq(intent_kube_open(NULL, NULL, &kube, &err), INTENT_EABSENT);
	json_object_set_new(second, "current-context", json_string("there"));
	ck_assert(!intent_kube_merge(into, first, "/a", &err) && !intent_kube_merge(into, second, "/b", &err));
	ck_assert_str_eq(intent_json_string(into, "current-context", ""), "here");
	ck_assert_uint_eq(json_array_size(json_object_get(into, "users")), 1);
	ck_assert_ptr_null(intent_json_at(into, "/users/0/user/token"));
}
END_TEST

/* What two kubeconfigs call by the same relative name is two files. */
START_TEST(test_files_of_each)
{
	static const char *const names[] = {
		"/clusters/0/cluster/certificate-authority", "/users/0/user/client-certificate",
		"/users/0/user/client-key", "/users/0/user/tokenFile", "/users/0/user/exec/command",
		"/users/1/user/client-certificate", "/users/1/user/client-key", "/users/1/user/exec/command",
	};
	static const char *const are[] = {
		"/a/ca.pem", "/a/x.pem", "/abs/x.key", "/a/token", "/a/./plugin",
		"/b/x.pem", "/b/x.key", "plugin",
	};
	intent_json_auto json_t *into = json_object();
	intent_json_auto json_t *first = config_of("{\"client-certificate\": \"x.pem\", \"client-key\": \"/abs/x.key\", "
						   "\"tokenFile\": \"token\", \"exec\": {\"command\": \"./plugin\"}}");
	intent_json_auto json_t *second = config_of("{\"client-certificate\": \"x.pem\", \"client-key\": \"x.key\", "
						    "\"exec\": {\"command\": \"plugin\"}}");
	struct intent_error err;

	json_object_set_new(intent_json_at(first, "/clusters/0/cluster"), "certificate-authority", json_string("ca.pem"));
	json_object_set_new(intent_json_at(second, "/users/0"), "name", json_string("v"));
	ck_assert(!intent_kube_merge(into, first, "/a", &err) && !intent_kube_merge(into, second, "/b", &err));
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		ck_assert_str_eq(json_string_value(intent_json_at(into, names[i])), are[i]);
	ck_assert_str_eq(json_string_value(intent_json_at(first, "/users/0/user/tokenFile")), "token");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kube");
	TCase *tc = tcase_create("kube");
	SRunner *runner;

	tcase_add_checked_fixture(tc, start, stop);
	tcase_add_loop_test(tc, test_apply, 0, sizeof(applies) / sizeof(*applies));
	tcase_add_test(tc, test_get_and_delete);
	tcase_add_test(tc, test_token_is_renewed);
	tcase_add_test(tc, test_plugin);
	tcase_add_test(tc, test_config);
	tcase_add_test(tc, test_files_of_each);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}

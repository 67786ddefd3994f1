/*
 * kubeserver RECORDINGS TOKEN-FILE LOG: as much of a Kubernetes API server as keeping single objects meets, in memory, on
 * 127.0.0.1; prints its port. Server-side apply with field ownership as the recorded answers show it, validation of
 * names and keys, 401 for any bearer but the present content of TOKEN-FILE, 404 for namespaces but "default" and
 * "prod". Each request is a line "METHOD PATH STATUS" in LOG; "cut" and "hang" stand where no answer was given.
 *
 * Of the test, no token needed:
 *	PUT /test/fault "TIMES ANSWER MATCH"   the next TIMES requests whose "METHOD PATH" holds MATCH are answered by
 *	                                       ANSWER: a recording's name, "cut", "hang", "503", "429:SECONDS"
 *	GET /test/objects[POINTER]             all objects, {"secrets/prod/db": {...}}, or what a JSON pointer names there
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <intent/file.h>
#include <intent/json.h>

enum { ROOM = 4 << 20, HANG_S = 60 };

static const char *recordings, *token_file;
static int log_fd;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static json_t *objects;
static int version = 100, faults_left;
static char fault_answer[64], fault_match[256];

struct request {
	char *text;         /* all of it, owned */
	char method[8], path[1024], query[1024];
	const char *body;   /* in text */
	char plural[32], namespace[256], name[256];
};

struct answer { int status; const char *reason; json_t *body; };

/* ---- the wire ---- */

static bool read_request(int fd, struct request *ret)
{
	const char *end = NULL, *size;
	size_t used = 0, body = 0;
	ssize_t count;
	char target[2048];

	ret->text = malloc(ROOM);
	ret->text[0] = '\0';
	while (!(end = strstr(ret->text, "\r\n\r\n")) || used - (size_t)(end + 4 - ret->text) < body) {
		if ((count = read(fd, ret->text + used, ROOM - used - 1)) <= 0)
			return false;
		used += (size_t)count;
		ret->text[used] = '\0';
		size = strcasestr(ret->text, "\r\nContent-Length:");
		body = size ? strtoul(size + 17, NULL, 10) : 0;
	}
	ret->body = end + 4;
	if (sscanf(ret->text, "%7s %2047s", ret->method, target) != 2)
		return false;
	snprintf(ret->path, sizeof(ret->path), "%.*s", (int)strcspn(target, "?"), target);
	snprintf(ret->query, sizeof(ret->query), "%s", target + strcspn(target, "?"));
	if (sscanf(ret->path, "/api/v1/namespaces/%255[^/]/%31[^/]/%255s", ret->namespace, ret->plural, ret->name) < 2)
		sscanf(ret->path, "/apis/discovery.k8s.io/v1/namespaces/%255[^/]/%31[^/]/%255s", ret->namespace,
		       ret->plural, ret->name);
	return true;
}

static void note(const struct request *request, const char *outcome)
{
	dprintf(log_fd, "%s %s %s\n", request->method, request->path, outcome);
}

static void send_answer(int fd, const char *head, const char *body)
{
	intent_free_auto char *text = intent_format("%s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
						    head, strlen(body), body);

	intent_write_all(fd, text, strlen(text));
}

/* The answer as it was recorded. */
static void replay(int fd, const struct request *request, const char *name)
{
	intent_free_auto char *path = intent_format("%s/%s.http", recordings, name), *text = NULL;
	struct intent_error err;
	char code[4];
	size_t count;

	if (intent_file_read(AT_FDCWD, path, 1 << 20, &text, &count, &err)) {
		fprintf(stderr, "kubeserver: %s\n", err.msg);
		exit(1);
	}
	char *status = strstr(text, "# response\n") + strlen("# response\n"), *body = strstr(status, "\n\n") + 2;
	status[strcspn(status, "\n")] = '\0';
	snprintf(code, sizeof(code), "%.3s", status + strlen("HTTP/1.1 "));
	/* First: who has the answer may count. */
	note(request, code);
	send_answer(fd, status, body);
}

/* Is this request one to be hurt? Then it is answered, or cut; false: not hurt. `*ret_end`: close the connection. */
static bool hurt(int fd, const struct request *request, bool *ret_end)
{
	intent_free_auto char *line = intent_format("%s %s", request->method, request->path);
	char answer[64], head[128];

	pthread_mutex_lock(&lock);
	bool meant = faults_left > 0 && strstr(line, fault_match);
	faults_left -= meant;
	snprintf(answer, sizeof(answer), "%s", fault_answer);
	pthread_mutex_unlock(&lock);
	if (!meant)
		return false;
	*ret_end = !strcmp(answer, "cut") || !strcmp(answer, "hang");
	if (*ret_end)
		note(request, answer);
	if (!strcmp(answer, "hang"))
		sleep(HANG_S);
	if (*ret_end)
		return true;
	if (strspn(answer, "0123456789:") < strlen(answer)) {
		replay(fd, request, answer);
		return true;
	}
	bool patient = strchr(answer, ':') != NULL;
	snprintf(head, sizeof(head), "HTTP/1.1 %.3s Trouble%s%s", answer, patient ? "\r\nRetry-After: " : "",
		 patient ? strchr(answer, ':') + 1 : "");
	answer[3] = '\0';
	note(request, answer);
	send_answer(fd, head, "{\"kind\":\"Status\",\"message\":\"trouble\"}");
	return true;
}

/* ---- who owns which field ---- */

/* {"f:data": {"f:HOST": {}}} of {"data": {"HOST": "x"}}; new. Lists are one field. */
static json_t *fields_of(const json_t *value)
{
	json_t *fields = json_object(), *item;
	const char *name;

	json_object_foreach((json_t *)(uintptr_t)value, name, item) {
		intent_free_auto char *field = intent_format("f:%s", name);

		json_object_set_new(fields, field, fields_of(item));
	}
	return fields;
}

/* What of an object is anybody's field; new. */
static json_t *content_of(const json_t *object)
{
	static const char *const fixed[] = {"name", "namespace", "uid", "resourceVersion", "creationTimestamp",
					    "managedFields"};
	json_t *content = json_deep_copy(object), *metadata = json_object_get(content, "metadata");

	json_object_del(content, "apiVersion");
	json_object_del(content, "kind");
	for (size_t i = 0; i < sizeof(fixed) / sizeof(*fixed); i++)
		json_object_del(metadata, fixed[i]);
	if (metadata && !json_object_size(metadata))
		json_object_del(content, "metadata");
	return content;
}

/* Fields of `wanted` with another value than the present one, owned by `manager`: appended to causes. */
static void find_conflicts(const json_t *theirs, const json_t *present, const json_t *wanted, const char *path,
			   const json_t *entry, json_t *causes)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)wanted, name, value) {
		intent_free_auto char *field = intent_format("f:%s", name), *below = intent_format("%s.%s", path, name);
		const json_t *set = json_object_get(theirs, field), *is = json_object_get(present, name);

		if (!set)
			continue;
		if (json_is_object(value) && json_object_size(set))
			find_conflicts(set, is, value, below, entry, causes);
		else if (is && !json_equal(is, value))
			json_array_append_new(causes, json_pack("{ss so ss}", "reason", "FieldManagerConflict",
								"message",
				json_sprintf("conflict with \"%s\"%s", intent_json_string(entry, "manager", ""),
					     strcmp(intent_json_string(entry, "operation", ""),
						    "Update") ? "" : " using v1"),
				"field", below));
	}
}

static bool anyone_owns(const json_t *sets, const char *field)
{
	size_t i;
	json_t *set;

	json_array_foreach((json_t *)(uintptr_t)sets, i, set)
		if (json_object_get(set, field))
			return true;
	return false;
}

/* What of these sets lies below a field; new. */
static json_t *below_of(const json_t *sets, const char *field)
{
	json_t *below = json_array(), *set;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)sets, i, set)
		if (json_object_get(set, field))
			json_array_append(below, json_object_get(set, field));
	return below;
}

/* Fields of `had` that are in no other set leave the object. */
static void drop_fields(json_t *object, const json_t *had, const json_t *kept)
{
	const char *field;
	json_t *set;

	json_object_foreach((json_t *)(uintptr_t)had, field, set) {
		if (!json_object_size(set)) {
			if (!anyone_owns(kept, field))
				json_object_del(object, field + 2);
			continue;
		}
		intent_json_auto json_t *below = below_of(kept, field);
		json_t *inner = json_object_get(object, field + 2);

		drop_fields(inner, set, below);
		if (inner && !json_object_size(inner) && !anyone_owns(kept, field))
			json_object_del(object, field + 2);
	}
}

/* Takes fields out of a set. */
static void take_fields(json_t *set, const json_t *taken)
{
	const char *field;
	json_t *below;

	json_object_foreach((json_t *)(uintptr_t)taken, field, below) {
		json_t *mine = json_object_get(set, field);

		if (!mine)
			continue;
		take_fields(mine, below);
		if (!json_object_size(mine))
			json_object_del(set, field);
	}
}

static void merge(json_t *into, const json_t *from)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)from, name, value) {
		json_t *is = json_object_get(into, name);

		if (json_is_object(value) && json_is_object(is)) {
			merge(is, value);
		} else {
			json_object_set_new(into, name, json_deep_copy(value));
		}
	}
}

/* The entry of a manager in managedFields, made when missing and `make`. */
static json_t *entry_of(json_t *object, const char *manager, const char *operation, bool make)
{
	json_t *list = json_object_get(json_object_get(object, "metadata"), "managedFields"), *entry;
	size_t i;

	json_array_foreach(list, i, entry)
		if (!strcmp(intent_json_string(entry, "manager", ""), manager) &&
		    !strcmp(intent_json_string(entry, "operation", ""), operation))
			return entry;
	if (!make)
		return NULL;
	if (!list) {
		list = json_array();
		json_object_set_new(json_object_get(object, "metadata"), "managedFields", list);
	}
	entry = json_pack("{ss ss ss ss so}", "manager", manager, "operation", operation, "apiVersion", "v1",
			  "fieldsType", "FieldsV1", "fieldsV1", json_object());
	json_array_append_new(list, entry);
	return entry;
}

/* ---- answers ---- */

static struct answer status_of(int code, const char *reason, const char *message, json_t *causes)
{
	intent_json_auto json_t *list = causes;

	return (struct answer){code, reason, json_pack("{ss ss s{} ss ss si s{sO*}}", "kind", "Status", "apiVersion",
						       "v1",
		"metadata", "status", code < 300 ? "Success" : "Failure", "message", message, "code", code,
		"details", "causes", list)};
}

static struct answer refuse(int code, const char *reason, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static struct answer refuse(int code, const char *reason, const char *format, ...)
{
	char message[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	struct answer answer = status_of(code, reason, message, NULL);
	json_object_set_new(answer.body, "reason", json_string(reason));
	return answer;
}

static bool is_name(const char *name)
{
	for (const char *p = name; *p; p++)
		if (!islower((unsigned char)*p) && !isdigit((unsigned char)*p) && *p != '-' && *p != '.')
			return false;
	return isalnum((unsigned char)*name);
}

static const char *fault_of_data(const json_t *object, bool encoded)
{
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT;
	struct intent_error err;
	const char *name;
	json_t *value;
	size_t size = 0;

	json_object_foreach(json_object_get(object, "data"), name, value) {
		for (const char *p = name; *p; p++)
			if (!isalnum((unsigned char)*p) && !strchr("-._", *p))
				return "a valid config key must consist of alphanumeric characters";
		if (!json_is_string(value))
			return "data must be strings";
		intent_text_clear(&text);
		if (encoded && intent_base64_decode(&text, json_string_value(value), json_string_length(value), &err))
			return "illegal base64 data";
		size += encoded ? text.length : json_string_length(value);
	}
	return size > 1 << 20 ? "Too long: must have at most 1048576 bytes" : NULL;
}

/* clusterIPs is the server's to keep beside clusterIP: whoever clears or changes only that means both. */
static void settle_addresses(const json_t *before, json_t *spec, const char *type)
{
	const json_t *were = json_object_get(before, "clusterIPs"), *are = json_object_get(spec, "clusterIPs");
	const char *one = intent_json_string(spec, "clusterIP", NULL);
	bool same = were == are || json_equal(were, are);

	if (!one && !strcmp(type, "ExternalName") && same)
		json_object_del(spec, "clusterIPs");
	else if (one && same)
		json_object_set_new(spec, "clusterIPs", json_pack("[s]", one));
}

static const char *fault_of_service(const json_t *before, json_t *object)
{
	json_t *spec = json_object_get(object, "spec");
	const char *type = intent_json_string(spec, "type", "ClusterIP"), *name, *c;

	settle_addresses(json_object_get(before, "spec"), spec, type);
	if (before && strcmp(type, "ExternalName") &&
	    strcmp(intent_json_string(json_object_get(before, "spec"), "type", ""), "ExternalName") &&
	    !json_equal(json_object_get(json_object_get(before, "spec"), "clusterIPs"), json_object_get(spec, "clusterIPs")))
		return "spec.clusterIPs[0]: may not change once set";
	if (!strcmp(type, "ExternalName") && json_object_get(spec, "clusterIPs"))
		return "spec.clusterIPs: may not be set when type is ExternalName";
	name = intent_json_string(spec, "externalName", "");
	if (!strcmp(type, "ExternalName") != !!*name)
		return "spec.externalName: goes with type ExternalName";
	for (c = name; *c && (isdigit((unsigned char)*c) || *c == '.'); c++)
		;
	if (*name && !*c)
		return "spec.externalName: must not be an address";
	if (strcmp(type, "ExternalName") && strcmp(intent_json_string(spec, "clusterIP", ""), "None") &&
	    !json_array_size(json_object_get(spec, "ports")))
		return "spec.ports: Required value";
	if (spec)
		json_object_set_new(spec, "type", json_string(type));
	return spec ? NULL : "spec: Required value";
}

static const char *fault_of(const struct request *request, const json_t *before, json_t *object)
{
	static const char *const known[] = {"apiVersion", "kind", "metadata", "data", "type", "spec", "addressType",
					    "endpoints", "ports"};
	const char *name;
	json_t *value;

	json_object_foreach(object, name, value) {
		size_t i = 0;

		while (i < sizeof(known) / sizeof(*known) && strcmp(known[i], name))
			i++;
		if (i == sizeof(known) / sizeof(*known))
			return "unknown field";
	}
	if (!is_name(request->name))
		return "metadata.name: a lowercase RFC 1123 subdomain";
	if (!strcmp(request->plural, "services"))
		return fault_of_service(before, object);
	if (!strcmp(request->plural, "endpointslices"))
		return json_array_size(json_object_get(object, "endpoints")) &&
			json_is_string(json_object_get(object, "addressType")) ? NULL : "endpoints: Required value";
	return fault_of_data(object, !strcmp(request->plural, "secrets"));
}

/* Keeps an object as it is now, if it is well and differs. */
static struct answer keep(const struct request *request, const char *key, const json_t *before, json_t *object)
{
	const char *fault = fault_of(request, before, object);
	json_t *metadata = json_object_get(object, "metadata");

	if (fault)
		return refuse(422, "Invalid", "%s \"%s\" is invalid: %s", request->plural, request->name, fault);
	if (!before || !json_equal(before, object)) {
		json_object_set_new(metadata, "resourceVersion", json_sprintf("%d", ++version));
		if (!before)
			json_object_set_new(metadata, "uid", json_sprintf("uid-%d", version));
		json_object_set(objects, key, object);
	}
	return (struct answer){before ? 200 : 201, "", json_incref(object)};
}

/* ---- verbs ---- */

static struct answer apply(const struct request *request, const char *key, const char *manager, const json_t *wanted)
{
	const json_t *before = json_object_get(objects, key);
	intent_json_auto json_t *object = before ? json_deep_copy(before) : json_deep_copy(wanted);
	intent_json_auto json_t *content = content_of(wanted), *causes = json_array(), *kept = json_array();
	intent_json_auto json_t *fields = fields_of(content), *had = NULL;
	json_t *entry;
	size_t i;

	if (strstr(request->query, "force="))
		return refuse(400, "BadRequest", "this server is never forced");
	json_array_foreach(json_object_get(json_object_get(object, "metadata"), "managedFields"), i, entry) {
		if (!strcmp(intent_json_string(entry, "manager", ""), manager) &&
		    !strcmp(intent_json_string(entry, "operation", ""), "Apply"))
			continue;
		json_array_append(kept, json_object_get(entry, "fieldsV1"));
		find_conflicts(json_object_get(entry, "fieldsV1"), object, content, "", entry, causes);
	}
	if (json_array_size(causes)) {
		intent_free_auto char *words = intent_format("Apply failed with %zu conflict: %s: %s",
							     json_array_size(causes),
			intent_json_string(json_array_get(causes, 0), "message", ""),
			intent_json_string(json_array_get(causes, 0), "field", ""));
		struct answer answer = status_of(409, "Conflict", words, json_incref(causes));

		json_object_set_new(answer.body, "reason", json_string("Conflict"));
		return answer;
	}
	if ((entry = entry_of(object, manager, "Apply", false)))
		had = json_deep_copy(json_object_get(entry, "fieldsV1"));
	json_array_append(kept, fields);
	drop_fields(object, had, kept);
	merge(object, content);
	json_object_set_new(json_object_get(object, "metadata"), "namespace", json_string(request->namespace));
	json_object_set(entry_of(object, manager, "Apply", true), "fieldsV1", fields);
	return keep(request, key, before, object);
}

/* POST or a merge patch, as kubectl create and kubectl edit do it: what changes belongs to who changed it. */
static struct answer update(const struct request *request, const char *key, const char *manager, const json_t *patch)
{
	const json_t *before = json_object_get(objects, key);
	intent_json_auto json_t *object = before ? json_deep_copy(before) : json_pack("{s{}}", "metadata");
	intent_json_auto json_t *content = content_of(patch), *fields = fields_of(content), *all = NULL;
	json_t *entry;
	size_t i;

	intent_json_merge(object, patch);
	json_object_set_new(json_object_get(object, "metadata"), "namespace", json_string(request->namespace));
	json_array_foreach(json_object_get(json_object_get(object, "metadata"), "managedFields"), i, entry)
		take_fields(json_object_get(entry, "fieldsV1"), fields);
	/* What the patch removed is nobody's. */
	all = content_of(object);
	intent_json_auto json_t *present = fields_of(all), *gone = json_deep_copy(fields);
	take_fields(gone, present);
	take_fields(fields, gone);
	merge(json_object_get(entry_of(object, manager, "Update", true), "fieldsV1"), fields);
	return keep(request, key, before, object);
}

static struct answer removal(const struct request *request, const char *key)
{
	const json_t *object = json_object_get(objects, key);
	intent_json_auto json_t *options = NULL;
	struct intent_error err;
	const char *uid = "";

	if (!object)
		return refuse(404, "NotFound", "%s \"%s\" not found", request->plural, request->name);
	if (!intent_json_parse(request->body, strlen(request->body), ROOM, &options, &err))
		uid = intent_json_string(json_object_get(options, "preconditions"), "uid", "");
	if (*uid && strcmp(uid, intent_json_string(json_object_get(object, "metadata"), "uid", "")))
		return refuse(409, "Conflict", "Precondition failed: UID in precondition: %s", uid);
	json_object_del(objects, key);
	return refuse(200, "", "gone");
}

static struct answer fault_next(const struct request *request)
{
	return sscanf(request->body, "%d %63s %255[^\n]", &faults_left, fault_answer, fault_match) == 3 ?
		refuse(200, "", "so be it") : refuse(400, "BadRequest", "TIMES ANSWER MATCH");
}

static bool is_known(const struct request *request)
{
	intent_free_auto char *token = NULL, *want = NULL;
	struct intent_error err;
	size_t count;

	if (intent_file_read(AT_FDCWD, token_file, 4096, &token, &count, &err))
		return false;
	token[strcspn(token, "\n")] = '\0';
	want = intent_format("\r\nAuthorization: Bearer %s\r\n", token);
	return strstr(request->text, want) != NULL;
}

static struct answer answer_to(struct request *request)
{
	intent_json_auto json_t *body = NULL;
	char manager[128] = "unknown", key[600];
	struct intent_error err;

	if (!strcmp(request->path, "/test/fault"))
		return fault_next(request);
	if (intent_starts_with(request->path, "/test/objects")) {
		const json_t *found = intent_json_at(objects, request->path + strlen("/test/objects"));
		return found ? (struct answer){200, "", json_deep_copy(found)} : refuse(404, "NotFound",
											"nothing there");
	}
	if (!is_known(request))
		return refuse(401, "Unauthorized", "Unauthorized");
	if (strcmp(request->namespace, "default") && strcmp(request->namespace, "prod"))
		return refuse(404, "NotFound", "namespaces \"%s\" not found", request->namespace);
	if (*request->body && intent_json_parse(request->body, strlen(request->body), ROOM, &body, &err))
		return refuse(400, "BadRequest", "%s", err.msg);
	if (!strcmp(request->method, "POST"))
		snprintf(request->name, sizeof(request->name), "%s",
			 intent_json_string(json_object_get(body, "metadata"), "name", ""));
	const char *given = strstr(request->query, "fieldManager=");
	if (given)
		snprintf(manager, sizeof(manager), "%.*s", (int)strcspn(given + 13, "&"), given + 13);
	snprintf(key, sizeof(key), "%s/%s/%s", request->plural, request->namespace, request->name);
	if (!strcmp(request->method, "GET"))
		return json_object_get(objects, key) ?
			(struct answer){200, "", json_deep_copy(json_object_get(objects, key))} :
			refuse(404, "NotFound", "%s \"%s\" not found", request->plural, request->name);
	if (!strcmp(request->method, "DELETE"))
		return removal(request, key);
	if (strcasestr(request->text, "\r\nContent-Type: application/apply-patch+yaml"))
		return given ? apply(request, key, manager, body) : refuse(422, "Invalid",
									   "fieldManager: Required value");
	return update(request, key, manager, body);
}

static void *serve(void *data)
{
	int fd = (int)(intptr_t)data;
	bool end = false;
	char head[64];

	while (!end) {
		struct request request = {0};

		if (!read_request(fd, &request)) {
			end = true;
		} else if (!hurt(fd, &request, &end)) {
			pthread_mutex_lock(&lock);
			struct answer answer = answer_to(&request);
			intent_free_auto char *text = json_dumps(answer.body,
								 JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
			json_decref(answer.body);
			pthread_mutex_unlock(&lock);
			snprintf(head, sizeof(head), "%d", answer.status);
			if (!intent_starts_with(request.path, "/test/"))
				note(&request, head);
			snprintf(head, sizeof(head), "HTTP/1.1 %d %s", answer.status, *answer.reason ? answer.reason :
				 "OK");
			send_answer(fd, head, text);
			end = strstr(request.text, " HTTP/1.0\r\n") != NULL;
		}
		free(request.text);
	}
	close(fd);
	return NULL;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (argc != 4)
		return 2;
	recordings = argv[1];
	token_file = argv[2];
	log_fd = open(argv[3], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	objects = json_object();
	signal(SIGPIPE, SIG_IGN);
	if (log_fd < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 64) ||
	    getsockname(listener, (struct sockaddr *)&address, &length)) {
		perror("kubeserver");
		return 1;
	}
	printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		pthread_t thread;

		if (fd < 0)
			continue;
		if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd))
			close(fd);
		else
			pthread_detach(thread);
	}
}

/*
 * A container engine that keeps everything in memory, and lets go wrong what containers.sh asks for.
 *
 *	engine SOCKET [OPTION=VALUE]... -- AGENT ARG...
 *
 * It runs the agent (with --once; it is started as often as it takes) against itself, each time from the same world:
 *
 *	world=FILE      what there is at first: {"containers": [{"name", "body", "running"}], "images": ["web:1"]}
 *	state=DIR       the agent's state directory, emptied before each time
 *	fault=KIND      at every call in turn: kill-before, kill-after (the agent with all its processes); what `answers`
 *	                below has; none: once, without
 *	step=N          ... at each N-th call
 *	always=N        at every call, and the agent is started N times
 *	hang=WORDS      each call whose path has these is never answered
 *	agents=2        so many at once, with answers that come late at random; `state` has a directory for each
 *	times=N         of that
 *	wants=NAME      the one container that runs in the end
 *
 * A container whose command is "fail" ends at once. Two that run and write to one volume are what must not be. Says at
 * its end "calls: N, killed: N, doubled: N, not converged: N"; what went wrong before that.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <intent/file.h>
#include <intent/json.h>

#define CLIENTS_MAX 16
#define RUNS_MAX 8          /* of the agent, until it must have converged */
#define PATIENCE_MS 120000

static json_t *containers, *networks, *volumes, *images;
static int calls, doubled, killed, ids;
static int fault_at;        /* the call that goes wrong; 0: none */
static const char *fault = "none", *hang = "";
static const char *place;   /* of the socket */
static int listener = -1;
static bool restarts;
static int64_t back_ms;     /* until then there is no engine */
static bool slow, always;
static int runs_max = RUNS_MAX;

struct client {
	int fd;
	struct intent_text in;
};
static struct client clients[CLIENTS_MAX];
static size_t client_count;

/* ---- the agent's processes ---- */

static pid_t parent_of(pid_t pid, char name[32])
{
	char path[64], line[512] = "";
	int parent = 0, fd;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, line, sizeof line - 1) < 0)
		line[0] = '\0';
	if (fd >= 0)
		close(fd);
	if (sscanf(line, "%*d (%31[^)]) %*c %d", name, &parent) != 2)
		return 0;
	return parent;
}

/* The round that called, the helper it came from, and the runner: all at once. */
static void kill_family(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof peer;
	pid_t family[8], pid;
	size_t count = 0;
	char name[32];

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size))
		return;
	for (pid = peer.pid; pid > 1 && count < 8; ) {
		pid_t parent = parent_of(pid, name);

		if (!parent || !intent_starts_with(name, "pp-"))
			break;
		family[count++] = pid;
		pid = parent;
	}
	killed += count > 0;
	while (count)
		kill(family[--count], SIGKILL);
}

/* ---- words ---- */

static void unescape(char *text)
{
	char *out = text;

	for (char *in = text; *in; in++) {
		char hex[3] = { in[0] == '%' ? in[1] : '\0', in[0] == '%' && in[1] ? in[2] : '\0', '\0' };

		*out++ = *hex ? (char)strtol(hex, NULL, 16) : *in;
		in += *hex ? 2 : 0;
	}
	*out = '\0';
}

/* A parameter of the query, new. */
static char *parameter(const char *query, const char *name)
{
	size_t length = strlen(name);

	for (const char *p = query; p && *p; p = strchr(p, '&') ? strchr(p, '&') + 1 : NULL)
		if (!strncmp(p, name, length) && p[length] == '=') {
			char *value = strndup(p + length + 1, strcspn(p + length + 1, "&"));

			unescape(value);
			return value;
		}
	return strdup("");
}

static json_t *find(const char *name, size_t *ret_index)
{
	size_t i;
	json_t *item;

	json_array_foreach(containers, i, item)
		if (!strcmp(intent_json_string(item, "Id", ""), name) ||
		    !strcmp(intent_json_string(item, "Name", "/") + 1, name)) {
			if (ret_index)
				*ret_index = i;
			return item;
		}
	return NULL;
}

static bool is_running(const json_t *container)
{
	return !strcmp(intent_json_string(json_object_get(container, "State"), "Status", ""), "running");
}

static bool writes(const json_t *container, const char *volume)
{
	size_t i;
	json_t *item;

	json_array_foreach(intent_json_at(container, "/HostConfig/Mounts"), i, item)
		if (!strcmp(intent_json_string(item, "Source", ""), volume) &&
		    !intent_json_boolean(item, "ReadOnly", false))
			return true;
	return false;
}

/* ---- what it does; the answer's status, *ret its body (new; may stay NULL) ---- */

static int refuse(int status, json_t **ret, const char *words)
{
	*ret = json_pack("{ss}", "message", words);
	return status;
}

static json_t *add(const char *name, json_t *body)
{
	json_t *container = json_pack("{so so sO sO s{ss si ss} s{s{} s{}} si}", "Id", json_sprintf("c%063d",
												    ++ids), "Name",
		json_sprintf("/%s", name), "Config", body, "HostConfig", json_object_get(body, "HostConfig"), "State",
		"Status", "created", "ExitCode", 0, "StartedAt", "0001-01-01T00:00:00Z", "NetworkSettings", "Ports",
		"Networks", "RestartCount", 0);
	const char *network;
	json_t *endpoint;

	json_object_foreach(intent_json_at(body, "/NetworkingConfig/EndpointsConfig"), network, endpoint)
		json_object_set_new(intent_json_at(container, "/NetworkSettings/Networks"), network, json_object());
	json_array_append_new(containers, container);
	return container;
}

static void start(json_t *container)
{
	json_t *state = json_object_get(container, "State"), *other, *mount;
	bool fails = !strcmp(intent_json_string(container, "fails", ""), "yes") ||
		!strcmp(json_string_value(json_array_get(intent_json_at(container, "/Config/Cmd"), 0)) ?
			json_string_value(json_array_get(intent_json_at(container, "/Config/Cmd"), 0)) : "", "fail");
	char now[32];
	size_t i, k;

	intent_time_format(intent_time_now(), now);
	json_object_set_new(state, "Status", json_string(fails ? "exited" : "running"));
	json_object_set_new(state, "ExitCode", json_integer(fails));
	json_object_set_new(state, "StartedAt", json_string(now));
	json_array_foreach(intent_json_at(container, "/HostConfig/Mounts"), i, mount)
		json_array_foreach(containers, k, other)
			if (other != container && is_running(other) && is_running(container) &&
			    writes(container, intent_json_string(mount, "Source", "?")) &&
			    writes(other, intent_json_string(mount, "Source", "?"))) {
				doubled++;
				printf("DOUBLED: %s and %s write to %s\n", intent_json_string(container, "Name", ""),
				       intent_json_string(other, "Name", ""), intent_json_string(mount,
												 "Source", ""));
			}
}

static bool fits(const json_t *container, const json_t *filters, bool all)
{
	const json_t *labels = intent_json_at(container, "/Config/Labels");
	const char *volume = json_string_value(json_array_get(json_object_get(filters, "volume"), 0));
	const char *network = json_string_value(json_array_get(json_object_get(filters, "network"), 0));
	size_t i;
	json_t *item;

	json_array_foreach(json_object_get(filters, "label"), i, item) {
		intent_free_auto char *name = strdup(json_string_value(item));
		char *value = strchr(name, '=');

		*value++ = '\0';
		if (strcmp(intent_json_string(labels, name, "?"), value))
			return false;
	}
	return (all || is_running(container)) && (!volume || writes(container, volume)) &&
		(!network || json_object_get(intent_json_at(container, "/NetworkSettings/Networks"), network));
}

static int list(const char *query, json_t **ret)
{
	intent_free_auto char *text = parameter(query, "filters"), *all = parameter(query, "all");
	intent_json_auto json_t *filters = json_loads(text, 0, NULL);
	size_t i;
	json_t *item;

	*ret = json_array();
	json_array_foreach(containers, i, item)
		if (fits(item, filters, *all))
			json_array_append_new(*ret, json_pack("{sO s[O] sO*}", "Id", json_object_get(item,
												     "Id"), "Names",
				json_object_get(item, "Name"), "Labels", intent_json_at(item, "/Config/Labels")));
	return 200;
}

static int create(const char *query, json_t *body, json_t **ret)
{
	intent_free_auto char *name = parameter(query, "name");

	if (find(name, NULL))
		return refuse(409, ret, "Conflict. The container name is already in use");
	*ret = json_pack("{sO}", "Id", json_object_get(add(name, body), "Id"));
	return 201;
}

static int container_call(const char *method, char *rest, const char *query, json_t *body, json_t **ret)
{
	char *verb = strchr(rest, '/');
	json_t *container;
	size_t index;

	if (!strcmp(rest, "json"))
		return list(query, ret);
	if (!strcmp(rest, "create"))
		return create(query, body, ret);
	if (verb)
		*verb++ = '\0';
	container = find(rest, &index);
	if (!container)
		return refuse(404, ret, "No such container");
	if (!strcmp(method, "DELETE")) {
		if (is_running(container))
			return refuse(409, ret, "You cannot remove a running container");
		json_array_remove(containers, index);
		return 204;
	}
	if (verb && !strcmp(verb, "json")) {
		*ret = json_deep_copy(container);
	} else if (verb && !strcmp(verb, "start")) {
		if (is_running(container))
			return 304;
		start(container);
		return 204;
	} else if (verb && !strcmp(verb, "stop")) {
		if (!is_running(container))
			return 304;
		json_object_set_new(json_object_get(container, "State"), "Status", json_string("exited"));
		return 204;
	}
	return 200;
}

/* Networks and volumes: those that were made, by name. */
static int object_call(json_t *objects, const char *method, const char *rest, json_t *body, json_t **ret)
{
	const char *name = intent_json_string(body, "Name", rest);
	json_t *object;

	if (!strcmp(method, "POST")) {
		json_object_set_new(body, "Id", json_string(name));
		if (!json_object_get(objects, name))
			json_object_set(objects, name, body);
		*ret = json_deep_copy(body);
		return 201;
	}
	object = json_object_get(objects, name);
	if (objects == networks && !*rest) {
		const char *key;

		*ret = json_array();
		json_object_foreach(networks, key, object)
			json_array_append(*ret, object);
		return 200;
	}
	if (!object)
		return refuse(404, ret, "no such thing");
	*ret = json_deep_copy(object);
	return 200;
}

static int image_call(const char *method, char *rest, const char *query, json_t **ret)
{
	intent_free_auto char *name = parameter(query, "fromImage"), *tag = parameter(query, "tag");
	char *end = strrchr(rest, '/');

	if (!strcmp(method, "POST")) {
		intent_free_auto char *whole = intent_format("%s:%s", name, tag);

		if (strstr(name, "broken")) {
			*ret = json_pack("{s{ss} ss}", "errorDetail", "message", "disk full", "error",
					 "failed to register layer: disk full");
			return 200;
		}
		json_object_set_new(images, whole, json_true());
		*ret = json_pack("{ss}", "status", "Downloaded");
		return 200;
	}
	if (end)
		*end = '\0';
	if (!json_object_get(images, rest))
		return refuse(404, ret, "No such image");
	*ret = json_pack("{ss}", "Id", "sha256:1");
	return 200;
}

static int handle(const char *method, char *path, json_t *body, json_t **ret)
{
	char *query = strchr(path, '?'), *rest;

	if (query)
		*query++ = '\0';
	unescape(path);
	if (!strncmp(path, "/v1.", 4) && strchr(path + 1, '/'))
		path = strchr(path + 1, '/');
	rest = strchr(path + 1, '/') ? strchr(path + 1, '/') + 1 : path + strlen(path);
	if (!strncmp(path, "/containers/", 12))
		return container_call(method, rest, query, body, ret);
	if (!strncmp(path, "/images/", 8))
		return image_call(method, rest, query, ret);
	if (!strncmp(path, "/networks", 9))
		return object_call(networks, method, rest, body, ret);
	if (!strncmp(path, "/volumes", 8))
		return object_call(volumes, method, rest, body, ret);
	return strcmp(path, "/_ping") ? refuse(404, ret, "page not found") : 200;
}

/* ---- connections ---- */

/* `half`: the head promises more than comes. */
static void answer(int fd, int status, const json_t *body, bool half)
{
	intent_free_auto char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;

	intent_text_printf(&out, "HTTP/1.1 %d X\r\nApi-Version: 1.41\r\n", status);
	if (status != 204 && status != 304)
		intent_text_printf(&out, "Content-Length: %zu\r\n", (text ? strlen(text) : 0) + half);
	intent_text_printf(&out, "\r\n%s", text && status != 204 && status != 304 ? text : "");
	/* Who asked may be gone. */
	if (send(fd, out.data, out.length, MSG_NOSIGNAL) < 0)
		return;
}

static void drop(size_t i)
{
	close(clients[i].fd);
	intent_text_release(&clients[i].in);
	clients[i] = clients[--client_count];
}

/* What goes wrong at a call, beside the agent's death. `handled`: it was done all the same. */
enum manner { SAYS, CUT, HALF, HANGS, RESTARTS };
static const struct {
	const char *name;
	bool handled;
	enum manner manner;
	const char *says;    /* SAYS: instead of the answer */
} answers[] = {
	{ "500", false, SAYS, "HTTP/1.1 500 X\r\nApi-Version: 1.41\r\nContent-Length: 24\r\n\r\n{\"message\": \"no space\"}\n" },
	{ "503", false, SAYS, "HTTP/1.1 503 X\r\nContent-Length: 24\r\n\r\n<html>no backend</html>\n" },
	{ "404", false, SAYS, "HTTP/1.1 404 X\r\nContent-Length: 23\r\n\r\n<html>not here</html>\r\n" },
	{ "login", false, SAYS, "HTTP/1.1 302 X\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n" },
	{ "page", false, SAYS, "HTTP/1.1 200 X\r\nContent-Length: 22\r\n\r\n<html>welcome</html>\r\n" },
	{ "nothing", true, SAYS, "HTTP/1.1 200 X\r\nApi-Version: 1.41\r\nContent-Length: 4\r\n\r\nnull" },
	{ "cut-before", false, CUT, NULL },
	{ "cut-after", true, CUT, NULL },
	{ "half", true, HALF, NULL },
	{ "hang", true, HANGS, NULL },
	{ "restart", false, RESTARTS, NULL },
	{ NULL, true, SAYS, NULL },
};

/* All connections end, and nobody listens for a while. */
static void restart(void)
{
	restarts = false;
	while (client_count)
		drop(client_count - 1);
	close(listener);
	unlink(place);
	listener = -1;
	back_ms = intent_time_monotonic() + 100;
}

/* One whole request; false: the connection is to be closed. */
static bool serve_request(struct client *client, const char *method, char *path, json_t *body)
{
	bool now = ++calls == fault_at || (fault_at && always), hangs = *hang && strstr(path, hang);
	json_t *said = NULL;
	size_t i = 0;

	while (answers[i].name && (!now || strcmp(answers[i].name, fault) != 0))
		i++;
	if (slow)
		usleep((useconds_t)(rand() % 4000)); /* NOLINT(cert-msc30-c,cert-msc50-cpp): no secret */
	if (now && !strcmp(fault, "kill-before"))
		kill_family(client->fd);
	int status = answers[i].handled && !hangs ? handle(method, path, body, &said) : 0;
	if (now && !strcmp(fault, "kill-after"))
		kill_family(client->fd);
	if (hangs)
		return true;
	if (answers[i].manner == SAYS && answers[i].says)
		send(client->fd, answers[i].says, strlen(answers[i].says), MSG_NOSIGNAL);
	else if (answers[i].manner == SAYS || answers[i].manner == HALF)
		answer(client->fd, status, said, answers[i].manner == HALF);
	restarts = answers[i].manner == RESTARTS;
	json_decref(said);
	return answers[i].manner == SAYS || answers[i].manner == HANGS;
}

/* What came is whole, or not yet. */
static bool serve_client(struct client *client)
{
	const char *end = strstr(intent_text_str(&client->in), "\r\n\r\n"), *length;
	char method[16], path[4096];
	size_t head, count = 0;

	if (!end)
		return true;
	head = (size_t)(end - client->in.data) + 4;
	length = strcasestr(client->in.data, "\r\nContent-Length:");
	if (length && length < end)
		count = strtoul(length + 17, NULL, 10);
	if (client->in.length < head + count || sscanf(client->in.data, "%15s %4095s", method, path) != 2)
		return true;
	intent_json_auto json_t *body = json_loadb(client->in.data + head, count, 0, NULL);
	intent_text_clear(&client->in);
	return serve_request(client, method, path, body);
}

static bool hear(struct client *client)
{
	char bytes[65536];
	ssize_t got = recv(client->fd, bytes, sizeof bytes, MSG_DONTWAIT);

	if (got <= 0)
		return got < 0 && errno == EAGAIN;
	intent_text_add(&client->in, bytes, (size_t)got);
	return serve_client(client);
}

static int listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	unlink(path);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 16)) {
		perror(path);
		exit(1);
	}
	return fd;
}

static void serve_once(void)
{
	if (listener < 0 && intent_time_monotonic() >= back_ms)
		listener = listen_at(place);
	struct pollfd polled[CLIENTS_MAX + 1] = { { .fd = listener, .events = POLLIN } };

	for (size_t i = 0; i < client_count; i++)
		polled[i + 1] = (struct pollfd){ .fd = clients[i].fd, .events = POLLIN };
	if (poll(polled, client_count + 1, 5) <= 0)
		return;
	for (size_t i = client_count; i-- > 0; )
		if (polled[i + 1].revents && !hear(&clients[i]))
			drop(i);
	if (restarts)
		restart();
	else if (polled[0].revents && client_count < CLIENTS_MAX) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0)
			clients[client_count++] = (struct client){ .fd = fd };
	}
}

/* ---- the agents ---- */

static pid_t run_agent(char **argv, const char *state, int which)
{
	static char option[512];
	char *with[64];
	int count = 0;
	pid_t pid;

	for (; argv[count] && count < 60; count++)
		with[count] = argv[count];
	with[count++] = option;
	with[count] = NULL;
	snprintf(option, sizeof option, "--state-dir=%s/%d", state, which);
	pid = fork();
	if (!pid) {
		execvp(with[0], with);
		_exit(127);
	}
	return pid;
}

/* All of them, once, to their ends; true: each was content. */
static bool run_all(char **argv, const char *state, int agents)
{
	int64_t until = intent_time_monotonic() + PATIENCE_MS;
	bool good = true;
	int left = agents, status;
	pid_t pids[4];

	for (int i = 0; i < agents; i++)
		pids[i] = run_agent(argv, state, i);
	while (left) {
		serve_once();
		for (int i = 0; i < agents; i++)
			if (pids[i] && waitpid(pids[i], &status, WNOHANG) == pids[i]) {
				good &= status == 0;
				pids[i] = 0;
				left--;
			}
		if (left && intent_time_monotonic() > until) {
			printf("HANGS: %s at call %d\n", fault, fault_at);
			for (int i = 0; i < agents; i++)
				if (pids[i])
					kill(pids[i], SIGKILL);
			until = INT64_MAX;
		}
	}
	return good;
}

static void make_world(const char *file)
{
	intent_json_auto json_t *world = json_load_file(file, 0, NULL);
	json_t *item;
	size_t i;

	json_decref(containers);
	json_decref(networks);
	json_decref(volumes);
	json_decref(images);
	containers = json_array();
	networks = json_object();
	volumes = json_object();
	images = json_object();
	json_array_foreach(json_object_get(world, "images"), i, item)
		json_object_set_new(images, json_string_value(item), json_true());
	json_object_update(volumes, json_object_get(world, "volumes"));
	json_array_foreach(json_object_get(world, "containers"), i, item) {
		json_t *container = add(intent_json_string(item, "name", ""), json_object_get(item, "body"));

		if (intent_json_boolean(item, "running", false))
			start(container);
	}
}

/* Exactly one runs, by that name. */
static bool is_as_wanted(const char *wants)
{
	size_t i, running = 0;
	json_t *item;
	bool right = false;

	json_array_foreach(containers, i, item)
		if (is_running(item)) {
			running++;
			right |= !strncmp(intent_json_string(item, "Name", "/") + 1, wants, strlen(wants));
		}
	return right && running == 1 && json_array_size(containers) == 1;
}

/* From the same world each time; whether it ended well. */
static bool try_once(char **argv, const char *world, const char *state, const char *wants, int agents)
{
	struct intent_error ignored;
	bool good = false;

	make_world(world);
	intent_tree_remove(state, &ignored);
	mkdir(state, 0700);
	calls = 0;
	for (int run = 0; run < runs_max && !good; run++)
		good = run_all(argv, state, agents);
	if (good && is_as_wanted(wants))
		return true;
	intent_free_auto char *left = intent_json_pretty(containers);
	printf("NOT CONVERGED: %s at call %d\n", fault, fault_at);
	if (getenv("VERBOSE"))
		printf("%s\n", left ? left : "");
	return false;
}

int main(int argc, char **argv)
{
	const char *world = "", *state = "", *wants = "", *agents_text = "1", *times_text = "1", *step_text = "1",
		*runs_text = NULL;
	const struct { const char *name, **value; } known[] = {
		{ "world", &world }, { "state", &state }, { "wants", &wants }, { "fault", &fault },
		{ "agents", &agents_text }, { "times", &times_text }, { "hang", &hang },
		{ "step", &step_text }, { "always", &runs_text },
	};
	int bad = 0, most, i;

	if (argc < 4)
		return 2;
	place = argv[1];
	listener = listen_at(place);
	for (i = 2; i < argc && strcmp(argv[i], "--"); i++) {
		size_t length = strcspn(argv[i], "="), k = 0;

		while (k < 9 && (strlen(known[k].name) != length || strncmp(argv[i], known[k].name, length) != 0))
			k++;
		if (k == 9 || !argv[i][length])
			return 2;
		*known[k].value = argv[i] + length + 1;
	}
	int agents = (int)strtol(agents_text, NULL, 10), times = (int)strtol(times_text, NULL, 10);
	int step = (int)strtol(step_text, NULL, 10);
	if (runs_text) {
		always = true;
		runs_max = (int)strtol(runs_text, NULL, 10);
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	argv += i + 1;
	slow = agents > 1;
	for (int time = 0; time < times; time++)
		bad += !try_once(argv, world, state, wants, agents);
	most = calls;
	for (fault_at = 1; strcmp(fault, "none") && fault_at <= (always ? 1 : most); fault_at += step)
		bad += !try_once(argv, world, state, wants, agents);
	printf("calls: %d, killed: %d, doubled: %d, not converged: %d\n", most, killed, doubled, bad);
	return doubled || bad;
}

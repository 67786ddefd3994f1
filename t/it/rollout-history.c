/*
 * Reads what the services of the rollout tests wrote down, and says what came of it.
 *
 *	rollout-history FILE NODES
 *
 * A node is away from its `down` until its next `up`; in between it may be `sick`, which is running without being
 * healthy. Counting begins when all of NODES have been up once. Says, a line each:
 *
 *	rounds N             how often a service was ended
 *	worst N              the largest number away at once
 *	away N               now
 *	at worst NODE...     which these were, the first time
 *	runs VERSION N       on how many nodes it is what was started last
 *	tried VERSION N      on how many nodes it was started, ever since counting began
 *
 * Exit status 1 when a line cannot be understood: a history that is not read proves nothing.
 */
#include <intent/text.h>

enum { NODES_MAX = 64, VERSIONS_MAX = 64 };

struct event {
	long long at;
	char node[64], what[8], version[64];
};

static struct node {
	char name[64], runs[64];
	bool is_known_up, is_away;
} nodes[NODES_MAX];
static size_t node_count;

static struct version {
	char name[64];
	bool tried[NODES_MAX];
} versions[VERSIONS_MAX];
static size_t version_count;

static void refuse(const char *what)
{
	fprintf(stderr, "rollout-history: %s\n", what);
	exit(1);
}

static size_t node_of(const char *name)
{
	for (size_t i = 0; i < node_count; i++)
		if (!strcmp(nodes[i].name, name))
			return i;
	if (node_count == NODES_MAX)
		refuse("too many nodes");
	snprintf(nodes[node_count].name, sizeof nodes[0].name, "%s", name);
	return node_count++;
}

static struct version *version_of(const char *name)
{
	for (size_t i = 0; i < version_count; i++)
		if (!strcmp(versions[i].name, name))
			return &versions[i];
	if (version_count == VERSIONS_MAX)
		refuse("too many versions");
	snprintf(versions[version_count].name, sizeof versions[0].name, "%s", name);
	return &versions[version_count++];
}

static int by_time(const void *a, const void *b)
{
	const struct event *one = a, *other = b;

	return one->at < other->at ? -1 : one->at > other->at;
}

static struct event *read_all(const char *path, size_t *ret_count)
{
	FILE *file = fopen(path, "re");
	struct event *events = NULL;
	size_t count = 0, room = 0;
	char line[512];

	while (file && fgets(line, sizeof line, file)) {
		if (count == room) {
			room = room ? room * 2 : 1024;
			events = realloc(events, room * sizeof *events);
			if (!events)
				refuse("out of memory");
		}
		struct event *event = &events[count++];
		char *rest = NULL;

		event->at = strtoll(line, &rest, 10);
		if (rest == line || sscanf(rest, " %63s %7s %63s", event->node, event->what, event->version) != 3)
			refuse(line);
	}
	if (file)
		fclose(file);
	qsort(events, count, count ? sizeof *events : 1, by_time);
	*ret_count = count;
	return events;
}

static size_t count_away(char names[1024])
{
	size_t away = 0;

	*names = '\0';
	for (size_t i = 0; i < node_count; i++) {
		if (!nodes[i].is_away)
			continue;
		away++;
		snprintf(names + strlen(names), 1024 - strlen(names), " %s", nodes[i].name);
	}
	return away;
}

static bool all_known(size_t wanted)
{
	size_t known = 0;

	for (size_t i = 0; i < node_count; i++)
		known += nodes[i].is_known_up;
	return known >= wanted;
}

/* Is it one that counts as a round? */
static bool follow(const struct event *event, bool counting)
{
	size_t i = node_of(event->node);
	struct node *node = &nodes[i];
	bool is_down = !strcmp(event->what, "down");

	if (!is_down && strcmp(event->what, "up") != 0 && strcmp(event->what, "sick") != 0)
		refuse(event->what);
	if (!is_down) {
		snprintf(node->runs, sizeof node->runs, "%s", event->version);
		version_of(event->version)->tried[i] |= counting;
	}
	node->is_away = strcmp(event->what, "up") != 0;
	node->is_known_up |= !node->is_away;
	return is_down && counting;
}

static void say_versions(void)
{
	for (size_t v = 0; v < version_count; v++) {
		size_t runs = 0, tried = 0;

		for (size_t i = 0; i < node_count; i++) {
			runs += !strcmp(nodes[i].runs, versions[v].name);
			tried += versions[v].tried[i];
		}
		printf("runs %s %zu\ntried %s %zu\n", versions[v].name, runs, versions[v].name, tried);
	}
}

int main(int argc, char **argv)
{
	char names[1024], worst_names[1024] = "";
	size_t count, worst = 0, rounds = 0, wanted;
	struct event *events;

	if (argc != 3) {
		fprintf(stderr, "usage: rollout-history FILE NODES\n");
		return 2;
	}
	wanted = strtoul(argv[2], NULL, 10);
	events = read_all(argv[1], &count);
	for (size_t i = 0; i < count; i++) {
		bool counting = all_known(wanted);
		size_t away;

		rounds += follow(&events[i], counting);
		away = count_away(names);
		if (counting && away > worst) {
			worst = away;
			snprintf(worst_names, sizeof worst_names, "%s", names);
		}
	}
	printf("rounds %zu\nworst %zu\naway %zu\nat worst%s\n", rounds, worst, count_away(names), worst_names);
	say_versions();
	free(events);
	return 0;
}

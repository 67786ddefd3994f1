/* The parts of a watch: one snapshot a prefix, merged for delivery. */
#include "engine.h"

struct part {
	char *prefix;                     /* owned */
	struct intent_snapshot *snapshot; /* a reference; NULL: not read yet */
};

struct intent__parts {
	struct part *parts;
	size_t count;
	struct intent_snapshot *taken;    /* what was delivered last */
	bool renewed;                     /* the set changed since */
};

struct intent__parts *intent__parts_new(void)
{
	return calloc(1, sizeof(struct intent__parts));
}

static void free_parts(struct part *parts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(parts[i].prefix);
		intent_snapshot_unref(parts[i].snapshot);
	}
	free(parts);
}

struct intent__parts *intent__parts_free(struct intent__parts *parts)
{
	if (!parts)
		return NULL;
	free_parts(parts->parts, parts->count);
	intent_snapshot_unref(parts->taken);
	free(parts);
	return NULL;
}

static struct part *find(struct part *parts, size_t count, const char *prefix)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(parts[i].prefix, prefix) == 0)
			return &parts[i];
	}
	return NULL;
}

void intent__parts_set(struct intent__parts *parts, const char *const *prefixes)
{
	size_t room = 0, count = 0, kept = 0;
	struct part *fresh;

	while (prefixes[room])
		room++;
	fresh = calloc(room + 1, sizeof(*fresh));
	for (size_t i = 0; i < room; i++) {
		struct part *old = find(parts->parts, parts->count, prefixes[i]);

		if (find(fresh, count, prefixes[i]))
			continue;
		fresh[count].prefix = strdup(prefixes[i]);
		if (old) {
			fresh[count].snapshot = intent_snapshot_ref(old->snapshot);
			kept++;
		}
		count++;
	}
	if (kept != count || kept != parts->count)
		parts->renewed = true;
	free_parts(parts->parts, parts->count);
	parts->parts = fresh;
	parts->count = count;
}

size_t intent__parts_count(const struct intent__parts *parts)
{
	return parts->count;
}

const char *intent__parts_prefix(const struct intent__parts *parts, size_t index)
{
	return parts->parts[index].prefix;
}

void intent__parts_put(struct intent__parts *parts, size_t index, struct intent_snapshot *snapshot)
{
	struct intent_snapshot *old = parts->parts[index].snapshot;

	if (old && snapshot && snapshot->references == 1)
		intent__snapshot_adopt(snapshot, old);
	intent_snapshot_unref(old);
	parts->parts[index].snapshot = snapshot;
}

struct intent_snapshot *intent__parts_get(const struct intent__parts *parts, size_t index)
{
	return parts->parts[index].snapshot;
}

/* Prefixes may overlap: of one key read twice, the newer reading stands. */
static void drop_doubles(struct intent_snapshot *snapshot)
{
	size_t kept = 0;

	for (size_t i = 0; i < snapshot->count; i++) {
		struct intent_entry *last = kept ? &snapshot->entries[kept - 1] : NULL;
		struct intent_entry *entry = &snapshot->entries[i], swap;

		if (!last || strcmp(last->key, entry->key) != 0) {
			last = &snapshot->entries[kept++];
		} else if (entry->revision <= last->revision) {
			continue;
		}
		/* Swapped, not overwritten: the tail still owns its references. */
		swap = *last;
		*last = *entry;
		*entry = swap;
	}
	intent__snapshot_truncate(snapshot, kept);
}

static struct intent_snapshot *merge(const struct intent__parts *parts)
{
	struct intent_snapshot *merged = intent_snapshot_new();

	for (size_t i = 0; i < parts->count; i++) {
		const struct intent_snapshot *part = parts->parts[i].snapshot;

		if (part->revision > merged->revision)
			merged->revision = part->revision;
		for (size_t j = 0; j < part->count; j++)
			intent__snapshot_share(merged, &part->entries[j]);
	}
	intent_snapshot_sort(merged);
	drop_doubles(merged);
	return merged;
}

void intent__parts_renew(struct intent__parts *parts)
{
	parts->renewed = true;
}

struct intent_snapshot *intent__parts_take(struct intent__parts *parts)
{
	struct intent_snapshot *merged;

	for (size_t i = 0; i < parts->count; i++) {
		if (!parts->parts[i].snapshot)
			return NULL;
	}
	merged = merge(parts);
	if (parts->taken && !parts->renewed && intent_snapshot_same(parts->taken, merged))
		return intent_snapshot_unref(merged);
	intent_snapshot_unref(parts->taken);
	parts->taken = intent_snapshot_ref(merged);
	parts->renewed = false;
	return merged;
}

/* ---- many prefixes, few watches ---- */

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t common(const char *a, const char *b)
{
	size_t length = 0;

	while (a[length] && a[length] == b[length])
		length++;
	return length;
}

char **intent__prefixes_merge(const char *const *prefixes, size_t count, size_t most)
{
	size_t room = (count + 1) * sizeof(char *);

	for (size_t i = 0; i < count; i++)
		room += strlen(prefixes[i]) + 1;
	char **merged = malloc(room);
	char *at = (char *)(merged + count + 1);

	for (size_t i = 0; i < count; i++) {
		merged[i] = memcpy(at, prefixes[i], strlen(prefixes[i]) + 1);
		at += strlen(at) + 1;
	}
	qsort(merged, count, sizeof *merged, by_bytes);
	while (count > (most ? most : 1)) {
		size_t best = 0, longest = 0;

		for (size_t i = 0; i + 1 < count; i++) {
			size_t length = common(merged[i], merged[i + 1]);

			if (length > longest) {
				longest = length;
				best = i;
			}
		}
		merged[best][longest] = '\0';
		memmove(&merged[best + 1], &merged[best + 2], (count - best - 2) * sizeof *merged);
		count--;
	}
	merged[count] = NULL;
	return merged;
}

/* What a watch of a directory store listens to: inotify watches, and for which prefixes. */
#include <sys/inotify.h>

#include "dir.h"

struct intent__dir_arm *intent__dir_arms_find(const struct intent__dir_arms *arms, int wd)
{
	size_t low = 0, high = arms->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (arms->list[middle].wd == wd)
			return &arms->list[middle];
		if (arms->list[middle].wd < wd)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static struct intent__dir_arm *new_arm(struct intent__dir_arms *arms, int wd)
{
	size_t at = arms->count;

	if (arms->count == arms->room) {
		arms->room = arms->room ? arms->room * 2 : 16;
		arms->list = reallocarray(arms->list, arms->room, sizeof(*arms->list));
	}
	/* The kernel's numbers grow, until they wrap after two thousand million. */
	while (at && arms->list[at - 1].wd > wd)
		at--;
	memmove(&arms->list[at + 1], &arms->list[at], (arms->count - at) * sizeof(*arms->list));
	arms->list[at] = (struct intent__dir_arm){.wd = wd};
	arms->count++;
	return &arms->list[at];
}

void intent__dir_arms_forget(struct intent__dir_arms *arms, struct intent__dir_arm *arm)
{
	size_t at = (size_t)(arm - arms->list);

	free(arm->refs);
	arms->count--;
	memmove(arm, arm + 1, (arms->count - at) * sizeof(*arm));
}

static void add_ref(struct intent__dir_arm *arm, size_t part, uint32_t mask)
{
	for (size_t i = 0; i < arm->count; i++) {
		if (arm->refs[i].part == part) {
			arm->refs[i].mask |= mask;
			return;
		}
	}
	arm->refs = reallocarray(arm->refs, arm->count + 1, sizeof(*arm->refs));
	arm->refs[arm->count++] = (struct intent__dir_ref){.part = part, .mask = mask};
}

bool intent__dir_arms_add(struct intent__dir_arms *arms, const char *path, size_t part,
			  uint32_t mask)
{
	int wd = arms->inotify < 0 ? -1 :
		inotify_add_watch(arms->inotify, path, mask | IN_MASK_ADD);
	struct intent__dir_arm *arm;
	uint32_t wanted = 0;

	if (wd < 0)
		return false;
	arm = intent__dir_arms_find(arms, wd);
	if (!arm)
		arm = new_arm(arms, wd);
	add_ref(arm, part, mask);
	for (size_t i = 0; i < arm->count; i++)
		wanted |= arm->refs[i].mask;
	arm->mask |= mask;
	/* Narrower than before, so that a chain is not woken by what it once waited for. */
	if (arm->mask != wanted && inotify_add_watch(arms->inotify, path, wanted) == wd)
		arm->mask = wanted;
	return true;
}

void intent__dir_arms_drop(struct intent__dir_arms *arms, size_t part)
{
	for (size_t i = 0; i < arms->count; i++) {
		struct intent__dir_arm *arm = &arms->list[i];
		size_t kept = 0;

		for (size_t j = 0; j < arm->count; j++) {
			if (arm->refs[j].part != part)
				arm->refs[kept++] = arm->refs[j];
		}
		arm->count = kept;
	}
}

void intent__dir_arms_renumber(struct intent__dir_arms *arms, const size_t *to)
{
	for (size_t i = 0; i < arms->count; i++) {
		struct intent__dir_arm *arm = &arms->list[i];
		size_t kept = 0;

		for (size_t j = 0; j < arm->count; j++) {
			struct intent__dir_ref ref = arm->refs[j];

			if (ref.part != INTENT__DIR_EVERY) {
				ref.part = to[ref.part];
				if (ref.part == INTENT__DIR_EVERY)
					continue;
			}
			arm->refs[kept++] = ref;
		}
		arm->count = kept;
	}
}

void intent__dir_arms_sweep(struct intent__dir_arms *arms)
{
	for (size_t i = arms->count; i-- > 0;) {
		if (arms->list[i].count)
			continue;
		inotify_rm_watch(arms->inotify, arms->list[i].wd);
		intent__dir_arms_forget(arms, &arms->list[i]);
	}
}

void intent__dir_arms_release(struct intent__dir_arms *arms)
{
	while (arms->count)
		intent__dir_arms_forget(arms, &arms->list[arms->count - 1]);
	free(arms->list);
	arms->list = NULL;
	if (arms->inotify >= 0)
		close(arms->inotify);
	arms->inotify = -1;
}

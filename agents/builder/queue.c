/*
 * Who builds next, among the processes of one builder: tickets in a directory, by the time they were drawn.
 *
 * Whoever holds a ticket holds a lock on its file: that of a process that was killed is free, and swept.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <intent/file.h>
#include "builder.h"

static int draw(const char *queue, struct builder_turn *ret, struct intent_error *err)
{
	char *ticket = intent_format("%s/%020lld-%d", queue, (long long)intent_time_now(), (int)getpid());
	int fd;

	/* In the way of a sweep by somebody else at this very moment: another one is drawn then. */
	if (intent_file_lock(ticket, LOCK_EX, true, &fd, err) < 0) {
		free(ticket);
		return err->code;
	}
	ret->ticket = ticket;
	ret->fd = fd;
	return 0;
}

static int is_ticket(const struct dirent *entry)
{
	return *entry->d_name != '.';
}

/* Is its holder alive? If not it goes. */
static bool is_held(const char *queue, const char *name)
{
	intent_free_auto char *path = intent_format("%s/%s", queue, name);
	struct intent_error err;
	int fd;

	if (intent_file_lock(path, LOCK_EX | LOCK_NB, false, &fd, &err) < 0)
		return err.code == INTENT_EBUSY;
	unlink(path);
	close(fd);
	return false;
}

/* How many are before us; -1: our ticket is gone. */
static int count_before(const char *queue, const struct builder_turn *turn)
{
	const char *own = strrchr(turn->ticket, '/') + 1;
	struct dirent **names = NULL;
	int count = scandir(queue, &names, is_ticket, alphasort), before = 0;
	bool found = false;

	for (int i = 0; i < count; i++) {
		found |= !strcmp(names[i]->d_name, own);
		before += !found && is_held(queue, names[i]->d_name);
		free(names[i]);
	}
	free(names);
	return found ? before : -1;
}

int builder__take_turn(struct builder *builder, const char *directory, int64_t places, struct builder_turn *ret,
		       struct intent_error *err)
{
	intent_free_auto char *queue = intent_format("%s/queue", directory);
	const struct timespec pause = {.tv_nsec = 100000000};
	struct builder_turn turn = {0};
	int before;

	if (intent_directory_make(queue, 0700, err) < 0 || draw(queue, &turn, err) < 0)
		return err->code;
	builder->phase = "queued";
	while ((before = count_before(queue, &turn)) < 0 || before >= places) {
		if (before < 0) {
			builder__end_turn(&turn);
			if (draw(queue, &turn, err) < 0)
				return err->code;
		}
		if (builder__cancel(builder) || intent_round_is_outdated(builder->round)) {
			builder__end_turn(&turn);
			return intent_fail(err, INTENT_ESTALE, "taken from the queue: other intent has come");
		}
		nanosleep(&pause, NULL);
	}
	*ret = turn;
	return 0;
}

void builder__end_turn(struct builder_turn *turn)
{
	if (!turn->ticket)
		return;
	unlink(turn->ticket);
	close(turn->fd);
	free(turn->ticket);
	*turn = (struct builder_turn){0};
}

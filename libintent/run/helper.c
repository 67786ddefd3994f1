/*
 * The helper: a process forked before any socket, lock, thread or curl handle
 * exists, so that the rounds forked from it start from a clean, small image
 * (measured: 0.7 ms against 9.5 ms for fork and exec of a program with libcurl).
 *
 * Runner and helper talk over one SOCK_SEQPACKET pair in fixed-size records; a
 * round's request travels as a sealed-off memory file, its channel as one end of
 * a stream pair. Only the helper signals rounds: it alone knows which pids it
 * has not reaped yet.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <intent/digest.h>
#include <intent/file.h>
#include "run.h"

#define REMAINS_TRIES 2000 /* of a millisecond each */

enum record_kind { RECORD_START, RECORD_SIGNAL, RECORD_SIGNAL_GROUP, RECORD_SPARE, RECORD_EXIT };

struct record {
	enum record_kind kind;
	unsigned id;
	int value; /* signal number, whether to spare what it leaves behind, or exit status */
};

/* ---- the helper's own side ---- */

struct child {
	struct child *next;
	unsigned id;
	pid_t pid;
	bool spare; /* what works for it ends by itself, whatever becomes of it */
};

struct zygote {
	int control, signals;
	struct child *children;
	int (*run)(const json_t *request, int channel, void *data);
	void *data;
};

static int receive(int fd, struct record *record, int fds[2])
{
	union { char bytes[CMSG_SPACE(2 * sizeof(int))]; struct cmsghdr align; } control;
	struct iovec part = {record, sizeof(*record)};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1,
				 .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *header;
	ssize_t got;

	fds[0] = fds[1] = -1;
	do
		got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	header = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
		memcpy(fds, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
	return got == (ssize_t)sizeof(*record) ? 0 : -1;
}

/*
 * What the runner, or a Ctrl-C, may send to the whole family: blocked in the helper, which decides
 * nothing, and in a round until it has its handlers.
 */
static const int ours[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGCHLD};

static void block_ours(void)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		sigaddset(&set, ours[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

__attribute__((noreturn))
static void become_round(struct zygote *zygote, int request_fd, int channel)
{
	char *text = NULL;
	int status;
	struct stat st;
	json_t *request = NULL;
	struct intent_error err;

	/* A session of its own is how the helper knows whatever works for it. */
	setsid();
	close(zygote->control);
	close(zygote->signals);
	while (zygote->children) {
		struct child *child = zygote->children;

		zygote->children = child->next;
		free(child);
	}
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		signal(ours[i], SIG_DFL);
	prctl(PR_SET_NAME, "pp-round");
	if (fstat(request_fd, &st) < 0 || !(text = malloc((size_t)st.st_size)) ||
	    pread(request_fd, text, (size_t)st.st_size, 0) != st.st_size ||
	    intent_json_parse(text, (size_t)st.st_size, SIZE_MAX, &request, &err) < 0)
		_exit(127);
	close(request_fd);
	status = zygote->run(request, channel, zygote->data);
	json_decref(request);
	free(text);
	exit(status);
}

static void start(struct zygote *zygote, unsigned id, int fds[2])
{
	struct child *child = calloc(1, sizeof(*child));
	struct record failed = {RECORD_EXIT, id, 0x7f00};

	child->pid = fork();
	if (child->pid == 0) {
		free(child);
		become_round(zygote, fds[0], fds[1]);
	}
	if (child->pid < 0) {
		free(child);
		send(zygote->control, &failed, sizeof(failed), MSG_NOSIGNAL);
		return;
	}
	child->id = id;
	child->next = zygote->children;
	zygote->children = child;
}

static void on_record(struct zygote *zygote, const struct record *record)
{
	for (struct child *child = zygote->children; child; child = child->next) {
		if (child->id != record->id)
			continue;
		if (record->kind == RECORD_SPARE)
			child->spare = record->value;
		/* A group is there once the child has run. */
		else if (record->kind != RECORD_SIGNAL_GROUP || kill(-child->pid, record->value) < 0)
			kill(child->pid, record->value);
	}
}

/* Kill what has lost its parent and is of this session; false when there is nothing any more. */
static bool kill_orphans(pid_t session)
{
	bool found = false;
	FILE *list = fopen("/proc/thread-self/children", "re");
	int pid;

	while (list && fscanf(list, "%d", &pid) == 1)
		if (pid != session && getsid(pid) == session) {
			found = true;
			kill(pid, SIGKILL);
			waitpid(pid, NULL, WNOHANG);
		}
	if (list)
		fclose(list);
	return found;
}

/*
 * A round that did not end by itself leaves behind what worked for it, in process groups of their own: as our
 * kernel's subreaper we inherit that, generation after generation. The round is not reaped yet, so its session's
 * number belongs to nobody else.
 */
static void kill_remains(pid_t session)
{
	const struct timespec pause = {.tv_nsec = 1000 * 1000};

	for (int tries = 0; tries < REMAINS_TRIES && kill_orphans(session); tries++)
		nanosleep(&pause, NULL);
}

static void reap_one(struct zygote *zygote, pid_t pid, bool by_force)
{
	struct child **at = &zygote->children, *child;
	struct record ended = {RECORD_EXIT, 0, 0};

	while (*at && (*at)->pid != pid)
		at = &(*at)->next;
	child = *at;
	if (!child) { /* of the remains of a round */
		waitpid(pid, NULL, WNOHANG);
		return;
	}
	if (by_force && !child->spare)
		kill_remains(pid);
	waitpid(pid, &ended.value, 0);
	ended.id = child->id;
	*at = child->next;
	free(child);
	send(zygote->control, &ended, sizeof(ended), MSG_NOSIGNAL);
}

static void reap(struct zygote *zygote)
{
	struct signalfd_siginfo info;
	siginfo_t ended = {0};

	if (read(zygote->signals, &info, sizeof(info)) < 0)
		return;
	while (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid) {
		reap_one(zygote, ended.si_pid, ended.si_code != CLD_EXITED || ended.si_status == INTENT_EXIT_NO_MEMORY);
		ended.si_pid = 0;
	}
}

__attribute__((noreturn))
static void zygote_main(struct zygote *zygote)
{
	struct pollfd polls[2] = {{zygote->control, POLLIN, 0}, {zygote->signals, POLLIN, 0}};
	char warm[65];

	prctl(PR_SET_NAME, "pp-helper");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	/* libcrypto sets itself up at its first use, reading a file: once here, rather than in each round. */
	intent_sha256_hex("", 0, warm);
	for (;;) {
		struct record record;
		int fds[2];

		if (poll(polls, 2, -1) < 0)
			continue;
		if (polls[1].revents)
			reap(zygote);
		if (!polls[0].revents)
			continue;
		if (receive(zygote->control, &record, fds) < 0)
			_exit(0); /* the runner is gone; rounds under way finish by themselves */
		if (record.kind == RECORD_START)
			start(zygote, record.id, fds);
		else
			on_record(zygote, &record);
		intent__close(&fds[0]);
		intent__close(&fds[1]);
	}
}

/* ---- the runner's side ---- */

struct channel {
	struct channel *next;
	struct intent__helper *helper;
	unsigned id;
	int fd;
	uv_poll_t poll;
	struct intent_text line;
	bool closing, ended;
	int status;
};

struct intent__helper {
	int control;
	pid_t pid;
	uv_loop_t *loop;
	uv_poll_t poll;
	struct intent__helper_events events;
	struct channel *channels;
	bool attached;
};

int intent__helper_fork(void (*begin)(void *data), int (*run)(const json_t *request, int channel, void *data),
			void *data, struct intent__helper **ret_owned, struct intent_error *err)
{
	struct intent__helper *helper = calloc(1, sizeof(*helper));
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		free(helper);
		return intent_fail_errno(err, "cannot make a socket pair");
	}
	helper->pid = fork();
	if (helper->pid == 0) {
		struct zygote zygote = {.control = pair[1], .run = run, .data = data};
		sigset_t chld;

		close(pair[0]);
		free(helper);
		block_ours();
		sigemptyset(&chld);
		sigaddset(&chld, SIGCHLD);
		zygote.signals = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
		if (zygote.signals < 0)
			_exit(1);
		begin(data);
		zygote_main(&zygote);
	}
	close(pair[1]);
	if (helper->pid < 0) {
		close(pair[0]);
		free(helper);
		return intent_fail_errno(err, "cannot fork the helper process");
	}
	helper->control = pair[0];
	*ret_owned = helper;
	return 0;
}

static void channel_closed(uv_handle_t *handle)
{
	struct channel *channel = handle->data, **at = &channel->helper->channels;

	while (*at && *at != channel)
		at = &(*at)->next;
	if (*at)
		*at = channel->next;
	close(channel->fd);
	intent_text_release(&channel->line);
	free(channel);
}

static void deliver_lines(struct channel *channel)
{
	struct intent__helper *helper = channel->helper;
	const char *start = intent_text_str(&channel->line), *end = start + channel->line.length, *newline;
	intent_text_auto struct intent_text rest = INTENT_TEXT_INIT;

	while ((newline = memchr(start, '\n', (size_t)(end - start)))) {
		struct intent_error ignored;
		json_t *message;

		if (!intent_json_parse(start, (size_t)(newline - start), 0, &message, &ignored)) {
			helper->events.on_message(channel->id, message, helper->events.data);
			json_decref(message);
		}
		start = newline + 1;
	}
	intent_text_add(&rest, start, (size_t)(end - start));
	intent_text_clear(&channel->line);
	intent_text_add(&channel->line, intent_text_str(&rest), rest.length);
}

/* A round is over when its process was reaped and its channel has been read to the end. */
static void finish_channel(struct channel *channel)
{
	if (channel->closing)
		return;
	channel->closing = true;
	uv_poll_stop(&channel->poll);
	channel->helper->events.on_exit(channel->id, channel->status, channel->helper->events.data);
	uv_close((uv_handle_t *)&channel->poll, channel_closed);
}

/* False at the end of the channel. */
static bool drain(struct channel *channel)
{
	char chunk[8192];
	ssize_t got;

	while ((got = recv(channel->fd, chunk, sizeof(chunk), MSG_DONTWAIT)) > 0) {
		intent_text_add(&channel->line, chunk, (size_t)got);
		deliver_lines(channel);
	}
	return got < 0 && (errno == EAGAIN || errno == EINTR);
}

static void on_channel(uv_poll_t *poll, int status, int events)
{
	struct channel *channel = poll->data;

	(void)events;
	if (status < 0 || !drain(channel)) {
		uv_poll_stop(poll);
		if (channel->ended)
			finish_channel(channel);
	}
}

static struct channel *find_channel(struct intent__helper *helper, unsigned id)
{
	for (struct channel *channel = helper->channels; channel; channel = channel->next)
		if (channel->id == id && !channel->closing)
			return channel;
	return NULL;
}

static void on_control(uv_poll_t *poll, int status, int events)
{
	struct intent__helper *helper = poll->data;
	struct record record;
	struct channel *channel;
	ssize_t got;

	(void)events;
	(void)status;
	while ((got = recv(helper->control, &record, sizeof(record), MSG_DONTWAIT)) == (ssize_t)sizeof(record)) {
		channel = record.kind == RECORD_EXIT ? find_channel(helper, record.id) : NULL;
		if (!channel)
			continue;
		channel->ended = true;
		channel->status = record.value;
		/* What it left behind may hold the channel open: what is there now was all. */
		drain(channel);
		finish_channel(channel);
	}
	if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
		uv_poll_stop(poll);
		helper->events.on_gone(helper->events.data);
	}
}

int intent__helper_attach(struct intent__helper *helper, uv_loop_t *loop,
			  const struct intent__helper_events *events, struct intent_error *err)
{
	int code = uv_poll_init(loop, &helper->poll, helper->control);

	if (code < 0)
		return intent_fail(err, code, "cannot watch the helper: %s", uv_strerror(code));
	helper->loop = loop;
	helper->events = *events;
	helper->poll.data = helper;
	helper->attached = true;
	uv_poll_start(&helper->poll, UV_READABLE | UV_DISCONNECT, on_control);
	return 0;
}

static int request_file(const json_t *request, struct intent_error *err)
{
	intent_free_auto char *text = json_dumps(request, JSON_COMPACT);
	int fd = text ? memfd_create("round", MFD_CLOEXEC) : -1;

	if (fd < 0)
		return intent_fail_errno(err, "cannot make a memory file");
	if (intent_write_all(fd, text, strlen(text)) < 0) {
		intent_fail_errno(err, "cannot write a memory file");
		close(fd);
		return err->code;
	}
	return fd;
}

static int send_start(struct intent__helper *helper, unsigned id, int request, int channel)
{
	struct record record = {RECORD_START, id, 0};
	struct iovec part = {&record, sizeof(record)};
	union { char bytes[CMSG_SPACE(2 * sizeof(int))]; struct cmsghdr align; } control = {{0}};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1,
				 .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int fds[2] = {request, channel};

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(header), fds, sizeof(fds));
	return sendmsg(helper->control, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int intent__helper_start(struct intent__helper *helper, unsigned id, const json_t *request,
			 struct intent_error *err)
{
	intent_close_auto int file = request_file(request, err);
	struct channel *channel;
	int pair[2], code;

	if (file < 0)
		return file;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return intent_fail_errno(err, "cannot make a socket pair");
	code = send_start(helper, id, file, pair[1]);
	close(pair[1]);
	if (code < 0) {
		close(pair[0]);
		return intent_fail(err, code, "cannot reach the helper process: %s", strerror(-code));
	}
	channel = calloc(1, sizeof(*channel));
	channel->helper = helper;
	channel->id = id;
	channel->fd = pair[0];
	channel->next = helper->channels;
	helper->channels = channel;
	uv_poll_init(helper->loop, &channel->poll, channel->fd);
	channel->poll.data = channel;
	uv_poll_start(&channel->poll, UV_READABLE, on_channel);
	return 0;
}

int intent__helper_answer(struct intent__helper *helper, unsigned id, const char *line)
{
	struct channel *channel = find_channel(helper, id);

	if (!channel || send(channel->fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return -EPIPE;
	return 0;
}

void intent__helper_signal(struct intent__helper *helper, unsigned id, int signal_number, bool group)
{
	struct record record = {group ? RECORD_SIGNAL_GROUP : RECORD_SIGNAL, id, signal_number};

	send(helper->control, &record, sizeof(record), MSG_NOSIGNAL);
}

void intent__helper_spare(struct intent__helper *helper, unsigned id, bool spare)
{
	struct record record = {RECORD_SPARE, id, spare};

	send(helper->control, &record, sizeof(record), MSG_NOSIGNAL);
}

static void control_closed(uv_handle_t *handle)
{
	struct intent__helper *helper = handle->data;

	helper->attached = false;
	close(helper->control);
	helper->control = -1;
}

void intent__helper_close(struct intent__helper *helper)
{
	for (struct channel *channel = helper->channels; channel; channel = channel->next) {
		if (channel->closing)
			continue;
		channel->closing = true;
		uv_close((uv_handle_t *)&channel->poll, channel_closed);
	}
	if (helper->attached && !uv_is_closing((uv_handle_t *)&helper->poll))
		uv_close((uv_handle_t *)&helper->poll, control_closed);
}

struct intent__helper *intent__helper_free(struct intent__helper *helper)
{
	if (!helper)
		return NULL;
	if (helper->control >= 0)
		close(helper->control);
	waitpid(helper->pid, NULL, 0);
	free(helper);
	return NULL;
}

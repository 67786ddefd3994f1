/*
 * runit's own interface, spoken directly: supervise/control, supervise/status, supervise/ok.
 *
 * A runsv(8) that runs a service directory keeps in supervise/ the FIFO `control`, which takes one
 * letter a command; the FIFO `ok`, which has a reader exactly while that runsv lives; and
 * `status`, 20 bytes replaced by rename at each change:
 *
 *	 0  8  TAI64 seconds, big endian (2^62 + 10 + Unix seconds) of the last change
 *	 8  4  nanoseconds, big endian
 *	12  4  process id of run or finish, little endian; 0: none
 *	16  1  1: paused
 *	17  1  'u' or 'd': what is wanted
 *	18  1  1: was sent SIGTERM
 *	19  1  0: down, 1: run, 2: finish
 *
 * runsv 2.1.2 sleeps for a second, deaf, when a service ends within a second of its start.
 */
#ifndef INTENT_RUNIT_H
#define INTENT_RUNIT_H

#include <sys/types.h>
#include <intent/text.h>

#define INTENT__RUNIT_STATUS_SIZE 20

enum intent__runit_state { INTENT__RUNIT_DOWN, INTENT__RUNIT_RUN, INTENT__RUNIT_FINISH };

struct intent__runit_status {
	int64_t since;            /* Unix seconds of the last change, as runsv saw the clock */
	pid_t pid;                /* 0: none */
	bool paused, want_up, got_term;
	enum intent__runit_state state;
};

/* Takes exactly INTENT__RUNIT_STATUS_SIZE bytes of any kind. INTENT_EMALFORMED. */
int intent__runit_status_parse(const void *bytes, size_t count, struct intent__runit_status *ret,
		       struct intent_error *err);

/*
 * Does a runsv hold this service directory now? `ok` is its user's and root's alone. For others it is judged
 * by `status` and /proc: the process named there must be a child of a runsv of this name; a service that is
 * down is taken to be held, though its runsv may be gone.
 */
int intent__runit_is_supervised(const char *service, bool *ret, struct intent_error *err);

/*
 * Was a runsv that holds it told to exit? It lives on until service and logger have ended, which only `stat`, for
 * people, tells of, and only while they run: not between the end of the service and what the logger is told (a second,
 * if the service had not been up for one), nor between the logger's end and its own. A command for the
 * service to be up would make it stay.
 */
int intent__runit_is_leaving(const char *service, bool *ret, struct intent_error *err);

/*
 * False: its runsv has told the logger to end, though no log/down asks for that. That runsv is about to exit, has
 * closed the pipe between the two, and can start nothing any more: told to be up, it stays and tries for ever. (Or
 * somebody told the logger alone to be down.)
 */
int intent__runit_has_logger(const char *service, bool *ret, struct intent_error *err);

/* INTENT_EABSENT: never supervised. What stands there may be older than a dead runsv. */
int intent__runit_status_read(const char *service, struct intent__runit_status *ret, struct intent_error *err);

/*
 * Send commands (one letter each) to the service, or to its log service. INTENT_EUNSUPERVISED when
 * no runsv is there to read them.
 */
int intent__runit_control(const char *service, const char *commands, struct intent_error *err);
int intent__runit_control_log(const char *service, const char *commands, struct intent_error *err);

#endif

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
#ifndef SETLIVE_RUNIT_H
#define SETLIVE_RUNIT_H

#include <sys/types.h>
#include <intent/text.h>

#define RUNIT_STATUS_SIZE 20

enum runit_state { RUNIT_DOWN, RUNIT_RUN, RUNIT_FINISH };

struct runit_status {
	int64_t since;            /* Unix seconds of the last change, as runsv saw the clock */
	pid_t pid;                /* 0: none */
	bool paused, want_up, got_term;
	enum runit_state state;
};

/* Takes exactly RUNIT_STATUS_SIZE bytes of any kind. INTENT_EMALFORMED. */
int runit_status_parse(const void *bytes, size_t count, struct runit_status *ret,
		       struct intent_error *err);

/* Does a runsv hold this service directory now? */
bool runit_is_supervised(const char *service);

/* INTENT_EABSENT: never supervised. What stands there may be older than a dead runsv. */
int runit_status_read(const char *service, struct runit_status *ret, struct intent_error *err);

/*
 * Send commands (one letter each) to the service, or to its log service. INTENT_EUNSUPERVISED when
 * no runsv is there to read them.
 */
int runit_control(const char *service, const char *commands, struct intent_error *err);
int runit_control_log(const char *service, const char *commands, struct intent_error *err);

/* How long a process has been up, by the kernel's clock that no one sets; -1: gone. */
int64_t runit_uptime(pid_t pid);

/*
 * Wait until done(data) says true, asked at growing intervals: the wait is at most a sixteenth
 * longer than it had to be. (Not inotify: closing its descriptor takes the kernel some 30 ms, which
 * is more than a service needs to stop and start.) INTENT_ETIMEOUT (the caller says what for), or
 * INTENT_ESTALE when cancelled(data) (may be NULL) said so.
 */
int runit_wait(int64_t deadline, bool (*done)(void *data), bool (*cancelled)(void *data),
	       void *data, struct intent_error *err);

#endif

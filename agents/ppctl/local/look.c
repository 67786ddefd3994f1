/* What a session sees in the store: what is due is done, how things are is shown. */
#include <stdarg.h>
#include "local.h"

void local_say(struct local_session *session, const char *format, ...)
{
	char words[2048];
	va_list ap;

	va_start(ap, format);
	vsnprintf(words, sizeof(words), format, ap);
	va_end(ap);
	local_live_line(session->live, NULL, words);
}

/* What is due is done; the store tells of it, and so we are asked again. */
static void act(struct local_session *session, const json_t *rows)
{
	struct intent_error err;
	json_t *row;
	size_t index;

	json_array_foreach((json_t *)(uintptr_t)rows, index, row) {
		const char *name = intent_json_string(row, "name", "");
		const json_t *wants = json_object_get(row, "wants");
		if (wants && local_intent_activate(session->ctl, name, wants, &err))
			local_say(session, "%s: %s", name, err.msg);
	}
}

/* What agents say while they stop is of no use to anybody. */
static void show_stopping(const struct local_session *session, json_t *rows)
{
	json_t *row;
	size_t index;

	json_array_foreach(rows, index, row) {
		bool there = json_object_get(session->remaining, intent_json_string(row, "name", "")) != NULL;
		if (strcmp(intent_json_string(row, "state", ""), "missing"))
			json_object_set_new(row, "state", json_string(there ? "stopping" : "stopped"));
		json_object_del(row, "broken");
		json_object_del(row, "progress");
		json_object_set_new(row, "why", json_string(""));
	}
}

void local_look(struct local_session *session)
{
	json_t *rows = session->snapshot ?
		local_course(session->model, session->snapshot, session->place.node) : NULL;

	if (!rows)
		return;
	session->looked = intent_time_monotonic();
	if (session->phase == LOCAL_RUNNING)
		act(session, rows);
	else
		show_stopping(session, rows);
	local_live_rows(session->live, rows, session->logs);
}

/*
 * A fleet's words: what agents would publish, kept alive by one session.
 *
 *	fleet URL	reads lines "KEY JSON" (put it) and "KEY" (take it away); answers each with "ok"
 *
 * Ends with its input, and its documents with it.
 */
#include <stdio.h>
#include <intent/store.h>

/* Nobody renews it: longer than any test. */
#define SESSION_MS (60 * 60 * 1000)

static int obey(struct intent_store *store, const char *session, char *line, struct intent_error *err)
{
	char *value = strchr(line, ' ');

	if (!value)
		return intent_store_delete(store, line, err);
	*value++ = '\0';
	struct intent_op op = {
		.kind = INTENT_OP_PUT, .key = line, .value = value, .length = strlen(value), .session = session,
	};
	return intent_store_txn(store, &op, 1, NULL, err);
}

int main(int argc, char **argv)
{
	struct intent_store *store;
	struct intent_error error = {0};
	intent_free_auto char *session = NULL;
	static char line[8192];

	if (argc != 2 || intent_store_open(argv[1], NULL, &store, &error)) {
		fprintf(stderr, "usage: fleet URL\n%s\n", error.msg);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	int code = intent_session_open(store, SESSION_MS, &session, &error);
	while (!code && fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = '\0';
		code = obey(store, session, line, &error);
		puts(code ? error.msg : "ok");
	}
	if (session)
		(void)intent_session_close(store, session, &error);
	intent_store_close(store);
	return code ? 1 : 0;
}

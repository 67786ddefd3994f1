/*
 * facts STORE: for each line "KEY VALUE" of standard input, put it, bound to a session of this process; "KEY"
 * alone removes it. Says "done" after each. What was put goes when this process ends.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <intent/store.h>

static int fail(const struct intent_error *err)
{
	fprintf(stderr, "facts: %s\n", err->msg);
	return 1;
}

int main(int argc, char **argv)
{
	struct intent_store *store;
	struct intent_error err;
	char *session = NULL, *line = NULL;
	size_t size = 0;
	ssize_t length;

	if (argc != 2)
		return 2;
	if (intent_store_open(argv[1], NULL, &store, &err) || intent_session_open(store, 60000, &session, &err))
		return fail(&err);
	while ((length = getline(&line, &size, stdin)) > 0) {
		char *value;

		line[length - (line[length - 1] == '\n')] = '\0';
		value = strchr(line, ' ');
		struct intent_op op = { .kind = value ? INTENT_OP_PUT : INTENT_OP_DELETE, .key = line,
					.session = value ? session : NULL };
		if (value) {
			*value++ = '\0';
			op.value = value;
			op.length = strlen(value);
		}
		if (intent_store_txn(store, &op, 1, NULL, &err))
			return fail(&err);
		puts("done");
		fflush(stdout);
	}
	intent_session_close(store, session, &err);
	intent_store_close(store);
	free(session);
	free(line);
	return 0;
}

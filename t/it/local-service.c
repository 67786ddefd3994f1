/*
 * A service of local.sh that is alone in its image: local-service [WORDS]. It says what it was given, and goes on until
 * SIGTERM. Linked statically there; it uses nothing but libc.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void end(int number)
{
	static const char words[] = "good bye\n";

	(void)number;
	if (write(STDOUT_FILENO, words, sizeof(words) - 1) < 0)
		_exit(1);
	_exit(0);
}

int main(int argc, char **argv)
{
	const char *host = getenv("POSTGRESQL_RESOURCE_HOST"), *port = getenv("POSTGRESQL_RESOURCE_PORT");

	signal(SIGTERM, end);
	printf("%s, db at %s:%s\n", argc > 1 ? argv[1] : "database", host ? host : "", port ? port : "");
	fflush(stdout);
	for (;;)
		pause();
}

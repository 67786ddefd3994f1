/*
 * unpack DIRECTORY [BYTES ENTRIES RATIO] <archive
 *
 * Unpacks as a library user would. Prints "ok <entries> <bytes>" or
 * "<reason>: <message>"; exits 0, or 1 when refused.
 */
#include <fcntl.h>
#include <intent/archive.h>

int main(int argc, char **argv)
{
	struct intent_archive_limits limits = {0};
	struct intent_archive_totals totals;
	struct intent_error err = {0};
	int root;

	if (argc < 2 || (root = open(argv[1], O_DIRECTORY | O_RDONLY | O_CLOEXEC)) < 0) {
		fprintf(stderr, "usage: unpack DIRECTORY [BYTES ENTRIES RATIO] <archive\n");
		return 2;
	}
	if (argc > 4) {
		limits.bytes = strtoull(argv[2], NULL, 10);
		limits.entries = strtoull(argv[3], NULL, 10);
		limits.ratio = strtoull(argv[4], NULL, 10);
	}
	if (intent_archive_unpack(0, root, &limits, &totals, &err)) {
		printf("%s: %s\n", intent_error_reason(err.code), err.msg);
		return 1;
	}
	printf("ok %llu %llu\n", (unsigned long long)totals.entries,
	       (unsigned long long)totals.bytes);
	return 0;
}

/*
 * Something to pack: files DIRECTORY COUNT BYTES makes COUNT files of BYTES in all, in directories
 * of a hundred, with text that compresses about as programs and their data do.
 */
#include <errno.h>
#include <intent.h>

static uint64_t state = 88172645463325252u;

static uint64_t random_bits(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	return state ^= state << 17;
}

/* Words that come again, and some that do not. */
static void fill(char *bytes, size_t count)
{
	static char words[1024][12];

	for (int i = 0; !words[1023][0] && i < 1024; i++)
		snprintf(words[i], sizeof(words[i]), "%.*s ", 3 + (int)(random_bits() % 7), &"quzyxwvutsrp"[random_bits() % 4]);
	for (size_t at = 0; at < count;) {
		char fresh[20];
		const char *word = words[random_bits() % 1024];

		if (random_bits() % 3 == 0) {
			snprintf(fresh, sizeof(fresh), "%llx\n", (unsigned long long)random_bits());
			word = fresh;
		}
		for (; *word && at < count; word++)
			bytes[at++] = *word;
	}
}

int main(int argc, char **argv)
{
	struct intent_error err;
	int64_t count, bytes;

	if (argc != 4 || intent_integer_parse(argv[2], 1, 1000000, &count, &err) < 0 ||
	    intent_integer_parse(argv[3], 1, INT64_C(1) << 40, &bytes, &err) < 0)
		return 2;
	size_t size = (size_t)(bytes / count);
	intent_free_auto char *content = malloc(2 * size + 1);

	for (int64_t i = 0; content && i < count; i++) {
		intent_free_auto char *directory = intent_format("%s/part%03d/d%02d", argv[1], (int)(i / 1000), (int)(i / 100 % 10));
		intent_free_auto char *path = intent_format("%s/file%06d", directory, (int)i);
		/* From nothing to twice the mean. */
		size_t length = (size_t)(random_bits() % (2 * size + 1));
		FILE *file;

		if (i % 100 == 0 && intent_directory_make(directory, 0755, &err) < 0) {
			fprintf(stderr, "files: %s\n", err.msg);
			return 1;
		}
		fill(content, length);
		file = fopen(path, "w");
		if (!file || fwrite(content, 1, length, file) != length || fclose(file)) {
			fprintf(stderr, "files: %s: %s\n", path, strerror(errno));
			return 1;
		}
	}
	return 0;
}

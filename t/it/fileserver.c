/*
 * fileserver DIRECTORY LOG: serves files over HTTP on 127.0.0.1, prints its port, and misbehaves as
 * the first part of the path says. Each request is a line "METHOD PATH RANGE" in LOG.
 *
 *	/plain/F      as one would expect: ETag, Range, If-Range
 *	/cut/F        each answer ends after 64 KiB of its body; Range works
 *	/modified/F   the same, by Last-Modified in the place of an ETag
 *	/norange/F    the first answer is cut, the next ones ignore Range
 *	/changed/F    the first answer is cut, the next ones have another ETag
 *	/bare/F       cut, and neither ETag nor Last-Modified
 *	/lying/F      cut, and answers the wrong range
 *	/stall/F      the first answer stops after 64 KiB and the connection stays
 *	/slow/F       64 KiB every 50 ms
 *	/error/F      503
 *	/moved/F      302 to /plain/F
 *	/reset/       makes the next answer the first one
 *	/tagged/F     an ETag of its content, and 304 for whoever knows that, which is a line "304 PATH" in LOG
 *	/page/F       200 with a page of HTML, whatever was asked for
 * Files beside an artifact (.sha256, .minisig) are always served plainly.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <intent/digest.h>
#include <intent/file.h>

enum { CUT = 64 << 10 };

static int log_fd;
static unsigned *answers; /* shared: how many were given, so that the first can differ */

struct request { char mode[32], file[256], path[512], known[64]; long long from; bool ranged; };

static bool read_request(int fd, struct request *ret)
{
	char text[8192], *range, *slash;
	size_t used = 0;
	ssize_t count;

	while (used < sizeof(text) - 1 && (count = read(fd, text + used, sizeof(text) - 1 - used)) > 0) {
		used += (size_t)count;
		text[used] = '\0';
		if (strstr(text, "\r\n\r\n"))
			break;
	}
	text[used] = '\0';
	*ret = (struct request){0};
	if (sscanf(text, "GET /%400[^ ]", ret->path) != 1 || !(slash = strchr(ret->path, '/')))
		return false;
	snprintf(ret->mode, sizeof(ret->mode), "%.*s", (int)(slash - ret->path), ret->path);
	snprintf(ret->file, sizeof(ret->file), "%.*s", (int)strcspn(slash + 1, "?"), slash + 1);
	range = strstr(text, "\r\nRange: bytes=");
	ret->ranged = range && sscanf(range + 15, "%lld-", &ret->from) == 1;
	range = strstr(text, "\r\nIf-None-Match: ");
	if (range)
		sscanf(range + 17, "%63[^\r]", ret->known);
	dprintf(log_fd, "GET /%s %lld\n", ret->path, ret->ranged ? ret->from : 0);
	return true;
}

static bool is(const struct request *request, const char *mode)
{
	return strcmp(request->mode, mode) == 0;
}

static void send_body(int fd, int file, const struct request *request, long long from, long long size, bool cut)
{
	static char buffer[CUT];
	long long end = cut && size > from + CUT ? from + CUT : size;

	while (from < end) {
		ssize_t count = pread(file, buffer, end - from < CUT ? (size_t)(end - from) : CUT, from);

		if (count <= 0 || intent_write_all(fd, buffer, (size_t)count) < 0)
			return;
		from += count;
		if (is(request, "slow"))
			nanosleep(&(struct timespec){0, 50000000}, NULL);
	}
	if (cut && is(request, "stall"))
		sleep(20);
}

/* Of the file's content, as a header. */
static void write_tag(int file, char out[128])
{
	static char bytes[1 << 20];
	ssize_t count = pread(file, bytes, sizeof(bytes), 0);
	char digest[65];

	intent_sha256_hex(bytes, count > 0 ? (size_t)count : 0, digest);
	snprintf(out, 128, "ETag: \"%.32s\"\r\n", digest);
}

static void answer(int fd, const struct request *request, int directory)
{
	bool beside = intent_ends_with(request->file, ".sha256") || intent_ends_with(request->file, ".minisig");
	bool first = beside || (*answers)++ == 0, ranged = request->ranged, cut = false;
	const char *validator = "ETag: \"one\"\r\n";
	int file = openat(directory, request->file, O_RDONLY | O_CLOEXEC);
	char tag[128] = "";
	struct stat st;
	long long from;

	if (is(request, "tagged") && file >= 0)
		write_tag(file, tag), validator = tag;
	if (*request->known && !strncmp(tag + 6, request->known, strlen(request->known)) && *tag) {
		dprintf(log_fd, "304 /%s\n", request->path);
		dprintf(fd, "HTTP/1.1 304 Not Modified\r\n%sContent-Length: 0\r\n\r\n", tag);
	} else if (!beside && is(request, "error")) {
		dprintf(fd, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
	} else if (!beside && is(request, "moved")) {
		dprintf(fd, "HTTP/1.1 302 Found\r\nLocation: /plain/%s\r\nContent-Length: 0\r\n\r\n",
			request->file);
	} else if (!beside && is(request, "page")) {
		dprintf(fd, "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n<html>no</html>");
	} else if (file < 0 || fstat(file, &st) < 0) {
		dprintf(fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nnone\n");
	} else {
		if (!beside) {
			cut = is(request, "cut") || is(request, "modified") || is(request, "bare") ||
				is(request, "lying") ||
				(first && (is(request, "norange") || is(request, "changed") || is(request, "stall")));
			ranged = ranged && !is(request, "norange") && !is(request, "changed");
			if (is(request, "modified"))
				validator = "Last-Modified: Sat, 21 Nov 2026 00:00:00 GMT\r\n";
			if (is(request, "bare"))
				validator = "";
			if (is(request, "changed") && !first)
				validator = "ETag: \"two\"\r\n";
		}
		from = ranged ? request->from : 0;
		dprintf(fd, "HTTP/1.1 %s\r\n%sContent-Length: %lld\r\nConnection: close\r\n",
			ranged ? "206 Partial Content" : "200 OK", validator, (long long)st.st_size - from);
		if (ranged)
			dprintf(fd, "Content-Range: bytes %lld-%lld/%lld\r\n",
				from + (is(request, "lying") ? 1 : 0), (long long)st.st_size - 1, (long long)st.st_size);
		dprintf(fd, "\r\n");
		send_body(fd, file, request, from, st.st_size, cut);
	}
	intent__close(&file);
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int directory = argc == 3 ? open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	log_fd = argc == 3 ? open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
	answers = mmap(NULL, sizeof(*answers), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (directory < 0 || log_fd < 0 || answers == MAP_FAILED ||
	    bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listener, 64) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &length) < 0) {
		perror("fileserver");
		return 1;
	}
	printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		struct request request;

		if (fd < 0)
			continue;
		if (fork() == 0) {
			if (read_request(fd, &request)) {
				if (is(&request, "reset")) {
					*answers = 0;
					dprintf(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
				} else {
					answer(fd, &request, directory);
				}
			}
			_exit(0);
		}
		close(fd);
	}
}

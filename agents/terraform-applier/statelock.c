/* Terraform's own lock: never broken here, but a person who may have to is told what can be known of it. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <intent/file.h>
#include "statelock.h"

#define INFO "Lock Info:"
/* Terraform's HTTP backend then shows the lock that it wanted for itself; of the holder's there is only this. */
#define HTTP_HOLDER "already locked: ID="

/* The value of a line "  Who:      " of Terraform's words on a lock; "" when there is none. */
static void field(const char *info, const char *name, char out[256])
{
	const char *line = info;

	*out = '\0';
	for (; line; line = strchr(line, '\n')) {
		line += strspn(line, " \t\n");
		if (!intent_starts_with(line, name))
			continue;
		line += strlen(name);
		line += strspn(line, " \t");
		snprintf(out, 256, "%.*s", (int)strcspn(line, "\n"), line);
		intent_utf8_clean(out);
		return;
	}
}

/* "2026-11-21 10:48:05.029332 +0000 UTC" -> how long ago, for people; "" when it cannot be read. */
static void age(const char *created, char out[24])
{
	struct intent_error ignored;
	char text[24];
	int64_t then;

	*out = '\0';
	if (strlen(created) < 19 || !strstr(created, "+0000"))
		return;
	snprintf(text, sizeof(text), "%.10sT%.8sZ", created, created + 11);
	if (intent_time_parse(text, &then, &ignored) == 0 && intent_time_now() >= then)
		intent_duration_format((intent_time_now() - then) / 1000 * 1000, out);
}

/* The kernel knows who has a local state's lock: Terraform takes it with fcntl(2). */
static bool local_holder(const char *path, pid_t *ret_pid)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	intent_close_auto int fd = *path == '/' ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0 || fcntl(fd, F_GETLK, &lock) < 0)
		return false;
	*ret_pid = lock.l_type == F_UNLCK ? 0 : lock.l_pid;
	return true;
}

/* A process of this host that could be it; 0: there is none to be seen. */
static pid_t find_terraform(const char *binary)
{
	const char *slash = strrchr(binary, '/');
	DIR *listing = opendir("/proc");
	struct dirent *entry;
	pid_t found = 0;

	while (listing && !found && (entry = readdir(listing))) {
		intent_free_auto char *path = NULL, *comm = NULL;
		struct intent_error ignored;
		size_t count;

		if (!isdigit((unsigned char)*entry->d_name))
			continue;
		path = intent_format("/proc/%s/comm", entry->d_name);
		if (!path || intent_file_read(AT_FDCWD, path, 64, &comm, &count, &ignored) < 0)
			continue;
		comm[strcspn(comm, "\n")] = '\0';
		if (!strcmp(comm, "terraform") || !strcmp(comm, "tofu") || !strcmp(comm, slash ? slash + 1 : binary))
			found = (pid_t)strtol(entry->d_name, NULL, 10);
	}
	if (listing)
		closedir(listing);
	return found;
}

static char *alive(const struct applier *applier, const char *path, const char *who)
{
	const char *at = strrchr(who, '@');
	char host[HOST_NAME_MAX + 1] = "";
	pid_t pid;

	if (local_holder(path, &pid))
		return pid > 0 ? intent_format("process %d here has it", (int)pid) : strdup("no process here has it any more");
	gethostname(host, HOST_NAME_MAX);
	if (!at || strcmp(at + 1, host))
		return strdup("whether that process still lives cannot be known from here");
	pid = find_terraform(applier__option(applier, "terraform", "terraform"));
	return pid ? intent_format("a Terraform (process %d) runs on this host", (int)pid) :
		     strdup("no Terraform is to be seen on this host any more");
}

json_t *applier__state_lock(const struct applier *applier, const char *detail)
{
	char id[256], path[256], who[256], created[256], operation[256], ago[24];
	intent_free_auto char *life = NULL, *words = NULL;
	const char *http = strstr(detail, HTTP_HOLDER), *info = strstr(detail, INFO);

	info = http || !info ? "" : info;
	field(info, "ID:", id);
	field(info, "Path:", path);
	field(info, "Who:", who);
	field(info, "Created:", created);
	field(info, "Operation:", operation);
	if (http)
		snprintf(id, sizeof(id), "%.*s", (int)strcspn(http + strlen(HTTP_HOLDER), " \n"), http + strlen(HTTP_HOLDER));
	intent_utf8_clean(id);
	age(created, ago);
	life = alive(applier, path, who);
	words = intent_format("Terraform's lock on the state%s%.100s is held by %.100s%s%.40s%s%s; %s. It is not broken here: "
			      "if nobody works on it any more, terraform force-unlock %.64s", *path ? " " : "", path,
			      *who ? who : "somebody whom this backend does not name", *operation ? " for " : "", operation,
			      *ago ? ", since " : "", ago, life ? life : "", id);
	return json_pack("{ss* ss* ss* ss*}", "id", id, "who", who, "since", created, "words", words);
}

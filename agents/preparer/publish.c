/*
 * From what the writer left to an installation. It stands in a directory that nobody else has ever been able
 * to get into, and is what intent_archive_write() makes.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <linux/fs.h>
#include <intent/file.h>
#include "preparer.h"

static int write_record(int staging_fd, const json_t *record, struct intent_error *err)
{
	intent_free_auto char *text = intent_json_canonical(record);
	intent_close_auto int fd = -1;
	int code;

	fd = openat(staging_fd, PREPARER_RECORD, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0 && errno == EEXIST)
		return intent_fail(err, INTENT_EREFUSED, "the archive holds '" PREPARER_RECORD "', a name "
				   "that is kept for the record of the installation");
	if (fd < 0 || fchmod(fd, 0644) < 0)
		return intent_fail_errno(err, "cannot write the record");
	code = intent_write_all(fd, text, strlen(text));
	if (!code)
		code = intent_write_all(fd, "\n", 1);
	errno = -code;
	return code ? intent_fail_errno(err, "cannot write the record") : 0;
}

int preparer_publish(int installs_fd, const char *staging, int staging_fd, const char *name,
		     const json_t *record, struct intent_error *err)
{
	int code;

	if ((code = write_record(staging_fd, record, err)))
		return code;
	if (fchmod(staging_fd, 0755) < 0)
		return intent_fail_errno(err, "cannot open the installation to all");
	/* One call in the place of an fsync for each file. */
	if (syncfs(staging_fd) < 0)
		return intent_fail_errno(err, "cannot write the installation to disk");
	if (syscall(SYS_renameat2, installs_fd, staging, installs_fd, name, RENAME_NOREPLACE) < 0)
		return errno == EEXIST ?
			intent_fail(err, INTENT_ENOTOURS, "%s appeared while it was being prepared: who "
				    "made it?", name) :
			intent_fail_errno(err, "cannot give the installation its name");
	return fsync(installs_fd) < 0 ? intent_fail_errno(err, "cannot sync the installs directory") : 0;
}

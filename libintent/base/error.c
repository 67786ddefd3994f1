#include <errno.h>
#include <stdarg.h>
#include <intent/text.h>

static const struct {
	int code;
	enum intent_state state;
	const char *reason;
} codes[] = {
	{INTENT_EMALFORMED, INTENT_BLOCKED, "Malformed"},
	{INTENT_EREFUSED, INTENT_BLOCKED, "Refused"},
	{INTENT_ENOTOURS, INTENT_BLOCKED, "NotOurs"},
	{INTENT_EDIGEST, INTENT_BLOCKED, "DigestMismatch"},
	{INTENT_EVANISHED, INTENT_BLOCKED, "IntentVanished"},
	{INTENT_EDESTROY, INTENT_BLOCKED, "TooManyRemovals"},
	{INTENT_ETOOBIG, INTENT_BLOCKED, "TooBig"},
	{INTENT_EUSAGE, INTENT_BLOCKED, "Usage"},
	{INTENT_ECHANGED, INTENT_BLOCKED, "DigestChanged"},
	{INTENT_ECLASH, INTENT_BLOCKED, "Clash"},
	{INTENT_EAPPROVAL, INTENT_BLOCKED, "ApprovalRequired"},
	{INTENT_EOUTCOME, INTENT_BLOCKED, "ApplyOutcomeUnknown"},
	{INTENT_EORPHANED, INTENT_BLOCKED, "Orphaned"},
	{INTENT_EWAITING, INTENT_WAITING, "Waiting"},
	{INTENT_ENOTINSTALLED, INTENT_WAITING, "NotInstalled"},
	{INTENT_ENOCONFIG, INTENT_WAITING, "NoConfig"},
	{INTENT_EBUSY, INTENT_WAITING, "Busy"},
	{INTENT_EUNSUPERVISED, INTENT_WAITING, "NotSupervised"},
	{INTENT_EENGINE, INTENT_WAITING, "EngineMissing"},
	{INTENT_EIMAGE, INTENT_WAITING, "ImageMissing"},
	{INTENT_EOUTPUT, INTENT_WAITING, "OutputMissing"},
	{INTENT_EENVIRONMENT, INTENT_WAITING, "EnvironmentMissing"},
	{INTENT_EUNAVAILABLE, INTENT_FAILING, "Unavailable"},
	{INTENT_EUNKNOWN, INTENT_FAILING, "UnknownOutcome"},
	{INTENT_ECONFLICT, INTENT_FAILING, "Conflict"},
	{INTENT_EUNHEALTHY, INTENT_FAILING, "Unhealthy"},
	{INTENT_ETIMEOUT, INTENT_FAILING, "Timeout"},
	{INTENT_ECHILD, INTENT_FAILING, "ChildFailed"},
	{INTENT_ESTALE, INTENT_CONVERGING, "IntentChanged"},
	{INTENT_ECRASHED, INTENT_FAILING, "RoundCrashed"},
	{INTENT_EABSENT, INTENT_FAILING, "Absent"},
	{INTENT_ESOURCE, INTENT_FAILING, "SourceUnavailable"},
	{-ENOSPC, INTENT_FAILING, "NoSpace"},
	{-EDQUOT, INTENT_FAILING, "NoSpace"},
	{-EROFS, INTENT_FAILING, "ReadOnly"},
	{-EACCES, INTENT_FAILING, "PermissionDenied"},
	{-EPERM, INTENT_FAILING, "PermissionDenied"},
	{-ENOMEM, INTENT_FAILING, "NoMemory"},
};

static const char *const state_names[] = {
	[INTENT_CONVERGED] = "converged",
	[INTENT_CONVERGING] = "converging",
	[INTENT_WAITING] = "waiting",
	[INTENT_BLOCKED] = "blocked",
	[INTENT_FAILING] = "failing",
};

const char *intent_state_name(enum intent_state state)
{
	return state_names[state];
}

enum intent_state intent_error_state(int code)
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].code == code)
			return codes[i].state;
	return INTENT_FAILING;
}

const char *intent_error_reason(int code)
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].code == code)
			return codes[i].reason;
	return "Failed";
}

int intent_error_from_reason(const char *reason)
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (!strcmp(codes[i].reason, reason))
			return codes[i].code;
	return 0;
}

bool intent_error_is_temporary(int code)
{
	enum intent_state state = intent_error_state(code);

	return state == INTENT_FAILING || state == INTENT_CONVERGING;
}

bool intent_error_is_errno(int code)
{
	return code < 0 && code > INTENT_EBASE;
}

/*
 * A message is one line of clean UTF-8 whatever went into it: it goes to terminals, and into JSON,
 * which would not take it otherwise.
 */
static void keep_one_line(char *text)
{
	size_t length = strlen(text);

	while (length && strchr("\r\n ", text[length - 1]))
		text[--length] = '\0';
	for (char *p = text; *p; p++)
		if (*p == '\n' || *p == '\r' || *p == '\t')
			*p = ' ';
	intent_utf8_clean(text);
}

int intent_fail(struct intent_error *err, int code, const char *format, ...)
{
	/* Formatted aside: an argument may be the very message we replace. */
	char msg[sizeof(err->msg)];
	va_list ap;

	va_start(ap, format);
	vsnprintf(msg, sizeof(msg), format, ap);
	va_end(ap);
	keep_one_line(msg);
	memcpy(err->msg, msg, sizeof(msg));
	err->code = code;
	return code;
}

int intent_fail_errno(struct intent_error *err, const char *format, ...)
{
	int saved = errno ? errno : EIO;
	const char *way_out = errno == EIO ? "; the kernel's log (dmesg) says which device fails" : "";
	char msg[sizeof(err->msg)], words[128];
	va_list ap;

	va_start(ap, format);
	vsnprintf(msg, sizeof(msg), format, ap);
	va_end(ap);
	return intent_fail(err, -saved, "%s: %s%s", msg, strerror_r(saved, words, sizeof(words)), way_out);
}

int intent_wrap(struct intent_error *err, const char *format, ...)
{
	char subject[sizeof(err->msg)];
	va_list ap;

	va_start(ap, format);
	vsnprintf(subject, sizeof(subject), format, ap);
	va_end(ap);
	return intent_fail(err, err->code, "%s: %s", subject, err->msg);
}

/* Objects of S3, or of a server that speaks like it. What is ours bears the injection's name in its metadata. */
#include "injector.h"

#define MARK "x-amz-meta-platypus-injection"

/* A sink's object, and who asks for it. */
struct target {
	struct intent_s3_object object;
	char region[64];
	struct intent_http *http;                          /* borrowed */
	const struct intent_aws_credentials *credentials;  /* borrowed */
};

static int aim(struct injector *injector, const struct injector_sink *sink, struct target *ret,
	       struct intent_error *err)
{
	const char *region = intent_json_string(sink->document, "region", NULL);

	*ret = (struct target){.object = {
		.bucket = intent_json_string(sink->document, "bucket", ""),
		.key = intent_json_string(sink->document, "key", ""),
		.endpoint = intent_json_string(sink->document, "endpoint", NULL), .region = ret->region,
	}};
	ret->http = injector__http(injector);
	/* The sink's own word before the surroundings'; a server of one's own has no regions. */
	if (region)
		snprintf(ret->region, sizeof(ret->region), "%s", region);
	else if (intent_aws_region(ret->http, ret->object.endpoint ? "us-east-1" : NULL, ret->region, err) < 0)
		return err->code;
	return injector__credentials(injector, ret->region, &ret->credentials, err);
}

/* What lies there: *ret_there false when there is nothing. */
static int look(const struct target *target, struct intent_http_response *ret, bool *ret_there,
		struct intent_error *err)
{
	*ret_there = intent_s3_get(target->http, &target->object, target->credentials, NULL, ret, err) == 0;
	return *ret_there || err->code == INTENT_EABSENT ? 0 : err->code;
}

/* Whose it is; NULL: it is ours. New. */
static char *stranger(const struct intent_http_response *present, const struct injector_sink *sink)
{
	char mark[300];

	if (!intent_http_header(present, MARK, mark, sizeof(mark)))
		return strdup("it has no mark of ours");
	return strcmp(mark, sink->owner) ? intent_format("it is of the injection %s", mark) : NULL;
}

static const char *format_of(const struct injector_sink *sink)
{
	return intent_json_string(sink->document, "format", "json");
}

/* ---- looking ---- */

static json_t *describe(struct injector *injector, const struct injector_sink *sink,
			const struct intent_http_response *present)
{
	intent_free_auto char *whose = stranger(present, sink);
	const char *body = intent_text_str(&present->body);
	const char *wanted = intent_json_string(sink->document, "encryption", NULL);
	json_t *keys = injector__parse(injector, format_of(sink), body, present->body.length);
	json_t *seen = json_pack("{ss so*}", "state", whose ? "foreign" : "ours", "keys", keys);
	char sealed[64] = "none";

	if (whose)
		json_object_set_new(seen, "by", json_string(whose));
	intent_http_header(present, "x-amz-server-side-encryption", sealed, sizeof(sealed));
	if (!whose && !keys)
		json_object_set_new(seen, "differs", json_sprintf("its content is no %s", format_of(sink)));
	else if (!whose && wanted && strcmp(wanted, sealed))
		json_object_set_new(seen, "differs", json_sprintf("its encryption is %s, not %s", sealed, wanted));
	return seen;
}

static int observe(struct injector *injector, const struct injector_sink *sink, json_t **ret_new,
		   struct intent_error *err)
{
	struct intent_http_response present = {0};
	struct target target;
	bool there;

	if (aim(injector, sink, &target, err) < 0 || look(&target, &present, &there, err) < 0)
		return err->code;
	*ret_new = there ? describe(injector, sink, &present) : json_pack("{ss}", "state", "absent");
	if (present.body.data)
		explicit_bzero(present.body.data, present.body.room);
	intent_http_response_release(&present);
	return 0;
}

/* ---- writing ---- */

/* The tag that the object has to have still when it is written: "" when there is none. */
static int check(const struct target *target, const struct injector_sink *sink, char tag[128], struct intent_error *err)
{
	struct intent_http_response present = {0};
	intent_free_auto char *whose = NULL;
	bool there;

	if (look(target, &present, &there, err) < 0)
		return err->code;
	tag[0] = '\0';
	if (there) {
		whose = stranger(&present, sink);
		if (!intent_http_header(&present, "etag", tag, 128))
			snprintf(tag, 128, "*");
	}
	if (present.body.data)
		explicit_bzero(present.body.data, present.body.room);
	intent_http_response_release(&present);
	return whose && !intent_json_boolean(sink->document, "adopt", false) ?
		intent_fail(err, INTENT_ENOTOURS, "it is there and not ours (%s)", whose) : 0;
}

static int write_object(struct injector *injector, const struct injector_sink *sink, const json_t *values,
			struct intent_error *err)
{
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT;
	intent_free_auto char *mark = intent_format("%s: %s", MARK, sink->owner);
	struct target target;
	char tag[128];

	if (injector__render(format_of(sink), values, &text, err) < 0 || aim(injector, sink, &target, err) < 0 ||
	    check(&target, sink, tag, err) < 0)
		return err->code;
	struct intent_s3_content content = {
		.body = intent_text_str(&text), .length = text.length, .metadata = mark, .etag = tag,
		.type = strcmp(format_of(sink), "json") ? "text/plain; charset=utf-8" : "application/json",
		.encryption = intent_json_string(sink->document, "encryption", NULL),
	};
	int code = intent_s3_put(target.http, &target.object, target.credentials, &content, err);

	if (text.data)
		explicit_bzero(text.data, text.room);
	/* Its bucket: somebody may make it yet. */
	return code == INTENT_EABSENT ? err->code = INTENT_EWAITING : code;
}

static int remove_object(struct injector *injector, const struct injector_sink *sink, struct intent_error *err)
{
	struct intent_http_response present = {0};
	intent_free_auto char *whose = NULL;
	struct target target;
	bool there;

	if (aim(injector, sink, &target, err) < 0 || look(&target, &present, &there, err) < 0)
		return err->code;
	whose = there ? stranger(&present, sink) : NULL;
	intent_http_response_release(&present);
	return there && !whose ? intent_s3_delete(target.http, &target.object, target.credentials, err) : 0;
}

const struct injector_sink_kind injector__s3 = {"s3", observe, write_object, remove_object};

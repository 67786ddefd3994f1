/* A Terraform state, version 4: what it says of itself, and its outputs. Pure. */
#include <errno.h>
#include <zlib.h>
#include "injector.h"

/* The text of a member that is not a string: "4", "true"; "" when it is not there. */
static void word(const struct injector_raw *raw, const char *name, char *out, size_t room)
{
	struct injector_raw value;
	intent_free_auto char *text = NULL;

	*out = '\0';
	if (injector__raw_member(raw, name, &value) && (text = injector__raw_text(&value)))
		snprintf(out, room, "%s", text);
}

/* Every output: its JSON text, and whether it is sensitive. New. */
static json_t *outputs_of(const struct injector_raw *outputs)
{
	intent_json_auto json_t *names = injector__raw_names(outputs);
	json_t *all = json_object(), *name;
	size_t i;

	json_array_foreach(names, i, name) {
		struct injector_raw output, value;
		char sensitive[8];

		if (!injector__raw_member(outputs, json_string_value(name), &output) ||
		    !injector__raw_member(&output, "value", &value))
			continue;
		word(&output, "sensitive", sensitive, sizeof(sensitive));
		json_object_set_new(all, json_string_value(name), json_pack("{ss# sb}", "text", value.at,
				    (int)(value.end - value.at), "sensitive", !strcmp(sensitive, "true")));
	}
	return all;
}

int injector__tfstate_parse(const char *bytes, size_t count, struct injector_tfstate *ret, struct intent_error *err)
{
	struct injector_raw whole = {bytes, bytes + count}, outputs;
	char version[16], serial[32];

	if (!injector__raw_whole(&whole) || *whole.at != '{')
		return intent_fail(err, INTENT_ESOURCE, "is no JSON, or not all of it: it may be being written");
	if (injector__raw_member(&whole, "encrypted_data", &outputs))
		return intent_fail(err, INTENT_EREFUSED, "is encrypted by OpenTofu, and its key is not ours to have: take the "
				   "outputs from somewhere else");
	word(&whole, "version", version, sizeof(version));
	if (strcmp(version, "4"))
		return intent_fail(err, INTENT_EMALFORMED, "is no Terraform state of version 4 but %s%.10s: Terraform 0.12 and "
				   "later write that", *version ? "of " : "of none", version);
	word(&whole, "serial", serial, sizeof(serial));
	if (intent_integer_parse(serial, 0, INT64_MAX, &ret->serial, err) < 0)
		return intent_wrap(err, "its serial");
	word(&whole, "lineage", ret->lineage, sizeof(ret->lineage));
	ret->outputs = injector__raw_member(&whole, "outputs", &outputs) ? outputs_of(&outputs) : json_object();
	return 0;
}

int injector__gunzip(struct intent_text *body, struct intent_error *err)
{
	intent_text_auto struct intent_text out = {.limit = INJECTOR_STATE_MAX};
	z_stream stream = {.next_in = (unsigned char *)body->data, .avail_in = (unsigned)body->length};
	unsigned char chunk[65536];
	int code = Z_OK;

	if (body->length < 2 || (unsigned char)body->data[0] != 0x1f)
		return 0;
	if (inflateInit2(&stream, 15 + 16) != Z_OK)
		return intent_fail(err, -ENOTSUP, "is compressed, and this zlib is not the one that gzip was built for");
	while (code == Z_OK && !out.failed) {
		stream.next_out = chunk;
		stream.avail_out = sizeof(chunk);
		code = inflate(&stream, Z_NO_FLUSH);
		intent_text_add(&out, chunk, sizeof(chunk) - stream.avail_out);
	}
	inflateEnd(&stream);
	if (out.failed)
		return intent_fail(err, INTENT_ETOOBIG, "is longer than %u bytes", INJECTOR_STATE_MAX);
	if (code != Z_STREAM_END)
		return intent_fail(err, INTENT_ESOURCE, "is damaged where it is compressed");
	intent_text_release(body);
	body->length = out.length;
	body->data = intent_text_steal(&out);
	return 0;
}

int injector__output(const json_t *outputs, const char *reference, char **ret_owned, bool *ret_sensitive,
		     struct intent_error *err)
{
	size_t length = strcspn(reference, "/");
	intent_free_auto char *name = strndup(reference, length);
	const json_t *output = name ? json_object_get(outputs, name) : NULL;
	const char *text = intent_json_string(output, "text", NULL);
	struct injector_raw whole, value;

	if (!text)
		return intent_fail(err, INTENT_EABSENT, "there is no output %s", name);
	whole = (struct injector_raw){text, text + strlen(text)};
	*ret_sensitive = intent_json_boolean(output, "sensitive", false);
	if (!injector__raw_at(&whole, reference + length, &value))
		return intent_fail(err, INTENT_EABSENT, "output %s has no %s", name, reference + length);
	*ret_owned = injector__raw_text(&value);
	return *ret_owned ? 0 : intent_fail(err, INTENT_EABSENT, "output %s is null%s%s", name,
					    reference[length] ? " at " : "", reference + length);
}

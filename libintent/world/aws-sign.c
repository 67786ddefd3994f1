/*
 * Signature Version 4. Our own: libcurl's, in the version that Debian 12 has, neither orders a query nor encodes a
 * path, and each version since has signed a little differently.
 */
#include <ctype.h>
#include <strings.h>
#include <intent/aws.h>
#include <intent/digest.h>

static size_t name_length(const char *header)
{
	return strcspn(header, ":");
}

static int by_name(const void *a, const void *b)
{
	const char *left = *(const char *const *)a, *right = *(const char *const *)b;
	size_t here = name_length(left), there = name_length(right);
	int order = strncasecmp(left, right, here < there ? here : there);

	return order ? order : (here > there) - (here < there);
}

static void put_name(struct intent_text *out, const char *header)
{
	for (size_t i = 0; i < name_length(header); i++)
		intent_text_printf(out, "%c", tolower((unsigned char)header[i]));
}

/* Without blanks around it, and with one for each run of them inside. */
static void put_value(struct intent_text *out, const char *header)
{
	const char *value = header + name_length(header);
	bool blank = false, any = false;

	for (value += *value == ':'; *value; value++) {
		if (*value == ' ' || *value == '\t') {
			blank = any;
			continue;
		}
		if (blank)
			intent_text_puts(out, " ");
		intent_text_add(out, value, 1);
		blank = false;
		any = true;
	}
}

/* The digest of the canonical request, and the list of header names that it covers. */
static int digest_request(const struct intent_aws_request *request, char ret_digest[65], struct intent_text *ret_names,
			  struct intent_error *err)
{
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT;
	const char *sorted[INTENT_AWS_HEADERS_MAX] = {NULL};
	size_t count = 0;

	for (const char *const *header = request->headers; *header; header++) {
		if (count == INTENT_AWS_HEADERS_MAX)
			return intent_fail(err, INTENT_ETOOBIG, "more than %d headers to sign", INTENT_AWS_HEADERS_MAX);
		sorted[count++] = *header;
	}
	qsort(sorted, count, sizeof(*sorted), by_name);
	intent_text_printf(&text, "%s\n%s\n%s\n", request->method, request->path, request->query);
	for (size_t i = 0; i < count; i++) {
		put_name(&text, sorted[i]);
		intent_text_puts(&text, ":");
		put_value(&text, sorted[i]);
		intent_text_puts(&text, "\n");
		intent_text_puts(ret_names, i ? ";" : "");
		put_name(ret_names, sorted[i]);
	}
	intent_text_printf(&text, "\n%s\n%s", intent_text_str(ret_names), request->payload);
	intent_sha256_hex(intent_text_str(&text), text.length, ret_digest);
	return 0;
}

/* The key for one day, region and service: a chain of HMACs that begins with the secret. */
static void derive_key(const struct intent_aws_request *request, const char *secret, unsigned char key[32])
{
	const char *const steps[] = {request->region, request->service, "aws4_request"};
	intent_free_auto char *first = intent_format("AWS4%s", secret);

	intent_hmac_sha256(first, strlen(first), request->time, 8, key);
	explicit_bzero(first, strlen(first));
	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++)
		intent_hmac_sha256(key, 32, steps[i], strlen(steps[i]), key);
}

int intent_aws_sign(const struct intent_aws_request *request, const struct intent_aws_credentials *credentials,
		    struct intent_text *ret, struct intent_error *err)
{
	intent_text_auto struct intent_text names = INTENT_TEXT_INIT, string = INTENT_TEXT_INIT;
	unsigned char key[32], mac[32];
	char digest[65], signature[65], scope[256];

	if (digest_request(request, digest, &names, err))
		return err->code;
	snprintf(scope, sizeof(scope), "%.8s/%s/%s/aws4_request", request->time, request->region, request->service);
	intent_text_printf(&string, "AWS4-HMAC-SHA256\n%s\n%s\n%s", request->time, scope, digest);
	derive_key(request, credentials->secret, key);
	intent_hmac_sha256(key, sizeof(key), intent_text_str(&string), string.length, mac);
	explicit_bzero(key, sizeof(key));
	intent_hex(signature, mac, sizeof(mac));
	intent_text_printf(ret, "Authorization: AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s",
			   credentials->key_id, scope, intent_text_str(&names), signature);
	return 0;
}

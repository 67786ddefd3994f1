/* Where an artifact may come from, and whether what came is what was meant. Pure. */
#include <strings.h>
#include <intent/digest.h>
#include <intent/fetch.h>
#include "preparer.h"

static const char *const suffixes[] = {".tar.gz", ".tar.zst", ".tar.xz"};

struct preparer_source *preparer_sources_free(struct preparer_source *sources)
{
	for (struct preparer_source *source = sources; source && source->url; source++)
		free(source->url);
	free(sources);
	return NULL;
}

struct preparer_source *preparer_sources(const json_t *intent, const char *version)
{
	const json_t *artifact = json_object_get(json_object_get(json_object_get(intent, "config"),
								 "artifacts"), version);
	const char *url = intent_json_string(artifact, "url", NULL);
	const char *app = intent_json_string(intent, "app", "");
	const char *repo = intent_json_string(json_object_get(intent, "options"), "repo", NULL);
	struct preparer_source *sources = calloc(sizeof(suffixes) / sizeof(*suffixes) + 1, sizeof(*sources));
	size_t length = repo ? strlen(repo) : 0, count = 0;

	while (length > 0 && repo[length - 1] == '/')
		length--;
	if (url)
		sources[0] = (struct preparer_source){strdup(url), false, !intent_starts_with(url, "file:")};
	for (size_t i = 0; !url && repo && i < sizeof(suffixes) / sizeof(*suffixes); i++)
		sources[count++] = (struct preparer_source){
			intent_format("%.*s/%s/%s_%s%s", (int)length, repo, app, app, version, suffixes[i]),
			true, false};
	return sources;
}

char *preparer_beside(const char *url, const char *suffix)
{
	int path = (int)strcspn(url, "?#");

	return intent_format("%.*s%s%s", path, url, suffix, url + path);
}

/* ---- digests and signatures ---- */

/* "<hex>", "<hex>  name", "<hex> *name", as sha256sum writes them. */
static int parse_sums(const char *text, size_t count, char out[65], struct intent_error *err)
{
	for (size_t i = 0; i < 64 && i < count; i++)
		out[i] = text[i];
	out[64 < count ? 64 : count] = '\0';
	if (intent_check_sha256(out) || (count > 64 && !strchr(" \t\r\n", text[64])))
		return intent_fail(err, INTENT_EMALFORMED, "the .sha256 file beside the artifact does not "
				   "begin with 64 hexadecimal digits; write it with sha256sum");
	return 0;
}

static int judge_digest(const struct preparer_evidence *evidence, struct intent_error *err)
{
	char have[65], beside[65];
	const char *want = evidence->document;
	int code;

	if (!want && !evidence->sums)
		return 0;
	if (!want) {
		if ((code = parse_sums(evidence->sums, evidence->sums_count, beside, err)))
			return code;
		want = beside;
	}
	intent_hex(have, evidence->sha256, 32);
	if (strcasecmp(want, have) == 0)
		return 0;
	return intent_fail(err, INTENT_EDIGEST, "the artifact's sha256 is %s, but %s says %.64s: "
			   "put the right artifact there, or correct the digest", have,
			   evidence->document ? "the document" : "the .sha256 file beside it", want);
}

/*
 * minisign writes the name of the signed file into the comment that it signs too. When no
 * document pins the content, that name must be the artifact's, or any artifact that was
 * ever signed could be served in its place.
 */
static int judge_name(const struct preparer_evidence *evidence, const char *comment, struct intent_error *err)
{
	const char *file = intent_starts_with(comment, "file:") ? comment : strstr(comment, "\tfile:");
	size_t count;

	if (evidence->document || !file || !evidence->name)
		return 0;
	file = strchr(file, ':') + 1;
	count = strcspn(file, "\t");
	if (count == strlen(evidence->name) && memcmp(file, evidence->name, count) == 0)
		return 0;
	return intent_fail(err, INTENT_EDIGEST, "the signature is for a file named '%.*s', not '%s': "
			   "sign it under its name, or put its sha256 into the document",
			   (int)(count < 100 ? count : 100), file, evidence->name);
}

int preparer_judge(const struct preparer_evidence *evidence, uint64_t *ret_key, struct intent_error *err)
{
	char key[17], comment[8192];
	int code = judge_digest(evidence, err);

	*ret_key = 0;
	if (code || !evidence->keys)
		return code;
	if (!evidence->signature)
		return intent_fail(err, INTENT_EDIGEST, "there is no .minisig file beside the artifact, and "
				   "--trusted-keys demands a signature: minisign -S -m ARTIFACT");
	if ((code = intent_signature_check(evidence->keys, evidence->signature, evidence->signature_count,
					   evidence->blake2b, err)) ||
	    (code = intent_signature_describe(evidence->signature, evidence->signature_count, key,
					      comment, sizeof(comment), err)))
		return intent_wrap(err, "signature");
	*ret_key = strtoull(key, NULL, 16);
	return judge_name(evidence, comment, err);
}

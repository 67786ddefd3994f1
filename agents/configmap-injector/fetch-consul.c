/* A Terraform state in Consul, as Terraform's own backend keeps it: whole, or in parts that its key names. */
#include "injector.h"

#define CHUNKS_MAX 1000
#define INDEX_MAX (1u << 20)

/* CONSUL_HTTP_TOKEN is for the server that the agent was told of, not for any that a document names. */
static int open_consul(struct injector *injector, const char *server, const char *url, struct intent_store **ret_owned,
		       struct intent_error *err)
{
	static const char *const tokens[] = {"CONSUL_HTTP_TOKEN", "CONSUL_HTTP_TOKEN_FILE", "CONSUL_HTTP_AUTH"};
	const char *address = getenv("CONSUL_HTTP_ADDR");
	struct intent_store *store = NULL;
	struct intent_error ignored;
	char *kept[3] = {NULL};
	bool is_known = injector__is_at(url, address ? address : "127.0.0.1:8500");
	int code;

	if (!is_known && intent_round_store(injector->round, &store, &ignored) == 0)
		is_known = injector__is_at(url, intent_store_name(store));
	for (size_t i = 0; !is_known && i < 3; i++) {
		kept[i] = getenv(tokens[i]) ? strdup(getenv(tokens[i])) : NULL;
		unsetenv(tokens[i]);
	}
	code = intent_store_open(server, NULL, ret_owned, err);
	for (size_t i = 0; i < 3; i++) {
		if (kept[i])
			setenv(tokens[i], kept[i], 1);
		free(kept[i]);
	}
	return code;
}

static int get_key(struct intent_store *store, const char *key, struct intent_text *body, uint64_t *ret_revision,
		   struct intent_error *err)
{
	struct intent_snapshot *snapshot;

	if (intent_store_get(store, key, INTENT_DEFAULT, &snapshot, err) < 0)
		return err->code;
	intent_text_add(body, snapshot->entries[0].value, snapshot->entries[0].length);
	*ret_revision = snapshot->entries[0].revision;
	intent_snapshot_unref(snapshot);
	return 0;
}

/* A state too large for one key is split; the key then names its parts. */
static int join_parts(struct intent_store *store, struct injector_answer *ret, struct intent_error *err)
{
	intent_json_auto json_t *index = NULL;
	struct intent_error ignored;
	const json_t *chunks;
	uint64_t revision;
	size_t i;
	json_t *chunk;

	if (ret->body.length > INDEX_MAX ||
	    intent_json_parse(intent_text_str(&ret->body), ret->body.length, 0, &index, &ignored) < 0)
		return 0; /* compressed, or the state itself with numbers that we do not take */
	chunks = json_object_get(index, "chunks");
	if (!json_object_get(index, "current-hash") || !json_is_array(chunks))
		return 0;
	if (json_array_size(chunks) > CHUNKS_MAX)
		return intent_fail(err, INTENT_ETOOBIG, "has more than %d parts", CHUNKS_MAX);
	intent_text_clear(&ret->body);
	json_array_foreach((json_t *)(uintptr_t)chunks, i, chunk) {
		const char *key = json_is_string(chunk) ? json_string_value(chunk) : "?";

		int code = get_key(store, key, &ret->body, &revision, err);

		/* Parts of an old state go as soon as there is a new one. */
		if (code == INTENT_EABSENT)
			return intent_fail(err, INTENT_ESOURCE, "a part of it is gone: it may be being written");
		if (code)
			return code;
	}
	snprintf(ret->md5, sizeof(ret->md5), "%s", intent_json_string(index, "current-hash", ""));
	return 0;
}

int injector__fetch_consul(struct injector *injector, const char *url, const char *validator,
			   struct injector_answer *ret, struct intent_error *err)
{
	const char *path = strchr(strstr(url, "://") + 3, '/');
	char workspace[256] = "default";
	intent_free_auto char *server = path ? strndup(url, (size_t)(path - url)) : NULL, *key = NULL;
	struct intent_store *store = NULL;
	uint64_t revision = 0;
	int code;

	if (!path || !path[1] || path[1] == '?')
		return intent_fail(err, INTENT_EMALFORMED, "must be consul://HOST:PORT/PATH");
	injector__query(url, "workspace", workspace, sizeof(workspace));
	key = intent_format("%.*s%s%s", (int)strcspn(path + 1, "?"), path + 1, strcmp(workspace, "default") ? "-env:" : "",
			    strcmp(workspace, "default") ? workspace : "");
	if (open_consul(injector, server, url, &store, err) < 0)
		return err->code;
	code = get_key(store, key, &ret->body, &revision, err);
	snprintf(ret->validator, sizeof(ret->validator), "%llu", (unsigned long long)revision);
	ret->is_unchanged = !code && validator && !strcmp(validator, ret->validator);
	if (!code && !ret->is_unchanged)
		code = join_parts(store, ret, err);
	intent_store_close(store);
	return code;
}

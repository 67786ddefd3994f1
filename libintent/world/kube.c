/* Requests to the API server, and what its answers mean. */
#include "kube.h"

#define ANSWER_MAX (4u << 20) /* an object has 1 MiB at most, and its managedFields beside it */
#define AGAIN_MAX_S 600

static const struct {
	const char *kind, *api, *plural;
} kinds[] = {
	{"ConfigMap", "/api/v1", "configmaps"},
	{"Secret", "/api/v1", "secrets"},
	{"Service", "/api/v1", "services"},
	{"EndpointSlice", "/apis/discovery.k8s.io/v1", "endpointslices"},
};

struct call {
	const char *method, *kind, *namespace, *name;
	const char *query;          /* "" or with its '?' */
	const char *type;           /* of the body */
	const char *body;           /* NULL: none; borrowed */
};

static char *url_of(const struct intent_kube *kube, const struct call *call)
{
	intent_text_auto struct intent_text space = INTENT_TEXT_INIT, name = INTENT_TEXT_INIT;

	intent_url_escape(&space, call->namespace, "");
	intent_url_escape(&name, call->name, "");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!strcmp(kinds[i].kind, call->kind))
			return intent_format("%s%s/namespaces/%s/%s/%s%s", kube->server, kinds[i].api,
					     intent_text_str(&space), kinds[i].plural, intent_text_str(&name),
					     call->query);
	return NULL;
}

static int send_once(struct intent_kube *kube, const struct call *call, const char *url, bool again,
		     struct intent_http_response *ret, struct intent_error *err)
{
	char *authorization = intent__kube_authorization(kube, again, err);
	intent_free_auto char *type = intent_format("Content-Type: %s", call->type ? call->type : "application/json");
	const char *headers[4] = {"Accept: application/json", type, authorization};

	if (!authorization && err->code)
		return err->code;
	struct intent_http_request request = {
		.method = call->method, .url = url, .headers = headers, .body = call->body,
		.body_length = call->body ? strlen(call->body) : 0, .timeout_ms = kube->timeout_ms,
		.body_max = ANSWER_MAX,
	};
	int code = intent_http_perform(kube->http, &request, ret, NULL, err);
	if (authorization)
		explicit_bzero(authorization, strlen(authorization));
	free(authorization);
	return code;
}

/* ---- what an answer means ---- */

static const struct {
	int status, code;
	const char *words;
} meanings[] = {
	{400, INTENT_EREFUSED, "the server does not take it"},
	{401, INTENT_EREFUSED, "the server does not know us; the token or certificate is wrong or has expired"},
	{403, INTENT_EREFUSED, "not allowed; a Role must grant it"},
	{404, INTENT_EABSENT, "does not exist"},
	{409, INTENT_ECONFLICT, "conflict"},
	{422, INTENT_EREFUSED, "the server does not take it"},
	{429, INTENT_EUNAVAILABLE, "the server asks for patience"},
};

/*
 * The server's own words, in which a Secret's value may stand: of an invalid object it quotes what
 * is wrong. So only words of answers that cannot: who owns a field, what is missing, what we may not.
 */
static const char *words_of(const json_t *status, int http_status)
{
	return http_status == 403 || http_status == 404 || http_status == 409 ?
		intent_json_string(status, "message", NULL) : NULL;
}

static int explain(const struct call *call, const struct intent_http_response *answer, int64_t *ret_again_ms,
		   struct intent_error *err)
{
	intent_json_auto json_t *status = NULL;
	const char *field = NULL, *reason, *words, *meaning = "the server has trouble";
	int code = answer->status >= 500 ? INTENT_EUNAVAILABLE : INTENT_EREFUSED;
	char after[32];
	int64_t seconds;

	intent_json_parse(intent_text_str(&answer->body), answer->body.length, ANSWER_MAX, &status, err);
	for (size_t i = 0; i < sizeof(meanings) / sizeof(*meanings); i++)
		if (meanings[i].status == answer->status) {
			code = meanings[i].code;
			meaning = meanings[i].words;
		}
	if (ret_again_ms && intent_http_header(answer, "retry-after", after, sizeof(after)) &&
	    !intent_integer_parse(after, 0, AGAIN_MAX_S, &seconds, err))
		*ret_again_ms = seconds * 1000;
	field = intent_json_string(intent_json_at(status, "/details/causes/0"), "field", NULL);
	reason = intent_json_string(status, "reason", "");
	words = words_of(status, answer->status);
	return intent_fail(err, code, "%s %.64s/%.128s: %s (%d%s%.40s%s%.100s)%s%.250s", call->kind, call->namespace,
			   call->name, meaning, answer->status, *reason ? " " : "", reason, field ? ", field " : "",
			   field ? field : "", words ? ": " : "", words ? words : "");
}

static int perform(struct intent_kube *kube, const struct call *call, json_t **ret_new, int64_t *ret_again_ms,
		   struct intent_error *err)
{
	intent_free_auto char *url = url_of(kube, call);
	struct intent_http_response answer = {0};
	int code;

	if (!url)
		return intent_fail(err, INTENT_EUSAGE, "Kubernetes: unknown kind %s", call->kind);
	for (int attempt = 0; attempt < 2; attempt++) {
		intent_http_response_release(&answer);
		if (send_once(kube, call, url, attempt > 0, &answer, err))
			return intent_wrap(err, "%s %s/%s", call->kind, call->namespace, call->name);
		/* A token that was renewed since: once more with the new one. */
		if (answer.status != 401)
			break;
	}
	code = 0;
	if (answer.status < 200 || answer.status > 299)
		code = explain(call, &answer, ret_again_ms, err);
	else if (ret_new &&
		 intent_json_parse(intent_text_str(&answer.body), answer.body.length, ANSWER_MAX, ret_new, err))
		code = intent_fail(err, INTENT_EUNAVAILABLE, "%s %s/%s: the server's answer is no JSON", call->kind,
				   call->namespace, call->name);
	if (answer.body.data)
		explicit_bzero(answer.body.data, answer.body.length);
	intent_http_response_release(&answer);
	return code;
}

/* ---- verbs ---- */

int intent_kube_get(struct intent_kube *kube, const char *kind, const char *namespace, const char *name,
		    json_t **ret_new, int64_t *ret_again_ms, struct intent_error *err)
{
	struct call call = {.method = "GET", .kind = kind, .namespace = namespace, .name = name, .query = ""};

	return perform(kube, &call, ret_new, ret_again_ms, err);
}

int intent_kube_apply(struct intent_kube *kube, const json_t *object, const char *manager,
		      json_t **ret_new, int64_t *ret_again_ms, struct intent_error *err)
{
	const json_t *metadata = json_object_get(object, "metadata");
	intent_free_auto char *query = intent_format("?fieldManager=%s&fieldValidation=Strict", manager);
	/* Escapes that its YAML parser may not know are not written: plain UTF-8. */
	char *body = json_dumps(object, JSON_COMPACT);
	struct call call = {
		.method = "PATCH", .kind = intent_json_string(object, "kind", ""),
		.namespace = intent_json_string(metadata, "namespace", intent_kube_namespace(kube)),
		.name = intent_json_string(metadata, "name", ""), .query = query,
		.type = "application/apply-patch+yaml", .body = body,
	};
	int code = perform(kube, &call, ret_new, ret_again_ms, err);

	explicit_bzero(body, strlen(body));
	free(body);
	return code;
}

int intent_kube_delete(struct intent_kube *kube, const char *kind, const char *namespace, const char *name,
		       const char *uid, int64_t *ret_again_ms, struct intent_error *err)
{
	intent_json_auto json_t *options =
		json_pack("{ss ss ss s{ss}}", "kind", "DeleteOptions", "apiVersion", "v1", "propagationPolicy", "Background",
			  "preconditions", "uid", uid);
	intent_free_auto char *body = json_dumps(options, JSON_COMPACT);
	struct call call = {.method = "DELETE", .kind = kind, .namespace = namespace, .name = name, .query = "",
			    .body = body};
	int code = perform(kube, &call, NULL, ret_again_ms, err);

	return code == INTENT_EABSENT ? 0 : code;
}

/* One exchange with the engine: what was asked, and whether what came is an answer. */
#include "engine.h"

/* What the engine says is wrong, else the first line of what came; false: those are not words of an engine. */
static bool words_of(const struct intent_http_response *response, char out[400])
{
	intent_json_auto json_t *json = NULL;
	struct intent_error ignored;

	intent_json_parse(intent_text_str(&response->body), response->body.length, 0, &json, &ignored);
	const char *message = intent_json_string(json, "message", NULL);
	snprintf(out, 400, "%.*s", message ? 390 : 80, message ? message : intent_text_str(&response->body));
	out[strcspn(out, "\r\n")] = '\0';
	intent_utf8_clean(out);
	return message;
}

/* What answers here is somebody else, or what stands between. */
static int no_engine(const struct engine *engine, int code, const char *method, const char *path, const char *what,
		     const char *words, struct intent_error *err)
{
	return intent_fail(err, code, "what answers at %s is no container engine, or stands before one: %s %.*s gave "
			   "%s%s%s; look there, or set DOCKER_HOST", engine->where, method,
			   (int)strcspn(path, "?"), path, what, *words ? ": " : "", words);
}

static int judge_status(struct engine *engine, const struct intent_http_request *request,
			const struct intent_http_response *response, struct intent_error *err)
{
	int status = response->status;
	char words[400], what[32], version[32];
	/* An engine says so of each of its answers; what stands before one passes it on. */
	bool engines = intent_http_header(response, "api-version", version, sizeof version);
	int code = status == 404 ? INTENT_EABSENT : status == 409 ? INTENT_ECONFLICT :
		status >= 500 ? INTENT_EUNAVAILABLE : INTENT_EREFUSED;

	if (engines && (status < 300 || status == 304))
		return 0;
	engine->spoke = words_of(response, words) && engines && status >= 400;
	if (engine->spoke)
		return intent_fail(err, code, "the engine says: %s", words);
	snprintf(what, sizeof what, "status %d", status);
	return no_engine(engine, status >= 400 && code == INTENT_EREFUSED ? code : INTENT_EUNAVAILABLE,
			 request->method ? request->method : "GET", request->url + strlen(engine->base), what, words,
			 err);
}

int engine__perform(struct engine *engine, struct intent_http_request *request, struct intent_http_response *response,
		    struct intent_error *err)
{
	bool sent = false, changes = request->method && strcmp(request->method, "GET") != 0;

	engine->spoke = false;
	int code = intent_http_perform(engine->http, request, response, &sent, err);
	if (!code)
		return judge_status(engine, request, response, err);
	if (sent && changes && (code == INTENT_EUNAVAILABLE || code == INTENT_ETIMEOUT))
		err->code = INTENT_EUNKNOWN;
	else if (code == INTENT_ETIMEOUT || code == INTENT_ETOOBIG)
		err->code = INTENT_EUNAVAILABLE;
	return intent_wrap(err, "the engine at %s", engine->where);
}

static int call(struct engine *engine, struct intent_http_request *request, const char *path, const json_t *body,
		struct intent_http_response *response, struct intent_error *err)
{
	static const char *const headers[] = { "Content-Type: application/json", NULL };
	intent_free_auto char *url = intent_format("%s%s", engine->base, path);
	intent_free_auto char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

	request->url = url;
	request->headers = headers;
	request->body = text;
	request->body_length = text ? strlen(text) : 0;
	request->timeout_ms += engine->patience_ms;
	int code = engine__perform(engine, request, response, err);
	/* The environment of a container is in it. */
	if (text)
		explicit_bzero(text, strlen(text));
	return code;
}

/* That it came with status 200 does not make it an answer. */
static int get(struct engine *engine, const char *path, json_type type, json_t **ret_new, struct intent_error *err)
{
	struct intent_http_response response = { 0 };
	struct intent_http_request request = { 0 };
	struct intent_error fault;
	json_t *json = NULL;
	char words[400] = "";
	int code = call(engine, &request, path, NULL, &response, err);

	if (!code && intent_json_parse(intent_text_str(&response.body), response.body.length, 0, &json, &fault))
		words_of(&response, words);
	if (!code && (!json || json_typeof(json) != type))
		code = no_engine(engine, INTENT_EUNAVAILABLE, "GET", path,
				 json ? "another kind of document" : "no JSON", words, err);
	intent_http_response_release(&response);
	if (code)
		json_decref(json);
	else
		*ret_new = json;
	return code;
}

void engine__escape(struct intent_text *path, const char *word)
{
	intent_url_escape(path, word, "");
}

int engine__get(struct engine *engine, const char *path, json_t **ret_new, struct intent_error *err)
{
	return get(engine, path, JSON_OBJECT, ret_new, err);
}

/* Of each thing in a list at least the id or the name is looked at. */
static bool are_objects(const json_t *list)
{
	json_t *item;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)list, i, item)
		if (!json_is_string(json_object_get(item, "Id")))
			return false;
	return true;
}

int engine__find(struct engine *engine, const char *path, const char *filter, json_t *values, json_t **ret_new,
		 struct intent_error *err)
{
	intent_json_auto json_t *filters = json_pack("{so}", filter, values), *found = NULL;
	intent_free_auto char *text = json_dumps(filters, JSON_COMPACT);
	intent_text_auto struct intent_text whole = INTENT_TEXT_INIT;

	intent_text_printf(&whole, "%sfilters=", path);
	engine__escape(&whole, text);
	if (get(engine, intent_text_str(&whole), JSON_ARRAY, &found, err))
		return err->code;
	if (!are_objects(found))
		return no_engine(engine, INTENT_EUNAVAILABLE, "GET", path, "a list of things without an Id", "", err);
	*ret_new = json_incref(found);
	return 0;
}

int engine__inspect(struct engine *engine, const char *name, json_t **ret_new, struct intent_error *err)
{
	intent_free_auto char *path = intent_format("/containers/%s/json", name);
	intent_json_auto json_t *found = NULL;

	if (get(engine, path, JSON_OBJECT, &found, err))
		return err->code;
	if (!json_is_string(json_object_get(found, "Id")) || !json_is_string(json_object_get(found, "Name")) ||
	    !json_is_string(json_object_get(json_object_get(found, "State"), "Status")))
		return no_engine(engine, INTENT_EUNAVAILABLE, "GET", path, "a container without Id, Name or State", "",
				 err);
	*ret_new = json_incref(found);
	return 0;
}

int engine__change(struct engine *engine, const char *method, const char *path, const json_t *body,
		   int64_t patience_ms, json_t **ret_new, struct intent_error *err)
{
	struct intent_http_response response = { 0 };
	struct intent_http_request request = { .method = method, .once = true, .timeout_ms = patience_ms };
	struct intent_error ignored;
	json_t *json = NULL;
	int code = call(engine, &request, path, body, &response, err);

	if (!code && ret_new)
		intent_json_parse(intent_text_str(&response.body), response.body.length, 0, &json, &ignored);
	intent_http_response_release(&response);
	if (!code && ret_new)
		*ret_new = json_is_object(json) ? json_incref(json) : json_object();
	json_decref(json);
	return code;
}

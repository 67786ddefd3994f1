/* The values of an injection, from wherever they come. */
#include <fcntl.h>
#include <intent/file.h>
#include "injector.h"

#define FILE_MAX (1u << 20)
#define DEPTH_MAX 16        /* of injections that refer to injections */

struct value {
	char *text;               /* owned */
	bool sensitive;
};

struct resolving {
	struct injector *injector;
	const char *chain[DEPTH_MAX + 1]; /* "world/name#KEY" of what is being resolved; borrowed */
	int depth;
};

static int resolve(struct resolving *resolving, const json_t *value, struct value *ret, struct intent_error *err);

/* ---- one kind of source each; INTENT_EABSENT: it is not there ---- */

static int from_tfstate(struct resolving *resolving, const char *rest, struct value *ret, struct intent_error *err)
{
	const char *mark = strchr(rest, '#');
	intent_free_auto char *url = strndup(rest, strcspn(rest, "#"));
	intent_free_auto char *shown = url ? injector__shown(url) : NULL;
	const json_t *outputs = NULL;

	if (!mark || !url || !shown)
		return intent_fail(err, INTENT_EMALFORMED, "names no output");
	if (injector__state(resolving->injector, url, &outputs, err) < 0)
		return err->code;
	return injector__output(outputs, mark + 1, &ret->text, &ret->sensitive, err) < 0 ?
		intent_wrap(err, "%s", shown) : 0;
}

/* What this agent needs for itself is nobody's value. */
static const char *const own_variables[] = {
	"AWS_", "CONSUL_", "ETCDCTL_", "TF_HTTP_", "KUBE", "PP_", "CREDENTIALS_DIRECTORY", NULL,
};

static int from_environment(struct resolving *resolving, const char *name, struct value *ret, struct intent_error *err)
{
	const char *value = getenv(name);

	(void)resolving;
	for (const char *const *own = own_variables; *own; own++)
		if (intent_starts_with(name, *own))
			return intent_fail(err, INTENT_EREFUSED, "%s is a variable that this agent itself may be run with; give "
					   "the value another name", name);
	if (!value)
		return intent_fail(err, INTENT_EABSENT, "pp-configmap-injector was started without a variable %s", name);
	ret->text = strdup(value);
	return 0;
}

/* Without the newline at its end, which is not part of what somebody wrote there with an editor. */
static int from_file(struct resolving *resolving, const char *path, struct value *ret, struct intent_error *err)
{
	size_t count;

	if (injector__check_below(resolving->injector, "source-dirs", path, err) < 0)
		return err->code;
	intent_round_watch(resolving->injector->round, path);
	if (intent_file_read(AT_FDCWD, path, FILE_MAX, &ret->text, &count, err) < 0)
		return err->code;
	if (strlen(ret->text) != count)
		return intent_fail(err, INTENT_EMALFORMED, "%s: is no text", path);
	if (count && ret->text[count - 1] == '\n')
		ret->text[count - 1] = '\0';
	return 0;
}

static int name_circle(const struct resolving *resolving, const char *again, struct intent_error *err)
{
	intent_text_auto struct intent_text words = INTENT_TEXT_INIT;

	for (int i = 0; i < resolving->depth; i++)
		intent_text_printf(&words, "%s, ", resolving->chain[i]);
	return intent_fail(err, INTENT_EMALFORMED, "injections refer to each other in a circle: %s%s",
			   intent_text_str(&words), again);
}

static int from_injection(struct resolving *resolving, const char *reference, struct value *ret,
			  struct intent_error *err)
{
	const char *mark = strchr(reference, '#');
	intent_free_auto char *name = strndup(reference, strcspn(reference, "#"));
	const json_t *others = json_object_get(resolving->injector->intent, "others");
	const json_t *values = name ? json_object_get(others, name) : NULL;
	const json_t *value = mark ? json_object_get(values, mark + 1) : NULL;

	for (int i = 0; i < resolving->depth; i++)
		if (!strcmp(resolving->chain[i], reference))
			return name_circle(resolving, reference, err);
	if (resolving->depth == DEPTH_MAX)
		return intent_fail(err, INTENT_EMALFORMED, "more than %d injections refer to each other", DEPTH_MAX);
	if (!json_is_object(values))
		return intent_fail(err, INTENT_EABSENT, "there is no good injections/%s", name ? name : reference);
	if (!value)
		return intent_fail(err, INTENT_EABSENT, "injections/%s has no value %s", name, mark ? mark + 1 : "");
	resolving->chain[resolving->depth++] = reference;
	int code = resolve(resolving, value, ret, err);
	resolving->depth--;
	return code;
}

static const struct scheme {
	const char *name;
	int (*resolve)(struct resolving *resolving, const char *rest, struct value *ret, struct intent_error *err);
} schemes[] = {
	{"tfstate:", from_tfstate}, {"env:", from_environment}, {"file:", from_file}, {"injection:", from_injection},
};

/* ---- all ---- */

static int resolve(struct resolving *resolving, const json_t *value, struct value *ret, struct intent_error *err)
{
	const json_t *literal = json_object_get(value, "value");
	const char *from = intent_json_string(value, "from", "");
	int code = intent_fail(err, INTENT_EMALFORMED, "has neither \"from\" nor \"value\"");

	if (literal) {
		/* As software reads it: a string is itself, anything else its JSON. */
		ret->text = json_is_string(literal) ? strdup(json_string_value(literal)) :
			intent_json_canonical(literal);
		code = 0;
	}
	for (size_t i = 0; !literal && i < sizeof(schemes) / sizeof(*schemes); i++)
		if (intent_starts_with(from, schemes[i].name))
			code = schemes[i].resolve(resolving, from + strlen(schemes[i].name), ret, err);
	/* Sensitive here, or anywhere on the way. */
	ret->sensitive |= intent_json_boolean(value, "sensitive", false);
	return code;
}

/* Into memory; what is observed is its digest. */
static json_t *take(struct injector *injector, const char *key, const struct value *value)
{
	char digest[INJECTOR_DIGEST];
	json_t *text = json_string(value->text);

	if (!text)
		return json_pack("{s{si ss}}", "fault", "code", INTENT_EMALFORMED, "message", "it is no UTF-8 text");
	json_object_set_new(injector->values, key, text);
	injector__digest(injector, value->text, strlen(value->text), digest);
	return json_pack("{ss sb}", "digest", digest, "sensitive", value->sensitive);
}

static json_t *observe_one(struct injector *injector, const char *key, const json_t *value)
{
	intent_free_auto char *self = intent_format("%s/%s#%s", injector->world, injector->name, key);
	struct resolving resolving = {.injector = injector, .chain = {self}, .depth = 1};
	struct value got = {.text = NULL};
	struct intent_error err;
	json_t *seen;
	int code = resolve(&resolving, value, &got, &err);

	if (!code)
		seen = take(injector, key, &got);
	else if (code == INTENT_EABSENT)
		seen = json_pack("{ss sb}", "missing", err.msg, "sensitive", got.sensitive);
	else /* what passes is one trouble to people: the source cannot be read now */
		seen = json_pack("{s{si ss} sb}", "fault", "code", intent_error_is_temporary(code) ? INTENT_ESOURCE : code, "message", err.msg, "sensitive", got.sensitive);
	if (got.text)
		explicit_bzero(got.text, strlen(got.text));
	free(got.text);
	return seen;
}

void injector__observe_values(struct injector *injector, json_t *observed)
{
	json_t *values = json_object(), *value;
	const char *key;

	json_decref(injector->values);
	json_decref(injector->states);
	injector->values = json_object();
	injector->states = json_object();
	json_object_set_new(observed, "values", values);
	json_object_foreach(json_object_get(json_object_get(injector->intent, "injection"), "values"), key, value)
		json_object_set_new(values, key, observe_one(injector, key, value));
}

/* Stacks, and a person's consent to what a plan would do to one. */
#include <intent/source.h>
#include "schemas.h"

static const char *check_word(const char *string, const char *const *words, const char *otherwise)
{
	for (; *words; words++)
		if (!strcmp(string, *words))
			return NULL;
	return otherwise;
}

static const char *check_apply(const char *string)
{
	static const char *const words[] = {"none", "non-destructive", "all", NULL};

	return check_word(string, words, "must be \"none\", \"non-destructive\" or \"all\"");
}

static const char *check_drift(const char *string)
{
	static const char *const words[] = {"report", "apply", NULL};

	return check_word(string, words, "must be \"report\" or \"apply\"");
}

const char *intent__check_ensure(const char *string)
{
	static const char *const words[] = {"present", "absent", NULL};

	return check_word(string, words, "must be \"present\" or \"absent\"");
}

static const char *check_backend(const char *string)
{
	static const char *const words[] = {
		"local", "s3", "consul", "http", "kubernetes", "gcs", "azurerm", "pg", "oss", "cos", NULL
	};

	return check_word(string, words, "must be one of local, s3, consul, http, kubernetes, gcs, azurerm, pg, oss, cos");
}

/* Terraform takes each of these from its environment too. */
static const char *check_state(const json_t *state)
{
	static const char *const secrets[] = {
		"access_key", "secret_key", "access_token", "token", "password", "http_auth", "sas_token",
		"client_secret", "client_key", "client_private_key_pem", "credentials", "encryption_key",
		"sse_customer_key", "conn_str", "secret_id",
	};
	const char *path = intent_json_string(state, "path", NULL);

	for (size_t i = 0; i < sizeof(secrets) / sizeof(*secrets); i++)
		if (json_object_get(state, secrets[i]))
			return "must not carry credentials: whoever reads the store would see them; "
			       "Terraform takes them from its environment (see pp-terraform-applier(8))";
	if (strcmp(intent_json_string(state, "backend", ""), "local"))
		return NULL;
	return path && !intent_check_absolute(path) ? NULL : "needs \"path\", an absolute path, for the local backend";
}

static const char *check_glob(const char *string)
{
	return intent_utf8_is_clean(string, strlen(string)) ? NULL : "must not contain control characters";
}

static const struct intent_json_field glob_item[] = {
	{.name = "", .type = INTENT_JSON_STRING, .min = 1, .max = 1024, .check = check_glob}, END
};
static const struct intent_json_field state_fields[] = {
	{.name = "backend", .type = INTENT_JSON_STRING, .flags = INTENT_JSON_REQUIRED, .check = check_backend,
	 .help = "Terraform's backend: local, s3, consul, http, kubernetes, ..."},
	END
};
static const struct intent_json_field stack_fields[] = {
	{.name = "source", .type = INTENT_JSON_STRING, .flags = INTENT_JSON_REQUIRED,
	 .min = 1, .max = 2048, .check = intent_check_source, .help = "the Terraform module"},
	{.name = "vars", .type = INTENT_JSON_OBJECT, .flags = INTENT_JSON_OPEN,
	 .members = intent__any_item + 1, .help = "input variables; no secrets"},
	{.name = "state", .type = INTENT_JSON_OBJECT, .flags = INTENT_JSON_OPEN, .whole = check_state,
	 .members = state_fields,
	 .help = "where its state is kept: the backend and its settings; default: what the module says"},
	{.name = "apply", .type = INTENT_JSON_STRING, .check = check_apply,
	 .help = "what is applied without asking: none, non-destructive (default) or all"},
	{.name = "protect", .type = INTENT_JSON_ARRAY, .max = 1000, .members = glob_item,
	 .help = "patterns of addresses that are never destroyed or replaced"},
	{.name = "drift", .type = INTENT_JSON_STRING, .check = check_drift,
	 .help = "what is done about changes from outside: report (default) or apply"},
	{.name = "lock", .type = INTENT_JSON_STRING, .check = intent_check_name,
	 .help = "a world whose lock is taken too: one changer of it at a time"},
	{.name = "ensure", .type = INTENT_JSON_STRING, .check = intent__check_ensure,
	 .help = "\"absent\" destroys the stack; a missing document does not"},
	END
};
const struct intent_json_field intent_stack_schema[] = DOCUMENT(stack_fields);

static const char *check_plan(const char *string)
{
	size_t length = strlen(string);

	return length >= 16 && length <= 64 && strspn(string, "0123456789abcdef") == length ? NULL :
		"must be a plan's identity: 16 to 64 hexadecimal digits";
}

static const struct intent_json_field approval_fields[] = {
	{.name = "plan", .type = INTENT_JSON_STRING, .flags = INTENT_JSON_REQUIRED, .check = check_plan,
	 .help = "identity of the plan that may be applied, and no other"},
	{.name = "by", .type = INTENT_JSON_STRING, .flags = INTENT_JSON_REQUIRED, .min = 1, .max = 256,
	 .help = "who approved it"},
	{.name = "at", .type = INTENT_JSON_STRING, .flags = INTENT_JSON_REQUIRED, .min = 1, .max = 64,
	 .help = "RFC 3339 time of the approval; each approval is used once"},
	END
};
const struct intent_json_field intent_approval_schema[] = DOCUMENT(approval_fields);

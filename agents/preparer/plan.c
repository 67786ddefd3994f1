/* What to install and what to remove. Pure. */
#include <strings.h>
#include <intent/plan.h>
#include "preparer.h"

struct planning {
	const char *app, *installs_path;
	const json_t *config, *options;
	json_t *installs, *links; /* borrowed from observed */
	struct intent_plan *plan;
};

static json_t *effect_on(const char *name, json_t *value)
{
	return json_pack("{s:{s:o}}", "installs", name, value);
}

/* An install that is there: is it what the document says? */
static void judge_present(const struct planning *p, const char *name, const char *version,
			  const json_t *present, const char *wanted)
{
	const char *obstacle = intent_json_string(present, "obstacle", NULL);
	const char *have = intent_json_string(present, "sha256", NULL);

	if (obstacle)
		intent_plan_verdict(p->plan, INTENT_ENOTOURS,
				    "%s/%s is %s: move it away, it stands where version %s belongs",
				    p->installs_path, name, obstacle, version);
	else if (wanted && have && strcasecmp(wanted, have) != 0)
		intent_plan_verdict(p->plan, INTENT_ECHANGED,
				    "version %s is installed with sha256 %s, the document now says %s: "
				    "give the new artifact a version of its own, or stop using %s/%s "
				    "and remove it by hand", version, have, wanted, p->installs_path, name);
}

static void plan_version(const struct planning *p, const char *version)
{
	const json_t *artifact = json_object_get(json_object_get(p->config, "artifacts"), version);
	const char *wanted = intent_json_string(artifact, "sha256", NULL);
	intent_free_auto char *name = intent_format("%s_%s", p->app, version);
	json_t *present, *args;

	if (!intent_name_is_valid(version) || strlen(name) > 200) {
		intent_plan_verdict(p->plan, INTENT_EMALFORMED, "version '%.80s' cannot be the name of a "
				    "directory: it is too long or has characters other than "
				    "A-Z a-z 0-9 . _ - + ~ @ :", version);
		return;
	}
	present = json_object_get(p->installs, name);
	if (present) {
		judge_present(p, name, version, present, wanted);
		return;
	}
	if (!intent_json_string(artifact, "url", NULL) && !intent_json_string(p->options, "repo", NULL)) {
		intent_plan_verdict(p->plan, INTENT_EUSAGE, "nothing says where version %s comes from: "
				    "give --repo, or artifacts.%s.url in the document", version, version);
		return;
	}
	args = json_pack("{s:s, s:s*}", "version", version, "sha256", wanted);
	intent_plan_add(p->plan, "install", name, args,
			effect_on(name, json_pack("{s:b, s:s, s:s*}", "ours", 1, "version", version, "sha256", wanted)),
			"Does not exist: %s/%s", p->installs_path, name);
}

/* ---- what may go ---- */

static bool is_linked(const struct planning *p, const char *name)
{
	const char *current = intent_json_string(p->links, "current", "");
	const char *previous = intent_json_string(p->links, "previous", "");

	return strcmp(current, name) == 0 || strcmp(previous, name) == 0;
}

static bool is_surplus(const struct planning *p, const char *name, const json_t *install)
{
	const char *version = intent_json_string(install, "version", "");
	const char *before = intent_json_string(p->config, "previous", "");

	return intent_json_boolean(install, "ours", false) && !is_linked(p, name) &&
		!json_object_get(json_object_get(p->config, "versions"), version) &&
		strcmp(before, version) != 0;
}

struct surplus { const char *name, *installed; };

/* Newest first; names decide between equals, so that the plan is always the same. */
static int compare_surplus(const void *a, const void *b)
{
	const struct surplus *x = a, *y = b;
	int order = strcmp(y->installed, x->installed);

	return order ? order : strcmp(x->name, y->name);
}

static void plan_removals(const struct planning *p)
{
	size_t keep = (size_t)intent_json_integer(p->options, "keep", 2), count = 0;
	struct surplus *surplus = calloc(json_object_size(p->installs) + 1, sizeof(*surplus));
	const char *name;
	json_t *install;

	json_object_foreach(p->installs, name, install) {
		if (is_surplus(p, name, install))
			surplus[count++] = (struct surplus){
				name, intent_json_string(install, "installed", "")};
	}
	qsort(surplus, count, sizeof(*surplus), compare_surplus);
	for (size_t i = keep; i < count; i++)
		intent_plan_add(p->plan, "remove", surplus[i].name, NULL, effect_on(surplus[i].name, json_null()),
				"No longer named, and not among the last %zu: %s/%s", keep,
				p->installs_path, surplus[i].name);
	free(surplus);
}

/* ---- all of it ---- */

static void plan_versions(const struct planning *p)
{
	json_t *versions = json_object_get(p->config, "versions");
	const char *active = NULL, *version;
	json_t *state;

	/* The active one first: somebody waits for it. */
	json_object_foreach(versions, version, state)
		if (json_is_string(state) && strcmp(json_string_value(state), "active") == 0)
			active = version;
	if (active)
		plan_version(p, active);
	json_object_foreach(versions, version, state)
		if (version != active)
			plan_version(p, version);
}

int preparer_plan(const json_t *intent, const json_t *observed, struct intent_plan *plan,
		  struct intent_error *err)
{
	const char *basedir = intent_json_string(intent, "basedir", NULL);
	int64_t leftovers = intent_json_integer(observed, "leftovers", 0);
	intent_free_auto char *path = NULL;
	struct planning p = {
		.app = intent_json_string(intent, "app", NULL),
		.config = json_object_get(intent, "config"),
		.options = json_object_get(intent, "options"),
		.installs = json_object_get(observed, "installs"),
		.links = json_object_get(observed, "links"),
		.plan = plan,
	};

	/* What is installed stays: somebody may want it back. */
	if (intent_json_boolean(intent, "absent", false))
		return 0;
	if (!p.app || !basedir || !json_is_object(p.config))
		return intent_fail(err, INTENT_EMALFORMED, "the intent of %s lacks its basedir or config",
				   p.app ? p.app : "an application");
	path = intent_format("%s/" PREPARER_INSTALLS, basedir);
	p.installs_path = path;
	if (leftovers > 0)
		intent_plan_add(plan, "sweep", PREPARER_INSTALLS, NULL, json_pack("{s:i}", "leftovers", 0),
				"%lld leftovers of interrupted runs in %s or the cache", (long long)leftovers, path);
	plan_versions(&p);
	plan_removals(&p);
	return 0;
}

/* diff, apply, deploy: a compiled definition goes into the store. */
#include <intent/child.h>
#include "system/parts.h"

/* ---- shown ---- */

static void show(struct ppctl *ctl, const json_t *diff, bool members)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	bool colored = ppctl_colored();
	size_t index;
	json_t *row;

	if (ppctl_flag(ctl, "json")) {
		ppctl_print_json(diff, false);
		return;
	}
	json_array_foreach(json_object_get(diff, "changes"), index, row) {
		const char *op = intent_json_string(row, "op", ""), *note = intent_json_string(row, "note", NULL);
		enum ppctl_style style = !colored ? PPCTL_PLAIN : *op == '+' ? PPCTL_GREEN : *op == '-' ? PPCTL_RED :
			PPCTL_YELLOW;

		ppctl_add(&out, op, style, 0, 0);
		intent_text_printf(&out, " %s%s%s%s\n", intent_json_string(row, "key", ""), note ? " (" : "", note ? note : "",
				   note ? ")" : "");
		if (members && *op == '~')
			system_describe(&out, "", json_object_get(row, "before"), json_object_get(row, "after"));
	}
	json_array_foreach(json_object_get(diff, "kept"), index, row)
		intent_text_printf(&out, "= %s: %s\n", intent_json_string(row, "key", ""), intent_json_string(row, "why", ""));
	fputs(intent_text_str(&out), stdout);
}

static int prepare(struct ppctl *ctl, size_t first, struct system_job *job, struct system_applying *applying,
		   struct intent_error *err)
{
	int code = system_job_start(ctl, first, job, err);

	if (code)
		return code;
	if (json_array_size(job->system.faults))
		return system_refuse(ctl, job, "Nothing was written.");
	*applying = (struct system_applying){
		.world = &job->setting.world,
		.system = intent_json_string(job->system.sysdef, "name", "system"),
		.compiled = job->compiled,
		.provision = ppctl_flag(ctl, "provision"),
		.adopt = ppctl_flag(ctl, "adopt"),
		.whole = !job->applications,
		.seen = (uint64_t)intent_json_integer(ctl->options, "seen", 0),
	};
	return 0;
}

int ppctl_diff(struct ppctl *ctl, struct intent_error *err)
{
	struct system_job job = {0};
	struct system_applying applying;
	intent_json_auto json_t *diff = NULL;
	int code = prepare(ctl, 0, &job, &applying, err);

	if (!code)
		code = system_diff(ctl, &applying, &diff, err);
	if (!code) {
		size_t count = json_array_size(json_object_get(diff, "changes"));
		show(ctl, diff, true);
		ppctl_say("%zu change%s, at revision %lld", count, count == 1 ? "" : "s",
			  (long long)intent_json_integer(diff, "seen", 0));
		code = applying.refused ? PPCTL_REFUSED : count ? PPCTL_WORK : 0;
	}
	system_job_release(&job);
	return code;
}

static int write_it(struct ppctl *ctl, struct system_applying *applying, struct intent_error *err)
{
	intent_json_auto json_t *diff = NULL;
	int code = system_apply(ctl, applying, &diff, err);

	if (diff)
		show(ctl, diff, false);
	size_t count = json_array_size(json_object_get(diff, "changes"));
	if (!code)
		ppctl_say("%zu change%s written to %s", count, count == 1 ? "" : "s", applying->world->name);
	return code;
}

int ppctl_apply(struct ppctl *ctl, struct intent_error *err)
{
	struct system_job job = {0};
	struct system_applying applying;
	int code = prepare(ctl, 0, &job, &applying, err);

	if (!code)
		code = write_it(ctl, &applying, err);
	system_job_release(&job);
	return code;
}

/* ---- deploy ---- */

/* git's answer, without its newline; NULL and *err otherwise. Owned. */
static char *ask_git(const char *checkout, const char *const *words, struct intent_error *err)
{
	const char *argv[8] = {"git", "-C", checkout}, *env[6] = {"LC_ALL=C", "GIT_OPTIONAL_LOCKS=0"};
	intent_free_auto char *path = intent_format("PATH=%s", getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin");
	intent_free_auto char *home = getenv("HOME") ? intent_format("HOME=%s", getenv("HOME")) : NULL;
	struct intent_child_options options = {.argv = argv, .env = env, .deadline_ms = 60000, .output_max = 1 << 20};
	struct intent_child_result result = {0};
	char *said = NULL;

	env[2] = path;
	env[3] = home;
	for (size_t i = 0; words[i] && i < 4; i++)
		argv[3 + i] = words[i];
	if (!intent_child_run(&options, &result, err)) {
		if (result.status)
			intent_fail(err, INTENT_ECHILD, "%s: git: %.200s", checkout, intent_text_str(&result.err));
		else
			said = intent_text_steal(&result.out);
		if (!result.status && !said)
			said = strdup("");
	}
	intent_child_result_release(&result);
	if (said)
		said[strcspn(said, "\n")] = '\0';
	return said;
}

/* The version of a checkout is its commit. Owned. */
static char *version_of(const json_t *service, struct intent_error *err)
{
	static const char *const head[] = {"rev-parse", "HEAD", NULL}, *const status[] = {"status", "--porcelain", NULL};
	const char *checkout = intent_json_string(service, "checkout", ""), *name = intent_json_string(service, "name", "");
	intent_free_auto char *changed = ask_git(checkout, status, err);
	char *commit = changed ? ask_git(checkout, head, err) : NULL;

	if (changed && *changed) {
		intent_fail(err, INTENT_EREFUSED, "%s has changes that are not committed, so its commit is not what would be "
			    "deployed; commit them, or name a version: --version V", name);
		free(commit);
		return NULL;
	}
	if (!commit)
		intent_wrap(err, "the version of %s is its commit, unless --version names one", name);
	return commit;
}

static const char *recipe_of(const json_t *row)
{
	return intent_json_string(row, "recipe", "image");
}

/* What builders made of it: {version: fact}. */
static int read_builds(struct ppctl *ctl, const json_t *row, json_t *builds, struct intent_error *err)
{
	intent_free_auto char *prefix = intent_format("reality/builds/%s/", intent_json_string(row, "name", ""));
	intent_free_auto char *tail = intent_format("/%s", recipe_of(row));
	struct intent_snapshot *found = NULL;

	if (ppctl_list(ctl, prefix, &found, err))
		return err->code;
	for (size_t i = 0; i < found->count; i++) {
		const char *version = found->entries[i].key + strlen(prefix);
		size_t length = strcspn(version, "/");

		if (!strcmp(version + length, tail))
			json_object_setn_new(builds, version, length, ppctl_document(&found->entries[i]));
	}
	intent_snapshot_unref(found);
	return 0;
}

/* Its versions in this world so far: {version: ...}, or NULL. */
static int read_versions(struct ppctl *ctl, const char *name, const char *world, json_t **ret_new,
			 struct intent_error *err)
{
	intent_free_auto char *key = intent_format("clusters/%s/%s/config", name, world);
	struct intent_snapshot *found = NULL;

	if (ppctl_list(ctl, key, &found, err))
		return err->code;
	intent_json_auto json_t *config = found->count ? ppctl_document(found->entries) : NULL;
	*ret_new = json_incref(json_object_get(config, "versions"));
	intent_snapshot_unref(found);
	return 0;
}

/* What a builder says of it, else the image by its tag; an archive is found by the preparer. New. */
static int artifact_of(const json_t *row, const char *version, const json_t *builds, json_t **ret_new,
		       struct intent_error *err)
{
	static const char *const members[] = {"image", "url", "sha256"};
	const char *name = intent_json_string(row, "name", "");
	const char *image = intent_json_string(row, "image", NULL), *target = intent_json_string(row, "target", "");
	const json_t *fact = json_object_get(builds, version);
	json_t *artifact = json_object();
	int code = 0;

	for (size_t i = 0; i < 3; i++)
		if (json_object_get(fact, members[i]))
			json_object_set(artifact, members[i], json_object_get(fact, members[i]));
	if (strcmp(target, "runit") && !json_object_get(artifact, "image")) {
		if (image)
			json_object_set_new(artifact, "image", json_sprintf("%s:%s", image, version));
		else
			code = intent_fail(err, INTENT_EABSENT,
					   "%s %s has no image: its Pibstack names no image.repository, and no builder "
					   "has made reality/builds/%s/%s/%s", name, version, name, version,
					   recipe_of(row));
	}
	if (code)
		json_decref(artifact);
	else
		*ret_new = artifact;
	return code;
}

static int choose(struct ppctl *ctl, const struct system_job *job, const json_t *row, const char *version,
		  json_t *versions, struct intent_error *err)
{
	intent_json_auto json_t *builds = json_object(), *had = NULL;
	const char *name = intent_json_string(row, "name", "");
	json_t *artifact = NULL;

	if (read_builds(ctl, row, builds, err) || read_versions(ctl, name, job->setting.world.name, &had, err))
		return err->code;
	bool known = json_object_get(builds, version) || json_object_get(had, version);
	if (!known && json_object_size(builds) && json_object_get(row, "recipe")) {
		intent_text_auto struct intent_text names = INTENT_TEXT_INIT;
		json_object_update(builds, had);
		system_known(&names, version, builds);
		return intent_fail(err, INTENT_EABSENT, "%s %s is not built; there is %s", name, version,
				   intent_text_str(&names));
	}
	if (artifact_of(row, version, builds, &artifact, err))
		return err->code;
	json_object_set_new(versions, name, json_pack("{ss so sb}", "version", version, "artifact", artifact, "known", known));
	return 0;
}

/* What nobody here can vouch for is said. */
static void say_versions(const struct system_job *job, const json_t *versions)
{
	json_t *row;
	size_t index;

	json_array_foreach(json_object_get(job->compiled, "services"), index, row) {
		const char *name = intent_json_string(row, "name", "");
		const json_t *chosen = json_object_get(versions, name), *artifact = json_object_get(chosen, "artifact");
		const char *version = intent_json_string(chosen, "version", "");

		if (json_is_true(json_object_get(chosen, "known")))
			ppctl_say("%s %s", name, version);
		else if (json_object_get(artifact, "image"))
			ppctl_say("%s %s, which is %s", name, version, intent_json_string(artifact, "image", ""));
		else
			ppctl_say("%s %s, which no builder made: its archive must be in the preparers' repository", name,
				  version);
	}
}

static int choose_versions(struct ppctl *ctl, const struct system_job *job, json_t *versions, struct intent_error *err)
{
	const char *given = ppctl_option(ctl, "version");
	json_t *row;
	size_t index;

	if (given && !intent_name_is_valid(given))
		return intent_fail(err, INTENT_EUSAGE, "\"%.64s\" is no name of a version", given);
	json_array_foreach(json_object_get(job->compiled, "services"), index, row) {
		intent_free_auto char *version = given ? strdup(given) :
			version_of(json_array_get(job->system.services, index), err);

		if (!version || choose(ctl, job, row, version, versions, err))
			return err->code;
	}
	say_versions(job, versions);
	return 0;
}

int ppctl_deploy(struct ppctl *ctl, struct intent_error *err)
{
	struct system_job job = {0};
	struct system_applying applying;
	intent_json_auto json_t *versions = json_object();
	int code = prepare(ctl, 0, &job, &applying, err);

	if (!code)
		code = choose_versions(ctl, &job, versions, err);
	if (!code) {
		applying.versions = versions;
		code = write_it(ctl, &applying, err);
	}
	system_job_release(&job);
	return code;
}

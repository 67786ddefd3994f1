/* Images: made, looked for and pushed by the engine's own client program. */
#include <ctype.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <intent/file.h>
#include "builder.h"

#define LABEL "platypus.input="

/* "api", or what the recipe says. Owned. */
static char *image_name(const struct builder *builder, const struct builder_target *target)
{
	char *name = strdup(intent_json_string(target->image, "name", builder->app));

	for (char *p = name; p && *p; p++)
		*p = isalnum((unsigned char)*p) || strchr("._-/:", *p) ? (char)tolower((unsigned char)*p) : '-';
	return name;
}

/* The tag says what is in it: one that exists is never made anew with something else. */
static char *image_tag(const struct builder *builder, const struct builder_target *target)
{
	intent_free_auto char *name = image_name(builder, target);

	return name ? intent_format("%s:%.*s", name, BUILDER_SHORT, target->input) : NULL;
}

static const char *client(const struct builder *builder)
{
	return builder__option(builder, "docker", "docker");
}

/* ---- looking ---- */

/* "registry/api@sha256:..." of that name among the digests under which registries know it; NULL. Borrowed. */
static const char *pushed_as(const json_t *image, const char *name)
{
	size_t i, length = strlen(name);
	json_t *digest;

	json_array_foreach(json_object_get(image, "RepoDigests"), i, digest) {
		const char *string = json_string_value(digest);

		if (string && !strncmp(string, name, length) && string[length] == '@')
			return string;
	}
	return NULL;
}

/* What the engine says of the tag. New; NULL: nothing, or it is of something else. */
static json_t *inspect(struct builder *builder, const struct builder_target *target, const char *tag)
{
	const char *argv[] = {client(builder), "image", "inspect", tag, NULL};
	intent_free_auto char *said = NULL;
	intent_json_auto json_t *answer = NULL;
	struct intent_error ignored;
	json_t *image;

	if (builder__ask_engine(builder, argv, &said, &ignored) < 0 ||
	    intent_json_parse(said, strlen(said), 0, &answer, &ignored) < 0)
		return NULL;
	image = json_array_get(answer, 0);
	if (strcmp(intent_json_string(intent_json_at(image, "/Config/Labels"), "platypus.input", ""), target->input))
		return NULL;
	return json_incref(image);
}

/* Does the engine hold anything of this input? An engine that does not answer is not one without it. */
static int is_held(struct builder *builder, const struct builder_target *target, bool *ret, struct intent_error *err)
{
	intent_free_auto char *filter = intent_format("label=" LABEL "%s", target->input), *said = NULL;
	const char *argv[] = {client(builder), "image", "ls", "-q", "--filter", filter, NULL};

	if (builder__ask_engine(builder, argv, &said, err) < 0)
		return err->code;
	*ret = said[strspn(said, " \n")] != '\0';
	return 0;
}

int builder__look_for_image(struct builder *builder, const struct builder_target *target, json_t **ret_new,
			    struct intent_error *err)
{
	intent_free_auto char *name = image_name(builder, target), *tag = image_tag(builder, target);
	intent_json_auto json_t *image = NULL;
	bool push = intent_json_boolean(target->image, "push", false), held = false;
	const char *as;

	*ret_new = NULL;
	if (is_held(builder, target, &held, err) < 0)
		return err->code;
	image = held ? inspect(builder, target, tag) : NULL;
	as = push ? pushed_as(image, name) : tag;
	if (image && as)
		*ret_new = json_pack("{ss ss*}", "image", as, "id", intent_json_string(image, "Id", NULL));
	return 0;
}

/* ---- removing ---- */

static bool is_ours(const struct builder *builder, const json_t *image)
{
	const json_t *labels = intent_json_at(image, "/Config/Labels");

	return !strcmp(intent_json_string(labels, "platypus.app", ""), builder->app) &&
		!strcmp(intent_json_string(labels, "platypus.store", ""), intent_round_store_url(builder->round));
}

int builder__remove_image(struct builder *builder, const json_t *fact, struct intent_error *err)
{
	const char *image = intent_json_string(fact, "image", "");
	struct builder_target target = {0};
	intent_json_auto json_t *found = NULL;
	intent_free_auto char *said = NULL;
	bool held = false;

	snprintf(target.input, sizeof(target.input), "%s", intent_json_string(fact, "input", ""));
	/* "registry:5000/api@sha256:..." is "registry:5000/api:<input>" here. */
	intent_free_auto char *suffix = intent_format(":%.*s", BUILDER_SHORT, target.input);
	intent_free_auto char *tag = intent_ends_with(image, suffix) ? strdup(image) :
		intent_format("%.*s%s", (int)strcspn(image, "@"), image, suffix);
	const char *argv[] = {client(builder), "image", "rm", tag, NULL};

	if (is_held(builder, &target, &held, err) < 0)
		return err->code;
	found = held ? inspect(builder, &target, tag) : NULL;
	if (!found || !is_ours(builder, found) || builder__ask_engine(builder, argv, &said, err) == 0)
		return 0;
	/* It answers, so it is the image that is the matter: a container of somebody's uses it. */
	if (is_held(builder, &target, &held, err) < 0)
		return err->code;
	intent_round_log(builder->round, INTENT_INFO, "Image %s stays, being in use", tag);
	return 0;
}

/* ---- making ---- */

static int check_dockerfile(const char *path, const char *name, struct intent_error *err)
{
	struct stat st;

	if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
		return 0;
	return intent_fail(err, INTENT_EMALFORMED,
			   "there is no %s in the source: add it, or say in the recipe where it is",
			   name);
}

/* The words of "docker build", new: each borrowed, or in *strings (array). */
static const char **build_words(const struct builder *builder, const struct builder_target *target,
				const char *dockerfile, const char *iidfile, const char *tag, json_t *strings)
{
	const json_t *args = json_object_get(target->image, "args");
	const char *stage = intent_json_string(target->image, "target", NULL), *name;
	const char **argv = calloc(json_object_size(args) * 2 + 24, sizeof(*argv));
	size_t n = 0;
	json_t *value;

#define SAVED(...) (json_array_append_new(strings, json_sprintf(__VA_ARGS__)), \
	json_string_value(json_array_get(strings, json_array_size(strings) - 1)))
	argv[n++] = client(builder), argv[n++] = "build";
	argv[n++] = "--iidfile", argv[n++] = iidfile;
	argv[n++] = "--file", argv[n++] = dockerfile;
	argv[n++] = "--tag", argv[n++] = tag;
	argv[n++] = "--label", argv[n++] = SAVED(LABEL "%s", target->input);
	argv[n++] = "--label", argv[n++] = SAVED("platypus.app=%s", builder->app);
	argv[n++] = "--label", argv[n++] = SAVED("platypus.store=%s", intent_round_store_url(builder->round));
	if (stage)
		argv[n++] = "--target", argv[n++] = stage;
	json_object_foreach((json_t *)(uintptr_t)args, name, value)
		argv[n++] = "--build-arg", argv[n++] = SAVED("%s=%s", name, json_string_value(value));
#undef SAVED
	argv[n] = ".";
	return argv;
}

/* A client whose engine went away has not judged the source. */
static int explain(struct builder *builder, const struct builder_target *target, struct intent_error *err)
{
	struct intent_error other;
	bool held;

	if (err->code == INTENT_ECHILD && is_held(builder, target, &held, &other) < 0)
		*err = other;
	return err->code;
}

static int push(struct builder *builder, const char *tag, struct builder_log *log, struct intent_error *err)
{
	const char *argv[] = {client(builder), "push", tag, NULL};

	builder->phase = "push";
	if (builder__run(builder, log, argv, NULL, true, err) == 0)
		return 0;
	/* A registry, or a login, is at fault: not the source. */
	if (err->code == INTENT_ECHILD)
		err->code = INTENT_EUNAVAILABLE;
	return intent_wrap(err, "%s cannot be pushed (log: %s)", tag, builder__log_path(log));
}

int builder__make_image(struct builder *builder, const struct builder_target *target, const char *directory,
			struct builder_log *log, struct intent_error *err)
{
	const char *name = intent_json_string(target->image, "dockerfile", "Dockerfile");
	intent_free_auto char *dockerfile = intent_format("%s/%s", directory, name);
	intent_free_auto char *iidfile = intent_format("%s.iid", directory), *iid = NULL;
	intent_free_auto char *tag = image_tag(builder, target);
	intent_json_auto json_t *strings = json_array();
	const char **argv = build_words(builder, target, dockerfile, iidfile, tag, strings);
	struct intent_error ignored;
	size_t count;
	int code;

	unlink(iidfile);
	code = check_dockerfile(dockerfile, name, err);
	if (!code && (code = builder__run(builder, log, argv, directory, true, err)))
		code = explain(builder, target, err);
	/* Its word that there is an image at all, whatever it said and however it ended. */
	if (!code && intent_file_read(AT_FDCWD, iidfile, 4096, &iid, &count, &ignored) < 0)
		code = intent_fail(err, INTENT_ECHILD, "%s build ended well, but without an image", argv[0]);
	unlink(iidfile);
	free(argv);
	if (!code && intent_json_boolean(target->image, "push", false))
		code = push(builder, tag, log, err);
	return code;
}

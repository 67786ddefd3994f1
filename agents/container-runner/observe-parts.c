/* What a container needs and what stands in its way: names, networks, volumes, images. Changes nothing. */
#include "runner.h"

static int users_of(struct engine *engine, const struct docker__owner *owner, const char *volume, char out[400],
		    struct intent_error *err)
{
	intent_json_auto json_t *found = NULL;
	json_t *item;
	size_t i;

	if (engine__find(engine, "/containers/json?", "volume", json_pack("[s]", volume), &found, err))
		return err->code;
	json_array_foreach(found, i, item) {
		const char *name = json_string_value(json_array_get(json_object_get(item, "Names"), 0));

		if (!docker__is_ours(json_object_get(item, "Labels"), owner))
			snprintf(out, 400, "container %.150s runs on volume %.100s, which is to be written by this "
				 "application alone: stop it, or give one of the two another volume",
				 name ? name + (*name == '/') : "?", volume);
	}
	return 0;
}

int docker__volume_users(struct engine *engine, const struct docker__owner *owner, const json_t *spec, char out[400],
			 struct intent_error *err)
{
	json_t *item;
	size_t i;

	*out = '\0';
	json_array_foreach(json_object_get(spec, "volumes"), i, item) {
		const char *volume = intent_json_string(item, "volume", NULL);

		if (volume && !intent_json_boolean(item, "read_only", false) &&
		    users_of(engine, owner, volume, out, err))
			return err->code;
	}
	return 0;
}

static int look_at_name(struct engine *engine, const struct docker__owner *owner, const json_t *intent,
			const json_t *spec, json_t *taken, struct intent_error *err)
{
	intent_free_auto char *name = docker__name(intent, spec);
	intent_json_auto json_t *inspected = NULL;
	int code = engine__inspect(engine, name, &inspected, err);
	const char *found = intent_json_string(inspected, "Name", "");
	const json_t *labels = intent_json_at(inspected, "/Config/Labels");

	/* An id that begins so is found, too. */
	if (code || strcmp(found + (*found == '/'), name) || docker__is_ours(labels, owner))
		return code == INTENT_EABSENT ? 0 : code;
	const char *node = intent_json_string(labels, DOCKER__NODE, NULL);
	return json_object_set_new(taken, name, json_sprintf(
		"container %s (of image %s) is there and not ours%s%s%s%s: remove or rename it, or rename the application",
		name, intent_json_string(json_object_get(inspected, "Config"), "Image", "?"),
		node ? ", but of node " : "", node ? node : "", node ? " and store " : "",
		node ? intent_json_string(labels, DOCKER__STORE, "(a server)") : ""));
}

static void add_object(json_t *observed, const char *kind, const char *name, bool ours)
{
	if (ours)
		json_object_set_new(json_object_get(observed, kind), name, json_true());
	else
		json_object_set_new(json_object_get(observed, "taken"), name, json_sprintf(
			"%s %s is there and was not made by this node's container-runner: remove it, or use another name",
			!strcmp(kind, "networks") ? "network" : "volume", name));
}

static int look_at_network(struct engine *engine, const struct docker__owner *owner, const char *name,
			   json_t *observed,
			   struct intent_error *err)
{
	intent_json_auto json_t *found = NULL;
	json_t *item;
	size_t i;

	if (engine__find(engine, "/networks?", "name", json_pack("[s]", name), &found, err))
		return err->code;
	/* Parts of names are found, too. */
	json_array_foreach(found, i, item)
		if (!strcmp(intent_json_string(item, "Name", ""), name))
			add_object(observed, "networks", name,
				   docker__is_ours(json_object_get(item, "Labels"), owner));
	return 0;
}

static int look_at_volume(struct engine *engine, const struct docker__owner *owner, const char *name,
			  json_t *observed,
			  struct intent_error *err)
{
	intent_free_auto char *path = intent_format("/volumes/%s", name);
	intent_json_auto json_t *found = NULL;
	int code = engine__get(engine, path, &found, err);

	if (!code)
		add_object(observed, "volumes", name, docker__is_ours(json_object_get(found, "Labels"), owner));
	return code == INTENT_EABSENT ? 0 : code;
}

static int look_at_image(struct engine *engine, const char *image, json_t *observed, struct intent_error *err)
{
	intent_free_auto char *path = intent_format("/images/%s/json", image);
	intent_json_auto json_t *found = NULL;
	int code = engine__get(engine, path, &found, err);

	if (!code && !json_object_get(json_object_get(observed, "images"), image))
		json_object_set_new(json_object_get(observed, "images"), image,
				    json_string(intent_json_string(found, "Id", "?")));
	return code == INTENT_EABSENT ? 0 : code;
}

int docker__look_at_parts(struct intent_round *round, struct engine *engine, const json_t *spec, json_t *observed,
			 struct intent_error *err)
{
	const struct docker__owner own = docker__owner_of(round), any = { .node = own.node, .store = own.store };
	const json_t *intent = intent_round_intent(round);
	char users[400] = "";
	json_t *item;
	size_t i;

	if (look_at_name(engine, &own, intent, spec, json_object_get(observed, "taken"), err) ||
	    look_at_image(engine, intent_json_string(spec, "image", ""), observed, err))
		return err->code;
	json_array_foreach(json_object_get(spec, "networks"), i, item)
		if (!docker__is_builtin(json_string_value(item)) &&
		    look_at_network(engine, &any, json_string_value(item), observed, err))
			return err->code;
	json_array_foreach(json_object_get(spec, "volumes"), i, item)
		if (json_object_get(item, "volume") &&
		    look_at_volume(engine, &any, intent_json_string(item, "volume", ""), observed, err))
			return err->code;
	if (docker__is_stateful(intent, spec) && docker__volume_users(engine, &own, spec, users, err))
		return err->code;
	if (*users)
		json_object_set_new(observed, "in_use", json_string(users));
	return 0;
}

/* What an application that goes leaves: networks of ours that nobody else is on. */
int docker__idle_networks(struct intent_round *round, struct engine *engine, json_t *observed,
			    struct intent_error *err)
{
	const struct docker__owner own = docker__owner_of(round), any = { .node = own.node, .store = own.store };
	intent_json_auto json_t *found = NULL;
	json_t *idle = json_array(), *item, *user;
	size_t i, k;

	json_object_set_new(observed, "idle_networks", idle);
	if (engine__find(engine, "/networks?", "label", json_pack("[o]", json_sprintf("%s=%s", DOCKER__NODE, own.node)),
			 &found, err))
		return err->code;
	json_array_foreach(found, i, item) {
		intent_json_auto json_t *users = NULL;
		bool others = !docker__is_ours(json_object_get(item, "Labels"), &any);

		if (engine__find(engine, "/containers/json?all=1&", "network",
				 json_pack("[O]", json_object_get(item, "Name")), &users, err))
			return err->code;
		json_array_foreach(users, k, user)
			others |= !docker__is_ours(json_object_get(user, "Labels"), &own);
		if (!others)
			json_array_append(idle, json_object_get(item, "Name"));
	}
	return 0;
}

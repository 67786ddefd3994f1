/*
 * What the tables of documents share. Not installed.
 *
 *	schemas.c         every key and its document
 *	schemas-deploy.c  deploy_config and gates: what operators alone may say
 *	schemas-docker.c  its section for containers
 *	schemas-system.c  worlds, resources, apps
 *	schemas-stack.c   stacks and approvals
 *	schemas-injection.c  injections
 */
#ifndef INTENT_SCHEMAS_H
#define INTENT_SCHEMAS_H

#include <intent/documents.h>
#include <intent/health.h>

#define END {.name = NULL}
/* The whole document is an object with these members. */
#define DOCUMENT(fields) {{.name = "", .type = INTENT_JSON_OBJECT, .members = (fields)}, END}
#define OPEN_DOCUMENT(fields) {{.name = "", .type = INTENT_JSON_OBJECT, \
	.flags = INTENT_JSON_OPEN, .members = (fields)}, END}

/* Any value; any object; what "hold" may be. */
extern const struct intent_json_field intent__any_item[], intent__any_object[],
	intent__hold_forms[];

extern const struct intent_json_field intent_world_schema[], intent_resource_schema[], intent_system_schema[], intent_app_schema[],
	intent_stack_schema[], intent_approval_schema[], intent_injection_schema[], intent__build_schema[];

/* Environment variables, name to value; ports on the node. */
const char *intent__check_variable(const char *string);
const char *intent__check_protocol(const char *string);
const char *intent__check_size(const char *string);
/* "present" or "absent" */
const char *intent__check_ensure(const char *string);
extern const struct intent_json_field intent__variable_item[], intent__size_forms[], intent__docker_fields[];

#endif

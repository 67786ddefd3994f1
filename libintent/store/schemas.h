/*
 * What the tables of documents share. Not installed.
 *
 *	schemas.c         every key and its document
 *	schemas-deploy.c  deploy_config and gates: what operators alone may say
 *	schemas-stack.c   stacks and approvals
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

extern const struct intent_json_field intent_stack_schema[], intent_approval_schema[];

#endif

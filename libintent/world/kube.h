/*
 * Between kube.c (requests) and kube-config.c (who we are). Not installed.
 */
#ifndef INTENT__KUBE_H
#define INTENT__KUBE_H

#include <intent/http.h>
#include <intent/kube.h>

#define KUBE_FILES 3 /* CA, certificate, key */

struct intent_kube {
	struct intent_http *http;
	int64_t timeout_ms;
	char *server, *namespace;   /* owned */
	char *token_file;           /* read before each request */
	char *token, *basic;        /* "Bearer ..." material; wiped */
	json_t *exec;               /* the plug-in's description */
	int files[KUBE_FILES];      /* memory files that hold what a kubeconfig has inline; -1 */
	struct intent_http_settings settings;
	char *paths[KUBE_FILES];    /* what the settings point at */
	char *server_name;
};

/* The value of the Authorization header, owned and to be wiped; NULL and err->code 0: none is needed.
 * `again`: the last one was refused. */
char *intent__kube_authorization(struct intent_kube *kube, bool again, struct intent_error *err);

#endif

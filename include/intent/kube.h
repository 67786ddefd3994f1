/*
 * A Kubernetes API server, as far as keeping single objects needs it: who we are, read, server-side apply, delete.
 *
 * Who we are: the pod's service account (KUBERNETES_SERVICE_HOST and its token, read anew for each request, since it is
 * renewed in place), or a kubeconfig: token, token file, client certificate, user and password, or an exec plug-in
 * (client.authentication.k8s.io/v1 and v1beta1). A 401 is answered once with credentials read anew. A plug-in gets the
 * variables that its kubeconfig gives it, and of ours only what such plug-ins need: PATH, HOME, locale, proxies, and those of
 * the clouds (AWS_*, AZURE_*, GOOGLE_*, ...).
 */
#ifndef INTENT_KUBE_H
#define INTENT_KUBE_H

#include <intent/json.h>

struct intent_kube;

/*
 * `config`: a kubeconfig as JSON, as intent_kube_merge() makes one; NULL: in-cluster. `context`: NULL for its
 * current-context. Opens no connection. INTENT_EABSENT: in no cluster; INTENT_EMALFORMED, INTENT_EREFUSED name the member.
 */
int intent_kube_open(const json_t *config, const char *context, struct intent_kube **ret_owned, struct intent_error *err);
struct intent_kube *intent_kube_close(struct intent_kube *kube); /* takes NULL, returns NULL */
/*
 * Several kubeconfigs (YAML is a matter of intent_yaml_read()) become one as kubectl does it: what an earlier one says
 * stays, and names of files and of a plug-in that are relative are so to the `directory` of the file that has them.
 * `into` is changed; it may be empty.
 */
int intent_kube_merge(json_t *into, const json_t *config, const char *directory, struct intent_error *err);
/* Of the server, for messages: "https://10.0.0.1:6443". Borrowed. */
const char *intent_kube_server(const struct intent_kube *kube);
/* How long an answer may take; 30 s unless said otherwise. */
void intent_kube_limit(struct intent_kube *kube, int64_t timeout_ms);
/* The namespace of the context or the pod; "default". Borrowed. */
const char *intent_kube_namespace(const struct intent_kube *kube);

/*
 * kind: "ConfigMap", "Secret", "Service" or "EndpointSlice".
 *
 * Codes: INTENT_EABSENT 404 (the sentence says whether the namespace is missing); INTENT_EREFUSED 401, 403 and what
 * the server will never take (400, 422); INTENT_ECONFLICT 409, naming the other field manager and the fields, or a
 * change in between; INTENT_EUNAVAILABLE 429, 5xx and cut connections (*ret_again_ms, may be NULL: what
 * Retry-After asks for). No sentence quotes a body: it may hold a Secret's data.
 */
int intent_kube_get(struct intent_kube *kube, const char *kind, const char *namespace, const char *name,
		    json_t **ret_new, int64_t *ret_again_ms, struct intent_error *err);
/*
 * Server-side apply, never forced. `object` carries apiVersion, kind, metadata.name and namespace; fields that the manager
 * applied before and that are missing now are removed by the server. *ret_new (may be NULL): as it is now.
 */
int intent_kube_apply(struct intent_kube *kube, const json_t *object, const char *manager,
		      json_t **ret_new, int64_t *ret_again_ms, struct intent_error *err);
/* Only while it has this uid. Absent is fine. */
int intent_kube_delete(struct intent_kube *kube, const char *kind, const char *namespace, const char *name,
		       const char *uid, int64_t *ret_again_ms, struct intent_error *err);

#endif

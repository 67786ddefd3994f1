/* TLS: files looked at before they are used, and its failures in words that help. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include "http-exchange.h"

/* ---- files ---- */

/* An encrypted key would have OpenSSL ask on the terminal, of a daemon. */
static int no_passphrase(char *room, int size, int writing, void *data)
{
	(void)room, (void)size, (void)writing, (void)data;
	return -1;
}

static int unreadable(const char *path, const char *option, const char *what, struct intent_error *err)
{
	ERR_clear_error();
	return intent_fail(err, INTENT_EUNAVAILABLE, "%.200s%s%s%s: %s", path, option ? " (" : "",
			   option ? option : "", option ? ")" : "", what);
}

static int open_file(const char *path, const char *option, BIO **ret, struct intent_error *err)
{
	*ret = BIO_new_file(path, "r");
	return *ret ? 0 : unreadable(path, option, strerror(errno), err);
}

static int read_certificate(const char *path, const char *option, X509 **ret, struct intent_error *err)
{
	BIO *bio;
	int code = open_file(path, option, &bio, err);

	if (code)
		return code;
	*ret = PEM_read_bio_X509_AUX(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	return *ret ? 0 : unreadable(path, option, "holds no certificate: write one there, in PEM", err);
}

static int check_pair(const struct intent_http_settings *settings, X509 *certificate, struct intent_error *err)
{
	const char *path = settings->key_file ? settings->key_file : settings->cert_file;
	EVP_PKEY *key;
	BIO *bio;
	int code = open_file(path, settings->cert_option, &bio, err);

	if (code)
		return code;
	key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	if (!key)
		return unreadable(path, settings->cert_option,
				  "holds no private key without a passphrase: write one there, in PEM", err);
	if (!X509_check_private_key(certificate, key))
		code = unreadable(path, settings->cert_option, "is not the key of the client certificate: "
				  "replace both", err);
	EVP_PKEY_free(key);
	return code;
}

int intent_http_settings_check(const struct intent_http_settings *settings, struct intent_error *err)
{
	X509 *certificate = NULL;
	int code = 0;

	if (settings->ca_file)
		code = read_certificate(settings->ca_file, settings->ca_option, &certificate, err);
	X509_free(certificate);
	certificate = NULL;
	if (!code && settings->key_file && !settings->cert_file)
		return unreadable(settings->key_file, settings->cert_option, "a key without a certificate: "
				  "name both, or neither", err);
	if (!code && settings->cert_file)
		code = read_certificate(settings->cert_file, settings->cert_option, &certificate, err);
	if (!code && certificate)
		code = check_pair(settings, certificate, err);
	X509_free(certificate);
	return code;
}

/* ---- failures ---- */

/* What a server says of our certificate; it does so before it reads any request. */
static const char *const verdicts[] = {
	"bad certificate", "unsupported certificate", "certificate revoked", "certificate expired",
	"certificate unknown", "unknown ca", "certificate required", "handshake failure",
};

/* Of the server's words about us; NULL: it said none. */
static const char *find_verdict(CURLcode result, const char *words)
{
	const char *alert = strstr(words, " alert ");

	if (!alert || (result != CURLE_SSL_CONNECT_ERROR && result != CURLE_RECV_ERROR &&
		       result != CURLE_SEND_ERROR))
		return NULL;
	for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++)
		if (strstr(alert, verdicts[i]))
			return verdicts[i];
	return NULL;
}

static void refused_us(const struct intent_http_settings *settings, const char *verdict,
		       struct intent_text *out)
{
	if (settings->cert_file)
		intent_text_printf(out, "the server does not take the client certificate %.100s (%s): it must "
				   "be valid now, and of a CA that the server trusts", settings->cert_file, verdict);
	else
		intent_text_printf(out, "the server demands a client certificate (%s)%s%s", verdict,
				   settings->cert_option ? ": name one with " : "",
				   settings->cert_option ? settings->cert_option : "");
}

static void refused_it(const struct intent_http_settings *settings, const char *words,
		       struct intent_text *out)
{
	static const struct { const char *words, *way_out; } ways[] = {
		{"expired", "renew the server's certificate"},
		{"not yet valid", "look at this machine's clock"},
		{"subject name", "use a name that the server's certificate has, or give it this one"},
		{"host name", "use a name that the server's certificate has, or give it this one"},
	};

	intent_text_puts(out, words);
	for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
		if (strstr(words, ways[i].words)) {
			intent_text_printf(out, ": %s", ways[i].way_out);
			return;
		}
	}
	intent_text_puts(out, ": is it the right server? Then ");
	if (settings->ca_file)
		intent_text_printf(out, "its CA's certificate belongs into %.100s", settings->ca_file);
	else
		intent_text_printf(out, "name its CA's certificate%s%s", settings->ca_option ? " with " : "",
				   settings->ca_option ? settings->ca_option : "");
}

bool intent__http_tls_words(const struct intent_http_settings *settings, CURLcode result, const char *words,
			    bool *ret_unread, struct intent_text *out)
{
	const char *verdict = find_verdict(result, words);

	*ret_unread = verdict;
	if (verdict)
		refused_us(settings, verdict, out);
	else if (result == CURLE_PEER_FAILED_VERIFICATION)
		refused_it(settings, words, out);
	else if (result == CURLE_SSL_CONNECT_ERROR && strstr(words, "wrong version number"))
		intent_text_puts(out, "the server does not speak TLS there: leave the s of https out, or "
				 "name its TLS port");
	else if (result == CURLE_SSL_CERTPROBLEM || result == CURLE_SSL_CACERT_BADFILE)
		intent_text_printf(out, "%s: a certificate or key file cannot be used", words);
	else
		return false;
	return !out->failed;
}

/*
 * The table: its text for nft, whose it is, what it looks like, and putting another in its place.
 *
 * What nft lists is not what it was given: it sorts, merges networks and names things its own way,
 * otherwise in each release. So the listing is not compared with the text but with the listing that
 * was seen right after the text was taken, whose digest is kept in the state directory. A table
 * that does not carry our name is never touched.
 */
#include <errno.h>
#include <sys/mman.h>
#include <intent/child.h>
#include <intent/digest.h>
#include <intent/file.h>
#include "port-firewall.h"

#define NFT_DEADLINE_MS 30000
#define LOADS_MAX 5
#define LISTING_MAX (16u << 20)
#define OWNER_CHAIN "owner"
#define OWNER_WORDS "pp-port-firewall of node "
/* A comment holds 128 bytes. */
#define OWNER_NODE_MAX 96

static const char *const protocols[] = {"tcp", "udp"};

/* ---- text ---- */

/*
 * Whatever the ports: what runs already, this machine with itself, and what the protocols need. An
 * ACK that belongs to nothing known is of a connection older than the table, since none can begin
 * with one. Echoes and errors as RFC 4890 has them, neighbours and routers of IPv6, answers of
 * DHCP, which come to no connection that was begun here because the question went to everybody.
 */
static const char always_text[] = "\t\tct state established,related accept\n"
				  "\t\tiifname \"lo\" accept\n";
static const char needs_text[] =
	"\t\ttcp flags & (fin | syn | rst | ack) == ack ct state new accept\n"
	"\t\ticmp type { destination-unreachable, time-exceeded, parameter-problem, echo-request } accept\n"
	"\t\ticmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request, "
	"mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report, "
	"nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept\n"
	"\t\tudp sport 67 udp dport 68 accept\n"
	"\t\tip6 saddr fe80::/10 udp sport 547 udp dport 546 accept\n";

static void put_owner(const char *node, char out[OWNER_NODE_MAX + sizeof(OWNER_WORDS)])
{
	snprintf(out, OWNER_NODE_MAX + sizeof(OWNER_WORDS), OWNER_WORDS "%.*s", OWNER_NODE_MAX,
		 node);
}

/* The ports open to everybody, in one rule. */
static void put_open(struct intent_text *text, const json_t *open, const char *protocol)
{
	size_t i, count = 0;
	json_t *opening;

	json_array_foreach((json_t *)(uintptr_t)open, i, opening) {
		if (json_object_get(opening, "from") ||
		    strcmp(intent_json_string(opening, "protocol", ""), protocol) != 0)
			continue;
		if (!count)
			intent_text_printf(text, "\t\t%s dport { ", protocol);
		intent_text_printf(text, "%s%d", count++ ? ", " : "",
				   (int)intent_json_integer(opening, "port", 0));
	}
	if (count)
		intent_text_puts(text, " } accept\n");
}

/* From the networks of one family; a prefix of no bits is no set element but the family itself. */
static void put_from(struct intent_text *text, const json_t *opening, bool six)
{
	const char *protocol = intent_json_string(opening, "protocol", "");
	int port = (int)intent_json_integer(opening, "port", 0);
	intent_text_auto struct intent_text networks = INTENT_TEXT_INIT;
	bool all = false;
	size_t i;
	json_t *item;

	json_array_foreach(json_object_get(opening, "from"), i, item) {
		const char *network = json_string_value(item);

		if (!strchr(network, ':') == six)
			continue;
		all = all || intent_ends_with(network, "/0");
		intent_text_printf(&networks, "%s%s", networks.length ? ", " : "", network);
	}
	if (all)
		intent_text_printf(text, "\t\tmeta nfproto ipv%c %s dport %d accept\n",
				   six ? '6' : '4', protocol, port);
	else if (networks.length)
		intent_text_printf(text, "\t\t%s saddr { %s } %s dport %d accept\n",
				   six ? "ip6" : "ip", intent_text_str(&networks), protocol, port);
}

static void put_restricted(struct intent_text *text, const json_t *open, bool drops)
{
	size_t i;
	json_t *opening;

	json_array_foreach((json_t *)(uintptr_t)open, i, opening) {
		const char *protocol = intent_json_string(opening, "protocol", "");

		if (!json_object_get(opening, "from"))
			continue;
		put_from(text, opening, false);
		put_from(text, opening, true);
		if (!drops)
			intent_text_printf(text, "\t\t%s dport %d reject%s\n", protocol,
					   (int)intent_json_integer(opening, "port", 0),
					   strcmp(protocol, "tcp") != 0 ? "" : " with tcp reset");
	}
}

void firewall__nft_text(const char *table, const char *node, const json_t *rules,
			struct intent_text *text)
{
	const json_t *open = json_object_get(rules, "open");
	const char *policy = intent_json_string(rules, "policy", "accept");
	bool drops = !strcmp(policy, "drop");
	char owner[OWNER_NODE_MAX + sizeof(OWNER_WORDS)];

	/* One that is not there cannot be deleted, so it is made first: all in one transaction. */
	intent_text_printf(text, "table inet %s\ndelete table inet %s\n", table, table);
	if (!rules)
		return;
	put_owner(node, owner);
	intent_text_printf(text, "table inet %s {\n", table);
	intent_text_printf(text, "\tchain " OWNER_CHAIN " {\n\t\treturn comment \"%s\"\n\t}\n\n",
			   owner);
	intent_text_printf(
		text, "\tchain input {\n\t\ttype filter hook input priority filter; policy %s;\n",
		policy);
	intent_text_puts(text, always_text);
	if (drops)
		intent_text_puts(text, needs_text);
	for (size_t i = 0; i < sizeof(protocols) / sizeof(*protocols); i++)
		put_open(text, open, protocols[i]);
	put_restricted(text, open, drops);
	intent_text_puts(text, "\t}\n}\n");
}

/* ---- nft ---- */

/* nft says first what is wrong, then shows where with carets. */
static void first_line(const struct intent_text *said, char out[300])
{
	const char *text = intent_text_str(said);

	snprintf(out, 300, "%.*s", (int)strcspn(text, "\n"), text);
	intent_utf8_clean(out);
}

/* Runs nft with these arguments (after the program), `input` (may be NULL) as its standard input. */
static int run_nft(const struct intent_round *round, const char *const *arguments,
		   const struct intent_text *input, struct intent_child_result *ret,
		   struct intent_error *err)
{
	const char *argv[10] = {intent_json_string(intent_round_options(round), "nft", "nft")};
	struct intent_child_options options = {
		.argv = argv, .deadline_ms = NFT_DEADLINE_MS, .output_max = LISTING_MAX};
	intent_close_auto int fd = -1;
	int code;

	for (size_t i = 0; i < 8 && arguments[i]; i++)
		argv[i + 1] = arguments[i];
	if (input) {
		fd = memfd_create("rules", MFD_CLOEXEC);
		if (fd < 0)
			return intent_fail_errno(err, "no room for the rules");
		code = intent_write_all(fd, input->data, input->length);
		errno = -code;
		if (code || lseek(fd, 0, SEEK_SET) < 0)
			return intent_fail_errno(err, "no room for the rules");
		options.stdin_fd = fd;
	}
	code = intent_child_run(&options, ret, err);
	if (code == INTENT_EABSENT)
		return intent_fail(
			err, code,
			"there is no program '%s': install nftables, or name it with --nft",
			argv[0]);
	return code;
}

static int failed(const struct intent_child_result *result, const char *what,
		  struct intent_error *err)
{
	char said[300], words[64];

	first_line(&result->err, said);
	intent_child_status_words(result->status, words);
	if (strstr(intent_text_str(&result->err), "Operation not permitted"))
		return intent_fail(err, -EPERM,
				   "nft may not %s: run as root, or with CAP_NET_ADMIN", what);
	return intent_fail(err, INTENT_ECHILD, "nft cannot %s: %s", what, *said ? said : words);
}

/* ---- looking ---- */

char *firewall__nft_owner(const char *bytes, size_t count)
{
	intent_json_auto json_t *json = NULL;
	struct intent_error ignored;
	size_t i;
	json_t *item;

	if (intent_json_parse(bytes, count, 0, &json, &ignored))
		return NULL;
	json_array_foreach(json_object_get(json, "nftables"), i, item) {
		const json_t *rule = json_object_get(item, "rule");
		const char *comment = intent_json_string(rule, "comment", "");

		if (!strcmp(intent_json_string(rule, "chain", ""), OWNER_CHAIN) &&
		    intent_starts_with(comment, OWNER_WORDS))
			return strdup(comment + strlen(OWNER_WORDS));
	}
	return NULL;
}

/*
 * Is there a table of that name? Not as JSON: nft 1.0.6 writes garbage there for any table with
 * flags.
 */
static int is_there(const struct intent_round *round, const char *table, bool *ret,
		    struct intent_error *err)
{
	const char *const arguments[] = {"list", "tables", "inet", NULL};
	intent_free_auto char *line = intent_format("table inet %s\n", table);
	struct intent_child_result result = {0};
	int code = run_nft(round, arguments, NULL, &result, err);

	if (!code && (result.status || !line))
		code = failed(&result, "list the tables", err);
	/* Line by line. */
	for (const char *at = intent_text_str(&result.out); !code && *at;
	     at += strcspn(at, "\n"), at += *at == '\n')
		*ret = *ret || intent_starts_with(at, line);
	intent_child_result_release(&result);
	return code;
}

/* Why it is not ours, owned; NULL: it is. */
static int judge_owner(const struct intent_round *round, const char *table, const char *node,
		       char **ret_owned, struct intent_error *err)
{
	const char *const arguments[] = {"-j", "list", "chain", "inet", table, OWNER_CHAIN, NULL};
	char wanted[OWNER_NODE_MAX + sizeof(OWNER_WORDS)];
	struct intent_child_result result = {0};
	intent_free_auto char *owner = NULL;
	int code = run_nft(round, arguments, NULL, &result, err);

	if (!code && !result.status)
		owner = firewall__nft_owner(intent_text_str(&result.out), result.out.length);
	intent_child_result_release(&result);
	if (code)
		return code;
	put_owner(node, wanted);
	if (!owner)
		*ret_owned = strdup("is somebody else's: it has no chain \"" OWNER_CHAIN
				    "\" that names us");
	else if (strcmp(owner, wanted + strlen(OWNER_WORDS)) != 0)
		*ret_owned = intent_format("is that of node %.100s", owner);
	return 0;
}

/* Without counters and handles, which change by themselves. */
static int digest_listing(const struct intent_round *round, const char *table, char out[65],
			  struct intent_error *err)
{
	const char *const arguments[] = {"-s", "list", "table", "inet", table, NULL};
	struct intent_child_result result = {0};
	int code = run_nft(round, arguments, NULL, &result, err);

	if (!code && result.status)
		code = failed(&result, "list the table", err);
	if (!code)
		intent_sha256_hex(intent_text_str(&result.out), result.out.length, out);
	intent_child_result_release(&result);
	return code;
}

static const char *table_name(const struct intent_round *round)
{
	return intent_json_string(intent_round_options(round), "table", "platypus");
}

static const char *node_name(const struct intent_round *round)
{
	return intent_json_string(intent_round_intent(round), "node", "");
}

/* *ret_new stays NULL when there is no table. */
static int look_at_table(const struct intent_round *round, json_t **ret_new,
			 struct intent_error *err)
{
	const char *table = table_name(round);
	intent_free_auto char *foreign = NULL;
	char digest[65];
	bool there = false;
	int code = is_there(round, table, &there, err);

	if (code || !there)
		return code;
	if ((code = judge_owner(round, table, node_name(round), &foreign, err)))
		return code;
	if (!foreign && (code = digest_listing(round, table, digest, err)))
		return code;
	*ret_new = foreign ? json_pack("{ss}", "foreign", foreign)
			   : json_pack("{ss}", "listing", digest);
	return 0;
}

/* ---- the record ---- */

static void text_digest(const struct intent_round *round, const json_t *rules, char out[65])
{
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT;

	firewall__nft_text(table_name(round), node_name(round), rules, &text);
	intent_sha256_hex(intent_text_str(&text), text.length, out);
}

/* Damaged or absent: the table is made once more. */
static json_t *read_record(const struct intent_round *round)
{
	intent_free_auto char *path = intent_format("%s/table.json", intent_round_state_dir(round));
	json_t *record = NULL;
	struct intent_error ignored;
	char digest[65];

	if (intent_file_read_json(path, LISTING_MAX, &record, &ignored))
		return NULL;
	text_digest(round, json_object_get(record, "rules"), digest);
	if (strcmp(intent_json_string(record, "text", ""), digest) != 0)
		json_object_set_new(record, "outdated", json_true());
	json_object_del(record, "text");
	return record;
}

static int write_record(const struct intent_round *round, const json_t *rules, const char *listing,
			struct intent_error *err)
{
	intent_free_auto char *path = intent_format("%s/table.json", intent_round_state_dir(round));
	intent_json_auto json_t *record = NULL;
	char text[65];

	if (!rules)
		return intent_file_remove(path, err);
	text_digest(round, rules, text);
	record = json_pack("{sO ss ss}", "rules", rules, "text", text, "listing", listing);
	return intent_file_write_json(path, record, 0600, err);
}

/* ---- what agent.c calls ---- */

int firewall__nft_observe(struct intent_round *round, json_t *observed, struct intent_error *err)
{
	json_t *table = NULL, *record;

	if (look_at_table(round, &table, err))
		return err->code;
	record = read_record(round);
	if (table)
		json_object_set_new(observed, "table", table);
	if (record)
		json_object_set_new(observed, "record", record);
	return 0;
}

static int load(const struct intent_round *round, const struct intent_text *text, bool only_check,
		struct intent_error *err)
{
	const char *const checking[] = {"-c", "-f", "-", NULL}, *const loading[] = {"-f", "-",
										    NULL};
	struct intent_child_result result = {0};
	int code = run_nft(round, only_check ? checking : loading, text, &result, err);

	if (!code && result.status)
		code = failed(&result, only_check ? "take the rules" : "load the rules", err);
	intent_child_result_release(&result);
	return code;
}

/*
 * Loads the rules, and tells how they are listed. Whoever changes the table between the two must not have it taken for
 * ours: what two loads in a row are listed as is.
 */
static int load_and_list(const struct intent_round *round, const struct intent_text *text, char out[65],
			 struct intent_error *err)
{
	char before[65] = "";

	for (int i = 0; i < LOADS_MAX; i++) {
		if (load(round, text, false, err) || digest_listing(round, table_name(round), out, err))
			return err->code;
		if (!strcmp(out, before))
			return 0;
		memcpy(before, out, sizeof(before));
	}
	return intent_fail(err, INTENT_ECHILD, "table inet %s is changed by somebody else again and again: find out "
			   "who, for example with nft monitor", table_name(round));
}

int firewall__nft_put(struct intent_round *round, const json_t *rules, struct intent_error *err)
{
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT;
	intent_json_auto json_t *table = NULL;
	char listing[65] = "";

	/* Once more: it would be destroyed with what is in it. */
	if (look_at_table(round, &table, err))
		return err->code;
	if (json_object_get(table, "foreign"))
		return intent_fail(err, INTENT_ENOTOURS, "table inet %s %s", table_name(round),
				   intent_json_string(table, "foreign", ""));
	firewall__nft_text(table_name(round), node_name(round), rules, &text);
	if (text.failed)
		return intent_fail(err, INTENT_ETOOBIG, "the rules are too large");
	if (load(round, &text, true, err) ||
	    (rules ? load_and_list(round, &text, listing, err) : load(round, &text, false, err)))
		return err->code;
	return write_record(round, rules, listing, err);
}

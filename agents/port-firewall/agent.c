/* pp-port-firewall: what this node's applications and gates open is open, and nothing else of ours. */
#include <ctype.h>
#include <libgen.h>
#include <linux/capability.h>
#include <intent/file.h>
#include "port-firewall.h"

#define KNOWN_MAX (64u << 20)
/* Nothing tells us when somebody else changes the table. */
#define LOOK_AGAIN_MS 60000

/* ---- what each is known to open ---- */

static char *known_path(const struct intent_round *round)
{
	return intent_format("%s/known.json", intent_round_state_dir(round));
}

static void read_known(struct intent_round *round, json_t *observed)
{
	intent_free_auto char *path = known_path(round);
	intent_json_auto json_t *known = NULL;
	struct intent_error err = {.code = INTENT_EABSENT};
	const char *name;
	json_t *openings;
	void *next;

	if (intent_file_read_json(path, KNOWN_MAX, &known, &err) ||
	    !json_is_object(known)) {
		if (err.code != INTENT_EABSENT)
			intent_round_log(round, INTENT_WARN,
					 "What applications had open is not known: %s", err.msg);
		return;
	}
	json_object_foreach_safe(known, next, name, openings)
		if (!json_is_array(openings))
			json_object_del(known, name);
	json_object_set(observed, "known", known);
	intent_round_owned(round, (int)json_object_size(known));
}

static int write_known(const struct intent_round *round, const json_t *action,
		       struct intent_error *err)
{
	intent_free_auto char *path = known_path(round);
	const json_t *known = intent_json_at(action, "/args/known");

	return intent_file_write_json(path, known, 0600, err);
}

/* ---- observe ---- */

/* It becomes part of a program that nft reads. */
static int check_table_name(const char *name, struct intent_error *err)
{
	bool good = isalpha((unsigned char)*name) || *name == '_';

	for (const char *p = name; *p; p++)
		good = good && (isalnum((unsigned char)*p) || *p == '_');
	return good && strlen(name) < 64
		       ? 0
		       : intent_fail(err, INTENT_EUSAGE,
				     "--table must be letters, digits and _, not '%.80s'", name);
}

static bool uses_files(const json_t *intent)
{
	return json_object_get(json_object_get(intent, "options"), "cmd") != NULL;
}

static int observe(struct intent_round *round, const json_t *intent, json_t **ret_new_observed,
		   struct intent_error *err)
{
	const json_t *options = json_object_get(intent, "options");
	json_t *observed = json_object();
	int code = check_table_name(intent_json_string(options, "table", "platypus"), err);

	read_known(round, observed);
	if (!code)
		code = uses_files(intent) ? firewall__files_observe(round, observed, err)
					  : firewall__nft_observe(round, observed, err);
	intent_round_again(round, LOOK_AGAIN_MS);
	if (uses_files(intent))
		intent_round_watch(round, intent_json_string(options, "config-dir", ""));
	if (code)
		json_decref(observed);
	else
		*ret_new_observed = observed;
	return code;
}

/* ---- apply ---- */

static int remember(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	return write_known(round, action, err);
}

static int replace(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	return firewall__nft_put(round, intent_json_at(action, "/args/rules"), err);
}

static int write_file(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	return firewall__files_put(round, intent_json_string(action, "subject", ""),
				   intent_json_string(json_object_get(action, "args"), "text", ""),
				   err);
}

/* Closed first, then forgotten: what is killed in between closes it again. */
static int close_ports(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const char *file = intent_json_string(json_object_get(action, "args"), "file", NULL);
	int code = 0;

	if (!uses_files(intent_round_intent(round)))
		code = firewall__nft_put(round, intent_json_at(action, "/args/rules"), err);
	else if (file)
		code = firewall__files_put(round, file, NULL, err);
	return code ? code : write_known(round, action, err);
}

static int sweep(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	(void)round;
	return intent_temp_sweep(intent_json_string(action, "subject", ""), NULL, err);
}

static int refresh(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	(void)action;
	return firewall__files_refresh(round, err);
}

/* ---- the table ---- */

#define COMMAND_OPTION(default_command) \
	{.name = "cmd", .type = INTENT_OPTION_STRING, .metavar = "COMMAND", .otherwise = (default_command), \
	 .help = "no table: a file per application in --config-dir, and \"COMMAND rebuild\" when they change"}

#define OTHER_OPTIONS \
	{.name = "config-dir", .type = INTENT_OPTION_PATH, .metavar = "DIR", .otherwise = "/etc/port_authority.d", \
	 .help = "where the files for --cmd go"}, \
	{.name = "policy", .type = INTENT_OPTION_WORD, .metavar = "accept|drop", .otherwise = "accept", \
	 .help = "what becomes of packets to ports that nobody opens"}, \
	{.name = "always", .type = INTENT_OPTION_STRING, .metavar = "PORTS", .otherwise = "22", \
	 .help = "open to everybody whatever documents say, such as 22,443/tcp,53/udp; or none"}, \
	{.name = "table", .type = INTENT_OPTION_STRING, .metavar = "NAME", .otherwise = "platypus", \
	 .help = "the name of the table, of family inet"}, \
	{.name = "nft", .type = INTENT_OPTION_STRING, .metavar = "PROGRAM", .otherwise = "nft", \
	 .help = "the program of nftables"}, \
	{.name = NULL}

static const struct intent_option options[] = {COMMAND_OPTION(NULL), OTHER_OPTIONS};
/* As the seed's program was called, and what it ran. */
static const struct intent_option seed_options[] = {COMMAND_OPTION("port_authority"), OTHER_OPTIONS};

static const struct intent_verb verbs[] = {
	{"sweep", 0, sweep},
	{"remember", 0, remember},
	{"replace", 0, replace},
	{"renew", INTENT_VERB_DESTROYS, close_ports},
	{"remove", INTENT_VERB_DESTROYS, replace},
	/* One that may not be written keeps no other from being. */
	{"write", INTENT_VERB_INDEPENDENT, write_file},
	{"close", INTENT_VERB_DESTROYS | INTENT_VERB_INDEPENDENT, close_ports},
	{"refresh", 0, refresh},
	{NULL, 0, NULL},
};

int main(int argc, char **argv)
{
	struct intent_agent agent = {
		.name = "port-firewall",
		.summary = "Opens the ports that this node's applications and gates name, in one nftables table.",
		.options = options,
		.slicer = &firewall__slicer,
		.observe = observe,
		.plan = port_firewall_plan,
		.verbs = verbs,
		.reads_all = true,
		/* nft; iptables, files and a store of somebody else with --cmd. */
		.capabilities = 1ull << CAP_NET_ADMIN | 1ull << CAP_NET_RAW | 1ull << CAP_DAC_OVERRIDE,
		.programs = INTENT_PROGRAMS_OWN,
	};

	if (argc && !strcmp(basename(argv[0]), "pp-iptables"))
		agent.options = seed_options;
	return intent_agent_main(&agent, argc, argv);
}

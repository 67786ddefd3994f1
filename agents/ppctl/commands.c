/* Every subcommand of ppctl with its options: dispatch, help and completion come from here. */
#include "ppctl.h"

#define JSON_OPTION {"json", INTENT_OPTION_FLAG, NULL, NULL, NULL, 0, 0, "Print JSON"}
#define CLUSTER_OPTION {"cluster", INTENT_OPTION_STRING, "CLUSTER", NULL, NULL, 0, 0, \
	"Which cluster, when the application has several"}
#define FORCE_OPTION(words) {"force", INTENT_OPTION_FLAG, NULL, NULL, NULL, 0, 0, words}

const struct intent_option ppctl_common[] = {
	{"store", INTENT_OPTION_STRING, "URL", NULL, NULL, 0, 0,
	 "Which store: dir:PATH, consul://HOST:PORT, etcd://HOST:PORT,... ($PP_STORE)"},
	{"prefix", INTENT_OPTION_STRING, "PREFIX", NULL, "PP_PREFIX", 0, 0,
	 "All keys stand below this prefix of the store"},
	{"node", INTENT_OPTION_STRING, "NODE", NULL, "PP_NODE", 0, 0,
	 "The node meant; default: this machine's host name"},
	JSON_OPTION,
	{0}
};

static const struct intent_option put_options[] = {
	FORCE_OPTION("Write it unchecked, whatever it is"),
	{"revision", INTENT_OPTION_INTEGER, "N", NULL, NULL, 0, 0,
	 "Only if this is the document's revision; 0: only if there is none"},
	{0}
};
static const struct intent_option edit_options[] = {
	FORCE_OPTION("Write it unchecked, whatever it is"), {0}
};
static const struct intent_option ls_options[] = {
	{"long", INTENT_OPTION_FLAG, NULL, NULL, NULL, 0, 0, "Also revision, size and what it is"},
	{0}
};
static const struct intent_option import_options[] = {
	FORCE_OPTION("Write everything unchecked"),
	{"dry-run", INTENT_OPTION_FLAG, NULL, NULL, NULL, 0, 0, "Only say what would be written"},
	{0}
};
static const struct intent_option export_options[] = {
	{"all", INTENT_OPTION_FLAG, NULL, NULL, NULL, 0, 0, "Everything, not only intent"},
	{0}
};
static const struct intent_option prep_options[] = {
	CLUSTER_OPTION,
	{"url", INTENT_OPTION_STRING, "URL", NULL, NULL, 0, 0,
	 "Where its archive is; default: below the preparer's --repo"},
	{"sha256", INTENT_OPTION_STRING, "HEX", NULL, NULL, 0, 0, "SHA-256 of its archive"},
	FORCE_OPTION("Change the archive of a version that has one already"),
	{0}
};
static const struct intent_option activate_options[] = {
	CLUSTER_OPTION, FORCE_OPTION("Even if the version was never prepared"), {0}
};
static const struct intent_option cluster_options[] = {CLUSTER_OPTION, {0}};
static const struct intent_option status_options[] = {
	CLUSTER_OPTION,
	{"watch", INTENT_OPTION_FLAG, NULL, NULL, NULL, 0, 0, "Go on and show every change"},
	{"wait", INTENT_OPTION_DURATION, "DURATION", NULL, NULL, 0, 0,
	 "Return when all is converged, or after so long"},
	{"all", INTENT_OPTION_FLAG, NULL, NULL, NULL, 0, 0, "All nodes, not only this one"},
	{"long", INTENT_OPTION_FLAG, NULL, NULL, NULL, 0, 0, "One line for each agent"},
	{"summary", INTENT_OPTION_FLAG, NULL, NULL, NULL, 0, 0, "One line for each cluster"},
	{0}
};
static const struct intent_option rollout_options[] = {
	CLUSTER_OPTION,
	{"watch", INTENT_OPTION_FLAG, NULL, NULL, NULL, 0, 0,
	 "Go on until it is done, has failed or is stuck"},
	{0}
};
static const struct intent_option hold_options[] = {
	CLUSTER_OPTION,
	{"until", INTENT_OPTION_STRING, "TIME|DURATION", NULL, NULL, 0, 0,
	 "When it ends by itself: \"2h\", or \"2026-11-21T18:00:00Z\""},
	{"why", INTENT_OPTION_STRING, "REASON", NULL, NULL, 0, 0, "The same as REASON"},
	{0}
};
static const struct intent_option break_options[] = {
	{"all", INTENT_OPTION_FLAG, NULL, NULL, NULL, 0, 0, "The slots of all nodes"},
	{0}
};
static const struct intent_option plan_options[] = {
	{"timeout", INTENT_OPTION_DURATION, "DURATION", "60s", NULL, 1000, 3600000,
	 "How long one agent may take"},
	{0}
};

static const struct intent_option stack_options[] = {
	{"state-dir", INTENT_OPTION_PATH, "DIR", NULL, NULL, 0, 0,
	 "Where the applier on this machine keeps its state, if not in the usual place"},
	{0}
};

#define DIRECTORY_OPTION {"directory", INTENT_OPTION_PATH, "DIR", NULL, NULL, 0, 0, \
	"The working directory; default: the current one"}
#define WORLD_OPTION {"world", INTENT_OPTION_STRING, "WORLD", NULL, NULL, 0, 0, \
	"For which world; default: local"}
static const struct intent_option compile_options[] = {WORLD_OPTION, DIRECTORY_OPTION, {0}};
static const struct intent_option orphans_options[] = {
	{"world", INTENT_OPTION_STRING, "WORLD", NULL, NULL, 0, 0, "Only of this world; default: of all"}, {0}
};
#define VOLUMES_OPTION {"volumes", INTENT_OPTION_FLAG, NULL, NULL, NULL, 0, 0, \
	"When it is stopped, also remove its volumes, with all that is in them"}

static const struct intent_option run_options[] = {
	{"verbose", INTENT_OPTION_FLAG, NULL, NULL, NULL, 0, 0, "Also show what agents say"},
	VOLUMES_OPTION,
	DIRECTORY_OPTION,
	{0}
};
static const struct intent_option stop_options[] = {
	{"verbose", INTENT_OPTION_FLAG, NULL, NULL, NULL, 0, 0, "Also show what agents say"},
	VOLUMES_OPTION,
	DIRECTORY_OPTION,
	{0}
};
#define APPLY_OPTIONS WORLD_OPTION, DIRECTORY_OPTION, \
	{"provision", INTENT_OPTION_FLAG, NULL, NULL, NULL, 0, 0, "Also infrastructure: write stacks"}, \
	{"adopt", INTENT_OPTION_FLAG, NULL, NULL, NULL, 0, 0, \
	 "Take over documents that this definition did not write"}, \
	{"seen", INTENT_OPTION_INTEGER, "N", NULL, NULL, 0, 0, \
	 "The revision at which diff showed it: refuse what was written since"}
static const struct intent_option format_options[] = {
	DIRECTORY_OPTION,
	{"check", INTENT_OPTION_FLAG, NULL, NULL, NULL, 0, 0, "Change nothing; exit status 1 if something would"},
	{0}
};
static const struct intent_option apply_options[] = {APPLY_OPTIONS, {0}};
/* Not in the list of all options, where --version is ppctl's own. */
static const struct intent_option deploy_options[] = {
	APPLY_OPTIONS,
	{"version", INTENT_OPTION_STRING, "VERSION", NULL, NULL, 0, 0,
	 "Which version of its services; default: the commit of each checkout"},
	{0}
};

#define GITHUB_OPTION {"github", INTENT_OPTION_STRING, "URL", "https://github.com/", NULL, 0, 0, \
	"What gh:// stands for"}
static const struct intent_option load_options[] = {DIRECTORY_OPTION, GITHUB_OPTION, {0}};
static const struct intent_option get_options[] = {
	{"all", INTENT_OPTION_FLAG, NULL, NULL, NULL, 0, 0, "Every application of the system definition"},
	DIRECTORY_OPTION, GITHUB_OPTION, {0}
};

#define KEY_WORDS "Keys and documents: intent-documents(5)."
#define SYSTEM_WORDS "sysdef.yaml, Pibstack and deployd.yaml: intent-system(5)."
#define CAS_WORDS "Written with compare-and-set: two people who change the same " \
	"configuration at once lose nothing."

const struct ppctl_command ppctl_commands[] = {
	{"init", "[URL|PATH]", "make a store and mark this node in it",
	 "Without argument: /var/lib/platypus/store for root, else $XDG_STATE_HOME/platypus/store "
	 "(~/.local/state/platypus/store). All programs find these by themselves.",
	 NULL, 0, 1, ppctl_init},
	{"node add", "APP CLUSTER", "run an application of a cluster on this node",
	 "Writes nodes/<node>/<app>, and the node's marker if there is none. Another node: --node.",
	 NULL, 2, 2, ppctl_node_add},
	{"node rm", "APP", "stop running an application on this node",
	 "Removes nodes/<node>/<app>. Agents stop the service; data and installed versions stay.",
	 NULL, 1, 1, ppctl_node_rm},
	{"prep", "APP VERSION", "install a version, ready to run", CAS_WORDS,
	 prep_options, 2, 2, ppctl_prep},
	{"unprep", "APP VERSION", "forget a version that is not active", CAS_WORDS,
	 cluster_options, 2, 2, ppctl_unprep},
	{"activate", "APP VERSION", "run this version; the active one becomes prepared", CAS_WORDS,
	 activate_options, 2, 2, ppctl_activate},
	{"deactivate", "APP", "run no version; the active one becomes prepared", CAS_WORDS,
	 cluster_options, 1, 1, ppctl_deactivate},
	{"rollback", "APP", "run the version that was active before",
	 "That is `previous' of the configuration, which activate and deactivate write. "
	 "Twice is back again.",
	 cluster_options, 1, 1, ppctl_rollback},
	{"hold", "[APP] [REASON...]", "leave what runs as it is",
	 "With --node, on that node: one application, or without APP all of them. Else in "
	 "--cluster, or every cluster of the application. New versions are prepared, but nothing is "
	 "stopped, started or switched.",
	 hold_options, 0, 64, ppctl_hold},
	{"unhold", "[APP]", "take a hold back", "As hold, which says on what.", cluster_options, 0,
	 1, ppctl_unhold},
	{"status", "[APP]", "intent beside reality, one line for an application on a node",
	 "Shows this node if it runs what is asked for, else all. Exit status: 0 all converged, "
	 "100 something is blocked, 111 something else is not converged.",
	 status_options, 0, 1, ppctl_status},
	{"rollout retry", "APP", "try a version that failed once more",
	 "Takes the marks from the shutdown slots of --cluster, or of every cluster.",
	 cluster_options, 1, 1, ppctl_rollout_retry},
	{"rollout", "APP", "how far the active version has come",
	 "Exit status: 0 every node runs it, 111 it goes on, 100 it failed somewhere, 3 what is left "
	 "will not go on by itself.",
	 rollout_options, 1, 1, ppctl_rollout},
	{"plan", "", "what every agent on this node would do",
	 "Runs each pp-* program beside ppctl (or on PATH) with --once --dry-run. "
	 "Exit status: 0 nothing to do, 2 some agent has work, 100 something is blocked, "
	 "111 an agent waits or fails.",
	 plan_options, 0, 0, ppctl_plan},
	{"load", "SOURCE", "use a system definition in this directory",
	 "SOURCE is gh://ORG/REPO, a git URL or a directory that has a sysdef.yaml. Private ones by your own git's "
	 "credentials. " SYSTEM_WORDS, load_options, 1, 1, ppctl_load},
	{"validate", "[APP...]", "every fault of a system definition, with its line",
	 "Exit status 1 if there are any. With --world also what only shows there. " SYSTEM_WORDS, compile_options, 0, 64,
	 ppctl_validate},
	{"fmt", "[FILE...]", "lay the files of a system definition out alike",
	 "Comments stay. Without FILE, all that the definition here consists of. " SYSTEM_WORDS, format_options, 0, 64,
	 ppctl_fmt},
	{"compile", "[APP...]", "the documents that a system definition becomes in a world", SYSTEM_WORDS, compile_options,
	 0, 64, ppctl_compile},
	{"run", "APP", "run an application on this machine",
	 "In the foreground, until Ctrl-C, which stops everything that was started and nothing else. Services are built "
	 "from their checkouts (ppctl get), in containers where there is a Dockerfile and an engine, else by bin/launch; "
	 "what others need is healthy before they start; a changed file replaces its service.",
	 run_options, 1, 1, ppctl_run},
	{"stop", "APP", "stop what run started here",
	 "From another terminal, or after a crash. Volumes and installed versions stay.", stop_options, 1, 1, ppctl_stop},
	{"diff", "[APP...]", "what apply would write", "Exit status: 0 nothing, 2 something. " SYSTEM_WORDS,
	 apply_options, 0, 64, ppctl_diff},
	{"apply", "[APP...]", "write what a system definition becomes in a world",
	 "In one transaction if it fits, each document compared with what was read; removes only what the same definition "
	 "wrote. Of some applications only, nothing is removed. " SYSTEM_WORDS, apply_options, 0, 64, ppctl_apply},
	{"deploy", "APP...", "apply, and run a version of each of its services", SYSTEM_WORDS, deploy_options, 1, 64,
	 ppctl_deploy},
	{"slugs", "", "the components that a world knows", SYSTEM_WORDS, compile_options, 0, 0, ppctl_slugs_of},
	{"orphans", "", "what is no longer required and was left as it is",
	 "Stacks, and images with their volumes, of definitions that were applied.", orphans_options, 0, 0, ppctl_orphans},
	{"get", "APP...|KEY", "fetch an application's repositories; show a document",
	 "APP (or --all): each repository is cloned into the working directory, or fast-forwarded, several at once. What "
	 "you changed is never touched. KEY: a name with a slash. " KEY_WORDS, get_options, 0, 64, ppctl_get},
	{"ls", "[PREFIX]", "list keys", KEY_WORDS, ls_options, 0, 1, ppctl_ls},
	{"put", "KEY JSON|-|@FILE", "write a document, checked",
	 "- reads standard input, @FILE a file. " KEY_WORDS, put_options, 2, 2, ppctl_put},
	{"edit", "KEY", "change a document in $VISUAL or $EDITOR",
	 "Nothing is lost: if somebody writes the document meanwhile, your text is kept in a file.",
	 edit_options, 1, 1, ppctl_edit},
	{"rm", "KEY...", "remove documents", KEY_WORDS, NULL, 1, 64, ppctl_rm},
	{"watch", "[PREFIX]", "print every change as it comes", NULL, NULL, 0, 1, ppctl_watch},
	{"export", "[PREFIX]", "all intent as one JSON document {key: document}", NULL,
	 export_options, 0, 1, ppctl_export},
	{"import", "FILE|-", "write what export printed",
	 "Everything is checked before anything is written; what stands there already is "
	 "left alone.",
	 import_options, 1, 1, ppctl_import},
	{"stack show", "WORLD/NAME", "the plan that waits for approval, as Terraform shows it",
	 "Sensitive values are hidden. The text is read from the applier's state directory, on its machine; "
	 "elsewhere counts and addresses are shown.", stack_options, 1, 1, ppctl_stack_show},
	{"approve stack", "WORLD/NAME PLAN", "consent to one plan of a Terraform stack",
	 "PLAN is the identity that the status shows. Another effect is not applied, and an approval is used once.",
	 NULL, 2, 2, ppctl_approve_stack},
	{"injection show", "[WORLD/NAME]", "what injections take from where, and where they put it",
	 "A digest stands for each value: two that are alike have the same one, where injectors share --digest-key.",
	 NULL, 0, 1, ppctl_injection_show},
	{"lock ls", "[PREFIX]", "show locks and who holds them", NULL, NULL, 0, 1, ppctl_lock_ls},
	{"lock break", "KEY [NODE]", "take a lock away from its holder",
	 "Only if you know that the holder is gone: it is not asked. Of several shutdown slots, that of "
	 "NODE, or --all.",
	 break_options, 1, 2,
	 ppctl_lock_break},
	{"help", "[COMMAND]", "describe a command", NULL, NULL, 0, 2, ppctl_help},
	{0}
};

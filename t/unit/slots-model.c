/*
 * Shutdown slots, tried in every interleaving.
 *
 * A search through the states of a few nodes whose agents do what pp-setlive does, with the decisions of
 * libintent/store/slots.c themselves. What may happen next to any node, at any time, as often as it likes:
 *
 *	read      the agent looks at its service and at intent, and reads the document of the slots
 *	decide    it reads the facts and asks slots.c; a write is sent, or the round ends
 *	write     the write arrives: done if the document is still the one that was read, else refused
 *	late      so does the write of an earlier round, of which nobody is waiting for the answer
 *	verify    it reads the document again, right before the stop
 *	stop      the service is stopped
 *	start     the wanted version is started; 1 is the version that never becomes healthy
 *	abandon   the agent is killed and started again, or gets no answer: all that it knew is lost, what it
 *	          sent is not, and the slot stays
 *	report    the reporter looks: the fact becomes true
 *	expire    the fact is gone: its reporter is dead, paused or cut off
 *
 * and, as often as a setting says: `crash` (a service dies by itself), `intent` (another version is to be active),
 * `retry` ("ppctl rollout retry"), `break` ("ppctl lock break" of a node whose service is healthy and that is not
 * past its verification: who breaks another one is on his own). A pause is an agent, a reporter or a message
 * that takes no step while others do. A missing fact and a bad one are the same to every decision
 * (t/unit/slots.c), so they are one here. Nodes are interchangeable, so states are told apart only up to
 * their order. Left out is time: a good version is healthy as soon as it runs, and nothing that depends on how long
 * something takes is looked at; t/fault/rollout is for that.
 *
 * What must hold. A node is *lost to an agent* from when its agent stops a healthy service until it is healthy
 * again, whatever happens to it in between. One whose service dies by itself while it is healthy is *lost to a
 * crash* until it is healthy again, whatever its agent does in between: no protocol can prevent that, and
 * a slot that was granted before does not become wrong by it. Then:
 *
 *	1. at no time are more than (nodes - min_nodes) nodes lost to agents: the promise;
 *	2. a node that is lost to its agent holds a slot: why the promise holds;
 *	3. no agent goes on to stop a service for a version that was marked when it verified.
 *
 * The same search is then made with decisions that are wrong on purpose; each must be found to break 1 or 3.
 * (Not among them: facts read before the document. That is not wrong by these rules, which hold whatever the
 * facts say; it would only notice a crash later.)
 *
 *	SLOTS_MODEL_DEPTH=n   search n steps deeper than `make check` does
 */
#include <check.h>
#include <intent/slots.h>

/* ---- states ---- */

enum { NODES_MAX = 4, DOWN = 3 /* instead of a version */, NOT_GOOD = 3 };
enum { OLD, BAD, NEW };
enum { NOT_LOST, TO_AGENT, TO_CRASH };
enum { IDLE, READ, SENT, WRITTEN, VERIFIED, STOPPED };
enum { TAKE, DROP, MARK, VERIFY, GO_BACK, NOTHING_TO_DO };
/* What a write compares: nothing, the revision that was read, or that there is no document, ever again. */
enum { NOTHING, REVISION, NO_DOCUMENT };
/* A slot in seven bits. */
enum { HELD = 1, WAIVED = 2, FAILED = 4, INSTEAD = 8, RETRIED = 16, TARGET = 32 };

/* Compared and sorted as bytes: bits without gaps. */
struct node {
	uint64_t runs : 2, retried : 1, lost : 2;  /* retried: it was started again for a retry */
	uint64_t fact : 2;                         /* the version that is reported as healthy */
	uint64_t slot : 7;
	uint64_t step : 3, aim : 2, want : 2, found_down : 1, found_ill : 1; /* the agent */
	uint64_t compares : 2, pending : 7;        /* what it sends */
	uint64_t has_late : 1, late_compares : 2, late : 7; /* what an earlier round sent */
	uint64_t unused : 22;
};

struct state {
	struct node nodes[NODES_MAX];
	uint64_t active : 2;
	uint64_t intents : 2, crashes : 2, retries : 2, breaks : 2; /* how often each may still be */
	uint64_t unused : 54;
};

static uint64_t bits(const struct node *node)
{
	uint64_t all;

	memcpy(&all, node, sizeof(all));
	return all;
}

/* Who is interchangeable is put in order: nothing in a node names another one. */
static void sort(struct state *state, int nodes)
{
	for (int i = 1; i < nodes; i++) {
		for (int j = i; j > 0 && bits(&state->nodes[j]) < bits(&state->nodes[j - 1]); j--) {
			struct node swap = state->nodes[j];

			state->nodes[j] = state->nodes[j - 1];
			state->nodes[j - 1] = swap;
		}
	}
}

/* ---- a search ---- */

#define TOO_MANY "more nodes are lost to agents than may be"
#define ON_MARK "an agent goes on with a version that is marked"

enum fault {
	NONE, SESSION_BOUND, MISSING_IS_DOWN, RELEASED_BY_FACT, NOT_VERIFIED, NOT_FENCED, WAIVED_SERVES,
	NOT_COMPARED, SLOTS_COUNTED, SELF_COUNTED, MARK_IGNORED, FAILED_FREED,
};

struct setting {
	const char *name;
	int nodes, required, depth;
	bool starts_down;                        /* a first deployment instead of an update */
	unsigned intents, crashes, retries, breaks;
	enum fault fault;
	const char *wrong;                       /* what the fault leads to */
};

struct known {
	struct state state;
	uint32_t parent;
	const char *action;                      /* that led here; static */
};

struct search {
	const struct setting *setting;
	struct known *known;
	size_t count, room, at;                  /* at: whose successors are being made */
	uint32_t *table;                         /* index + 1 into known; 0: free */
	size_t slots;                            /* of the table; a power of two */
	uint64_t steps;
	const char *wrong;                       /* the first violation, of the last in known */
};

static uint64_t hash(const struct state *state)
{
	const unsigned char *bytes = (const unsigned char *)state;
	uint64_t h = 0x9e3779b97f4a7c15, word;

	for (size_t i = 0; i < sizeof(*state); i += sizeof(word)) {
		memcpy(&word, bytes + i, sizeof(word));
		h = (h ^ word) * 0xff51afd7ed558ccd;
		h ^= h >> 32;
	}
	return h;
}

static void grow(struct search *search)
{
	if (search->count < search->room)
		return;
	search->room = search->room ? search->room * 2 : 1 << 12;
	search->slots = search->room * 2;
	search->known = realloc(search->known, search->room * sizeof(*search->known));
	free(search->table);
	search->table = calloc(search->slots, sizeof(*search->table));
	ck_assert_msg(search->known && search->table, "no memory for %zu states", search->room);
	for (size_t i = 0; i < search->count; i++) {
		size_t at = hash(&search->known[i].state) & (search->slots - 1);

		while (search->table[at])
			at = (at + 1) & (search->slots - 1);
		search->table[at] = (uint32_t)i + 1;
	}
}

static const char *violation(const struct search *search, const struct state *state)
{
	const struct setting *setting = search->setting;
	int lost = 0, unknown = 0;

	for (int i = 0; i < setting->nodes; i++) {
		lost += state->nodes[i].lost == TO_AGENT;
		unknown += state->nodes[i].lost == TO_AGENT && !state->nodes[i].slot;
	}
	if (lost > setting->nodes - setting->required)
		return TOO_MANY;
	/* Wrong decisions shall be found out by what comes of them. */
	return unknown && setting->fault == NONE ? "a node is lost to its agent, and nobody can know" : NULL;
}

static void add(struct search *search, struct state state, const char *action)
{
	size_t at;

	search->steps++;
	if (search->wrong)
		return;
	sort(&state, search->setting->nodes);
	grow(search);
	for (at = hash(&state) & (search->slots - 1); search->table[at]; at = (at + 1) & (search->slots - 1))
		if (!memcmp(&search->known[search->table[at] - 1].state, &state, sizeof state))
			return;
	search->table[at] = (uint32_t)search->count + 1;
	search->known[search->count] = (struct known){state, (uint32_t)search->at, action};
	search->count++;
	search->wrong = violation(search, &state);
}

/* ---- decisions: to JSON, slots.c, and back ---- */

static const char *const names[] = {"a", "b", "c", "d"}, *const versions[] = {"v0", "v1", "v2"};

static json_t *slot_json(unsigned slot)
{
	const char *version = versions[slot / TARGET];
	json_t *json = json_pack("{ss ss ss ss}", "holder", "h", "since", "s", "version", version, "target", version);

	if (slot & WAIVED)
		json_object_set_new(json, "waived", json_true());
	if (slot & FAILED)
		json_object_set_new(json, "failed", json_string("f"));
	if (slot & INSTEAD)
		json_object_set_new(json, "instead", json_string(versions[OLD]));
	if (slot & RETRIED)
		json_object_set_new(json, "attempt", json_integer(1));
	return json;
}

static unsigned slot_bits(const json_t *json)
{
	if (!json)
		return 0;
	return HELD | (intent_json_boolean(json, "waived", false) ? WAIVED : 0) |
	       (json_object_get(json, "failed") ? FAILED : 0) | (json_object_get(json, "instead") ? INSTEAD : 0) |
	       (intent_json_integer(json, "attempt", 0) ? RETRIED : 0) |
	       (unsigned)(intent_json_string(json, "target", "v0")[1] - '0') * TARGET;
}

/* What a decision is made of; `kind` and the rest fit into 64 bits, by which answers are remembered. */
struct question {
	uint64_t kind : 2, node : 2, want : 2, is_down : 1, is_ill : 1, with_instead : 1, good : 4;
	uint64_t slot0 : 7, slot1 : 7, slot2 : 7, slot3 : 7;
	uint64_t asked : 1, unused : 22;
};

static json_t *document_of(struct question question)
{
	const unsigned slots[] = {question.slot0, question.slot1, question.slot2, question.slot3};
	json_t *document = NULL;

	for (int i = 0; i < NODES_MAX; i++) {
		if (!slots[i])
			continue;
		if (!document)
			document = json_pack("{s{}}", "slots");
		json_object_set_new(json_object_get(document, "slots"), names[i], slot_json(slots[i]));
	}
	return document;
}

enum { REFUSED = 128, UNCHANGED = 129 }; /* else the node's slot as it becomes */

static unsigned ask(struct question question, int required)
{
	intent_json_auto json_t *document = document_of(question), *facts = json_object(), *new = NULL;
	const char *node = names[question.node], *version = versions[question.want];
	struct intent_slots_claim claim = {
		.node = node, .holder = "h", .version = version, .target = version, .min_nodes = required,
		.is_down = question.is_down, .is_unhealthy = question.is_ill,
	};
	struct intent_error err;
	int code = 0;

	for (int i = 0; i < NODES_MAX; i++)
		if (question.good & 1u << i)
			json_object_set_new(facts, names[i], json_pack("{ss}", "state", "healthy"));
	switch (question.kind) {
	case TAKE: code = intent_slots_take(document, facts, &claim, "s", &new, &err); break;
	case DROP: code = intent_slots_drop(document, node, &new, &err); break;
	case MARK: code = intent_slots_mark(document, &claim, "f", question.with_instead ? versions[OLD] : NULL, "s", &new, &err);
		break;
	default: code = intent_slots_verify(document, &claim, &err);
	}
	if (code)
		return REFUSED;
	return new ? slot_bits(intent_slots_find(new, node)) : UNCHANGED;
}

/* Remembered, as the same is asked a million times. */
static unsigned answer(struct question question, int required)
{
	static struct { uint64_t question; unsigned answer; } memory[1 << 16];
	uint64_t all;
	size_t at;

	question.asked = 1;
	memcpy(&all, &question, sizeof all);
	at = (all * 0x9e3779b97f4a7c15) >> 48;
	if (memory[at].question != all) {
		memory[at].answer = ask(question, required);
		memory[at].question = all;
	}
	return memory[at].answer;
}

static void set_slots(struct question *question, const unsigned slots[NODES_MAX])
{
	question->slot0 = slots[0], question->slot1 = slots[1], question->slot2 = slots[2], question->slot3 = slots[3];
}

/* The decision that a node comes to, by the setting's rules. */
static unsigned decide(const struct setting *setting, const struct state *state, int i, unsigned kind, bool instead)
{
	const struct node *node = &state->nodes[i];
	struct question question = {
		.kind = kind & 3, .node = i & 3, .want = node->want, .is_down = node->found_down, .is_ill = node->found_ill,
		.with_instead = instead,
	};
	unsigned slots[NODES_MAX] = {0}, becomes;

	for (int j = 0; j < NODES_MAX && j < setting->nodes; j++) {
		question.good |= (unsigned)(state->nodes[j].fact != NOT_GOOD) << j & 15;
		/* Whoever read that there is no document decides by that. */
		slots[j] = kind != VERIFY && node->compares == NO_DOCUMENT ? 0 : state->nodes[j].slot;
	}
	for (int j = 0; j < NODES_MAX; j++) {
		if (j != i && setting->fault == SLOTS_COUNTED && kind == TAKE)
			slots[j] = 0;
		if (setting->fault == MARK_IGNORED && kind != MARK)
			slots[j] &= ~(unsigned)(FAILED | INSTEAD);
	}
	if (setting->fault == MISSING_IS_DOWN && node->fact == NOT_GOOD)
		question.is_down = 1;
	set_slots(&question, slots);
	becomes = answer(question, setting->required - (setting->fault == SELF_COUNTED));
	if (kind == TAKE && becomes < REFUSED && setting->fault == WAIVED_SERVES)
		becomes &= ~(unsigned)WAIVED;
	if (kind == MARK && setting->fault == FAILED_FREED)
		becomes = 0;
	return becomes;
}

/* ---- steps ---- */

static bool is_healthy(const struct node *node)
{
	return node->runs != DOWN && node->runs != BAD;
}

static bool is_marked_for(unsigned slot, unsigned target)
{
	return (slot & FAILED) && slot / TARGET == target;
}

static bool has_document(const struct state *state, int nodes)
{
	for (int i = 0; i < nodes; i++)
		if (state->nodes[i].slot)
			return true;
	return false;
}

static void rest(struct node *node)
{
	node->step = IDLE;
	node->aim = node->want = node->found_down = node->found_ill = node->compares = node->pending = 0;
}

static void forget_late(struct node *node)
{
	node->has_late = node->late = node->late_compares = 0;
}

/*
 * The document changes. Who was about to compare its revision will find out and begin anew; as
 * nothing else comes of it, that happens now.
 */
static void set_slot(const struct setting *setting, struct state *state, int i, unsigned slot)
{
	state->nodes[i].slot = slot & 127;
	for (int j = 0; j < setting->nodes; j++) {
		struct node *node = &state->nodes[j];

		if (node->compares == REVISION && (node->step == READ || node->step == SENT))
			rest(node);
		if (node->has_late && node->late_compares == REVISION)
			forget_late(node);
	}
}

static bool fits(const struct setting *setting, const struct state *state, unsigned compares)
{
	return compares != NO_DOCUMENT || !has_document(state, setting->nodes);
}

/* What setlive plans, from its service, intent and its slot. */
static unsigned plan(const struct state *state, const struct node *node, enum fault fault)
{
	unsigned active = state->active;
	bool own_mark = is_marked_for(node->slot, active);
	bool again = (node->slot & RETRIED) && !(node->slot & FAILED) && !node->retried && node->slot / TARGET == active;

	if (own_mark)
		return (node->slot & INSTEAD) && node->runs != OLD ? GO_BACK : NOTHING_TO_DO;
	if (fault == RELEASED_BY_FACT && node->slot && node->fact == active)
		return DROP;
	if (node->runs != active || (node->runs == BAD && again))
		return TAKE;
	if (node->runs == BAD)
		return MARK;
	return node->slot ? DROP : NOTHING_TO_DO;
}

static void step_read(struct search *search, const struct state *state, int i)
{
	struct state next = *state;
	struct node *node = &next.nodes[i];
	unsigned aim = plan(state, node, search->setting->fault);

	if (aim == NOTHING_TO_DO)
		return;
	node->want = state->active;
	if (aim == GO_BACK) {
		/* Under the marked slot, which was just written or will be found again. */
		node->want = OLD;
		node->step = VERIFIED;
	} else {
		node->step = READ;
		node->aim = aim & 3;
		node->found_down = node->runs == DOWN;
		node->found_ill = node->runs == BAD;
		node->compares = search->setting->fault == NOT_COMPARED ? NOTHING :
				 has_document(state, search->setting->nodes) ? REVISION : NO_DOCUMENT;
	}
	add(search, next, "reads and plans");
}

static void step_decide(struct search *search, const struct state *state, int i)
{
	const struct setting *setting = search->setting;
	struct state next = *state;
	struct node *node = &next.nodes[i];

	if (node->aim == DROP && node->fact != node->want) {
		rest(node);
		add(search, next, "decides: not released yet");
		return;
	}
	for (int instead = 0; instead <= (node->aim == MARK ? 1 : 0); instead++) {
		unsigned becomes = decide(setting, state, i, node->aim, instead);

		next = *state;
		if (becomes >= REFUSED) {
			rest(node);
			add(search, next, "decides: refused");
		} else if (node->aim == TAKE && setting->fault == NOT_FENCED && becomes == node->slot) {
			node->step = WRITTEN;
			node->compares = 0;
			add(search, next, "decides: holds it already");
		} else {
			node->step = SENT;
			node->pending = becomes & 127;
			node->found_down = node->found_ill = 0;
			add(search, next, "decides and sends");
		}
	}
}

static void step_write(struct search *search, const struct state *state, int i)
{
	struct state next = *state;
	struct node *node = &next.nodes[i];
	unsigned aim = node->aim, want = node->want, pending = node->pending;
	bool good = fits(search->setting, state, node->compares);

	rest(node);
	if (good) {
		set_slot(search->setting, &next, i, pending);
		if (aim == TAKE) {
			node->step = WRITTEN;
			node->want = want & 3;
		}
	}
	add(search, next, good ? "writes" : "is refused: the document changed");
}

static void step_verify(struct search *search, const struct state *state, int i)
{
	struct state next = *state;
	struct node *node = &next.nodes[i];
	bool marked = false;

	for (int j = 0; j < search->setting->nodes; j++)
		marked = marked || is_marked_for(state->nodes[j].slot, node->want);
	if (search->setting->fault != NOT_VERIFIED && decide(search->setting, state, i, VERIFY, false) == REFUSED) {
		rest(node);
		add(search, next, "verifies: gives up");
		return;
	}
	node->step = VERIFIED;
	add(search, next, "verifies");
	if (marked && !search->wrong)
		search->wrong = ON_MARK;
}

static void step_stop(struct search *search, const struct state *state, int i)
{
	struct state next = *state;
	struct node *node = &next.nodes[i];

	if (is_healthy(node))
		node->lost = TO_AGENT;
	node->runs = DOWN;
	node->step = STOPPED;
	add(search, next, "stops");
}

static void step_start(struct search *search, const struct state *state, int i)
{
	struct state next = *state;
	struct node *node = &next.nodes[i];

	node->runs = node->want;
	node->retried = (node->slot & RETRIED) && node->slot / TARGET == node->want;
	if (is_healthy(node))
		node->lost = NOT_LOST;
	rest(node);
	add(search, next, "starts");
}

static void step_agent(struct search *search, const struct state *state, int i)
{
	static void (*const steps[])(struct search *, const struct state *, int) = {
		[IDLE] = step_read, [READ] = step_decide, [SENT] = step_write, [WRITTEN] = step_verify,
		[VERIFIED] = step_stop, [STOPPED] = step_start,
	};
	const struct node *node = &state->nodes[i];

	steps[node->step == VERIFIED && node->runs == DOWN ? STOPPED : node->step](search, state, i);
}

static void step_abandon(struct search *search, const struct state *state, int i)
{
	struct state next = *state;
	struct node *node = &next.nodes[i];

	if (node->step == IDLE)
		return;
	if (node->step == SENT) {
		node->has_late = 1;
		node->late = node->pending;
		node->late_compares = node->compares;
	}
	rest(node);
	add(search, next, "agent is killed, or abandons its round");
}

static void step_late(struct search *search, const struct state *state, int i)
{
	struct state next = *state;
	unsigned late = state->nodes[i].late;

	if (!state->nodes[i].has_late || !fits(search->setting, state, state->nodes[i].late_compares))
		return;
	forget_late(&next.nodes[i]);
	set_slot(search->setting, &next, i, late);
	add(search, next, "late write arrives");
}

static void step_reporter(struct search *search, const struct state *state, int i)
{
	struct state next = *state;
	unsigned truth = is_healthy(&state->nodes[i]) ? state->nodes[i].runs : NOT_GOOD;

	if (state->nodes[i].fact != truth) {
		next.nodes[i].fact = truth & 3;
		add(search, next, "reporter tells");
	}
	if (state->nodes[i].fact != NOT_GOOD && truth != NOT_GOOD) {
		next.nodes[i].fact = NOT_GOOD;
		add(search, next, "fact expires");
	}
}

/* What befalls a node from outside, each so often as the setting allows. */
static void step_fate(struct search *search, const struct state *state, int i)
{
	const struct node *node = &state->nodes[i];
	struct state next = *state;

	if (state->crashes && node->runs != DOWN) {
		next.crashes--;
		next.nodes[i].runs = DOWN;
		if (is_healthy(node))
			next.nodes[i].lost = TO_CRASH;
		add(search, next, "service dies");
	}
	if (state->breaks && node->slot && is_healthy(node) && node->step != VERIFIED) {
		next = *state;
		next.breaks--;
		set_slot(search->setting, &next, i, 0);
		add(search, next, "a person breaks its slot");
	}
	if (search->setting->fault == SESSION_BOUND && node->slot) {
		next = *state;
		set_slot(search->setting, &next, i, 0);
		add(search, next, "the slot's session ends");
	}
}

static void step_person(struct search *search, const struct state *state)
{
	struct state next = *state;
	bool marked = false;

	for (unsigned version = OLD; version <= NEW && state->intents; version++) {
		if (version == state->active)
			continue;
		next = *state;
		next.intents--;
		next.active = version & 3;
		add(search, next, version == BAD ? "bad version is made active" : "good version is made active");
	}
	next = *state;
	for (int i = 0; i < search->setting->nodes; i++)
		marked = marked || (state->nodes[i].slot & FAILED);
	if (!marked || !state->retries)
		return;
	next.retries--;
	for (int i = 0; i < search->setting->nodes; i++) {
		struct question question = {.slot0 = state->nodes[i].slot};
		intent_json_auto json_t *document = document_of(question), *new = NULL;
		struct intent_error err;

		if (intent_slots_retry(document, &new, &err) == 0 && new)
			set_slot(search->setting, &next, i, slot_bits(intent_slots_find(new, names[0])));
	}
	add(search, next, "ppctl rollout retry");
}

static void expand(struct search *search)
{
	const struct state state = search->known[search->at].state;

	for (int i = 0; i < search->setting->nodes; i++) {
		if (i && bits(&state.nodes[i]) == bits(&state.nodes[i - 1]))
			continue;
		step_agent(search, &state, i);
		step_abandon(search, &state, i);
		step_late(search, &state, i);
		step_reporter(search, &state, i);
		step_fate(search, &state, i);
	}
	step_person(search, &state);
}

/* ---- searching ---- */

/* One beginning for each version that may be active. */
static void begin(struct search *search)
{
	const struct setting *setting = search->setting;
	struct state state;

	memset(&state, 0, sizeof state);
	for (int i = 0; i < setting->nodes; i++) {
		state.nodes[i].runs = setting->starts_down ? DOWN : OLD;
		state.nodes[i].fact = setting->starts_down ? NOT_GOOD : OLD;
	}
	state.intents = setting->intents & 3;
	state.crashes = setting->crashes & 3;
	state.retries = setting->retries & 3;
	state.breaks = setting->breaks & 3;
	for (unsigned version = OLD; version <= NEW; version++) {
		state.active = version & 3;
		add(search, state, "begins");
	}
}

/* How one comes there, for people. */
static void explain(const struct search *search, size_t at, struct intent_text *out)
{
	const struct known *known = &search->known[at];

	if (at > NEW)
		explain(search, known->parent, out);
	intent_text_printf(out, "#   %-40s", known->action);
	for (int i = 0; i < search->setting->nodes; i++) {
		static const char *const steps[] = {"", "read", "sent", "written", "verified", "stopped"};
		const struct node *node = &known->state.nodes[i];
		unsigned slot = node->slot;

		intent_text_printf(out, "  %s%s%s/%s%s%s%s%s %s%s", node->runs == DOWN ? "down" : versions[node->runs],
				   node->lost == TO_AGENT ? "!" : node->lost ? "?" : "", node->fact == NOT_GOOD ? "" : "+",
				   slot ? versions[slot / TARGET] : "-", slot & WAIVED ? "w" : "", slot & FAILED ? "f" : "",
				   slot & INSTEAD ? "i" : "", slot & RETRIED ? "r" : "", steps[node->step], node->has_late ? " late" : "");
	}
	intent_text_puts(out, "\n");
}

/* The depth that was searched in full; less than `most` when a violation was found or nothing was left. */
static int run(struct search *search, int most)
{
	int depth = 0;

	begin(search);
	for (; depth < most && search->at < search->count && !search->wrong; depth++)
		for (size_t level = search->count; search->at < level && !search->wrong; search->at++)
			expand(search);
	return depth;
}

static void finish(struct search *search)
{
	free(search->known);
	free(search->table);
}

/* Sanitizers make it ten times slower. */
#if defined(__SANITIZE_ADDRESS__)
#define LESS 3
#elif defined(__has_feature)
#define LESS (__has_feature(address_sanitizer) ? 3 : 0)
#else
#define LESS 0
#endif

static const struct setting settings[] = {
	{"4 nodes, 2 required: everything", 4, 2, 12, false, 2, 1, 1, 1, NONE, NULL},
	{"4 nodes, 2 required: a failure, a retry, other intent", 4, 2, 16, false, 1, 0, 1, 0, NONE, NULL},
	{"4 nodes, 2 required: two updates", 4, 2, 14, false, 2, 0, 0, 0, NONE, NULL},
	{"4 nodes, 2 required: two crashes", 4, 2, 14, false, 0, 2, 0, 0, NONE, NULL},
	{"4 nodes, 2 required: first deployment", 4, 2, 14, true, 2, 1, 0, 0, NONE, NULL},
	{"3 nodes, 2 required: everything", 3, 2, 14, false, 2, 1, 1, 1, NONE, NULL},
	{"3 nodes, 2 required: an update to its end", 3, 2, 100, false, 1, 0, 0, 0, NONE, NULL},
};

static const struct setting faults[] = {
	{"slots end with their session", 3, 2, 20, false, 2, 1, 1, 0, SESSION_BOUND, TOO_MANY},
	{"a missing fact waives the test", 3, 2, 20, false, 2, 1, 1, 0, MISSING_IS_DOWN, TOO_MANY},
	{"released by the fact alone", 3, 2, 20, false, 2, 0, 0, 0, RELEASED_BY_FACT, TOO_MANY},
	{"not verified after a break", 3, 2, 20, false, 2, 1, 0, 1, NOT_VERIFIED, TOO_MANY},
	{"a slot that is held is not written again", 3, 2, 20, false, 2, 0, 0, 0, NOT_FENCED, TOO_MANY},
	{"a waived slot serves for a stop", 3, 2, 20, false, 1, 1, 0, 0, WAIVED_SERVES, TOO_MANY},
	{"written without compare", 3, 2, 20, false, 2, 1, 1, 0, NOT_COMPARED, TOO_MANY},
	{"nodes with a slot are counted", 3, 2, 20, false, 2, 1, 1, 0, SLOTS_COUNTED, TOO_MANY},
	{"its own fact is counted", 3, 2, 20, false, 2, 1, 1, 0, SELF_COUNTED, TOO_MANY},
	{"a failure frees the slot", 3, 2, 20, false, 2, 0, 0, 0, FAILED_FREED, TOO_MANY},
	{"marks are not looked at", 3, 2, 20, false, 2, 1, 1, 0, MARK_IGNORED, ON_MARK},
};

static void say(const struct search *search, int depth)
{
	printf("# %s: %zu states, %llu steps, depth %d%s%s\n", search->setting->name, search->count,
	       (unsigned long long)search->steps, depth, search->at == search->count ? " (all there are)" : "",
	       search->setting->fault == NONE ? "" : search->wrong ? " (found out)" : " (not found out)");
	fflush(stdout);
}

START_TEST(test_setting)
{
	const char *deeper = getenv("SLOTS_MODEL_DEPTH");
	struct search search = {.setting = &settings[_i]};
	int depth = run(&search, settings[_i].depth - LESS + (deeper ? (int)strtol(deeper, NULL, 10) : 0));
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;

	say(&search, depth);
	if (search.wrong)
		explain(&search, search.count - 1, &out);
	ck_assert_msg(!search.wrong, "%s: %s:\n%s", settings[_i].name, search.wrong, intent_text_str(&out));
	finish(&search);
}
END_TEST

START_TEST(test_fault)
{
	struct search search = {.setting = &faults[_i]};

	say(&search, run(&search, faults[_i].depth));
	ck_assert_msg(search.wrong != NULL, "%s: not found out", faults[_i].name);
	ck_assert_str_eq(search.wrong, faults[_i].wrong);
	finish(&search);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("slots-model");
	TCase *tc = tcase_create("slots-model");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 0);
	tcase_add_loop_test(tc, test_setting, 0, (int)(sizeof(settings) / sizeof(settings[0])));
	tcase_add_loop_test(tc, test_fault, 0, (int)(sizeof(faults) / sizeof(faults[0])));
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}

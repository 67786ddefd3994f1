/* Ports in one form: sorted openings, each port once, no network within another. Pure. */
#include <arpa/inet.h>
#include "port-firewall.h"

/* One network of one opening; family 0: everybody. Sorted, a network comes before those within it. */
struct entry {
	int protocol, port, family, bits;
	unsigned char address[16];
};

struct entries {
	struct entry *at; /* owned */
	size_t count, room;
};

static void add_entry(struct entries *all, const struct entry *entry)
{
	if (all->count == all->room) {
		all->room = all->room ? all->room * 2 : 64;
		all->at = reallocarray(all->at, all->room, sizeof(*all->at));
	}
	all->at[all->count++] = *entry;
}

/* "10.1.2.3/8" is 10.0.0.0/8. False: it is no network. */
static bool read_network(const char *string, struct entry *entry)
{
	size_t length = strcspn(string, "/");
	char address[INET6_ADDRSTRLEN];
	struct intent_error ignored;
	int64_t bits;

	memset(entry->address, 0, sizeof(entry->address));
	if (length >= sizeof(address))
		return false;
	snprintf(address, sizeof(address), "%.*s", (int)length, string);
	entry->family = inet_pton(AF_INET, address, entry->address) == 1    ? 4
			: inet_pton(AF_INET6, address, entry->address) == 1 ? 6
									    : 0;
	bits = entry->family == 4 ? 32 : 128;
	if (!entry->family ||
	    (string[length] && intent_integer_parse(string + length + 1, 0, bits, &bits, &ignored)))
		return false;
	entry->bits = (int)bits;
	for (int i = 0; i < 16; i++) {
		int kept = entry->bits - 8 * i;

		if (kept < 8)
			entry->address[i] &= (unsigned char)(kept <= 0 ? 0 : 0xff << (8 - kept));
	}
	return true;
}

/* What documents hold was checked when it was read; anything else is passed over. */
static void add_port(struct entries *all, const json_t *port)
{
	const json_t *from = json_object_get(port, "from");
	struct entry entry = {.protocol = 't'};
	size_t i;
	json_t *network;

	entry.port = (int)(json_is_integer(port) ? json_integer_value(port)
						 : intent_json_integer(port, "port", 0));
	if (*intent_json_string(port, "protocol", "tcp") == 'u')
		entry.protocol = 'u';
	if (entry.port < 1 || entry.port > 65535)
		return;
	if (!from)
		add_entry(all, &entry);
	else if (json_is_string(from) && read_network(json_string_value(from), &entry))
		add_entry(all, &entry);
	json_array_foreach((json_t *)(uintptr_t)from, i, network)
		if (json_is_string(network) && read_network(json_string_value(network), &entry))
			add_entry(all, &entry);
}

static int compare_entries(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order = x->protocol - y->protocol;

	order = order ? order : x->port - y->port;
	order = order ? order : x->family - y->family;
	order = order ? order : memcmp(x->address, y->address, sizeof(x->address));
	return order ? order : x->bits - y->bits;
}

static bool holds(const struct entry *outer, const struct entry *inner)
{
	int whole = outer->bits / 8, rest = outer->bits % 8;

	return outer->family == inner->family && outer->bits <= inner->bits &&
	       !memcmp(outer->address, inner->address, (size_t)whole) &&
	       (!rest || !((outer->address[whole] ^ inner->address[whole]) >> (8 - rest)));
}

static json_t *network_words(const struct entry *entry)
{
	char address[INET6_ADDRSTRLEN];

	inet_ntop(entry->family == 4 ? AF_INET : AF_INET6, entry->address, address,
		  sizeof(address));
	if (entry->bits == (entry->family == 4 ? 32 : 128))
		return json_string(address);
	return json_sprintf("%s/%d", address, entry->bits);
}

/* The entries of one port, sorted, as one opening. New. */
static json_t *opening_of(const struct entry *entries, size_t count)
{
	json_t *opening = json_pack("{si ss}", "port", entries->port, "protocol",
				    entries->protocol == 'u' ? "udp" : "tcp");
	const struct entry *kept = NULL;
	json_t *from = json_array();
	int families = 0;

	for (size_t i = 0; i < count; i++) {
		if (kept && holds(kept, &entries[i]))
			continue;
		kept = &entries[i];
		families |= kept->bits ? 0 : kept->family; /* 4 and 6: the whole of both */
		json_array_append_new(from, network_words(kept));
	}
	if (entries->family && families != (4 | 6))
		json_object_set_new(opening, "from", from);
	else
		json_decref(from);
	return opening;
}

json_t *firewall__openings(const json_t *ports)
{
	struct entries all = {NULL, 0, 0};
	json_t *openings = json_array();
	size_t i;
	json_t *port;

	json_array_foreach((json_t *)(uintptr_t)ports, i, port)
		add_port(&all, port);
	if (all.count)
		qsort(all.at, all.count, sizeof(*all.at), compare_entries);
	for (size_t from = 0, to; from < all.count; from = to) {
		for (to = from + 1; to < all.count &&
				    all.at[to].protocol == all.at[from].protocol &&
				    all.at[to].port == all.at[from].port;)
			to++;
		json_array_append_new(openings, opening_of(&all.at[from], to - from));
	}
	free(all.at);
	return openings;
}

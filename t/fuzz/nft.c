/*
 * Any bytes as what nft -j says of the chain that marks a table: an owner of clean words or none. As ports of a
 * document: openings in one form, which is a fixed point, and a text for nft that holds nothing but what we mean it to.
 * An agent is no library, so its file is compiled in.
 * seeds: test-data/nft
 */
/* NOLINTNEXTLINE(bugprone-suspicious-include) */
#include "../../agents/port-firewall/nft.c"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void check_text(json_t *openings)
{
	static const char *const policies[] = {"accept", "drop"};
	static const char known[] = "abcdefghijklmnopqrstuvwxyz0123456789 \t\n{},;:./_-&|()=\"";

	for (size_t i = 0; i < 2; i++) {
		intent_json_auto json_t *rules = json_pack("{ss sO}", "policy", policies[i], "open", openings);
		intent_text_auto struct intent_text text = INTENT_TEXT_INIT;

		firewall__nft_text("platypus", "n1", rules, &text);
		if (text.failed || strspn(intent_text_str(&text), known) != text.length)
			abort();
	}
}

static void check_ports(const json_t *ports)
{
	intent_json_auto json_t *once = firewall__openings(ports), *twice = firewall__openings(once);
	size_t i;
	json_t *opening;

	if (!once || !twice || !json_equal(once, twice))
		abort();
	json_array_foreach(once, i, opening)
		if (json_object_get(opening, "from") && !json_array_size(json_object_get(opening, "from")))
			abort(); /* nobody must not become everybody, nor nobody an opening */
	check_text(once);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	intent_free_auto char *owner = firewall__nft_owner((const char *)bytes, count);
	intent_json_auto json_t *json = NULL;
	struct intent_error ignored;

	if (owner && !memmem(bytes, count, "owner", 5) && !memmem(bytes, count, "\\u", 2))
		abort();
	if (!intent_json_parse((const char *)bytes, count, 0, &json, &ignored) && json_is_array(json))
		check_ports(json);
	return 0;
}

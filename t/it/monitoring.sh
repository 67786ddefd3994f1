#!/bin/bash
# The alerts and the dashboard in contrib/: well formed, and of metrics that an agent really exports.
# shellcheck disable=SC2154 # status, output and errors are set by run
set -u
. "$(dirname "$0")/../lib.sh"
have pp-preparer && have curl || skip_all "pp-preparer or curl is missing"
rules=$ROOT/contrib/prometheus/platypus.rules.yaml

run "$BUILD_DIR/t/it/monitoring" "$rules" "$ROOT/contrib/grafana/platypus.json"
is "$status" 0 "rules and dashboard are well formed"
[ "$status" = 0 ] || diag "$output"
# Without what stands in quotes.
asked=$(sed -n 's/^# EXPR //p' <<<"$output" | grep -v ALERTS | sed 's/"[^"]*"//g')
among() { grep -qx -- "$1" <<<"$2"; }

export PP_STORE=dir:$T/store PP_NODE=n1
ppctl init "$PP_STORE" 2>/dev/null
ppctl put nodes/n1/slug '{"cluster": "prod"}' 2>/dev/null
start preparer pp-preparer --listen "unix:$T/preparer.sock" --state-dir "$T/state"
metrics() { curl -sf --max-time "$((5 * PATIENCE))" --unix-socket "$T/preparer.sock" http://agent/metrics; }
check "an agent serves its metrics" wait_for 10 eval 'metrics | grep -q "^platypus_slice_state{.*slice=\"slug\""'
served=$(metrics)
exported=$(sed -n 's/^\([a-z_]*\){.*/\1/p' <<<"$served" | sort -u)

for name in $(grep -oE '\bplatypus_[a-z_]+' <<<"$asked" | sort -u); do
	check "$name is exported" among "$name" "$exported"
done
# The other way round: what nobody shows nobody needs.
for name in $exported; do
	check "$name is asked for" among ".*\<$name\>.*" "$asked"
done
# agent=, state=, ...: by what rules choose and join.
labels=$(sed -n 's/^platypus_[a-z_]*{\(.*\)} .*/\1/p' <<<"$served" | grep -oE '[a-z]+=' | sort -u)
for name in $(grep -oE '[a-z]+(=|!=|=~)' <<<"$(grep -oE '\{[^}]*\}' <<<"$asked")" | tr -d '!~' | sort -u); do
	# job is what Prometheus calls what it was told to scrape.
	[ "$name" = job= ] || check "there is a label $name" among "$name" "$labels"
done
like "$served" 'platypus_slice_since_seconds\{agent="preparer",slice="slug"\} [0-9]{10}\.[0-9]{3}' "since when a slice is so, in seconds"

if have promtool; then
	check "promtool takes the rules" promtool check rules "$rules"
	{
		printf 'groups:\n- name: dashboard\n  rules:\n'
		sed -n 's/^# EXPR //p' <<<"$output" | grep -vE '^(prometheus|label_values)' |
			sed "s/\$__rate_interval/5m/g; s/\$agent/.*/g; s/'/''/g; s/.*/  - {record: x, labels: {n: N}, expr: '&'}/" | awk '{ sub(/N/, NR) } 1'
	} >"$T/dashboard.yaml"
	check "promtool takes the questions of the dashboard" promtool check rules "$T/dashboard.yaml"
	check "promtool takes the metrics" bash -c 'promtool check metrics <<<"$1"' - "$served"
	check "each alert comes when it should, and only then" promtool test rules "$ROOT/test-data/prometheus/rules.test.yaml"
else
	skip "when alerts come" "promtool is not on PATH (Debian: prometheus)"
fi
done_testing

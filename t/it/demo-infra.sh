#!/bin/bash
# The demo of infrastructure does what it says, with Terraform where it is and without; it leaves nothing.
# shellcheck disable=SC2154 # lib.sh says what they are
set -u
. "$(dirname "$0")/../lib.sh"
have runsvdir || skip_all "runit is not on PATH"

# demo DESC ENV...: with a TMPDIR of its own, which must be empty afterwards.
demo() {
	local desc=$1 place
	shift
	place=$(mktemp -d "$T/demo.XXXXXX")
	# As /tmp is: service logs belong to somebody else.
	chmod 1777 "$place"
	run env TMPDIR="$place" "$@" "$ROOT/contrib/demo-infra"
	if [ "$status" = 0 ]; then ok "$desc"; else not_ok "$desc" "$(tail -n 60 <<<"$output")" "$errors"; fi
	like "$output" 'my database is db-2.example.org' "$desc: the change reached the service"
	like "$output" 'setlive restarted it' "$desc: it came to its end"
	is "$(find "$place" -mindepth 1 -not -path '*/platypus-ports*')" '' "$desc: no file is left"
	is "$(grep -lsaF "TMPDIR=$place" /proc/[0-9]*/environ)" '' "$desc: no process is left"
}

# All but Terraform.
mkdir "$T/bin"
ln -sf /usr/bin/* /bin/* /usr/sbin/* /sbin/* "$T/bin/"
rm -f "$T/bin/"{terraform,tofu}
demo "without Terraform" PATH="$T/bin"
like "$output" 'not both on PATH: no stack is planned here' "... it says what is missing"
if { have terraform || have tofu; } && have git; then
	demo "with Terraform"
	like "$output" 'applied: that plan, and no other' "... it was planned, approved and applied"
else
	skip "with Terraform" "neither terraform nor tofu is on PATH"
fi
done_testing

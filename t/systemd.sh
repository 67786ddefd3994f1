# A systemd of our own for t/it/*.sh, which source this after t/lib.sh: the first process of its own namespaces, with
# units, /run, /dev, journal and control group that nothing else on this machine sees.
#
#	inside CMD...      runs there
#	$T/system          is /etc/systemd/system; outlives `kill_now "$boot"; boot_systemd`, a reboot
#	$T/srv, $T/lib     if made before this is sourced: /srv and /var/lib/platypus
[ "$EUID" = 0 ] || skip_all "needs root"
for systemd in /usr/lib/systemd/systemd /lib/systemd/systemd ''; do [ ! -x "$systemd" ] || break; done
[ -n "$systemd" ] || skip_all "systemd is not installed"
for program in systemctl journalctl unshare nsenter; do
	have "$program" || skip_all "$program is not on PATH"
done
# Only these: the units of the machine would set up the machine.
units() {
	local name
	mkdir "$1"
	for name in sysinit basic network multi-user shutdown; do
		printf '[Unit]\nDefaultDependencies=no\n' >"$1/$name.target"
	done
	printf '%s\n' '[Unit]' DefaultDependencies=no '[Socket]' ListenStream=/run/systemd/journal/stdout \
		ListenDatagram=/run/systemd/journal/socket SocketMode=0666 PassCredentials=yes \
		Service=systemd-journald.service >"$1/systemd-journald.socket"
	printf '%s\n' '[Unit]' DefaultDependencies=no Requires=systemd-journald.socket '[Service]' Type=notify \
		"ExecStart=${systemd}-journald" StandardOutput=null Sockets=systemd-journald.socket \
		>"$1/systemd-journald.service"
	printf '%s\n' '[Unit]' DefaultDependencies=no 'Requires=systemd-journald.socket multi-user.target' \
		After=systemd-journald.socket >"$1/test.target"
}
# Its file systems; everything else is read-only or ours.
cat >"$T/boot" <<'END2'
set -e
rm -rf "$T/dev"
mkdir -p "$T/dev" "$T/system"
mount -t tmpfs tmpfs "$T/dev"
for node in null zero full random urandom tty; do
	: >"$T/dev/$node"
	mount --bind "/dev/$node" "$T/dev/$node"
done
: >"$T/dev/console"
mount --bind /dev/null "$T/dev/console"
mkdir "$T/dev/shm" "$T/dev/pts"
ln -s /proc/self/fd "$T/dev/fd"
mount --rbind "$T/dev" /dev
for directory in /proc/sys /sys /etc; do
	mount --bind "$directory" "$directory"
	mount -o remount,bind,ro "$directory"
done
for directory in /run /var/log /var/lib/systemd; do
	[ ! -d "$directory" ] || mount -t tmpfs tmpfs "$directory"
done
# What outlives a reboot.
mount --bind "$T/system" /etc/systemd/system
[ ! -d "$T/srv" ] || mount --bind "$T/srv" /srv
[ ! -d "$T/lib" ] || { mkdir -p /var/lib/platypus && mount --bind "$T/lib" /var/lib/platypus; }
mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec env -i container=platypus PATH="$PATH" SYSTEMD_UNIT_PATH="/etc/systemd/system:$T/units" \
	"$1" --system --unit=test.target --log-target=console --show-status=no
END2
export T

cgroups=$(awk '{ for (i = 7; i < NF; i++) if ($i == "-" && $(i + 1) == "cgroup2") { print $5; exit } }' /proc/self/mountinfo)
own=$cgroups/platypus-test-$$
end_systemd() {
	[ -z "${boot:-}" ] || kill_now "$boot"
	# Members of a group are gone a moment after their last process.
	wait_for 5 no_groups
}
no_groups() {
	local directory
	find "$own" -depth -type d 2>/dev/null | while read -r directory; do rmdir "$directory"; done
	[ ! -d "$own" ]
}
on_exit() {
	local code=$?
	end_systemd
	(exit "$code")
	at_exit
}
boot_systemd() {
	# Born into our group: the root of its view of groups.
	start systemd sh -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' sh "$own" \
		unshare --mount --pid --cgroup --uts --ipc --fork --kill-child --propagation private --mount-proc \
		sh "$T/boot" "$systemd"
	# shellcheck disable=SC2154 # `start` says it
	boot=$pid
	wait_for 10 inside systemctl is-active --quiet test.target
}
# The first process of its namespaces: the only child.
first() { cat "/proc/$boot/task/$boot/children"; }
# shellcheck disable=SC2046 # one number
inside() { nsenter -t $(first) --mount --pid --cgroup --uts --ipc -- "$@"; }

[ -n "$cgroups" ] && mkdir "$own" 2>/dev/null || skip_all "no control group can be made"
trap on_exit EXIT
units "$T/units"
boot_systemd || { tail -n 5 "$T/systemd.log" >&2; skip_all "systemd cannot be started in namespaces here"; }

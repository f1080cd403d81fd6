#!/bin/sh
# The program as an administrator meets it: exit codes, the samples, dumps, signals.
# usage: turnpiked_command.sh [path of turnpiked]. Exit 0 passed, 1 failed.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
bin=${1:-${TURNPIKED:-${TURNPIKE_BUILD:-$root/build/release}/turnpiked}}
dir=$(mktemp -d /tmp/tp-command-XXXXXX)
failed=0
pid=

cleanup() {
	[ -n "$pid" ] && kill -KILL "$pid" 2>/dev/null
	rm -rf "$dir"
}
trap cleanup EXIT

# expect CODE what command...: the command must exit so.
expect() {
	code=$1
	what=$2
	shift 2
	"$@" >"$dir/out" 2>"$dir/err"
	got=$?
	if [ "$got" -eq "$code" ]; then
		echo "ok $what"
	else
		echo "FAIL $what: exit $got, not $code"
		cat "$dir/out" "$dir/err"
		failed=1
	fi
}

# holds what file text: the file of the last command must hold the text.
holds() {
	if grep -qF -- "$3" "$dir/$2"; then
		echo "ok $1"
	else
		echo "FAIL $1: no '$3' in $2:"
		head -20 "$dir/$2"
		failed=1
	fi
}

pair() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 60 -subj "/CN=$2" \
		-addext "subjectAltName=DNS:$2" -keyout "$dir/$1.key" -out "$dir/$1.pem" 2>/dev/null
	chmod 0600 "$dir/$1.key"
}

# A sample with its files and sockets in our folder, and on ports that nobody has.
sample() {
	sed -e "s#/etc/turnpike#$dir#" -e "s#^\\[system\\]#&\\ncontrol-socket = $dir/$1.sock#" \
		-e 's/^tcp-port = 5060/tcp-port = 0/' -e 's/^tls-port = 5061/tls-port = 25961/' \
		-e 's/^port = 2222/port = 25962/' -e 's/^port = 8443/port = 25963/' \
		"$root/conf/turnpike-$1.ini" >"$dir/$1.ini"
}

pair public edge1.example.com
pair pair edge1.example.com
cp "$dir/pair.pem" "$dir/pair-ca.pem"
ssh-keygen -q -t ed25519 -N '' -C test -f "$dir/tunnel.key"
(umask 077 && echo secret-of-the-pair >"$dir/pair.secret")

expect 2 "no arguments" "$bin"
holds "usage is shown" err "usage: turnpiked"
expect 2 "unknown option" "$bin" --colour
expect 2 "bad role" "$bin" -c x --role D
expect 2 "stray argument" "$bin" -c x y
expect 0 "version" "$bin" --version
holds "version names itself" out "turnpiked "
expect 0 "help" "$bin" --help
expect 0 "rows for the man page" "$bin" --dump-rows man
holds "rows in man form" out '.B log\-level'
expect 0 "rows in markdown" "$bin" --dump-rows md
holds "rows in markdown form" out '`log-level`'
expect 78 "missing file" "$bin" -c "$dir/none.ini" --check-config

for role in edge core; do
	sample $role
	expect 0 "sample $role passes the check" "$bin" -c "$dir/$role.ini" --check-config
	expect 0 "sample $role is dumped" "$bin" -c "$dir/$role.ini" --dump-config
	holds "the dump of $role names origins" out "# $dir/$role.ini:"
	if grep -q secret-of-the-pair "$dir/out"; then
		echo "FAIL the dump of $role shows a secret"
		failed=1
	fi
	cp "$dir/out" "$dir/$role-dump.ini"
done
expect 78 "the other role" "$bin" -c "$dir/edge.ini" --role C --check-config
printf '[system]\nrole = E\nname = x\nlog-levle = info\n[colour]\n' >"$dir/bad.ini"
expect 78 "a bad file" "$bin" -c "$dir/bad.ini" --check-config
holds "every error with its line" err "bad.ini:4: "
holds "every error with its line, the second too" err "bad.ini:5: "
holds "what was meant" err "log-level"
chmod 0644 "$dir/pair.key"
expect 78 "a key that others may read" "$bin" -c "$dir/edge.ini" --check-config
holds "what to do about it" err "chmod 0600"
chmod 0600 "$dir/pair.key"

# waits until the log has the event, as often as the count says.
logged() {
	i=0
	while [ "$(grep -c "$1" "$dir/log")" -lt "$2" ]; do
		i=$((i + 1))
		if [ $i -gt 400 ] || ! kill -0 "$pid" 2>/dev/null; then
			echo "FAIL never logged: $1"
			cat "$dir/log"
			failed=1
			return 1
		fi
		sleep 0.1
	done
	echo "ok logged: $1"
}

for role in edge core; do
	"$bin" -c "$dir/$role.ini" >"$dir/log" 2>&1 &
	pid=$!
	if logged system.start 1; then
		kill -HUP $pid
		logged config.loaded 1
		cp "$dir/$role.ini" "$dir/good.ini"
		echo "colour = red" >>"$dir/$role.ini"
		kill -HUP $pid
		logged config.rejected 1
		cp "$dir/good.ini" "$dir/$role.ini"
		kill -HUP $pid
		logged config.loaded 2
	fi
	kill -TERM $pid
	wait $pid
	code=$?
	pid=
	if [ $code -eq 0 ]; then
		echo "ok $role stops with 0"
	else
		echo "FAIL $role stops with $code"
		cat "$dir/log"
		failed=1
	fi
	if [ -e "$dir/$role.sock" ]; then
		echo "FAIL $role leaves its control socket behind"
		failed=1
	fi
done
exit $failed

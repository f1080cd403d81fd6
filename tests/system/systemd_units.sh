#!/bin/sh
# The units must load and stay as closed as they were made: systemd's own measure of exposure, 0 to 10.
# Exit 0 passed, 1 failed, 77 skipped.
set -u
dir=$(cd "$(dirname "$0")/../../systemd" && pwd)
failed=0

if ! command -v systemd-analyze >/dev/null; then
	echo "skip: no systemd-analyze"
	exit 77
fi

check() {
	unit=$1
	limit=$2
	out=$(systemd-analyze security --offline=true --no-pager "$dir/$unit" 2>&1)
	level=$(printf '%s\n' "$out" | sed -n 's/.*Overall exposure level.*: \([0-9.]*\) .*/\1/p')
	if [ -z "$level" ]; then
		printf '%s\n' "$out"
		echo "FAIL $unit: not analysed"
		failed=1
	elif awk "BEGIN { exit !($level > $limit) }"; then
		printf '%s\n' "$out" | grep '✗'
		echo "FAIL $unit: exposure $level, limit $limit"
		failed=1
	elif printf '%s\n' "$out" | grep -qi 'unknown key\|unknown section\|failed to parse'; then
		printf '%s\n' "$out" | grep -i 'unknown\|failed to parse'
		echo "FAIL $unit: a line that systemd does not know"
		failed=1
	else
		echo "ok $unit: exposure $level, limit $limit"
	fi
}

check turnpike-edge.service 1.6
check turnpike-core.service 1.2
exit $failed

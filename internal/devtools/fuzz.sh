#!/bin/bash
# Runs every fuzz target of the tree for a number of inputs (20000x) or a time
# (10m), in as many packages at once as there are processors, with one worker
# each.
#
# A package is built once for all of its targets. `go test -fuzz` loads, vets and
# links it anew for each one, which takes longer than 20,000 inputs do.
set -euo pipefail
cd "$(dirname "$0")/../.."
export FUZZTIME=$1
CACHE=$(go env GOCACHE)/fuzz # where go test keeps what it found
export CACHE

# package FOLDER runs the targets of a package, each to its end even if another
# has failed, and prints what each says at once, since others run meanwhile.
package() {
	local target said failed=0
	cd "$1"
	binary=$(mktemp) # not local: the trap wants it
	trap 'rm -f "$binary"' EXIT
	go test -vet=off -ldflags=-w -c -fuzz=. -o "$binary" .
	for target in $(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' ./*_test.go); do
		said=$("$binary" -test.run='^$' -test.fuzz="^$target\$" -test.fuzztime="$FUZZTIME" -test.fuzzminimizetime=100x \
			-test.parallel=1 -test.fuzzcachedir="$CACHE/$(go list .)" </dev/null 2>&1) || failed=1
		printf 'fuzz %s %s %s\n%s\n' "$1" "$target" "$FUZZTIME" "$said"
		# To the testing package a target that is not there is no failure.
		[[ $said == *'fuzz: elapsed:'* ]] || { echo "FAIL: $target of $1 did not run"; failed=1; }
	done
	return "$failed"
}
export -f package

# The packages with most targets first.
grep -rcE --include='*_test.go' '^func Fuzz' . | sed -nE 's|^\./(.*)/[^/]*:([1-9][0-9]*)$|\2 \1|p' |
	awk '{ n[$2] += $1 } END { for (p in n) print n[p], p }' | sort -k1,1nr -k2 | cut -d' ' -f2 |
	xargs -P "$(nproc)" -I{} bash -euc 'package "{}"'

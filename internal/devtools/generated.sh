#!/bin/sh
# Generates everything anew in a copy of the tree and fails if a file comes out
# differently, so that the working tree is never changed by a check.
set -eu

cd "$(dirname "$0")/../.."
if ! grep -rq --include='*.go' '^//go:generate' .; then
	exit 0
fi
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
tar --exclude=./.git --exclude=./bin --exclude=./dist -cf - . | tar -C "$copy" -xf -
(cd "$copy" && go generate ./...)
if ! diff -r -q --exclude=.git --exclude=bin --exclude=dist . "$copy"; then
	echo 'generated files are not current; run "make generate" and commit the result' >&2
	exit 1
fi

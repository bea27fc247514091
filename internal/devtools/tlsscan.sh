#!/bin/bash
# Lets testssl.sh look at an edge with the default TLS policy, and fails if it
# finds anything above LOW, but for the certificate, which is made for the scan.
# It takes some minutes. The argument is the program to scan.
set -euo pipefail

edge=$(realpath "$1")
dir=$(mktemp -d)
process=''
finish() {
	if [ -n "$process" ]; then
		kill "$process" 2>/dev/null || true
		wait "$process" || true
	fi
	rm -rf "$dir"
}
trap finish EXIT
cd "$dir"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 \
	-subj /CN=shop.test -addext subjectAltName=DNS:shop.test -keyout key.pem -out cert.pem 2>/dev/null

# The header fields are what an application says of itself; the short waits keep
# the scan short, which leaves connections lying about.
cat >edge.yaml <<'YAML'
_format_version: "3.0"
node:
  listeners: [{name: https, address: "127.0.0.1:0", serve: https}]
  status: "off"
  log: {access: "off", level: warn}
  limits: {header_timeout: 2s, idle_timeout: 2s}
routes:
  - name: all
    paths: [/]
    plugins:
      - {name: request-termination, config: {status_code: 200, message: here}}
      - {name: response-transformer, config: {add: {headers: ["Strict-Transport-Security:max-age=31536000", "X-Content-Type-Options:nosniff"]}}}
certificates:
  - {cert: "{vault://file/cert.pem}", key: "{vault://file/key.pem}", snis: [shop.test]}
YAML

port=$((20000 + RANDOM % 10000))
sed -i "s/127.0.0.1:0/127.0.0.1:$port/" edge.yaml
"$edge" run --config edge.yaml >edge.log 2>&1 &
process=$!
for _ in $(seq 100); do
	if curl -sk --connect-to "::127.0.0.1:" -o /dev/null "https://shop.test:$port/"; then
		break
	fi
	if ! kill -0 "$process" 2>/dev/null; then
		cat edge.log >&2
		exit 1
	fi
	sleep 0.1
done

# testssl.sh tells by its exit code how many things it did not like.
testssl --warnings off --color 0 -n none --ip 127.0.0.1 --csvfile report.csv \
	-p -s -f -P -S -h -U "https://shop.test:$port/" || true

# A scan that was broken off must not pass for a clean one.
for must in SSLv2 TLS1_3 cipherlist_NULL cipher_order heartbleed LUCKY13 RC4; do
	if ! grep -q "^\"$must\"" report.csv; then
		echo "tlsscan.sh: the report has no \"$must\": the scan did not end" >&2
		exit 1
	fi
done
awk -F'","' '
	{ id = substr($1, 2) }
	id ~ /^cert_/ { next }
	$4 == "LOW" { print "low: " id ": " $5 }
	$4 ~ /^(MEDIUM|HIGH|CRITICAL|WARN|FATAL)$/ { print $4 ": " id ": " $5; bad = 1 }
	END { exit bad }
' report.csv || {
	echo 'tlsscan.sh: there are findings above LOW' >&2
	exit 1
}
echo 'no finding above LOW'

#!/bin/sh
# Sees to it that the commands named as arguments exist. What is missing is
# installed from Debian's packages, as root or by sudo; where that cannot be
# done, the missing commands and their packages are named.
set -eu

# package_of COMMAND prints the Debian packages that bring the command.
package_of() {
	case $1 in
	cc) echo gcc libc6-dev ;; # go test -race links against libc
	nginx | haproxy | curl | wrk | openssl) echo "$1" ;;
	nginx-stream) echo libnginx-mod-stream ;; # a module, no command
	nginx-modsecurity) echo libnginx-mod-http-modsecurity ;; # the same
	sqlmap) echo sqlmap ;;
	dnsmasq) echo dnsmasq-base ;; # the program alone, without the service
	dig) echo bind9-dnsutils ;;
	h2load | nghttp) echo nghttp2-client ;;
	redis-server) echo redis-server ;;
	redis-cli) echo redis-tools ;;
	testssl) echo testssl.sh ;;
	update-ca-certificates) echo ca-certificates ;;
	*)
		echo "deps.sh: no package is known for the command \"$1\"; add it to internal/devtools/deps.sh" >&2
		exit 1
		;;
	esac
}

# present COMMAND looks in PATH and where Debian puts servers, which PATH lacks
# for ordinary users.
present() {
	if [ "$1" = nginx-stream ]; then
		[ -e /usr/lib/nginx/modules/ngx_stream_module.so ]
		return
	fi
	if [ "$1" = nginx-modsecurity ]; then
		[ -e /usr/lib/nginx/modules/ngx_http_modsecurity_module.so ]
		return
	fi
	command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]
}

commands='' packages=''
for command in "$@"; do
	package=$(package_of "$command")
	if ! present "$command"; then
		commands="$commands $command"
		packages="$packages $package"
	fi
done
[ -n "$packages" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
	echo "deps.sh: missing commands:$commands; this is no Debian, so install what brings them and try again" >&2
	exit 1
fi
as_root=''
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null 2>&1; then
		echo "deps.sh: missing commands:$commands; run as root: apt-get install$packages" >&2
		exit 1
	fi
	as_root=sudo
fi

echo "installing$packages"
export DEBIAN_FRONTEND=noninteractive
# The lists of a fresh container are empty, and stale ones name files that are
# gone: without an update the install may fail for that alone.
$as_root apt-get -q update >/dev/null || echo "deps.sh: apt-get update went wrong; trying with the package lists as they are" >&2
# shellcheck disable=SC2086 # a list of words
if ! $as_root apt-get -q -y install --no-install-recommends $packages >/dev/null; then
	echo "deps.sh: installing$packages went wrong; the commands$commands are needed" >&2
	exit 1
fi
for command in $commands; do
	if ! present "$command"; then
		echo "deps.sh: the package of \"$command\" is installed, but the command is not there" >&2
		exit 1
	fi
done

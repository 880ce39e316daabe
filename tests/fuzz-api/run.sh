#!/bin/bash
# Fuzzes the Platform API with schemathesis for so many seconds: a real openruko-api with a database of its own,
# its own OpenAPI document, the token of a site admin who owns an app.
#   tests/fuzz-api/run.sh SECONDS PATH-OF-openruko-api DIRECTORY-FOR-schemathesis
set -euo pipefail

seconds=$1 api=$2 tools=$3
here=$(dirname "$(realpath "$0")")
version=4.32.5

if [[ ! -x $tools/bin/schemathesis ]] || ! "$tools/bin/schemathesis" --version | grep -qF "$version"; then
  python3 -m venv --clear "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
fi

work=$(mktemp -d)
cleanup() {
  [[ -z ${pid-} ]] || { kill "$pid" 2>/dev/null && wait "$pid"; } || true
  rm -rf "$work"
}
trap cleanup EXIT

digest() { printf %s "$1" | sha256sum | cut -d' ' -f1; }
cat >"$work/config.toml" <<END
[api]
listen = '127.0.0.1:0'
database = 'sqlite://$work/api.db'
storage = 'file://$work/storage'
url = 'http://127.0.0.1:1'
web_url = 'http://{app}.localhost:8080/'
stack = 'openruko-12'
template = 'openruko-build'
[api.components]
admin = '$(digest fuzz)'
[api.public]
listen = '127.0.0.1:0'
url = 'http://127.0.0.1:1'
git_url = 'https://git.test/{app}.git'
ssh_url = 'ssh://git@git.test:2222/{app}.git'
calls_per_hour = 100000000
END

mkfifo "$work/said"
"$api" --config "$work/config.toml" 2>"$work/said" &
pid=$!
exec 3<"$work/said"
internal='' public=''
while [[ -z $public ]] && read -r line <&3; do
  case $line in
    *'Platform API listens on '*) public=${line##* } ;;
    *'listening on '*) internal=${line##* } ;;
  esac
done
[[ -n $public ]] || { echo 'fuzz-api: openruko-api did not start' >&2; exit 1; }
cat <&3 >"$work/log" &

internal() {
  curl --silent --show-error --fail -H 'Authorization: Bearer fuzz' -H 'Content-Type: application/json' \
    -d "$2" "$internal$1"
}
internal /internal/users '{"name":"fuzz"}' >/dev/null
internal /internal/apps '{"name":"fuzzed","owner":"fuzz"}' >/dev/null
token=$(internal /internal/users/fuzz/tokens '{"description":"fuzz"}' | jq -r .token)

status=0
(cd "$work" && "$tools/bin/schemathesis" --config-file "$here/schemathesis.toml" run "$public/openapi.json" \
  --header "Authorization: Bearer $token" --max-time "$seconds" --workers 2 --continue-on-failure --no-color \
  --warnings off) || status=$?
if grep -E ' (ERROR|WARN) ' "$work/log"; then
  echo 'fuzz-api: the server logged the errors above' >&2
  exit 1
fi
exit "$status"

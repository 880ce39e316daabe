#!/bin/bash
# Fuzzes the Platform API with schemathesis for so many seconds: a real openruko-api with a database of its own,
# its own OpenAPI document, the token of a user who owns apps, a pipeline and more.
#   tests/fuzz-api/run.sh SECONDS PATH-OF-openruko-api DIRECTORY-FOR-schemathesis
# From the environment:
#   DATABASE   postgres://… of an empty database (else SQLite)
#   SITE_ADMIN true or false (else true): whether that user is one
set -euo pipefail

seconds=$1 api=$2 tools=$(realpath -m "$3")
here=$(dirname "$(realpath "$0")")
version=4.32.5

if [[ ! -x $tools/bin/schemathesis ]] || ! "$tools/bin/schemathesis" --version | grep -qF "$version"; then
  if ! { python3 -m venv --clear "$tools" &&
    "$tools/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"; }; then
    echo "fuzz-api: schemathesis $version cannot be installed into $tools: it comes by pip, from the package" \
      'index that pip is configured for, and needs python3-venv' >&2
    exit 1
  fi
fi

work=$(mktemp -d)
# shellcheck disable=SC2317 # It is called by the trap.
cleanup() {
  [[ -z ${pid-} ]] || { kill "$pid" 2>/dev/null && wait "$pid"; } || true
  rm -rf "$work"
}
trap cleanup EXIT

digest() { printf %s "$1" | sha256sum | cut -d' ' -f1; }
cat >"$work/config.toml" <<END
[api]
listen = '127.0.0.1:0'
database = '${DATABASE:-sqlite://$work/api.db}'
storage = 'file://$work/storage'
uploads = '$work/uploads'
logs = '$work/logs'
url = 'http://127.0.0.1:1'
web_url = 'http://{app}.localhost:8080/'
stack = 'openruko-12'
template = 'openruko-build'
[api.components]
admin = '$(digest fuzz-admin)'
serve = '$(digest fuzz-serve)'
host = '$(digest fuzz-host)'
router = '$(digest fuzz-router)'
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
    *) echo "$line" >&2 ;;
  esac
done
[[ -n $public ]] || { echo 'fuzz-api: openruko-api did not start' >&2; exit 1; }
cat <&3 >"$work/log" &

# call TOKEN URL [curl's arguments]
call() {
  curl --silent --show-error --fail-with-body -H "Authorization: Bearer $1" -H 'Content-Type: application/json' "${@:2}"
}
internal() { call "fuzz-$1" "$internal$2" -d "$3"; }
made() { call "$token" "$public$1" -d "$2"; }

# What there is to find: of most things a few, so that calls meet more than what is not there.
internal admin /internal/users "{\"name\":\"fuzz\",\"site_admin\":${SITE_ADMIN:-true}}" >/dev/null
internal admin /internal/users '{"name":"friend"}' >/dev/null
internal admin /internal/apps '{"name":"others","owner":"friend"}' >/dev/null
token=$(internal admin /internal/users/fuzz/tokens '{"description":"fuzz"}' | jq -r .token)
own=$(call "$token" "$public/oauth/authorizations" | jq -r '.[0].id')

apps=()
for name in fuzzed fuzzed-too fuzzed-three; do
  apps+=("$(made /apps "{\"name\":\"$name\"}" | jq -r .id)")
done
pipeline=$(made /pipelines '{"name":"fuzzed"}' | jq -r .id)
coupling=$(made /pipeline-couplings "{\"app\":\"${apps[0]}\",\"pipeline\":\"$pipeline\",\"stage\":\"staging\"}" | jq -r .id)
made /apps/fuzzed/collaborators '{"user":"friend"}' >/dev/null
made /apps/fuzzed/domains '{"hostname":"www.fuzz.example","sni_endpoint":null}' >/dev/null
webhook=$(made /apps/fuzzed/webhooks \
  '{"url":"https://hook.invalid/","level":"notify","include":["api:app","api:release","api:domain"]}' | jq -r .id)
drain=$(made /apps/fuzzed/log-drains '{"url":"https://logs.invalid/"}' | jq -r .id)
stream=$(made /apps/fuzzed/log-sessions '{"tail":false}' | jq -r .logplex_url)
source=$(made /sources '{}' | jq .source_blob)
put=$(jq -r .put_url <<<"$source") get=$(jq -r .get_url <<<"$source")
printf tarball | call "$token" -X PUT "$public${put#http://127.0.0.1:1}" -H 'Content-Type:' -T - >/dev/null
build=$(made /apps/fuzzed/builds "{\"source_blob\":{\"url\":\"$get\"}}")
call "$token" "$public/apps/fuzzed/builds/$(jq -r .id <<<"$build")" -X DELETE >/dev/null
call "$token" "$public/apps/fuzzed/config-vars" -X PATCH -d '{"KEY":"value"}' >/dev/null

push=$(internal serve /internal/apps/fuzzed/pushes '{"user":"fuzz","wait_seconds":0}')
commit=$(printf 'c%.0s' {1..40})
internal serve "/internal/pushes/$(jq -r .push <<<"$push")/commit" "$(jq -n --arg commit "$commit" \
  --argjson version "$(jq .repo.version <<<"$push")" '{
    base_version: $version,
    repo: { bytes: 1000, sha256: ("ab" * 32) },
    refs: [{ name: "refs/heads/main", old: ("0" * 40), new: $commit }],
    release: {
      stack: "openruko-12",
      slug: { bytes: 500, sha256: ("ab" * 32) },
      manifest: {
        head: { commit: $commit, branch: "refs/heads/main" },
        buildpack: "Python",
        process_types: { web: "python app.py", console: "python", release: "python migrate.py" },
        default_types: ["console"]
      }
    }
  }')" >/dev/null

# A host that says that the release runs, and what its release phase printed.
call fuzz-host "$internal/internal/host" -X PUT \
  -d '{"rendezvous":{"url":"rendezvous://127.0.0.1:1","certificate":null}}' >/dev/null
app=$(call fuzz-host "$internal/internal/host/apps?after=0" |
  jq -r '.apps[] | select(.app.name == "fuzzed") | .app.id')
version=$(call "$token" "$public/apps/fuzzed/releases" | jq -r '.[-1].version')
internal host "/internal/host/apps/$app/releases/$version/output" '{"offset":0,"text":"Migrated\n"}' >/dev/null
internal host /internal/host/dynos "$(jq -n --arg app "$app" --argjson release "$version" '{
    dynos: [range(3) | {
      id: "01ARZ3NDEKTSV4RRFFQ69G5FA\(.)", app: $app, name: "web.\(. + 1)", release: $release, generation: 0,
      state: ["up", "crashed", "starting"][.], since: 1795381402000, command: "python app.py", size: "Basic",
      address: (if . == 0 then "127.0.0.1:1" else null end), exit_status: null }],
    gone: [], all: false }')" >/dev/null
internal host "/internal/host/apps/$app/switch" \
  "{\"release\":$version,\"dynos\":[\"01ARZ3NDEKTSV4RRFFQ69G5FA0\"]}" >/dev/null
made /apps/fuzzed/dynos '{"command":"bash","attach":true}' >/dev/null
one_off=$(made /apps/fuzzed/dynos '{"command":"rake"}' | jq -r .name)
release=$(call "$token" "$public/apps/fuzzed/releases/$version")

# By the names of the parameters. Of what a place has a secret for, the secret as well.
FUZZ_KNOWN=$(jq -n --arg pipeline "$pipeline" --arg coupling "$coupling" --arg webhook "$webhook" \
  --arg drain "$drain" --arg stream "${stream##*/}" --arg put "$put" --arg get "$get" --argjson build "$build" \
  --arg one_off "$one_off" --argjson released "$release" '
    { app: $ARGS.positional, pipeline: [$pipeline, "fuzzed"], coupling: [$coupling], webhook: [$webhook],
      drain: [$drain], domain: ["www.fuzz.example"], collaborator: ["friend"], user: ["friend"],
      release: ["1", "current", $released.id], type: ["web", "console"], stage: ["staging"],
      dyno: ["web.1", "web.2", "web", $one_off],
      build: [$build.id], feature: ["spaces-dns-discovery"], size: ["eco"], stack: ["openruko-12"],
      secret: [$stream, ($build, $released | .output_stream_url | split("=")[1])],
      source: [$put | split("/")[-1] | split("?")[0]],
      put: [$put | split("=")[1]], get: [$get | split("=")[1]] }' --args "${apps[@]}")
export FUZZ_KNOWN FUZZ_OWN_TOKEN=$own SCHEMATHESIS_HOOKS=hooks

status=0
(cd "$work" && PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1 \
  "$tools/bin/schemathesis" --config-file "$here/schemathesis.toml" run "$public/openapi.json" \
  --header "Authorization: Bearer $token" --max-time "$seconds" --workers 2 --continue-on-failure --no-color \
  --warnings off) || status=$?
if grep -E ' (ERROR|WARN) ' "$work/log"; then
  echo 'fuzz-api: the server logged the errors above' >&2
  status=1
fi
if ! call "$token" "$public/account" >/dev/null; then
  echo 'fuzz-api: the token of the run did not live to its end, so that calls met nothing but 401' >&2
  status=1
fi
exit "$status"

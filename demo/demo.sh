#!/bin/bash
# The main job on real input: the whole platform on a state directory of its own, a developer who logs in,
# makes four apps and pushes them with the real git client over both doors, sees them answer, and what may not work
# refused. Then requests come all the time while one app is deployed, configured, scaled, rolled back and broken.
# The last line says how it went.
set -euo pipefail

state=${1:?usage: demo.sh STATE-DIRECTORY}
here=$(cd "$(dirname "$0")/.." && pwd)
ssh_port=${DEMO_SSH_PORT:-2222}
api_port=${DEMO_API_PORT:-5000}
public_port=${DEMO_PUBLIC_PORT:-5001}
git_port=${DEMO_GIT_PORT:-5002}
web_port=${DEMO_WEB_PORT:-8080}
rendezvous_port=${DEMO_RENDEZVOUS_PORT:-5003}
log=$state/up.log
openruko=$state/prefix/bin/openruko
work=
failures=0
up=
load=

admin() { "$openruko" --config "$state/state/config.toml" admin "$@"; }

# heading TEXT
heading() { printf '\n=== %s\n' "$1"; }

# expect WHAT COMMAND...: the command must succeed.
expect() {
  local what=$1
  shift
  if "$@"; then
    printf 'ok: %s\n' "$what"
  else
    printf 'FAILED: %s\n' "$what"
    failures=$((failures + 1))
  fi
}

finish() {
  local status=$? hint=
  trap - EXIT
  if [ -n "$up" ]; then
    hint="; the platform's log is $log"
    kill -INT "$up" 2>/dev/null || true
    wait "$up" || true
    "$openruko" teardown --state "$state/state" 2>/dev/null || true
  fi
  [ -z "$load" ] || end_load
  [ -z "$work" ] || rm -rf "$work"
  if [ "$status" -eq 0 ] && [ "$failures" -eq 0 ]; then
    echo "demo: ok, everything as expected in $SECONDS s; its state is in $state"
  else
    echo "demo: failed, $failures of the expectations above and exit status $status$hint"
    exit 1
  fi
}
trap finish EXIT
trap 'exit 130' INT TERM

# Removes the state of the demo before, unless a platform is running there: that holds the lock.
fresh_state() {
  local status=0 lock=$state/state/lock
  if [ ! -e "$lock" ]; then
    rm -rf "$state/state"
    return
  fi
  flock --nonblock --conflict-exit-code 75 "$lock" rm -rf "$state/state" || status=$?
  if [ "$status" -eq 75 ]; then
    echo "an \`openruko up\` runs on $state/state:" \
      "stop it first, or name another directory (make demo STATE=...)" >&2
  fi
  return "$status"
}

heading "Starting the platform on a fresh state: $state/state"
work=$(mktemp -d)
fresh_state
# What the demo before said there would count as said now.
: >"$log"
"$openruko" up --state "$state/state" --ssh-listen "127.0.0.1:$ssh_port" --api-listen "127.0.0.1:$api_port" \
  --public-listen "127.0.0.1:$public_port" --git-listen "127.0.0.1:$git_port" \
  --web-listen "127.0.0.1:$web_port" --rendezvous-listen "127.0.0.1:$rendezvous_port" \
  --bridge rkdemo0 --subnet 10.212.0.1/24 2>"$log" &
up=$!
until grep -q 'openruko is up' "$log"; do
  kill -0 "$up" 2>/dev/null || { cat "$log"; exit 1; }
  sleep 0.1
done
cat "$log"

# as NAME COMMAND...: as that developer, with a home directory of their own; the host key is pinned. The Heroku
# CLI stays out of it, where it is installed: this shows what works without.
as() {
  local name=$1
  shift
  env -u XDG_CONFIG_HOME HOME="$work/$name" PATH="$state/prefix/bin:$PATH" OPENRUKO_NATIVE=1 \
    no_proxy="127.0.0.1,${no_proxy:-}" \
    GIT_SSH_COMMAND="ssh -F none -i $work/$name/id -o IdentitiesOnly=yes -o UserKnownHostsFile=$work/known_hosts" \
    "$@"
}

# type_as NAME COMMAND...: the same, and shows what is typed.
type_as() {
  printf '$ %s   # %s\n' "${*:2}" "$1"
  as "$@"
}

# new_developer NAME: an account, logged in, with a key.
new_developer() {
  mkdir "$work/$1"
  ssh-keygen -q -t ed25519 -N '' -C "$1" -f "$work/$1/id"
  admin user add "$1" --email "$1@example.com"
  admin user token "$1" | type_as "$1" openruko login "http://127.0.0.1:$public_port" --token-stdin
  type_as "$1" openruko keys:add "$work/$1/id.pub"
}

# new_repo APP: a repository of ada's with the sample app committed on main.
new_repo() {
  cp -r "$here/tests/fixtures/$1" "$work/$1-app"
  git -C "$work/$1-app" init -q -b main
  commit "$1" "First version"
}

# in_repo APP COMMAND...: what ada types in that repository.
in_repo() {
  (cd "$work/$1-app" && type_as ada "${@:2}")
}

commit() {
  git -C "$work/$1-app" add -A
  git -C "$work/$1-app" -c user.name=Ada -c user.email=ada@example.com commit -q --allow-empty -m "$2"
}

# push WHO APP: times the push and keeps what was seen in $work/seen.
push() {
  local status=0 begun=$EPOCHREALTIME
  printf '$ git push openruko main   # %s, %s-app\n' "$1" "$2"
  as "$1" git -C "$work/$2-app" push openruko main 2>&1 | tee "$work/seen" || status=$?
  awk -v a="$begun" -v b="$EPOCHREALTIME" 'BEGIN { printf "(%.1f s)\n", b - a }'
  return "$status"
}

# answer APP [PATH]: what the app answers through the router.
answer() {
  printf '$ curl http://%s-app.localhost:%s/%s\n' "$1" "$web_port" "${2-}"
  curl --silent --show-error --fail --noproxy '*' --resolve "$1-app.localhost:$web_port:127.0.0.1" \
    "http://$1-app.localhost:$web_port/${2-}" | tee "$work/seen"
}

# begin_load APP: from now on somebody asks for the app all the time.
begin_load() {
  : >"$work/load"
  while :; do
    curl --silent --output /dev/null --noproxy '*' --max-time 60 --write-out '%{http_code}\n' \
      --resolve "$1-app.localhost:$web_port:127.0.0.1" "http://$1-app.localhost:$web_port/" >>"$work/load" || true
  done &
  load=$!
}

end_load() {
  kill "$load" 2>/dev/null || true
  wait "$load" 2>/dev/null || true
  load=
}

# all_answered: how the requests of the load were answered; all must have been with success.
all_answered() {
  sort "$work/load" | uniq -c
  [ -s "$work/load" ] && ! grep -qv '^2..$' "$work/load"
}

# until_it SECONDS COMMAND...: waits until the command succeeds.
until_it() {
  local ends=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$ends" ] || return 1
    sleep 0.2
  done
}

# ps_says APP STATE NUMBER: whether so many web dynos are in that state.
ps_says() { [ "$(as ada openruko ps -a "$1-app" --json | jq "[.[] | select(.type == \"web\" and .state == \"$2\")] | length")" = "$3" ]; }

seen() { grep -q -- "$1" "$work/seen"; }
not() { if "$@"; then return 1; fi; }
answers_as() { answer "$1" >/dev/null && seen "$2"; }

# status_is STATUS COMMAND...: whether the command ends with that status.
status_is() {
  local status=0
  "${@:2}" || status=$?
  [ "$status" -eq "$1" ]
}
live_commit() { as ada git ls-remote "ssh://git@127.0.0.1:$ssh_port/$1-app.git" refs/heads/main | cut -f1; }

heading 'A developer logs in and makes four apps'
printf '[127.0.0.1]:%s %s\n' "$ssh_port" "$(cat "$state/state/sshd/ssh_host_ed25519_key.pub")" >"$work/known_hosts"
new_developer ada
for app in python nodejs static procfile; do
  new_repo "$app"
done
for app in python nodejs static; do
  expect "$app-app is made, and the remote" in_repo "$app" openruko create "$app-app"
done
expect 'procfile-app is made, with a remote over HTTP' in_repo procfile openruko create procfile-app --http-git
for app in python nodejs static procfile; do
  heading "First push: $app"
  expect "$app-app is released" push ada "$app"
  expect 'it is v2' seen 'Released v2'
done

heading 'The apps answer'
expect 'Python' answer python
expect 'and is itself' seen 'Hello from Python'
expect 'Node.js' answer nodejs
expect 'and is itself' seen 'Hello from Node.js'
expect 'the static site' answer static
expect 'and is itself' seen 'Hello from a static site'
expect 'the app with a Procfile alone' answer procfile hello.txt
expect 'and is itself' seen 'A file that is served'

for app in python nodejs; do
  heading "Second push, one line changed: $app"
  echo 'changed' >"$work/$app-app/change.txt"
  commit "$app" 'One line'
  expect "$app-app is released again" push ada "$app"
  expect 'it is v3' seen 'Released v3'
  expect 'the build cache was used, and the output says so' grep -qi cache "$work/seen"
done

heading 'A push whose compile fails'
live=$(live_commit python)
echo 'this-package-does-not-exist-at-all==99.9' >"$work/python-app/requirements.txt"
commit python 'Broken'
expect 'it is refused' not push ada python
expect 'it says so' seen 'Push rejected'
expect 'the ref has not moved' test "$(live_commit python)" = "$live"
in_repo python openruko releases | tee "$work/seen"
expect 'v3 still stands' seen 'Current: v3'

heading 'Requests come all the time, and the app changes under them'
begin_load nodejs
sed -i 's/Hello/Hello again/' "$work/nodejs-app/index.js"
commit nodejs 'Another greeting'
expect 'a deploy' push ada nodejs
expect 'the new version answers as soon as the push has ended' answer nodejs
expect 'indeed' seen 'Hello again'
expect 'a config change' in_repo nodejs openruko config:set COLOUR=blue
expect 'scaled to three' in_repo nodejs openruko ps:scale web=3
expect 'all of them are up' until_it 60 ps_says nodejs up 3
expect 'scaled back to one' in_repo nodejs openruko ps:scale web=1
expect 'one is up' until_it 60 ps_says nodejs up 1
expect 'a rollback' in_repo nodejs openruko rollback v2
expect 'the first version answers again' until_it 60 answers_as nodejs 'Hello from'
echo 'process.exit(1)' >"$work/nodejs-app/index.js"
commit nodejs 'Crashes'
expect 'a deploy of what crashes is refused' not push ada nodejs
expect 'it says so' seen 'did not boot'
expect 'the version before answers' answer nodejs
git -C "$work/nodejs-app" reset -q --hard HEAD~1
end_load
expect 'every request was answered with success' all_answered

heading 'A one-off dyno'
expect 'its exit status is the command'"'"'s' status_is 7 in_repo python openruko run --exit-code --no-tty -- bash -c 'exit 7'
in_repo python openruko logs --num 5

heading 'An app that sleeps'
expect 'it may sleep' in_repo static openruko web:set --idle-after 20s
expect 'after a while without requests it does' until_it 60 ps_says static idle 1
begun=$EPOCHREALTIME
expect 'whoever asks for it wakes it' answer static
awk -v a="$begun" -v b="$EPOCHREALTIME" 'BEGIN { printf "(answered after %.2f s)\n", b - a }'

heading 'Cloned back and compared'
expect 'it is cloned over ssh' type_as ada openruko git:clone -a nodejs-app "$work/nodejs-copy"
expect 'it is the same' diff -r --exclude=.git "$work/nodejs-app" "$work/nodejs-copy"
expect 'another over HTTP' type_as ada openruko git:clone --http-git -a procfile-app "$work/procfile-copy"
expect 'it is the same' diff -r --exclude=.git "$work/procfile-app" "$work/procfile-copy"

heading 'A stranger'
new_developer eve
expect 'is refused' not push eve static
expect 'and learns nothing' seen 'There is no app static-app here that you may use'
expect 'is refused over HTTP, too' not push eve procfile
expect 'and learns nothing' seen 'There is no app procfile-app here that you may use'

heading 'Releases and slugs'
for app in python nodejs static procfile; do
  in_repo "$app" openruko releases
  echo
done
for slug in "$state"/state/storage/slugs/*/*.tar.gz; do
  echo "${slug#"$state"/state/storage/}"
  "$state/prefix/bin/ruko-slug" inspect "$slug" | sed -n '/^Size\|^Type/s/^/  /p'
done
echo

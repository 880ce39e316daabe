# Runs a PostgreSQL server below the directory $1 with the programs in $2, for as long as its stdin is
# open: however the test process ends, the server and its directory go with it. Says `done` when the
# server answers, and after each word that it was told.
set -eu
dir=$1 bin=$2

ctl() { "$bin/pg_ctl" --silent --wait --timeout=60 --pgdata="$dir/data" "$@" </dev/null >&2; }

# The path of `dir` is ours, and has no spaces. Nothing here outlives a power cut: no need to wait for the disk.
up() {
  ctl start --log="$dir/log" --options="-c listen_addresses= -c unix_socket_directories=$dir -c fsync=off \
    -c full_page_writes=off -c shared_buffers=32MB -c max_connections=200"
}

end() {
  ctl stop --mode=immediate 2>/dev/null || :
  rm -rf "$dir"
}
trap end EXIT

# A collation that sorts as people do, so that a text that relies on the order of bytes shows.
"$bin/initdb" --pgdata="$dir/data" --username=postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 \
  --locale-provider=icu --icu-locale=en-US --no-sync </dev/null >"$dir/initdb.log" 2>&1 || {
  cat "$dir/initdb.log" >&2
  exit 1
}
up
echo done
while read -r word; do
  case $word in
    start) up ;;
    stop) ctl stop --mode=fast ;;
    crash) ctl stop --mode=immediate ;;
  esac
  echo done
done

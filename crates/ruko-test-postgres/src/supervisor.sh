# shellcheck shell=sh
# Runs a PostgreSQL server below the directory $1 with the programs in $2, for as long as its stdin is
# open: however the test process ends, the server and its directory go with it. With a port in $3 it is
# on the loopback, too, with TLS. Says `ready` when the server answers, and after each word that it was told.
set -eu
dir=$1 bin=$2 port=${3:-}

ctl() { "$bin/pg_ctl" --silent --wait --timeout=60 --pgdata="$dir/data" "$@" </dev/null >&2; }

# The path of `dir` is ours, and has no spaces. Nothing here outlives a power cut: no need to wait for the disk.
up() {
  ctl start --log="$dir/log" --options="-c listen_addresses= -c unix_socket_directories=$dir -c fsync=off \
    -c full_page_writes=off -c shared_buffers=32MB -c max_connections=200 ${port:+$tls}" || {
    cat "$dir/log" >&2
    exit 1
  }
}
tls="-c listen_addresses=127.0.0.1 -c port=$port -c ssl=on"
tls="$tls -c ssl_cert_file=$dir/server.crt -c ssl_key_file=$dir/server.key"

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
if [ -n "$port" ]; then
  openssl req -x509 -newkey ed25519 -nodes -keyout "$dir/server.key" -out "$dir/server.crt" -days 2 \
    -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE \
    </dev/null 2>"$dir/openssl.log"
  # Over the network, a password and TLS.
  echo 'hostssl all ruko 127.0.0.1/32 scram-sha-256' >"$dir/data/pg_hba.conf"
  echo 'local all postgres trust' >>"$dir/data/pg_hba.conf"
fi
up
echo ready
while read -r word; do
  case $word in
    start) up ;;
    stop) ctl stop --mode=fast ;;
    crash) ctl stop --mode=immediate ;;
  esac
  echo ready
done

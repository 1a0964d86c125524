#!/usr/bin/env bash
# The load bench from one end to the other: builds, starts the servers, runs the rows, prints the table.
#
#   benches/load/run.sh [--quick] [--rounds N] [--sessions N,N] [--out TABLE.md]
#                       [--phases fresh,bare,web,news,full,durable,archive,grow,fair,overload]
#
# PEERS_DIR  a folder with prosody/start.sh and ejabberd/start.sh (`start.sh DIR PORT` starts a
#            throw-away server and leaves DIR/pid; PEER_STORAGE=sqlite makes it durable). Without it
#            only Stonechat and the floor are measured. Missing Debian packages are installed.
# LOAD_DIR   scratch folder [a new one under /tmp, removed at the end]
# LOAD_PORT  first of three ports, and of three more 100 above [15322]
# CARGO      the cargo to build with [cargo]
set -euo pipefail
cd "$(dirname "$0")/../.."

quick=() rounds=() sessions=() phases=fresh,bare,web,news,full,durable,archive,grow,fair,overload out=
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=(--quick) ;;
    --rounds) rounds=(--rounds "$2"); shift ;;
    --sessions) sessions=(--sessions "$2"); shift ;;
    --phases) phases=$2; shift ;;
    --out) out=$2; shift ;;
    *) sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
  shift
done

dir=${LOAD_DIR:-$(mktemp -d /tmp/stonechat-load-XXXXXX)}
mkdir -p "$dir"
port=${LOAD_PORT:-15322}
domain=bench.localhost
peers=()
[ -z "${PEERS_DIR:-}" ] || peers=(prosody ejabberd)
ulimit -n "$(ulimit -Hn)"

packages() {
  local wanted=(strace) missing=()
  [ ${#peers[@]} = 0 ] ||
    wanted+=(prosody ejabberd nginx-light lua-dbi-sqlite3 lua-zlib sqlite3 erlang-p1-sqlite3 openssl)
  for package in "${wanted[@]}"; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return
  local sudo=
  [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

build() {
  ${CARGO:-cargo} build --release --quiet
  bench=$(${CARGO:-cargo} bench --bench load --no-run --message-format=json 2>/dev/null |
    grep -o '"executable":"[^"]*/load-[^"]*"' | tail -n 1 | cut -d'"' -f4)
  server=$PWD/target/release/stonechat
}

ours() { # ours DIR PORT ARCHIVE [LIMITS]: as any server, but for rates, and for logins in the clear
  mkdir -p "$1"
  local rates=$'bytes_per_second = 0\nstanzas_per_second = 0\nstreams_per_ip = 0\nconnections_per_second = 0'
  [ "${4:-}" != limits ] || rates=
  cat > "$1/stonechat.toml" <<CONFIG
data_dir = "$1/data"
[[host]]
domain = "$domain"
[c2s]
listen = ["127.0.0.1:$2"]
listen_tls = []
require_tls = false
[web]
listen = ["127.0.0.1:$(($2 + 100))"]
[metrics]
listen = []
[sasl]
iterations = 4096
[limits]
$rates
offline_messages_max = 1000000
offline_bytes_max = 1000000000
[modules.mam]
enabled = $3
[modules.muc]
idle_secs = 2
[modules.register]
mode = "open"
per_ip_per_hour = 0
[log]
level = "error"
CONFIG
  spawn "$1" "$2"
}

spawn() { # spawn DIR PORT: the server of a folder that `ours` has made
  setsid "$server" --config "$1/stonechat.toml" serve > "$1/out.log" 2>&1 < /dev/null &
  echo $! > "$1/pid"
  until (exec 3<> "/dev/tcp/127.0.0.1/$2") 2>/dev/null; do
    kill -0 "$(cat "$1/pid")" || { cat "$1/out.log" >&2; exit 1; }
    sleep 0.1
  done
}

start() { # start GROUP: every server, set up for the rows of that group; fills `targets`
  local group=$1 storage='' scripts=${PEERS_DIR:-} at=$port
  targets=()
  case $group in
    durable) storage=sqlite ;;
    archive) storage=sqlite; scripts=$dir/scripts; with_archive ;;
    news) scripts=$dir/scripts; with_news ;;
    web) scripts=$dir/scripts; with_web ;;
  esac
  local archive=false
  [ "$group" != archive ] || archive=true
  local place=$dir/$group
  # What the fresh server's memory is measured with is what the bare rows run on.
  [ "$group" != fresh ] || place=$dir/bare
  ours "$place/stonechat" "$at" "$archive"
  targets+=(--target "stonechat=127.0.0.1:$at,web=127.0.0.1:$((at + 100)),pid=$(cat "$place/stonechat/pid"),domain=$domain")
  for peer in ${peers[@]+"${peers[@]}"}; do
    at=$((at + 1))
    if [ -n "$storage" ]; then
      PEER_STORAGE=$storage "$scripts/$peer/start.sh" "$place/$peer" "$at" > /dev/null
    else
      "$scripts/$peer/start.sh" "$place/$peer" "$at" > /dev/null
    fi
    local ws=/ws
    [ "$peer" != prosody ] || ws=/xmpp-websocket
    targets+=(--target "$peer=127.0.0.1:$at,web=127.0.0.1:$((at + 100)),ws=$ws,pid=$(cat "$place/$peer/pid"),domain=$domain")
  done
}

own_scripts() { # a copy of the peers' scripts, to be changed
  rm -rf "$dir/scripts"
  cp -r "$PEERS_DIR" "$dir/scripts"
  chmod -R u+w "$dir/scripts"
}

with_news() { # with XEP-0163 and XEP-0115
  [ ${#peers[@]} -gt 0 ] || return 0
  own_scripts
  sed -i 's/"register" }/"register", "pep" }/' "$dir/scripts/prosody/prosody.cfg.lua.in"
  sed -i 's/^  mod_ping:/  mod_caps: {}\n  mod_pubsub:\n    plugins: [flat, pep]\n  mod_ping:/' \
    "$dir/scripts/ejabberd/ejabberd.yml.in"
}

with_web() { # with WebSocket and BOSH, a hundred ports above
  [ ${#peers[@]} -gt 0 ] || return 0
  own_scripts
  sed -i -e 's/"register" }/"register", "websocket", "bosh" }/' \
    -e "s/^https_ports = {}/https_ports = { $((port + 101)) }\nhttps_interfaces = { \"127.0.0.1\" }/" \
    -e "s/^http_ports = {}/http_ports = {}\nhttp_default_host = \"$domain\"\nconsider_websocket_secure = true\nconsider_bosh_secure = true/" \
    "$dir/scripts/prosody/prosody.cfg.lua.in"
  sed -i "s#^@STORAGE@#  -\n    port: $((port + 102))\n    ip: \"127.0.0.1\"\n    module: ejabberd_http\n    tls: true\n    request_handlers:\n      /ws: ejabberd_http_ws\n      /http-bind: mod_bosh\n@STORAGE@#; s/^  mod_ping:/  mod_bosh: {}\n  mod_ping:/" \
    "$dir/scripts/ejabberd/ejabberd.yml.in"
}

nginx() { # nginx DIR PORT: takes and gives files by WebDAV, under TLS
  mkdir -p "$1/root/dav" "$1/tmp"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1/key.pem" \
    -out "$1/cert.pem" -days 3650 -subj "/CN=$domain" 2>/dev/null
  cat > "$1/nginx.conf" <<CONFIG
user root;
worker_processes 2;
pid $1/nginx.pid;
error_log $1/error.log;
daemon off;
events {}
http {
  access_log off;
  sendfile on;
  server {
    listen 127.0.0.1:$2 ssl;
    ssl_protocols TLSv1.3;
    ssl_certificate $1/cert.pem;
    ssl_certificate_key $1/key.pem;
    root $1/root;
    client_max_body_size 0;
    client_body_temp_path $1/tmp;
    location /dav/ { dav_methods PUT; }
  }
}
CONFIG
  setsid /usr/sbin/nginx -c "$1/nginx.conf" > "$1/out.log" 2>&1 < /dev/null &
  echo $! > "$1/pid"
  until (exec 3<> "/dev/tcp/127.0.0.1/$2") 2>/dev/null; do
    kill -0 "$(cat "$1/pid")" || { cat "$1/error.log" >&2; exit 1; }
    sleep 0.1
  done
}

with_archive() { # with XEP-0313 for everybody
  [ ${#peers[@]} -gt 0 ] || return 0
  own_scripts
  sed -i 's/"register" }/"register", "mam" }/' "$dir/scripts/prosody/prosody.cfg.lua.in"
  sed -i 's/^  mod_offline:/  mod_mam:\n    default: always\n    db_type: sql\n  mod_offline:/' \
    "$dir/scripts/ejabberd/ejabberd.yml.in"
}

stop() {
  local pid file
  for file in "$dir"/*/*/pid; do
    [ -f "$file" ] || continue
    pid=$(cat "$file")
    kill "$pid" 2>/dev/null || true
    # The next one gets its port only when it is gone.
    for second in $(seq 60); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 1
    done
    kill -KILL "$pid" 2>/dev/null || true
    [ "$second" -lt 10 ] || echo "$file: took $second s to stop" >&2
    rm -f "$file"
  done
}

finish() {
  stop
  [ -n "${LOAD_DIR:-}" ] || rm -rf "$dir"
}
trap finish EXIT

failed=0
run() { # run ARGUMENTS: rows against the servers that are up; a row that fails does not end the rest
  "$bench" "${targets[@]}" ${quick[@]+"${quick[@]}"} ${rounds[@]+"${rounds[@]}"} \
    ${sessions[@]+"${sessions[@]}"} --results "$dir/figures.tsv" "$@" || failed=1
}

has() { [[ ",$phases," == *",$1,"* ]]; }

packages
build
target_of() { # target_of DIR PORT: this server alone
  targets=(--target "stonechat=127.0.0.1:$2,web=127.0.0.1:$(($2 + 100)),pid=$(cat "$1/pid"),domain=$domain")
}

if has fresh; then
  start fresh
  run --prepare
  stop
  for security in plain tls; do
    start fresh
    [ $security = tls ] || run --only rss --rounds 1
    run --only "ready-$security" --rounds 1
    stop
  done
  ours "$dir/rooms/stonechat" "$port" false
  target_of "$dir/rooms/stonechat" "$port"
  run --only room-idle --rounds 1
  stop
fi
for group in bare web news durable archive; do
  has $group || continue
  start $group
  floor=()
  [[ $group != bare && $group != news ]] || floor=(--floor)
  run --group $group ${floor[@]+"${floor[@]}"}
  stop
done

grown() { # grown WHO ACCOUNTS: a server whose database was filled with so many, up and running
  local place=$dir/grow-$1/stonechat
  ours "$place" "$port" false
  target_of "$place" "$port"
  run --prepare --sessions 10
  stop
  "$bench" --fill "$place/data/stonechat.db" --filled "$2"
  spawn "$place" "$port"
  target_of "$place" "$port"
}

starts() { # starts NAME WHO: starts over the data of `grown`
  "$bench" ${quick[@]+"${quick[@]}"} --starts "127.0.0.1:$port" --only "start-$1" \
    --results "$dir/figures.tsv" -- "$server" --config "$dir/grow-$2/stonechat/stonechat.toml" serve ||
    failed=1
}

if has web; then
  ours "$dir/files/stonechat" "$port" false
  target_of "$dir/files/stonechat" "$port"
  run --group uploads --rounds 1
  if [ ${#peers[@]} -gt 0 ]; then
    nginx "$dir/files/nginx" "$((port + 101))"
    targets+=(--target "nginx=127.0.0.1:$port,web=127.0.0.1:$((port + 101)),pid=$(cat "$dir/files/nginx/pid"),domain=$domain")
  fi
  run --group files
  stop
fi
if has full; then
  ours "$dir/full/stonechat" "$port" false
  target_of "$dir/full/stonechat" "$port"
  run --group full
  stop
fi
if has grow; then
  many=1000000 crowd=15000
  [ ${#quick[@]} = 0 ] || many=200000 crowd=3000
  grown few 100
  run --group few --filled 100
  stop
  starts few few
  grown many "$many"
  run --group many --filled "$many"
  stop
  starts many many
  grown crowd "$crowd"
  run --group crowd --rounds 1
  stop
fi
if has fair; then
  start fair
  run --group fair --rounds 1
  stop
  ours "$dir/slow/stonechat" "$port" false
  target_of "$dir/slow/stonechat" "$port"
  run --group slow --rounds 1
  stop
  ours "$dir/limits/stonechat" "$port" false limits
  target_of "$dir/limits/stonechat" "$port"
  run --group limits --rounds 1
  stop
fi

if has overload; then # without archives and with them; and with the limits that a server has by default
  for archive in false true; do
    ours "$dir/overload-$archive/stonechat" "$port" "$archive"
    target_of "$dir/overload-$archive/stonechat" "$port"
    run --group overload --rounds 1
    stop
  done
  ours "$dir/overload-limits/stonechat" "$port" true limits
  target_of "$dir/overload-limits/stonechat" "$port"
  run --group overload-limits --rounds 1
  stop
fi

table() {
  echo "$(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs), $(nproc) cores, Linux $(uname -r)," \
    "$(date +%F), $(git describe --always --dirty 2>/dev/null || true)"
  echo
  "$bench" --table "$dir/figures.tsv"
}
table
[ -z "$out" ] || table > "$out"
exit $failed

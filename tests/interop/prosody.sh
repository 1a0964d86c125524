#!/bin/sh
# prosody.sh DIR [PORT]: a throw-away Prosody on 127.0.0.1 to hold transcripts and scripts against.
# c2s on PORT (15322), direct TLS on PORT+1, domain prosody.localhost with rooms at conference., CA in DIR/ca.pem, anyone may register.
# Prints its process id; stop it with: kill $(cat DIR/pid)
# STONECHAT_TEST_SUBJECT=127.0.0.1:15322 STONECHAT_TEST_DOMAIN=prosody.localhost STONECHAT_TEST_TLS=127.0.0.1:15323 \
#   STONECHAT_TEST_CA=DIR/ca.pem cargo test --test features -- transcripts --nocapture
set -e
[ -n "$1" ] || { echo "usage: prosody.sh DIR [PORT]" >&2; exit 2; }
mkdir -p "$1/data"; dir=$(cd "$1" && pwd); port=${2:-15322}; domain=prosody.localhost
if [ ! -f "$dir/ca.pem" ]; then
  # rustls refuses a CA as a server certificate, so there are two.
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
    -keyout "$dir/ca.key" -out "$dir/ca.pem" -subj "/CN=Test CA" 2>/dev/null
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
    -keyout "$dir/key.pem" -out "$dir/csr.pem" -subj "/CN=$domain" 2>/dev/null
  printf 'subjectAltName=DNS:%s,DNS:*.%s\nbasicConstraints=CA:FALSE\n' $domain $domain > "$dir/ext"
  openssl x509 -req -in "$dir/csr.pem" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial \
    -days 3650 -extfile "$dir/ext" -out "$dir/cert.pem" 2>/dev/null
fi
cat > "$dir/prosody.cfg.lua" <<LUA
run_as_root = true
daemonize = false
pidfile = "$dir/prosody.pid"
data_path = "$dir/data"
certificates = "$dir"
interfaces = { "127.0.0.1" }
c2s_ports = { $port }
c2s_direct_tls_ports = { $((port + 1)) }
c2s_direct_tls_ssl = { certificate = "$dir/cert.pem", key = "$dir/key.pem" }
s2s_ports = {}
http_ports = {}
https_ports = {}
modules_enabled = { "roster", "saslauth", "tls", "disco", "ping", "smacks", "register", "offline", "time",
  "version", "lastactivity", "uptime", "carbons", "private", "vcard_legacy", "vcard4", "blocklist", "pep",
  "bookmarks", "mam", "csi_simple", "adhoc", "admin_adhoc", "announce", "server_contact_info", "invites",
  "invites_adhoc", "invites_register", "cloud_notify" } -- the last is of Debian's prosody-modules
modules_disabled = { "s2s", "posix" }
allow_registration = true
registration_invite_only = false
contact_info = { abuse = { "mailto:abuse@shakespeare.lit", "xmpp:abuse@shakespeare.lit" } }
authentication = "internal_hashed"
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
storage = "internal"
archive_store = "archive"
storage_mam = "memory"
log = { error = "$dir/error.log", info = "$dir/info.log" }
ssl = { certificate = "$dir/cert.pem", key = "$dir/key.pem" }
VirtualHost "$domain"
Component "conference.$domain" "muc"
  modules_enabled = { "muc_mam", "muc_moderation" } -- the latter is of prosody-modules, too
LUA
setsid nohup prosody --config "$dir/prosody.cfg.lua" -F > "$dir/out.log" 2>&1 < /dev/null &
pid=$!
echo $pid > "$dir/pid"
n=0
until python3 -c "import socket;socket.create_connection(('127.0.0.1',$port),1)" 2>/dev/null; do
  n=$((n+1)); [ $n -lt 60 ] && kill -0 $pid 2>/dev/null || { cat "$dir/out.log" >&2; exit 1; }
  sleep 0.25
done
echo $pid

#!/bin/sh
# run.sh BINARY: real clients against a fresh `BINARY lab`.
# run.sh --ready FILE: against a server that runs already; FILE has the shape of the lab's ready line,
# and the server has the accounts alice, bob and carol, password "secret".
# The clients are Python libraries, installed into target/interop-venv on the first run.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=${INTEROP_VENV:-$root/target/interop-venv}
work=$(mktemp -d)
pid=
finish() {
  [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT INT TERM

case ${1:-} in
  --ready) ready=$2 ;;
  '') echo "usage: run.sh BINARY | run.sh --ready FILE" >&2; exit 2 ;;
  *)
    ready=$work/ready.json
    mkfifo "$work/out"
    # Rooms that nobody configures are for all here: the clients make such.
    "$1" lab --domain localhost --set sasl.iterations=4096 --set modules.muc.preset=public \
      --user alice@localhost:secret --user bob@localhost:secret \
      --user carol@localhost:secret > "$work/out" 2> "$work/log" &
    pid=$!
    exec 3< "$work/out"
    if ! IFS= read -r line <&3; then
      cat "$work/log" >&2
      echo "the lab did not start" >&2
      exit 1
    fi
    printf '%s\n' "$line" > "$ready"
    ;;
esac

if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
  cp "$here/requirements.txt" "$venv/requirements.txt"
fi

started=$(date +%s)
failed=0
for script in slix.py slixperson.py slixrooms.py slixupload.py slixomemo.py aio.py terminal.py gosend.py prom.py; do
  "$venv/bin/python" -W ignore "$here/$script" "$ready" || failed=1
done
# The operator's API needs the command that makes tokens.
"$venv/bin/python" -W ignore "$here/api.py" "$ready" ${1#--ready} || failed=1
# Gajim's library, as Debian has it and the newest. Both need the system's PyGObject, which pip would have to compile.
for script in nbx.py nbxrooms.py; do
  /usr/bin/python3 -W ignore "$here/$script" "$ready" || failed=1
done
nbxmpp=$root/target/interop-nbxmpp-7.4.0
if ! /usr/bin/python3 -c 'import gi' 2> /dev/null; then
  echo "skipped the newest nbxmpp: needs python3-gi"
else
  [ -f "$nbxmpp/installed" ] || {
    rm -rf "$nbxmpp"
    /usr/bin/python3 -m venv --system-site-packages "$nbxmpp"
    "$nbxmpp/bin/pip" install --quiet --disable-pip-version-check --ignore-installed --no-deps \
      nbxmpp==7.4.0 idna precis-i18n packaging
    touch "$nbxmpp/installed"
  }
  for script in nbx.py nbxrooms.py; do
    "$nbxmpp/bin/python" -W ignore "$here/$script" "$ready" || failed=1
  done
fi
# Clients of the npm registry, where there is one: SASL2, Bind 2 and tokens over TCP; WebSocket and BOSH.
modules=$root/target/interop-node
if ! node -e 'process.exit(process.versions.node.split(".")[0] >= 20 ? 0 : 1)' 2> /dev/null; then
  echo "skipped: the clients in JavaScript need Node.js 20"
elif ! cmp -s "$here/package.json" "$modules/installed.json" && ! {
  mkdir -p "$modules" && cp "$here/package.json" "$modules/package.json" &&
    npm install --prefix "$modules" --silent --no-audit --no-fund --fetch-retries=1 --fetch-timeout=20000 > /dev/null &&
    cp "$here/package.json" "$modules/installed.json"
}; then
  echo "skipped: the clients in JavaScript could not be installed"
else
  # Modules are looked for beside the script.
  cp "$here"/*.mjs "$modules/"
  ca=$("$venv/bin/python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["ca"])' "$ready")
  NODE_EXTRA_CA_CERTS=$ca node "$modules/xmppjs.mjs" "$ready" || failed=1
  # These begin with accounts that have nothing: a lab each.
  for script in xmppjsweb.mjs strophe.mjs stanza.mjs; do
    [ -n "$pid" ] || break
    rm -f "$work/out2"
    mkfifo "$work/out2"
    "$1" lab --domain localhost --set sasl.iterations=4096 --set modules.muc.preset=public \
      --user alice@localhost:secret --user bob@localhost:secret \
      --user carol@localhost:secret > "$work/out2" 2>> "$work/log" &
    own=$!
    exec 4< "$work/out2"
    IFS= read -r line <&4
    printf '%s\n' "$line" > "$work/own.json"
    ca=$("$venv/bin/python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["ca"])' "$work/own.json")
    NODE_EXTRA_CA_CERTS=$ca node "$modules/$script" "$work/own.json" || failed=1
    kill "$own"
    wait "$own" || true
    exec 4<&-
  done
fi
if [ -n "$pid" ]; then
  # These end and start servers of their own.
  "$venv/bin/python" -W ignore "$here/resume.py" "$1" || failed=1
  "$venv/bin/python" -W ignore "$here/turn.py" "$1" || failed=1
  # Certificates, from a real authority for tests.
  "$venv/bin/python" -W ignore "$here/acme.py" "$1" || failed=1
  # Components: slixmpp's, Debian's and the newest, and a bridge to IRC.
  "$venv/bin/python" -W ignore "$here/component.py" "$1" || failed=1
  /usr/bin/python3 -W ignore "$here/component.py" "$1" || failed=1
  "$venv/bin/python" -W ignore "$here/biboumi.py" "$1" || failed=1
  # A gateway that uses privileges. Its test network is in the source of Slidge alone.
  slidge=$root/target/interop-slidge-0.4.2
  if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "skipped Slidge: needs Python 3.11"
  else
    [ -f "$slidge/installed" ] || {
      rm -rf "$slidge"
      python3 -m venv "$slidge"
      "$slidge/bin/pip" install --quiet --disable-pip-version-check slidge==0.4.2
      "$slidge/bin/pip" download --quiet --disable-pip-version-check --no-deps --no-binary :all: --dest "$slidge" slidge==0.4.2
      tar xzf "$slidge/slidge-0.4.2.tar.gz" -C "$slidge"
      # Beside its pictures it needs nothing of the rest; the library is the installed one.
      mkdir "$slidge/network"
      mv "$slidge/slidge-0.4.2/superduper" "$slidge/network/"
      mv "$slidge/slidge-0.4.2/dev/assets" "$slidge/network/superduper/"
      rm -r "$slidge/slidge-0.4.2"
      touch "$slidge/installed"
    }
    "$venv/bin/python" -W ignore "$here/slidge.py" "$1" "$slidge/bin/slidge" "$slidge/network" || failed=1
  fi
  # An S3-compatible server; apart from the others, as it needs many packages of its own.
  moto=$root/target/interop-moto-5.2.5
  [ -f "$moto/installed" ] || {
    rm -rf "$moto"
    python3 -m venv "$moto"
    "$moto/bin/pip" install --quiet --disable-pip-version-check 'moto[server]==5.2.5'
    touch "$moto/installed"
  }
  "$venv/bin/python" -W ignore "$here/s3.py" "$1" "$moto/bin/moto_server" || failed=1
  # In a browser. Chromium is Debian's; what Converse.js consists of is one package, without those it was built from.
  converse=$root/target/interop-converse-14.0.0
  chromium=$(command -v chromium || command -v chromium-browser || true)
  if [ ! -f "$modules/converse.mjs" ] || [ -z "$chromium" ] || ! command -v certutil > /dev/null; then
    echo "skipped Converse.js: needs Node.js 20, Chromium and certutil"
  elif [ ! -d "$converse/package/dist" ] && ! {
    mkdir -p "$converse" && (cd "$converse" && npm pack --silent converse.js@14.0.0 > /dev/null && tar xzf ./*.tgz && rm ./*.tgz)
  }; then
    echo "skipped: Converse.js could not be fetched"
  else
    CHROMIUM=$chromium node "$modules/converse.mjs" "$1" "$converse/package/dist" || failed=1
  fi
  # The versions that people have: 1.8.3 is Debian 12's, from its package too where it is installed.
  pythons="$venv/bin/python"
  for version in 1.8.3 1.8.6 1.10.0; do
    old=$root/target/interop-slixmpp-$version
    [ -f "$old/installed" ] || {
      rm -rf "$old"
      python3 -m venv "$old"
      "$old/bin/pip" install --quiet --disable-pip-version-check "slixmpp==$version"
      touch "$old/installed"
    }
    pythons="$pythons $old/bin/python"
  done
  ! /usr/bin/python3 -c 'import slixmpp' 2> /dev/null || pythons="$pythons /usr/bin/python3"
  # shellcheck disable=SC2086 # one word each
  "$venv/bin/python" -W ignore "$here/oldslix.py" "$1" $pythons || failed=1
fi
echo "interop took $(($(date +%s) - started)) s"
if [ "$failed" != 0 ] && [ -f "$work/log" ]; then
  echo "-- the server's log, the last of it:" >&2
  tail -n 40 "$work/log" >&2
fi
exit "$failed"

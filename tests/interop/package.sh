#!/usr/bin/env bash
# package.sh BINARY [ROOT.tar]: the Debian package in a root of its own that has nothing of this machine: it installs,
# its unit is tight, it serves as its own user, an upgrade keeps the data, and a purge leaves nothing. By hand, as root;
# needs debootstrap, dpkg-dev, debhelper and iproute2. ROOT.tar keeps the bare system for the next time.
set -euo pipefail
binary=$(realpath "$1")
kept=${2:-}
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
root=$work/root
server=
end() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  rm -rf "$work"
}
trap end EXIT
fail() {
  echo "FAILED $*" >&2
  exit 1
}
ok() { echo "ok     $*"; }
inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"; }

if [ -n "$kept" ] && [ -f "$kept" ]; then
  mkdir "$root" && tar -xf "$kept" -C "$root"
else
  debootstrap --variant=minbase --include=ca-certificates,adduser bookworm "$root" http://deb.debian.org/debian >"$work/log" \
    || { tail -20 "$work/log" >&2; fail "debootstrap"; }
  [ -z "$kept" ] || tar -cf "$kept" -C "$root" .
fi

packaging/deb.sh "$binary" "$work/deb" >/dev/null
cp "$work"/deb/*.deb "$root/first.deb"
inside dpkg -i /first.deb >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "the package does not install"; }
ok "installs"

exposure=$(systemd-analyze security --offline=yes --root="$root" stonechat.service 2>/dev/null | sed -n 's/.*exposure level for [^:]*: \([0-9.]*\).*/\1/p')
awk -v it="$exposure" 'BEGIN { exit !(it != "" && it < 2.0) }' || fail "systemd-analyze security says '$exposure', not below 2.0"
ok "the unit: exposure $exposure"
grep -q '^User=stonechat' "$root/lib/systemd/system/stonechat.service" || fail "the unit has no user"
! grep -q '^DynamicUser' "$root/lib/systemd/system/stonechat.service" || fail "the unit has a user for a while only"
[ "$(stat -c '%a %u' "$root/var/lib/stonechat")" = "700 $(inside id -u stonechat)" ] || fail "the data folder is open to others"
[ "$(stat -c %a "$root/etc/stonechat/stonechat.toml")" = 640 ] || fail "the configuration is open to others"
for file in usr/share/man/man1/stonechat.1.gz usr/share/bash-completion/completions/stonechat; do
  [ -f "$root/$file" ] || fail "$file is not there"
done

# As its unit starts it, on a network of its own.
begin() {
  unshare -n sh -c 'ip link set lo up && exec "$@"' sh chroot --userspec=stonechat:stonechat "$root" env -i PATH=/usr/bin:/bin \
    STONECHAT_DATA_DIR=/var/lib/stonechat sh -c 'cd /var/lib/stonechat && exec /usr/bin/stonechat serve' >"$work/server.log" 2>&1 &
  server=$!
  for _ in $(seq 300); do
    if grep -q 'serves localhost' "$work/server.log"; then return; fi
    kill -0 "$server" 2>/dev/null || { cat "$work/server.log" >&2; fail "the server ended"; }
    sleep 0.1
  done
  fail "the server did not start"
}
finish() {
  kill -TERM "$server"
  wait "$server" || fail "the server did not end with 0"
  server=
}
stonechat() { chroot --userspec=stonechat:stonechat "$root" env -i PATH=/usr/bin STONECHAT_DATA_DIR=/var/lib/stonechat stonechat "$@"; }

begin
echo "pencil and paper" | stonechat user add alice@localhost --password-stdin >/dev/null
stonechat user list | grep -q alice@localhost || fail "no account"
finish
ok "serves as its own user"

echo '# mine' >> "$root/etc/stonechat/stonechat.toml"
STONECHAT_DEB_REVISION=+upgraded packaging/deb.sh "$binary" "$work/deb2" >/dev/null
cp "$work"/deb2/*.deb "$root/second.deb"
inside dpkg --force-confold -i /second.deb >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "the package does not upgrade"; }
inside dpkg -s stonechat | grep -q '^Version: .*+upgraded' || fail "it is the old one"
grep -q '^# mine' "$root/etc/stonechat/stonechat.toml" || fail "the upgrade lost the configuration"
begin
stonechat user list | grep -q alice@localhost || fail "the upgrade lost an account"
finish
ok "upgrades, and keeps configuration and data"

inside dpkg -r stonechat >/dev/null 2>&1
[ -f "$root/var/lib/stonechat/stonechat.db" ] || fail "removing the package took the data"
inside dpkg -P stonechat >/dev/null 2>&1
left=$(cd "$root" && find etc var usr lib -path '*stonechat*' ! -path 'var/lib/dpkg/*' ! -path 'var/log/*' ! -path 'var/cache/*' | head)
[ -z "$left" ] || fail "a purge leaves: $left"
ok "purges cleanly"

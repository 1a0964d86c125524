#!/usr/bin/env bash
# deb.sh BINARY [FOLDER]: makes a Debian package of a built binary, in FOLDER (else target/deb). Needs dpkg-dev and
# debhelper. Built twice from the same binary and commit it is the same, byte for byte.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$(realpath "$1")
into=$(realpath -m "${2:-target/deb}")

# The time of the commit stands for that of the build (https://reproducible-builds.org/specs/source-date-epoch/).
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.toml)}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)${STONECHAT_DEB_REVISION:-}

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir "$tree/stonechat"
cp -r packaging/debian "$tree/stonechat/debian"
cp -r docs CHANGELOG.md LICENSE "$tree/stonechat/"
install -m 755 "$binary" "$tree/stonechat/stonechat"
install -m 644 config/stonechat.toml "$tree/stonechat/stonechat.toml"

# The package has a user of its own, whose files outlive it, and its binary elsewhere.
sed -e 's,/usr/local/bin/,/usr/bin/,' -e '/^DynamicUser=/d' \
  -e 's,^# The user exists only while the server runs.*,# The package made the user; the data folder is its own.,' \
  -e '/copy to \/etc\/systemd/d' -e '/systemctl daemon-reload/d' \
  config/stonechat.service > "$tree/stonechat/debian/stonechat.service"
cat > "$tree/stonechat/debian/changelog" <<CHANGELOG
stonechat ($version) unstable; urgency=medium

  * See /usr/share/doc/stonechat/CHANGELOG.md.

 -- The Stonechat maintainers <maintainers@stonechat.example>  $(date -R -u -d "@$SOURCE_DATE_EPOCH")
CHANGELOG
cp CHANGELOG.md LICENSE "$tree/stonechat/docs/"

(cd "$tree/stonechat" && dpkg-buildpackage --build=binary --no-sign --no-check-builddeps >"$tree/log" 2>&1) || {
  cat "$tree/log" >&2
  exit 1
}
mkdir -p "$into"
mv "$tree"/*.deb "$into/"
ls "$into"/*.deb

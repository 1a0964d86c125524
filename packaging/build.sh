#!/usr/bin/env bash
# build.sh: the release binary, the same for the same commit and toolchain wherever it is built.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_INCREMENTAL=0
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.toml)}
# Folders of the machine that builds are in no panic message and no debug information.
home=${CARGO_HOME:-$HOME/.cargo}
export RUSTFLAGS="--remap-path-prefix=$PWD=/stonechat --remap-path-prefix=$home=/cargo ${RUSTFLAGS:-}"
export CFLAGS="-ffile-prefix-map=$PWD=/stonechat -ffile-prefix-map=$home=/cargo ${CFLAGS:-}"
cargo build --release --locked

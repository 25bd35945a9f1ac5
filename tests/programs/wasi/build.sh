#!/bin/sh
# Builds the programs beside this script: NAME.wasm with zig's clang and wasi-libc (ZIG names the compiler's command), and the one
# for WasmEdge with cargo and its target wasm32-wasip1.
set -eu
cd "$(dirname "$0")"
for name in echo http fileops; do
    ${ZIG:-zig} cc --target=wasm32-wasi -O2 -s -Wall -Wextra -Wl,-z,stack-size=1048576 -o "$name.wasm" "$name.c"
done
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
CARGO_TARGET_DIR="$build" cargo build --release --target wasm32-wasip1 --manifest-path wasmedge/Cargo.toml
cp "$build/wasm32-wasip1/release/wasmedge.wasm" wasmedge.wasm
chmod 644 wasmedge.wasm

#!/bin/sh
# Builds the programs beside this script: NAME.wasm with zig's clang and wasi-libc. ZIG names the compiler's command.
set -eu
cd "$(dirname "$0")"
for name in echo http fileops; do
    ${ZIG:-zig} cc --target=wasm32-wasi -O2 -s -Wall -Wextra -Wl,-z,stack-size=1048576 -o "$name.wasm" "$name.c"
done

#!/bin/sh
# Builds threads-c.wasm. $ZIG is a zig 0.17 executable; rustc needs its target wasm32-wasip1-threads.
set -eu
libc="$(rustc --print sysroot)/lib/rustlib/wasm32-wasip1-threads/lib/self-contained"
lld="$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/rust-lld"
wasi="$("$ZIG" env | sed -n 's/.*lib_dir *[=:] *"\(.*\)".*/\1/p')/libc"
"$ZIG" cc -c -O2 -target wasm32-wasi -mcpu=baseline+atomics+bulk_memory+mutable_globals -pthread -D_REENTRANT \
  -fno-sanitize=all -I "$wasi/include/wasm-wasi-musl" main.c -o main.o
"$lld" -flavor wasm --shared-memory --import-memory --export-memory --max-memory=67108864 --export=wasi_thread_start --strip-all \
  "$libc/crt1-command.o" main.o -L "$libc" -lc -o threads-c.wasm
rm main.o

#!/bin/sh
# Requests a second of the two servers, built natively and under wasmc, side by side: load.sh [SECONDS] [CONNECTIONS].
# Needs cc and wrk; WASMC names the wasmc to measure.
set -eu
seconds=${1:-30}
connections=${2:-1000}
here=$(cd "$(dirname "$0")" && pwd)
wasmc=${WASMC:-$here/../../../target/release/wasmc}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ulimit -n 8192 || true
head -c 4096 /dev/urandom > "$work/index.html"
cd "$work"
port=7300
load() {
    sleep 0.5
    case $1 in
    echo) wrk -t1 -c"$connections" -d"$seconds" -s "$here/echo.lua" "http://127.0.0.1:$port/" ;;
    http) wrk -t1 -c"$connections" -d"$seconds" -H 'Connection: keep-alive' "http://127.0.0.1:$port/" ;;
    esac | grep -E 'Requests/sec|Socket errors|Non-2xx' | sed "s/^ */$1 $2: /"
    kill "$server"
    wait "$server" 2>/dev/null || true
}
for name in echo http; do
    cc -O2 -o "$name" "$here/$name.c"
    "$wasmc" compile -q -o "$name.so" "$here/$name.wasm"
    port=$((port + 1))
    "./$name" "$port" & server=$!
    load "$name" native
    port=$((port + 1))
    "$wasmc" run --dir . --tcplisten "127.0.0.1:$port" "$name.so" & server=$!
    load "$name" wasmc
done

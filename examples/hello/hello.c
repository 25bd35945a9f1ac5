// Says hello: the smallest program that reaches the host. docs/tracing.md shows how.
//
// Built with: zig cc -g -target wasm32-wasi -Os hello.c -o hello.wasm, then without its debug information but for the names.
#include <stdio.h>

int main(void) {
    puts("Hello from WebAssembly!");
    return 0;
}

/* A storm of shallow errors: three million protected calls, two of three fail a few frames below. */
#include "protect.h"

struct request {
  uint32_t key, value;
};

static uint32_t table[4096];

__attribute__((noinline)) static uint32_t check(uint32_t key) {
  if (key % 3 != 0) raise_error(1 + (int)(key % 7));
  return key / 3;
}

__attribute__((noinline)) static uint32_t lookup(struct request *r) { return table[check(r->key) & 4095] + 1; }

static void serve(void *arg) {
  struct request *r = arg;
  r->value = lookup(r);
  table[r->value & 4095] += r->key;
}

int main(void) {
  uint32_t errors = 0, state = 12345, values = 0;
  for (uint32_t i = 0; i < 3000000; i++) {
    state = state * 1664525u + 1013904223u;
    struct request r = {state >> 8, 0};
    errors += (uint32_t)protected_call(serve, &r);
    values ^= r.value;
  }
  printf("storm %u %u\n", errors, values);
  return 0;
}

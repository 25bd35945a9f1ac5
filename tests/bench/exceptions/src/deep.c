/* Errors raised at the bottom of deep recursion: 1,000 times through 20,000 frames. Each frame knows the one above it, so
   that no compiler can make a loop of the recursion. */
#include "protect.h"

struct frame {
  const struct frame *above;
  uint32_t value;
};

static uint32_t sum;

__attribute__((noinline)) static uint32_t descend(const struct frame *above, uint32_t n) {
  struct frame f = {above, above->value * 1664525u + n};
  if (n == 0) {
    for (int i = 0; i < 8; i++) above = above->above;
    raise_error(1 + (int)(above->value % 1000));
  }
  return descend(&f, n - 1) ^ f.value;
}

static void body(void *arg) { sum += descend(arg, 20000); }

int main(void) {
  uint32_t codes = 0;
  for (uint32_t i = 0; i < 1000; i++) {
    struct frame f = {0, i};
    codes = codes * 31 + (uint32_t)protected_call(body, &f);
  }
  printf("deep %u %u\n", codes, sum);
  return 0;
}

/* Protected calls in protected calls: each level catches the error of the level below, cleans up, and raises it again. */
#include "protect.h"

struct level {
  uint32_t n;
  uint32_t *cleaned;
};

static void body(void *arg) {
  struct level *l = arg;
  if (l->n == 0) raise_error(7);
  struct level below = {l->n - 1, l->cleaned};
  int code = protected_call(body, &below);
  *l->cleaned += l->n;
  if (code) raise_error(code + 1);
}

int main(void) {
  uint32_t cleaned = 0, codes = 0;
  for (uint32_t i = 0; i < 30000; i++) {
    struct level l = {60 + i % 5, &cleaned};
    codes += (uint32_t)protected_call(body, &l);
  }
  printf("nested %u %u\n", codes, cleaned);
  return 0;
}

/* A small interpreter of expressions whose programs recurse without end. Its own limit on nested calls raises the error,
   inside protected calls, again and again: what the test suite of a scripting language does. */
#include "protect.h"

enum { LIMIT = 15000 };
enum op { CONST, ARG, ADD, SUB, MUL, LESS, IF, CALL };

struct node {
  enum op op;
  int32_t value;
  struct node *a, *b, *c;
};

static int depth;
static uint64_t steps;

__attribute__((noinline)) static int32_t eval(const struct node *n, int32_t arg, const struct node *self) {
  steps++;
  switch (n->op) {
  case CONST: return n->value;
  case ARG: return arg;
  case ADD: return (int32_t)((uint32_t)eval(n->a, arg, self) + (uint32_t)eval(n->b, arg, self));
  case SUB: return (int32_t)((uint32_t)eval(n->a, arg, self) - (uint32_t)eval(n->b, arg, self));
  case MUL: return (int32_t)((uint32_t)eval(n->a, arg, self) * (uint32_t)eval(n->b, arg, self));
  case LESS: return eval(n->a, arg, self) < eval(n->b, arg, self);
  case IF: return eval(n->a, arg, self) ? eval(n->b, arg, self) : eval(n->c, arg, self);
  case CALL: {
    int32_t value = eval(n->a, arg, self);
    if (++depth > LIMIT) raise_error(2);
    int32_t result = eval(self, value, self);
    depth--;
    return result;
  }
  }
  raise_error(3);
}

static struct node nodes[64];
static int used;

static struct node *make(enum op op, int32_t value, struct node *a, struct node *b, struct node *c) {
  struct node *n = &nodes[used++];
  *n = (struct node){op, value, a, b, c};
  return n;
}

struct run {
  const struct node *program;
  int32_t arg, result;
};

static void body(void *arg) {
  struct run *r = arg;
  r->result = eval(r->program, r->arg, r->program);
}

int main(void) {
  struct node *x = make(ARG, 0, 0, 0, 0), *one = make(CONST, 1, 0, 0, 0), *two = make(CONST, 2, 0, 0, 0);
  /* forever(x) = 1 + forever(x + 1) */
  struct node *forever = make(ADD, 0, one, make(CALL, 0, make(ADD, 0, x, one, 0), 0, 0), 0);
  /* fib(x) = x < 2 ? x : fib(x - 1) + fib(x - 2) */
  struct node *fib = make(IF, 0, make(LESS, 0, x, two, 0), x,
                          make(ADD, 0, make(CALL, 0, make(SUB, 0, x, one, 0), 0, 0), make(CALL, 0, make(SUB, 0, x, two, 0), 0, 0), 0));
  uint32_t overflows = 0, results = 0;
  for (int i = 0; i < 600; i++) {
    struct run r = {forever, i, 0};
    depth = 0;
    overflows += protected_call(body, &r) == 2;
    r = (struct run){fib, 12, 0};
    depth = 0;
    if (protected_call(body, &r) == 0) results += (uint32_t)r.result;
  }
  printf("overflow %u %u %llu\n", overflows, results, (unsigned long long)steps);
  return 0;
}

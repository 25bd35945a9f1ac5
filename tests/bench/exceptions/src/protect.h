/* Protected calls, as interpreters written in C have them: an error leaves all frames up to the innermost protected call. */
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct protect {
  struct protect *outer;
  jmp_buf env;
  volatile int code;
};

static struct protect *innermost;

__attribute__((noinline, noreturn)) static void raise_error(int code) {
  if (!innermost) {
    printf("unprotected error %d\n", code);
    exit(1);
  }
  innermost->code = code;
  longjmp(innermost->env, 1);
}

/* Calls f(arg); returns the code of the error that left it, or 0. */
__attribute__((noinline)) static int protected_call(void (*f)(void *), void *arg) {
  struct protect p;
  p.outer = innermost;
  p.code = 0;
  innermost = &p;
  if (setjmp(p.env) == 0) f(arg);
  innermost = p.outer;
  return p.code;
}

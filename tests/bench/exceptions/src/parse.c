/* A recursive-descent parser and evaluator over random text: most inputs are wrong, and errors leave it from any depth. */
#include "protect.h"
#include <string.h>

static const char *at;
static uint32_t state = 99;

static uint32_t next(void) { return (state = state * 1664525u + 1013904223u) >> 10; }

static int32_t sum(int nesting);

__attribute__((noinline)) static int32_t primary(int nesting) {
  if (nesting > 200) raise_error(1);
  if (*at == '(') {
    at++;
    int32_t value = sum(nesting + 1);
    if (*at != ')') raise_error(2);
    at++;
    return value;
  }
  if (*at == '-') {
    at++;
    return (int32_t)(0u - (uint32_t)primary(nesting + 1));
  }
  if (*at < '0' || *at > '9') raise_error(3);
  uint32_t value = 0;
  while (*at >= '0' && *at <= '9') value = value * 10 + (uint32_t)(*at++ - '0');
  return (int32_t)value;
}

__attribute__((noinline)) static int32_t product(int nesting) {
  uint32_t value = (uint32_t)primary(nesting);
  while (*at == '*' || *at == '/') {
    char op = *at++;
    uint32_t right = (uint32_t)primary(nesting);
    if (op == '/' && right == 0) raise_error(4);
    value = op == '*' ? value * right : value / right;
  }
  return (int32_t)value;
}

__attribute__((noinline)) static int32_t sum(int nesting) {
  uint32_t value = (uint32_t)product(nesting);
  while (*at == '+' || *at == '-') {
    char op = *at++;
    uint32_t right = (uint32_t)product(nesting);
    value = op == '+' ? value + right : value - right;
  }
  return (int32_t)value;
}

static void body(void *arg) {
  *(int32_t *)arg = sum(0);
  if (*at) raise_error(5);
}

int main(void) {
  static const char letters[] = "((((1234567890123456789+-*/)-(";
  char text[128];
  uint32_t codes[6] = {0}, values = 0;
  for (int i = 0; i < 1500000; i++) {
    uint32_t length = 1 + next() % 40;
    for (uint32_t k = 0; k < length; k++) text[k] = letters[next() % (sizeof letters - 1)];
    text[length] = 0;
    at = text;
    int32_t value = 0;
    codes[protected_call(body, &value)]++;
    values = values * 31 + (uint32_t)value;
  }
  printf("parse %u: %u %u %u %u %u %u\n", values, codes[0], codes[1], codes[2], codes[3], codes[4], codes[5]);
  return 0;
}

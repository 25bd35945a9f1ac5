// What the examples share: an engine of the tier that the environment variable TIER names, and modules from text.

#ifndef COMMON_H
#define COMMON_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <wasmc.h>

// Ends the example with the last error.
static inline void fail(const char* what) {
  wasm_message_t message;
  wasmc_last_error_message(&message);
  fprintf(stderr, "%s failed (code %d): %s\n", what, (int)wasmc_last_error_code(), message.data);
  exit(1);
}

static inline void check(bool ok, const char* what) {
  if (!ok) fail(what);
}

static inline wasm_config_t* example_config(void) {
  wasm_config_t* config = wasm_config_new();
  const char* tier = getenv("TIER");
  wasmc_tier_t number = WASMC_COMPILED;
  if (tier && strcmp(tier, "interpreted") == 0) number = WASMC_INTERPRETED;
  if (tier && strcmp(tier, "auto") == 0) number = WASMC_AUTO;
  check(wasmc_config_set_tier(config, number), "choosing the tier");
  return config;
}

static inline wasm_engine_t* example_engine(void) {
  wasm_engine_t* engine = wasm_engine_new_with_config(example_config());
  if (!engine) fail("making the engine");
  return engine;
}

static inline void example_binary(const char* text, wasm_byte_vec_t* binary) {
  wasm_byte_vec_t wat = {strlen(text), (char*)text};
  check(wasmc_wat2wasm(&wat, binary), "translating the text");
}

static inline wasm_module_t* example_module(wasm_store_t* store, const char* text) {
  wasm_byte_vec_t binary;
  example_binary(text, &binary);
  wasm_module_t* module = wasm_module_new(store, &binary);
  wasm_byte_vec_delete(&binary);
  if (!module) fail("making the module");
  return module;
}

// An instance with imports, in the order of the module. The imports stay the caller's.
static inline wasm_instance_t* example_instance(wasm_store_t* store, const wasm_module_t* module, size_t count, wasm_extern_t* imports[]) {
  wasm_extern_vec_t list = {count, imports};
  wasm_trap_t* trap = NULL;
  wasm_instance_t* instance = wasm_instance_new(store, module, &list, &trap);
  if (!instance) fail("instantiating");
  return instance;
}

static inline void print_trap(const wasm_trap_t* trap) {
  wasm_message_t message;
  wasm_trap_message(trap, &message);
  printf("trap: %s\n", message.data);
  wasm_byte_vec_delete(&message);
}

static inline void no_trap(wasm_trap_t* trap) {
  if (!trap) return;
  print_trap(trap);
  exit(1);
}

// Calls a function of i32s with at most one result.
static inline int32_t call_i32(const wasm_func_t* func, size_t count, const int32_t args[]) {
  wasm_val_t values[8], result = WASM_INIT_VAL;
  for (size_t i = 0; i < count; ++i) {
    values[i].kind = WASM_I32;
    values[i].of.i32 = args[i];
  }
  wasm_val_vec_t given = {count, values};
  wasm_val_vec_t taken = {wasm_func_result_arity(func), &result};
  no_trap(wasm_func_call(func, &given, &taken));
  return result.of.i32;
}

// An exported function; it is the caller's.
static inline wasm_func_t* export_func(const wasm_instance_t* instance, const char* name) {
  wasm_extern_t* item = wasmc_instance_export(instance, name);
  if (!item) fail("finding an export");
  return wasm_extern_as_func(item);
}

#endif

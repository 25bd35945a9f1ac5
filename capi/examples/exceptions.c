// Exceptions through C: one that a call ends with is a trap for C, and an exception again for the WebAssembly that C returns it to.

#include "common.h"

struct again {
  wasm_func_t* func;
  bool swallow;
};

// Calls WebAssembly, and returns what it ended with.
static wasm_trap_t* again(void* env, const wasm_val_vec_t* args, wasm_val_vec_t* results) {
  struct again* again = env;
  wasm_val_vec_t none = WASM_EMPTY_VEC;
  wasm_trap_t* trap = wasm_func_call(again->func, args, &none);
  results->data[0] = (wasm_val_t)WASM_I32_VAL(-1);
  if (trap && again->swallow) {
    wasm_trap_delete(trap);
    trap = NULL;
  }
  return trap;
}

static void call(const wasm_func_t* func, int32_t arg) {
  wasm_val_t value = WASM_I32_VAL(arg), result = WASM_INIT_VAL;
  wasm_val_vec_t given = {1, &value}, taken = {1, &result};
  wasm_trap_t* trap = wasm_func_call(func, &given, &taken);
  if (trap) {
    print_trap(trap);
    printf("code %d, exit code %" PRId32 "\n", wasmc_trap_code(trap), wasmc_trap_exit_code(trap));
    wasm_trap_delete(trap);
  } else {
    printf("%" PRId32 "\n", result.of.i32);
  }
}

int main(void) {
  wasm_engine_t* engine = example_engine();
  wasm_store_t* store = wasm_store_new(engine);
  wasm_module_t* module = example_module(store,
    "(module"
    "  (import \"\" \"again\" (func $again (param i32) (result i32)))"
    "  (tag $tag (export \"tag\") (param i32))"
    "  (global $last (export \"last\") (mut exnref) (ref.null exn))"
    "  (func (export \"throw\") (param i32)"
    "    (if (i32.eqz (local.get 0)) (then (unreachable)))"
    "    (throw $tag (i32.mul (local.get 0) (i32.const 10))))"
    "  (func (export \"catch\") (param i32) (result i32)"
    "    (block $caught (result i32) (try_table (result i32) (catch $tag $caught) (call $again (local.get 0)))))"
    "  (func (export \"keep\") (param i32) (result i32) (local $e exnref)"
    "    (block $caught (result i32 exnref)"
    "      (try_table (catch_ref $tag $caught) (drop (call $again (local.get 0))))"
    "      (i32.const 0) (ref.null exn))"
    "    (global.set $last))"
    "  (func (export \"rethrow\") (param i32) (result i32) (throw_ref (global.get $last)))"
    "  (func (export \"pass\") (param i32) (result i32) (call $again (local.get 0))))");
  wasm_functype_t* type = wasm_functype_new_1_1(wasm_valtype_new_i32(), wasm_valtype_new_i32());
  struct again env = {NULL, false};
  wasm_func_t* func = wasm_func_new_with_env(store, type, again, &env, NULL);
  wasm_functype_delete(type);
  wasm_extern_t* imports[] = {wasm_func_as_extern(func)};
  wasm_instance_t* instance = example_instance(store, module, 1, imports);
  env.func = export_func(instance, "throw");

  wasm_func_t* catches = export_func(instance, "catch");
  wasm_func_t* passes = export_func(instance, "pass");
  printf("caught: ");
  call(catches, 4);
  printf("not caught: ");
  call(passes, 5);
  printf("a trap is not caught: ");
  call(catches, 0);
  env.swallow = true;
  printf("caught by C: ");
  call(passes, 6);
  env.swallow = false;

  // A reference to an exception, held by C while WebAssembly forgets it.
  wasm_func_t* keeps = export_func(instance, "keep");
  printf("kept: ");
  call(keeps, 7);
  wasm_global_t* last = wasm_extern_as_global(wasmc_instance_export(instance, "last"));
  wasm_val_t exception, null = {.kind = WASMC_EXNREF, .of = {.ref = NULL}};
  wasm_global_get(last, &exception);
  printf("kind %d, there %d\n", exception.kind, exception.of.ref != NULL);
  wasm_global_set(last, &null);
  wasmc_store_gc(store);
  wasm_func_t* rethrows = export_func(instance, "rethrow");
  printf("null: ");
  call(rethrows, 0);
  wasm_global_set(last, &exception);
  wasm_val_t second;
  wasm_global_get(last, &second);
  printf("the same: %d\n", wasm_ref_same(exception.of.ref, second.of.ref));
  wasm_val_delete(&second);
  wasm_func_delete(env.func);
  wasm_val_delete(&exception);
  printf("thrown again: ");
  call(rethrows, 0);

  // A tag is an export like others, for another instance to import.
  wasm_extern_t* tag = wasmc_instance_export(instance, "tag");
  wasm_module_t* other = example_module(store,
    "(module (import \"\" \"tag\" (tag $t (param i32))) (import \"\" \"throw\" (func $f (param i32)))"
    "  (func (export \"try\") (param i32) (result i32)"
    "    (block $c (result i32) (try_table (catch $t $c) (call $f (local.get 0))) (i32.const -1))))");
  wasm_extern_t* throws = wasmc_instance_export(instance, "throw");
  wasm_extern_t* given[] = {tag, throws};
  wasm_instance_t* user = example_instance(store, other, 2, given);
  wasm_func_t* tries = export_func(user, "try");
  printf("kind of the tag %d, through another instance: ", wasm_extern_kind(tag));
  call(tries, 9);

  wasm_func_delete(tries);
  wasm_instance_delete(user);
  wasm_module_delete(other);
  wasm_extern_delete(tag);
  wasm_extern_delete(throws);
  wasm_global_delete(last);
  wasm_func_delete(rethrows);
  wasm_func_delete(keeps);
  wasm_func_delete(passes);
  wasm_func_delete(catches);
  wasm_func_delete(func);
  wasm_instance_delete(instance);
  wasm_module_delete(module);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}

// Functions of C's: with an environment and without, with every kind of number, calling back into WebAssembly, and releasing
// the very references that they are called through.

#include "common.h"

static wasm_trap_t* print(const wasm_val_vec_t* args, wasm_val_vec_t* results) {
  printf("> %" PRId32 " %" PRId64 " %g %g\n", args->data[0].of.i32, args->data[1].of.i64, args->data[2].of.f32, args->data[3].of.f64);
  wasm_val_copy(&results->data[0], &args->data[0]);
  return NULL;
}

static wasm_trap_t* add(void* env, const wasm_val_vec_t* args, wasm_val_vec_t* results) {
  int* sum = env;
  *sum += args->data[0].of.i32;
  results->data[0].kind = WASM_I32;
  results->data[0].of.i32 = *sum;
  return NULL;
}

static void finalize(void* env) {
  printf("the environment was %d\n", *(int*)env);
}

struct again {
  wasm_func_t* func;
  int depth;
};

// Calls the function that calls this, until it is deep enough.
static wasm_trap_t* again(void* env, const wasm_val_vec_t* args, wasm_val_vec_t* results) {
  struct again* again = env;
  results->data[0].kind = WASM_I32;
  results->data[0].of.i32 = 0;
  if (args->data[0].of.i32 == 0) {
    // The reference is not needed for the calls that are running.
    wasm_func_delete(again->func);
    again->func = NULL;
    return NULL;
  }
  again->depth++;
  wasm_val_t arg = WASM_I32_VAL(args->data[0].of.i32 - 1);
  wasm_val_vec_t given = {1, &arg};
  wasm_val_vec_t taken = {1, results->data};
  wasm_trap_t* trap = wasm_func_call(again->func, &given, &taken);
  if (!trap) results->data[0].of.i32 += 1;
  return trap;
}

int main(void) {
  wasm_engine_t* engine = example_engine();
  wasm_store_t* store = wasm_store_new(engine);
  wasm_module_t* module = example_module(store,
    "(module"
    "  (func $print (import \"\" \"print\") (param i32 i64 f32 f64) (result i32))"
    "  (func $add (import \"\" \"add\") (param i32) (result i32))"
    "  (func $again (import \"\" \"again\") (param i32) (result i32))"
    "  (func (export \"numbers\") (param i32) (result i32)"
    "    (call $print (local.get 0) (i64.const -5000000000) (f32.const 1.5) (f64.const 1e300)))"
    "  (func (export \"add\") (param i32) (result i32) (drop (call $add (local.get 0))) (call $add (i32.const 1)))"
    "  (func (export \"again\") (param i32) (result i32) (call $again (local.get 0))))");

  wasm_valtype_t* four[4] = {wasm_valtype_new_i32(), wasm_valtype_new_i64(), wasm_valtype_new_f32(), wasm_valtype_new_f64()};
  wasm_valtype_t* one[1] = {wasm_valtype_new_i32()};
  wasm_valtype_vec_t params, results;
  wasm_valtype_vec_new(&params, 4, four);
  wasm_valtype_vec_new(&results, 1, one);
  wasm_functype_t* print_type = wasm_functype_new(&params, &results);
  wasm_functype_t* type = wasm_functype_new_1_1(wasm_valtype_new_i32(), wasm_valtype_new_i32());
  int sum = 30;
  struct again deep = {NULL, 0};
  wasm_func_t* funcs[] = {
    wasm_func_new(store, print_type, print),
    wasm_func_new_with_env(store, type, add, &sum, finalize),
    wasm_func_new_with_env(store, type, again, &deep, NULL),
  };
  wasm_functype_delete(print_type);
  wasm_functype_delete(type);
  wasm_extern_t* imports[] = {wasm_func_as_extern(funcs[0]), wasm_func_as_extern(funcs[1]), wasm_func_as_extern(funcs[2])};
  wasm_instance_t* instance = example_instance(store, module, 3, imports);

  wasm_func_t* numbers = export_func(instance, "numbers");
  printf("numbers: %d\n", call_i32(numbers, 1, (int32_t[]){7}));
  wasm_func_t* adds = export_func(instance, "add");
  printf("add: %d\n", call_i32(adds, 1, (int32_t[]){11}));
  deep.func = export_func(instance, "again");
  printf("again: %d", call_i32(deep.func, 1, (int32_t[]){40}));
  printf(" at depth %d\n", deep.depth);

  // A function of C's, called from C.
  printf("direct: %d\n", call_i32(funcs[1], 1, (int32_t[]){100}));

  wasm_func_delete(numbers);
  wasm_func_delete(adds);
  for (int i = 0; i < 3; ++i) wasm_func_delete(funcs[i]);
  wasm_instance_delete(instance);
  wasm_module_delete(module);
  printf("releasing the store\n");
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}

// Threads, each with a store of its own, and one module for all of them.

#include <pthread.h>

#include "common.h"

enum { THREADS = 8, CALLS = 200 };

static wasm_engine_t* engine;
static wasm_shared_module_t* shared;

struct count {
  int thread, calls;
};

static wasm_trap_t* called(void* env, const wasm_val_vec_t* args, wasm_val_vec_t* results) {
  (void)results;
  struct count* count = env;
  if (args->data[0].of.i32 != count->thread) printf("called with %" PRId32 "\n", args->data[0].of.i32);
  count->calls++;
  return NULL;
}

static void* run(void* arg) {
  struct count* count = arg;
  wasm_store_t* store = wasm_store_new(engine);
  wasm_module_t* module = wasm_module_obtain(store, shared);
  wasm_functype_t* type = wasm_functype_new_1_0(wasm_valtype_new_i32());
  wasm_func_t* func = wasm_func_new_with_env(store, type, called, count, NULL);
  wasm_functype_delete(type);
  wasm_globaltype_t* global_type = wasm_globaltype_new(wasm_valtype_new_i32(), WASM_CONST);
  wasm_val_t number = WASM_I32_VAL(count->thread);
  wasm_global_t* global = wasm_global_new(store, global_type, &number);
  wasm_globaltype_delete(global_type);
  for (int i = 0; i < CALLS; ++i) {
    wasm_extern_t* imports[] = {wasm_func_as_extern(func), wasm_global_as_extern(global)};
    wasm_instance_t* instance = example_instance(store, module, 2, imports);
    wasm_func_t* call = export_func(instance, "run");
    call_i32(call, 0, NULL);
    // A trap in one thread is none in the others.
    wasm_func_t* bad = export_func(instance, "trap");
    wasm_val_vec_t none = WASM_EMPTY_VEC;
    wasm_trap_t* trap = wasm_func_call(bad, &none, &none);
    if (!trap || wasmc_trap_code(trap) != WASMC_TRAP_MEMORY_OUT_OF_BOUNDS) printf("no trap\n");
    wasm_trap_delete(trap);
    wasm_func_delete(bad);
    wasm_func_delete(call);
    wasm_instance_delete(instance);
  }
  wasm_func_delete(func);
  wasm_global_delete(global);
  wasm_module_delete(module);
  // Each thread has a last error of its own.
  wasmc_last_error_clear();
  if (count->thread % 2 && wasm_valtype_new(99)) printf("a type?\n");
  if ((wasmc_last_error_code() != 0) != (count->thread % 2)) printf("another thread's error\n");
  return store;
}

int main(void) {
  engine = example_engine();
  wasm_store_t* store = wasm_store_new(engine);
  wasm_module_t* module = example_module(store,
    "(module (import \"\" \"call\" (func $call (param i32))) (import \"\" \"n\" (global $n i32)) (memory 1)"
    "  (func (export \"run\") (call $call (global.get $n)))"
    "  (func (export \"trap\") (drop (i32.load (i32.const 65536)))))");
  shared = wasm_module_share(module);
  wasm_module_delete(module);
  wasm_store_delete(store);

  pthread_t threads[THREADS];
  struct count counts[THREADS];
  for (int i = 0; i < THREADS; ++i) {
    counts[i] = (struct count){i, 0};
    pthread_create(&threads[i], NULL, run, &counts[i]);
  }
  for (int i = 0; i < THREADS; ++i) {
    void* of;
    pthread_join(threads[i], &of);
    printf("thread %d: %d calls\n", i, counts[i].calls);
    // A store may be released by another thread than the one that used it.
    wasm_store_delete(of);
  }

  // A module belongs to its engine.
  wasm_engine_t* other = example_engine();
  wasm_store_t* strange = wasm_store_new(other);
  printf("another engine: %s\n", wasm_module_obtain(strange, shared) ? "obtained?" : "refused");
  wasm_store_delete(strange);
  wasm_engine_delete(other);
  wasm_shared_module_delete(shared);
  wasm_engine_delete(engine);
  return 0;
}

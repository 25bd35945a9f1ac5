// Interruption: from another thread and after a time, in a loop of WebAssembly's and in a function of C's that asks.

#include <pthread.h>
#include <time.h>

#include "common.h"

static wasm_store_t* store;

static void* interrupt(void* arg) {
  struct timespec wait = {0, 20 * 1000 * 1000};
  nanosleep(&wait, NULL);
  wasmc_interrupt(arg);
  return NULL;
}

// A function of C's that takes long asks now and then.
static wasm_trap_t* waits(const wasm_val_vec_t* args, wasm_val_vec_t* results) {
  (void)args, (void)results;
  while (!wasmc_store_is_interrupted(store)) {
    struct timespec wait = {0, 1000 * 1000};
    nanosleep(&wait, NULL);
  }
  return NULL;
}

static void run(wasm_engine_t* engine, const char* name, bool timeout) {
  store = wasm_store_new(engine);
  wasm_module_t* module = example_module(store,
    "(module (import \"\" \"waits\" (func $waits)) (global (export \"g\") (mut i32) (i32.const 0))"
    "  (func (export \"spin\") (global.set 0 (i32.const 7)) (loop $l (br $l)))"
    "  (func (export \"wait\") (call $waits) (loop $l (br $l)))"
    "  (func (export \"done\")))");
  wasm_functype_t* type = wasm_functype_new_0_0();
  wasm_func_t* func = wasm_func_new(store, type, waits);
  wasm_functype_delete(type);
  wasm_extern_t* imports[] = {wasm_func_as_extern(func)};
  wasm_instance_t* instance = example_instance(store, module, 1, imports);
  wasm_func_t* runs = export_func(instance, name);
  wasm_func_t* done = export_func(instance, "done");
  wasmc_interrupt_t* handle = wasmc_store_interrupt_handle(store);
  if (!handle) fail("making the handle");

  // One that is released before its time does nothing.
  wasmc_timeout_delete(wasmc_interrupt_after(handle, 3600ull * 1000 * 1000 * 1000));
  call_i32(done, 0, NULL);

  pthread_t thread;
  wasmc_timeout_t* armed = NULL;
  if (timeout) {
    armed = wasmc_interrupt_after(handle, 20 * 1000 * 1000);
  } else {
    pthread_create(&thread, NULL, interrupt, handle);
  }
  wasm_val_vec_t none = WASM_EMPTY_VEC;
  wasm_trap_t* trap = wasm_func_call(runs, &none, &none);
  printf("%s, %s: ", name, timeout ? "a time-out" : "another thread");
  print_trap(trap);
  printf("code %d, interrupted %d, exit code %" PRId32 "\n", wasmc_trap_code(trap) == WASMC_TRAP_INTERRUPT,
    wasmc_store_is_interrupted(store), wasmc_trap_exit_code(trap));
  wasm_trap_delete(trap);
  if (!timeout) pthread_join(thread, NULL);

  // The store stays interrupted; what it holds can be looked at.
  trap = wasm_func_call(done, &none, &none);
  print_trap(trap);
  wasm_trap_delete(trap);
  wasm_extern_t* global = wasmc_instance_export(instance, "g");
  wasm_val_t value;
  wasm_global_get(wasm_extern_as_global(global), &value);
  printf("the global is %" PRId32 "\n", value.of.i32);
  wasm_extern_delete(global);

  wasmc_timeout_delete(armed);
  wasm_func_delete(runs);
  wasm_func_delete(done);
  wasm_func_delete(func);
  wasm_instance_delete(instance);
  wasm_module_delete(module);
  wasm_store_delete(store);
  // A store that is gone is not interrupted any more.
  wasmc_interrupt(handle);
  wasmc_interrupt_delete(handle);
}

int main(void) {
  wasm_engine_t* engine = example_engine();
  run(engine, "spin", false);
  run(engine, "spin", true);
  run(engine, "wait", false);
  wasm_engine_delete(engine);
  return 0;
}

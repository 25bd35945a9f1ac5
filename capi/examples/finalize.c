// Finalizers: each runs once, when the thing goes; also those that use this interface themselves.

#include "common.h"

static int live;

static void* info(int n) {
  ++live;
  int* p = malloc(sizeof *p);
  *p = n;
  return p;
}

static void finalize(void* p) {
  --live;
  free(p);
}

static void print_and_finalize(void* p) {
  printf("finalizing %d\n", *(int*)p);
  finalize(p);
}

// Runs while references are being collected, and uses their store.
static wasm_store_t* current;
static void make_another(void* p) {
  finalize(p);
  wasm_foreign_delete(wasm_foreign_new(current));
}

static wasm_trap_t* nothing(void* env, const wasm_val_vec_t* args, wasm_val_vec_t* results) {
  (void)env, (void)args, (void)results;
  return NULL;
}

static void run(wasm_engine_t* engine, int count) {
  wasm_store_t* store = wasm_store_new(engine);
  current = store;
  wasm_module_t* module = example_module(store,
    "(module (import \"\" \"\" (func $f)) (func (export \"f\")) (func (export \"g\") (call $f)) (global (export \"r\") (mut externref) (ref.null extern))"
    "  (global (export \"x\") i32 (i32.const 1)) (table (export \"t\") 1 funcref) (memory (export \"m\") 1))");
  wasm_module_set_host_info_with_finalizer(module, info(0), finalize);
  wasm_functype_t* type = wasm_functype_new_0_0();
  for (int i = 0; i < count; ++i) {
    wasm_func_t* func = wasm_func_new_with_env(store, type, nothing, info(1), finalize);
    wasm_func_set_host_info_with_finalizer(func, info(2), finalize);
    wasm_extern_t* imports[] = {wasm_func_as_extern(func)};
    wasm_instance_t* instance = example_instance(store, module, 1, imports);
    wasm_func_delete(func);
    wasm_instance_set_host_info_with_finalizer(instance, info(3), finalize);
    wasm_extern_vec_t exports;
    wasm_instance_exports(instance, &exports);
    wasm_instance_delete(instance);
    for (size_t j = 0; j < exports.size; ++j) wasm_extern_set_host_info_with_finalizer(exports.data[j], info((int)j), finalize);
    // What is attached belongs to the thing, not to the handle.
    wasm_ref_t* same = wasm_ref_copy(wasm_extern_as_ref(exports.data[0]));
    if (*(int*)wasm_ref_get_host_info(same) != 0) printf("another host info\n");
    wasm_ref_delete(same);

    // A foreign object that only WebAssembly has.
    wasm_foreign_t* foreign = wasm_foreign_new(store);
    wasm_foreign_set_host_info_with_finalizer(foreign, info(5), make_another);
    wasm_val_t value = WASM_REF_VAL(wasm_foreign_as_ref(foreign));
    wasm_global_set(wasm_extern_as_global(exports.data[2]), &value);
    wasm_foreign_delete(foreign);
    if (i % 2) {
      value.of.ref = NULL;
      wasm_global_set(wasm_extern_as_global(exports.data[2]), &value);
    }
    wasm_extern_vec_delete(&exports);
  }
  wasm_functype_delete(type);
  int before = live;
  wasmc_store_gc(store);
  printf("%d things, %d of them collected\n", before, before - live);
  wasm_module_delete(module);
  wasm_store_delete(store);
  printf("%d left\n", live);
}

int main(void) {
  wasm_engine_t* engine = example_engine();
  run(engine, 2);
  run(engine, 1000);

  // In detail.
  wasm_store_t* store = wasm_store_new(engine);
  wasm_foreign_t* foreign = wasm_foreign_new(store);
  wasm_foreign_set_host_info_with_finalizer(foreign, info(10), print_and_finalize);
  printf("another in its place\n");
  wasm_foreign_set_host_info_with_finalizer(foreign, info(11), print_and_finalize);
  printf("the same again\n");
  wasm_foreign_set_host_info_with_finalizer(foreign, wasm_foreign_get_host_info(foreign), print_and_finalize);
  wasm_foreign_t* copy = wasm_foreign_copy(foreign);
  wasm_foreign_delete(foreign);
  printf("one handle released\n");
  wasm_foreign_delete(copy);
  printf("the other released\n");

  // A store lives as long as a handle to anything in it.
  wasm_functype_t* type = wasm_functype_new_0_0();
  wasm_func_t* func = wasm_func_new_with_env(store, type, nothing, info(12), print_and_finalize);
  wasm_functype_delete(type);
  wasm_store_delete(store);
  printf("the store released\n");
  wasm_engine_delete(engine);
  wasm_val_vec_t none = WASM_EMPTY_VEC;
  no_trap(wasm_func_call(func, &none, &none));
  wasm_func_delete(func);
  printf("%d left\n", live);
  return 0;
}

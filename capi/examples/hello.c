// A module that calls C.

#include "common.h"

static wasm_trap_t* hello(const wasm_val_vec_t* args, wasm_val_vec_t* results) {
  (void)args, (void)results;
  printf("Hello from C!\n");
  return NULL;
}

int main(void) {
  wasm_engine_t* engine = example_engine();
  wasm_store_t* store = wasm_store_new(engine);
  wasm_module_t* module = example_module(store,
    "(module (func $hello (import \"\" \"hello\")) (func (export \"run\") (call $hello)))");

  wasm_functype_t* type = wasm_functype_new_0_0();
  wasm_func_t* func = wasm_func_new(store, type, hello);
  wasm_functype_delete(type);

  wasm_extern_t* imports[] = {wasm_func_as_extern(func)};
  wasm_instance_t* instance = example_instance(store, module, 1, imports);
  wasm_func_delete(func);

  wasm_extern_vec_t exports;
  wasm_instance_exports(instance, &exports);
  printf("%zu export\n", exports.size);
  wasm_val_vec_t none = WASM_EMPTY_VEC, results = WASM_EMPTY_VEC;
  no_trap(wasm_func_call(wasm_extern_as_func(exports.data[0]), &none, &results));

  wasm_extern_vec_delete(&exports);
  wasm_instance_delete(instance);
  wasm_module_delete(module);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}

// Modules as bytes: compiled once, loaded in another engine. What is no artifact is refused, and says so.

#include "common.h"

static wasm_trap_t* hello(const wasm_val_vec_t* args, wasm_val_vec_t* results) {
  (void)args, (void)results;
  printf("Hello from C!\n");
  return NULL;
}

static void refused(wasm_store_t* store, const char* what, const wasm_byte_vec_t* bytes) {
  wasmc_last_error_clear();
  wasm_module_t* module = wasm_module_deserialize(store, bytes);
  printf("%s: %s, code %d\n", what, module ? "loaded?" : "refused", (int)wasmc_last_error_code());
}

int main(void) {
  wasm_byte_vec_t bytes;
  {
    wasm_engine_t* engine = example_engine();
    wasm_store_t* store = wasm_store_new(engine);
    wasm_module_t* module = example_module(store,
      "(module (func $hello (import \"\" \"hello\")) (func (export \"run\") (call $hello)))");
    wasm_module_serialize(module, &bytes);
    if (!bytes.size) fail("serializing");
    wasm_module_delete(module);
    wasm_store_delete(store);
    wasm_engine_delete(engine);
  }
  printf("an ELF file: %d\n", memcmp(bytes.data, "\x7f" "ELF", 4) == 0);

  wasm_engine_t* engine = example_engine();
  wasm_store_t* store = wasm_store_new(engine);
  wasm_module_t* module = wasm_module_deserialize(store, &bytes);
  if (!module) fail("deserializing");
  uint32_t defined, compiled;
  wasmc_module_functions(module, &defined, &compiled);
  printf("%" PRIu32 " function, %" PRIu32 " compiled\n", defined, compiled);

  // Once more gives the same bytes.
  wasm_byte_vec_t again;
  wasm_module_serialize(module, &again);
  printf("the same: %d\n", again.size == bytes.size && memcmp(again.data, bytes.data, bytes.size) == 0);
  wasm_byte_vec_delete(&again);

  wasm_functype_t* type = wasm_functype_new_0_0();
  wasm_func_t* func = wasm_func_new(store, type, hello);
  wasm_functype_delete(type);
  wasm_extern_t* imports[] = {wasm_func_as_extern(func)};
  wasm_instance_t* instance = example_instance(store, module, 1, imports);
  wasm_func_t* run = export_func(instance, "run");
  call_i32(run, 0, NULL);

  wasm_byte_vec_t part = {bytes.size / 2, bytes.data}, empty = WASM_EMPTY_VEC, text = {6, "(none)"};
  refused(store, "half of it", &part);
  refused(store, "nothing", &empty);
  refused(store, "text", &text);
  refused(store, "a null pointer", NULL);

  wasm_func_delete(run);
  wasm_func_delete(func);
  wasm_instance_delete(instance);
  wasm_module_delete(module);
  wasm_byte_vec_delete(&bytes);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}

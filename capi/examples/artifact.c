// Artifacts as files: compiled, loaded, linked by name with one another and with C, and refused where they do not fit.

#include "common.h"

static wasm_trap_t* hash(const wasm_val_vec_t* args, wasm_val_vec_t* results) {
  results->data[0] = (wasm_val_t)WASM_I32_VAL((int32_t)((uint32_t)args->data[0].of.i32 * 2654435761u));
  return NULL;
}

int main(void) {
  wasm_engine_t* engine = example_engine();
  wasm_store_t* store = wasm_store_new(engine);
  wasm_module_t* library = example_module(store,
    "(module (func (export \"double\") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2))) (memory (export \"memory\") 1))");
  wasm_module_t* main_module = example_module(store,
    "(module"
    "  (import \"library\" \"double\" (func $double (param i32) (result i32)))"
    "  (import \"library\" \"memory\" (memory 1))"
    "  (import \"c\" \"hash\" (func $hash (param i32) (result i32)))"
    "  (func (export \"run\") (param i32) (result i32)"
    "    (i32.store (i32.const 8) (call $double (local.get 0))) (call $hash (i32.load (i32.const 8)))))");
  check(wasmc_module_compile_to_file(library, "library.so"), "compiling");
  check(wasmc_module_compile_to_file(main_module, "main.so"), "compiling");
  printf("into a folder that is not there: %d", wasmc_module_compile_to_file(library, "none/library.so"));
  printf(", code %d\n", (int)wasmc_last_error_code());
  wasm_module_delete(library);
  wasm_module_delete(main_module);

  library = wasmc_module_load(store, "library.so");
  if (!library) fail("loading");
  main_module = wasmc_module_load(store, "main.so");
  if (!main_module) fail("loading");
  uint32_t defined = 0, compiled = 0;
  wasmc_module_functions(main_module, &defined, &compiled);
  printf("%" PRIu32 " of %" PRIu32 " functions are compiled\n", compiled, defined);

  wasmc_linker_t* linker = wasmc_linker_new(store);
  wasm_trap_t* trap;
  printf("too early: %d", wasmc_linker_instantiate(linker, main_module, &trap) != NULL);
  printf(", code %d\n", (int)wasmc_trap_exit_code(trap));
  wasm_trap_delete(trap);
  wasm_instance_t* provider = wasmc_linker_instantiate(linker, library, NULL);
  if (!provider) fail("instantiating");
  check(wasmc_linker_define_instance(linker, "library", provider), "defining the library");
  wasm_functype_t* type = wasm_functype_new_1_1(wasm_valtype_new_i32(), wasm_valtype_new_i32());
  wasm_func_t* func = wasm_func_new(store, type, hash);
  wasm_functype_delete(type);
  check(wasmc_linker_define(linker, "c", "hash", wasm_func_as_extern(func)), "defining the function");
  printf("twice: %d\n", wasmc_linker_define(linker, "c", "hash", wasm_func_as_extern(func)));
  wasm_instance_t* instance = wasmc_linker_instantiate(linker, main_module, NULL);
  if (!instance) fail("instantiating");
  wasmc_linker_delete(linker);
  wasm_func_t* run = export_func(instance, "run");
  printf("run: %" PRId32 "\n", call_i32(run, 1, (int32_t[]){21}));
  printf("no such export: %d\n", wasmc_instance_export(instance, "walk") != NULL);
  printf("code %d\n", (int)wasmc_last_error_code());

  // Files that are no artifacts, and one for another configuration.
  FILE* file = fopen("text.so", "w");
  fputs("(module)", file);
  fclose(file);
  wasmc_last_error_clear();
  printf("text: %d", wasmc_module_load(store, "text.so") != NULL);
  printf(", code %d\n", (int)wasmc_last_error_code());
  printf("nothing: %d", wasmc_module_load(store, "none.so") != NULL);
  printf(", code %d\n", (int)wasmc_last_error_code());
  wasm_config_t* config = example_config();
  check(wasmc_config_set_feature(config, "simd", false), "a feature");
  printf("an unknown feature: %d\n", wasmc_config_set_feature(config, "telepathy", true));
  wasm_engine_t* other = wasm_engine_new_with_config(config);
  wasm_store_t* strange = wasm_store_new(other);
  wasm_byte_vec_t binary;
  example_binary("(module (func (export \"f\") (result i32) (i8x16.extract_lane_s 0 (v128.const i64x2 1 2))))", &binary);
  printf("valid with and without SIMD: %d %d\n", wasm_module_validate(store, &binary), wasm_module_validate(strange, &binary));
  wasm_byte_vec_delete(&binary);
  wasm_store_delete(strange);
  wasm_engine_delete(other);
  config = wasm_config_new();
  wasmc_config_set_stack_size(config, 1);
  printf("a stack of a byte: %d\n", wasm_engine_new_with_config(config) != NULL);

  wasm_func_delete(run);
  wasm_func_delete(func);
  wasm_instance_delete(instance);
  wasm_instance_delete(provider);
  wasm_module_delete(library);
  wasm_module_delete(main_module);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}

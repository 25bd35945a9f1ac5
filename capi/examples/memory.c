// Memories: reading and writing them from both sides, and growing them.

#include "common.h"

static void access(const char* what, const wasm_func_t* func, size_t count, const int32_t args[]) {
  wasm_val_t values[2], result = WASM_INIT_VAL;
  for (size_t i = 0; i < count; ++i) values[i] = (wasm_val_t)WASM_I32_VAL(args[i]);
  wasm_val_vec_t given = {count, values}, taken = {wasm_func_result_arity(func), &result};
  wasm_trap_t* trap = wasm_func_call(func, &given, &taken);
  printf("%s %" PRId32 ": ", what, args[0]);
  if (trap) {
    print_trap(trap);
    wasm_trap_delete(trap);
  } else {
    printf("%" PRId32 "\n", taken.size ? result.of.i32 : 0);
  }
}

int main(void) {
  wasm_engine_t* engine = example_engine();
  wasm_store_t* store = wasm_store_new(engine);
  wasm_module_t* module = example_module(store,
    "(module"
    "  (memory (export \"memory\") 2 3)"
    "  (func (export \"size\") (result i32) (memory.size))"
    "  (func (export \"load\") (param i32) (result i32) (i32.load8_s (local.get 0)))"
    "  (func (export \"store\") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))"
    "  (data (i32.const 0x1000) \"\\01\\02\\03\\04\"))");
  wasm_instance_t* instance = example_instance(store, module, 0, NULL);
  wasm_memory_t* memory = wasm_extern_as_memory(wasmc_instance_export(instance, "memory"));
  wasm_func_t* size = export_func(instance, "size");
  wasm_func_t* load = export_func(instance, "load");
  wasm_func_t* put = export_func(instance, "store");

  byte_t* data = wasm_memory_data(memory);
  printf("%" PRIu32 " pages, %zu bytes, first %d, last of the data %d\n", wasm_memory_size(memory), wasm_memory_data_size(memory),
    data[0], data[0x1003]);
  printf("size %" PRId32 "\n", call_i32(size, 0, NULL));
  access("load", load, 1, (int32_t[]){0x1003});
  access("load", load, 1, (int32_t[]){0x1ffff});
  access("load", load, 1, (int32_t[]){0x20000});
  data[0x1003] = 5;
  access("store", put, 2, (int32_t[]){0x1002, 6});
  access("store", put, 2, (int32_t[]){0x20000, 6});
  access("load", load, 1, (int32_t[]){0x1003});
  printf("seen %d\n", data[0x1002]);

  printf("grow %d\n", wasm_memory_grow(memory, 1));
  printf("%" PRIu32 " pages, %zu bytes, moved %d\n", wasm_memory_size(memory), wasm_memory_data_size(memory), wasm_memory_data(memory) != data);
  access("load", load, 1, (int32_t[]){0x20000});
  access("load", load, 1, (int32_t[]){0x30000});
  printf("grow %d %d\n", wasm_memory_grow(memory, 1), wasm_memory_grow(memory, 0));
  wasm_memorytype_t* type = wasm_memory_type(memory);
  printf("type %" PRIu32 " to %" PRIu32 "\n", wasm_memorytype_limits(type)->min, wasm_memorytype_limits(type)->max);
  wasm_memorytype_delete(type);

  // A memory of C's.
  wasm_limits_t limits = {5, 5}, wrong = {2, 1};
  wasm_memorytype_t* five = wasm_memorytype_new(&limits);
  wasm_memorytype_t* none = wasm_memorytype_new(&wrong);
  wasm_memory_t* made = wasm_memory_new(store, five);
  printf("made: %" PRIu32 " pages, grow %d %d, with wrong limits %d\n", wasm_memory_size(made), wasm_memory_grow(made, 1),
    wasm_memory_grow(made, 0), wasm_memory_new(store, none) != NULL);
  wasm_memorytype_delete(five);
  wasm_memorytype_delete(none);
  printf("same %d %d\n", wasm_memory_same(made, memory), wasm_memory_same(made, made));

  wasm_memory_delete(made);
  wasm_func_delete(size);
  wasm_func_delete(load);
  wasm_func_delete(put);
  wasm_memory_delete(memory);
  wasm_instance_delete(instance);
  wasm_module_delete(module);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}

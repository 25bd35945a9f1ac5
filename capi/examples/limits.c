// Limits: growth beyond one fails as the specification says, making something beyond one is an error that names it.

#include "common.h"

int main(void) {
  wasm_engine_t* engine = example_engine();
  wasm_store_t* store = wasm_store_new(engine);
  check(wasmc_store_set_limit(store, "memory", 3 * 65536) && wasmc_store_set_limit(store, "table-elements", 10) &&
    wasmc_store_set_limit(store, "instances", 2), "setting limits");
  printf("an unknown limit: %d\n", wasmc_store_set_limit(store, "money", 1));
  wasm_module_t* module = example_module(store,
    "(module (memory (export \"memory\") 1) (table (export \"table\") 4 funcref)"
    "  (func (export \"grow\") (param i32) (result i32) (memory.grow (local.get 0))))");
  wasm_instance_t* first = example_instance(store, module, 0, NULL);
  wasm_func_t* grow = export_func(first, "grow");
  for (int i = 0; i < 3; ++i) printf("grow: %" PRId32 "\n", call_i32(grow, 1, (int32_t[]){1}));
  wasm_extern_t* table = wasmc_instance_export(first, "table");
  bool six = wasm_table_grow(wasm_extern_as_table(table), 6, NULL), one = wasm_table_grow(wasm_extern_as_table(table), 1, NULL);
  printf("table: %d %d\n", six, one);

  uint64_t now = 0, peak = 0;
  check(wasmc_store_usage(store, "memory", &now, &peak), "looking at the memory");
  printf("memory: %" PRIu64 " of at most %" PRIu64 "\n", now, peak);
  wasm_trap_t* trap = NULL;
  wasm_instance_t* second = wasm_instance_new(store, module, NULL, &trap);
  printf("another: %d, ", second != NULL);
  print_trap(trap);
  wasm_trap_delete(trap);

  wasm_module_t* empty = example_module(store, "(module)");
  second = example_instance(store, empty, 0, NULL);
  wasm_instance_t* third = wasm_instance_new(store, empty, NULL, &trap);
  printf("a third: %d, ", third != NULL);
  print_trap(trap);
  wasm_trap_delete(trap);

  wasm_instance_delete(second);
  wasm_extern_delete(table);
  wasm_func_delete(grow);
  wasm_instance_delete(first);
  wasm_module_delete(empty);
  wasm_module_delete(module);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}

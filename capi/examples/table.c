// Tables: reading, setting and growing them from both sides.

#include "common.h"

static wasm_trap_t* negate(const wasm_val_vec_t* args, wasm_val_vec_t* results) {
  results->data[0].kind = WASM_I32;
  results->data[0].of.i32 = -args->data[0].of.i32;
  return NULL;
}

static void call_indirect(const wasm_func_t* call, int32_t arg, int32_t index) {
  wasm_val_t args[] = {WASM_I32_VAL(arg), WASM_I32_VAL(index)}, result = WASM_INIT_VAL;
  wasm_val_vec_t given = WASM_ARRAY_VEC(args), taken = {1, &result};
  wasm_trap_t* trap = wasm_func_call(call, &given, &taken);
  printf("%" PRId32 " through %" PRId32 ": ", arg, index);
  if (trap) {
    print_trap(trap);
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
    "  (table (export \"table\") 2 10 funcref)"
    "  (func (export \"call\") (param i32 i32) (result i32) (call_indirect (param i32) (result i32) (local.get 0) (local.get 1)))"
    "  (func $f (export \"f\") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))"
    "  (func (export \"g\") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))"
    "  (elem (i32.const 1) $f))");
  wasm_instance_t* instance = example_instance(store, module, 0, NULL);
  wasm_table_t* table = wasm_extern_as_table(wasmc_instance_export(instance, "table"));
  wasm_func_t* call = export_func(instance, "call");
  wasm_func_t* f = export_func(instance, "f");
  wasm_func_t* g = export_func(instance, "g");
  wasm_functype_t* type = wasm_functype_new_1_1(wasm_valtype_new_i32(), wasm_valtype_new_i32());
  wasm_func_t* h = wasm_func_new(store, type, negate);
  wasm_functype_delete(type);

  printf("size %" PRIu32 "\n", wasm_table_size(table));
  wasm_ref_t* element = wasm_table_get(table, 1);
  printf("null %d, same %d\n", wasm_table_get(table, 0) == NULL, wasm_func_same(wasm_ref_as_func(element), f));
  wasm_ref_delete(element);
  call_indirect(call, 7, 0);
  call_indirect(call, 7, 1);
  call_indirect(call, 7, 2);

  printf("set %d %d %d\n", wasm_table_set(table, 0, wasm_func_as_ref(g)), wasm_table_set(table, 1, NULL),
    wasm_table_set(table, 2, wasm_func_as_ref(f)));
  call_indirect(call, 666, 0);
  call_indirect(call, 7, 1);

  printf("grow %d\n", wasm_table_grow(table, 5, wasm_func_as_ref(h)));
  printf("size %" PRIu32 "\n", wasm_table_size(table));
  call_indirect(call, 6, 6);
  element = wasm_table_get(table, 5);
  printf("same %d\n", wasm_ref_same(element, wasm_func_as_ref(h)));
  wasm_ref_delete(element);
  printf("grow %d %d\n", wasm_table_grow(table, 3, NULL), wasm_table_grow(table, 1, NULL));
  wasm_ref_t* foreign = wasm_foreign_as_ref(wasm_foreign_new(store));
  printf("a reference of another type: %d\n", wasm_table_set(table, 0, foreign));
  wasm_ref_delete(foreign);

  wasm_tabletype_t* now = wasm_table_type(table);
  printf("type %" PRIu32 " to %" PRIu32 "\n", wasm_tabletype_limits(now)->min, wasm_tabletype_limits(now)->max);
  wasm_tabletype_delete(now);

  // A table of C's.
  wasm_limits_t limits = {3, wasm_limits_max_default};
  wasm_tabletype_t* made_type = wasm_tabletype_new(wasm_valtype_new_externref(), &limits);
  wasm_foreign_t* thing = wasm_foreign_new(store);
  wasm_table_t* made = wasm_table_new(store, made_type, wasm_foreign_as_ref(thing));
  wasm_tabletype_delete(made_type);
  element = wasm_table_get(made, 2);
  printf("made: size %" PRIu32 ", same %d, outside %d\n", wasm_table_size(made), wasm_ref_same(element, wasm_foreign_as_ref(thing)),
    wasm_table_get(made, 3) != NULL);
  wasm_ref_delete(element);
  wasm_foreign_delete(thing);
  wasm_table_delete(made);

  wasm_func_delete(call);
  wasm_func_delete(f);
  wasm_func_delete(g);
  wasm_func_delete(h);
  wasm_table_delete(table);
  wasm_instance_delete(instance);
  wasm_module_delete(module);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}

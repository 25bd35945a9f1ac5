// Globals: of every type of number, constant and mutable, seen from both sides.

#include "common.h"

static wasm_global_t* make(wasm_store_t* store, wasm_valkind_t kind, wasm_mutability_t mutability, wasm_val_t value) {
  wasm_globaltype_t* type = wasm_globaltype_new(wasm_valtype_new(kind), mutability);
  wasm_global_t* global = wasm_global_new(store, type, &value);
  wasm_globaltype_delete(type);
  if (!global) fail("making a global");
  return global;
}

static void print(const char* what, const wasm_global_t* global) {
  wasm_val_t value;
  wasm_global_get(global, &value);
  switch (value.kind) {
    case WASM_I32: printf("%s: i32 %" PRId32 "\n", what, value.of.i32); break;
    case WASM_I64: printf("%s: i64 %" PRId64 "\n", what, value.of.i64); break;
    case WASM_F32: printf("%s: f32 %g\n", what, value.of.f32); break;
    case WASM_F64: printf("%s: f64 %g\n", what, value.of.f64); break;
    default: printf("%s: a reference, %s\n", what, value.of.ref ? "not null" : "null");
  }
  wasm_val_delete(&value);
}

int main(void) {
  wasm_engine_t* engine = example_engine();
  wasm_store_t* store = wasm_store_new(engine);
  wasm_module_t* module = example_module(store,
    "(module"
    "  (global $c32 (import \"\" \"\") f32) (global $c64 (import \"\" \"\") i64)"
    "  (global $v32 (import \"\" \"\") (mut i32)) (global $v64 (import \"\" \"\") (mut f64))"
    "  (global $ref (import \"\" \"\") (mut funcref))"
    "  (global (export \"own\") (mut i64) (i64.const 6))"
    "  (export \"v32\" (global $v32))"
    "  (elem declare func $set)"
    "  (func $set (export \"set\") (param i32) (result i32)"
    "    (global.set $v32 (local.get 0)) (global.set $v64 (f64.const 2.5)) (global.set $ref (ref.func $set))"
    "    (i32.add (i32.trunc_f32_s (global.get $c32)) (i32.wrap_i64 (global.get $c64)))))");
  wasm_val_t null = WASM_INIT_VAL;
  wasm_global_t* globals[] = {
    make(store, WASM_F32, WASM_CONST, (wasm_val_t)WASM_F32_VAL(1.25f)),
    make(store, WASM_I64, WASM_CONST, (wasm_val_t)WASM_I64_VAL(40)),
    make(store, WASM_I32, WASM_VAR, (wasm_val_t)WASM_I32_VAL(3)),
    make(store, WASM_F64, WASM_VAR, (wasm_val_t)WASM_F64_VAL(4)),
    make(store, WASM_FUNCREF, WASM_VAR, null),
  };
  wasm_extern_t* imports[5];
  for (int i = 0; i < 5; ++i) imports[i] = wasm_global_as_extern(globals[i]);
  wasm_instance_t* instance = example_instance(store, module, 5, imports);
  const char* names[] = {"c32", "c64", "v32", "v64", "ref"};
  for (int i = 0; i < 5; ++i) print(names[i], globals[i]);

  wasm_func_t* set = export_func(instance, "set");
  printf("set: %" PRId32 "\n", call_i32(set, 1, (int32_t[]){33}));
  for (int i = 0; i < 5; ++i) print(names[i], globals[i]);

  // The function in the global is the one that put itself there.
  wasm_val_t value;
  wasm_global_get(globals[4], &value);
  printf("same: %d\n", wasm_func_same(wasm_ref_as_func(value.of.ref), set));
  wasm_val_delete(&value);

  // The same global, imported and exported.
  wasm_global_t* v32 = wasm_extern_as_global(wasmc_instance_export(instance, "v32"));
  wasm_global_t* own = wasm_extern_as_global(wasmc_instance_export(instance, "own"));
  printf("same: %d %d\n", wasm_global_same(v32, globals[2]), wasm_global_same(v32, own));
  wasm_val_t seven = WASM_I32_VAL(7);
  wasm_global_set(v32, &seven);
  print("v32", globals[2]);
  print("own", own);

  // What cannot be set stays as it is.
  wasmc_last_error_clear();
  wasm_global_set(globals[1], &(wasm_val_t)WASM_I64_VAL(1));
  printf("constant: error %d, ", wasmc_last_error_code() != 0);
  print("c64", globals[1]);
  wasmc_last_error_clear();
  wasm_global_set(own, &seven);
  printf("another type: error %d, ", wasmc_last_error_code() != 0);
  print("own", own);

  wasm_globaltype_t* type = wasm_global_type(own);
  printf("type: %d %d\n", wasm_valtype_kind(wasm_globaltype_content(type)), wasm_globaltype_mutability(type));
  wasm_globaltype_delete(type);

  wasm_global_delete(v32);
  wasm_global_delete(own);
  wasm_func_delete(set);
  for (int i = 0; i < 5; ++i) wasm_global_delete(globals[i]);
  wasm_instance_delete(instance);
  wasm_module_delete(module);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}

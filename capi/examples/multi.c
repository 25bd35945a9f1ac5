// Several results, from C and from WebAssembly; and what vectors have no place in.

#include "common.h"

static wasm_trap_t* swap(const wasm_val_vec_t* args, wasm_val_vec_t* results) {
  for (size_t i = 0; i < 4; ++i) wasm_val_copy(&results->data[i], &args->data[3 - i]);
  return NULL;
}

static wasm_trap_t* bad(const wasm_val_vec_t* args, wasm_val_vec_t* results) {
  (void)args;
  results->data[0] = (wasm_val_t)WASM_F64_VAL(1);
  return NULL;
}

int main(void) {
  wasm_engine_t* engine = example_engine();
  wasm_store_t* store = wasm_store_new(engine);
  wasm_module_t* module = example_module(store,
    "(module"
    "  (func $swap (import \"\" \"swap\") (param i32 i64 i64 f32) (result f32 i64 i64 i32))"
    "  (func $bad (import \"\" \"bad\") (result i32))"
    "  (func (export \"swap\") (param i32 i64 i64 f32) (result f32 i64 i64 i32)"
    "    (call $swap (local.get 0) (local.get 1) (local.get 2) (local.get 3)))"
    "  (func (export \"bad\") (result i32) (call $bad))"
    "  (func (export \"vector\") (result v128) (v128.const i64x2 1 2)))");
  wasm_valtype_t* given_types[] = {wasm_valtype_new_i32(), wasm_valtype_new_i64(), wasm_valtype_new_i64(), wasm_valtype_new_f32()};
  wasm_valtype_t* taken_types[] = {wasm_valtype_new_f32(), wasm_valtype_new_i64(), wasm_valtype_new_i64(), wasm_valtype_new_i32()};
  wasm_valtype_vec_t params, results;
  wasm_valtype_vec_new(&params, 4, given_types);
  wasm_valtype_vec_new(&results, 4, taken_types);
  wasm_functype_t* type = wasm_functype_new(&params, &results);
  wasm_functype_t* bad_type = wasm_functype_new_0_1(wasm_valtype_new_i32());
  wasm_func_t* swaps = wasm_func_new(store, type, swap);
  wasm_func_t* fails = wasm_func_new(store, bad_type, bad);
  wasm_functype_delete(type);
  wasm_functype_delete(bad_type);
  wasm_extern_t* imports[] = {wasm_func_as_extern(swaps), wasm_func_as_extern(fails)};
  wasm_instance_t* instance = example_instance(store, module, 2, imports);
  wasm_func_t* func = export_func(instance, "swap");
  printf("%zu to %zu\n", wasm_func_param_arity(func), wasm_func_result_arity(func));

  wasm_val_t args[] = {WASM_I32_VAL(1), WASM_I64_VAL(-2), WASM_I64_VAL(3000000000000), WASM_F32_VAL(4.5f)};
  wasm_val_t outs[4];
  wasm_val_vec_t given = WASM_ARRAY_VEC(args), taken = WASM_ARRAY_VEC(outs);
  no_trap(wasm_func_call(func, &given, &taken));
  printf("%g %" PRId64 " %" PRId64 " %" PRId32 "\n", outs[0].of.f32, outs[1].of.i64, outs[2].of.i64, outs[3].of.i32);

  // Too few, too many, and of another kind.
  wasm_val_vec_t few = {3, args}, small = {3, outs};
  wasm_trap_t* trap = wasm_func_call(func, &few, &taken);
  print_trap(trap);
  wasm_trap_delete(trap);
  trap = wasm_func_call(func, &given, &small);
  print_trap(trap);
  wasm_trap_delete(trap);
  args[1] = args[0];
  trap = wasm_func_call(func, &given, &taken);
  print_trap(trap);
  wasm_trap_delete(trap);

  // A function of C's whose results are not of its type.
  wasm_val_vec_t none = WASM_EMPTY_VEC, one = {1, outs};
  wasm_func_t* wrong = export_func(instance, "bad");
  trap = wasm_func_call(wrong, &none, &one);
  print_trap(trap);
  wasm_trap_delete(trap);
  wasm_func_t* vector = export_func(instance, "vector");
  trap = wasm_func_call(vector, &none, &one);
  print_trap(trap);
  wasm_trap_delete(trap);

  wasm_func_delete(vector);
  wasm_func_delete(wrong);
  wasm_func_delete(func);
  wasm_func_delete(swaps);
  wasm_func_delete(fails);
  wasm_instance_delete(instance);
  wasm_module_delete(module);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}

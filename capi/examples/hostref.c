// References of every kind, through WebAssembly and back: what comes out is what went in.

#include "common.h"

static wasm_store_t* store;

static wasm_trap_t* echo(const wasm_val_vec_t* args, wasm_val_vec_t* results) {
  // The argument is lent, the result is the caller's.
  wasm_val_copy(&results->data[0], &args->data[0]);
  return NULL;
}

// Makes a reference that nobody else has.
static wasm_trap_t* fresh(const wasm_val_vec_t* args, wasm_val_vec_t* results) {
  (void)args;
  results->data[0].kind = WASM_EXTERNREF;
  results->data[0].of.ref = wasm_foreign_as_ref(wasm_foreign_new(store));
  return NULL;
}

static wasm_ref_t* through(const wasm_func_t* func, wasm_ref_t* ref) {
  wasm_val_t arg = WASM_REF_VAL(ref), result = WASM_INIT_VAL;
  wasm_val_vec_t given = {1, &arg}, taken = {1, &result};
  no_trap(wasm_func_call(func, &given, &taken));
  return result.of.ref;
}

static void check_same(const char* what, const wasm_func_t* func, wasm_ref_t* ref) {
  wasm_ref_t* back = through(func, ref);
  printf("%s: same %d, host info %d\n", what, wasm_ref_same(ref, back), back && wasm_ref_get_host_info(back) == wasm_ref_get_host_info(ref));
  if (back) wasm_ref_delete(back);
}

int main(void) {
  wasm_engine_t* engine = example_engine();
  store = wasm_store_new(engine);
  wasm_module_t* module = example_module(store,
    "(module"
    "  (import \"\" \"echo\" (func $echo (param externref) (result externref)))"
    "  (import \"\" \"fresh\" (func $fresh (result externref)))"
    "  (global $g (export \"global\") (mut externref) (ref.null extern))"
    "  (table $t (export \"table\") 10 externref)"
    "  (func (export \"through\") (param externref) (result externref)"
    "    (global.set $g (call $echo (local.get 0))) (table.set $t (i32.const 3) (global.get $g)) (table.get $t (i32.const 3)))"
    "  (func (export \"func\") (param funcref) (result funcref) (local.get 0))"
    "  (func (export \"churn\") (param i32)"
    "    (loop $l (drop (call $fresh)) (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))");
  wasm_functype_t* type = wasm_functype_new_1_1(wasm_valtype_new_externref(), wasm_valtype_new_externref());
  wasm_functype_t* fresh_type = wasm_functype_new_0_1(wasm_valtype_new_externref());
  wasm_func_t* echoes = wasm_func_new(store, type, echo);
  wasm_func_t* makes = wasm_func_new(store, fresh_type, fresh);
  wasm_functype_delete(type);
  wasm_functype_delete(fresh_type);
  wasm_extern_t* imports[] = {wasm_func_as_extern(echoes), wasm_func_as_extern(makes)};
  wasm_instance_t* instance = example_instance(store, module, 2, imports);
  wasm_func_t* func = export_func(instance, "through");

  wasm_foreign_t* foreign = wasm_foreign_new(store);
  wasm_foreign_set_host_info(foreign, &engine);
  wasm_module_set_host_info(module, &store);
  wasm_instance_set_host_info(instance, &instance);
  wasm_func_set_host_info(echoes, &echoes);
  wasm_global_t* global = wasm_extern_as_global(wasmc_instance_export(instance, "global"));
  wasm_table_t* table = wasm_extern_as_table(wasmc_instance_export(instance, "table"));
  wasm_message_t message;
  wasm_name_new_from_string_nt(&message, "not thrown");
  wasm_trap_t* trap = wasm_trap_new(store, &message);
  wasm_byte_vec_delete(&message);

  printf("null: %d\n", through(func, NULL) == NULL);
  check_same("foreign", func, wasm_foreign_as_ref(foreign));
  check_same("module", func, wasm_module_as_ref(module));
  check_same("instance", func, wasm_instance_as_ref(instance));
  check_same("func", func, wasm_func_as_ref(echoes));
  check_same("global", func, wasm_global_as_ref(global));
  check_same("table", func, wasm_table_as_ref(table));
  check_same("trap", func, wasm_trap_as_ref(trap));

  // Through a global and a table of WebAssembly's, from C.
  wasm_val_t value;
  wasm_global_get(global, &value);
  printf("global: a trap %d\n", value.kind == WASM_EXTERNREF && wasm_trap_same(wasm_ref_as_trap(value.of.ref), trap));
  printf("of another kind: %d %d\n", wasm_ref_as_func(value.of.ref) != NULL, wasm_ref_as_extern(value.of.ref) != NULL);
  wasm_val_delete(&value);
  value = (wasm_val_t)WASM_REF_VAL(wasm_foreign_as_ref(foreign));
  wasm_global_set(global, &value);
  printf("table: %d\n", wasm_table_set(table, 9, wasm_foreign_as_ref(foreign)));
  wasm_ref_t* element = wasm_table_get(table, 9);
  printf("a foreign object %d\n", wasm_foreign_same(wasm_ref_as_foreign(element), foreign));
  wasm_ref_delete(element);

  // A function as a funcref, from WebAssembly and from C.
  wasm_func_t* pass = export_func(instance, "func");
  check_same("funcref", pass, wasm_func_as_ref(pass));
  check_same("funcref of C's", pass, wasm_func_as_ref(echoes));
  wasm_val_t arg = WASM_REF_VAL(wasm_foreign_as_ref(foreign)), result = WASM_INIT_VAL;
  wasm_val_vec_t given = {1, &arg}, taken = {1, &result};
  wasm_trap_t* wrong = wasm_func_call(pass, &given, &taken);
  print_trap(wrong);
  wasm_trap_delete(wrong);

  // A reference of another store.
  wasm_store_t* other = wasm_store_new(engine);
  wasm_functype_t* none = wasm_functype_new_0_0();
  wasm_func_t* strange = wasm_func_new(other, none, echo);
  wasm_functype_delete(none);
  arg = (wasm_val_t)WASM_REF_VAL(wasm_func_as_ref(strange));
  wrong = wasm_func_call(func, &given, &taken);
  print_trap(wrong);
  wasm_trap_delete(wrong);
  wasm_func_delete(strange);
  wasm_store_delete(other);

  // What is made and dropped again does not stay.
  wasm_func_t* churn = export_func(instance, "churn");
  call_i32(churn, 1, (int32_t[]){100000});
  wasm_func_delete(churn);

  wasm_trap_delete(trap);
  wasm_foreign_delete(foreign);
  wasm_global_delete(global);
  wasm_table_delete(table);
  wasm_func_delete(pass);
  wasm_func_delete(func);
  wasm_func_delete(makes);
  wasm_func_delete(echoes);
  wasm_instance_delete(instance);
  wasm_module_delete(module);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}

// Types: of what a module imports and exports, of what its instance exports, and their conversions.

#include "common.h"

static void print_valtype(const wasm_valtype_t* type) {
  switch (wasm_valtype_kind(type)) {
    case WASM_I32: printf("i32"); break;
    case WASM_I64: printf("i64"); break;
    case WASM_F32: printf("f32"); break;
    case WASM_F64: printf("f64"); break;
    case WASM_EXTERNREF: printf("externref"); break;
    case WASM_FUNCREF: printf("funcref"); break;
    case WASMC_V128: printf("v128"); break;
    case WASMC_EXNREF: printf("exnref"); break;
    default: printf("?");
  }
}

static void print_valtypes(const wasm_valtype_vec_t* types) {
  for (size_t i = 0; i < types->size; ++i) {
    printf(i ? " " : "");
    print_valtype(types->data[i]);
  }
}

static void print_limits(const wasm_limits_t* limits) {
  printf(" %" PRIu32, limits->min);
  if (limits->max != wasm_limits_max_default) printf(" to %" PRIu32, limits->max);
}

static void print_externtype(const wasm_externtype_t* type) {
  switch (wasm_externtype_kind(type)) {
    case WASM_EXTERN_FUNC: {
      const wasm_functype_t* func = wasm_externtype_as_functype_const(type);
      printf("func ");
      print_valtypes(wasm_functype_params(func));
      printf(" -> ");
      print_valtypes(wasm_functype_results(func));
      break;
    }
    case WASM_EXTERN_GLOBAL: {
      const wasm_globaltype_t* global = wasm_externtype_as_globaltype_const(type);
      printf("global %s", wasm_globaltype_mutability(global) == WASM_VAR ? "var " : "const ");
      print_valtype(wasm_globaltype_content(global));
      break;
    }
    case WASM_EXTERN_TABLE: {
      const wasm_tabletype_t* table = wasm_externtype_as_tabletype_const(type);
      printf("table");
      print_limits(wasm_tabletype_limits(table));
      printf(" ");
      print_valtype(wasm_tabletype_element(table));
      break;
    }
    case WASM_EXTERN_MEMORY:
      printf("memory");
      print_limits(wasm_memorytype_limits(wasm_externtype_as_memorytype_const(type)));
      break;
    case WASM_EXTERN_TAG:
      printf("tag ");
      print_valtypes(wasm_functype_params(wasm_tagtype_functype(wasm_externtype_as_tagtype_const(type))));
      break;
  }
}

static void print_name(const wasm_name_t* name) {
  printf("\"%.*s\"", (int)name->size, name->data);
}

// Each conversion gives null for a type of another kind.
static void check_conversions(wasm_externtype_t* type) {
  int fits = (wasm_externtype_as_functype(type) != NULL) + (wasm_externtype_as_globaltype(type) != NULL) +
    (wasm_externtype_as_tabletype(type) != NULL) + (wasm_externtype_as_memorytype(type) != NULL) + (wasm_externtype_as_tagtype(type) != NULL);
  if (fits != 1) printf("[fits %d kinds]", fits);
  wasm_externtype_t* back = NULL;
  switch (wasm_externtype_kind(type)) {
    case WASM_EXTERN_FUNC: back = wasm_functype_as_externtype(wasm_externtype_as_functype(type)); break;
    case WASM_EXTERN_GLOBAL: back = wasm_globaltype_as_externtype(wasm_externtype_as_globaltype(type)); break;
    case WASM_EXTERN_TABLE: back = wasm_tabletype_as_externtype(wasm_externtype_as_tabletype(type)); break;
    case WASM_EXTERN_MEMORY: back = wasm_memorytype_as_externtype(wasm_externtype_as_memorytype(type)); break;
    case WASM_EXTERN_TAG: back = wasm_tagtype_as_externtype(wasm_externtype_as_tagtype(type)); break;
  }
  if (back != type) printf("[another type]");
}

int main(void) {
  wasm_engine_t* engine = example_engine();
  wasm_store_t* store = wasm_store_new(engine);
  wasm_module_t* module = example_module(store,
    "(module"
    "  (import \"env\" \"log\" (func (param i32 externref)))"
    "  (import \"env\" \"limit\" (global i64))"
    "  (func (export \"func\") (param i32 f64 f32) (result i64 funcref) (i64.const 0) (ref.null func))"
    "  (func (export \"vector\") (param v128) (result exnref) (ref.null exn))"
    "  (global (export \"global\") (mut f64) (f64.const 0))"
    "  (table (export \"table\") 0 50 externref)"
    "  (memory (export \"memory\") 1)"
    "  (memory (export \"wide\") i64 2 3)"
    "  (tag (export \"tag\") (param i32 i64)))");

  wasm_importtype_vec_t imports;
  wasm_module_imports(module, &imports);
  for (size_t i = 0; i < imports.size; ++i) {
    printf("import ");
    print_name(wasm_importtype_module(imports.data[i]));
    printf(" ");
    print_name(wasm_importtype_name(imports.data[i]));
    printf(": ");
    print_externtype(wasm_importtype_type(imports.data[i]));
    printf("\n");
  }

  // What the imports need, made from their types.
  const wasm_externtype_t* log_type = wasm_importtype_type(imports.data[0]);
  wasm_func_t* log = wasm_func_new(store, wasm_externtype_as_functype_const(log_type), (wasm_func_callback_t)NULL);
  printf("no callback: %s\n", log ? "a function?" : "no function");
  wasm_val_t limit = WASM_I64_VAL(7);
  wasm_global_t* global = wasm_global_new(store, wasm_externtype_as_globaltype_const(wasm_importtype_type(imports.data[1])), &limit);

  wasm_exporttype_vec_t exports, copies;
  wasm_module_exports(module, &exports);
  wasm_exporttype_vec_copy(&copies, &exports);
  wasm_exporttype_vec_delete(&exports);
  for (size_t i = 0; i < copies.size; ++i) {
    printf("export ");
    print_name(wasm_exporttype_name(copies.data[i]));
    printf(": ");
    print_externtype(wasm_exporttype_type(copies.data[i]));
    wasm_externtype_t* copy = wasm_externtype_copy(wasm_exporttype_type(copies.data[i]));
    check_conversions(copy);
    wasm_externtype_delete(copy);
    printf("\n");
  }

  // Types made by hand.
  wasm_functype_t* tag_of = wasm_functype_new_1_0(wasm_valtype_new(WASMC_EXNREF));
  wasm_externtype_t* tag = wasm_tagtype_as_externtype(wasm_tagtype_new(tag_of));
  print_externtype(tag);
  printf("\n");
  wasm_name_t name, from;
  wasm_name_new_from_string(&name, "name");
  wasm_name_new_from_string(&from, "from");
  wasm_importtype_t* import = wasm_importtype_new(&from, &name, tag);
  wasm_importtype_t* copy = wasm_importtype_copy(import);
  wasm_importtype_delete(import);
  print_name(wasm_importtype_module(copy));
  print_name(wasm_importtype_name(copy));
  print_externtype(wasm_importtype_type(copy));
  printf("\n");
  wasm_importtype_delete(copy);
  printf("nonsense: %d %d\n", wasm_valtype_new(77) != NULL, wasm_tagtype_new(wasm_functype_new_0_1(wasm_valtype_new_i32())) != NULL);

  // An instance exports the same types, with the sizes of now.
  wasm_module_t* other = example_module(store,
    "(module (func (export \"log\") (param i32 externref)) (table (export \"t\") 3 funcref) (memory (export \"m\") 2 9))");
  wasm_instance_t* provider = example_instance(store, other, 0, NULL);
  wasm_extern_vec_t things;
  wasm_instance_exports(provider, &things);
  wasm_extern_t* given[] = {things.data[0], wasm_global_as_extern(global)};
  wasm_instance_t* instance = example_instance(store, module, 2, given);
  wasm_memory_grow(wasm_extern_as_memory(things.data[2]), 3);
  wasm_table_grow(wasm_extern_as_table(things.data[1]), 4, NULL);
  for (size_t i = 0; i < things.size; ++i) {
    wasm_externtype_t* type = wasm_extern_type(things.data[i]);
    printf("kind %d: ", wasm_extern_kind(things.data[i]));
    print_externtype(type);
    printf("\n");
    wasm_externtype_delete(type);
  }

  wasm_extern_vec_t all;
  wasm_instance_exports(instance, &all);
  printf("%zu exports, the last of kind %d\n", all.size, wasm_extern_kind(all.data[all.size - 1]));
  wasm_extern_vec_delete(&all);

  wasm_extern_vec_delete(&things);
  wasm_exporttype_vec_delete(&copies);
  wasm_importtype_vec_delete(&imports);
  wasm_global_delete(global);
  wasm_instance_delete(instance);
  wasm_instance_delete(provider);
  wasm_module_delete(other);
  wasm_module_delete(module);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}

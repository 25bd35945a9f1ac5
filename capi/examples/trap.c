// Traps: of WebAssembly, of C's, through several calls, and where they happened.

#include "common.h"

static wasm_trap_t* fails(void* env, const wasm_val_vec_t* args, wasm_val_vec_t* results) {
  (void)args, (void)results;
  wasm_message_t message;
  wasm_name_new_from_string_nt(&message, "C does not want to");
  wasm_trap_t* trap = wasm_trap_new(env, &message);
  wasm_byte_vec_delete(&message);
  wasm_trap_set_host_info(trap, env);
  return trap;
}

static void print_frame(const wasm_frame_t* frame, const wasm_instance_t* instance) {
  const wasm_instance_t* of = wasm_frame_instance(frame);
  printf("  function %" PRIu32 " at 0x%zx, 0x%zx of the module, %s instance\n", wasm_frame_func_index(frame),
    wasm_frame_func_offset(frame), wasm_frame_module_offset(frame), of && wasm_instance_same(of, instance) ? "this" : "another");
}

static void provoke(const wasm_instance_t* instance, const char* name, void* info) {
  printf("%s\n", name);
  wasm_func_t* func = export_func(instance, name);
  wasm_val_vec_t none = WASM_EMPTY_VEC;
  wasm_trap_t* trap = wasm_func_call(func, &none, &none);
  wasm_func_delete(func);
  if (!trap) {
    printf("no trap\n");
    return;
  }
  print_trap(trap);
  printf("code %d, exit code %d, %s\n", wasmc_trap_code(trap), (int)wasmc_trap_exit_code(trap),
    info && wasm_trap_get_host_info(trap) == info ? "the trap that C made" : "no trap of C's");
  wasm_frame_t* origin = wasm_trap_origin(trap);
  if (origin) {
    printf("origin:\n");
    print_frame(origin, instance);
    wasm_frame_t* copy = wasm_frame_copy(origin);
    wasm_frame_delete(origin);
    wasm_frame_delete(copy);
  }
  wasm_frame_vec_t trace;
  wasm_trap_trace(trap, &trace);
  printf("trace of %zu:\n", trace.size);
  for (size_t i = 0; i < trace.size && i < 4; ++i) print_frame(trace.data[i], instance);
  wasm_frame_vec_delete(&trace);
  wasm_trap_delete(trap);
}

int main(void) {
  wasm_engine_t* engine = example_engine();
  wasm_store_t* store = wasm_store_new(engine);
  wasm_module_t* module = example_module(store,
    "(module"
    "  (func $fails (import \"\" \"fails\"))"
    "  (memory 1)"
    "  (func (export \"host\") (call $fails))"
    "  (func $unreachable (nop) (unreachable))"
    "  (func (export \"unreachable\") (call $unreachable))"
    "  (func (export \"memory\") (drop (i32.load (i32.const -1))))"
    "  (func (export \"divide\") (drop (i32.div_u (i32.const 1) (i32.const 0))))"
    "  (func $deep (export \"stack\") (call $deep)))");
  wasm_functype_t* type = wasm_functype_new_0_0();
  wasm_func_t* func = wasm_func_new_with_env(store, type, fails, store, NULL);
  wasm_functype_delete(type);
  wasm_extern_t* imports[] = {wasm_func_as_extern(func)};
  wasm_instance_t* instance = example_instance(store, module, 1, imports);
  provoke(instance, "host", store);
  provoke(instance, "unreachable", NULL);
  provoke(instance, "memory", NULL);
  provoke(instance, "divide", NULL);

  // Called from C there are no frames.
  wasm_val_vec_t none = WASM_EMPTY_VEC;
  wasm_trap_t* trap = wasm_func_call(func, &none, &none);
  print_trap(trap);
  if (wasm_trap_origin(trap)) printf("an origin?\n");
  wasm_trap_delete(trap);

  // Exhausting the stack is a trap like any other.
  wasm_func_t* deep = export_func(instance, "stack");
  trap = wasm_func_call(deep, &none, &none);
  print_trap(trap);
  wasm_trap_delete(trap);
  wasm_func_delete(deep);

  // Arguments and results that do not fit.
  wasm_val_t one = WASM_I32_VAL(1);
  wasm_val_vec_t ones = {1, &one};
  trap = wasm_func_call(func, &ones, &none);
  print_trap(trap);
  wasm_trap_delete(trap);

  wasm_func_delete(func);
  wasm_instance_delete(instance);
  wasm_module_delete(module);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}

// A start function that traps: there is no instance, but a trap that says where.

#include "common.h"

int main(void) {
  wasm_engine_t* engine = example_engine();
  wasm_store_t* store = wasm_store_new(engine);
  wasm_module_t* module = example_module(store,
    "(module (func $init (nop) (unreachable)) (func $start (call $init)) (start $start))");
  wasm_trap_t* trap = NULL;
  wasm_instance_t* instance = wasm_instance_new(store, module, NULL, &trap);
  printf("instance: %s\n", instance ? "there" : "none");
  print_trap(trap);
  wasm_frame_vec_t trace;
  wasm_trap_trace(trap, &trace);
  for (size_t i = 0; i < trace.size; ++i) {
    printf("function %" PRIu32 " at 0x%zx\n", wasm_frame_func_index(trace.data[i]), wasm_frame_func_offset(trace.data[i]));
  }
  wasm_frame_vec_delete(&trace);
  wasm_trap_delete(trap);

  // Without a place for the trap the last error says it.
  wasmc_last_error_clear();
  printf("again: %s\n", wasm_instance_new(store, module, NULL, NULL) ? "there" : "none");
  wasm_message_t message;
  wasmc_last_error_message(&message);
  printf("code %d, %d bytes of message\n", (int)wasmc_last_error_code(), message.size > 10 ? 10 : (int)message.size);
  wasm_byte_vec_delete(&message);

  wasm_module_delete(module);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}

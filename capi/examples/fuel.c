// Metering: counts that are the same on every tier, and fuel, which ends what runs too long.

#include "common.h"

static wasm_trap_t* nothing(const wasm_val_vec_t* args, wasm_val_vec_t* results) {
  (void)args, (void)results;
  return NULL;
}

static const char* program =
  "(module"
  "  (import \"host\" \"nothing\" (func $nothing))"
  "  (func (export \"sum\") (param i32) (result i32) (local i32)"
  "    (loop $l"
  "      (local.set 1 (i32.add (local.get 1) (local.get 0)))"
  "      (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))"
  "    (local.get 1))"
  "  (func (export \"call\") (call $nothing) (call $nothing)))";

static wasm_engine_t* metered(uint64_t add, uint64_t host) {
  wasm_config_t* config = example_config();
  check(wasmc_config_set_metering(config, true), "metering");
  if (add) check(wasmc_config_set_cost(config, "i32.add", add), "a cost");
  if (host) check(wasmc_config_set_host_cost(config, "host.nothing", host), "a cost");
  wasm_engine_t* engine = wasm_engine_new_with_config(config);
  if (!engine) fail("making the engine");
  return engine;
}

static void run(wasm_engine_t* engine) {
  wasm_store_t* store = wasm_store_new(engine);
  wasm_module_t* module = example_module(store, program);
  wasm_functype_t* type = wasm_functype_new_0_0();
  wasm_func_t* func = wasm_func_new(store, type, nothing);
  wasm_functype_delete(type);
  wasmc_linker_t* linker = wasmc_linker_new(store);
  check(wasmc_linker_define(linker, "host", "nothing", wasm_func_as_extern(func)), "defining");
  wasm_instance_t* instance = wasmc_linker_instantiate(linker, module, NULL);
  if (!instance) fail("instantiating");
  wasm_func_t* sum = export_func(instance, "sum");
  wasm_func_t* call = export_func(instance, "call");

  check(wasmc_store_set_fuel(store, 1000), "setting the fuel");
  printf("sum: %" PRId32 "\n", call_i32(sum, 1, (int32_t[]){10}));
  call_i32(call, 0, NULL);
  uint64_t left = 0;
  check(wasmc_store_fuel(store, &left), "looking at the fuel");
  wasmc_stats_t stats;
  check(wasmc_store_stats(store, &stats), "looking at the counts");
  printf("left %" PRIu64 ", instructions %" PRIu64 ", cost %" PRIu64 ", calls %" PRIu64 ", of the host %" PRIu64 "\n", left,
    stats.instructions, stats.cost, stats.calls, stats.host_calls);

  wasm_val_t many = WASM_I32_VAL(1000000), result = WASM_INIT_VAL;
  wasm_val_vec_t given = {1, &many}, taken = {1, &result};
  wasm_trap_t* trap = wasm_func_call(sum, &given, &taken);
  print_trap(trap);
  printf("code %d\n", wasmc_trap_code(trap) == WASMC_TRAP_OUT_OF_FUEL);
  wasm_trap_delete(trap);
  // With more fuel the store goes on.
  check(wasmc_store_set_fuel(store, 1000), "setting the fuel");
  printf("sum: %" PRId32 "\n", call_i32(sum, 1, (int32_t[]){4}));

  wasm_func_delete(sum);
  wasm_func_delete(call);
  wasm_func_delete(func);
  wasmc_linker_delete(linker);
  wasm_instance_delete(instance);
  wasm_module_delete(module);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
}

int main(void) {
  run(metered(0, 0));
  run(metered(5, 0));
  run(metered(5, 100));

  // Without metering there is no fuel.
  wasm_engine_t* engine = example_engine();
  wasm_store_t* store = wasm_store_new(engine);
  printf("without metering: %d\n", wasmc_store_set_fuel(store, 1));
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  wasm_config_t* config = wasm_config_new();
  printf("an unknown instruction: %d\n", wasmc_config_set_cost(config, "i32.ad", 1));
  wasm_config_delete(config);
  return 0;
}

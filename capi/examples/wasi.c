// WASI programs: what they are granted, what they print, and how they end.

#include <sys/stat.h>
#include <unistd.h>

#include "common.h"

// Prints its arguments and variables, copies its input to its standard error, writes a file, and ends with 7.
static const char* program =
  "(module"
  "  (import \"wasi_snapshot_preview1\" \"args_sizes_get\" (func $args_sizes (param i32 i32) (result i32)))"
  "  (import \"wasi_snapshot_preview1\" \"args_get\" (func $args (param i32 i32) (result i32)))"
  "  (import \"wasi_snapshot_preview1\" \"environ_sizes_get\" (func $env_sizes (param i32 i32) (result i32)))"
  "  (import \"wasi_snapshot_preview1\" \"environ_get\" (func $env (param i32 i32) (result i32)))"
  "  (import \"wasi_snapshot_preview1\" \"fd_write\" (func $write (param i32 i32 i32 i32) (result i32)))"
  "  (import \"wasi_snapshot_preview1\" \"fd_read\" (func $read (param i32 i32 i32 i32) (result i32)))"
  "  (import \"wasi_snapshot_preview1\" \"path_open\" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))"
  "  (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))"
  "  (memory (export \"memory\") 1)"
  "  (data (i32.const 900) \"out.txt\")"
  "  (func $print (param $fd i32) (param $at i32) (param $len i32) (result i32)"
  "    (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $len))"
  "    (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))"
  "  (func (export \"_start\")"
  "    (drop (call $args_sizes (i32.const 16) (i32.const 20)))"
  "    (drop (call $args (i32.const 1000) (i32.const 2000)))"
  "    (drop (call $print (i32.const 1) (i32.const 2000) (i32.load (i32.const 20))))"
  "    (drop (call $env_sizes (i32.const 16) (i32.const 20)))"
  "    (drop (call $env (i32.const 1000) (i32.const 3000)))"
  "    (drop (call $print (i32.const 1) (i32.const 3000) (i32.load (i32.const 20))))"
  "    (i32.store (i32.const 0) (i32.const 4000)) (i32.store (i32.const 4) (i32.const 100))"
  "    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))"
  "    (drop (call $print (i32.const 2) (i32.const 4000) (i32.load (i32.const 8))))"
  "    (if (i32.eqz (call $open (i32.const 3) (i32.const 0) (i32.const 900) (i32.const 7) (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 24)))"
  "      (then (drop (call $print (i32.load (i32.const 24)) (i32.const 900) (i32.const 7)))))"
  "    (call $exit (i32.const 7)))"
  "  (func (export \"other\") (call $exit (i32.const 3))))";

static void print_bytes(const char* what, wasm_byte_vec_t* bytes) {
  printf("%s: ", what);
  for (size_t i = 0; i < bytes->size; ++i) putchar(bytes->data[i] ? bytes->data[i] : '|');
  printf("\n");
  wasm_byte_vec_delete(bytes);
}

static wasm_instance_t* linked(wasm_store_t* store, const wasm_module_t* module) {
  wasmc_linker_t* linker = wasmc_linker_new(store);
  check(wasmc_linker_define_wasi(linker), "defining WASI");
  wasm_instance_t* instance = wasmc_linker_instantiate(linker, module, NULL);
  if (!instance) fail("instantiating");
  wasmc_linker_delete(linker);
  return instance;
}

int main(void) {
  wasm_engine_t* engine = example_engine();
  wasm_store_t* store = wasm_store_new(engine);
  wasm_module_t* module = example_module(store, program);
  mkdir("granted", 0700);

  wasmc_wasi_t* wasi = wasmc_wasi_new();
  check(wasmc_wasi_arg(wasi, "program") && wasmc_wasi_arg(wasi, "-v"), "an argument");
  check(wasmc_wasi_env(wasi, "A", "1") && wasmc_wasi_env(wasi, "LANG", "C"), "a variable");
  check(wasmc_wasi_dir(wasi, "granted", "/", false), "a folder");
  wasm_byte_vec_t input = {5, "input"};
  check(wasmc_wasi_stdin_bytes(wasi, &input), "input");
  check(wasmc_wasi_capture_stdout(wasi, 1 << 20) && wasmc_wasi_capture_stderr(wasi, 3), "capturing");
  check(wasmc_wasi_limit(wasi, "open-files", 10) && wasmc_wasi_deterministic(wasi, 1), "limits");
  check(wasmc_store_set_wasi(store, wasi), "granting");

  wasm_instance_t* instance = linked(store, module);
  wasm_trap_t* trap = NULL;
  printf("code %d", (int)wasmc_instance_run(instance, &trap));
  printf(", trap %d\n", trap != NULL);
  wasm_byte_vec_t out;
  wasmc_store_take_stdout(store, &out);
  print_bytes("stdout", &out);
  wasmc_store_take_stderr(store, &out);
  print_bytes("stderr", &out);
  wasmc_store_take_stderr(store, &out);
  printf("taken: %zu\n", out.size);
  FILE* file = fopen("granted/out.txt", "r");
  char text[16] = "";
  if (file) {
    if (!fgets(text, sizeof text, file)) text[0] = 0;
    fclose(file);
  }
  printf("file: %s\n", text);

  // An end inside a call of a function.
  wasm_func_t* other = export_func(instance, "other");
  wasm_val_vec_t none = WASM_EMPTY_VEC;
  trap = wasm_func_call(other, &none, &none);
  int32_t status = -1;
  bool ended = wasmc_trap_exit_status(trap, &status);
  printf("ended %d with %" PRId32 ", exit code %" PRId32 "\n", ended, status, wasmc_trap_exit_code(trap));
  wasm_trap_delete(trap);
  wasm_func_delete(other);
  wasm_instance_delete(instance);

  // Nothing is granted that was not asked for: a store without a configuration has no folder and no arguments.
  unlink("granted/out.txt");
  wasm_store_t* bare = wasm_store_new(engine);
  wasm_shared_module_t* shared = wasm_module_share(module);
  wasm_module_t* same = wasm_module_obtain(bare, shared);
  instance = linked(bare, same);
  printf("code %d", (int)wasmc_instance_run(instance, &trap));
  printf(", file %d\n", access("granted/out.txt", F_OK) == 0);
  wasmc_store_take_stdout(bare, &out);
  printf("captured %zu\n", out.size);
  wasm_instance_delete(instance);

  // An import that nothing provides.
  wasm_module_t* wants = example_module(bare, "(module (import \"wasi_snapshot_preview1\" \"fd_writ\" (func)))");
  wasmc_linker_t* linker = wasmc_linker_new(bare);
  wasmc_linker_define_wasi(linker);
  instance = wasmc_linker_instantiate(linker, wants, &trap);
  printf("instance %d, exit code %d, %d\n", instance != NULL, (int)wasmc_trap_exit_code(trap), (int)wasmc_last_error_code());
  wasm_trap_delete(trap);
  wasmc_linker_delete(linker);

  // Mistakes.
  wasi = wasmc_wasi_new();
  bool bad_limit = wasmc_wasi_limit(wasi, "nonsense", 1);
  bool bad_dir = wasmc_wasi_dir(wasi, "not there", "/", true);
  printf("limit %d, folder %d, code %d\n", bad_limit, bad_dir, (int)wasmc_last_error_code());
  bool grants = wasmc_wasi_listen_tcp(wasi, "127.0.0.1:0") && wasmc_wasi_net(wasi, "10.0.0.0/8:443") && wasmc_wasi_net(wasi, "dns");
  bool bad_address = wasmc_wasi_listen_tcp(wasi, "here"), bad_net = wasmc_wasi_net(wasi, "everything");
  printf("network %d, %d %d\n", grants, bad_address, bad_net);
  wasmc_wasi_delete(wasi);

  wasm_module_delete(wants);
  wasm_module_delete(same);
  wasm_shared_module_delete(shared);
  wasm_store_delete(bare);
  wasm_module_delete(module);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}

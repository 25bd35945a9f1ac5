// wasmc's additions to the standard C API of WebAssembly (wasm.h): configuration, artifacts, linking by name,
// WASI, metering, interruption, limits, errors.
// docs/c-api.md explains what is not said here. `own` means what it means in wasm.h.
//
// Functions that return bool return false if something failed, and functions that return a pointer null;
// wasmc_last_error_message says what. Strings are UTF-8 and end with a NUL; names of files, arguments and environment
// variables are whatever the system takes.

#ifndef WASMC_H
#define WASMC_H

#include "wasm.h"

#ifdef __cplusplus
extern "C" {
#endif

#define own

///////////////////////////////////////////////////////////////////////////////
// Kinds of values beside those of wasm.h

enum wasmc_valkind_enum {
  // A vector. It can be part of a type, but not be passed as a value: calls of such functions from C, and of C from
  // them, end with a trap.
  WASMC_V128 = 4,
  // A reference to an exception, or null.
  WASMC_EXNREF = 130,
};


///////////////////////////////////////////////////////////////////////////////
// Errors

// What went wrong last in this thread, ending with a NUL; empty if nothing did.
WASM_API_EXTERN void wasmc_last_error_message(own wasm_message_t* out);

// The code with which the command line would have ended (the table is in docs/errors.md); 0 if nothing went wrong.
WASM_API_EXTERN int32_t wasmc_last_error_code(void);

WASM_API_EXTERN void wasmc_last_error_clear(void);


///////////////////////////////////////////////////////////////////////////////
// Traps

// Whether the trap is a program that ended itself (WASI's proc_exit), and its status. `status` may be null.
WASM_API_EXTERN bool wasmc_trap_exit_status(const wasm_trap_t*, int32_t* status);

// Why WebAssembly trapped; 0 for a trap of any other kind: one of C's, an uncaught exception, an error.
WASM_API_EXTERN uint8_t wasmc_trap_code(const wasm_trap_t*);

enum wasmc_trap_code_enum {
  WASMC_TRAP_UNREACHABLE = 1,
  WASMC_TRAP_MEMORY_OUT_OF_BOUNDS = 2,
  WASMC_TRAP_TABLE_OUT_OF_BOUNDS = 3,
  WASMC_TRAP_UNDEFINED_ELEMENT = 4,
  WASMC_TRAP_INDIRECT_CALL_TO_NULL = 5,
  WASMC_TRAP_BAD_SIGNATURE = 6,
  WASMC_TRAP_INTEGER_OVERFLOW = 7,
  WASMC_TRAP_INTEGER_DIVISION_BY_ZERO = 8,
  WASMC_TRAP_BAD_CONVERSION_TO_INTEGER = 9,
  WASMC_TRAP_STACK_OVERFLOW = 10,
  WASMC_TRAP_NULL_REFERENCE = 11,
  WASMC_TRAP_UNALIGNED_ATOMIC = 12,
  WASMC_TRAP_ATOMIC_WAIT_NON_SHARED = 13,
  WASMC_TRAP_OUT_OF_FUEL = 14,
  WASMC_TRAP_INTERRUPT = 15,
  WASMC_TRAP_HEAP_EXHAUSTED = 16,
  WASMC_TRAP_ARTIFACT_CHANGED = 17,
  WASMC_TRAP_NULL_FUNCTION_REFERENCE = 18,
  WASMC_TRAP_NULL_EXCEPTION_REFERENCE = 19,
};

// The code with which the command line would end for this trap: the program's own status, 124 if it was interrupted, or 134.
WASM_API_EXTERN int32_t wasmc_trap_exit_code(const wasm_trap_t*);


///////////////////////////////////////////////////////////////////////////////
// Configuration

typedef uint8_t wasmc_tier_t;
enum wasmc_tier_enum {
  // As native code, made when the module is (the default).
  WASMC_COMPILED,
  // By the interpreter: starts at once and needs no compiler.
  WASMC_INTERPRETED,
  // By the interpreter first; what runs often is compiled meanwhile, by a thread of the library's own.
  WASMC_AUTO,
};

// How modules made with wasm_module_new run. Those that are loaded from artifacts always run their native code.
WASM_API_EXTERN bool wasmc_config_set_tier(wasm_config_t*, wasmc_tier_t);

// Switches a proposal on or off, by its name in `wasmc settings`.
WASM_API_EXTERN bool wasmc_config_set_feature(wasm_config_t*, const char* name, bool on);

// Bytes of stack that WebAssembly may use in each store (8 MiB unless this is called).
WASM_API_EXTERN bool wasmc_config_set_stack_size(wasm_config_t*, uint64_t bytes);

// Whether each 32-bit memory reserves 8 GiB of address space, so that accesses need no checks (the default).
WASM_API_EXTERN bool wasmc_config_set_static_memory(wasm_config_t*, bool on);

// Whether the code of artifacts is hashed when they are loaded (the default).
WASM_API_EXTERN bool wasmc_config_set_verify_artifacts(wasm_config_t*, bool on);

// Whether instructions are counted, and fuel limits them. Artifacts for an engine that meters are compiled by one that does,
// or with `wasmc compile --meter`.
WASM_API_EXTERN bool wasmc_config_set_metering(wasm_config_t*, bool on);

// What an instruction costs, by its name in the text format, and a call of a function of the host, by the names of its import
// (`module.name`), where code is metered. Otherwise an instruction costs 1, and such a call nothing.
WASM_API_EXTERN bool wasmc_config_set_cost(wasm_config_t*, const char* instruction, uint64_t cost);
WASM_API_EXTERN bool wasmc_config_set_host_cost(wasm_config_t*, const char* name, uint64_t cost);

// Which signal interrupts (a real-time signal unless this is called); it is the same for all engines of a process.
WASM_API_EXTERN bool wasmc_config_set_interrupt_signal(wasm_config_t*, int32_t signal);

// Whether this library has a compiler. One without runs artifacts, and interprets.
WASM_API_EXTERN bool wasmc_has_compiler(void);


///////////////////////////////////////////////////////////////////////////////
// Modules and artifacts
//
// An artifact is a native shared object that wasmc compiled ahead of time; wasm_module_serialize and
// wasm_module_deserialize write and read artifacts as well. An artifact is native code: load only what you, or somebody
// whom you trust, compiled.

// Loads an artifact from its file, which is mapped and must not be changed while it is in use.
WASM_API_EXTERN own wasm_module_t* wasmc_module_load(wasm_store_t*, const char* path);

// Compiles a module that was made with wasm_module_new to a file: whole, or not at all.
WASM_API_EXTERN bool wasmc_module_compile_to_file(const wasm_module_t*, const char* path);

// How many functions the module defines, and how many of them have native code. Either pointer may be null.
WASM_API_EXTERN void wasmc_module_functions(const wasm_module_t*, uint32_t* defined, uint32_t* compiled);

// The binary of a module in the text format.
WASM_API_EXTERN bool wasmc_wat2wasm(const wasm_byte_vec_t* wat, own wasm_byte_vec_t* out);


///////////////////////////////////////////////////////////////////////////////
// Stores and instances

// Frees what no reference leads to any more; finalizers of such objects run before this returns. Happens by itself as
// it becomes much.
WASM_API_EXTERN void wasmc_store_gc(wasm_store_t*);

// The export with this name.
WASM_API_EXTERN own wasm_extern_t* wasmc_instance_export(const wasm_instance_t*, const char* name);

// Runs a WASI program: calls `_start`. Returns the code with which the command line would end: the program's own
// status, 124 if it was interrupted, or 134 for another trap. If the program did not end by itself, `trap` says why; it may be null.
WASM_API_EXTERN int32_t wasmc_instance_run(const wasm_instance_t*, own wasm_trap_t** trap);


///////////////////////////////////////////////////////////////////////////////
// Metering: for stores of engines that do

// Limits what runs from now on: a call that would cost more than is left ends with the trap WASMC_TRAP_OUT_OF_FUEL, before
// anything of that is done. A store begins without a limit.
WASM_API_EXTERN bool wasmc_store_set_fuel(wasm_store_t*, uint64_t fuel);

// The fuel that is left.
WASM_API_EXTERN bool wasmc_store_fuel(wasm_store_t*, uint64_t* fuel);

// What ran in a store since it was made, the same on every tier. Without metering only `memory_bytes` is known.
typedef struct wasmc_stats_t {
  uint64_t instructions;
  uint64_t cost;
  uint64_t calls;         // of functions of WebAssembly's
  uint64_t host_calls;    // of functions that it imports from the host
  uint64_t memory_bytes;  // of all memories, which never shrink
} wasmc_stats_t;

WASM_API_EXTERN bool wasmc_store_stats(wasm_store_t*, wasmc_stats_t* out);


///////////////////////////////////////////////////////////////////////////////
// Interruption
//
// A handle interrupts its store from any thread; this, and releasing it, are all that other threads may do with a store that is in
// use. What runs ends with the trap WASMC_TRAP_INTERRUPT; the store stays interrupted, and later calls end the same way. What it
// holds can still be looked at.

typedef struct wasmc_interrupt_t wasmc_interrupt_t;
WASM_API_EXTERN own wasmc_interrupt_t* wasmc_store_interrupt_handle(wasm_store_t*);
WASM_API_EXTERN void wasmc_interrupt_delete(own wasmc_interrupt_t*);

// Interrupts the store. Not to be called from signal handlers. A store that is gone is not interrupted any more.
WASM_API_EXTERN void wasmc_interrupt(const wasmc_interrupt_t*);

// Interrupts the store after a time, unless the result is deleted before.
typedef struct wasmc_timeout_t wasmc_timeout_t;
WASM_API_EXTERN own wasmc_timeout_t* wasmc_interrupt_after(const wasmc_interrupt_t*, uint64_t nanoseconds);
WASM_API_EXTERN void wasmc_timeout_delete(own wasmc_timeout_t*);

// Whether the store was interrupted. A function of C's that works for long asks now and then, and returns if so; system calls
// that wait end with EINTR.
WASM_API_EXTERN bool wasmc_store_is_interrupted(const wasm_store_t*);


///////////////////////////////////////////////////////////////////////////////
// Limits of what a store may use: `memory` (bytes), `table-elements`, `instances`, `memories`, `tables`

// Sets a limit, before there is anything in the store. Growing beyond it fails, as the specification says; making something
// beyond it is an error that names the limit.
WASM_API_EXTERN bool wasmc_store_set_limit(wasm_store_t*, const char* name, uint64_t most);

// How much is used now, and the most that was at a time; counted if a limit of any name was set. Either pointer may be null.
WASM_API_EXTERN bool wasmc_store_usage(wasm_store_t*, const char* name, uint64_t* now, uint64_t* peak);


///////////////////////////////////////////////////////////////////////////////
// Linking by name

typedef struct wasmc_linker_t wasmc_linker_t;
WASM_API_EXTERN own wasmc_linker_t* wasmc_linker_new(wasm_store_t*);
WASM_API_EXTERN void wasmc_linker_delete(own wasmc_linker_t*);

// Defines something of the linker's store. A name that is taken is an error.
WASM_API_EXTERN bool wasmc_linker_define(
  wasmc_linker_t*, const char* module, const char* name, const wasm_extern_t*);

// Defines all exports of an instance.
WASM_API_EXTERN bool wasmc_linker_define_instance(wasmc_linker_t*, const char* module, const wasm_instance_t*);

// Makes WASI available to the modules that are instantiated from now on; wasmc_store_set_wasi says what they may see.
WASM_API_EXTERN bool wasmc_linker_define_wasi(wasmc_linker_t*);

// Instantiates a module. If that fails, `trap` says why; it may be null.
WASM_API_EXTERN own wasm_instance_t* wasmc_linker_instantiate(
  wasmc_linker_t*, const wasm_module_t*, own wasm_trap_t** trap);


///////////////////////////////////////////////////////////////////////////////
// WASI: what the programs of a store may see of the host, which is nothing unless it is granted

// A program that writes to a broken pipe must not end its host: the first configuration gives SIGPIPE a handler that does nothing, unless
// the process has a handler or ignores the signal by then.
typedef struct wasmc_wasi_t wasmc_wasi_t;
WASM_API_EXTERN own wasmc_wasi_t* wasmc_wasi_new(void);
WASM_API_EXTERN void wasmc_wasi_delete(own wasmc_wasi_t*);

// Adds an argument; the first is the program's name.
WASM_API_EXTERN bool wasmc_wasi_arg(wasmc_wasi_t*, const char* arg);

WASM_API_EXTERN bool wasmc_wasi_env(wasmc_wasi_t*, const char* name, const char* value);
WASM_API_EXTERN bool wasmc_wasi_inherit_env(wasmc_wasi_t*);

// Shows the folder `host` to the program as `guest`.
WASM_API_EXTERN bool wasmc_wasi_dir(wasmc_wasi_t*, const char* host, const char* guest, bool read_only);

// Passes on the standard streams of the process. They lead nowhere unless this or one of the next three is called.
WASM_API_EXTERN bool wasmc_wasi_inherit_stdio(wasmc_wasi_t*);

// What the program reads from its standard input; the bytes are copied.
WASM_API_EXTERN bool wasmc_wasi_stdin_bytes(wasmc_wasi_t*, const wasm_byte_vec_t*);

// Keeps what the program writes, at most `limit` bytes until it is taken; more is an error for the program (NOSPC).
WASM_API_EXTERN bool wasmc_wasi_capture_stdout(wasmc_wasi_t*, size_t limit);
WASM_API_EXTERN bool wasmc_wasi_capture_stderr(wasmc_wasi_t*, size_t limit);

// Listens on a TCP address (`127.0.0.1:8080`), and hands the socket to the program, behind its folders.
WASM_API_EXTERN bool wasmc_wasi_listen_tcp(wasmc_wasi_t*, const char* address);

// Lets the program reach a part of the network with WasmEdge's socket functions, as `wasmc run --net` does.
WASM_API_EXTERN bool wasmc_wasi_net(wasmc_wasi_t*, const char* grant);

// Bounds what the program may use of the host; `wasmc run --limit help` lists the names.
WASM_API_EXTERN bool wasmc_wasi_limit(wasmc_wasi_t*, const char* name, uint64_t value);

// Makes runs repeat themselves: a clock that only the program moves, and random numbers from a seed.
WASM_API_EXTERN bool wasmc_wasi_deterministic(wasmc_wasi_t*, uint64_t seed);

// Grants to the programs of a store what the configuration says.
WASM_API_EXTERN bool wasmc_store_set_wasi(wasm_store_t*, own wasmc_wasi_t*);

// What the programs of the store have written to a captured stream since the last time.
WASM_API_EXTERN void wasmc_store_take_stdout(wasm_store_t*, own wasm_byte_vec_t* out);
WASM_API_EXTERN void wasmc_store_take_stderr(wasm_store_t*, own wasm_byte_vec_t* out);

#undef own

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // #ifdef WASMC_H

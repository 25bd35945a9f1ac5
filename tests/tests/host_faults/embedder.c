// A program that has signal handlers of its own, forks, and has threads that come and go, around stores of wasmc. Its first argument says
// which; it returns 0 if all is as it should be.

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

#define MODULE \
  "(module (memory 1) (type $t (func))" \
  "  (func (export \"memory\") (drop (i32.load (i32.const -4))))" \
  "  (func (export \"divide\") (drop (i32.div_s (i32.const 1) (i32.load (i32.const 0)))))" \
  "  (func (export \"unreachable\") (unreachable))" \
  "  (func $deep (export \"stack\") (call $deep))" \
  "  (func (export \"spin\") (loop $l (br $l)))" \
  "  (func (export \"works\") (i32.store (i32.const 8) (i32.const 1))))"

static const char* const traps[] = {"memory", "divide", "unreachable", "stack"};

static void require(bool ok, const char* what) {
  if (ok) return;
  fprintf(stderr, "not so: %s\n", what);
  _exit(1);
}

// Traps of every kind, some times over, in a store of its own.
static void provoke(wasm_engine_t* engine, int times) {
  wasm_store_t* store = wasm_store_new(engine);
  wasm_module_t* module = example_module(store, MODULE);
  wasm_instance_t* instance = example_instance(store, module, 0, NULL);
  wasm_val_vec_t none = WASM_EMPTY_VEC;
  for (int i = 0; i < times; ++i) {
    for (size_t t = 0; t < 4; ++t) {
      wasm_func_t* func = export_func(instance, traps[t]);
      wasm_trap_t* trap = wasm_func_call(func, &none, &none);
      require(trap != NULL, traps[t]);
      wasm_trap_delete(trap);
      wasm_func_delete(func);
    }
    wasm_func_t* works = export_func(instance, "works");
    no_trap(wasm_func_call(works, &none, &none));
    wasm_func_delete(works);
  }
  wasm_instance_delete(instance);
  wasm_module_delete(module);
  wasm_store_delete(store);
}

// A loop that only a time-out ends.
static void time_out(wasm_engine_t* engine) {
  wasm_store_t* store = wasm_store_new(engine);
  wasm_module_t* module = example_module(store, MODULE);
  wasm_instance_t* instance = example_instance(store, module, 0, NULL);
  wasmc_interrupt_t* handle = wasmc_store_interrupt_handle(store);
  require(handle != NULL, "a handle");
  wasmc_timeout_t* armed = wasmc_interrupt_after(handle, 20 * 1000 * 1000);
  wasm_func_t* spin = export_func(instance, "spin");
  wasm_val_vec_t none = WASM_EMPTY_VEC;
  wasm_trap_t* trap = wasm_func_call(spin, &none, &none);
  require(trap && wasmc_trap_code(trap) == WASMC_TRAP_INTERRUPT, "the time-out");
  wasm_trap_delete(trap);
  wasm_func_delete(spin);
  wasmc_timeout_delete(armed);
  wasmc_interrupt_delete(handle);
  wasm_instance_delete(instance);
  wasm_module_delete(module);
  wasm_store_delete(store);
}

static volatile sig_atomic_t handled;
static char* protected_page;
static struct sigaction before[65];

// As language runtimes do: an access to a page of their own is repaired, anything else goes to whoever was there before.
static void handler(int signal, siginfo_t* info, void* context) {
  if (signal == SIGSEGV && (char*)info->si_addr == protected_page) {
    ++handled;
    mprotect(protected_page, 4096, PROT_READ | PROT_WRITE);
    return;
  }
  if (before[signal].sa_flags & SA_SIGINFO) {
    before[signal].sa_sigaction(signal, info, context);
  } else {
    _exit(2);
  }
}

static void install(void) {
  const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
  for (int i = 0; i < 4; ++i) {
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK};
    action.sa_sigaction = handler;
    sigemptyset(&action.sa_mask);
    require(sigaction(signals[i], &action, &before[signals[i]]) == 0, "sigaction");
  }
}

// A fault of the host's own, which its handler repairs.
static void own_fault(void) {
  int count = handled;
  mprotect(protected_page, 4096, PROT_NONE);
  *(volatile char*)protected_page = 1;
  require(handled == count + 1, "the host's handler got the host's fault");
}

static wasm_trap_t* host_function(const wasm_val_vec_t* args, wasm_val_vec_t* results) {
  (void)args, (void)results;
  own_fault();
  return NULL;
}

// The same in a function that WebAssembly calls, on the store's stack.
static void own_fault_inside(wasm_engine_t* engine) {
  wasm_store_t* store = wasm_store_new(engine);
  wasm_module_t* module = example_module(store,
    "(module (import \"\" \"f\" (func $f)) (memory 1)"
    "  (func (export \"run\") (call $f) (drop (i32.load (i32.const -4)))))");
  wasm_functype_t* type = wasm_functype_new_0_0();
  wasm_func_t* func = wasm_func_new(store, type, host_function);
  wasm_functype_delete(type);
  wasm_extern_t* imports[] = {wasm_func_as_extern(func)};
  wasm_instance_t* instance = example_instance(store, module, 1, imports);
  wasm_func_t* run = export_func(instance, "run");
  wasm_val_vec_t none = WASM_EMPTY_VEC;
  wasm_trap_t* trap = wasm_func_call(run, &none, &none);
  require(trap && wasmc_trap_code(trap) == WASMC_TRAP_MEMORY_OUT_OF_BOUNDS, "the trap behind the host's fault");
  wasm_trap_delete(trap);
  wasm_func_delete(run);
  wasm_func_delete(func);
  wasm_instance_delete(instance);
  wasm_module_delete(module);
  wasm_store_delete(store);
}

static void* thread(void* engine) {
  provoke(engine, 2);
  return NULL;
}

static void* long_thread(void* engine) {
  provoke(engine, 40);
  time_out(engine);
  return NULL;
}

static int wait_for(pid_t child) {
  int status = 0;
  require(waitpid(child, &status, 0) == child, "waiting");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char** argv) {
  require(argc == 2, "one argument");
  const char* what = argv[1];
  protected_page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  wasm_engine_t* engine;
  if (strcmp(what, "handlers-before") == 0) {
    install();
    engine = example_engine();
    provoke(engine, 10);
    require(handled == 0, "traps are not the host's");
    own_fault();
    own_fault_inside(engine);
    provoke(engine, 10);
  } else if (strcmp(what, "handlers-after") == 0) {
    engine = example_engine();
    provoke(engine, 10);
    install();
    provoke(engine, 10);
    require(handled == 0, "traps are not the host's");
    own_fault();
    own_fault_inside(engine);
    provoke(engine, 10);
  } else if (strcmp(what, "fork") == 0) {
    engine = example_engine();
    provoke(engine, 2);
    time_out(engine);
    for (int i = 0; i < 5; ++i) {
      pid_t child = fork();
      if (child == 0) {
        provoke(engine, 2);
        time_out(engine);
        pid_t grandchild = fork();
        if (grandchild == 0) {
          time_out(engine);
          _exit(0);
        }
        _exit(wait_for(grandchild));
      }
      provoke(engine, 2);
      time_out(engine);
      require(wait_for(child) == 0, "the child");
    }
  } else {
    engine = example_engine();
    pthread_t longs[2];
    for (int i = 0; i < 2; ++i) require(pthread_create(&longs[i], NULL, long_thread, engine) == 0, "a thread");
    for (int round = 0; round < 15; ++round) {
      pthread_t threads[4];
      for (int i = 0; i < 4; ++i) require(pthread_create(&threads[i], NULL, thread, engine) == 0, "a thread");
      for (int i = 0; i < 4; ++i) pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < 2; ++i) pthread_join(longs[i], NULL);
  }
  wasm_engine_delete(engine);
  return 0;
}

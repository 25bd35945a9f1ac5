/* The interface between wasmc and its plug-ins: host modules in native shared libraries.
 *
 * A plug-in exports one symbol, the constant `wasmc_plugin_descriptor`. It names a module and its functions, which programs
 * import like those of any other module. wasmc loads a plug-in only when told to (`wasmc run --plugin ./libtext.so`, or
 * `Plugin::load` of the crate wasmc-plugin) and refuses one that was made for another version of this interface.
 * docs/plugins.md explains it in one page; examples/plugin-c and examples/plugin-rust are whole plug-ins.
 *
 * What a plug-in promises:
 * - It is native code in wasmc's process, and is trusted as such.
 * - Its functions may be called on any thread, and on several at once: what they share, they lock.
 * - A caller is valid only during the call that it is given to, and only on that thread.
 * - Nothing unwinds or jumps out of a function: no C++ exception, no panic, no longjmp.
 * - A function gets 256 KiB of stack at the least; what needs more allocates it.
 */
#ifndef WASMC_PLUGIN_H
#define WASMC_PLUGIN_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Changes with every change of what follows. */
#define WASMC_PLUGIN_ABI_VERSION 1

/* Types of values, with the codes of the binary format of WebAssembly. */
#define WASMC_PLUGIN_I32 0x7f
#define WASMC_PLUGIN_I64 0x7e
#define WASMC_PLUGIN_F32 0x7d
#define WASMC_PLUGIN_F64 0x7c
#define WASMC_PLUGIN_V128 0x7b

/* What a function returns: its results are set; or it failed, and the program ends as by a trap. */
#define WASMC_PLUGIN_OK 0
#define WASMC_PLUGIN_ERROR 1

/* An argument or a result. A function must set `type` of each result to the declared one; the helpers below do. */
typedef struct wasmc_plugin_value {
    uint8_t type;
    uint8_t reserved[7];
    union {
        int32_t i32;
        int64_t i64;
        float f32;
        double f64;
        uint8_t v128[16]; /* lanes in little-endian order */
    } of;
} wasmc_plugin_value;

struct wasmc_plugin_caller;

/* What a function can ask of the host during a call. Use the helpers below. */
typedef struct wasmc_plugin_host {
    uint32_t struct_size;
    uint32_t reserved;
    uint64_t (*memory_size)(struct wasmc_plugin_caller *caller);
    int32_t (*memory_read)(struct wasmc_plugin_caller *caller, uint64_t address, void *to, uint64_t size);
    int32_t (*memory_write)(struct wasmc_plugin_caller *caller, uint64_t address, const void *from, uint64_t size);
    void (*set_error)(struct wasmc_plugin_caller *caller, const char *message, uint64_t size);
    int32_t (*interrupted)(struct wasmc_plugin_caller *caller);
} wasmc_plugin_host;

/* Whoever called: the instance that imported the function. What follows the first member is the host's own. */
typedef struct wasmc_plugin_caller {
    const wasmc_plugin_host *host;
} wasmc_plugin_caller;

/* A function: `args` and `results` have as many values as were declared; `data` is that of the declaration. */
typedef int32_t (*wasmc_plugin_callback)(wasmc_plugin_caller *caller, void *data, const wasmc_plugin_value *args,
                                         wasmc_plugin_value *results);

typedef struct wasmc_plugin_function {
    const char *name;       /* UTF-8, not empty, as all names */
    const uint8_t *params;  /* type codes; may be null if there are none */
    uint64_t param_count;
    const uint8_t *results;
    uint64_t result_count;
    wasmc_plugin_callback callback;
    void *data;
} wasmc_plugin_function;

typedef struct wasmc_plugin_descriptor_t {
    uint32_t abi_version;   /* WASMC_PLUGIN_ABI_VERSION */
    uint32_t struct_size;   /* sizeof(wasmc_plugin_descriptor_t) */
    const char *module;     /* what programs import from */
    const char *version;    /* the plug-in's own, for people */
    const wasmc_plugin_function *functions;
    uint64_t function_count;
    int32_t (*init)(void);  /* may be null; called each time the plug-in is loaded; 0 if it can be used */
    void (*fini)(void);     /* may be null; called once for each successful init, when nobody can call any more */
} wasmc_plugin_descriptor_t;

#if defined(_WIN32)
#define WASMC_PLUGIN_EXPORT __declspec(dllexport)
#else
#define WASMC_PLUGIN_EXPORT __attribute__((visibility("default")))
#endif

/* The one symbol that a plug-in exports. */
extern WASMC_PLUGIN_EXPORT const wasmc_plugin_descriptor_t wasmc_plugin_descriptor;

/* Bytes of the memory that the caller exports as `memory`; 0 if there is none. */
static inline uint64_t wasmc_plugin_memory_size(wasmc_plugin_caller *caller) {
    return caller->host->memory_size(caller);
}

/* Copies from the caller's memory; 0, or -1 if not all of it is inside: then nothing is copied. */
static inline int32_t wasmc_plugin_memory_read(wasmc_plugin_caller *caller, uint64_t address, void *to, uint64_t size) {
    return caller->host->memory_read(caller, address, to, size);
}

/* Copies into the caller's memory; 0, or -1 if not all of it is inside: then nothing is copied. */
static inline int32_t wasmc_plugin_memory_write(wasmc_plugin_caller *caller, uint64_t address, const void *from, uint64_t size) {
    return caller->host->memory_write(caller, address, from, size);
}

/* Whether the program is to end, because its time is up or somebody has interrupted it: a function that works for long asks now
 * and then, and one that waits asks when its system call ends with EINTR. It may return whatever it likes then, soon. */
static inline int32_t wasmc_plugin_interrupted(wasmc_plugin_caller *caller) {
    return caller->host->interrupted(caller);
}

/* Fails: `return wasmc_plugin_fail(caller, "why");`. The message is copied. */
static inline int32_t wasmc_plugin_fail(wasmc_plugin_caller *caller, const char *message) {
    uint64_t size = 0;
    while (message[size]) size++;
    caller->host->set_error(caller, message, size);
    return WASMC_PLUGIN_ERROR;
}

static inline void wasmc_plugin_set_i32(wasmc_plugin_value *result, int32_t value) {
    result->type = WASMC_PLUGIN_I32;
    result->of.i32 = value;
}

static inline void wasmc_plugin_set_i64(wasmc_plugin_value *result, int64_t value) {
    result->type = WASMC_PLUGIN_I64;
    result->of.i64 = value;
}

static inline void wasmc_plugin_set_f32(wasmc_plugin_value *result, float value) {
    result->type = WASMC_PLUGIN_F32;
    result->of.f32 = value;
}

static inline void wasmc_plugin_set_f64(wasmc_plugin_value *result, double value) {
    result->type = WASMC_PLUGIN_F64;
    result->of.f64 = value;
}

static inline void wasmc_plugin_set_v128(wasmc_plugin_value *result, const uint8_t value[16]) {
    result->type = WASMC_PLUGIN_V128;
    for (int i = 0; i < 16; i++) result->of.v128[i] = value[i];
}

#ifdef __cplusplus
}
#endif

#endif

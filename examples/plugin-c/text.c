/* A plug-in in C: the module `text` works on strings in the program's memory.
 *
 *     cc -O2 -shared -fPIC -I plugin/include examples/plugin-c/text.c -o libtext.so
 *     wasmc run --plugin ./libtext.so examples/plugin-c/shout.wat
 */
#include "wasmc_plugin.h"

#include <stdatomic.h>

/* Makes the letters of a string capital ones, a piece at a time. */
static int32_t upper(wasmc_plugin_caller *caller, void *data, const wasmc_plugin_value *args, wasmc_plugin_value *results) {
    (void)data, (void)results;
    uint64_t at = (uint32_t)args[0].of.i32, left = (uint32_t)args[1].of.i32;
    char piece[256];
    while (left > 0) {
        uint64_t size = left < sizeof piece ? left : sizeof piece;
        if (wasmc_plugin_memory_read(caller, at, piece, size)) return wasmc_plugin_fail(caller, "the string is not in the memory");
        for (uint64_t i = 0; i < size; i++)
            if (piece[i] >= 'a' && piece[i] <= 'z') piece[i] -= 'a' - 'A';
        if (wasmc_plugin_memory_write(caller, at, piece, size)) return wasmc_plugin_fail(caller, "the string is not in the memory");
        at += size, left -= size;
    }
    return WASMC_PLUGIN_OK;
}

/* The sum and the greater of two numbers: several results. */
static int32_t both(wasmc_plugin_caller *caller, void *data, const wasmc_plugin_value *args, wasmc_plugin_value *results) {
    (void)caller, (void)data;
    int64_t a = args[0].of.i64;
    double b = args[1].of.f64;
    wasmc_plugin_set_f64(&results[0], (double)a + b);
    wasmc_plugin_set_i64(&results[1], (double)a > b ? a : (int64_t)b);
    return WASMC_PLUGIN_OK;
}

/* How often it was called, counted in its data; threads may call at the same time. */
static int32_t count(wasmc_plugin_caller *caller, void *data, const wasmc_plugin_value *args, wasmc_plugin_value *results) {
    (void)caller, (void)args;
    atomic_int *calls = data;
    wasmc_plugin_set_i32(&results[0], atomic_fetch_add(calls, 1) + 1);
    return WASMC_PLUGIN_OK;
}

static atomic_int calls;

static const uint8_t string[] = {WASMC_PLUGIN_I32, WASMC_PLUGIN_I32};
static const uint8_t numbers[] = {WASMC_PLUGIN_I64, WASMC_PLUGIN_F64};
static const uint8_t numbers_back[] = {WASMC_PLUGIN_F64, WASMC_PLUGIN_I64};
static const uint8_t number[] = {WASMC_PLUGIN_I32};

static const wasmc_plugin_function functions[] = {
    {"upper", string, 2, 0, 0, upper, 0},
    {"both", numbers, 2, numbers_back, 2, both, 0},
    {"count", 0, 0, number, 1, count, &calls},
};

const wasmc_plugin_descriptor_t wasmc_plugin_descriptor = {
    .abi_version = WASMC_PLUGIN_ABI_VERSION,
    .struct_size = sizeof(wasmc_plugin_descriptor_t),
    .module = "text",
    .version = "1.0",
    .functions = functions,
    .function_count = sizeof functions / sizeof functions[0],
};

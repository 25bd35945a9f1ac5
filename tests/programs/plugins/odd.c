/* A plug-in that is wrong in the way that its macros say, or whose functions do what functions must not. */
#include "wasmc_plugin.h"

#include <stdio.h>
#include <time.h>

#ifndef ABI
#define ABI WASMC_PLUGIN_ABI_VERSION
#endif
#ifndef SIZE
#define SIZE sizeof(wasmc_plugin_descriptor_t)
#endif
#ifndef MODULE
#define MODULE "odd"
#endif
#ifndef VERSION
#define VERSION "1"
#endif
#ifndef FIRST
#define FIRST "status"
#endif
#ifndef TYPE
#define TYPE WASMC_PLUGIN_I32
#endif
#ifndef PARAMS
#define PARAMS i32
#endif
#ifndef PARAM_COUNT
#define PARAM_COUNT 1
#endif
#ifndef CALLBACK
#define CALLBACK status
#endif
#ifndef FUNCTIONS
#define FUNCTIONS functions
#endif
#ifndef COUNT
#define COUNT (sizeof functions / sizeof functions[0])
#endif

/* Returns its argument as status. */
static int32_t status(wasmc_plugin_caller *caller, void *data, const wasmc_plugin_value *args, wasmc_plugin_value *results) {
    (void)caller, (void)data;
    wasmc_plugin_set_i32(&results[0], 1);
    return args[0].of.i32;
}

/* Gives its result the type code of its argument. */
static int32_t kind(wasmc_plugin_caller *caller, void *data, const wasmc_plugin_value *args, wasmc_plugin_value *results) {
    (void)caller, (void)data;
    results[0].type = (uint8_t)args[0].of.i32;
    results[0].of.i64 = 5;
    return WASMC_PLUGIN_OK;
}

/* Leaves the second of its results out. */
static int32_t half(wasmc_plugin_caller *caller, void *data, const wasmc_plugin_value *args, wasmc_plugin_value *results) {
    (void)caller, (void)data, (void)args;
    wasmc_plugin_set_i32(&results[0], 1);
    return WASMC_PLUGIN_OK;
}

/* Reads and writes back a byte range at any address; 2 if reading failed, 1 if writing did. */
static int32_t touch(wasmc_plugin_caller *caller, void *data, const wasmc_plugin_value *args, wasmc_plugin_value *results) {
    static _Thread_local char buffer[1 << 17];
    uint64_t address = (uint64_t)args[0].of.i64, size = (uint64_t)args[1].of.i64;
    (void)data;
    int32_t failed = 0;
    if (wasmc_plugin_memory_read(caller, address, size <= sizeof buffer ? buffer : 0, size)) failed |= 2;
    if (wasmc_plugin_memory_write(caller, address, size <= sizeof buffer ? buffer : 0, size)) failed |= 1;
    wasmc_plugin_set_i32(&results[0], failed);
    return WASMC_PLUGIN_OK;
}

/* Fails with a message that is not UTF-8. */
static int32_t mumble(wasmc_plugin_caller *caller, void *data, const wasmc_plugin_value *args, wasmc_plugin_value *results) {
    (void)data, (void)args, (void)results;
    return wasmc_plugin_fail(caller, "caf\xe9");
}

/* Works, or waits, until it is interrupted; what it returns then does not count. */
static int32_t wait(wasmc_plugin_caller *caller, void *data, const wasmc_plugin_value *args, wasmc_plugin_value *results) {
    (void)data, (void)results;
    struct timespec forever = {1000, 0};
    while (!wasmc_plugin_interrupted(caller))
        if (args[0].of.i32) nanosleep(&forever, 0);
    return 77;
}

/* The sum of as many numbers as a function can have. */
#ifdef MANY
static int32_t sum(wasmc_plugin_caller *caller, void *data, const wasmc_plugin_value *args, wasmc_plugin_value *results) {
    (void)caller, (void)data;
    int32_t sum = 0;
    for (int i = 0; i < 1000; i++) sum += (i + 1) * args[i].of.i32, wasmc_plugin_set_i32(&results[i], args[999 - i].of.i32);
    wasmc_plugin_set_i32(&results[0], sum);
    return WASMC_PLUGIN_OK;
}
static const uint8_t many[1000] = {[0 ... 999] = WASMC_PLUGIN_I32};
#endif

static int32_t start(void) {
#ifdef LOUD
    fprintf(stderr, "init of " MODULE "\n");
#endif
#ifdef INIT
    return INIT;
#else
    return 0;
#endif
}

static void end(void) {
#ifdef LOUD
    fprintf(stderr, "fini of " MODULE "\n");
#endif
}

static const uint8_t i32[] = {TYPE, WASMC_PLUGIN_I32};
static const uint8_t i64[] = {WASMC_PLUGIN_I64, WASMC_PLUGIN_I64};

static const wasmc_plugin_function functions[] = {
    {FIRST, PARAMS, PARAM_COUNT, i32, 1, CALLBACK, 0},
    {"kind", i32, 1, i64, 1, kind, 0},
    {"half", 0, 0, i32, 2, half, 0},
    {"touch", i64, 2, i32, 1, touch, 0},
    {"mumble", 0, 0, 0, 0, mumble, 0},
    {"wait", i32, 1, 0, 0, wait, 0},
#ifdef MANY
    {"sum", many, 1000, many, 1000, sum, 0},
#endif
};

#ifndef NO_SYMBOL
const wasmc_plugin_descriptor_t wasmc_plugin_descriptor = {ABI, SIZE, MODULE, VERSION, FUNCTIONS, COUNT, start, end};
#else
const void *const unused[] = {(const void *)functions, (const void *)start, (const void *)end};
#endif

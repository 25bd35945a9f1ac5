/* Prints where the members of the interface's structures are, for comparison with those of the crate wasmc-plugin-abi. */
#include "wasmc_plugin.h"

#include <stddef.h>
#include <stdio.h>

#define AT(type, member) printf("%s.%s %zu\n", #type, #member, offsetof(type, member))
#define SIZE(type) printf("%s %zu\n", #type, sizeof(type))

const wasmc_plugin_descriptor_t wasmc_plugin_descriptor;

int main(void) {
    SIZE(wasmc_plugin_value);
    AT(wasmc_plugin_value, of);
    SIZE(wasmc_plugin_host);
    AT(wasmc_plugin_host, memory_size);
    AT(wasmc_plugin_host, memory_read);
    AT(wasmc_plugin_host, memory_write);
    AT(wasmc_plugin_host, set_error);
    AT(wasmc_plugin_host, interrupted);
    SIZE(wasmc_plugin_caller);
    SIZE(wasmc_plugin_function);
    AT(wasmc_plugin_function, params);
    AT(wasmc_plugin_function, param_count);
    AT(wasmc_plugin_function, results);
    AT(wasmc_plugin_function, result_count);
    AT(wasmc_plugin_function, callback);
    AT(wasmc_plugin_function, data);
    SIZE(wasmc_plugin_descriptor_t);
    AT(wasmc_plugin_descriptor_t, struct_size);
    AT(wasmc_plugin_descriptor_t, module);
    AT(wasmc_plugin_descriptor_t, version);
    AT(wasmc_plugin_descriptor_t, functions);
    AT(wasmc_plugin_descriptor_t, function_count);
    AT(wasmc_plugin_descriptor_t, init);
    AT(wasmc_plugin_descriptor_t, fini);
    printf("codes %d %d %d %d %d %d\n", WASMC_PLUGIN_ABI_VERSION, WASMC_PLUGIN_I32, WASMC_PLUGIN_I64, WASMC_PLUGIN_F32,
           WASMC_PLUGIN_F64, WASMC_PLUGIN_V128);
    return 0;
}

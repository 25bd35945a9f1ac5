/* The native twin of calls.wat: `calls NAME N FILE` makes one system call N times. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char buffer[4096];

#define TIMES(call) do { for (long i = 0; i < n; i++) if ((call) < 0) return 1; } while (0)

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    const char *name = argv[1];
    long n = atol(argv[2]);
    struct timespec time;
    if (!strcmp(name, "clock_time_get")) TIMES(clock_gettime(CLOCK_MONOTONIC, &time));
    else if (!strcmp(name, "write_1")) TIMES(write(1, buffer, 1));
    else if (!strcmp(name, "write_4096")) TIMES(write(1, buffer, sizeof buffer));
    else if (!strcmp(name, "read_4096")) TIMES(read(0, buffer, sizeof buffer));
    else if (!strcmp(name, "pread_4096")) {
        int fd = open(argv[3], O_RDONLY);
        if (fd < 0) return 1;
        TIMES(pread(fd, buffer, sizeof buffer, 0));
    }
    return 0;
}

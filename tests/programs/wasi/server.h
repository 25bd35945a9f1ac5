/* The socket that a server listens on: handed over by the runtime, or, natively, made here. */
#ifndef SERVER_H
#define SERVER_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef __wasi__
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#endif

#define MAX_CONNECTIONS 2048

/* The first descriptor from 3 on that is a socket; natively, a new one on 127.0.0.1 and the port in argv[1]. */
static int listening_socket(int argc, char **argv)
{
#ifdef __wasi__
    (void)argc;
    (void)argv;
    for (int fd = 3; fd < 64; fd++) {
        int kind;
        socklen_t len = sizeof kind;
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &len) == 0)
            return fd;
    }
    return -1;
#else
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_port = htons((unsigned short)(argc > 1 ? atoi(argv[1]) : 0));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 4096) != 0)
        return -1;
    return fd;
#endif
}

static void set_nonblocking(int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL, 0) | O_NONBLOCK);
}

#endif

/* An echo server: one thread, poll, sockets that do not block. It ends when a client sends the line "quit". */
#include "server.h"

struct connection {
    size_t pending, sent;
    char buffer[4096];
};

static struct pollfd fds[MAX_CONNECTIONS + 1];
static struct connection *connections[MAX_CONNECTIONS + 1];

static void drop(int *count, int index)
{
    close(fds[index].fd);
    free(connections[index]);
    --*count;
    fds[index] = fds[*count];
    connections[index] = connections[*count];
}

/* Sends what is pending; -1 if the connection is over. */
static int flush(int fd, struct connection *c)
{
    while (c->sent < c->pending) {
        ssize_t n = send(fd, c->buffer + c->sent, c->pending - c->sent, 0);
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        c->sent += (size_t)n;
    }
    c->pending = c->sent = 0;
    return 0;
}

int main(int argc, char **argv)
{
    int listener = listening_socket(argc, argv);
    if (listener < 0) {
        perror("no socket to listen on");
        return 1;
    }
    set_nonblocking(listener);
    int count = 1;
    fds[0].fd = listener;
    for (;;) {
        fds[0].events = count <= MAX_CONNECTIONS ? POLLIN : 0;
        for (int i = 1; i < count; i++)
            fds[i].events = connections[i]->pending ? POLLOUT : POLLIN;
        if (poll(fds, (nfds_t)count, -1) < 0) {
            perror("poll");
            return 1;
        }
        for (int i = count - 1; i > 0; i--) {
            if (!fds[i].revents)
                continue;
            struct connection *c = connections[i];
            if (c->pending) {
                if (flush(fds[i].fd, c) < 0)
                    drop(&count, i);
                continue;
            }
            ssize_t n = recv(fds[i].fd, c->buffer, sizeof c->buffer, 0);
            if (n < 0 && errno == EAGAIN)
                continue;
            if (n == 5 && memcmp(c->buffer, "quit\n", 5) == 0)
                return 0;
            if (n > 0)
                c->pending = (size_t)n;
            if (n <= 0 || flush(fds[i].fd, c) < 0)
                drop(&count, i);
        }
        if (fds[0].revents) {
            while (count <= MAX_CONNECTIONS) {
                int fd = accept(listener, NULL, NULL);
                if (fd < 0)
                    break;
                set_nonblocking(fd);
                fds[count] = (struct pollfd){.fd = fd};
                connections[count] = calloc(1, sizeof(struct connection));
                if (!connections[count])
                    return 1;
                count++;
            }
        }
    }
}
